//! The access set in force: which workload may name which vault, as the warden says.
//!
//! One set is in force at a time and is replaced in one step; it is on disk before it counts. Nothing here decides an access: `polykey_core::acl` does, with what
//! is kept here.

mod check;
#[cfg(test)]
mod tests;

pub use check::SetError;

use crate::store::{Batch, Store, StoreError, Table};
use arc_swap::ArcSwapOption;
use polykey_client::access::{AccessSet, Peer, Purpose, Rule, Sibling};
use polykey_core::ids::{CommitId, NodeId, VaultId};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{Mutex, watch};

/// Key of the one row in [`Table::Access`].
const ROW: &[u8] = b"set";

/// Why a set did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It is not what a set must be, or is older than the one in force.
    #[error(transparent)]
    Set(#[from] SetError),
    /// It could not be written down.
    #[error("cannot keep the access set")]
    Store(#[source] StoreError),
    /// What was written down before is damaged.
    #[error("the access set in the store is damaged")]
    Damaged(#[source] serde_json::Error),
}

/// A set in force, ready to be asked.
pub struct InForce {
    set: AccessSet,
    mounts: HashMap<String, HashMap<String, usize>>,
}

impl InForce {
    fn new(set: AccessSet) -> InForce {
        let mut mounts: HashMap<String, HashMap<String, usize>> = HashMap::new();
        for (at, rule) in set.rules.iter().enumerate() {
            if rule.purpose == Purpose::Mount {
                mounts
                    .entry(rule.namespace.clone())
                    .or_default()
                    .insert(rule.name.clone(), at);
            }
        }
        InForce { set, mounts }
    }

    /// The rule for files of a `PolykeyVault`.
    #[must_use]
    pub fn mount(&self, namespace: &str, name: &str) -> Option<&Rule> {
        let at = self.mounts.get(namespace)?.get(name)?;
        self.set.rules.get(*at)
    }

    /// The set itself.
    #[must_use]
    pub fn set(&self) -> &AccessSet {
        &self.set
    }

    /// The outside nodes that are not expired at `now` (unix seconds).
    pub fn peers(&self, now: u64) -> impl Iterator<Item = &Peer> {
        self.set
            .peers
            .iter()
            .filter(move |p| p.expires.is_none_or(|e| now < e))
    }

    /// UID of the cluster, of which an owner's caveat may speak.
    #[must_use]
    pub fn cluster(&self) -> &str {
        self.set
            .source
            .strip_prefix("k8s:")
            .unwrap_or(&self.set.source)
    }
}

/// What is written down.
#[derive(Serialize, Deserialize)]
struct Kept {
    confirmed: u64,
    set: AccessSet,
}

/// What came of a set that the warden put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    /// False when it was in force already.
    pub changed: bool,
    /// It is older than the one before and was taken because the warden says that the API server's history went back.
    pub restored: bool,
}

/// The access set in force, and its keeper.
pub struct Access {
    current: ArcSwapOption<InForce>,
    /// Unix seconds of the last word of the warden; 0 for never.
    confirmed: AtomicU64,
    cluster: Option<String>,
    store: Arc<Store>,
    /// Held while a set is checked and written down: one at a time. The revision in force, which may be ahead of the one written down.
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Access {
    /// The set that the store has from before, if any. With `cluster` (a uid) only rules of that cluster are taken.
    pub fn open(store: Arc<Store>, cluster: Option<&str>) -> Result<Arc<Access>, AccessError> {
        let kept = store.get(Table::Access, ROW).map_err(AccessError::Store)?;
        let kept: Option<Kept> = kept
            .map(|row| serde_json::from_slice(&row))
            .transpose()
            .map_err(AccessError::Damaged)?;
        let cluster = cluster.map(|uid| format!("k8s:{uid}"));
        // A store that was moved to another cluster starts without rules.
        let kept = kept.filter(|k| cluster.as_ref().is_none_or(|c| *c == k.set.source));
        let confirmed = kept.as_ref().map_or(0, |k| k.confirmed);
        Ok(Arc::new(Access {
            current: ArcSwapOption::new(kept.map(|k| Arc::new(InForce::new(k.set)))),
            confirmed: AtomicU64::new(confirmed),
            cluster,
            store,
            writing: Mutex::new(()),
            changed: watch::Sender::new(0),
        }))
    }

    /// The set in force; `None` before the first.
    #[must_use]
    pub fn current(&self) -> Option<Arc<InForce>> {
        self.current.load_full()
    }

    /// Told after every change of the set in force.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Time since the warden last said that the set is right.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        match self.confirmed.load(Ordering::Relaxed) {
            0 => None,
            at => Some(Duration::from_secs(unix_now().saturating_sub(at))),
        }
    }

    /// Brings a set into force: checked, written down, swapped.
    pub async fn put(&self, set: AccessSet) -> Result<Put, AccessError> {
        check::check(&set, self.cluster.as_deref())?;
        let _one = self.writing.lock().await;
        let before = self.current.load_full();
        let mut restored = false;
        if let Some(before) = &before {
            match check::not_older(&before.set.revision, &set.revision) {
                Err(_) if set.restored => restored = true,
                other => other?,
            }
        }
        let changed = before.as_ref().is_none_or(|b| b.set.set != set.set);
        let revised = before
            .as_ref()
            .is_none_or(|b| b.set.revision != set.revision);
        if changed || restored {
            self.write_down(&set).await?;
        }
        if changed || revised {
            self.current.store(Some(Arc::new(InForce::new(set))));
        }
        self.confirmed.store(unix_now(), Ordering::Relaxed);
        if changed {
            self.changed.send_modify(|n| *n += 1);
        }
        Ok(Put { changed, restored })
    }

    async fn write_down(&self, set: &AccessSet) -> Result<(), AccessError> {
        let kept = Kept {
            confirmed: unix_now(),
            set: set.clone(),
        };
        let row = serde_json::to_vec(&kept).map_err(AccessError::Damaged)?;
        let mut batch = Batch::default();
        batch.put(Table::Access, ROW, row);
        self.store.commit(batch).await.map_err(AccessError::Store)
    }

    /// True when an outside node in force may bring this vault here.
    #[must_use]
    pub fn admits(&self, sender: &NodeId, vault: &VaultId) -> bool {
        self.current().is_some_and(|set| {
            set.peers(unix_now()).any(|p| {
                p.node == *sender && p.vaults.as_ref().is_none_or(|only| only.contains(vault))
            })
        })
    }

    /// The outside nodes in force now.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.current()
            .map(|set| set.peers(unix_now()).cloned().collect())
            .unwrap_or_default()
    }

    /// Versions that rules pin: their contents stay, whatever was pruned.
    pub fn pins(&self) -> impl Iterator<Item = CommitId> {
        let set = self.current();
        let rules = set.into_iter().flat_map(|set| set.set().rules.clone());
        rules.filter_map(|rule| rule.version)
    }

    /// The other replicas.
    #[must_use]
    pub fn siblings(&self) -> Vec<Sibling> {
        self.current()
            .map(|set| set.set.siblings.clone())
            .unwrap_or_default()
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
