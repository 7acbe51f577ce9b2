use super::*;
use crate::controller::observe::NodeView;
use crate::crd::status::find;
use polykey_client::api::Consumers;
use polykey_core::ids::{NodeId, VaultId};
use serde_json::{Value, json};
use std::sync::Arc;

const ID: &str = "shop/app#u1@2";

fn vault() -> VaultId {
    VaultId::from([7; 32])
}

fn version_of(n: u8) -> CommitId {
    CommitId::from([n; 32])
}

fn object(more: &Value) -> PolykeyVault {
    let mut spec = json!({"vault": vault(), "serviceAccounts": ["app"]});
    for (k, v) in more.as_object().expect("an object") {
        spec[k] = v.clone();
    }
    serde_json::from_value(json!({"apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyVault", "metadata": {"namespace": "shop", "name": "app", "uid": "u1", "generation": 2}, "spec": spec}))
        .expect("a PolykeyVault")
}

fn serves(n: u8) -> Value {
    json!({"namespace": "shop", "name": "app", "id": ID, "version": version_of(n), "author": NodeId::from([1; 32]), "committedMs": u64::from(n) * 1000, "owner": NodeId::from([1; 32]), "reason": null, "message": null})
}

fn refuses(reason: &str) -> Value {
    json!({"namespace": "shop", "name": "app", "id": ID, "version": null, "author": null, "committedMs": null, "owner": null, "reason": reason, "message": format!("three keys: {reason}")})
}

fn pod(name: &str, state: &str, holds: Option<u8>, reason: Option<&str>) -> Value {
    json!({"namespace": "shop", "name": "app", "pod": name, "podUid": format!("uid-{name}"), "serviceAccount": "app", "kubernetesNode": "k1", "state": state,
        "version": holds.map(version_of), "reason": reason, "message": reason.map(|r| format!("because {r}")), "provenance": null, "sinceMs": 1000})
}

