use super::*;
use crate::enc;
use crate::epoch::{EpochRecord, EpochSecret, Place, ShapeKey, WrapRecord, wrap};
use crate::ids::{CommitId, NodeId, OpId, VaultId};
use crate::keys::RootKey;
use crate::sign::Signed;
use proptest::prelude::*;
use zeroize::Zeroizing;

fn key(n: u8) -> RootKey {
    RootKey::from_seed(&[n; 32])
}

fn node(n: u8) -> NodeId {
    key(n).node_id()
}

/// An epoch without envelopes: evaluation looks at none.
fn epoch(n: u8) -> EpochRecord {
    EpochRecord {
        commitment: [n; 32].into(),
        before: vec![],
        wraps: vec![],
    }
}

fn founded() -> (SignedOp, Control) {
    let recovery = Some(node(200));
    let genesis = Signed::sign(
        genesis(node(0), [5; 32], [6; 32], recovery, epoch(0)),
        &key(0),
    );
    let control = Control::new(&genesis).unwrap();
    (genesis, control)
}

fn signed(op: Op, by: u8) -> SignedOp {
    Signed::sign(op, &key(by))
}

/// The founder grants; the operation must count.
fn grant(control: &mut Control, by: u8, to: u8, role: Role) -> OpId {
    let op = signed(control.grant(node(by), node(to), role, 0, None, None), by);
    assert_eq!(control.apply(&op).unwrap(), Applied::Counts);
    op.id().into()
}

fn act(body: Body) -> Act {
    Act::Known(Box::new(body))
}

fn op(control: &Control, author: u8, parents: Vec<OpId>, body: Body) -> SignedOp {
    let op = Op {
        version: 1,
        vault: Some(control.vault()),
        author: node(author),
        by: By::Node,
        parents,
        act: act(body),
    };
    signed(op, author)
}

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
    let before = control.state().clone();
    control.judge();
    assert_eq!(control.state(), &before, "judged anew, it is the same");
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
    let before = control.state().clone();
    control.judge();
    assert_eq!(control.state(), &before, "judged anew, it is the same");
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
    let before = control.state().clone();
    control.judge();
    assert_eq!(control.state(), &before, "judged anew, it is the same");
}

#[test]
fn kinds_of_later_versions_make_a_vault_read_only_and_are_never_skipped() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Reader);
    let heads = control.heads();
    for (author, body) in [
        (1, Body::Format { min: 2 }),
        (
            2,
            Body::Join {
                grant: heads[0],
                node: node(3),
                link: vec![].into(),
            },
        ),
    ] {
        let foreign = op(&control, author, heads.clone(), body);
        assert!(matches!(
            control.apply(&foreign),
            Err(ControlError::NotAuthorised(_))
        ));
    }
    let unsponsored = op(
        &control,
        1,
        heads.clone(),
        Body::Join {
            grant: heads[0],
            node: node(3),
            link: vec![].into(),
        },
    );
    assert!(
        control.apply(&unsponsored).is_err(),
        "no siblings were granted"
    );
    assert_eq!(
        control.needs_upgrade(),
        None,
        "who may not do it does no harm with it"
    );

    let format = op(&control, 0, heads.clone(), Body::Format { min: 2 });
    let id = OpId::from(format.id());
    assert!(matches!(control.apply(&format), Err(ControlError::NeedsUpgrade(n)) if n == id));
    assert_eq!(control.needs_upgrade(), Some(id));
    let after = op(&control, 0, vec![id], Body::Rotate { epoch: epoch(7) });
    assert!(
        matches!(control.apply(&after), Err(ControlError::NeedsUpgrade(n)) if n == id),
        "nor what builds on it"
    );
    assert_eq!(control.heads(), heads);
}

