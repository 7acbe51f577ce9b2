//! A node as its own person sees it: its identity, the agent that runs it, what it says of itself, and the peers that it talks to.

use super::{Vault, from_millis};
use crate::api;
use jiff::Timestamp;
use polykey_core::ids::{NodeId, VaultId};
use serde::Serialize;

/// `polykey init`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The node id of this identity; absent when it was there before and stays sealed.
    pub node_id: Option<NodeId>,
    /// Where it is kept.
    pub node_path: String,
    /// False when it was there before and nothing was changed.
    pub created: bool,
    /// It was made from words that were given.
    pub restored: bool,
    /// Where the words were written, if they were.
    pub recovery_code_file: Option<String>,
}

/// `polykey key rotate`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyChange {
    /// The id of this device until now.
    pub old_id: NodeId,
    /// Its id from now on; absent in a dry run, which draws no key.
    pub new_id: Option<NodeId>,
    /// Vaults in which the new id has the old one's place.
    pub vaults: Vec<VaultId>,
    /// Peers of this device: those of them that a person configured know it by its old id.
    pub peers: Vec<NodeId>,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// `polykey agent start --background` and `polykey agent stop`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// It answers on its socket.
    pub running: bool,
    /// The Unix socket.
    pub socket: String,
    /// The node, while it runs.
    pub node_id: Option<NodeId>,
    /// UDP address of the QUIC endpoint.
    pub listen: Option<String>,
}

/// `polykey status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// Version of the agent's program.
    pub software_version: String,
    /// Where the store is.
    pub node_path: String,
    /// The Unix socket that answered.
    pub socket: String,
    /// `passphrase` or `keyfile`.
    pub unlock_method: String,
    /// UDP address of the QUIC endpoint.
    pub listen: Option<String>,
    /// Starts of this store.
    pub boot: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Bytes of the store on the disk.
    pub store_bytes: u64,
    /// When what no version needs was last removed from it, since the start.
    pub collected: Option<Timestamp>,
    /// Digest of the access set in force.
    pub access_set: Option<String>,
    /// Seconds since it was confirmed.
    pub access_age_seconds: Option<u64>,
    /// Open watches of workloads.
    pub consumers: u32,
    /// Vaults of this node.
    pub vaults: Vec<Vault>,
    /// Peers of this node.
    pub peers: Vec<Peer>,
    /// Whether it is the only one of its identity, and knows its own past; absent where there is nothing to say.
    #[serde(skip_serializing_if = "api::Standing::is_quiet")]
    pub standing: api::Standing,
    /// What a person should look at; `status --check` ends with 7 when there is any.
    pub problems: Vec<Problem>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub message: String,
    /// A command that helps or explains.
    pub next: Option<String>,
}

/// One peer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Where it is dialled.
    pub addresses: Vec<String>,
    /// `configured`, `cluster`, `sibling` or `member`.
    pub origin: String,
    /// A connection is open.
    pub connected: bool,
    /// Two processes with its identity were connected at once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cloned: bool,
    /// Remote address of the open connection.
    pub address: Option<String>,
    /// When it was last connected.
    pub seen: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

impl From<api::Peer> for Peer {
    fn from(p: api::Peer) -> Self {
        Peer {
            node: p.node,
            addresses: p.addresses,
            origin: p.origin,
            connected: p.connected,
            cloned: p.cloned,
            address: p.address,
            seen: p.seen_ms.and_then(from_millis),
            last_error: p.last_error,
        }
    }
}

/// `polykey version`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SoftwareVersion {
    /// Version of this program.
    pub software_version: String,
}
