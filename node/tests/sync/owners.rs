//! Owners, thieves and the words that take a vault back, between real nodes.

use super::node::{Node, eventually, words};
use super::vault_on;
use polykey::vaults::{Terms, Told, Until, VaultError};
use polykey_core::control::Role;
use polykey_core::ids::{NodeId, VaultId};

pub fn members(node: &Node, vault: &VaultId) -> Vec<NodeId> {
    let list = node.vaults.members(vault).unwrap();
    list.members.into_iter().map(|m| m.node).collect()
}

/// All that `from` has of a vault, put before `to` as if it came from a peer.
pub async fn force(from: &Node, to: &Node, vault: &VaultId) {
    let mut told = Told::default();
    loop {
        let announce = from
            .vaults
            .announce_for(vault, &mut told, 64 << 10)
            .unwrap();
        if announce.ops.is_empty() && announce.commits.is_empty() && announce.wraps.is_empty() {
            return;
        }
        let _ = to.vaults.receive(&from.id, vault, announce, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_take_a_vault_back_from_a_thief_who_removed_everybody() {
    let laptop = Node::start(60).await;
    let (phone, bob, puppet) = (
        Node::start(61).await,
        Node::start(62).await,
        Node::start(63).await,
    );
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &phone, Role::Reader).await;
    laptop.share(&vault, &bob, Role::Writer).await;
    for other in [&phone, &bob, &puppet] {
        other.knows(&laptop).await;
        laptop.dials(other).await;
    }
    bob.knows(&phone).await;
    laptop.set(&vault, "db/password", b"honest").await;
    for reader in [&phone, &bob] {
        reader.has(&vault, "db/password", b"honest").await;
    }

    // The laptop is a thief's now.
    laptop.set(&vault, "db/password", b"the thief's").await;
    phone.has(&vault, "db/password", b"the thief's").await;
    let bad = phone.vaults.summary(&vault).unwrap().heads[0];
    laptop.share(&vault, &puppet, Role::Owner).await;
    puppet.has(&vault, "db/password", b"the thief's").await;
    for victim in [&phone, &bob] {
        laptop.vaults.revoke(&vault, victim.id).await.unwrap();
    }
    assert!(!members(&laptop, &vault).contains(&bob.id));

    let others = words(61);
    let wrong = phone.vaults.recover(&vault, &others, Until::Now).await;
    assert!(matches!(wrong, Err(VaultError::Words)));
    let words = words(60);
    let same = laptop.vaults.recover(&vault, &words, Until::Now).await;
    assert!(matches!(same, Err(VaultError::SameKey)));
    let recovered = phone
        .vaults
        .recover(&vault, &words, Until::Version(bad))
        .await
        .unwrap();
    assert_eq!(recovered.replaced, [laptop.id]);
    let mut left = [phone.id, bob.id];
    left.sort_unstable();
    assert_eq!(members(&phone, &vault), left);
    assert_eq!(
        phone.get(&vault, "db/password").as_deref(),
        Some(&b"honest"[..]),
        "what the thief wrote is gone"
    );

    phone.dials(&bob).await;
    phone.set(&vault, "db/password", b"changed").await;
    bob.has(&vault, "db/password", b"changed").await;
    assert_eq!(members(&bob, &vault), left);

    // Nothing that the thief and the puppet sign, before and after hearing of it, comes back.
    laptop.set(&vault, "db/password", b"again").await;
    puppet.set(&vault, "db/password", b"and again").await;
    for thief in [&laptop, &puppet] {
        for honest in [&phone, &bob] {
            force(thief, honest, &vault).await;
            assert_eq!(members(honest, &vault), left);
            assert_eq!(
                honest.get(&vault, "db/password").as_deref(),
                Some(&b"changed"[..])
            );
        }
        force(&phone, thief, &vault).await;
        assert_eq!(members(thief, &vault), left, "the thief sees it too");
        assert_ne!(
            thief.get(&vault, "db/password").as_deref(),
            Some(&b"changed"[..]),
            "and opens nothing that was sealed since"
        );
        let late = thief
            .vaults
            .grant(&vault, thief.id, Role::Owner, None, None);
        assert!(matches!(late.await, Err(VaultError::Role { .. })));
    }
    // Bob, who is honest, goes on writing for the phone.
    bob.set(&vault, "more", b"1").await;
    phone.has(&vault, "more", b"1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_were_given_up_take_nothing_back() {
    let (laptop, phone) = (Node::start(64).await, Node::start(65).await);
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &phone, Role::Owner).await;
    phone.knows(&laptop).await;
    laptop.dials(&phone).await;
    phone.has(&vault, "db/password", b"first").await;
    laptop.vaults.resign(&vault, &words(64)).await.unwrap();
    let control = || laptop.vaults.summary(&vault).unwrap().control_heads;
    eventually("the phone has heard of it", || {
        phone.vaults.summary(&vault).unwrap().control_heads == control()
    })
    .await;
    let recovered = phone.vaults.recover(&vault, &words(64), Until::Now).await;
    assert!(matches!(recovered, Err(VaultError::Control(_))));

    // Handed over for good: the maker leaves, and the last owner cannot.
    laptop.vaults.revoke(&vault, laptop.id).await.unwrap();
    eventually("the phone owns it alone", || {
        members(&phone, &vault) == [phone.id]
    })
    .await;
    let last = phone.vaults.revoke(&vault, phone.id).await;
    assert!(matches!(last, Err(VaultError::Control(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_with_an_end_is_served_no_more_after_it() {
    let (laptop, cluster) = (Node::start(66).await, Node::start(67).await);
    let vault = vault_on(&laptop).await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let terms = Terms {
        role: Role::Reader,
        siblings: 2,
        expires: Some(now + 10),
        caveat: None,
    };
    laptop
        .vaults
        .grant_on(&vault, cluster.id, terms)
        .await
        .unwrap();
    cluster.knows(&laptop).await;
    laptop.dials(&cluster).await;
    cluster.has(&vault, "db/password", b"first").await;
    eventually("ended by the clock", || {
        !laptop.vaults.is_shared_with(&vault, &cluster.id)
    })
    .await;
    laptop.vaults.end_expired().await.unwrap();
    assert_eq!(members(&laptop, &vault), [laptop.id]);
    laptop.set(&vault, "db/password", b"second").await;
    force(&laptop, &cluster, &vault).await;
    assert_ne!(
        cluster.get(&vault, "db/password").as_deref(),
        Some(&b"second"[..]),
        "it opens nothing that was sealed since"
    );
}
