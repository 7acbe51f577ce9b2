//! Which sets come into force, and what is true of the one that is.

use super::check::{MAX_SUBJECTS, check, not_older};
use super::*;
use crate::store::testing::scratch_store;
use polykey_client::access::Delivery;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn rule(name: &str) -> Rule {
    Rule {
        id: format!("shop/{name}#uid@1"),
        namespace: "shop".into(),
        name: name.into(),
        vault: VaultId::from([7; 32]),
        subjects: vec!["shop:app".into()],
        paths: vec![],
        version: None,
        signers: vec![],
        suspend: false,
        purpose: Purpose::Mount,
        delivery: Delivery::default(),
    }
}

fn peer(byte: u8) -> Peer {
    Peer {
        node: NodeId::from([byte; 32]),
        addresses: vec![],
        namespaces: vec!["shop".into()],
        vaults: None,
        expires: None,
    }
}

fn revision(vaults: &str, peers: &str) -> BTreeMap<String, String> {
    [("polykeyvaults", vaults), ("polykeypeers", peers)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

fn set(rules: Vec<Rule>, at: &str) -> AccessSet {
    AccessSet {
        source: "k8s:c1".into(),
        revision: revision(at, at),
        rules,
        peers: vec![peer(1)],
        ..AccessSet::default()
    }
    .sealed()
}

#[test]
fn a_warden_s_set_is_taken_and_another_is_refused() {
    let good = set(vec![rule("app"), rule("tls")], "10");
    assert_eq!(check(&good, Some("k8s:c1")), Ok(()));
    assert_eq!(check(&good, None), Ok(()));
    assert!(matches!(
        check(&good, Some("k8s:c2")),
        Err(SetError::Source { .. })
    ));
    let mut lies = good.clone();
    lies.rules[0].suspend = true;
    assert!(matches!(check(&lies, None), Err(SetError::Digest { .. })));
}

#[test]
fn a_rule_that_no_warden_makes_is_refused_and_named() {
    #[allow(clippy::type_complexity, reason = "a table of one test")]
    let broken: Vec<(&str, Box<dyn Fn(&mut Rule)>)> = vec![
        ("no id", Box::new(|r| r.id.clear())),
        ("namespace", Box::new(|r| r.namespace = "Shop".into())),
        ("name", Box::new(|r| r.name = "a/b".into())),
        ("long name", Box::new(|r| r.name = "a".repeat(64))),
        ("subject", Box::new(|r| r.subjects = vec!["app".into()])),
        ("star", Box::new(|r| r.subjects = vec!["shop:*".into()])),
        (
            "foreign subject",
            Box::new(|r| r.subjects = vec!["kube-system:app".into()]),
        ),
        (
            "many",
            Box::new(|r| r.subjects = vec!["shop:a".into(); MAX_SUBJECTS + 1]),
        ),
        ("up", Box::new(|r| r.paths = vec!["../x".into()])),
        ("absolute", Box::new(|r| r.paths = vec!["/x".into()])),
        ("root", Box::new(|r| r.paths = vec!["/".into()])),
        ("empty", Box::new(|r| r.paths = vec![String::new()])),
    ];
    for (what, break_it) in broken {
        let mut bad = rule("app");
        break_it(&mut bad);
        let came = check(&set(vec![bad], "1"), None);
        assert!(
            matches!(came, Err(SetError::Rule { .. })),
            "{what}: {came:?}"
        );
    }
    let twice = set(vec![rule("app"), rule("app")], "1");
    assert!(matches!(check(&twice, None), Err(SetError::Rule { .. })));
    let mut other_id = rule("app");
    other_id.id = "shop/app#other@1".into();
    let same_name = set(vec![rule("app"), other_id], "1");
    assert!(matches!(
        check(&same_name, None),
        Err(SetError::Rule { .. })
    ));
}

#[test]
fn peers_and_their_addresses_are_checked() {
    let with = |change: &dyn Fn(&mut Peer)| {
        let mut p = peer(1);
        change(&mut p);
        let mut s = set(vec![], "1");
        s.peers = vec![p];
        check(&s.sealed(), None)
    };
    assert_eq!(with(&|p| p.namespaces = vec!["*".into()]), Ok(()));
    assert_eq!(
        with(&|p| p.addresses = vec!["[2001:db8::1]:1314".into()]),
        Ok(())
    );
    for bad in [
        with(&|p| p.namespaces = vec!["*".into(), "shop".into()]),
        with(&|p| p.namespaces = vec!["a b".into()]),
        with(&|p| p.addresses = vec!["host".into()]),
        with(&|p| p.addresses = vec!["host:0".into()]),
        with(&|p| p.addresses = vec!["ho st:1".into()]),
        with(&|p| p.addresses = vec![":1314".into()]),
    ] {
        assert!(matches!(bad, Err(SetError::Node { .. })), "{bad:?}");
    }
}

#[test]
fn a_revision_is_a_number_and_does_not_fall() {
    for bad in ["", "-1", "1e3", "abc", &"9".repeat(65)] {
        let came = check(&set(vec![], bad), None);
        assert!(matches!(came, Err(SetError::Revision(_))), "{bad}");
    }
    let have = revision("100", "90");
    assert!(not_older(&have, &revision("100", "90")).is_ok());
    assert!(not_older(&have, &revision("1000", "0090")).is_ok());
    for (vaults, peers) in [("99", "90"), ("100", "89"), ("20", "1000"), ("099", "90")] {
        assert!(
            not_older(&have, &revision(vaults, peers)).is_err(),
            "{vaults} {peers}"
        );
    }
    let mut missing = revision("200", "200");
    missing.remove("polykeypeers");
    assert!(not_older(&have, &missing).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn revisions_compare_as_the_numbers_that_they_are(a: u128, b: u128) {
        let (have, got) = (revision(&a.to_string(), "0"), revision(&b.to_string(), "0"));
        prop_assert_eq!(not_older(&have, &got).is_ok(), b >= a);
    }
}

#[tokio::test]
async fn a_set_comes_into_force_whole_and_an_equal_one_only_refreshes_its_age() {
    let (_dir, store) = scratch_store();
    let access = Access::open(store, Some("c1")).unwrap();
    let told = access.subscribe();
    assert!(access.current().is_none() && access.age().is_none());
    let put = access.put(set(vec![rule("app")], "10")).await.unwrap();
    assert!(put.changed && !put.restored);
    assert!(access.age().is_some());
    assert!(access.current().unwrap().mount("shop", "app").is_some());
    assert!(access.current().unwrap().mount("other", "app").is_none());
    let again = access.put(set(vec![rule("app")], "11")).await.unwrap();
    assert!(!again.changed);
    assert_eq!(*told.borrow(), 1);
    let back = access.put(set(vec![rule("app")], "10")).await;
    assert!(matches!(
        back,
        Err(AccessError::Set(SetError::WentBack { .. }))
    ));
}

#[tokio::test]
async fn a_restored_history_is_taken_when_the_warden_says_so() {
    let (_dir, store) = scratch_store();
    let access = Access::open(store, None).unwrap();
    access.put(set(vec![rule("app")], "10")).await.unwrap();
    let mut older = set(vec![rule("tls")], "5");
    assert!(access.put(older.clone()).await.is_err());
    assert!(access.current().unwrap().mount("shop", "app").is_some());
    older.restored = true;
    let put = access.put(older).await.unwrap();
    assert!(put.restored && put.changed);
    assert!(access.current().unwrap().mount("shop", "app").is_none());
}

#[tokio::test]
async fn a_restarted_node_enforces_the_last_set() {
    let (_dir, store) = scratch_store();
    let first = Access::open(store.clone(), Some("c1")).unwrap();
    first.put(set(vec![rule("app")], "10")).await.unwrap();
    drop(first);
    let second = Access::open(store.clone(), Some("c1")).unwrap();
    assert!(second.current().unwrap().mount("shop", "app").is_some());
    assert!(second.put(set(vec![], "9")).await.is_err());
    let moved = Access::open(store, Some("c2")).unwrap();
    assert!(moved.current().is_none());
}

#[tokio::test]
async fn a_peer_admits_its_vaults_until_it_expires() {
    let (_dir, store) = scratch_store();
    let access = Access::open(store, None).unwrap();
    let (a, b) = (VaultId::from([1; 32]), VaultId::from([2; 32]));
    let node = |byte| NodeId::from([byte; 32]);
    assert!(!access.admits(&node(1), &a));
    let mut new = set(vec![], "1");
    let mut narrow = peer(2);
    narrow.vaults = Some(vec![a]);
    let mut past = peer(3);
    past.expires = Some(unix_now());
    let mut ahead = peer(4);
    ahead.expires = Some(unix_now() + 3600);
    new.peers = vec![peer(1), narrow, past, ahead];
    access.put(new.sealed()).await.unwrap();
    let admits = |n, v| access.admits(&node(n), v);
    assert!(admits(1, &a) && admits(1, &b) && admits(2, &a) && admits(4, &a));
    assert!(!admits(2, &b) && !admits(3, &a) && !admits(9, &a));
    assert_eq!(access.peers().len(), 3);
}
