//! A device that gets another key: its place in its vaults goes with it, and the old key opens nothing that is sealed later.

use super::*;
use polykey_core::control::Role;
use polykey_core::keys::Words;

impl Node {
    /// The node of these words.
    fn of_words(words: &Words, seed: u8) -> Node {
        let (dir, store) = scratch_store();
        let identity = words.identity();
        let recovery = Some(*identity.recovery.node_id().as_bytes());
        let vaults = Vaults::open(store.clone(), identity.root, recovery).unwrap();
        Node {
            _dir: dir,
            store,
            seed,
            vaults,
        }
    }

    /// The node with another key, as after the start that follows.
    fn reopen_as(&mut self, seed: u8) {
        self.seed = seed;
        self.reopen();
    }

    fn members(&self, vault: &VaultId) -> Vec<(NodeId, Role)> {
        let list = self.vaults.members(vault).unwrap();
        list.members.iter().map(|m| (m.node, m.role)).collect()
    }

    fn role(&self, vault: &VaultId) -> Option<Role> {
        self.vaults.summary_of(vault).unwrap().role
    }
}

/// With all that it was told, a node has the secret of no epoch that another now writes with.
fn assert_opens_nothing_new(node: &Node, owner: &Node, vault: &VaultId) {
    let of_owner = owner.vaults.entry(vault).unwrap();
    let live = of_owner.read().control.state().epochs.clone();
    let entry = node.vaults.entry(vault).unwrap();
    let inner = entry.read();
    assert!(!live.is_empty());
    for epoch in live {
        assert!(inner.control.epoch(&epoch).is_some(), "it was told of it");
        assert!(inner.secrets.secret(&epoch).is_none());
    }
    let later = owner.get(vault, "db/password").unwrap();
    assert_ne!(node.get(vault, "db/password").ok(), Some(later));
}

fn key(seed: u8) -> RootKey {
    RootKey::from_seed(&[seed; 32])
}

fn words() -> Words {
    Words::from_entropy(&[0x55; 32])
}

async fn shared(a: &Node, b: &Node, role: Role) -> VaultId {
    let vault = a.vaults.create("app").await.unwrap();
    a.vaults
        .grant(&vault, b.id(), role, None, None)
        .await
        .unwrap();
    a.set(&vault, "db/password", b"one").await;
    tell(a, b, &vault).await.unwrap();
    vault
}

#[tokio::test]
async fn an_owner_with_another_key_is_followed_and_the_old_key_is_out() {
    let (mut a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&a, &b, Role::Writer).await;
    let second = a.vaults.create("second").await.unwrap();
    a.set(&second, "x", b"1").await;
    // Somebody has a copy of the old key, and all that it opens.
    let thief = Node::new(1);
    tell(&a, &thief, &vault).await.unwrap();
    thief.set(&vault, "planted", b"before").await;

    let mut vaults = vec![vault, second];
    vaults.sort_unstable();
    let moved = a.vaults.move_to(&key(9)).await.unwrap();
    assert_eq!((moved.new, moved.vaults), (key(9).node_id(), vaults));
    let old = a.id();
    for refused in [
        a.vaults.create("late").await.map(drop),
        a.vaults.move_to(&key(8)).await.map(drop),
        a.vaults
            .grant(&vault, b.id(), Role::Owner, None, None)
            .await
            .map(drop),
        a.vaults.edit(&vault, Vec::new(), None).await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(VaultError::KeyChanged(new)) if new == key(9).node_id()),
            "{refused:?}"
        );
    }
    a.reopen_as(9);
    assert_eq!(a.role(&vault), Some(Role::Owner));
    assert_eq!(a.get(&second, "x").unwrap(), b"1");
    a.set(&second, "x", b"2").await;
    a.set(&vault, "db/password", b"two").await;

    tell(&a, &b, &vault).await.unwrap();
    let members = [(b.id(), Role::Writer), (a.id(), Role::Owner)];
    let mut members = members.to_vec();
    members.sort_unstable();
    assert_eq!(b.members(&vault), members);
    assert_eq!(b.get(&vault, "db/password").unwrap(), b"two");

    // What the old key wrote beside it, and writes after it, counts nowhere; and it opens nothing new.
    tell(&a, &thief, &vault).await.unwrap();
    assert_eq!(thief.role(&vault), None);
    assert_opens_nothing_new(&thief, &a, &vault);
    for honest in [&a, &b] {
        tell(&thief, honest, &vault).await.unwrap();
        assert!(honest.get(&vault, "planted").is_err());
        assert_eq!(honest.get(&vault, "db/password").unwrap(), b"two");
        assert!(honest.members(&vault).iter().all(|(n, _)| *n != old));
    }
    b.set(&vault, "db/password", b"three").await;
    tell(&b, &a, &vault).await.unwrap();
    assert_eq!(a.get(&vault, "db/password").unwrap(), b"three");
}

