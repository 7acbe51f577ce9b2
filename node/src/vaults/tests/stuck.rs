//! Versions that nobody can give, or not yet: they hold up nothing but themselves.

use super::clone::{copy, headers};
use super::*;
use polykey_core::ids::Address;
use polykey_core::seal::{self, Kind};
use std::collections::{BTreeMap, HashSet};

/// Larger than what an announcement carries.
const LARGE: usize = 200_000;

/// A vault of the first node with the others as writers, who all have its first version.
async fn shared(nodes: &[&Node]) -> VaultId {
    let a = nodes[0];
    let vault = a.vaults.create("app").await.unwrap();
    for node in &nodes[1..] {
        let granted = a.vaults.grant(&vault, node.id(), Role::Writer, None, None);
        granted.await.unwrap();
    }
    a.set(&vault, "first", b"1").await;
    for node in &nodes[1..] {
        tell(a, node, &vault).await.unwrap();
    }
    vault
}

#[tokio::test]
async fn a_version_that_came_in_part_holds_up_no_other() {
    let (a, b, c) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = shared(&[&a, &b, &c]).await;
    let large: Vec<u8> = (0_u64..).flat_map(u64::to_le_bytes).take(1 << 20).collect();
    a.set(&vault, "large", &large).await;
    let (came, whole) = copy(&a, &b, &vault, 5).await;
    assert!(came.len() == 5 && !whole, "the cable is pulled");
    c.set(&vault, "other", &vec![2; LARGE]).await;
    tell(&c, &b, &vault).await.unwrap();
    assert_eq!(b.get(&vault, "other").unwrap(), vec![2; LARGE]);
    assert!(matches!(b.get(&vault, "large"), Err(VaultError::NoSuch(_))));
    b.set(&vault, "mine", b"3").await;
    tell(&a, &b, &vault).await.unwrap();
    assert_eq!(b.get(&vault, "large").unwrap(), large);
    assert_eq!(b.get(&vault, "mine").unwrap(), b"3");
}

#[tokio::test]
async fn a_writer_who_announces_versions_and_holds_their_trees_back_holds_up_no_other() {
    let (a, b, w) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = shared(&[&a, &b, &w]).await;
    for n in 0..12 {
        w.set(&vault, "held back", &vec![n; LARGE]).await;
    }
    let shown = b.vaults.summary(&vault).unwrap().heads;
    let mut told = Told::new(&b.vaults.summary(&vault).unwrap());
    loop {
        let announce = w.vaults.announce_for(&vault, &mut told, 0).unwrap();
        if announce.is_empty() {
            break;
        }
        let heard = b.vaults.receive(&w.id(), &vault, announce, false).await;
        assert!(matches!(heard.unwrap(), Received::NeedObjects(_)));
    }
    assert_eq!(b.vaults.summary(&vault).unwrap().heads, shown);
    for n in 0..3 {
        a.set(&vault, "honest", &vec![n; LARGE]).await;
        tell(&a, &b, &vault).await.unwrap();
        assert_eq!(b.get(&vault, "honest").unwrap(), vec![n; LARGE]);
    }
    b.vaults.beat(&vault);
    let beats = b.vaults.beats_beyond(&vault, &mut BTreeMap::new());
    assert_eq!(beats.len(), 1, "what it shows is as fresh as it was");
}

