//! What a replica's PolykeyNode says, from what its node says. Pure.

use crate::crd::PolykeyNodeStatus;
use crate::crd::node::MAX_PREVIOUS;
use crate::warden::project::{Own, QUIC_PORT};
use polykey_client::api::Status;

/// The status that the warden owns: all fields but conditions, which are the operator's.
#[must_use]
pub fn node_status(
    status: &Status,
    before: Option<&PolykeyNodeStatus>,
    own: &Own,
    pod_uid: &str,
) -> PolykeyNodeStatus {
    let node_id = status.node_id.to_string();
    PolykeyNodeStatus {
        previous_node_ids: previous(before, &node_id),
        node_id,
        pod_uid: pod_uid.to_owned(),
        addresses: vec![own.address(&own.pod_name, QUIC_PORT)],
        software_version: Some(status.software_version.chars().take(64).collect()),
        access_revision: status.access_set.clone(),
        peers: Some(count(status.peers.iter().filter(|p| p.connected).count())),
        vaults: Some(count(
            status
                .vaults
                .iter()
                .filter(|v| v.state != "pending")
                .count(),
        )),
        consumers: Some(i32::try_from(status.consumers).unwrap_or(i32::MAX)),
        conditions: Vec::new(),
    }
}

/// Without conditions, as the warden writes it.
#[must_use]
pub fn without_conditions(status: &PolykeyNodeStatus) -> PolykeyNodeStatus {
    PolykeyNodeStatus {
        conditions: Vec::new(),
        ..status.clone()
    }
}

/// True when more differs than the counts that move with every pod and connection: such a change is written at once.
#[must_use]
pub fn urgent(before: Option<&PolykeyNodeStatus>, now: &PolykeyNodeStatus) -> bool {
    let facts = |s: &PolykeyNodeStatus| PolykeyNodeStatus {
        peers: None,
        consumers: None,
        ..without_conditions(s)
    };
    before.map(facts) != Some(facts(now))
}

/// An id that changed moves to the front of the former ones: the volume was lost.
fn previous(before: Option<&PolykeyNodeStatus>, node_id: &str) -> Vec<String> {
    let Some(before) = before else {
        return Vec::new();
    };
    let changed =
        (before.node_id != node_id && !before.node_id.is_empty()).then(|| before.node_id.clone());
    let former = before
        .previous_node_ids
        .iter()
        .filter(|id| *id != node_id && changed.as_ref() != Some(id))
        .cloned();
    changed
        .clone()
        .into_iter()
        .chain(former)
        .take(MAX_PREVIOUS)
        .collect()
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polykey_core::ids::NodeId;
    use serde_json::json;

    fn own() -> Own {
        Own {
            cluster_uid: "c".into(),
            namespace: "ns".into(),
            pod_name: "polykey-1".into(),
            peers_domain: "polykey-peers.ns.svc".into(),
        }
    }

    fn status(id: [u8; 32], consumers: u32) -> Status {
        serde_json::from_value(json!({
            "nodeId": NodeId::from(id), "softwareVersion": "0.1.0", "nodePath": "/x", "unlockMethod": "keyfile", "boot": 1, "listen": null, "uptimeSeconds": 5,
            "accessSet": "ab", "accessAgeSeconds": 1, "consumers": consumers, "vaults": [],
            "peers": [
                {"node": NodeId::from([8; 32]), "addresses": [], "origin": "cluster", "connected": true, "address": null, "seenMs": null, "lastError": null},
                {"node": NodeId::from([9; 32]), "addresses": [], "origin": "cluster", "connected": false, "address": null, "seenMs": null, "lastError": null},
            ],
        }))
        .expect("a status")
    }

    #[test]
    fn a_replica_reports_itself_and_only_open_connections() {
        let now = node_status(&status([1; 32], 2), None, &own(), "uid-1");
        assert_eq!(now.node_id, NodeId::from([1; 32]).to_string());
        assert_eq!(now.addresses, ["polykey-1.polykey-peers.ns.svc:1314"]);
        assert_eq!(
            (now.peers, now.vaults, now.consumers),
            (Some(1), Some(0), Some(2))
        );
        assert!(now.previous_node_ids.is_empty());
    }

    #[test]
    fn a_lost_volume_leaves_the_old_id_among_the_former_ones_once() {
        let first = node_status(&status([1; 32], 0), None, &own(), "a");
        let second = node_status(&status([2; 32], 0), Some(&first), &own(), "b");
        assert_eq!(
            second.previous_node_ids,
            std::slice::from_ref(&first.node_id)
        );
        let again = node_status(&status([2; 32], 0), Some(&second), &own(), "b");
        assert_eq!(again, second, "an unchanged id changes nothing");
        let back = node_status(&status([1; 32], 0), Some(&second), &own(), "c");
        assert_eq!(back.previous_node_ids, [second.node_id]);
    }

    #[test]
    fn former_ids_stay_within_their_limit() {
        let mut before = None;
        for n in 0..20u8 {
            before = Some(node_status(
                &status([n; 32], 0),
                before.as_ref(),
                &own(),
                "u",
            ));
        }
        assert_eq!(
            before.expect("a status").previous_node_ids.len(),
            MAX_PREVIOUS
        );
    }

    #[test]
    fn counts_are_not_urgent_and_facts_are() {
        let before = node_status(&status([1; 32], 0), None, &own(), "a");
        assert!(!urgent(
            Some(&before),
            &node_status(&status([1; 32], 5), Some(&before), &own(), "a")
        ));
        assert!(urgent(
            Some(&before),
            &node_status(&status([1; 32], 0), Some(&before), &own(), "b")
        ));
        assert!(urgent(None, &before));
    }
}
