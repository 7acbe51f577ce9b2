//! What the status of a PolykeyPeer and the conditions of a PolykeyNode should say. Pure, as [`crate::controller::plan`].

use crate::controller::conditions::{Conditions, time};
use crate::controller::observe::Observed;
use crate::controller::reasons::{NO_NODES, PEER_UNREACHABLE, UNSUPPORTED, WRONG_NAMESPACE};
use crate::crd::status::Truth;
use crate::crd::{Condition, PolykeyNode, PolykeyPeer, PolykeyPeerStatus};
use jiff::Timestamp;
use kube::ResourceExt;
use polykey_client::api::Peer;
use polykey_core::ids::NodeId;
use std::collections::BTreeSet;

/// The status that a PolykeyPeer should have now.
#[must_use]
pub fn plan_peer(
    object: &PolykeyPeer,
    observed: &Observed<'_>,
    install_namespace: &str,
    now: Timestamp,
) -> PolykeyPeerStatus {
    let before = object.status.clone().unwrap_or_default();
    let rows: Vec<&Peer> = observed
        .peers()
        .filter(|p| p.node.to_string() == object.spec.node_id)
        .collect();
    let open = rows.iter().find(|p| p.connected);
    let (truth, reason, message) = judge(object, observed, &rows, install_namespace, now);
    let mut conditions = Conditions::new(&before.conditions, object.metadata.generation, now);
    conditions.set("Ready", truth, reason, &message);
    let stalled = [WRONG_NAMESPACE, UNSUPPORTED, "Expired"].contains(&reason);
    conditions.set_if(stalled, "Stalled", reason, &message);
    let ended = rows
        .iter()
        .filter(|_| open.is_none())
        .filter_map(|p| p.seen_ms)
        .max()
        .and_then(time);
    PolykeyPeerStatus {
        observed_generation: object.metadata.generation,
        conditions: conditions.finish(),
        last_seen: later(before.last_seen, ended),
        address: open
            .and_then(|p| p.address.as_ref())
            .map(|a| a.chars().take(260).collect())
            .or(before.address),
        vaults: if observed.answering() == 0 {
            before.vaults
        } else {
            Some(owned(object, observed))
        },
    }
}

fn judge(
    object: &PolykeyPeer,
    observed: &Observed<'_>,
    rows: &[&Peer],
    install: &str,
    now: Timestamp,
) -> (Truth, &'static str, String) {
    let spec = &object.spec;
    if object.namespace().as_deref() != Some(install) {
        return (
            Truth::False,
            WRONG_NAMESPACE,
            format!("a PolykeyPeer counts only in namespace {install}, where Polykey is installed"),
        );
    }
    if !spec.unknown.is_empty() {
        let names: Vec<&str> = spec.unknown.keys().map(String::as_str).collect();
        return (
            Truth::False,
            UNSUPPORTED,
            format!(
                "{}: not supported by this version, so the peer is not honoured",
                names.join(", ")
            ),
        );
    }
    let malformed = spec
        .vaults
        .iter()
        .flatten()
        .find(|v| v.parse::<polykey_core::ids::VaultId>().is_err());
    if spec.node_id.parse::<NodeId>().is_err() || malformed.is_some() {
        let what = malformed.map_or(
            "spec.nodeId is no node id",
            |_| "spec.vaults holds something that is no vault id",
        );
        return (
            Truth::False,
            UNSUPPORTED,
            format!("{what}, so the peer is not honoured"),
        );
    }
    if let Some(expires) = spec.expires.as_ref().filter(|e| e.0 <= now) {
        return (
            Truth::False,
            "Expired",
            format!("spec.expires was {}", expires.0),
        );
    }
    if observed.answering() == 0 {
        return (
            Truth::Unknown,
            NO_NODES,
            "no Polykey node answers the operator".into(),
        );
    }
    if rows.iter().any(|p| p.connected) {
        return (Truth::True, "Connected", "connected".into());
    }
    let dials = spec.addresses.as_ref().is_some_and(|a| !a.is_empty());
    let message = if dials {
        "none of its addresses answers; pods keep what they have and new pods start from the cluster's nodes"
    } else {
        "it dials this cluster and is away; pods keep what they have and new pods start from the cluster's nodes"
    };
    (Truth::False, PEER_UNREACHABLE, message.into())
}

/// Vaults here that the peer owns, and that its object does not narrow away.
fn owned(object: &PolykeyPeer, observed: &Observed<'_>) -> i32 {
    let is_owner = |owner: &NodeId| owner.to_string() == object.spec.node_id;
    let narrowed = |id: &str| {
        object
            .spec
            .vaults
            .as_ref()
            .is_none_or(|vaults| vaults.iter().any(|v| v == id))
    };
    let ids: BTreeSet<_> = observed
        .vaults()
        .filter(|v| v.owners.iter().any(is_owner) && narrowed(&v.id.to_string()))
        .map(|v| v.id)
        .collect();
    i32::try_from(ids.len()).unwrap_or(i32::MAX)
}

type Moment = Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>;