#[tokio::test]
async fn a_vault_that_is_made_at_the_same_moment_goes_with_the_device_too() {
    for first in [true, false] {
        let mut a = Node::new(1);
        let new = key(9);
        let (made, moved) = if first {
            tokio::join!(a.vaults.create("late"), a.vaults.move_to(&new))
        } else {
            let (moved, made) = tokio::join!(a.vaults.move_to(&new), a.vaults.create("late"));
            (made, moved)
        };
        moved.unwrap();
        a.reopen_as(9);
        match made {
            Ok(vault) => assert_eq!(a.role(&vault), Some(Role::Owner)),
            Err(refused) => assert!(matches!(refused, VaultError::KeyChanged(_)), "{refused:?}"),
        }
    }
}

#[tokio::test]
async fn a_reader_with_another_key_reads_on_and_an_owner_begins_the_epoch() {
    for role in [Role::Reader, Role::Writer] {
        let (a, mut b) = (Node::new(1), Node::new(2));
        let vault = shared(&a, &b, role).await;
        let thief = Node::new(2);
        tell(&a, &thief, &vault).await.unwrap();
        b.vaults.move_to(&key(9)).await.unwrap();
        b.reopen_as(9);
        tell(&b, &a, &vault).await.unwrap();
        assert!(a.vaults.members(&vault).unwrap().rotation_pending);
        assert_eq!(b.role(&vault), Some(role));
        assert_eq!(b.get(&vault, "db/password").unwrap(), b"one");
        a.vaults.end_expired().await.unwrap();
        a.set(&vault, "db/password", b"two").await;
        for node in [&b, &thief] {
            tell(&a, node, &vault).await.unwrap();
        }
        assert_eq!(b.get(&vault, "db/password").unwrap(), b"two");
        assert_opens_nothing_new(&thief, &a, &vault);
    }
}

#[tokio::test]
async fn a_mirror_with_another_key_carries_on_and_nothing_is_sealed_anew() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    let vault = shared(&a, &b, Role::Mirror).await;
    b.vaults.move_to(&key(9)).await.unwrap();
    b.reopen_as(9);
    tell(&b, &a, &vault).await.unwrap();
    assert!(!a.vaults.members(&vault).unwrap().rotation_pending);
    let mut members = [(key(9).node_id(), Role::Mirror), (a.id(), Role::Owner)];
    members.sort_unstable();
    assert_eq!(a.members(&vault), members);
}

#[tokio::test]
async fn a_vault_that_cannot_follow_keeps_everything_as_it_was() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&a, &b, Role::Owner).await;
    let second = a.vaults.create("second").await.unwrap();
    let entry = a.vaults.entry(&vault).unwrap();
    let heads = entry.read().control.heads();
    let mut payload = polykey_core::enc::encode(&(1u8, vault, a.id(), 0u8, heads));
    // An operation of kind 99, which this version does not know: the same five fields, and a body of its own.
    payload[0] = 0x86;
    payload.extend([0x81, 0x18, 99]);
    let op: polykey_core::control::Op = polykey_core::enc::decode(&payload).unwrap();
    let newer = polykey_core::control::SignedOp::sign(op, &key(1));
    let announce = Announce {
        ops: vec![newer.bytes().to_vec().into()],
        ..Announce::default()
    };
    a.vaults
        .receive(&b.id(), &vault, announce, false)
        .await
        .unwrap();
    let held = a.vaults.move_to(&key(9)).await;
    assert!(
        matches!(&held, Err(VaultError::Held { vault: v, why }) if *v == vault && matches!(**why, VaultError::NeedsUpgrade)),
        "{held:?}"
    );
    a.set(&second, "x", b"1").await;
    assert_eq!(a.role(&second), Some(Role::Owner));
}

