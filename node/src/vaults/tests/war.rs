//! An owner who turns against the others.

use super::*;
use polykey_core::control::{Role, SignedOp};
use polykey_core::epoch::{EpochRecord, EpochSecret};

#[tokio::test]
async fn an_epoch_that_nobody_has_stops_the_vault_until_another_owner_removes_its_maker() {
    let (hostile, owner, mut reader) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = hostile.vaults.create("app").await.unwrap();
    for (node, role) in [(&owner, Role::Owner), (&reader, Role::Reader)] {
        let grant = hostile.vaults.grant(&vault, node.id(), role, None, None);
        grant.await.unwrap();
    }
    share_first(&hostile, &[&owner, &reader], &vault).await;

    let from = hostile.id();
    let control = owner.vaults.control(&vault).unwrap();
    let dark = EpochRecord {
        commitment: EpochSecret::new(Zeroizing::new([66; 32]))
            .commitment()
            .into(),
        before: vec![],
        wraps: vec![],
    };
    let rotate = SignedOp::sign(
        control.rotate(hostile.id(), dark),
        &RootKey::from_seed(&[1; 32]),
    );
    let announce = Announce {
        ops: vec![rotate.bytes().to_vec().into()],
        ..Announce::default()
    };
    for node in [&owner, &reader] {
        let heard = node.vaults.receive(&from, &vault, announce.clone(), false);
        assert_eq!(heard.await.unwrap(), Received::Done { changed: true });
        let waits = node.get(&vault, "db/password");
        assert!(
            matches!(waits, Err(VaultError::Pending)),
            "the key may come"
        );
    }
    let edit = || Edit::Put {
        path: "db/password".into(),
        mode: 0o444,
        value: Zeroizing::new(b"second".to_vec()),
    };
    let stopped = owner.vaults.edit(&vault, vec![edit()], None).await;
    assert!(matches!(stopped, Err(VaultError::Pending)));

    owner.vaults.revoke(&vault, hostile.id()).await.unwrap();
    owner.vaults.edit(&vault, vec![edit()], None).await.unwrap();
    tell(&owner, &reader, &vault).await.unwrap();
    for _ in 0..2 {
        assert_eq!(reader.get(&vault, "db/password").unwrap(), b"second");
        let old = reader.vaults.get(&vault, "db/password", Some("~1"));
        assert_eq!(old.unwrap().value.as_slice(), b"first");
        reader.reopen();
    }
}

/// One secret, and all have it.
async fn share_first(from: &Node, others: &[&Node], vault: &VaultId) {
    from.set(vault, "db/password", b"first").await;
    for node in others {
        tell(from, node, vault).await.unwrap();
        assert_eq!(node.get(vault, "db/password").unwrap(), b"first");
    }
}
