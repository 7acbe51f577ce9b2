//! Where this person's node is: its folder and its socket.

use super::args::Global;
use super::stop::Stop;
use polykey_client::unix::socket_path;
use std::path::{Path, PathBuf};

/// Where a node is.
pub struct Place {
    /// Folder of identity and store.
    pub node_path: PathBuf,
    /// Socket that was given; `None` is the one that follows from the node path.
    given: Option<PathBuf>,
}

impl Place {
    /// As the options, the environment and the home directory say.
    pub fn of(global: &Global) -> Result<Place, Stop> {
        let node_path = match &global.node_path {
            Some(path) => absolute(path)?,
            None => data_home()?.join("polykey"),
        };
        Ok(Place {
            node_path,
            given: global.socket.as_deref().map(absolute).transpose()?,
        })
    }

    /// The agent's socket. It depends on the real path of the folder, so ask again once the folder exists.
    pub fn socket(&self) -> PathBuf {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty());
        self.given
            .clone()
            .unwrap_or_else(|| socket_path(&self.node_path, runtime_dir.as_deref().map(Path::new)))
    }

    /// The options that lead another command to this place: empty when the defaults do.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec![
            "--node-path".to_owned(),
            self.node_path.display().to_string(),
        ];
        if let Some(socket) = &self.given {
            options.extend(["--socket".to_owned(), socket.display().to_string()]);
        }
        options
    }
}

/// The agent in the background has another working directory.
fn absolute(path: &Path) -> Result<PathBuf, Stop> {
    std::path::absolute(path)
        .map_err(|e| Stop::Error(Stop::usage(format!("{} is no path: {e}", path.display()))))
}

fn data_home() -> Result<PathBuf, Stop> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let fallback = || set("HOME").map(|home| home.join(".local/share"));
    set("XDG_DATA_HOME")
        .filter(|p| p.is_absolute())
        .or_else(fallback)
        .ok_or_else(|| {
            let error = Stop::usage(
                "there is no place for the node: neither HOME nor XDG_DATA_HOME is set",
            );
            Stop::Error(error.hint("name a folder with --node-path DIR or PK_NODE_PATH"))
        })
}
