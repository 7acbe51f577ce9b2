//! Who is known to this node and why, where each stands, and whose unknown vaults are welcome. Values in, decisions out.
//!
//! Being known only allows to talk. What a node may have is decided vault by vault, by their control logs.

use super::address::{Origin, PeerAddress};
use polykey_client::access;
use polykey_core::ids::{NodeId, VaultId};
use std::collections::{BTreeMap, BTreeSet};

/// Why a node is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A person added it.
    Configured,
    /// A `PolykeyPeer` in force names it.
    Cluster,
    /// It is a fellow replica.
    Sibling,
    /// It is a member of a shared vault, and nothing more.
    Member,
}

impl Why {
    /// The word in the local API.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Why::Configured => "configured",
            Why::Cluster => "cluster",
            Why::Sibling => "sibling",
            Why::Member => "member",
        }
    }
}

/// The lists of known nodes, except the members of vaults, whom the vaults know.
#[derive(Clone, Debug, Default)]
pub struct Known {
    configured: BTreeMap<NodeId, BTreeSet<PeerAddress>>,
    cluster: BTreeMap<NodeId, ClusterPeer>,
    siblings: BTreeMap<NodeId, BTreeSet<PeerAddress>>,
}

#[derive(Clone, Debug)]
struct ClusterPeer {
    addresses: BTreeSet<PeerAddress>,
    vaults: Option<BTreeSet<VaultId>>,
    expires: Option<u64>,
}

impl ClusterPeer {
    fn in_force(&self, now: u64) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

impl Known {
    /// Sets what a person wrote down for `node`.
    pub fn configure(&mut self, node: NodeId, addresses: BTreeSet<PeerAddress>) {
        self.configured.insert(node, addresses);
    }

    /// Forgets what a person wrote down; whether there was anything.
    pub fn forget(&mut self, node: &NodeId) -> bool {
        self.configured.remove(node).is_some()
    }

    /// What a person wrote down for `node`.
    #[must_use]
    pub fn configured(&self, node: &NodeId) -> Option<&BTreeSet<PeerAddress>> {
        self.configured.get(node)
    }

    /// How many nodes a person wrote down.
    #[must_use]
    pub fn configured_count(&self) -> usize {
        self.configured.len()
    }

    /// Puts an access set in force: all of it, replacing the one before. An address that is none is left out.
    pub fn set_access(&mut self, peers: &[access::Peer], siblings: &[access::Sibling]) {
        self.cluster = peers.iter().map(cluster_peer).collect();
        self.siblings = siblings
            .iter()
            .map(|s| (s.node, readable(&s.addresses)))
            .collect();
    }

    /// Why `node` is known at `now` (unix seconds), apart from its memberships.
    #[must_use]
    pub fn why(&self, node: &NodeId, now: u64) -> Option<Why> {
        if self.configured.contains_key(node) {
            Some(Why::Configured)
        } else if self.siblings.contains_key(node) {
            Some(Why::Sibling)
        } else {
            let peer = self.cluster.get(node)?;
            peer.in_force(now).then_some(Why::Cluster)
        }
    }

    /// Whether a vault that is unknown here may come from `sender`. The vault must grant this node access besides.
    #[must_use]
    pub fn admits(&self, sender: &NodeId, vault: &VaultId, now: u64) -> bool {
        let by_cluster = || {
            let peer = self.cluster.get(sender)?;
            let named = peer.vaults.as_ref().is_none_or(|v| v.contains(vault));
            Some(named && peer.in_force(now))
        };
        self.configured.contains_key(sender)
            || self.siblings.contains_key(sender)
            || by_cluster().unwrap_or(false)
    }

    /// All known nodes of the lists, in order.
    #[must_use]
    pub fn nodes(&self, now: u64) -> BTreeSet<NodeId> {
        let all = self.configured.keys().chain(self.siblings.keys());
        all.chain(self.cluster.keys())
            .filter(|node| self.why(node, now).is_some())
            .copied()
            .collect()
    }

    /// Where `node` is said to stand.
    #[must_use]
    pub fn addresses(&self, node: &NodeId, now: u64) -> BTreeSet<PeerAddress> {
        self.places(now)
            .into_iter()
            .filter(|(_, place)| place.nodes.contains(node))
            .map(|(address, _)| address)
            .collect()
    }

