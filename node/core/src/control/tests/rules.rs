//! Each rule by an example.

use super::*;
use crate::enc;
use crate::epoch::{EpochRecord, EpochSecret, Place, ShapeKey, WrapRecord, wrap};
use crate::ids::{CommitId, VaultId};
use zeroize::Zeroizing;

#[test]
fn a_vault_begins_with_its_founder_as_its_only_owner() {
    let (genesis, control) = founded();
    assert_eq!(control.vault(), VaultId::from(genesis.id()));
    assert_eq!(control.state().owners(), [node(0)]);
    assert_eq!(control.state().epochs, [epoch(0).id()]);
    assert_eq!(control.heads(), [OpId::from(genesis.id())]);
}

#[test]
fn members_are_granted_and_removed_in_a_row() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Reader);
    let upgrade = grant(&mut control, 0, 1, Role::Writer);
    assert_eq!(control.state().role_of(&node(1), 0), Some(Role::Writer));
    let target = Target::Grant(upgrade);
    assert!(control.needs_epoch(&target));
    let revoke = control
        .revoke(node(0), target, vec![], Some(epoch(1)))
        .unwrap();
    control.apply(&signed(revoke, 0)).unwrap();
    assert_eq!(
        control.state().role_of(&node(1), 0),
        Some(Role::Reader),
        "the other grant stays"
    );
    let revoke = control
        .revoke(node(0), Target::Node(node(1)), vec![], Some(epoch(2)))
        .unwrap();
    control.apply(&signed(revoke, 0)).unwrap();
    assert_eq!(control.state().role_of(&node(1), 0), None);
    assert_eq!(control.state().epochs, [epoch(2).id()]);
    grant(&mut control, 0, 1, Role::Reader);
    assert_eq!(
        control.state().role_of(&node(1), 0),
        Some(Role::Reader),
        "granted anew"
    );
    assert_settled(&control);
}

#[test]
fn the_last_owner_stays() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Writer);
    let removal = control.revoke(node(0), Target::Node(node(0)), vec![], Some(epoch(1)));
    assert!(matches!(removal, Err(ControlError::LastOwner)));
    let body = Body::Revoke {
        target: Target::Node(node(0)),
        upto: control.heads(),
        cut: vec![],
        epoch: Some(epoch(1)),
    };
    let forced = op(&control, 0, control.heads(), body);
    assert_eq!(control.apply(&forced).unwrap(), Applied::Void);
    assert_eq!(control.state().owners(), [node(0)]);
}

#[test]
fn an_owner_may_leave_when_another_stays() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Owner);
    let leave = control
        .revoke(node(1), Target::Node(node(1)), vec![], Some(epoch(1)))
        .unwrap();
    assert_eq!(control.apply(&signed(leave, 1)).unwrap(), Applied::Counts);
    assert_eq!(control.state().owners(), [node(0)]);
    assert_settled(&control);
}

#[test]
fn an_owner_for_a_time_is_not_enough_to_be_left_alone() {
    let (_, mut control) = founded();
    let lapsing = control.grant(node(0), node(1), Role::Owner, 0, Some(100), None);
    control.apply(&signed(lapsing, 0)).unwrap();
    assert_eq!(control.state().role_of(&node(1), 99), Some(Role::Owner));
    assert_eq!(
        control.state().role_of(&node(1), 100),
        None,
        "by the caller's clock"
    );
    let removal = control.revoke(node(0), Target::Node(node(0)), vec![], Some(epoch(1)));
    assert!(matches!(removal, Err(ControlError::LastOwner)));
}

