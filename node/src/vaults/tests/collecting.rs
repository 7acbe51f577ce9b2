//! What goes and what stays: prunes, collections beside writers and peers, and who comes to a vault afterwards.

use super::*;
use crate::store::Table;
use polykey_core::control::Role;
use std::collections::HashSet;
use std::time::Duration;

/// No object is spared for its age.
const NOW: Duration = Duration::ZERO;

async fn collect(node: &Node, vault: &VaultId) -> Collected {
    node.vaults
        .collect(vault, &HashSet::new(), NOW)
        .await
        .unwrap()
}

fn objects(node: &Node) -> usize {
    node.store.scan(Table::Object, b"").count()
}

async fn history(node: &Node, vault: &VaultId, versions: u8) -> Vec<CommitId> {
    let mut out = Vec::new();
    for n in 0..versions {
        out.push(node.set(vault, "x", &vec![n; 7_000]).await);
    }
    out
}

#[tokio::test]
async fn without_a_prune_every_version_keeps_its_contents_and_only_what_nothing_needs_goes() {
    let a = Node::new(1);
    let vault = a.vaults.create("app").await.unwrap();
    let versions = history(&a, &vault, 5).await;
    let before = objects(&a);
    assert_eq!(collect(&a, &vault).await.removed, 0);
    let junk = polykey_core::ids::Address::from([9; 32]);
    let mut batch = Batch::default();
    rows::put_object(
        &mut batch,
        &vault,
        &junk,
        b"what a broken write left".to_vec(),
    );
    a.store.commit(batch).await.unwrap();
    let entry = a.vaults.entry(&vault).unwrap();
    entry.born(junk);
    let spared = a
        .vaults
        .collect(&vault, &HashSet::new(), SPARED)
        .await
        .unwrap();
    assert_eq!(spared.removed, 0, "it may be on its way");
    assert_eq!(collect(&a, &vault).await.removed, 1);
    assert_eq!(objects(&a), before);
    for version in versions {
        assert!(
            a.vaults
                .get(&vault, "x", Some(&version.to_string()))
                .is_ok()
        );
    }
}

#[tokio::test]
async fn a_prune_lets_go_of_old_contents_here_and_at_peers_and_whoever_comes_later_has_the_rest() {
    let (a, b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = a.vaults.create("app").await.unwrap();
    let versions = history(&a, &vault, 6).await;
    a.vaults
        .grant(&vault, b.id(), Role::Writer, None, None)
        .await
        .unwrap();
    tell(&a, &b, &vault).await.unwrap();
    let refused = b.vaults.prune(&vault, &Keep::Newest).await.unwrap_err();
    assert!(matches!(refused, VaultError::Role { .. }));
    let keep = Keep::Version(versions[4].to_string());
    let pruned = a.vaults.prune(&vault, &keep).await.unwrap();
    assert_eq!(
        (pruned.keep, pruned.versions, pruned.unchanged),
        (Some(versions[4]), 4, false)
    );
    assert!(a.vaults.prune(&vault, &keep).await.unwrap().unchanged);
    tell(&a, &b, &vault).await.unwrap();
    for node in [&a, &b] {
        let pins = HashSet::from([versions[1]]);
        let before = objects(node);
        let spared = node.vaults.collect(&vault, &pins, NOW).await.unwrap();
        assert!(spared.removed > 0 && objects(node) < before);
        for (n, version) in versions.iter().enumerate() {
            let read = node.vaults.get(&vault, "x", Some(&version.to_string()));
            match n {
                0 | 2 | 3 => assert!(
                    matches!(read, Err(VaultError::Pruned(v)) if v == *version),
                    "{n}"
                ),
                _ => assert!(read.is_ok(), "{n}: pinned, or kept"),
            }
        }
        let log = node.vaults.log(&vault, None, 9).unwrap();
        assert_eq!(log.len(), 6, "headers stay");
        assert_eq!(log[5].gone, Some("pruned"));
        collect(node, &vault).await;
        assert!(node.vaults.pull(&vault, &[], &versions[1]).is_err());
    }
    // Who comes later gets all headers, and the trees that are kept.
    a.vaults
        .grant(&vault, c.id(), Role::Writer, None, None)
        .await
        .unwrap();
    tell(&b, &a, &vault).await.unwrap();
    tell(&a, &c, &vault).await.unwrap();
    assert_eq!(c.vaults.summary(&vault), a.vaults.summary(&vault));
    let past = c.vaults.past_to_pull(&vault, &HashSet::new());
    assert_eq!(past.unwrap(), [], "what was let go of is not asked for");
    assert_eq!(c.get(&vault, "x").unwrap(), vec![5; 7_000]);
    c.reopen();
    assert_eq!(c.vaults.log(&vault, None, 9).unwrap().len(), 6);
    let old = c.vaults.get(&vault, "x", Some(&versions[0].to_string()));
    assert!(matches!(old, Err(VaultError::Pruned(_))));
    assert!(
        c.vaults
            .get(&vault, "x", Some(&versions[4].to_string()))
            .is_ok()
    );
    // And goes on.
    c.set(&vault, "y", b"1").await;
    tell(&c, &a, &vault).await.unwrap();
    assert_eq!(a.get(&vault, "y").unwrap(), b"1");
    assert_eq!(collect(&c, &vault).await.removed, 0);
}

#[tokio::test]
async fn one_that_was_away_catches_up_over_a_prune() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    a.vaults
        .grant(&vault, b.id(), Role::Writer, None, None)
        .await
        .unwrap();
    history(&a, &vault, 3).await;
    tell(&a, &b, &vault).await.unwrap();
    history(&a, &vault, 250).await;
    a.vaults.prune(&vault, &Keep::Newest).await.unwrap();
    a.set(&vault, "last", b"1").await;
    collect(&a, &vault).await;
    tell(&a, &b, &vault).await.unwrap();
    assert_eq!(b.vaults.summary(&vault), a.vaults.summary(&vault));
    assert_eq!(b.get(&vault, "last").unwrap(), b"1");
    b.reopen();
    assert_eq!(b.get(&vault, "last").unwrap(), b"1");
    assert!(b.vaults.log(&vault, None, 1_000).unwrap().len() == 254);
}

#[tokio::test]
async fn a_collection_beside_writers_and_a_pull_drops_nothing_that_is_needed() {
    let (a, b) = (Arc::new(Node::new(1)), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    a.vaults
        .grant(&vault, b.id(), Role::Writer, None, None)
        .await
        .unwrap();
    history(&a, &vault, 20).await;
    let writer = a.clone();
    let writing = tokio::spawn(async move {
        for n in 0..60u8 {
            writer
                .set(&vault, &format!("k/{}", n % 7), &vec![n % 3; 6_000])
                .await;
            if n % 20 == 0 {
                writer.vaults.prune(&vault, &Keep::Newest).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    });
    let mut collected = 0;
    while !writing.is_finished() {
        collected += collect(&a, &vault).await.removed;
        tell(&a, &b, &vault).await.unwrap();
        collect(&b, &vault).await;
    }
    writing.await.unwrap();
    collected += collect(&a, &vault).await.removed;
    tell(&a, &b, &vault).await.unwrap();
    assert!(collected > 0);
    for node in [&*a, &b] {
        for n in 0..7u8 {
            assert!(node.get(&vault, &format!("k/{n}")).is_ok(), "{n}");
        }
        assert_eq!(node.get(&vault, "x").unwrap(), vec![19; 7_000]);
    }
    assert_eq!(a.vaults.summary(&vault), b.vaults.summary(&vault));
}