    /// Every address to dial, with the nodes that are said to stand there.
    #[must_use]
    pub fn places(&self, now: u64) -> BTreeMap<PeerAddress, Place> {
        let configured = self.configured.iter().map(|(n, a)| (n, a, Origin::Person));
        let siblings = self.siblings.iter().map(|(n, a)| (n, a, Origin::Cluster));
        let cluster = self
            .cluster
            .iter()
            .filter(|(_, p)| p.in_force(now))
            .map(|(n, p)| (n, &p.addresses, Origin::Cluster));
        let mut places = BTreeMap::<PeerAddress, Place>::new();
        for (node, addresses, origin) in configured.chain(siblings).chain(cluster) {
            for address in addresses {
                let place = places.entry(address.clone()).or_insert_with(|| Place {
                    nodes: BTreeSet::new(),
                    origin,
                });
                place.nodes.insert(*node);
                place.origin = place.origin.min(origin);
            }
        }
        places
    }
}

/// What stands at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The nodes: several behind one load balancer.
    pub nodes: BTreeSet<NodeId>,
    /// The most trusted of those who wrote it down.
    pub origin: Origin,
}

fn cluster_peer(peer: &access::Peer) -> (NodeId, ClusterPeer) {
    let entry = ClusterPeer {
        addresses: readable(&peer.addresses),
        vaults: peer.vaults.as_ref().map(|v| v.iter().copied().collect()),
        expires: peer.expires,
    };
    (peer.node, entry)
}

fn readable(addresses: &[String]) -> BTreeSet<PeerAddress> {
    addresses.iter().filter_map(|a| a.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn node(n: u8) -> NodeId {
        NodeId::from([n; 32])
    }

    fn vault(n: u8) -> VaultId {
        VaultId::from([n; 32])
    }

    fn at(text: &str) -> PeerAddress {
        text.parse().unwrap()
    }

    fn peer(n: u8, vaults: Option<Vec<VaultId>>, expires: Option<u64>) -> access::Peer {
        access::Peer {
            node: node(n),
            addresses: vec!["laptop.example:1".into(), "no address".into()],
            namespaces: vec!["*".into()],
            vaults,
            expires,
        }
    }

    fn sibling(n: u8) -> access::Sibling {
        access::Sibling {
            node: node(n),
            addresses: vec!["10.0.0.9:1314".into()],
        }
    }

    #[test]
    fn a_stranger_is_not_known_and_brings_nothing() {
        let mut known = Known::default();
        known.set_access(&[peer(1, None, None)], &[sibling(2)]);
        assert_eq!(known.why(&node(3), NOW), None);
        assert!(!known.admits(&node(3), &vault(1), NOW));
    }

    #[test]
    fn a_cluster_peer_brings_the_vaults_that_its_entry_names_until_it_ends() {
        let mut known = Known::default();
        known.set_access(&[peer(1, Some(vec![vault(7)]), Some(NOW + 1))], &[]);
        assert!(known.admits(&node(1), &vault(7), NOW));
        assert!(!known.admits(&node(1), &vault(8), NOW));
        assert!(!known.admits(&node(1), &vault(7), NOW + 1));
        assert_eq!(known.why(&node(1), NOW), Some(Why::Cluster));
        assert_eq!(known.why(&node(1), NOW + 1), None);
        assert!(known.places(NOW + 1).is_empty() && known.nodes(NOW + 1).is_empty());
    }

    #[test]
    fn a_new_access_set_replaces_the_one_before_and_leaves_people_s_peers() {
        let mut known = Known::default();
        known.configure(node(5), BTreeSet::from([at("a:1")]));
        known.set_access(&[peer(1, None, None)], &[sibling(2)]);
        known.set_access(&[], &[]);
        assert_eq!(known.nodes(NOW), BTreeSet::from([node(5)]));
        assert!(known.admits(&node(5), &vault(1), NOW));
        assert!(known.forget(&node(5)) && !known.forget(&node(5)));
        assert_eq!(known.why(&node(5), NOW), None);
    }

    #[test]
    fn several_nodes_may_stand_at_one_address_and_a_person_s_word_weighs_more() {
        let mut known = Known::default();
        known.configure(node(5), BTreeSet::from([at("10.0.0.9")]));
        known.set_access(&[], &[sibling(2), sibling(3)]);
        let places = known.places(NOW);
        let place = &places[&at("10.0.0.9:1314")];
        assert_eq!(place.nodes, BTreeSet::from([node(2), node(3), node(5)]));
        assert_eq!(place.origin, Origin::Person);
        assert_eq!(known.addresses(&node(3), NOW).len(), 1);
    }
}
