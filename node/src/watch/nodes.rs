//! The nodes of this cluster as sidecars know them: the first frame of every watch, which replaces the pins that a pod was admitted with.

use crate::access::InForce;
use polykey_client::watch::NodeAddress;
use polykey_core::ids::NodeId;

/// This node, and how its siblings are reached.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// This node.
    pub me: NodeId,
    /// `host:port` of its TLS API by its own name, when it has one.
    pub address: Option<String>,
    /// Port of the siblings' TLS API: the same as this node's.
    pub port: u16,
}

impl Nodes {
    /// This node first, then its siblings. Their names come from the access set, which has the addresses of their QUIC endpoints.
    #[must_use]
    pub fn list(&self, set: &InForce) -> Vec<NodeAddress> {
        let me = NodeAddress {
            node: self.me,
            address: self.address.clone().unwrap_or_default(),
        };
        let siblings = &set.set().siblings;
        let others = siblings.iter().filter(|s| s.node != self.me);
        std::iter::once(me)
            .chain(others.map(|s| {
                NodeAddress {
                    node: s.node,
                    address: s
                        .addresses
                        .first()
                        .and_then(|a| a.rsplit_once(':'))
                        .map_or_else(String::new, |(host, _)| format!("{host}:{}", self.port)),
                }
            }))
            .collect()
    }
}
