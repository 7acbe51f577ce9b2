//! What of the local API goes into the audit: grants, removals, peers, access sets, refused tokens and workloads, first deliveries. Never a value, a token or a path.
//!
//! Only the words are chosen here. Writing, sealing, chaining and the limit of refusals are the audit's own.

use crate::vaults::VaultError;
use crate::workload::{Identity, Reason};
use polykey_client::watch::Refusal;
use polykey_core::audit::{Kind, Outcome, Subject};
use polykey_core::ids::{CommitId, NodeId, VaultId};
use std::future::Future;
use std::pin::Pin;

/// The user of the socket.
const LOCAL: &str = "local";

/// Something for the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub kind: Kind,
    /// Who did it.
    pub actor: String,
    /// To what.
    pub subject: Subject,
    /// What came of it.
    pub outcome: Outcome,
}

/// The end of writing something down.
pub type Written = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Puts what happened into words and hands it on.
pub struct Record {
    write: Box<dyn Fn(Happened) -> Written + Send + Sync>,
}

impl Record {
    /// Hands everything to `write`, whose future ends when the audit has it.
    #[must_use]
    pub fn new(write: impl Fn(Happened) -> Written + Send + Sync + 'static) -> Record {
        Record {
            write: Box::new(write),
        }
    }

    /// A member was added, or that failed.
    pub async fn granted(
        &self,
        vault: &VaultId,
        node: &NodeId,
        role: &str,
        failed: Option<&VaultError>,
    ) {
        let subject = about(Some(*vault), format!("{node} {}", short(role)));
        self.write(Kind::Grant, LOCAL.into(), subject, outcome_of(failed))
            .await;
    }

    /// A member was removed, or that failed.
    pub async fn revoked(&self, vault: &VaultId, node: &NodeId, failed: Option<&VaultError>) {
        let subject = about(Some(*vault), node.to_string());
        self.write(Kind::Revoke, LOCAL.into(), subject, outcome_of(failed))
            .await;
    }

    /// The maker's words took a vault back, or gave themselves up (`recover`, `resign`), or that failed.
    pub async fn recovered(&self, vault: &VaultId, what: &str, failed: Option<&VaultError>) {
        let subject = about(Some(*vault), what.to_owned());
        self.write(Kind::Grant, LOCAL.into(), subject, outcome_of(failed))
            .await;
    }

    /// This node's place was given to another key, or that failed.
    pub async fn key_changed(&self, new: &NodeId, failed: Option<&VaultError>) {
        let subject = about(None, format!("{new} key"));
        self.write(Kind::Store, LOCAL.into(), subject, outcome_of(failed))
            .await;
    }

    /// A peer was `added` or `removed`.
    pub async fn peer(&self, node: &NodeId, what: &str) {
        let subject = about(None, format!("{node} {what}"));
        self.write(Kind::Peer, LOCAL.into(), subject, Outcome::Done)
            .await;
    }

    /// Another access set is in force.
    pub async fn rules(&self, digest: &str, restored: bool) {
        let went_back = if restored { " restored" } else { "" };
        let subject = about(None, format!("{}{went_back}", short(digest)));
        self.write(Kind::Access, LOCAL.into(), subject, Outcome::Done)
            .await;
    }

    /// A workload gets a version for the first time.
    pub fn delivered(&self, who: &Identity, vault: &VaultId, version: CommitId) {
        let subject = about(Some(*vault), version.to_string());
        // Not waited for: the writer is told now and syncs at once, and a rotation need not stand in front of a pod meanwhile.
        tokio::spawn(self.write(Kind::Read, actor(who), subject, Outcome::Done));
    }

    /// A workload may not read what it asked for.
    pub async fn refused(&self, who: &Identity, vault: Option<VaultId>, refusal: &Refusal) {
        let subject = about(vault, format!("{}/{}", who.namespace, refusal.name));
        self.write(Kind::Read, actor(who), subject, refused(&refusal.reason))
            .await;
    }

    /// A token was refused. `who` is known only when it verified.
    pub fn token_refused(&self, reason: Reason, who: Option<&Identity>) {
        let actor = who.map_or_else(|| "unknown".to_owned(), actor);
        let subject = about(None, "token".to_owned());
        // Not waited for: a stranger must not make this node wait for its disk.
        tokio::spawn(self.write(Kind::Read, actor, subject, refused(reason.label())));
    }

    fn write(&self, kind: Kind, actor: String, subject: Subject, outcome: Outcome) -> Written {
        (self.write)(Happened {
            kind,
            actor,
            subject,
            outcome,
        })
    }
}

fn actor(who: &Identity) -> String {
    format!("{}/{}/{}", who.namespace, who.service_account, who.pod)
}

fn about(vault: Option<VaultId>, detail: String) -> Subject {
    Subject {
        vault,
        path: None,
        detail,
    }
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused {
        reason: short(reason),
        count: 1,
    }
}

fn outcome_of(failed: Option<&VaultError>) -> Outcome {
    match failed {
        None => Outcome::Done,
        Some(VaultError::Role { .. }) => refused("Role"),
        Some(_) => refused("Failed"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