#[test]
fn a_removed_reader_means_a_new_epoch_that_is_not_wrapped_for_it() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Reader);
    grant(&mut control, 0, 2, Role::Mirror);
    let none = control.revoke(node(0), Target::Node(node(1)), vec![], None);
    assert!(matches!(none, Err(ControlError::Contradiction(_))));
    assert!(
        control
            .revoke(node(0), Target::Node(node(2)), vec![], None)
            .is_ok(),
        "a mirror had no key"
    );
    assert_eq!(
        control.state_without(&Target::Node(node(1))).readers(0),
        [node(0)]
    );
    let secret = EpochSecret::new(Zeroizing::new([9; 32]));
    let shape = ShapeKey::new(Zeroizing::new([8; 32]));
    let (vault, id, to, from) = (control.vault(), secret.id(), node(1), node(0));
    let place = Place {
        vault: &vault,
        epoch: &id,
        to: &to,
        from: &from,
    };
    let wrapped = wrap(place, &shape, &[&secret], &Zeroizing::new([7; 32])).unwrap();
    let for_it = EpochRecord {
        commitment: secret.commitment().into(),
        before: vec![],
        wraps: vec![wrapped],
    };
    let wrong = control.revoke(node(0), Target::Node(node(1)), vec![], Some(for_it));
    assert!(matches!(wrong, Err(ControlError::Contradiction(_))));
}

#[test]
fn only_owners_decide() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Writer);
    let before = control.state().clone();
    for author in [1, 2] {
        let grant = signed(
            control.grant(node(author), node(3), Role::Owner, 0, None, None),
            author,
        );
        assert!(matches!(
            control.apply(&grant),
            Err(ControlError::NotAuthorised(_))
        ));
        let rotate = signed(control.rotate(node(author), epoch(1)), author);
        assert!(matches!(
            control.apply(&rotate),
            Err(ControlError::NotAuthorised(_))
        ));
    }
    let claimed = control.grant(node(0), node(3), Role::Owner, 0, None, None);
    assert!(matches!(
        control.apply(&signed(claimed, 3)),
        Err(ControlError::Signature(_))
    ));
    assert_eq!(control.state(), &before);
}

#[test]
fn malformed_operations_have_names() {
    let (genesis, mut control) = founded();
    let good = control.grant(node(0), node(1), Role::Reader, 0, None, None);
    let head = control.heads()[0];
    let with = |change: &dyn Fn(&mut Op)| {
        let mut op = good.clone();
        change(&mut op);
        signed(op, 0)
    };
    let mut refused = |op: &SignedOp| control.apply(op).unwrap_err().to_string();
    assert_eq!(refused(&with(&|op| op.version = 2)), "malformed");
    assert_eq!(refused(&with(&|op| op.parents.clear())), "malformed");
    assert_eq!(
        refused(&with(&|op| op.parents = vec![head, head])),
        "malformed"
    );
    assert_eq!(refused(&with(&|op| op.by = By::Recovery)), "malformed");
    assert_eq!(
        refused(&with(&|op| op.vault = Some([1; 32].into()))),
        "an operation of another vault"
    );
    assert!(refused(&with(&|op| op.parents = vec![[1; 32].into()])).contains("missing"));
    let unordered = |op: &mut Op| {
        op.act = act(Body::Revoke {
            target: Target::Node(node(1)),
            upto: vec![[2; 32].into(), [1; 32].into()],
            cut: vec![],
            epoch: None,
        });
    };
    assert_eq!(refused(&with(&unordered)), "malformed");
    assert_eq!(control.apply(&genesis).unwrap(), Applied::Known);
    assert!(matches!(
        Control::new(&with(&|_| ())),
        Err(ControlError::Genesis)
    ));
}

#[test]
fn an_owner_lets_trees_go_and_nobody_else() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Writer);
    let keep = CommitId::from([7; 32]);
    let by_writer = signed(control.prune(node(1), keep), 1);
    assert!(control.apply(&by_writer).is_err());
    assert_eq!(control.state().pruned().count(), 0);
    let prune = signed(control.prune(node(0), keep), 0);
    assert_eq!(control.apply(&prune).unwrap(), Applied::Counts);
    assert!(control.state().pruned().eq([&keep]));
    assert_settled(&control);
}

/// An operation of kind 42, which no version has yet.
fn newer(control: &Control, author: u8, parents: Vec<OpId>, n: u8) -> SignedOp {
    let known = op(control, author, parents, Body::Rotate { epoch: epoch(1) });
    let known = enc::encode(known.payload());
    let start = known.len() - enc::encode(&Body::Rotate { epoch: epoch(1) }).len();
    let later = [&known[..start], &[0x83, 0x18, 0x2a, 0x01, 0x41, n]].concat();
    signed(enc::decode(&later).unwrap(), author)
}

