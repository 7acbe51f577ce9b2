//! The control log's tests: a few keys by number, and what they sign.

mod history;
mod properties;
mod recovery;
mod rules;
mod siblings;

use super::*;
use crate::epoch::EpochRecord;
use crate::ids::{NodeId, OpId};
use crate::keys::RootKey;
use crate::link::{self, Link, Terms};
use crate::sign::Signed;
use std::cell::RefCell;
use std::collections::HashMap;

/// The founder's recovery key.
const WORDS: u8 = 200;

/// The key of a number, made once: a property makes thousands of histories with a handful of keys.
fn with_key<T>(n: u8, f: impl FnOnce(&RootKey) -> T) -> T {
    thread_local!(static KEYS: RefCell<HashMap<u8, &'static RootKey>> = RefCell::default());
    let key = KEYS.with_borrow_mut(|keys| {
        *keys
            .entry(n)
            .or_insert_with(|| Box::leak(Box::new(RootKey::from_seed(&[n; 32]))))
    });
    f(key)
}

fn node(n: u8) -> NodeId {
    with_key(n, RootKey::node_id)
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
    let recovery = Some(node(WORDS));
    let genesis = signed(genesis(node(0), [5; 32], [6; 32], recovery, epoch(0)), 0);
    let control = Control::new(&genesis).unwrap();
    (genesis, control)
}

fn signed(op: Op, by: u8) -> SignedOp {
    with_key(by, |key| Signed::sign(op, key))
}

/// The operation must count.
fn apply(control: &mut Control, op: Op, by: u8) -> OpId {
    let op = signed(op, by);
    assert_eq!(control.apply(&op).unwrap(), Applied::Counts);
    op.id().into()
}

/// The founder, or another, grants; the operation must count.
fn grant(control: &mut Control, by: u8, to: u8, role: Role) -> OpId {
    let op = control.grant(node(by), node(to), role, 0, None, None);
    apply(control, op, by)
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

fn linked(one: u8, other: u8) -> Link {
    let terms = Terms::between(node(one), node(other), [1; 16], 1).unwrap();
    let (a, b) = if terms.a == node(one) {
        (one, other)
    } else {
        (other, one)
    };
    let sign = |n| with_key(n, |key| terms.sign(key));
    Link::new(terms, sign(a), sign(b)).unwrap()
}

/// Key `new` agrees to take the place of `old`.
fn successor(control: &Control, old: u8, new: u8) -> Successor {
    Successor {
        node: node(new),
        proof: with_key(new, |key| link::prove(control.vault(), node(old), key)),
    }
}

/// Judged anew, it is the same.
fn assert_settled(control: &Control) {
    let mut slow = control.clone();
    slow.judge();
    assert_eq!(slow.state(), control.state());
}
