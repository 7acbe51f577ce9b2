use super::*;
use crate::crd::PolykeyNodeStatus;
use serde_json::{Value, json};

const NODE_A: [u8; 32] = [1; 32];
const NODE_B: [u8; 32] = [2; 32];

fn own() -> Own {
    Own {
        cluster_uid: "c1".into(),
        namespace: "polykey-system".into(),
        pod_name: "polykey-0".into(),
        peers_domain: "polykey-peers.polykey-system.svc".into(),
    }
}

fn vault_id() -> String {
    VaultId::from([7; 32]).to_string()
}

fn vault(namespace: &str, name: &str, more: &Value) -> PolykeyVault {
    let mut spec = json!({"vault": vault_id(), "serviceAccounts": ["app"]});
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyVault",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("uid-{name}"), "generation": 3},
        "spec": spec,
    }))
    .expect("a PolykeyVault")
}

fn peer_object(namespace: &str, spec: &Value) -> PolykeyPeer {
    serde_json::from_value(json!({
        "apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyPeer", "metadata": {"namespace": namespace, "name": "laptop"}, "spec": spec,
    }))
    .expect("a PolykeyPeer")
}

fn node(name: &str, id: [u8; 32]) -> PolykeyNode {
    let status = PolykeyNodeStatus {
        node_id: NodeId::from(id).to_string(),
        pod_uid: "u".into(),
        ..PolykeyNodeStatus::default()
    };
    let mut node = PolykeyNode::new(name, crate::crd::node::PolykeyNodeSpec {});
    node.metadata.namespace = Some("polykey-system".into());
    node.status = Some(status);
    node
}

fn set(vaults: &[PolykeyVault], peers: &[PolykeyPeer], nodes: &[PolykeyNode]) -> AccessSet {
    project(
        vaults,
        peers,
        nodes,
        &own(),
        &Revision {
            vaults: "40".into(),
            peers: "41".into(),
        },
    )
}

#[test]
fn two_fields_make_a_rule() {
    let made = set(&[vault("shop", "app", &json!({}))], &[], &[]);
    assert_eq!(made.source, "k8s:c1");
    assert_eq!(
        made.revision,
        BTreeMap::from([
            ("polykeyvaults".into(), "40".into()),
            ("polykeypeers".into(), "41".into())
        ])
    );
    assert_eq!(made.rules.len(), 1);
    let rule = &made.rules[0];
    assert_eq!(
        (
            rule.id.as_str(),
            rule.namespace.as_str(),
            rule.name.as_str()
        ),
        ("shop/app#uid-app@3", "shop", "app")
    );
    assert_eq!(rule.subjects, ["shop:app"]);
    assert!(
        rule.paths.is_empty() && rule.version.is_none() && rule.signers.is_empty() && !rule.suspend
    );
    assert_eq!(made.set, made.digest());
    assert!(!made.restored);
}

#[test]
fn restrictions_reach_the_rule() {
    let pin = "ab".repeat(32);
    let signer = NodeId::from(NODE_A).to_string();
    let made = set(
        &[vault(
            "shop",
            "app",
            &json!({"version": pin, "signers": [signer], "suspend": true}),
        )],
        &[],
        &[],
    );
    let rule = &made.rules[0];
    assert_eq!(rule.version.expect("a pin").to_string(), pin);
    assert_eq!(rule.signers, [NodeId::from(NODE_A)]);
    assert!(rule.suspend);
}

#[test]
fn a_field_that_is_not_built_makes_no_rule_and_is_named() {
    for (field, value) in [
        ("files", json!([{"from": "db/"}])),
        ("reload", json!([{"restartPod": {}}])),
        ("secret", json!({"name": "s"})),
        ("maxAge", json!("1h")),
        ("whenStale", json!("Serve")),
        ("onlyOnTuesdays", json!(true)),
    ] {
        let object = vault("shop", "app", &json!({ field: value }));
        assert!(
            set(std::slice::from_ref(&object), &[], &[])
                .rules
                .is_empty(),
            "{field} made a rule"
        );
        let said = unservable(&object.spec).unwrap_or_default();
        assert!(
            said.starts_with(&format!("{field} is not supported")),
            "{field}: {said}"
        );
    }
    assert_eq!(
        unservable(
            &vault(
                "shop",
                "app",
                &json!({"version": "ab".repeat(32), "suspend": false})
            )
            .spec
        ),
        None
    );
}