#[test]
fn kinds_of_later_versions_make_a_vault_read_only_and_are_never_skipped() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Reader);
    let heads = control.heads();
    for author in [1, 2] {
        let foreign = newer(&control, author, heads.clone(), 1);
        assert!(matches!(
            control.apply(&foreign),
            Err(ControlError::NotAuthorised(_))
        ));
    }
    assert_eq!(
        control.needs_upgrade(),
        None,
        "who may not do it does no harm with it"
    );
    let later = newer(&control, 0, heads.clone(), 1);
    let id = OpId::from(later.id());
    assert!(matches!(control.apply(&later), Err(ControlError::NeedsUpgrade(n)) if n == id));
    assert_eq!(control.needs_upgrade(), Some(id));
    let after = op(&control, 0, vec![id], Body::Rotate { epoch: epoch(7) });
    assert!(
        matches!(control.apply(&after), Err(ControlError::NeedsUpgrade(n)) if n == id),
        "nor what builds on it"
    );
    assert_eq!(control.heads(), heads);
    let kept: Vec<SignedOp> = control
        .ops()
        .chain(control.unevaluated())
        .cloned()
        .collect();
    let again = Control::restore(&kept).unwrap();
    assert_eq!(again.needs_upgrade(), Some(id), "nor forgotten");
}

#[test]
fn a_vault_that_asks_for_a_later_format_is_read_only() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Owner);
    let now = control.format(node(0), FORMAT);
    apply(&mut control, now, 0);
    assert_eq!(control.needs_upgrade(), None);
    let before = control.heads();
    let raise = control.format(node(1), FORMAT + 1);
    let raise = apply(&mut control, raise, 1);
    assert_eq!(control.needs_upgrade(), Some(raise));
    assert_eq!(control.state().format, FORMAT + 1);
    let body = Body::Revoke {
        target: Target::Node(node(1)),
        upto: before.clone(),
        cut: vec![],
        epoch: Some(epoch(3)),
    };
    let removal = op(&control, 0, before, body);
    control.apply(&removal).unwrap();
    assert_eq!(
        control.needs_upgrade(),
        None,
        "the removal of its author undoes it"
    );
}

#[test]
fn nobody_but_an_owner_keeps_a_vault_read_only() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Owner);
    grant(&mut control, 0, 2, Role::Reader);
    let heads = control.heads();
    // An owner's, which a removal beside it undoes, and then more than are remembered.
    let raising = newer(&control, 1, heads.clone(), 0);
    assert!(matches!(
        control.apply(&raising),
        Err(ControlError::NeedsUpgrade(_))
    ));
    let removal = control
        .revoke(node(0), Target::Node(node(1)), vec![], Some(epoch(1)))
        .unwrap();
    apply(&mut control, removal, 0);
    assert_eq!(control.needs_upgrade(), None);
    for n in 1..=100u8 {
        let flood = newer(&control, 1, heads.clone(), n);
        assert!(control.apply(&flood).is_err());
    }
    assert_eq!(control.needs_upgrade(), None);
    assert!(control.unevaluated().count() < 100);
    let owners = newer(&control, 0, control.heads(), 1);
    assert!(control.apply(&owners).is_err());
    assert_eq!(control.needs_upgrade(), Some(owners.id().into()));
}

#[test]
fn an_operation_of_an_unknown_kind_keeps_its_bytes() {
    let (_, mut control) = founded();
    let known = enc::encode(&control.rotate(node(0), epoch(1)));
    let body = enc::encode(&Body::Rotate { epoch: epoch(1) });
    let start = known.len() - body.len();
    assert_eq!(known[start..], body);
    let later = [&known[..start], &[0x83, 0x18, 0x2a, 0x01, 0x41, 0xff]].concat();
    let read: Op = enc::decode(&later).unwrap();
    assert!(matches!(&read.act, Act::Newer(n) if n.kind == 42));
    assert_eq!(enc::encode(&read), later);
    let stranger = Op {
        author: node(9),
        ..read.clone()
    };
    assert!(matches!(
        control.apply(&signed(stranger, 9)),
        Err(ControlError::NotAuthorised(_))
    ));
    assert!(matches!(
        control.apply(&signed(read, 0)),
        Err(ControlError::NeedsUpgrade(_))
    ));
}

