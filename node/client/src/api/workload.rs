//! What reaches the workloads of a cluster, as the operator sees it: what each rule is served, what each pod holds of it, and what its sidecar says of that.

use super::{Peer, Vault};
use polykey_core::ids::{CommitId, NodeId};
use serde::{Deserialize, Serialize};

/// What one workload holds of one rule. Kept in memory by the node, keyed by pod uid and rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// Namespace of rule and pod.
    pub namespace: String,
    /// Name of the PolykeyVault.
    pub name: String,
    /// Pod, from its verified token.
    pub pod: String,
    /// Pod UID, from its verified token.
    pub pod_uid: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// The Kubernetes node that it runs on, when the token says so.
    pub kubernetes_node: Option<String>,
    /// `connecting`, `written`, `reloaded`, `failed` or `refused`.
    pub state: String,
    /// The version that it has in its files.
    pub version: Option<CommitId>,
    /// Why it was refused or failed, one of the frozen reasons.
    pub reason: Option<String>,
    /// A sentence for the namespace's admin.
    pub message: Option<String>,
    /// `content` (checked up to the signed root) or `commit` (contents are the node's word).
    pub provenance: Option<String>,
    /// The node's clock at the first acknowledgement of that version, unix milliseconds.
    pub since_ms: u64,
}

/// `GET /v1/consumers`. With `?watch` it is a stream of these, one JSON document a line: first the whole table, then each whole table after a change, at most one a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumers {
    /// By namespace, name and pod.
    pub consumers: Vec<Consumer>,
    /// What each rule would be served now, or why nothing.
    #[serde(default)]
    pub rules: Vec<RuleState>,
    /// The vaults of this node, without names.
    #[serde(default)]
    pub vaults: Vec<Vault>,
    /// Peers of this node.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// What a node would serve for one rule now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleState {
    /// Namespace of the PolykeyVault.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// [`crate::access::Rule::id`].
    pub id: String,
    /// The version that it serves.
    pub version: Option<CommitId>,
    /// Author of that version.
    pub author: Option<NodeId>,
    /// When it was committed, unix milliseconds.
    pub committed_ms: Option<u64>,
    /// An owner of the vault.
    pub owner: Option<NodeId>,
    /// Why nothing is served: one of the frozen reasons.
    pub reason: Option<String>,
    /// A sentence for the namespace's admin: the three keys, and which is missing.
    pub message: Option<String>,
}

/// `POST /v1/ack` of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Name of the PolykeyVault in the workload's namespace.
    pub name: String,
    /// The version in the files.
    pub version: Option<CommitId>,
    /// `written`, `reloaded` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// `content` or `commit`.
    #[serde(default)]
    pub provenance: Option<String>,
}