#[tokio::test]
async fn words_on_a_new_machine_throw_out_the_thief_who_has_the_same_key() {
    let (thief, b) = (Node::of_words(&words(), 0), Node::new(2));
    let vault = shared(&thief, &b, Role::Reader).await;
    let other = thief.vaults.create("other").await.unwrap();
    thief.set(&other, "x", b"1").await;
    // The words make the same node anew. It gets what the members and mirrors have.
    let mut new = Node::of_words(&words(), 0);
    tell(&b, &new, &vault).await.unwrap();
    tell(&thief, &new, &other).await.unwrap();

    let theft = thief.set(&vault, "db/password", b"the thief's").await;
    thief
        .vaults
        .grant(&vault, key(7).node_id(), Role::Owner, None, None)
        .await
        .unwrap();
    thief.vaults.revoke(&vault, b.id()).await.unwrap();
    tell(&thief, &new, &vault).await.unwrap();
    let same = new
        .vaults
        .recover(&vault, &words(), Until::Version(theft))
        .await;
    assert!(matches!(same, Err(VaultError::SameKey)), "{same:?}");
    let wrong = Words::from_entropy(&[1; 32]);
    let wrong = new
        .vaults
        .recover_as(&vault, &wrong, Until::Now, &key(9))
        .await;
    assert!(matches!(wrong, Err(VaultError::Words)), "{wrong:?}");

    let (recovered, moved) = new
        .vaults
        .recover_as(&vault, &words(), Until::Version(theft), &key(9))
        .await
        .unwrap();
    assert_eq!(recovered.replaced, [thief.id()]);
    assert_eq!(moved.vaults.len(), 2);
    new.reopen_as(9);
    let mut members = vec![(b.id(), Role::Reader), (key(9).node_id(), Role::Owner)];
    members.sort_unstable();
    assert_eq!(new.members(&vault), members);
    assert_eq!(new.get(&vault, "db/password").unwrap(), b"one");
    assert_eq!(new.role(&other), Some(Role::Owner));
    assert_eq!(new.get(&other, "x").unwrap(), b"1");
    new.set(&vault, "db/password", b"two").await;

    tell(&new, &b, &vault).await.unwrap();
    assert_eq!(b.get(&vault, "db/password").unwrap(), b"two");
    for vault in [&vault, &other] {
        tell(&new, &thief, vault).await.unwrap();
        assert_eq!(thief.role(vault), None);
    }
    tell(&thief, &b, &vault).await.unwrap();
    for vault in [&vault, &other] {
        new.set(vault, "db/password", b"three").await;
        tell(&new, &thief, vault).await.unwrap();
        assert_opens_nothing_new(&thief, &new, vault);
    }

    // The device keeps its new key when the words take the other vault back as well: the thief does not have that one.
    let before = new.vaults.log(&other, None, 1).unwrap()[0].version;
    let again = new
        .vaults
        .recover(&other, &words(), Until::Version(before))
        .await
        .unwrap();
    assert_eq!(again.replaced, [thief.id()]);
    assert_eq!(new.members(&other), [(key(9).node_id(), Role::Owner)]);
    // All of it is what it was with this key: to go on from there takes another.
    let now = new.vaults.recover(&vault, &words(), Until::Now).await;
    assert!(matches!(now, Err(VaultError::SameKey)), "{now:?}");
}