#[test]
fn nobody_but_an_owner_keeps_a_vault_read_only() {
    let (_, mut control) = founded();
    grant(&mut control, 0, 1, Role::Reader);
    let heads = control.heads();
    // A flood that its author may not write, of more operations than are remembered.
    for n in 0..100u8 {
        let join = Body::Join {
            grant: heads[0],
            node: node(n),
            link: vec![n].into(),
        };
        assert!(
            control
                .apply(&op(&control, 1, heads.clone(), join))
                .is_err()
        );
    }
    assert_eq!(control.needs_upgrade(), None);
    assert!(control.unevaluated().count() < 100);
    let replace = Body::Replace {
        new: node(9),
        proof: [0; 64].into(),
        upto: vec![],
        cut: vec![],
        epoch: None,
    };
    let replace = op(&control, 1, heads.clone(), replace);
    assert!(matches!(
        control.apply(&replace),
        Err(ControlError::NeedsUpgrade(_))
    ));
    let removal = control
        .revoke(node(0), Target::Node(node(1)), vec![], Some(epoch(1)))
        .unwrap();
    control.apply(&signed(removal, 0)).unwrap();
    assert_eq!(
        control.needs_upgrade(),
        None,
        "the removal of a member undoes what it did beside it"
    );
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
    let reset = Op {
        version: 1,
        vault: Some(control.vault()),
        author: node(0),
        by: By::Recovery,
        parents: control.heads(),
        act: act(Body::Resign {}),
    };
    assert!(matches!(
        control.apply(&signed(reset.clone(), 0)),
        Err(ControlError::Signature(_))
    ));
    assert_eq!(control.needs_upgrade(), None);
    assert!(matches!(
        control.apply(&signed(reset, 200)),
        Err(ControlError::NeedsUpgrade(_))
    ));
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

/// One step of a made-up history, by anyone and on top of anything.
#[derive(Clone, Debug)]
struct Step {
    author: u8,
    on: Vec<prop::sample::Index>,
    target: u8,
    what: u8,
    early: Option<prop::sample::Index>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    // Mostly in a row, so that there is authority to lose; the rest beside and across.
    let on = prop_oneof![3 => Just(vec![]), 2 => proptest::collection::vec(index(), 1..3)];
    let step = (
        prop_oneof![2 => Just(0), 3 => 0..4u8],
        on,
        0..4u8,
        0..10u8,
        proptest::option::weighted(0.3, index()),
    )
        .prop_map(|(author, on, target, what, early)| Step {
            author,
            on,
            target,
            what,
            early,
        });
    proptest::collection::vec(step, 1..14)
}

/// Signs the steps, each on top of earlier ones, whether its author may or not.
fn history(control: &Control, genesis: &SignedOp, steps: &[Step]) -> Vec<SignedOp> {
    let (mut ops, mut all) = (vec![genesis.clone()], vec![]);
    let mut scratch = control.clone();
    for (n, step) in steps.iter().enumerate() {
        // Recent operations, so that chains are long and forks happen.
        let recent = &ops[ops.len().saturating_sub(4)..];
        let mut parents: Vec<OpId> = if step.on.is_empty() {
            vec![ops[ops.len() - 1].id().into()]
        } else {
            step.on.iter().map(|i| i.get(recent).id().into()).collect()
        };
        parents.sort_unstable();
        parents.dedup();
        let epoch = epoch(u8::try_from(n).unwrap() + 100);
        let body = match step.what {
            0..=3 => Body::Grant {
                node: node(step.target),
                role: Role::Owner,
                siblings: 0,
                expires: None,
                caveat: None,
            },
            4 => Body::Grant {
                node: node(step.target),
                role: Role::Reader,
                siblings: 0,
                expires: None,
                caveat: None,
            },
            5..=8 => {
                let upto = step
                    .early
                    .map_or_else(|| parents.clone(), |i| vec![i.get(&ops).id().into()]);
                Body::Revoke {
                    target: Target::Node(node(step.target)),
                    upto,
                    cut: vec![],
                    epoch: Some(epoch),
                }
            }
            _ => Body::Rotate { epoch },
        };
        let signed = op(control, step.author, parents, body);
        // What was refused for good has nothing on top of it.
        if scratch.apply(&signed).is_ok() {
            ops.push(signed.clone());
        }
        all.push(signed);
    }
    all
}

/// Applies operations as they come, holding those whose parents are missing.
fn deliver(control: &mut Control, ops: &[&SignedOp]) {
    let mut waiting: Vec<SignedOp> = ops
        .iter()
        .map(|op| SignedOp::parse(op.bytes()).unwrap())
        .collect();
    loop {
        let before = waiting.len();
        waiting.retain(|op| matches!(control.apply(op), Err(ControlError::MissingParents(_))));
        if waiting.len() == before {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96), ..ProptestConfig::default() })]

    #[test]
    fn control_order_free_and_mirror_and_reader_agree_on_state(steps in steps(), order in proptest::collection::vec(any::<u32>(), 14)) {
        let (genesis, control) = founded();
        let ops = history(&control, &genesis, &steps);
        let (mut one, mut two) = (control.clone(), control);
        let forward: Vec<&SignedOp> = ops.iter().collect();
        let mut shuffled: Vec<(u32, &SignedOp)> = order.iter().copied().zip(&ops).collect();
        shuffled.sort_by_key(|(n, _)| *n);
        deliver(&mut one, &forward);
        deliver(&mut two, &shuffled.into_iter().map(|(_, op)| op).collect::<Vec<_>>());
        prop_assert_eq!(one.state(), two.state());
        prop_assert_eq!(one.heads(), two.heads());
        for n in 0..5 {
            let sorted = |c: &Control| { let mut v: Vec<OpId> = c.revocations(&node(n)).map(|(r, _)| r).collect(); v.sort(); v };
            prop_assert_eq!(sorted(&one), sorted(&two));
        }
    }

    #[test]
    fn control_never_ownerless_and_control_fast_path_equals_slow(steps in steps()) {
        let (genesis, mut control) = founded();
        for op in history(&control, &genesis, &steps) {
            let _ = control.apply(&op);
            prop_assert!(!control.state().owners().is_empty());
            let mut slow = control.clone();
            slow.judge();
            prop_assert_eq!(slow.state(), control.state());
        }
    }

    #[test]
    fn control_removal_wins(steps in steps()) {
        let (genesis, mut control) = founded();
        grant(&mut control, 0, 1, Role::Owner);
        let before = control.heads();
        let removal = control.revoke(node(0), Target::Node(node(1)), vec![], Some(epoch(1))).unwrap();
        let removal = signed(removal, 0);
        // All that node 1 and its puppets make beside the removal, arriving after it or before it.
        let granted = control.get(&before[0]).unwrap().clone();
        let by_puppets: Vec<Step> = steps.into_iter().map(|s| Step { author: 1 + s.author % 4, ..s }).collect();
        let forged = history(&control, &granted, &by_puppets);
        let mut honest = control.clone();
        honest.apply(&removal).unwrap();
        let mut late = honest.clone();
        deliver(&mut late, &forged.iter().collect::<Vec<_>>());
        deliver(&mut control, &forged.iter().chain([&removal]).collect::<Vec<_>>());
        prop_assert_eq!(late.state(), honest.state());
        prop_assert_eq!(control.state(), honest.state());
        prop_assert!(OpId::from(genesis.id()) != before[0]);
    }

    #[test]
    fn no_bytes_make_an_operation_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, flip: u8) {
        let (genesis, mut control) = founded();
        let mut near = signed(control.rotate(node(0), epoch(1)), 0).bytes().to_vec();
        let at = at.index(near.len());
        near[at] ^= flip;
        for bytes in [&bytes, &near] {
            if let Ok(op) = SignedOp::parse(bytes) {
                let applied = control.apply(&op);
                prop_assert!(applied.is_err() || flip == 0);
            }
        }
        prop_assert_eq!(control.apply(&genesis).unwrap(), Applied::Known);
    }
}
