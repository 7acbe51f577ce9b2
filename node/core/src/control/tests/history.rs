//! Made-up histories: operations of every kind by anyone, on top of anything, whether their author may or not.

use super::*;
use proptest::prelude::*;
use proptest::sample::Index;

/// Ids that may act: the founder, five others, and a few that keys are replaced by.
pub const NODES: u8 = 8;
/// The new ids of resets begin here.
const RESET_IDS: u8 = 100;

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    pub author: u8,
    /// Recent operations that it builds on; none: the last one.
    pub on: Vec<Index>,
    pub target: u8,
    pub what: What,
    /// What a removal keeps, or a recovery goes back to; none: all that it builds on.
    pub early: Option<Index>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    Grant(Role),
    GrantFor(u8),
    Remove,
    RemoveWithoutEpoch,
    Withdraw(bool),
    Rotate,
    Join,
    Replace(bool),
    Prune,
    Reset,
    Resign,
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        8 => Just(What::Grant(Role::Owner)),
        2 => Just(What::Grant(Role::Reader)),
        2 => (1..3u8).prop_map(What::GrantFor),
        8 => Just(What::Remove),
        2 => Just(What::RemoveWithoutEpoch),
        2 => any::<bool>().prop_map(What::Withdraw),
        2 => Just(What::Rotate),
        3 => Just(What::Join),
        3 => any::<bool>().prop_map(What::Replace),
        1 => Just(What::Prune),
    ]
}

/// One of those, or a recovery.
fn what_or_recovery() -> impl Strategy<Value = What> {
    prop_oneof![
        8 => what(),
        2 => Just(What::Reset),
        1 => prop_oneof![5 => Just(What::Rotate), 1 => Just(What::Resign)],
    ]
}

fn step(
    author: impl Strategy<Value = u8>,
    what: impl Strategy<Value = What>,
) -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    // Mostly in a row, so that there is authority to lose; the rest beside and across.
    let on = prop_oneof![3 => Just(vec![]), 2 => proptest::collection::vec(index(), 1..3)];
    (
        author,
        on,
        0..NODES,
        what,
        proptest::option::weighted(0.3, index()),
    )
        .prop_map(|(author, on, target, what, early)| Step {
            author,
            on,
            target,
            what,
            early,
        })
}

/// Steps by anyone, without recoveries.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let author = prop_oneof![2 => Just(0), 3 => 0..4u8, 1 => 0..NODES];
    proptest::collection::vec(step(author, what()), 1..14)
}

/// Steps by anyone, with recoveries.
pub fn steps_with_recoveries() -> impl Strategy<Value = Vec<Step>> {
    let author =
        prop_oneof![2 => Just(0), 3 => 0..4u8, 1 => 0..NODES, 1 => RESET_IDS..RESET_IDS + 14];
    proptest::collection::vec(step(author, what_or_recovery()), 1..14)
}

/// Steps by these authors, without recoveries.
pub fn steps_by(authors: &'static [u8]) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(proptest::sample::select(authors), what()), 1..12)
}

/// An order of arrival.
pub fn order() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 64)
}

/// In another order.
pub fn shuffled<'a>(ops: &[&'a SignedOp], order: &[u32]) -> Vec<&'a SignedOp> {
    let mut shuffled: Vec<(u32, &SignedOp)> = order
        .iter()
        .copied()
        .cycle()
        .zip(ops.iter().copied())
        .collect();
    shuffled.sort_by_key(|(n, _)| *n);
    shuffled.into_iter().map(|(_, op)| op).collect()
}

/// Signs the steps on top of `ops`, which `control` has. `salt` tells the epochs of several histories apart. What is refused for good has nothing on top of it.
pub fn write(control: &Control, ops: &[SignedOp], steps: &[Step], salt: u8) -> Vec<SignedOp> {
    let (mut ops, mut new) = (ops.to_vec(), vec![]);
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
        let n = u8::try_from(n).unwrap();
        let Some(signed) = sign(control, step, &parents, &ops, salt + n, n) else {
            continue;
        };
        if scratch.apply(&signed).is_ok() {
            ops.push(signed.clone());
        }
        new.push(signed);
    }
    new
}

fn sign(
    control: &Control,
    step: &Step,
    parents: &[OpId],
    ops: &[SignedOp],
    serial: u8,
    n: u8,
) -> Option<SignedOp> {
    let with_epoch = Some(epoch(serial));
    let upto = step
        .early
        .map_or_else(|| parents.to_vec(), |i| vec![i.get(ops).id().into()]);
    let (author, target) = (step.author, step.target);
    let granted = |siblings: bool| {
        ops.iter().rev().find_map(|op| match op.payload().body() {
            Some(Body::Grant { siblings: s, .. }) if !siblings || *s > 0 => {
                Some(OpId::from(op.id()))
            }
            Some(Body::Join { .. } | Body::Genesis { .. }) if !siblings => Some(op.id().into()),
            _ => None,
        })
    };
    let grant = |role, siblings| Body::Grant {
        node: node(target),
        role,
        siblings,
        expires: None,
        caveat: None,
    };
    let remove = |target, epoch| Body::Revoke {
        target,
        upto: upto.clone(),
        cut: vec![],
        epoch,
    };
    let body = match step.what {
        What::Grant(role) => grant(role, 0),
        What::GrantFor(siblings) => grant(Role::Reader, siblings),
        What::Remove => remove(Target::Node(node(target)), with_epoch),
        What::RemoveWithoutEpoch => remove(Target::Node(node(target)), None),
        What::Withdraw(epoch) => {
            remove(Target::Grant(granted(false)?), with_epoch.filter(|_| epoch))
        }
        What::Rotate => Body::Rotate { epoch: with_epoch? },
        What::Join if author != target => Body::Join {
            grant: granted(true)?,
            node: node(target),
            link: linked(author, target).to_bytes().into(),
        },
        What::Replace(epoch) if author != target => Body::Replace {
            new: node(target),
            proof: successor(control, author, target).proof.into(),
            upto: upto.clone(),
            cut: vec![],
            epoch: with_epoch.filter(|_| epoch),
        },
        What::Prune => Body::Prune {
            keep: [serial; 32].into(),
        },
        What::Reset => Body::Reset {
            upto: upto.clone(),
            cut: vec![],
            new: node(RESET_IDS + n),
            proof: successor(control, 0, RESET_IDS + n).proof.into(),
            epoch: with_epoch?,
        },
        What::Resign => Body::Resign {},
        What::Join | What::Replace(_) => return None,
    };
    let recovers = matches!(body, Body::Reset { .. } | Body::Resign {});
    let op = Op {
        version: 1,
        vault: Some(control.vault()),
        author: node(if recovers { 0 } else { author }),
        by: if recovers { By::Recovery } else { By::Node },
        parents: parents.to_vec(),
        act: act(body),
    };
    Some(signed(op, if recovers { WORDS } else { author }))
}

/// Applies operations as they come, holding those whose parents are missing.
pub fn deliver(control: &mut Control, ops: &[&SignedOp]) {
    let mut waiting = ops.to_vec();
    loop {
        let before = waiting.len();
        waiting.retain(|op| matches!(control.apply(op), Err(ControlError::MissingParents(_))));
        if waiting.len() == before {
            return;
        }
    }
}
