//! From objects to the access set: pure, and the whole of it each time.
//!
//! An object with a field that does not work yet, or that this version does not know, makes no rule: the field may be a restriction.

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault};
use crate::settings::Place;
use polykey_client::access::{AccessSet, Delivery, Peer, Purpose, Rule, Sibling};
use std::sync::Arc;

/// The access set of these objects, without its revision.
#[must_use]
pub fn project(vaults: &[Arc<PolykeyVault>], peers: &[Arc<PolykeyPeer>], nodes: &[Arc<PolykeyNode>], place: &Place) -> AccessSet {
    AccessSet {
        source: format!("k8s:{}", place.cluster_uid),
        rules: vaults.iter().filter_map(|v| rule(v)).collect(),
        peers: peers.iter().filter(|p| p.metadata.namespace.as_deref() == Some(&place.pod_namespace)).filter_map(|p| peer(p)).collect(),
        siblings: nodes.iter().filter(|n| n.metadata.name.as_deref() != Some(&place.pod_name)).filter_map(|n| sibling(n)).collect(),
        ..AccessSet::default()
    }
    .sealed()
}

/// Id of the rule that a PolykeyVault makes.
#[must_use]
pub fn rule_id(vault: &PolykeyVault) -> String {
    let m = &vault.metadata;
    format!("{}/{}#{}@{}", m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default(), m.uid.as_deref().unwrap_or_default(), m.generation.unwrap_or_default())
}

fn rule(vault: &PolykeyVault) -> Option<Rule> {
    let spec = &vault.spec;
    if !spec.unsupported().is_empty() || vault.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let namespace = vault.metadata.namespace.clone()?;
    // The API server has checked these; what it let through and does not parse restricts nobody knows what, so there is no rule.
    let signers = spec.signers.iter().flatten().map(|s| s.parse()).collect::<Result<_, _>>().ok()?;
    let version = spec.version.as_ref().map(|v| v.parse()).transpose().ok()?;
    Some(Rule {
        id: rule_id(vault),
        name: vault.metadata.name.clone()?,
        vault: spec.vault.parse().ok()?,
        subjects: spec.service_accounts.iter().map(|a| format!("{namespace}:{a}")).collect(),
        paths: Vec::new(),
        version,
        signers,
        suspend: spec.suspend.unwrap_or(false),
        purpose: Purpose::Mount,
        delivery: Delivery::default(),
        namespace,
    })
}

fn peer(peer: &PolykeyPeer) -> Option<Peer> {
    let spec = &peer.spec;
    if !spec.unknown.is_empty() || peer.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let vaults = spec.vaults.as_ref().map(|v| v.iter().map(|id| id.parse()).collect::<Result<Vec<_>, _>>()).transpose().ok()?;
    let expires = spec.expires.as_ref().map(|t| u64::try_from(t.0.as_second()).unwrap_or(0));
    Some(Peer {
        node: spec.node_id.parse().ok()?,
        addresses: spec.addresses.iter().flatten().map(|a| a.0.clone()).collect(),
        namespaces: spec.namespaces.clone().unwrap_or_default(),
        vaults,
        expires,
    })
}

fn sibling(node: &PolykeyNode) -> Option<Sibling> {
    let status = node.status.as_ref()?;
    Some(Sibling { node: status.node_id.parse().ok()?, addresses: status.addresses.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{PolykeyNodeStatus, PolykeyPeerSpec, PolykeyVaultSpec};
    use serde_json::{Value, json};

    const NODE: &str = "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gg";
    const VAULT: &str = "z3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3";

    fn place() -> Place {
        let s = |t: &str| t.to_owned();
        Place { pod_name: s("polykey-0"), pod_namespace: s("sys"), pod_uid: s("u"), release: s("polykey"), cluster_uid: s("c"), peers_domain: s("polykey-peers.sys.svc") }
    }

    fn vault(name: &str, more: &Value) -> Arc<PolykeyVault> {
        let mut spec = json!({"vault": VAULT, "serviceAccounts": ["app", "job"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut v = PolykeyVault::new(name, serde_json::from_value::<PolykeyVaultSpec>(spec).unwrap());
        v.metadata.namespace = Some("shop".into());
        v.metadata.uid = Some("uid".into());
        v.metadata.generation = Some(3);
        Arc::new(v)
    }

    fn peer_in(namespace: &str, spec: Value) -> Arc<PolykeyPeer> {
        let mut p = PolykeyPeer::new("laptop", serde_json::from_value::<PolykeyPeerSpec>(spec).unwrap());
        p.metadata.namespace = Some(namespace.into());
        Arc::new(p)
    }

    #[test]
    fn two_fields_make_a_rule_for_those_service_accounts_of_that_namespace() {
        let set = project(&[vault("app", &json!({}))], &[], &[], &place());
        assert_eq!(set.rules.len(), 1);
        let rule = &set.rules[0];
        assert_eq!((rule.id.as_str(), rule.subjects.join(",").as_str()), ("shop/app#uid@3", "shop:app,shop:job"));
        assert!(rule.paths.is_empty() && rule.version.is_none() && rule.signers.is_empty() && !rule.suspend);
    }

    #[test]
    fn restrictions_that_work_are_in_the_rule_and_any_other_field_makes_none() {
        let pin = "ab".repeat(32);
        let set = project(&[vault("app", &json!({"version": pin, "signers": [NODE], "suspend": true}))], &[], &[], &place());
        let rule = &set.rules[0];
        assert_eq!((rule.version.unwrap().to_string(), rule.signers[0].to_string(), rule.suspend), (pin, NODE.to_owned(), true));
        for field in [
            json!({"files": [{"from": "db/"}]}),
            json!({"reload": [{"http": {"port": 80}}]}),
            json!({"secret": {"name": "s"}}),
            json!({"maxAge": "1h"}),
            json!({"whenStale": "Fail"}),
            json!({"aFieldOfTomorrow": 1}),
        ] {
            assert!(project(&[vault("app", &field)], &[], &[], &place()).rules.is_empty(), "{field}");
        }
    }

    #[test]
    fn only_peers_of_the_install_namespace_are_honoured_and_unknown_fields_disable_one() {
        let spec = json!({"nodeId": NODE, "namespaces": ["shop"], "expires": "2027-01-15T08:00:00Z"});
        let set = project(&[], &[peer_in("sys", spec.clone()), peer_in("shop", spec.clone())], &[], &place());
        assert_eq!(set.peers.len(), 1);
        assert_eq!(set.peers[0].expires, Some(1_800_000_000));
        let mut unknown = spec;
        unknown["onlyOnSundays"] = json!(true);
        assert!(project(&[], &[peer_in("sys", unknown)], &[], &place()).peers.is_empty());
    }

    #[test]
    fn siblings_are_the_other_replicas_and_order_does_not_matter() {
        let node = |name: &str| {
            let mut n = super::super::report::empty(name);
            n.status = Some(PolykeyNodeStatus { node_id: NODE.into(), addresses: vec![format!("{name}:1314")], ..PolykeyNodeStatus::default() });
            Arc::new(n)
        };
        let set = project(&[], &[], &[node("polykey-0"), node("polykey-1")], &place());
        assert_eq!(set.siblings.iter().map(|s| s.addresses[0].as_str()).collect::<Vec<_>>(), ["polykey-1:1314"]);
        let (a, b) = (vault("a", &json!({})), vault("b", &json!({})));
        assert_eq!(project(&[a.clone(), b.clone()], &[], &[], &place()).set, project(&[b, a], &[], &[], &place()).set);
    }
}
