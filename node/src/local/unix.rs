//! The Unix socket: for the user who runs the agent, and for the warden beside it. Who may connect is a file mode and the uid that the kernel vouches for.

use super::serve::{all_closed, serve, stopped};
use axum::Router;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

/// Connections at once: commands come one by one, and the warden holds one.
const MAX_CONNECTIONS: usize = 64;
/// Wait after a failed accept, which is mostly a lack of file descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another agent answers there.
    #[error("an agent is already running on {0}")]
    Taken(PathBuf),
    /// Something that is no socket has the name.
    #[error("{0} is there and is no socket; it was left alone")]
    NotASocket(PathBuf),
    /// The directory lets others put a socket in this one's place.
    #[error("the directory {0} belongs to another user, or others may write to it")]
    Directory(PathBuf),
    /// The operating system.
    #[error("cannot make the socket {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A bound socket. Its file is removed when this is dropped.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Makes the socket, mode 0600, in a directory that is made with mode 0700 when it is missing. What an agent left behind that is gone is replaced.
    pub async fn bind(path: &Path) -> Result<Socket, SocketError> {
        let failed = |source| SocketError::Io {
            path: path.to_path_buf(),
            source,
        };
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            prepare_directory(dir)?;
        }
        remove_stale(path).await?;
        let listener = UnixListener::bind(path).map_err(|e| match e.kind() {
            ErrorKind::AddrInUse => SocketError::Taken(path.to_path_buf()),
            _ => failed(e),
        })?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let inode = fs::symlink_metadata(path).map_err(failed)?.ino();
        Ok(Socket {
            listener,
            path: path.to_path_buf(),
            inode,
        })
    }

    /// Accepts until `stop` says true.
    pub async fn accept(self, app: Router, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopped(&mut stop) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    tracing::warn!(error = %e, "cannot accept a connection on the socket");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
            };
            if !is_same_user(&stream) {
                tracing::warn!("another user's connection to the socket was closed");
                continue;
            }
            let Ok(place) = room.clone().try_acquire_owned() else {
                tracing::warn!("too many connections to the socket; one was closed");
                continue;
            };
            let (app, stop) = (app.clone(), stop.clone());
            tokio::spawn(async move {
                serve(stream, app, stop).await;
                drop(place);
            });
        }
        all_closed(&room, MAX_CONNECTIONS).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Only the socket that was made here: after a replacement the name may belong to another agent.
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The kernel says who connected; mode 0600 is the first line, this is the second.
fn is_same_user(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

/// Makes the directory, or accepts one that only this user or root can change. A directory of root that others may write to (a volume of a pod) is the platform's
/// own choice; one of another user is a trap.
fn prepare_directory(dir: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: dir.to_path_buf(),
        source,
    };
    if !dir.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
    }
    let meta = fs::metadata(dir).map_err(failed)?;
    let me = rustix::process::geteuid().as_raw();
    let mine_and_closed = meta.uid() == me && meta.mode() & 0o022 == 0;
    let of_root = meta.uid() == 0;
    if meta.is_dir() && (mine_and_closed || of_root) {
        return Ok(());
    }
    Err(SocketError::Directory(dir.to_path_buf()))
}

async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_path_buf(),
        source,
    };
    let meta = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(meta) => meta,
    };
    if !meta.file_type().is_socket() {
        return Err(SocketError::NotASocket(path.to_path_buf()));
    }
    match UnixStream::connect(path).await {
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        // It answers, or cannot be asked: somebody's.
        _ => Err(SocketError::Taken(path.to_path_buf())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/agent.sock");
        let first = Socket::bind(&path).await.unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(matches!(
            Socket::bind(&path).await,
            Err(SocketError::Taken(_))
        ));
        drop(first);
        assert!(!path.exists());
        // As a killed agent leaves it: the file is there and nobody listens.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(Socket::bind(&path).await.is_ok());
    }

    #[tokio::test]
    async fn a_file_in_the_socket_s_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Socket::bind(&path).await,
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let came = Socket::bind(&open.join("agent.sock")).await;
        let as_root = rustix::process::geteuid().is_root();
        assert_eq!(matches!(came, Err(SocketError::Directory(_))), !as_root);
    }
}
