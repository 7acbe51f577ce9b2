use super::wrap::{Opened, Segment, seal_for};
use super::*;
use crate::enc;
use crate::keys::RootKey;
use proptest::prelude::*;

fn secret(n: u8) -> EpochSecret {
    EpochSecret::new(Zeroizing::new([n; 32]))
}

#[test]
fn a_wrap_opens_for_its_receiver_in_its_place_and_nowhere_else() {
    let (owner, member, other) = (
        RootKey::from_seed(&[1; 32]),
        RootKey::from_seed(&[2; 32]),
        RootKey::from_seed(&[3; 32]),
    );
    let (vault, shape, epoch) = (
        VaultId::from([4; 32]),
        ShapeKey::new(Zeroizing::new([5; 32])),
        secret(6),
    );
    let (id, to, from) = (epoch.id(), member.node_id(), owner.node_id());
    let place = Place {
        vault: &vault,
        epoch: &id,
        to: &to,
        from: &from,
    };
    let wrapped = wrap(place, &shape, &[&epoch], &Zeroizing::new([7; 32])).unwrap();
    let (shape2, secrets) = unwrap(place, &wrapped, &member, &shape.commitment())
        .ok()
        .unwrap();
    assert_eq!(
        (shape2.expose(), secrets[0].expose(), secrets.len()),
        (shape.expose(), epoch.expose(), 1)
    );
    let failed = |r: Result<(ShapeKey, Vec<EpochSecret>), EpochError>| r.err().unwrap();
    assert_eq!(
        failed(unwrap(place, &wrapped, &other, &shape.commitment())),
        EpochError::Wrap
    );
    let third = other.node_id();
    assert_eq!(
        failed(unwrap(
            Place {
                from: &third,
                ..place
            },
            &wrapped,
            &member,
            &shape.commitment()
        )),
        EpochError::Wrap
    );
    assert_eq!(
        failed(unwrap(
            Place {
                vault: &VaultId::from([9; 32]),
                ..place
            },
            &wrapped,
            &member,
            &shape.commitment()
        )),
        EpochError::Wrap
    );
    assert_eq!(
        failed(unwrap(place, &wrapped, &member, &[0; 32])),
        EpochError::Commitment
    );
    let claimed = secret(8).id();
    let place = Place {
        epoch: &claimed,
        ..place
    };
    let wrong = wrap(place, &shape, &[&epoch], &Zeroizing::new([7; 32])).unwrap();
    assert_eq!(
        failed(unwrap(place, &wrong, &member, &shape.commitment())),
        EpochError::Commitment,
        "another secret than the epoch's"
    );
}

#[test]
fn an_owner_cannot_pass_off_another_secret_as_an_epochs() {
    let (new, before, other) = (secret(1), secret(2), secret(3));
    let boxed = Msg {
        msg: other.expose(),
        aad: &box_aad(&new.id(), &before.id()),
    };
    let boxed = new.chain().encrypt(&box_nonce(&new.id(), 0).into(), boxed);
    let opened = new.open_box(0, &before.id(), &boxed.unwrap().try_into().unwrap());
    assert_eq!(opened.err(), Some(EpochError::Commitment), "in a box");

    let key = RootKey::from_seed(&[2; 32]);
    let shape = ShapeKey::new(Zeroizing::new([5; 32]));
    let (vault, id, node) = (VaultId::from([4; 32]), new.id(), key.node_id());
    let place = Place {
        vault: &vault,
        epoch: &id,
        to: &node,
        from: &node,
    };
    let segment = |epoch: EpochId, secret: &EpochSecret| Segment {
        epoch,
        secret: (*secret.0).into(),
    };
    let open = |secrets: Vec<Segment>| {
        let opened = Opened {
            shape: (*shape.0).into(),
            secrets,
        };
        let random = Zeroizing::new([7; 32]);
        let wrapped = seal_for(place, &enc::encode_secret(&opened, MAX_WRAP), &random).unwrap();
        let opened = unwrap(place, &wrapped, &key, &shape.commitment());
        opened.map(|(_, secrets)| secrets.len())
    };
    let history = || segment(before.id(), &before);
    assert_eq!(open(vec![segment(id, &new), history()]), Ok(2));
    for (what, secrets) in [
        ("as the current one", vec![segment(id, &other)]),
        (
            "as an earlier one",
            vec![segment(id, &new), segment(before.id(), &other)],
        ),
        ("an earlier one first", vec![history(), segment(id, &new)]),
    ] {
        assert_eq!(open(secrets), Err(EpochError::Commitment), "{what}");
    }
    assert_eq!(open(vec![]), Err(EpochError::Wrap), "nothing");
}

