//! Stores that were restored or copied: over real QUIC, what the nodes find out and what is kept.

use crate::node::{Node, eventually};
use crate::vault_on;
use polykey::vaults::{VaultError, VaultState};
use polykey_core::control::Role;
use polykey_core::ids::VaultId;
use polykey_core::tree::Edit;
use zeroize::Zeroizing;

fn put(path: &str, value: &[u8]) -> Vec<Edit> {
    vec![Edit::Put {
        path: path.to_owned(),
        mode: 0o444,
        value: Zeroizing::new(value.to_vec()),
    }]
}

/// A laptop that shares a vault with a peer. The peer dials it, so that a copy that runs elsewhere finds nobody by itself.
async fn shared() -> (Node, Node, VaultId) {
    let (laptop, peer) = (Node::start(1).await, Node::start(2).await);
    laptop.knows(&peer).await;
    peer.dials(&laptop).await;
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &peer, Role::Reader).await;
    peer.has(&vault, "db/password", b"first").await;
    (laptop, peer, vault)
}

fn heads(node: &Node, vault: &VaultId) -> usize {
    node.vaults.summary(vault).map_or(0, |h| h.heads.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_detects_clone() {
    let (laptop, peer, vault) = shared().await;
    // The copy has one start less than the original by the time that both run.
    let (stopped, copy) = laptop.stop().await.copy();
    let laptop = stopped.start().await.stop().await.start().await;
    eventually("the original is back", || peer.peers.connected(&laptop.id)).await;
    let copy = copy.start().await;
    copy.dials(&peer).await;
    eventually("the copy knows", || {
        copy.vaults.standing().report().yielded.is_some()
    })
    .await;
    eventually("the original knows", || {
        laptop.vaults.standing().report().doubled.is_some()
    })
    .await;
    assert!(laptop.vaults.standing().report().yielded.is_none());
    assert!(peer.peers.list()[0].cloned, "the peer says so too");

    let refused = copy.vaults.edit(&vault, put("a", b"b"), None).await;
    assert!(matches!(refused, Err(VaultError::Yielded { .. })));
    let refused = copy
        .vaults
        .grant(&vault, peer.id, Role::Owner, None, None)
        .await;
    assert!(matches!(refused, Err(VaultError::Yielded { .. })));
    let refused = copy.vaults.create("another").await;
    assert!(matches!(refused, Err(VaultError::Yielded { .. })));
    laptop.set(&vault, "db/password", b"second").await;
    peer.has(&vault, "db/password", b"second").await;
    // It reads on, and hears what the original writes.
    copy.has(&vault, "db/password", b"second").await;

    // A restart changes nothing; a person's word does, and from then on it has the higher boot.
    let copy = copy.stop().await.start().await;
    let refused = copy.vaults.edit(&vault, put("a", b"b"), None).await;
    assert!(matches!(refused, Err(VaultError::Yielded { .. })));
    laptop.stop().await;
    copy.vaults.standing().alone().await.unwrap();
    copy.set(&vault, "db/password", b"third").await;
    peer.has(&vault, "db/password", b"third").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_copies_with_one_boot_the_one_that_was_connected_first_stays() {
    let (laptop, peer, vault) = shared().await;
    let (stopped, copy) = laptop.stop().await.copy();
    let laptop = stopped.start().await;
    eventually("the original is back", || peer.peers.connected(&laptop.id)).await;
    let copy = copy.start().await;
    copy.dials(&peer).await;
    eventually("the copy yields", || {
        copy.vaults.standing().report().yielded.is_some()
    })
    .await;
    laptop.set(&vault, "db/password", b"second").await;
    peer.has(&vault, "db/password", b"second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_killed_and_returns_is_no_clone() {
    let (mut laptop, peer, vault) = shared().await;
    for turn in 0..3_u8 {
        laptop = laptop.kill().start().await;
        laptop.set(&vault, "db/password", &[turn]).await;
        peer.has(&vault, "db/password", &[turn]).await;
    }
    let report = laptop.vaults.standing().report();
    assert_eq!(report, polykey::standing::Report::default());
    assert!(!peer.peers.list()[0].cloned);
}

#[tokio::test(flavor = "multi_thread")]
async fn restore_learns_own_past() {
    let (laptop, peer, vault) = shared().await;
    let (stopped, old) = laptop.stop().await.copy();
    let laptop = stopped.start().await;
    for turn in 0..40_u8 {
        laptop.set(&vault, "db/password", &[turn; 30]).await;
    }
    peer.has(&vault, "db/password", &[39; 30]).await;
    drop(laptop.stop().await);

    let restored = old.start().await;
    restored.dials(&peer).await;
    eventually("it knows", || {
        restored.vaults.standing().report().restored.is_some()
    })
    .await;
    restored.set(&vault, "after", b"the restore").await;
    assert_eq!(
        heads(&restored, &vault),
        1,
        "written on top of its own past"
    );
    assert_eq!(restored.get(&vault, "db/password"), Some(vec![39; 30]));
    peer.has(&vault, "after", b"the restore").await;
    assert_eq!(heads(&peer, &vault), 1);
    // What was seen of it is behind it from the next start on.
    let again = restored.stop().await.start().await;
    eventually("connected", || again.peers.connected(&peer.id)).await;
    assert!(again.vaults.standing().report().restored.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_node_that_reaches_nobody_writes_at_once() {
    let (laptop, peer, vault) = shared().await;
    let (stopped, old) = laptop.stop().await.copy();
    let laptop = stopped.start().await;
    laptop.set(&vault, "db/password", b"second").await;
    peer.has(&vault, "db/password", b"second").await;
    drop(laptop.stop().await);
    let restored = old.start().await;
    restored.set(&vault, "after", b"the restore").await;
    assert_eq!(restored.get(&vault, "after"), Some(b"the restore".to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_old_store_beside_its_original_loses_neither_s_writes() {
    let (laptop, peer, vault) = shared().await;
    let (stopped, old) = laptop.stop().await.copy();
    let laptop = stopped.start().await;
    laptop.set(&vault, "db/password", b"the original").await;
    peer.has(&vault, "db/password", b"the original").await;
    // It runs where it finds nobody, and somebody writes there.
    let copy = old.start().await;
    copy.set(&vault, "db/password", b"the copy").await;
    copy.set(&vault, "of/the copy", b"alone").await;

    copy.dials(&peer).await;
    for node in [&peer, &laptop, &copy] {
        eventually("both writes are everywhere", || heads(node, &vault) == 2).await;
        let summary = node.vaults.summary_of(&vault).unwrap();
        assert_eq!(summary.state, VaultState::Cloned);
        assert_eq!(summary.doubles.len(), 1);
        assert_eq!(summary.doubles[0].author, laptop.id);
        assert!(summary.doubles[0].commits.iter().all(|c| {
            let control = node.vaults.root_of(&vault, c);
            control.is_some()
        }));
    }
    eventually("the copy yields", || {
        copy.vaults.standing().report().yielded.is_some()
    })
    .await;
    // A person decides: the original writes on top of both.
    eventually("the original knows", || {
        laptop.vaults.standing().report().doubled.is_some()
    })
    .await;
    laptop.set(&vault, "decided", b"yes").await;
    peer.has(&vault, "decided", b"yes").await;
    peer.has(&vault, "of/the copy", b"alone").await;
    let summary = peer.vaults.summary_of(&vault).unwrap();
    assert_eq!((summary.state, summary.doubles.len()), (VaultState::Ok, 0));
}
