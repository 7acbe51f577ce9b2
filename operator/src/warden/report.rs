//! What a node reports, as the status of its PolykeyNode: pure.

use crate::crd::node::MAX_PREVIOUS;
use crate::crd::{PolykeyNode, PolykeyNodeStatus};
use crate::settings::Place;
use polykey_client::api::Status;
use serde_json::{Value, json};

/// UDP port of the nodes' QUIC endpoint.
const QUIC_PORT: u16 = 1314;

/// A PolykeyNode that says nothing yet.
pub(super) fn empty(name: &str) -> PolykeyNode {
    PolykeyNode { metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..kube::api::ObjectMeta::default() }, spec: crate::crd::node::PolykeyNodeSpec {}, status: None }
}

/// The status that a node's report makes. An id that differs from the one before means that the pod has another store: the old one is remembered.
#[must_use]
pub fn status_of(node: &Status, before: Option<&PolykeyNodeStatus>, place: &Place) -> PolykeyNodeStatus {
    let node_id = node.node_id.to_string();
    let mut previous = before.map(|b| b.previous_node_ids.clone()).unwrap_or_default();
    if let Some(old) = before.map(|b| &b.node_id).filter(|old| !old.is_empty() && **old != node_id && !previous.contains(old)) {
        previous.insert(0, old.clone());
        previous.truncate(MAX_PREVIOUS);
    }
    let count = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    PolykeyNodeStatus {
        node_id,
        previous_node_ids: previous,
        pod_uid: place.pod_uid.clone(),
        addresses: vec![format!("{}.{}:{QUIC_PORT}", place.pod_name, place.peers_domain)],
        software_version: Some(node.software_version.clone()),
        access_revision: node.access_set.clone(),
        peers: count(node.peers.iter().filter(|p| p.connected).count()),
        vaults: count(node.vaults.iter().filter(|v| v.state != "pending").count()),
        consumers: i32::try_from(node.consumers).ok(),
        conditions: Vec::new(),
    }
}

/// The body of the server-side apply of a status.
#[must_use]
pub fn report(name: &str, status: &PolykeyNodeStatus) -> Value {
    json!({"apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyNode", "metadata": {"name": name}, "status": status})
}