fn node(name: &str, rules: &[Value], pods: &[Value]) -> NodeView {
    let table: Consumers = serde_json::from_value(
        json!({"consumers": pods, "rules": rules, "vaults": [], "peers": []}),
    )
    .expect("a table");
    NodeView {
        name: name.into(),
        table: Some(Arc::new(table)),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn planned(object: &PolykeyVault, nodes: &[NodeView]) -> PolykeyVaultStatus {
    plan(object, &Observed::new(nodes), at(100))
}

/// `Ready=True/AllPodsCurrent` and so on for the named conditions that are there.
fn shown(status: &PolykeyVaultStatus, type_: &str) -> String {
    find(&status.conditions, type_).map_or_else(
        || "absent".into(),
        |c| format!("{}/{}", c.status.as_str(), c.reason),
    )
}

fn summary(status: &PolykeyVaultStatus) -> &str {
    status
        .pods
        .as_ref()
        .and_then(|p| p.summary.as_deref())
        .expect("pods")
}

/// What is done to the object, what the nodes say, and the conditions expected: Ready, Authorized, Available, Delivered, Reconciling, Stalled.
type Case = (&'static str, Value, Vec<NodeView>, [&'static str; 6]);

#[rustfmt::skip]
fn cases_of_contents() -> Vec<Case> {
    let gone = NodeView { name: "n1".into(), table: None };
    let one = |rule: Value, pods: &[Value]| vec![node("n0", &[rule], pods)];
    vec![
        ("all pods current", json!({}), one(serves(1), &[pod("a", "written", Some(1), None), pod("b", "reloaded", Some(1), None)]),
            ["True/AllPodsCurrent", "True/Granted", "True/Served", "True/AllPodsCurrent", "absent", "absent"]),
        ("no pods", json!({}), one(serves(1), &[]),
            ["True/NoPods", "True/Granted", "True/Served", "True/NoPods", "absent", "absent"]),
        ("a pod lags", json!({}), one(serves(2), &[pod("a", "written", Some(2), None), pod("b", "written", Some(1), None)]),
            ["False/Rolling", "True/Granted", "True/Served", "False/Rolling", "True/Rolling", "absent"]),
        ("a pod is connecting", json!({}), one(serves(1), &[pod("a", "connecting", None, None)]),
            ["False/Rolling", "True/Granted", "True/Served", "False/Rolling", "True/Rolling", "absent"]),
        ("a pod is refused", json!({}), one(serves(1), &[pod("a", "written", Some(1), None), pod("b", "refused", None, Some("ServiceAccountNotListed"))]),
            ["False/ServiceAccountNotListed", "True/Granted", "True/Served", "False/ServiceAccountNotListed", "absent", "absent"]),
        ("a pod failed", json!({}), one(serves(1), &[pod("a", "failed", Some(1), Some("PathUnusable"))]),
            ["False/PathUnusable", "True/Granted", "True/Served", "False/PathUnusable", "absent", "absent"]),
        ("suspended", json!({"suspend": true}), one(refuses("Suspended"), &[]),
            ["False/Suspended", "True/Granted", "False/Suspended", "True/NoPods", "absent", "absent"]),
        ("the pin is missing", json!({}), one(refuses("PinMissing"), &[]),
            ["False/PinMissing", "True/Granted", "False/PinMissing", "Unknown/PinMissing", "absent", "True/PinMissing"]),
        ("the signer is not listed", json!({}), one(refuses("SignerNotListed"), &[]),
            ["False/SignerNotListed", "True/Granted", "False/SignerNotListed", "Unknown/SignerNotListed", "absent", "True/SignerNotListed"]),
        ("one of two replicas lacks it", json!({}), vec![node("n0", &[serves(1)], &[]), node("n1", &[refuses("NotGranted")], &[])],
            ["True/NoPods", "True/Granted", "True/Served", "True/NoPods", "True/Rolling", "absent"]),
        ("one of two replicas is silent", json!({}), vec![node("n0", &[serves(1)], &[]), gone],
            ["True/NoPods", "True/Granted", "True/Served", "True/NoPods", "True/Rolling", "absent"]),
    ]
}

#[rustfmt::skip]
fn cases_of_access() -> Vec<Case> {
    let gone = NodeView { name: "n0".into(), table: None };
    let one = |rule: Value, pods: &[Value]| vec![node("n0", &[rule], pods)];
    vec![
        ("the vault is not shared", json!({}), one(refuses("NotGranted"), &[]),
            ["False/NotGranted", "False/NotGranted", "False/NotGranted", "Unknown/NotGranted", "absent", "True/NotGranted"]),
        ("the vault is not known and a pod waits", json!({}), one(refuses("VaultNotFound"), &[pod("a", "refused", None, Some("VaultNotFound"))]),
            ["False/VaultNotFound", "False/VaultNotFound", "False/VaultNotFound", "False/VaultNotFound", "absent", "True/VaultNotFound"]),
        ("the namespace is not admitted", json!({}), one(refuses("NamespaceNotAdmitted"), &[]),
            ["False/NamespaceNotAdmitted", "False/NamespaceNotAdmitted", "False/NamespaceNotAdmitted", "Unknown/NamespaceNotAdmitted", "absent", "True/NamespaceNotAdmitted"]),
        ("the caveat refuses", json!({}), one(refuses("CaveatRefused"), &[]),
            ["False/CaveatRefused", "False/CaveatRefused", "False/CaveatRefused", "Unknown/CaveatRefused", "absent", "True/CaveatRefused"]),
        ("no listed ServiceAccount", json!({}), one(refuses("ServiceAccountNotListed"), &[]),
            ["False/ServiceAccountNotListed", "False/ServiceAccountNotListed", "False/ServiceAccountNotListed", "Unknown/ServiceAccountNotListed", "absent", "True/ServiceAccountNotListed"]),
        ("an unbuilt field", json!({"maxAge": "1h"}), vec![node("n0", &[], &[])],
            ["False/Unsupported", "Unknown/Unsupported", "False/Unsupported", "Unknown/Unsupported", "absent", "True/Unsupported"]),
        ("no nodes", json!({}), vec![],
            ["False/NoNodes", "Unknown/NoNodes", "False/NoNodes", "Unknown/NoNodes", "absent", "absent"]),
        ("no node answers", json!({}), vec![gone],
            ["Unknown/NoNodes", "Unknown/NoNodes", "Unknown/NoNodes", "Unknown/NoNodes", "absent", "absent"]),
        ("the rule is not there yet", json!({}), vec![node("n0", &[], &[])],
            ["Unknown/Rolling", "Unknown/Rolling", "Unknown/Rolling", "Unknown/Rolling", "True/Rolling", "absent"]),
    ]
}

#[test]
fn each_state_of_a_vault_has_its_conditions() {
    for (name, spec, nodes, expected) in cases_of_contents().into_iter().chain(cases_of_access()) {
        let status = planned(&object(&spec), &nodes);
        let types = [
            "Ready",
            "Authorized",
            "Available",
            "Delivered",
            "Reconciling",
            "Stalled",
        ];
        assert_eq!(types.map(|type_| shown(&status, type_)), expected, "{name}");
    }
}

#[test]
fn a_refused_pod_is_counted_and_named_with_the_missing_key() {
    let status = planned(
        &object(&json!({})),
        &[node(
            "n0",
            &[serves(1)],
            &[
                pod("a", "written", Some(1), None),
                pod("b", "refused", None, Some("ServiceAccountNotListed")),
            ],
        )],
    );
    assert_eq!(summary(&status), "1/2");
    let message = &find(&status.conditions, "Ready").expect("Ready").message;
    assert!(
        message.contains("pod b") && message.contains("because ServiceAccountNotListed"),
        "{message}"
    );
    assert_eq!(
        status.pods.expect("pods").behind[0].name.as_deref(),
        Some("b")
    );
}

#[test]
fn the_message_of_a_refusal_is_the_nodes_word_on_the_three_keys() {
    let status = planned(
        &object(&json!({})),
        &[node("n0", &[refuses("NamespaceNotAdmitted")], &[])],
    );
    assert_eq!(
        find(&status.conditions, "Ready").expect("Ready").message,
        "three keys: NamespaceNotAdmitted"
    );
}

#[test]
fn an_unbuilt_field_is_named() {
    let status = planned(
        &object(&json!({"files": [{"from": "a"}], "secret": {"name": "s"}})),
        &[node("n0", &[], &[])],
    );
    let message = &find(&status.conditions, "Ready").expect("Ready").message;
    assert!(
        message.starts_with("files, secret are not supported"),
        "{message}"
    );
}

#[test]
fn the_status_is_about_the_most_advanced_replica() {
    let status = planned(
        &object(&json!({})),
        &[
            node("n0", &[serves(3)], &[pod("a", "written", Some(2), None)]),
            node("n1", &[serves(2)], &[]),
        ],
    );
    assert_eq!(status.version, Some(version_of(3).to_string()));
    assert_eq!(status.short_version.as_deref(), Some("030303030303"));
    assert_eq!(
        status.committed_at.as_ref().map(|t| t.0.as_second()),
        Some(3)
    );
    assert_eq!(summary(&status), "0/1");
    let lagging = &find(&status.conditions, "Reconciling")
        .expect("Reconciling")
        .message;
    assert_eq!(lagging, "not on every node yet: n1 (an older version)");
}

#[test]
fn of_two_refusals_the_one_that_came_furthest_is_told() {
    let status = planned(
        &object(&json!({})),
        &[
            node("n0", &[refuses("NamespaceNotAdmitted")], &[]),
            node("n1", &[refuses("VaultNotFound")], &[]),
        ],
    );
    assert_eq!(shown(&status, "Ready"), "False/NamespaceNotAdmitted");
}

#[test]
fn a_rule_of_an_older_generation_or_another_object_says_nothing() {
    let mut old = serves(1);
    old["id"] = json!("shop/app#u1@1");
    let mut other = serves(1);
    other["id"] = json!("shop/app#u0@2");
    assert_eq!(
        shown(
            &planned(&object(&json!({})), &[node("n0", &[old, other], &[])]),
            "Ready"
        ),
        "Unknown/Rolling"
    );
}

#[test]
fn the_version_stays_while_nothing_is_known_and_goes_when_access_is_taken_back() {
    let mut object = object(&json!({}));
    object.status = Some(planned(&object, &[node("n0", &[serves(1)], &[])]));
    let silent = planned(
        &object,
        &[NodeView {
            name: "n0".into(),
            table: None,
        }],
    );
    assert_eq!(silent.version, Some(version_of(1).to_string()));
    let revoked = planned(&object, &[node("n0", &[refuses("NotGranted")], &[])]);
    assert_eq!(
        (revoked.version, revoked.short_version, revoked.author),
        (None, None, None)
    );
}

#[test]
fn a_suspended_vault_keeps_its_version_and_counts_the_pods_that_hold_it() {
    let mut suspended = refuses("Suspended");
    suspended["version"] = json!(version_of(1));
    let status = planned(
        &object(&json!({"suspend": true})),
        &[node(
            "n0",
            &[suspended],
            &[pod("a", "written", Some(1), None)],
        )],
    );
    assert_eq!(
        (shown(&status, "Ready").as_str(), summary(&status)),
        ("False/Suspended", "1/1")
    );
    assert_eq!(status.version, Some(version_of(1).to_string()));
}

#[test]
fn words_of_a_pod_that_are_not_frozen_do_not_reach_the_reason() {
    let status = planned(
        &object(&json!({})),
        &[node(
            "n0",
            &[serves(1)],
            &[pod("a", "failed", None, Some("$(rm -rf)"))],
        )],
    );
    assert_eq!(shown(&status, "Delivered"), "False/PathUnusable");
    assert!(
        !find(&status.conditions, "Delivered")
            .expect("Delivered")
            .message
            .contains("rm -rf")
    );
}

#[test]
fn nothing_moves_while_nothing_happens() {
    let nodes = [node(
        "n0",
        &[serves(1)],
        &[pod("a", "written", Some(1), None)],
    )];
    let mut object = object(&json!({}));
    let first = plan(&object, &Observed::new(&nodes), at(100));
    object.status = Some(first.clone());
    assert_eq!(plan(&object, &Observed::new(&nodes), at(99_999)), first);
}

#[test]
fn at_most_ten_pods_that_lag_are_named_oldest_first() {
    let pods: Vec<Value> = (0..15)
        .map(|n| {
            let mut row = pod(&format!("p{n:02}"), "written", Some(1), None);
            row["sinceMs"] = json!(100_000 - n * 1000);
            row
        })
        .collect();
    let status = planned(&object(&json!({})), &[node("n0", &[serves(2)], &pods)]);
    let behind = status.pods.expect("pods").behind;
    assert_eq!(behind.len(), MAX_BEHIND);
    assert_eq!(
        (behind[0].name.as_deref(), behind[9].name.as_deref()),
        (Some("p14"), Some("p05"))
    );
}

#[test]
fn two_heads_of_a_control_log_are_told() {
    let mut view = node("n0", &[serves(1)], &[]);
    let mut table = Consumers::clone(view.table.as_deref().expect("a table"));
    table.vaults = serde_json::from_value(json!([{"id": vault(), "role": "reader", "version": null, "author": null, "committedMs": null, "owners": [], "members": 1, "state": "diverged"}])).expect("vaults");
    view.table = Some(Arc::new(table));
    assert_eq!(
        shown(&planned(&object(&json!({})), &[view]), "Diverged"),
        "True/Diverged"
    );
}
