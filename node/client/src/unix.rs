//! The client of the local API over the Unix socket of an agent: what the command line and the warden talk with.

use crate::error::{ApiError, Code};
use crate::http::Connection;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Where the socket of an agent is: `$XDG_RUNTIME_DIR/polykey/<12 hex>.sock`, else `/tmp/polykey-<uid>/<12 hex>.sock`, with the first 12 hex digits of the BLAKE3
/// hash of the canonical node path. Short, since a socket's path may have 108 bytes at most, and apart from the node path, since a USB stick may hold no sockets.
#[must_use]
pub fn socket_path(node_path: &Path, runtime_dir: Option<&Path>) -> PathBuf {
    let canonical = node_path
        .canonicalize()
        .unwrap_or_else(|_| node_path.to_path_buf());
    let name = &blake3::hash(canonical.as_os_str().as_encoded_bytes()).to_hex()[..12];
    let dir = match runtime_dir {
        Some(dir) => dir.join("polykey"),
        None => PathBuf::from(format!(
            "/tmp/polykey-{}",
            rustix::process::getuid().as_raw()
        )),
    };
    dir.join(format!("{name}.sock"))
}

/// Opens a connection to the agent at `socket`.
///
/// # Errors
/// `Unreachable` when nobody listens there.
pub async fn connect(socket: &Path) -> Result<Connection, ApiError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|e| not_running(socket, &e))?;
    Connection::start(stream, None).await
}

fn not_running(socket: &Path, e: &std::io::Error) -> ApiError {
    let at = socket.display();
    match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => ApiError::new(
            Code::Unreachable,
            format!("the agent is not running on {at}"),
        )
        .next("polykey agent start"),
        std::io::ErrorKind::PermissionDenied => ApiError::new(
            Code::Unreachable,
            format!("the agent on {at} belongs to another user"),
        )
        .hint("only the user who started it may use it"),
        _ => ApiError::new(
            Code::Unreachable,
            format!("cannot reach the agent on {at}: {e}"),
        ),
    }
}