#[test]
fn one_random_serves_many_wraps() {
    let (shape, epoch) = (ShapeKey::new(Zeroizing::new([5; 32])), secret(6));
    let (vault, id, from) = (
        VaultId::from([4; 32]),
        epoch.id(),
        RootKey::from_seed(&[1; 32]).node_id(),
    );
    let make = |vault: &VaultId, to: u8, secrets: &[&EpochSecret]| {
        let to = RootKey::from_seed(&[to; 32]).node_id();
        let place = Place {
            vault,
            epoch: &id,
            to: &to,
            from: &from,
        };
        wrap(place, &shape, secrets, &Zeroizing::new([7; 32]))
            .unwrap()
            .enc
    };
    let first = make(&vault, 2, &[&epoch]);
    assert_eq!(first, make(&vault, 2, &[&epoch]), "values in, values out");
    assert_ne!(first, make(&vault, 3, &[&epoch]), "another receiver");
    assert_ne!(
        first,
        make(&VaultId::from([8; 32]), 2, &[&epoch]),
        "another vault"
    );
    assert_ne!(
        first,
        make(&vault, 2, &[&epoch, &secret(9)]),
        "other secrets"
    );
}

#[test]
fn a_wrap_holds_one_to_sixteen_secrets() {
    let (shape, epoch) = (ShapeKey::new(Zeroizing::new([5; 32])), secret(6));
    let key = RootKey::from_seed(&[2; 32]);
    let (vault, id, node) = (VaultId::from([4; 32]), epoch.id(), key.node_id());
    let place = Place {
        vault: &vault,
        epoch: &id,
        to: &node,
        from: &node,
    };
    let make = |n| wrap(place, &shape, &vec![&epoch; n], &Zeroizing::new([7; 32]));
    let most = make(MAX_SEGMENTS).unwrap();
    assert!(most.sealed.len() <= MAX_WRAP);
    assert_eq!(
        unwrap(place, &most, &key, &shape.commitment())
            .ok()
            .unwrap()
            .1
            .len(),
        MAX_SEGMENTS
    );
    assert_eq!(make(0).err(), Some(EpochError::Wrap));
    assert_eq!(make(MAX_SEGMENTS + 1).err(), Some(EpochError::Wrap));
}

proptest! {
    #[test]
    fn epoch_prev_chain_opens_history(seeds in proptest::collection::btree_set(any::<u8>(), 2..6)) {
        let secrets: Vec<EpochSecret> = seeds.iter().map(|s| secret(*s)).collect();
        let boxes: Vec<[u8; BOX]> = secrets.windows(2).map(|w| w[1].box_before(0, &w[0])).collect();
        let mut at = secret(*seeds.last().unwrap());
        for (n, sealed) in boxes.iter().enumerate().rev() {
            prop_assert_eq!(at.open_box(1, &secrets[n].id(), sealed).err(), Some(EpochError::Box), "another index");
            at = at.open_box(0, &secrets[n].id(), sealed).ok().unwrap();
            prop_assert_eq!(at.expose(), secrets[n].expose());
        }
    }

    #[test]
    fn a_join_needs_every_secret_and_no_order(a: [u8; 32], b: [u8; 32]) {
        let s = |x: [u8; 32]| EpochSecret::new(Zeroizing::new(x));
        prop_assert_eq!(join(&[s(a), s(b)]).id(), join(&[s(b), s(a)]).id());
        if a != b {
            prop_assert_ne!(join(&[s(a), s(b)]).id(), s(a).id());
            prop_assert_ne!(join(&[s(a), s(b)]).id(), s(b).id());
        }
        prop_assert_eq!(join(&[s(a), s(a)]).id(), s(a).id(), "one live epoch writes with its own secret");
    }
}