/// Who came late has the newest without a version below it, and whoever had that is gone.
#[tokio::test]
async fn what_a_peer_shows_is_taken_though_nobody_has_what_it_builds_on() {
    let (a, b, w, late) = (Node::new(1), Node::new(2), Node::new(3), Node::new(4));
    let vault = shared(&[&a, &b, &w]).await;
    let granted = a.vaults.grant(&vault, late.id(), Role::Writer, None, None);
    granted.await.unwrap();
    for node in [&b, &w] {
        tell(&a, node, &vault).await.unwrap();
    }
    let below = w.set(&vault, "below", &vec![1; LARGE]).await;
    let (came, whole) = copy(&w, &b, &vault, 2).await;
    assert!(came.len() == 2 && !whole);
    w.set(&vault, "above", &vec![2; LARGE]).await;
    let pulls = headers(&w, &late, &vault).await;
    clone::fetch(&w, &late, &vault, &pulls).await;
    assert!(!late.vaults.is_whole(&vault, &below));
    late.set(&vault, "on top", &vec![3; LARGE]).await;

    tell(&late, &b, &vault).await.unwrap();
    assert_eq!(b.vaults.summary(&vault), late.vaults.summary(&vault));
    assert_eq!(b.get(&vault, "on top").unwrap(), vec![3; LARGE]);
    assert!(!b.vaults.is_whole(&vault, &below));
    // It was only away.
    let past = b.vaults.past_to_pull(&vault, &HashSet::new()).unwrap();
    let want: Vec<CommitId> = past.iter().map(|pull| pull.want).collect();
    assert_eq!(want, [below]);
    clone::fetch(&w, &b, &vault, &past).await;
    assert!(b.vaults.is_whole(&vault, &below));
    assert_eq!(b.get(&vault, "below").unwrap(), vec![1; LARGE]);
}

/// A tree in which an object stands where none of its kind may: everybody takes it whole and passes it on, nobody is shown it, and it is built on.
#[tokio::test]
async fn a_tree_of_the_wrong_shape_is_passed_on_whole_and_shows_nothing() {
    let (a, w, m, late) = (Node::new(1), Node::new(2), Node::new(3), Node::new(4));
    let vault = shared(&[&a, &w]).await;
    for (node, role) in [(&m, Role::Mirror), (&late, Role::Reader)] {
        let granted = a.vaults.grant(&vault, node.id(), role, None, None);
        granted.await.unwrap();
    }
    tell(&a, &w, &vault).await.unwrap();
    tell(&a, &m, &vault).await.unwrap();
    let mut misplaced = Vec::new();
    let wrong = side_by_side::forged(&w, &vault, |inner, _| {
        let keys = inner.secrets.writing(&inner.control).unwrap();
        let page = |level, refs: &[Address], body: &[u8]| {
            seal::seal(&keys, &vault, Kind::Page, level, refs, body).unwrap()
        };
        let leaf = page(0, &[], b"\x82\x01\x80");
        let below = page(3, &[leaf.0], b"of another level");
        let root = page(1, &[below.0], b"a root");
        misplaced = vec![root.0, below.0];
        (root.0, vec![root.1, below.1])
    });
    let heard = m.vaults.receive(&w.id(), &vault, wrong, false).await;
    assert_eq!(heard.unwrap(), Received::Done { changed: true });
    tell(&m, &a, &vault).await.unwrap();
    assert_eq!(a.vaults.summary(&vault), m.vaults.summary(&vault));
    assert_eq!(a.get(&vault, "first").unwrap(), b"1");
    a.set(&vault, "second", &vec![2; LARGE]).await;
    tell(&a, &m, &vault).await.unwrap();
    let pulls = headers(&m, &late, &vault).await;
    clone::fetch(&m, &late, &vault, &pulls).await;
    assert_eq!(late.get(&vault, "second").unwrap(), vec![2; LARGE]);
    let past = late.vaults.past_to_pull(&vault, &HashSet::new()).unwrap();
    clone::fetch(&m, &late, &vault, &past).await;
    for object in &misplaced {
        assert!(late.vaults.object(&vault, object).unwrap().is_some());
    }
    assert_eq!(late.get(&vault, "first").unwrap(), b"1");
    let log = late.vaults.log(&vault, None, 9).unwrap();
    assert_eq!((log[0].gone, log[1].gone), (None, Some("broken")));
    tell(&a, &late, &vault).await.unwrap();
    assert_eq!(late.vaults.summary(&vault), a.vaults.summary(&vault));
}
