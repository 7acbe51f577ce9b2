use super::*;
use crate::crd::{PolykeyPeerSpec, PolykeyVaultSpec};
use polykey_client::api::Peer;
use polykey_core::ids::{CommitId, NodeId};
use serde_json::json;

const VAULT: &str = "z3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3";
const NODE: &str = "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gg";
const ID: &str = "shop/app#uid@3";

fn vault() -> PolykeyVault {
    let mut v = PolykeyVault::new("app", serde_json::from_value::<PolykeyVaultSpec>(json!({"vault": VAULT, "serviceAccounts": ["app"]})).unwrap());
    v.metadata.namespace = Some("shop".into());
    v.metadata.uid = Some("uid".into());
    v.metadata.generation = Some(3);
    v
}

fn version(n: u8) -> CommitId {
    CommitId::from([n; 32])
}

fn served(n: u8) -> RuleState {
    RuleState {
        namespace: "shop".into(),
        name: "app".into(),
        id: ID.into(),
        version: Some(version(n)),
        author: Some(NodeId::from([9; 32])),
        committed_ms: Some(1_000 * u64::from(n)),
        owner: Some(NodeId::from([9; 32])),
        reason: None,
        message: None,
    }
}

fn refused(reason: &str) -> RuleState {
    RuleState { version: None, author: None, committed_ms: None, reason: Some(reason.into()), message: Some(format!("because {reason}")), ..served(1) }
}

fn pod(name: &str, state: &str, n: u8, since: u64) -> Consumer {
    Consumer {
        namespace: "shop".into(),
        name: "app".into(),
        pod: name.into(),
        pod_uid: format!("uid of {name}"),
        service_account: "app".into(),
        kubernetes_node: None,
        state: state.into(),
        version: (n > 0).then(|| version(n)),
        reason: (state == "refused").then(|| "ServiceAccountNotListed".into()),
        message: None,
        provenance: None,
        since_ms: since,
    }
}

fn report(rules: Vec<RuleState>, consumers: Vec<Consumer>) -> Replica {
    Replica { report: Some(Consumers { consumers, rules, ..Consumers::default() }) }
}

fn status(replicas: Vec<Replica>) -> PolykeyVaultStatus {
    let replicas = replicas.into_iter().enumerate().map(|(n, r)| (format!("polykey-{n}"), r)).collect();
    vault_status(&vault(), &replicas, Timestamp::UNIX_EPOCH)
}

fn says(s: &PolykeyVaultStatus, type_: &str) -> String {
    find(&s.conditions, type_).map_or_else(|| "absent".into(), |c| format!("{} {}", c.status.as_str(), c.reason))
}

#[test]
fn ready_is_true_only_when_every_pod_has_the_version_that_is_served() {
    let s = status(vec![report(vec![served(2)], vec![pod("a", "written", 2, 5), pod("b", "reloaded", 2, 6)])]);
    assert_eq!((says(&s, "Ready").as_str(), s.pods.as_ref().unwrap().summary.as_deref()), ("True AllPodsCurrent", Some("2/2")));
    assert_eq!(s.version, Some("02".repeat(32)));
    let s = status(vec![report(vec![served(2)], vec![pod("a", "written", 1, 5), pod("b", "written", 2, 6)])]);
    assert_eq!((says(&s, "Ready").as_str(), says(&s, "Reconciling").as_str()), ("False Rolling", "True Rolling"));
    assert_eq!(s.pods.unwrap().behind[0].name.as_deref(), Some("a"));
    assert_eq!(says(&status(vec![report(vec![served(2)], vec![])]), "Ready"), "True NoPods");
}

#[test]
fn a_refused_pod_is_counted_and_named() {
    let s = status(vec![report(vec![served(2)], vec![pod("a", "written", 2, 5), pod("b", "refused", 0, 6)])]);
    assert_eq!((says(&s, "Ready").as_str(), says(&s, "Delivered").as_str(), says(&s, "Authorized").as_str()), ("False ServiceAccountNotListed", "False ServiceAccountNotListed", "True Granted"));
    assert_eq!(s.pods.unwrap().summary.as_deref(), Some("1/2"));
    assert!(find(&s.conditions, "Ready").unwrap().message.contains("pod b"));
}

#[test]
fn a_pod_that_moved_to_another_node_counts_once() {
    let s = status(vec![report(vec![served(2)], vec![pod("a", "connecting", 0, 50)]), report(vec![served(2)], vec![pod("a", "written", 2, 5)])]);
    assert_eq!(s.pods.unwrap().summary.as_deref(), Some("1/1"));
}

