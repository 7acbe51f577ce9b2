//! A node of itself: what it runs as, whether it is the only one of its identity, and whom it talks to.

use super::Vault;
use polykey_core::ids::{NodeId, VaultId};
use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// Version of the program.
    pub software_version: String,
    /// Where the store is.
    pub node_path: String,
    /// How the identity was unlocked: `passphrase` or `keyfile`.
    pub unlock_method: String,
    /// Starts of this store, counted since it was made.
    pub boot: u64,
    /// UDP address of the QUIC endpoint.
    pub listen: Option<String>,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Digest of the access set in force; absent on a laptop and before the first set.
    pub access_set: Option<String>,
    /// Seconds since the access set was last confirmed.
    pub access_age_seconds: Option<u64>,
    /// Open watches of workloads.
    pub consumers: u32,
    /// Bytes of the store.
    #[serde(default)]
    pub store_bytes: u64,
    /// When what no version needs was last collected, unix milliseconds; absent until the first time since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_ms: Option<u64>,
    /// Whether it is the only one of its identity, and knows its own past.
    #[serde(default, skip_serializing_if = "Standing::is_quiet")]
    pub standing: Standing,
    /// Vaults, as `GET /v1/vaults`.
    pub vaults: Vec<Vault>,
    /// Peers, as `GET /v1/peers`.
    pub peers: Vec<Peer>,
}

/// What a node knows of other processes with its identity, and of its own past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Another one goes on, and this one writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yielded: Option<OtherProcess>,
    /// There is another one, and this one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubled: Option<OtherProcess>,
    /// The peer that had seen a later state of this store than it was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_by: Option<NodeId>,
}

impl Standing {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        *self == Standing::default()
    }
}

/// Another process with this node's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherProcess {
    /// Which start of the store it was.
    pub boot: u64,
    /// The peer that is or was connected to it.
    pub told_by: NodeId,
    /// When this node learned of it, unix milliseconds.
    pub at_ms: u64,
}

/// Answer to [`KeyRequest`](super::KeyRequest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReply {
    /// The node's id until now.
    pub old: NodeId,
    /// Its id from now on.
    pub new: NodeId,
    /// Vaults in which the new id has the old one's place.
    pub vaults: Vec<VaultId>,
}

/// One configured or connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// `host:port` dialled for it.
    pub addresses: Vec<String>,
    /// `configured`, `cluster` (a PolykeyPeer), `sibling` or `member`.
    pub origin: String,
    /// A connection is open.
    pub connected: bool,
    /// Two processes with its identity were connected at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cloned: bool,
    /// Remote address of the open connection.
    pub address: Option<String>,
    /// When it was last connected, unix milliseconds.
    pub seen_ms: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// `GET /v1/peers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// By node id.
    pub peers: Vec<Peer>,
}

/// `POST /v1/peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRequest {
    /// The node.
    pub node: NodeId,
    /// `host:port` to dial; absent when it dials this node.
    #[serde(default)]
    pub address: Option<String>,
}
