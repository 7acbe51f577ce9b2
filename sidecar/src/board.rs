//! What the probes read: the file `.ready` in the volume. It appears with the first full write of every vault (started) and says whether the pod may get traffic.
//!
//! The sidecar writes it, `polykey-sidecar ready` reads it: two processes that share nothing but the volume.

use crate::files::replace_file;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Name of the file in the volume.
const READY: &str = ".ready";

/// How one vault stands in this pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No version was ever written.
    Waiting,
    /// A version is in place and nothing forbids it.
    Written,
    /// Access was taken back; the files stay.
    Revoked(String),
    /// No node that answers is one of the pinned ones: all were replaced while this sidecar was cut off.
    PinsStale,
}

/// Content of the file.
#[derive(Serialize, Deserialize, Debug, PartialEq, Eq)]
struct Ready {
    fresh: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The standings of all vaults of the pod.
pub struct Board {
    file: PathBuf,
    standings: Mutex<BTreeMap<String, Standing>>,
}

impl Board {
    /// A board for these vaults; `written` says which have a version in place from before a restart.
    pub fn new(
        volume: &Path,
        names: impl IntoIterator<Item = (String, bool)>,
    ) -> std::io::Result<Board> {
        let standings = names
            .into_iter()
            .map(|(n, written)| {
                (
                    n,
                    if written {
                        Standing::Written
                    } else {
                        Standing::Waiting
                    },
                )
            })
            .collect();
        let board = Board {
            file: volume.join(READY),
            standings: Mutex::new(standings),
        };
        board.publish()?;
        Ok(board)
    }

    /// Notes how a vault stands. An error is the volume's, and leaves the old file.
    pub fn set(&self, name: &str, standing: Standing) -> std::io::Result<()> {
        let mut standings = self
            .standings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let old = standings.insert(name.to_owned(), standing.clone());
        drop(standings);
        if old == Some(standing) {
            Ok(())
        } else {
            self.publish()
        }
    }

    fn publish(&self) -> std::io::Result<()> {
        let standings = self
            .standings
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match summary(&standings) {
            Some(ready) => replace_file(&self.file, 0o444, &serde_json::to_vec(&ready)?),
            None => match std::fs::remove_file(&self.file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            },
        }
    }
}

/// What the file says; `None` before every vault has been written once.
fn summary(standings: &BTreeMap<String, Standing>) -> Option<Ready> {
    if standings.values().any(|s| *s == Standing::Waiting) {
        return None;
    }
    let reason = standings.iter().find_map(|(name, s)| match s {
        Standing::Waiting | Standing::Written => None,
        Standing::Revoked(message) => Some(format!("{name}: Revoked: {message}")),
        Standing::PinsStale => Some(format!(
            "{name}: PinsStale: every node was replaced while this pod was cut off; restart the pod"
        )),
    });
    Some(Ready {
        fresh: reason.is_none(),
        reason,
    })
}

/// The answer of `polykey-sidecar ready`: `Ok` when started, and with `fresh` only when nothing forbids traffic.
///
/// # Errors
/// Why not, in one line.
pub fn probe(volume: &Path, fresh: bool) -> Result<(), String> {
    let text = std::fs::read(volume.join(READY))
        .map_err(|_| "waiting for the first version of every vault".to_owned())?;
    let ready: Ready =
        serde_json::from_slice(&text).map_err(|e| format!("{READY} is damaged: {e}"))?;
    if fresh && !ready.fresh {
        return Err(ready.reason.unwrap_or_else(|| "not fresh".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn started_means_every_vault_was_written_and_ready_means_nothing_was_taken_back() {
        let tmp = tempfile::tempdir().unwrap();
        let board = Board::new(
            tmp.path(),
            [("a".to_owned(), false), ("b".to_owned(), true)],
        )
        .unwrap();
        assert!(probe(tmp.path(), false).is_err());
        board.set("a", Standing::Written).unwrap();
        assert_eq!(probe(tmp.path(), true), Ok(()));
        board
            .set("b", Standing::Revoked("ServiceAccountNotListed".into()))
            .unwrap();
        assert_eq!(
            probe(tmp.path(), false),
            Ok(()),
            "a started pod stays started"
        );
        assert!(
            probe(tmp.path(), true)
                .unwrap_err()
                .contains("b: Revoked: ServiceAccountNotListed")
        );
        board.set("b", Standing::Written).unwrap();
        assert_eq!(probe(tmp.path(), true), Ok(()));
    }

    #[test]
    fn a_restarted_sidecar_whose_files_are_all_there_is_started_at_once() {
        let tmp = tempfile::tempdir().unwrap();
        Board::new(tmp.path(), [("a".to_owned(), true)]).unwrap();
        assert_eq!(probe(tmp.path(), true), Ok(()));
    }
}