#[test]
fn without_a_served_version_the_missing_key_is_the_reason() {
    for reason in ["NotGranted", "VaultNotFound", "NamespaceNotAdmitted", "CaveatRefused"] {
        let s = status(vec![report(vec![refused(reason)], vec![])]);
        assert_eq!((says(&s, "Ready"), says(&s, "Authorized")), (format!("False {reason}"), format!("False {reason}")));
        assert_eq!((s.version, s.short_version), (None, None));
    }
    for reason in ["Suspended", "SignerNotListed", "PinMissing"] {
        let s = status(vec![report(vec![refused(reason)], vec![])]);
        assert_eq!((says(&s, "Ready"), says(&s, "Authorized")), (format!("False {reason}"), "True Granted".to_owned()));
    }
}

#[test]
fn one_node_that_serves_is_enough_and_the_furthest_reason_is_told_otherwise() {
    assert_eq!(says(&status(vec![report(vec![refused("VaultNotFound")], vec![]), report(vec![served(2)], vec![])]), "Available"), "True Served");
    assert_eq!(says(&status(vec![report(vec![refused("VaultNotFound")], vec![]), report(vec![refused("NamespaceNotAdmitted")], vec![])]), "Ready"), "False NamespaceNotAdmitted");
}

#[test]
fn a_rule_of_an_older_generation_is_not_believed() {
    let old = RuleState { id: "shop/app#uid@2".into(), ..served(2) };
    let s = status(vec![report(vec![old], vec![])]);
    assert_eq!((says(&s, "Ready").as_str(), s.version), ("False Rolling", None));
}

#[test]
fn with_no_node_nothing_is_claimed() {
    for replicas in [vec![], vec![Replica::default()]] {
        let s = status(replicas);
        assert_eq!((says(&s, "Ready").as_str(), says(&s, "Authorized").as_str()), ("False NoNodes", "Unknown NoNodes"));
    }
}

#[test]
fn a_field_that_does_not_work_is_named() {
    let mut v = vault();
    v.spec = serde_json::from_value(json!({"vault": VAULT, "serviceAccounts": ["app"], "maxAge": "1h", "whenStale": "Fail"})).unwrap();
    let s = vault_status(&v, &BTreeMap::from([("polykey-0".to_owned(), report(vec![], vec![]))]), Timestamp::UNIX_EPOCH);
    let ready = find(&s.conditions, "Ready").unwrap();
    assert_eq!((ready.status, ready.reason.as_str()), (Truth::False, "Unsupported"));
    assert!(ready.message.contains("maxAge") && ready.message.contains("whenStale"), "{}", ready.message);
    assert_eq!(says(&s, "Stalled"), "True Unsupported");
}

#[test]
fn a_condition_keeps_its_time_while_its_status_stays() {
    let replicas = BTreeMap::from([("polykey-0".to_owned(), report(vec![served(2)], vec![]))]);
    let at = |s| Timestamp::from_second(s).unwrap();
    let mut v = vault();
    v.status = Some(vault_status(&v, &replicas, at(100)));
    let again = vault_status(&v, &replicas, at(200));
    assert_eq!(Some(&again), v.status.as_ref(), "nothing happened, nothing is written");
    let changed = vault_status(&v, &BTreeMap::new(), at(300));
    assert_eq!(find(&changed.conditions, "Ready").unwrap().last_transition_time.0, at(300));
}

#[test]
fn a_peer_is_ready_while_connected_and_its_time_does_not_tick() {
    let mut peer = PolykeyPeer::new("laptop", serde_json::from_value::<PolykeyPeerSpec>(json!({"nodeId": NODE, "namespaces": ["shop"]})).unwrap());
    let with = |connected, seen| {
        let row = Peer { node: NODE.parse().unwrap(), addresses: vec![], origin: "cluster".into(), connected, address: None, seen_ms: seen, last_error: None };
        BTreeMap::from([("polykey-0".to_owned(), Replica { report: Some(Consumers { peers: vec![row], ..Consumers::default() }) })])
    };
    let at = Timestamp::from_second(1_000).unwrap();
    peer.status = Some(peer_status(&peer, &with(true, Some(5_000)), at));
    assert_eq!(find(&peer.status.as_ref().unwrap().conditions, "Ready").unwrap().reason, "Connected");
    assert_eq!(peer_status(&peer, &with(true, Some(9_000)), at), peer.status.clone().unwrap());
    let away = peer_status(&peer, &with(false, Some(9_000)), at);
    assert_eq!((find(&away.conditions, "Ready").unwrap().reason.as_str(), away.last_seen.unwrap().0.as_second()), ("PeerUnreachable", 9));
}