#[test]
fn an_id_of_the_right_alphabet_and_wrong_length_makes_no_rule() {
    let object = vault(
        "shop",
        "app",
        &json!({"vault": format!("z{}", "1".repeat(44))}),
    );
    assert!(
        set(std::slice::from_ref(&object), &[], &[])
            .rules
            .is_empty()
    );
    assert!(
        unservable(&object.spec)
            .expect("said")
            .contains("not a vault id")
    );
}

#[test]
fn objects_that_are_being_deleted_grant_nothing() {
    let mut object = vault("shop", "app", &json!({}));
    object.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time"));
    let mut peer = peer_object(
        "polykey-system",
        &json!({"nodeId": NodeId::from(NODE_A).to_string()}),
    );
    peer.metadata.deletion_timestamp = object.metadata.deletion_timestamp.clone();
    let made = set(&[object], &[peer], &[]);
    assert!(made.rules.is_empty() && made.peers.is_empty());
}

#[test]
fn a_peer_counts_only_in_the_namespace_of_the_installation() {
    let spec = json!({"nodeId": NodeId::from(NODE_A).to_string(), "namespaces": ["shop"], "expires": "2026-01-01T00:00:00Z", "vaults": [vault_id()]});
    let made = set(
        &[],
        &[
            peer_object("shop", &spec),
            peer_object("polykey-system", &spec),
        ],
        &[],
    );
    assert_eq!(made.peers.len(), 1);
    let peer = &made.peers[0];
    assert_eq!(peer.node, NodeId::from(NODE_A));
    assert_eq!(peer.namespaces, ["shop"]);
    assert_eq!(peer.expires, Some(1_767_225_600));
    assert_eq!(peer.vaults.as_deref(), Some(&[VaultId::from([7; 32])][..]));
}

#[test]
fn a_peer_with_a_field_of_a_newer_schema_or_a_vault_that_is_none_is_not_honoured() {
    let id = NodeId::from(NODE_A).to_string();
    for spec in [
        json!({"nodeId": id, "hours": "9-17"}),
        json!({"nodeId": id, "vaults": [format!("z{}", "1".repeat(44))]}),
        json!({"nodeId": format!("v{}", "v".repeat(52))}),
    ] {
        assert!(
            set(&[], &[peer_object("polykey-system", &spec)], &[])
                .peers
                .is_empty(),
            "{spec}"
        );
    }
}

#[test]
fn siblings_are_the_other_replicas_at_their_headless_names() {
    let made = set(
        &[],
        &[],
        &[node("polykey-0", NODE_A), node("polykey-1", NODE_B)],
    );
    assert_eq!(
        made.siblings,
        [Sibling {
            node: NodeId::from(NODE_B),
            addresses: vec!["polykey-1.polykey-peers.polykey-system.svc:1314".into()]
        }]
    );
}

#[test]
fn the_order_of_objects_does_not_change_the_set() {
    let (a, b) = (
        vault("shop", "a", &json!({"serviceAccounts": ["x", "y"]})),
        vault("ops", "b", &json!({})),
    );
    let turned = vault("shop", "a", &json!({"serviceAccounts": ["y", "x"]}));
    assert_eq!(set(&[a, b.clone()], &[], &[]), set(&[b, turned], &[], &[]));
}

#[test]
fn no_subject_is_of_another_namespace() {
    let made = set(
        &[vault(
            "shop",
            "app",
            &json!({"serviceAccounts": ["ops:admin", "app"]}),
        )],
        &[],
        &[],
    );
    assert!(
        made.rules[0]
            .subjects
            .iter()
            .all(|s| s.starts_with("shop:"))
    );
}
