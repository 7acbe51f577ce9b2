//! What holds of every history, in every order of arrival. `PROPTEST_CASES` sets how many are tried.

use super::history::{
    NODES, deliver, order, shuffled, steps, steps_by, steps_with_recoveries, write,
};
use super::*;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;

const CASES: u32 = 96;

fn config() -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: given.and_then(|n| n.parse().ok()).unwrap_or(CASES),
        ..ProptestConfig::default()
    }
}

/// Everything that others can see of a log.
fn seen(control: &Control) -> impl PartialEq + std::fmt::Debug {
    let removals: Vec<_> = (0..NODES)
        .map(|n| {
            let mut of: Vec<OpId> = control
                .removals(&node(n))
                .into_iter()
                .map(|(r, _)| r)
                .collect();
            of.sort_unstable();
            of
        })
        .collect();
    let counting: BTreeSet<OpId> = control
        .ops()
        .map(|op| op.id().into())
        .filter(|id| control.counts(id))
        .collect();
    (
        control.state().clone(),
        control.heads(),
        control.tips(),
        counting,
        removals,
        control.founder_ids(),
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn control_order_free(steps in steps(), order in order()) {
        let (genesis, control) = founded();
        let ops = write(&control, &[genesis], &steps, 100);
        let (mut one, mut two) = (control.clone(), control);
        let forward: Vec<&SignedOp> = ops.iter().collect();
        deliver(&mut one, &forward);
        deliver(&mut two, &shuffled(&forward, &order));
        prop_assert_eq!(seen(&one), seen(&two));
    }

    #[test]
    fn control_reset_order_free(steps in steps_with_recoveries(), more in steps_with_recoveries(), order in order()) {
        let (genesis, control) = founded();
        let mut ops = write(&control, std::slice::from_ref(&genesis), &steps, 100);
        let mut grown = control.clone();
        ops.retain(|op| grown.apply(op).is_ok());
        let all: Vec<SignedOp> = std::iter::once(genesis).chain(ops.clone()).collect();
        ops.extend(write(&grown, &all, &more, 130));
        let (mut one, mut two) = (control.clone(), control);
        let forward: Vec<&SignedOp> = ops.iter().collect();
        deliver(&mut one, &forward);
        deliver(&mut two, &shuffled(&forward, &order));
        prop_assert_eq!(seen(&one), seen(&two));
        prop_assert!(!one.state().owners().is_empty());
    }

    #[test]
    fn mirror_and_reader_agree_on_state(steps in steps_with_recoveries(), order in order()) {
        let (genesis, mut reader) = founded();
        let ops = write(&reader, &[genesis], &steps, 100);
        deliver(&mut reader, &shuffled(&ops.iter().collect::<Vec<_>>(), &order));
        // A mirror has bytes alone, and reads them back from its store.
        let kept: Vec<SignedOp> = reader.ops().map(|op| SignedOp::parse(op.bytes()).unwrap()).collect();
        let mirror = Control::restore(&kept).unwrap();
        prop_assert_eq!(seen(&mirror), seen(&reader));
    }

    #[test]
    fn control_never_ownerless(steps in steps_with_recoveries()) {
        let (genesis, mut control) = founded();
        for op in write(&control, &[genesis], &steps, 100) {
            let _ = control.apply(&op);
            prop_assert!(!control.state().owners().is_empty());
        }
    }

    #[test]
    fn control_fast_path_equals_slow(steps in steps_with_recoveries()) {
        let (genesis, mut control) = founded();
        for op in write(&control, &[genesis], &steps, 100) {
            let _ = control.apply(&op);
            let mut slow = control.clone();
            slow.judge();
            prop_assert_eq!(seen(&slow), seen(&control));
            let heads = control.heads();
            for n in 0..NODES {
                prop_assert_eq!(slow.role_when(&heads, &node(n)), control.role_when(&heads, &node(n)));
            }
        }
    }

    /// All that a removed owner and its puppets make beside the removal, arriving after it or before it.
    #[test]
    fn control_removal_wins(steps in steps_by(&[1, 2, 3, 4, 5]), order in order()) {
        let (_, mut control) = founded();
        grant(&mut control, 0, 1, Role::Owner);
        let for_siblings = control.grant(node(0), node(1), Role::Reader, 2, None, None);
        apply(&mut control, for_siblings, 0);
        let granted: Vec<SignedOp> = control.ops().cloned().collect();
        let removal = control.revoke(node(0), Target::Node(node(1)), vec![], Some(epoch(1))).unwrap();
        let removal = signed(removal, 0);
        let forged = write(&control, &granted[1..], &steps, 100);
        let mut honest = control.clone();
        honest.apply(&removal).unwrap();
        let mut late = honest.clone();
        deliver(&mut late, &forged.iter().collect::<Vec<_>>());
        let all: Vec<&SignedOp> = forged.iter().chain([&removal]).collect();
        deliver(&mut control, &shuffled(&all, &order));
        prop_assert_eq!(late.state(), honest.state());
        prop_assert_eq!(control.state(), honest.state());
    }

    /// After any history the founder removes somebody: whatever that node signs on top of anything that was before changes nothing, however it is dated.
    #[test]
    fn control_no_forgery_behind_removal(steps in steps(), who in 1..NODES, forged in steps_by(&[20, 21, 22]), place: Index, order in order()) {
        let (genesis, mut control) = founded();
        let made = write(&control, std::slice::from_ref(&genesis), &steps, 100);
        let mut ops = vec![genesis];
        for op in &made {
            if control.apply(op).is_ok() {
                ops.push(op.clone());
            }
        }
        let granted = control.grant(node(0), node(who), Role::Owner, 1, None, None);
        if !control.state().members.contains_key(&node(who)) && control.apply(&signed(granted.clone(), 0)).is_ok() {
            ops.push(signed(granted, 0));
        }
        if !control.state().owners().contains(&node(0)) || !control.state().members.contains_key(&node(who)) {
            // The founder was removed, or left once somebody else was an owner, or has another key: who is senior now is not known to this test.
            return Ok(());
        }
        let removal = control.revoke(node(0), Target::Node(node(who)), vec![], Some(epoch(1))).unwrap();
        let removal = signed(removal, 0);
        let mut honest = control.clone();
        prop_assert_eq!(honest.apply(&removal).unwrap(), Applied::Counts);
        // On top of a moment of the past, and by the node itself where the generator says a puppet.
        let past = &ops[..=place.index(ops.len())];
        let forged: Vec<_> = forged.into_iter().map(|mut s| {
            if s.author != 22 { s.author = who; }
            s
        }).collect();
        let forged = write(&control, past, &forged, 130);
        let before = (honest.state().clone(), honest.tips());
        let forward: Vec<&SignedOp> = forged.iter().collect();
        deliver(&mut honest, &shuffled(&forward, &order));
        prop_assert_eq!((honest.state().clone(), honest.tips()), before);
    }

    /// A thief with the founder's key revokes, adds puppets, replaces itself and answers, before, beside and after the Reset: the state is that of before the theft, with the new key.
    #[test]
    fn control_recovery_beats_thief(
        honest in steps(),
        theft in steps_by(&[0, 20, 21, 22, 6, 7]),
        answer in steps_by(&[0, 20, 21, 22, 6, 7]),
        resets in 1..4usize,
        on: Index,
        order in order(),
    ) {
        let (genesis, mut control) = founded();
        let mut ops = vec![genesis.clone()];
        for op in write(&control, &[genesis], &honest, 100) {
            if control.apply(&op).is_ok() {
                ops.push(op);
            }
        }
        let safe = control.clone();
        // Keys that others have can act for themselves on top of a Reset: the thief has none of those.
        let others: BTreeSet<NodeId> = safe.state().members.keys().filter(|n| !safe.founder_ids().contains(n)).copied().collect();
        let thiefs = |s: &super::history::Step| !others.contains(&node(s.author));
        let theft: Vec<_> = theft.into_iter().filter(thiefs).collect();
        let answer: Vec<_> = answer.into_iter().filter(thiefs).collect();
        for op in write(&control, &ops.clone(), &theft, 120) {
            if control.apply(&op).is_ok() {
                ops.push(op);
            }
        }
        let mut upto = safe.heads();
        upto.truncate(16);
        prop_assume!(upto == safe.heads());
        // The person resets from one device, and perhaps again from it: the last one counts.
        let mut new = 100;
        for n in 0..resets {
            new = 100 + u8::try_from(n).unwrap();
            let mut reset = control.reset(successor(&control, 0, new), upto.clone(), vec![], epoch(new)).unwrap();
            if n == 0 {
                // The first is made without having seen all of the theft.
                let mut parents = upto.clone();
                parents.push(on.get(&ops).id().into());
                parents.sort_unstable();
                parents.dedup();
                parents.truncate(16);
                prop_assume!(upto.iter().all(|id| parents.contains(id)));
                reset.parents = parents;
            }
            let reset = signed(reset, WORDS);
            control.apply(&reset).unwrap();
            ops.push(reset);
        }
        ops.extend(write(&control, &ops.clone(), &answer, 140));
        let mut there = founded().1;
        deliver(&mut there, &shuffled(&ops.iter().collect::<Vec<_>>(), &order));

        let state = there.state();
        prop_assert_eq!(&state.epochs, &vec![epoch(new).id()]);
        let mut expected: std::collections::BTreeMap<NodeId, BTreeSet<OpId>> = std::collections::BTreeMap::new();
        let founder = safe.founder_ids();
        expected.entry(node(new)).or_default().insert(OpId::from(*safe.vault().as_bytes()));
        for (who, member) in &safe.state().members {
            let who = if founder.contains(who) { node(new) } else { *who };
            expected.entry(who).or_default().extend(member.grants.iter().map(|g| g.id));
        }
        let found: std::collections::BTreeMap<NodeId, BTreeSet<OpId>> = state.members.iter().map(|(n, m)| (*n, m.grants.iter().map(|g| g.id).collect())).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(state.pruned().eq(safe.state().pruned()));
    }

    /// Whoever is brought in, by whomever and beside whatever: never more nodes than were granted, with no more than the grant's role, and no grant of a sponsor's own making.
    #[test]
    fn control_sponsor_cannot_exceed(
        siblings in 1..3u8,
        steps in proptest::collection::vec((1..7u8, 1..7u8, 0..8u8, proptest::collection::vec(any::<Index>(), 0..3)), 1..16),
        order in order(),
        at: Index,
    ) {
        let (_, mut control) = founded();
        let op = control.grant(node(0), node(1), Role::Reader, siblings, None, None);
        let grant = apply(&mut control, op, 0);
        let base = control.clone();
        let mut ops: Vec<SignedOp> = control.ops().skip(1).cloned().collect();
        for (author, target, what, on) in steps {
            if author == target { continue; }
            let mut parents: Vec<OpId> = on.iter().map(|i| i.get(&ops).id().into()).collect();
            if parents.is_empty() { parents.push(ops[ops.len() - 1].id().into()); }
            parents.sort_unstable();
            parents.dedup();
            let remove = |target| Body::Revoke { target, upto: parents.clone(), cut: vec![], epoch: None };
            let body = match what {
                0..=3 => Body::Join { grant, node: node(target), link: linked(author, target).to_bytes().into() },
                4 => remove(Target::Node(node(target))),
                5 => Body::Replace { new: node(target + 10), proof: successor(&control, author, target + 10).proof.into(), upto: parents.clone(), cut: vec![], epoch: None },
                6 => Body::Grant { node: node(target), role: Role::Owner, siblings: 5, expires: None, caveat: None },
                _ => remove(Target::Grant(ops[ops.len() - 1].id().into())),
            };
            let op = super::op(&control, author, parents.clone(), body);
            if control.apply(&op).is_ok() { ops.push(op); }
        }
        let mut there = base;
        deliver(&mut there, &shuffled(&ops.iter().collect::<Vec<_>>(), &order));
        prop_assert_eq!(seen(&there), seen(&control));
        let moment = [OpId::from(at.get(&ops).id())];
        for state in [there.state(), &there.state_at(&moment)] {
            let brought: Vec<_> = state.members.iter().filter(|(n, _)| **n != node(0)).collect();
            prop_assert!(brought.len() <= usize::from(siblings) + 1, "{} nodes", brought.len());
            for (_, member) in brought {
                prop_assert_eq!(member.role(), Some(Role::Reader));
                prop_assert!(member.grants.iter().all(|g| g.id == grant || g.under == Some(grant)));
            }
        }
    }

    /// Owners remove different members at one moment: no removed member has an envelope of every epoch that lives, and everybody who stays does.
    #[test]
    fn epoch_join_excludes_all_removed(owners in 2..5u8, removed in proptest::collection::btree_map(1..10u8, 0..5u8, 1..6)) {
        let (_, mut control) = founded();
        for n in 1..owners { grant(&mut control, 0, n, Role::Owner); }
        for n in 0..6u8 { grant(&mut control, 0, 10 + n, Role::Reader); }
        let start = control.clone();
        for (who, by) in &removed {
            let (target, by) = (Target::Node(node(10 + who % 6)), by % owners);
            let mut record = epoch(50 + who);
            record.wraps = start.state_without(&target).readers(0).into_iter().map(|to| crate::epoch::Wrapped { to, enc: [0; 32].into(), sealed: vec![].into() }).collect();
            let op = signed(start.revoke(node(by), target, vec![], Some(record)).unwrap(), by);
            control.apply(&op).unwrap();
        }
        let state = control.state();
        prop_assert!(!state.epochs.is_empty());
        let opens = |to: &NodeId| state.epochs.iter().all(|id| control.epoch(id).unwrap().1.wraps.iter().any(|w| w.to == *to));
        for n in (0..owners).chain(10..16) {
            let reads = state.role_of(&node(n), 0) >= Some(Role::Reader);
            prop_assert_eq!(opens(&node(n)), reads, "node {}", n);
        }
    }

    #[test]
    fn no_bytes_make_an_operation_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at: Index, flip: u8) {
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
