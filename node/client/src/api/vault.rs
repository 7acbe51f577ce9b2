//! A vault from outside: its state on a node, who has a part in it, and how that changes. Nothing here needs its contents.

use super::KeyReply;
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};
use serde::{Deserialize, Serialize};

/// One vault of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// Its id.
    pub id: VaultId,
    /// The name that this node's person gave it; local to the node. Absent over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `mirror`, `reader`, `writer` or `owner`: what this node may do.
    pub role: String,
    /// The newest version; absent while nothing was committed or nothing arrived yet.
    pub version: Option<CommitId>,
    /// Who committed it.
    pub author: Option<NodeId>,
    /// When its author committed it, unix milliseconds.
    pub committed_ms: Option<u64>,
    /// Live owners.
    pub owners: Vec<NodeId>,
    /// Live members.
    pub members: u32,
    /// `ok`, `pending` (granted, contents not here yet), `diverged`, `cloned` (see `doubles`), `needs-upgrade` or `broken`.
    pub state: String,
    /// Pairs of versions that prove that two processes wrote with one identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubles: Vec<Double>,
    /// Authors who write faster than this node takes: what is beyond waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<NodeId>,
    /// When an owner last gave its word, by a beat or a commit, unix milliseconds by its clock; absent where this node is an owner itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_ms: Option<u64>,
}

/// Two versions with one number by one author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Double {
    /// Who wrote both.
    pub author: NodeId,
    /// The two.
    pub versions: [CommitId; 2],
}

/// `GET /v1/vaults`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vaults {
    /// All of them, by name, then id.
    pub vaults: Vec<Vault>,
}

/// `POST /v1/vaults`, and `POST /v1/vaults/{vault}/name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultName {
    /// The name to give.
    pub name: String,
}

/// One member of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// Unix seconds after which it is none.
    pub expires: Option<u64>,
    /// What the owner lets a cluster hand to its pods.
    pub caveat: Option<Caveat>,
    /// True for this node itself.
    pub this_node: bool,
    /// A connection to it is open.
    pub connected: bool,
    /// How many other nodes of its gestalt it may bring in.
    #[serde(default)]
    pub siblings: u8,
    /// The grant of the fellow node that brought it in.
    #[serde(default)]
    pub under: Option<OpId>,
}

/// `GET /v1/vaults/{vault}/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// All live members.
    pub members: Vec<Member>,
    /// A reader left without an owner at hand, and an owner has yet to start a new epoch.
    #[serde(default)]
    pub rotation_pending: bool,
}

/// What an owner lets a cluster hand to its pods; each empty list means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caveat {
    /// UID of the cluster's kube-system namespace.
    pub cluster: Option<String>,
    /// Namespaces.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// ServiceAccounts.
    #[serde(default)]
    pub service_accounts: Vec<String>,
    /// Paths in the vault.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// `POST /v1/vaults/{vault}/grants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantRequest {
    /// Who gets access.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// Unix seconds after which the grant ends by itself.
    #[serde(default)]
    pub expires: Option<u64>,
    /// What a cluster may hand to its pods.
    #[serde(default)]
    pub caveat: Option<Caveat>,
    /// How many other nodes of its gestalt it may bring in.
    #[serde(default)]
    pub siblings: u8,
}

/// Answer to a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantReply {
    /// The control operation.
    pub grant: OpId,
    /// The member has a connection now, so the vault is on its way.
    pub connected: bool,
    /// The same grant was live before; nothing was written.
    pub unchanged: bool,
}

/// Answer to `DELETE /v1/vaults/{vault}/members/{node}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeReply {
    /// Secrets that the removed node could read: rotate these.
    pub rotate: Vec<String>,
    /// Nodes that it had brought in, and that went with it.
    #[serde(default)]
    pub with: Vec<NodeId>,
}

/// Answer to [`Recovery`](super::Recovery).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryReply {
    /// The control operation.
    pub operation: OpId,
    /// Node ids that the maker had: no members any more.
    pub replaced: Vec<NodeId>,
    /// Changes of membership by others that fell out.
    pub undone: u32,
    /// Live members now.
    pub members: u32,
    /// The node got another key for this, and starts again by itself.
    #[serde(default)]
    pub key: Option<KeyReply>,
}
