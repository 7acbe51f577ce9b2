//! What must survive a restart of the sidecar's container, kept in the volume beside the files: the newest version ever seen of each vault, so that no older one is
//! ever taken for new, and the nodes that the cluster named last.

use crate::files::replace_file;
use polykey_client::watch::NodeAddress;
use polykey_core::ids::{CommitId, NodeId, VaultId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directory in the volume.
const STATE: &str = ".state";
/// File of the nodes. No PolykeyVault can have this name: a DNS label holds no dot.
const NODES: &str = "nodes.json";

/// The newest version that was accepted of one vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// The vault: a name never changes its vault while a pod lives.
    pub vault: VaultId,
    /// The newest version.
    pub version: CommitId,
    /// Its time, unix milliseconds. Later versions have later times, whatever the clocks did.
    pub time_ms: u64,
    /// The commits that the version is, ascending, when they are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<CommitId>,
}

#[derive(Serialize, Deserialize)]
struct Node {
    node: NodeId,
    address: String,
}

/// The directory `.state`.
#[derive(Clone)]
pub struct State(PathBuf);

impl State {
    /// Makes the directory, readable by the sidecar alone.
    pub fn open(volume: &Path) -> io::Result<State> {
        let dir = volume.join(STATE);
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(State(dir))
    }

    /// The floor of a vault; `None` when it was never written here. A damaged file is an error: without its floor a sidecar could be made to go back.
    pub fn floor(&self, name: &str) -> io::Result<Option<Floor>> {
        self.read(&format!("{name}.json"))
    }

    /// Keeps a floor.
    pub fn set_floor(&self, name: &str, floor: &Floor) -> io::Result<()> {
        replace_file(
            &self.0.join(format!("{name}.json")),
            0o400,
            &serde_json::to_vec(floor)?,
        )
    }

    /// The nodes that the cluster named last, if any.
    pub fn nodes(&self) -> io::Result<Option<Vec<NodeAddress>>> {
        let nodes: Option<Vec<Node>> = self.read(NODES)?;
        Ok(nodes.map(|n| {
            n.into_iter()
                .map(|n| NodeAddress {
                    node: n.node,
                    address: n.address,
                })
                .collect()
        }))
    }

    /// Keeps the nodes.
    pub fn set_nodes(&self, nodes: &[NodeAddress]) -> io::Result<()> {
        let nodes: Vec<Node> = nodes
            .iter()
            .map(|n| Node {
                node: n.node,
                address: n.address.clone(),
            })
            .collect();
        replace_file(&self.0.join(NODES), 0o400, &serde_json::to_vec(&nodes)?)
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, file: &str) -> io::Result<Option<T>> {
        match fs::read(self.0.join(file)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_an_error() {
        let tmp = tempfile::tempdir().unwrap();
        let state = State::open(tmp.path()).unwrap();
        assert_eq!(state.floor("app").unwrap(), None);
        let floor = Floor {
            vault: VaultId::from([1; 32]),
            version: CommitId::from([2; 32]),
            time_ms: 3,
            heads: Vec::new(),
        };
        state.set_floor("app", &floor).unwrap();
        state
            .set_floor(
                "app",
                &Floor {
                    time_ms: 4,
                    ..floor.clone()
                },
            )
            .unwrap();
        assert_eq!(state.floor("app").unwrap().unwrap().time_ms, 4);
        let nodes = vec![NodeAddress {
            node: NodeId::from([3; 32]),
            address: "polykey-0.x:1315".into(),
        }];
        state.set_nodes(&nodes).unwrap();
        assert_eq!(
            State::open(tmp.path()).unwrap().nodes().unwrap().unwrap(),
            nodes
        );
        replace_file(&tmp.path().join(".state/app.json"), 0o400, b"{").unwrap();
        assert!(state.floor("app").is_err());
    }
}
