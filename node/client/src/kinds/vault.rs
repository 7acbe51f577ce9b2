//! A vault from outside: its state on this node, who has a part in it, and how that changes. Nothing here needs its contents.

use super::{By, from_millis, from_seconds};
use crate::api;
use jiff::Timestamp;
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};
use serde::Serialize;

/// One vault.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// Its id.
    pub id: VaultId,
    /// Its name on this node.
    pub name: Option<String>,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// `ok`, `pending`, `diverged`, `cloned`, `needs-upgrade` or `broken`.
    pub state: String,
    /// Pairs of versions that prove that two processes wrote with one identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubles: Vec<api::Double>,
    /// Authors who write faster than this node takes; absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<NodeId>,
    /// When an owner last gave its word, by a beat or a commit; absent where this node is an owner itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Timestamp>,
    /// The newest version.
    pub version: Option<CommitId>,
    /// When it was committed.
    pub changed: Option<Timestamp>,
    /// Who committed it.
    pub by: Option<By>,
    /// Live owners.
    pub owners: Vec<NodeId>,
    /// Live members.
    pub members: u32,
}

impl From<api::Vault> for Vault {
    fn from(v: api::Vault) -> Self {
        Vault {
            id: v.id,
            name: v.name,
            role: v.role,
            state: v.state,
            doubles: v.doubles,
            held_back: v.held_back,
            fresh: v.fresh_ms.and_then(from_millis),
            version: v.version,
            changed: v.committed_ms.and_then(from_millis),
            by: v.author.map(|id| By { id }),
            owners: v.owners,
            members: v.members,
        }
    }
}

/// One member of a vault.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// When its access ends.
    pub expires: Option<Timestamp>,
    /// What a cluster may hand to its pods.
    pub caveat: Option<api::Caveat>,
    /// It is this node.
    pub this_node: bool,
    /// A connection to it is open.
    pub connected: bool,
    /// How many other nodes of its gestalt it may bring in.
    pub siblings: u8,
    /// The grant of the fellow node that brought it in.
    pub under: Option<OpId>,
}

impl From<api::Member> for Member {
    fn from(m: api::Member) -> Self {
        Member {
            node: m.node,
            role: m.role,
            expires: m.expires.and_then(from_seconds),
            caveat: m.caveat,
            this_node: m.this_node,
            connected: m.connected,
            siblings: m.siblings,
            under: m.under,
        }
    }
}

/// `polykey share`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The vault, as it was named.
    pub vault: String,
    /// Who may use it now.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// When that ends.
    pub expires: Option<Timestamp>,
    /// What a cluster may hand to its pods.
    pub caveat: Option<api::Caveat>,
    /// The signed operation.
    pub grant: Option<OpId>,
    /// A connection is open, so the vault is on its way.
    pub connected: bool,
    /// It was so before.
    pub unchanged: bool,
    /// Nothing was written.
    pub dry_run: bool,
}

/// `polykey unshare`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The vault, as it was named.
    pub vault: String,
    /// Who may not read anything written from now on.
    pub node: NodeId,
    /// What it could read until now: rotate these.
    pub rotate: Vec<String>,
    /// Nothing was written.
    pub dry_run: bool,
}
