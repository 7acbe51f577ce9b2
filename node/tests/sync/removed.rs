//! Removals that cross each other, and what the removed write afterwards, dated back and brought late by somebody else.

use super::node::{Node, eventually, seed};
use super::vault_on;
use minicbor::bytes::ByteVec;
use polykey::vaults::Told;
use polykey_core::commit::{Commit, SignedCommit};
use polykey_core::control::{Control, Role};
use polykey_core::epoch::{self, EpochSecret, Place};
use polykey_core::ids::{Address, CommitId, NodeId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::seal::{self, ObjectKeys};
use polykey_core::wire::Announce;
use std::time::Duration;
use zeroize::Zeroizing;

fn members(node: &Node, vault: &VaultId) -> Vec<NodeId> {
    let list = node.vaults.members(vault).unwrap();
    list.members.into_iter().map(|m| m.node).collect()
}

/// Everybody has the same operations and versions.
async fn agree(nodes: &[&Node], vault: &VaultId) {
    let summary = |node: &&Node| node.vaults.summary(vault);
    eventually("all have the same", || {
        nodes.iter().all(|node| summary(node) == summary(&nodes[0]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_who_remove_a_reader_each_while_apart_shut_out_both_and_write_on() {
    let (one, other) = (Node::start(120).await, Node::start(121).await);
    let (ann, bob) = (Node::start(122).await, Node::start(123).await);
    let vault = vault_on(&one).await;
    one.share(&vault, &other, Role::Owner).await;
    for reader in [&ann, &bob] {
        one.share(&vault, reader, Role::Reader).await;
    }
    for node in [&other, &ann, &bob] {
        node.knows(&one).await;
        one.dials(node).await;
        node.has(&vault, "db/password", b"first").await;
    }

    // Never both at once: each owner removes another reader, and goes on writing in an epoch that the other owner does not know.
    let away = other.stop().await;
    one.vaults.revoke(&vault, ann.id).await.unwrap();
    one.set(&vault, "by/one", b"without ann").await;
    let one = one.stop().await;
    let other = away.start().await;
    other.vaults.revoke(&vault, bob.id).await.unwrap();
    other.set(&vault, "by/other", b"without bob").await;
    let one = one.start().await;
    agree(&[&one, &other], &vault).await;
    let epochs = one.vaults.control(&vault).map(|c| c.state().epochs.len());
    assert_eq!(epochs, Some(2));
    let mut owners = [one.id, other.id];
    owners.sort_unstable();
    let mut before = Vec::new();
    for (owner, word) in [(&one, &b"one"[..]), (&other, b"other")] {
        assert_eq!(members(owner, &vault), owners);
        // Two epochs are in force at once: what is written now takes both secrets to open. A page that does not change stays as it was sealed.
        before = owner.vaults.summary(&vault).unwrap().heads;
        owner.set(&vault, "db/password", word).await;
        for reader in [&one, &other] {
            reader.has(&vault, "db/password", word).await;
            reader.has(&vault, "by/one", b"without ann").await;
            reader.has(&vault, "by/other", b"without bob").await;
        }
        agree(&[&one, &other], &vault).await;
    }

    // Whatever reaches the removed all the same: they know of it, and nothing that they were ever given opens it.
    let written = one.vaults.summary(&vault).unwrap().heads[0];
    for removed in [&ann, &bob] {
        // An owner's node may write an operation of its own meanwhile.
        for _ in 0..100 {
            for owner in [&one, &other] {
                force(owner, removed, &vault).await;
            }
            if removed.vaults.summary(&vault) == one.vaults.summary(&vault) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(removed.vaults.summary(&vault), one.vaults.summary(&vault));
    }
    let new = one.vaults.pull(&vault, &before, &written).unwrap();
    assert!(!new.is_empty());
    for (number, opens) in [(120, true), (121, true), (122, false), (123, false)] {
        let key = RootKey::from_seed(&seed(number));
        assert_eq!(opens_any(&one, &vault, &new, &key), opens, "{number}");
    }
}

/// Whether what the log gave to the holder of a key opens any of these objects, by one secret or by some of them together.
fn opens_any(node: &Node, vault: &VaultId, objects: &[Address], key: &RootKey) -> bool {
    let given = given(&node.vaults.control(vault).unwrap(), key);
    let some = |chosen: usize| {
        let of = given.iter().enumerate();
        let of = of.filter(|(at, _)| chosen & (1 << at) != 0);
        of.map(|(_, secret)| EpochSecret::new(Zeroizing::new(*secret)))
            .collect::<Vec<_>>()
    };
    let keys: Vec<ObjectKeys> = (1..1 << given.len())
        .map(|chosen| match some(chosen).as_slice() {
            [one] => one.object_keys(),
            many => epoch::join(many).object_keys(),
        })
        .collect();
    objects.iter().any(|address| {
        let object = node.vaults.object(vault, address).unwrap().unwrap();
        keys.iter().any(|k| seal::open(k, vault, &object).is_ok())
    })
}

/// The secrets that the operations of a log wrap for the holder of a key.
fn given(control: &Control, key: &RootKey) -> Vec<[u8; 32]> {
    let me = key.node_id();
    let mut secrets = Vec::new();
    for (op, record) in control.epochs() {
        let place = Place {
            vault: &control.vault(),
            epoch: &record.id(),
            to: &me,
            from: &op.payload().author,
        };
        for wrap in record.wraps.iter().filter(|wrap| wrap.to == me) {
            if let Ok((_, opened)) = epoch::unwrap(place, wrap, key, &control.shape_commitment()) {
                secrets.extend(opened.iter().map(|secret| *secret.expose()));
            }
        }
    }
    secrets
}

/// All that `from` has of a vault, put before `to` as if it came from a peer.
async fn force(from: &Node, to: &Node, vault: &VaultId) {
    let mut told = Told::default();
    loop {
        let announce = from
            .vaults
            .announce_for(vault, &mut told, 64 << 10)
            .unwrap();
        if announce.is_empty() {
            return;
        }
        let _ = to.vaults.receive(&from.id, vault, announce, true).await;
    }
}

/// A version by `number` on `parent` with the contents of that parent, dated just after it.
fn back_dated(node: &Node, number: u8, vault: &VaultId, parent: CommitId, n: u8) -> SignedCommit {
    let key = RootKey::from_seed(&seed(number));
    let control = node.vaults.summary(vault).unwrap().control_heads;
    let root: Address = node.vaults.root_of(vault, &parent).unwrap();
    let time_ms = node.vaults.summary_of(vault).unwrap().committed_ms.unwrap() + u64::from(n);
    let commit = Commit {
        version: 1,
        vault: *vault,
        author: key.node_id(),
        seq: 1,
        nonce: [n; 16].into(),
        parents: vec![parent],
        control,
        root,
        time_ms,
        note: Vec::new().into(),
    };
    SignedCommit::sign(commit, &key)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_writer_dates_back_and_a_mirror_brings_late_changes_nothing_anywhere() {
    let (owner, mirror) = (Node::start(124).await, Node::start(125).await);
    let (reader, writer) = (Node::start(126).await, Node::start(127).await);
    let vault = vault_on(&owner).await;
    owner.share(&vault, &mirror, Role::Mirror).await;
    owner.share(&vault, &reader, Role::Reader).await;
    owner.share(&vault, &writer, Role::Writer).await;
    for node in [&mirror, &writer] {
        node.knows(&owner).await;
        owner.dials(node).await;
    }
    reader.knows(&mirror).await;
    mirror.dials(&reader).await;
    reader.has(&vault, "db/password", b"first").await;
    writer.has(&vault, "db/password", b"first").await;
    agree(&[&owner, &mirror, &reader, &writer], &vault).await;

    // The mirror is away while the writer is removed; the writer dates its versions before that, and the mirror, which knows no better, has them.
    let head = owner.vaults.summary(&vault).unwrap().heads[0];
    let forged: Vec<SignedCommit> = (1..4)
        .map(|n| back_dated(&writer, 127, &vault, head, n))
        .collect();
    let mirror = mirror.stop().await;
    owner.vaults.revoke(&vault, writer.id).await.unwrap();
    owner.set(&vault, "db/password", b"after the removal").await;
    let mirror = mirror.start_apart().await;
    let announce = Announce {
        commits: forged
            .iter()
            .map(|c| ByteVec::from(c.bytes().to_vec()))
            .collect(),
        ..Announce::default()
    };
    mirror
        .node
        .vaults
        .receive(&writer.id, &vault, announce.clone(), false)
        .await
        .unwrap();
    assert_eq!(
        mirror.node.vaults.summary(&vault).unwrap().heads.len(),
        forged.len(),
        "it took them"
    );
    let mirror = mirror.stop().await.start().await;

    agree(&[&owner, &mirror, &reader], &vault).await;
    reader
        .has(&vault, "db/password", b"after the removal")
        .await;
    let stood = owner.vaults.summary(&vault).unwrap();
    assert_eq!(stood.heads.len(), 1);
    for node in [&owner, &mirror, &reader] {
        // Once more, from the writer's own hands.
        let again = node
            .vaults
            .receive(&writer.id, &vault, announce.clone(), false);
        again.await.unwrap();
        assert_eq!(node.vaults.summary(&vault).unwrap(), stood);
    }
    for node in [&owner, &reader] {
        assert_eq!(
            node.get(&vault, "db/password").as_deref(),
            Some(&b"after the removal"[..])
        );
    }
    owner.set(&vault, "db/password", b"and on").await;
    reader.has(&vault, "db/password", b"and on").await;
    assert_eq!(owner.vaults.summary(&vault).unwrap().heads.len(), 1);
}
