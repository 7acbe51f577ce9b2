//! Devices that get another key, between real nodes: who follows the new id, and what the old key can still do.

use super::node::{Node, eventually, seed, words};
use super::owners::{force, members};
use super::vault_on;
use polykey::vaults::Until;
use polykey_core::control::Role;
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::keys::RootKey;
use std::collections::BTreeSet;
use std::time::Duration;

/// As long as the agent gives its peers to hear of it.
const FAREWELL: Duration = Duration::from_secs(20);

fn key(number: u8) -> RootKey {
    RootKey::from_seed(&seed(number))
}

fn sorted<const N: usize>(mut nodes: [NodeId; N]) -> Vec<NodeId> {
    nodes.sort_unstable();
    nodes.to_vec()
}

fn value(node: &Node, vault: &VaultId) -> Option<Vec<u8>> {
    node.get(vault, "db/password")
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_follow_a_new_key_and_the_old_one_opens_and_writes_nothing_more() {
    let (laptop, phone, bob) = (
        Node::start(80).await,
        Node::start(81).await,
        Node::start(82).await,
    );
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &phone, Role::Writer).await;
    laptop.share(&vault, &bob, Role::Reader).await;
    for other in [&phone, &bob] {
        other.knows(&laptop).await;
        laptop.dials(other).await;
        other.has(&vault, "db/password", b"first").await;
    }
    // Bob is away when it happens, and does not hear of it from the old key.
    let bob = bob.stop().await;

    let old = laptop.id;
    let moved = laptop.vaults.move_to(&key(90)).await.unwrap();
    laptop
        .peers
        .heard_out(&BTreeSet::from([vault]), FAREWELL)
        .await;
    let now = sorted([moved.new, phone.id, bob.id]);
    assert_eq!(members(&phone, &vault), now, "heard before it went");
    // Somebody has a copy of the disk, and so the old key.
    let (laptop, thief) = laptop.stop().await.copy();
    let laptop = laptop.start_as(seed(90)).await;
    laptop.set(&vault, "db/password", b"second").await;
    phone.has(&vault, "db/password", b"second").await;
    phone.set(&vault, "db/password", b"third").await;
    laptop.has(&vault, "db/password", b"third").await;

    // Bob is told the new id by hand, as the command says, and gets the rest from it.
    let bob = bob.start().await;
    bob.peers.add(laptop.id, None).await.unwrap();
    bob.has(&vault, "db/password", b"third").await;
    assert_eq!(members(&bob, &vault), now);

    let thief = thief.start().await;
    assert_eq!(thief.id, old);
    thief.dials(&phone).await;
    for honest in [&phone, &laptop] {
        force(honest, &thief, &vault).await;
    }
    let opened = value(&thief, &vault);
    assert!(
        opened.as_deref() == Some(b"first") || opened.is_none(),
        "the old key opens nothing that was sealed later"
    );
    assert!(
        !thief
            .try_set_all(&vault, [("db/password", b"planted".to_vec())])
            .await,
        "and writes nothing"
    );
    assert_eq!(phone.vaults.shared_with(&old), BTreeSet::new());
    for honest in [&phone, &bob, &laptop] {
        force(&thief, honest, &vault).await;
        assert_eq!(value(honest, &vault).as_deref(), Some(&b"third"[..]));
        assert_eq!(members(honest, &vault), now);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_machine_from_the_words_throws_out_the_thief_who_has_the_same_key() {
    // The laptop, with the key that its words make. A mirror carries its vaults.
    let laptop = Node::start_from_words(83).await;
    let (mirror, bob) = (Node::start(84).await, Node::start(85).await);
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &mirror, Role::Mirror).await;
    laptop.share(&vault, &bob, Role::Reader).await;
    for other in [&mirror, &bob] {
        other.knows(&laptop).await;
        laptop.dials(other).await;
    }
    laptop.set(&vault, "db/password", b"honest").await;
    bob.has(&vault, "db/password", b"honest").await;
    let heads = || mirror.vaults.summary(&vault).unwrap_or_default().heads;
    let whole = laptop.vaults.summary(&vault).unwrap().heads;
    eventually("the mirror has it", || heads() == whole).await;
    let thief = laptop.stop().await;

    // The words on a new machine are the same node, to which the mirror gives what it carries.
    let new = Node::start_from_words(83).await;
    assert_eq!(new.id, thief.id);
    new.dials(&mirror).await;
    new.has(&vault, "db/password", b"honest").await;
    let new = new.stop().await;
    // The thief goes on meanwhile.
    let thief = thief.start().await;
    thief.set(&vault, "db/password", b"the thief's").await;
    let theft = thief.vaults.summary(&vault).unwrap().heads[0];
    thief.vaults.revoke(&vault, bob.id).await.unwrap();
    eventually("the mirror has that too", || heads() == [theft]).await;
    let thief = thief.stop().await;
    let new = new.start().await;
    new.has(&vault, "db/password", b"the thief's").await;

    let (recovered, moved) = new
        .vaults
        .recover_as(&vault, &words(83), Until::Version(theft), &key(91))
        .await
        .unwrap();
    assert_eq!(recovered.replaced, [new.id]);
    new.peers
        .heard_out(&BTreeSet::from([vault]), FAREWELL)
        .await;
    let now = sorted([moved.new, mirror.id, bob.id]);
    assert_eq!(members(&mirror, &vault), now, "heard before it went");
    let new = new.stop().await.start_as(seed(91)).await;
    assert_eq!(value(&new, &vault).as_deref(), Some(&b"honest"[..]));
    new.set(&vault, "db/password", b"second").await;
    new.dials(&bob).await;
    bob.peers.add(new.id, None).await.unwrap();
    bob.has(&vault, "db/password", b"second").await;

    let thief = thief.start().await;
    force(&new, &thief, &vault).await;
    assert_eq!(members(&thief, &vault), now, "the thief sees it too");
    assert_ne!(value(&thief, &vault).as_deref(), Some(&b"second"[..]));
    assert!(
        !thief
            .try_set_all(&vault, [("db/password", b"again".to_vec())])
            .await
    );
    for honest in [&mirror, &bob, &new] {
        force(&thief, honest, &vault).await;
        assert_eq!(members(honest, &vault), now);
    }
    assert_eq!(value(&bob, &vault).as_deref(), Some(&b"second"[..]));
}