#[test]
fn only_the_recovery_key_of_genesis_recovers() {
    let (_, mut control) = founded();
    let resignation = resignation(&control);
    assert!(matches!(
        control.apply(&signed(resignation.clone(), 0)),
        Err(ControlError::Signature(_))
    ));
    assert_eq!(control.needs_upgrade(), None);
    let stranger = Op {
        author: node(1),
        ..resignation.clone()
    };
    assert!(matches!(
        control.apply(&signed(stranger, WORDS)),
        Err(ControlError::Contradiction(_))
    ));
    assert_eq!(
        control.apply(&signed(resignation, WORDS)).unwrap(),
        Applied::Counts
    );
    assert_eq!(control.recovery(), None);
}

#[test]
fn of_two_owners_who_remove_each_other_the_senior_stays() {
    // Juniors with lower and with higher ids than the founder's.
    let higher = (1..20).filter(|n| node(*n) > node(0)).count();
    assert!(higher > 0 && higher < 19);
    for n in 1..20 {
        let (_, mut control) = founded();
        grant(&mut control, 0, n, Role::Owner);
        let heads = control.heads();
        let removal = |by: u8, of: u8| {
            let body = Body::Revoke {
                target: Target::Node(node(of)),
                upto: heads.clone(),
                cut: vec![],
                epoch: Some(epoch(50 + by)),
            };
            op(&control, by, heads.clone(), body)
        };
        let (senior, junior) = (removal(0, n), removal(n, 0));
        for order in [[&senior, &junior], [&junior, &senior]] {
            let mut control = control.clone();
            for op in order {
                control.apply(op).unwrap();
            }
            assert_eq!(control.state().owners(), [node(0)], "{n}");
            let kept = [epoch(50).id()];
            assert_eq!(
                control.state().epochs,
                kept,
                "the epoch of a void removal is not written with"
            );
        }
    }
}

#[test]
fn two_owners_who_rotate_at_once_leave_two_epochs_until_the_next() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Owner);
    let heads = control.heads();
    for by in [0, 1] {
        let rotate = op(
            &control,
            by,
            heads.clone(),
            Body::Rotate {
                epoch: epoch(20 + by),
            },
        );
        control.apply(&rotate).unwrap();
    }
    assert_eq!(control.state().epochs.len(), 2);
    let rotate = signed(control.rotate(node(1), epoch(30)), 1);
    assert_eq!(rotate.payload().parents.len(), 2);
    control.apply(&rotate).unwrap();
    assert_eq!(control.state().epochs, [epoch(30).id()]);
    assert!(control.epoch(&epoch(20).id()).is_some(), "read with, still");
}

#[test]
fn encodings_are_those_of_the_formats_reference() {
    let grant = Body::Grant {
        node: [1; 32].into(),
        role: Role::Reader,
        siblings: 0,
        expires: None,
        caveat: None,
    };
    let expected = [
        &[0x86, 0x01, 0x58, 0x20][..],
        &[1; 32],
        &[0x02, 0x00, 0xf6, 0xf6],
    ]
    .concat();
    assert_eq!(
        enc::encode(&grant),
        expected,
        "an absent field is null in its place"
    );
    let revoke = Body::Revoke {
        target: Target::Node([1; 32].into()),
        upto: vec![],
        cut: vec![],
        epoch: None,
    };
    let expected = [
        &[0x85, 0x03, 0x82, 0x00, 0x58, 0x20][..],
        &[1; 32],
        &[0x80, 0x80, 0xf6],
    ]
    .concat();
    assert_eq!(enc::encode(&revoke), expected);
    let op = Op {
        version: 1,
        vault: Some([2; 32].into()),
        author: [3; 32].into(),
        by: By::Node,
        parents: vec![[4; 32].into()],
        act: act(Body::Resign {}),
    };
    let expected = [
        &[0x86, 0x01, 0x58, 0x20][..],
        &[2; 32],
        &[0x58, 0x20],
        &[3; 32],
        &[0x00, 0x81, 0x58, 0x20],
        &[4; 32],
        &[0x81, 0x09],
    ]
    .concat();
    assert_eq!(enc::encode(&op), expected);
    assert_eq!(
        <WrapRecord as crate::sign::Payload>::CONTEXT,
        "polykey/1 wrap"
    );
}
