//! Puts the whole access state into the node, whenever it changed or was confirmed.
//!
//! Always the whole state, swapped by the node in one step. Its hash says whether anything changed; its revisions say whether it is newer.

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault};
use crate::feed::Feed;
use crate::warden::project::{Own, Revision, project};
use hyper::Method;
use polykey_client::access::{AccessReply, AccessSet};
use polykey_client::error::{ApiError, Code};
use polykey_client::unix;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Changes that come this close together are one: `kubectl apply` of a folder.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// At most five sets a second: a node checks and stores each one whole.
const SPACING: Duration = Duration::from_millis(200);
/// Longest wait after the node did not take a set.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What the node was last seen to hold, shared with the reporter, which asks the node every few seconds.
#[derive(Default)]
pub struct Applied {
    digest: Mutex<Option<String>>,
    again: Notify,
}

impl Applied {
    /// The node says which set is in force; another than the one put there means that it started anew, so it is put again.
    pub fn node_says(&self, in_force: Option<&str>) {
        let ours = self
            .digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if ours.is_some() && ours.as_deref() != in_force {
            self.again.notify_one();
        }
    }

    fn set(&self, digest: Option<String>) {
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = digest;
    }
}

/// Follows the objects and puts sets.
pub struct Pusher {
    socket: PathBuf,
    own: Own,
    vaults: Feed<PolykeyVault>,
    peers: Feed<PolykeyPeer>,
    nodes: Feed<PolykeyNode>,
    applied: Arc<Applied>,
}

impl Pusher {
    /// A pusher, and what it shares with the reporter.
    #[must_use]
    pub fn new(
        socket: PathBuf,
        own: Own,
        vaults: Feed<PolykeyVault>,
        peers: Feed<PolykeyPeer>,
        nodes: Feed<PolykeyNode>,
    ) -> (Pusher, Arc<Applied>) {
        let applied = Arc::new(Applied::default());
        (
            Pusher {
                socket,
                own,
                vaults,
                peers,
                nodes,
                applied: applied.clone(),
            },
            applied,
        )
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        while !self.listed() {
            self.woken().await;
        }
        let mut pushed: Option<AccessSet> = None;
        let mut wait = SPACING;
        loop {
            let started = Instant::now();
            let (set, live) = self.current();
            if worth_putting(pushed.as_ref(), &set, live) {
                match self.put(set).await {
                    Ok(set) => {
                        pushed = Some(set);
                        wait = SPACING;
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = error.message,
                            wait_ms = wait.as_millis(),
                            "the node did not take the access rules; the ones in force stay"
                        );
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(BACKOFF_MAX);
                        continue;
                    }
                }
            }
            if self.woken().await {
                pushed = None;
            }
            tokio::time::sleep(DEBOUNCE).await;
            tokio::time::sleep_until(started + SPACING).await;
        }
    }

    fn listed(&self) -> bool {
        self.vaults.now().lists > 0 && self.peers.now().lists > 0 && self.nodes.now().lists > 0
    }

    /// Waits for a change of anything. True: the node has lost the set.
    async fn woken(&mut self) -> bool {
        tokio::select! {
            () = self.vaults.changed() => false,
            () = self.peers.changed() => false,
            () = self.nodes.changed() => false,
            () = self.applied.again.notified() => true,
        }
    }

    /// The set as the objects are now, and whether both watches are open, so that it is confirmed to be the newest.
    fn current(&mut self) -> (AccessSet, bool) {
        let nodes = self.nodes.latest();
        let (vaults, peers) = (self.vaults.latest(), self.peers.latest());
        let revision = Revision {
            vaults: vaults.revision.clone(),
            peers: peers.revision.clone(),
        };
        let set = project(
            vaults.objects.values().map(AsRef::as_ref),
            peers.objects.values().map(AsRef::as_ref),
            nodes.objects.values().map(AsRef::as_ref),
            &self.own,
            &revision,
        );
        (set, vaults.live && peers.live)
    }

    /// Puts a set. A node that holds a newer one is asked again with a fresh list from etcd; only a list that is still older means that history went back.
    async fn put(&mut self, set: AccessSet) -> Result<AccessSet, ApiError> {
        self.applied.set(None);
        let set = match self.send(set).await {
            Err(error) if error.code == Code::Conflict => {
                tracing::warn!(
                    error = error.message,
                    "the node holds newer access rules; listing again"
                );
                self.put_older().await?
            }
            other => other?,
        };
        self.applied.set(Some(set.set.clone()));
        Ok(set)
    }

    async fn put_older(&mut self) -> Result<AccessSet, ApiError> {
        self.vaults.list_again().await;
        self.peers.list_again().await;
        let (set, _) = self.current();
        match self.send(set.clone()).await {
            Err(error) if error.code == Code::Conflict => {
                tracing::error!(
                    error = error.message,
                    "the API server's history went back, as after a restore of etcd: its rules are put in force"
                );
                self.send(AccessSet {
                    restored: true,
                    ..set
                })
                .await
            }
            other => other,
        }
    }

    async fn send(&self, set: AccessSet) -> Result<AccessSet, ApiError> {
        let mut node = unix::connect(&self.socket).await?;
        let reply: AccessReply = node.call(Method::PUT, "/v1/access", &set).await?;
        if reply.changed {
            tracing::info!(
                set = short(&reply.applied),
                rules = set.rules.len(),
                peers = set.peers.len(),
                "access rules in force"
            );
        }
        for refused in &reply.refused {
            tracing::debug!(
                rule = refused.id,
                reason = refused.reason,
                "the node cannot serve a rule now"
            );
        }
        Ok(set)
    }
}

/// A set is put when it differs, and when the same set is confirmed by newer revisions: the node measures how old its rules are.
fn worth_putting(pushed: Option<&AccessSet>, set: &AccessSet, live: bool) -> bool {
    pushed.is_none_or(|pushed| pushed.set != set.set || (live && pushed.revision != set.revision))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polykey_client::access::Sibling;
    use polykey_core::ids::NodeId;

    fn set(revision: &str, siblings: &[u8]) -> AccessSet {
        AccessSet {
            revision: [("polykeyvaults".to_owned(), revision.to_owned())].into(),
            siblings: siblings
                .iter()
                .map(|n| Sibling {
                    node: NodeId::from([*n; 32]),
                    addresses: Vec::new(),
                })
                .collect(),
            ..AccessSet::default()
        }
        .sealed()
    }

    #[test]
    fn a_set_is_put_first_when_it_differs_and_when_it_is_confirmed() {
        assert!(worth_putting(None, &set("1", &[]), false));
        assert!(!worth_putting(Some(&set("1", &[])), &set("1", &[]), true));
        assert!(
            worth_putting(Some(&set("1", &[])), &set("1", &[1]), false),
            "a change goes out even while one watch is down"
        );
        assert!(worth_putting(Some(&set("1", &[])), &set("2", &[]), true));
        assert!(
            !worth_putting(Some(&set("1", &[])), &set("2", &[]), false),
            "a watch that is down confirms nothing"
        );
    }
}