fn later(a: Moment, b: Moment) -> Moment {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 > a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// The conditions that a PolykeyNode should have now; `None` while its warden has not reported it yet.
#[must_use]
pub fn plan_node(object: &PolykeyNode, answers: bool, now: Timestamp) -> Option<Vec<Condition>> {
    let status = object.status.as_ref()?;
    let mut conditions = Conditions::new(&status.conditions, object.metadata.generation, now);
    let (truth, reason, message) = match (answers, status.access_revision.is_some()) {
        (true, true) => (Truth::True, "Serving", "it serves workloads"),
        (true, false) => (
            Truth::False,
            "NoAccessRules",
            "its warden has not given it the access rules yet",
        ),
        (false, _) => (
            Truth::False,
            "Unreachable",
            "it does not answer the operator",
        ),
    };
    conditions.set("Ready", truth, reason, message);
    Some(conditions.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::observe::NodeView;
    use crate::crd::status::find;
    use polykey_client::api::Consumers;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn id() -> NodeId {
        NodeId::from([3; 32])
    }

    fn object(namespace: &str, more: &Value) -> PolykeyPeer {
        let mut spec = json!({"nodeId": id()});
        for (k, v) in more.as_object().expect("an object") {
            spec[k] = v.clone();
        }
        serde_json::from_value(json!({"apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyPeer", "metadata": {"name": "laptop", "namespace": namespace, "generation": 1}, "spec": spec})).expect("a PolykeyPeer")
    }

    fn nodes(connected: bool, seen_ms: u64) -> Vec<NodeView> {
        let table: Consumers = serde_json::from_value(json!({
            "consumers": [],
            "peers": [{"node": id(), "addresses": [], "origin": "cluster", "connected": connected, "address": connected.then_some("192.0.2.1:9"), "seenMs": seen_ms, "lastError": null}],
            "vaults": [{"id": polykey_core::ids::VaultId::from([7; 32]), "role": "reader", "version": null, "author": null, "committedMs": null, "owners": [id()], "members": 2, "state": "ok"}],
        }))
        .expect("a table");
        vec![NodeView {
            name: "n0".into(),
            table: Some(Arc::new(table)),
        }]
    }

    fn planned(object: &PolykeyPeer, nodes: &[NodeView]) -> (PolykeyPeerStatus, String) {
        let status = plan_peer(
            object,
            &Observed::new(nodes),
            "polykey-system",
            Timestamp::from_second(1_800_000_000).expect("a time"),
        );
        let reason = find(&status.conditions, "Ready")
            .expect("Ready")
            .reason
            .clone();
        (status, reason)
    }

    #[test]
    fn each_state_of_a_peer_has_its_reason() {
        let here = |more: &Value| object("polykey-system", more);
        let narrowed_wrong = json!({"vaults": [format!("z{}", "1".repeat(44))]});
        for (peer, nodes, reason) in [
            (object("shop", &json!({})), nodes(true, 1), "WrongNamespace"),
            (
                here(&json!({"hours": "9-17"})),
                nodes(true, 1),
                "Unsupported",
            ),
            (here(&narrowed_wrong), nodes(true, 1), "Unsupported"),
            (
                here(&json!({"expires": "2020-01-01T00:00:00Z"})),
                nodes(true, 1),
                "Expired",
            ),
            (here(&json!({})), vec![], "NoNodes"),
            (here(&json!({})), nodes(true, 1), "Connected"),
            (here(&json!({})), nodes(false, 1), "PeerUnreachable"),
        ] {
            assert_eq!(planned(&peer, &nodes).1, reason);
        }
    }

    #[test]
    fn last_seen_is_written_when_a_connection_ended_and_not_while_it_lasts() {
        let mut peer = object("polykey-system", &json!({}));
        let (open, _) = planned(&peer, &nodes(true, 5_000));
        assert_eq!(
            (
                open.last_seen.as_ref(),
                open.address.as_deref(),
                open.vaults
            ),
            (None, Some("192.0.2.1:9"), Some(1))
        );
        peer.status = Some(open);
        let (ended, _) = planned(&peer, &nodes(false, 9_000));
        assert_eq!(ended.last_seen.as_ref().map(|t| t.0.as_second()), Some(9));
        assert_eq!(
            ended.address.as_deref(),
            Some("192.0.2.1:9"),
            "where it was last stays"
        );
        peer.status = Some(ended.clone());
        assert_eq!(
            planned(&peer, &nodes(false, 9_000)).0,
            ended,
            "nothing moves while nothing happens"
        );
    }

    #[test]
    fn a_node_is_ready_while_it_answers_with_rules_in_force_and_has_no_conditions_before_it_reported()
     {
        let mut node = PolykeyNode::new("polykey-0", crate::crd::node::PolykeyNodeSpec {});
        let now = Timestamp::from_second(1).expect("a time");
        assert!(plan_node(&node, true, now).is_none());
        node.status = Some(crate::crd::PolykeyNodeStatus::default());
        let ready = |node: &PolykeyNode, answers| {
            plan_node(node, answers, now).expect("conditions")[0]
                .reason
                .clone()
        };
        assert_eq!(ready(&node, true), "NoAccessRules");
        node.status = Some(crate::crd::PolykeyNodeStatus {
            access_revision: Some("ab".into()),
            ..crate::crd::PolykeyNodeStatus::default()
        });
        assert_eq!(ready(&node, true), "Serving");
        assert_eq!(ready(&node, false), "Unreachable");
    }
}
