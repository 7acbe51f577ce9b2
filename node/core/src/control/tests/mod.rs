//! The control log's tests: what keys by number sign.

mod history;
mod properties;
mod recovery;
mod rules;
mod siblings;

use super::*;
use crate::ids::{NodeId, OpId};
use crate::link::{self, Link, Terms};
use crate::sign::Signed;
use crate::testing::{epoch, key, node};

/// The founder's recovery key.
const WORDS: u8 = 200;

fn founded() -> (SignedOp, Control) {
    let recovery = Some(node(WORDS));
    let genesis = signed(genesis(node(0), [5; 32], [6; 32], recovery, epoch(0)), 0);
    let control = Control::new(&genesis).unwrap();
    (genesis, control)
}

fn signed(op: Op, by: u8) -> SignedOp {
    Signed::sign(op, key(by))
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

/// The founder's words are given up.
fn resignation(control: &Control) -> Op {
    Op {
        version: 1,
        vault: Some(control.vault()),
        author: node(0),
        by: By::Recovery,
        parents: control.heads(),
        act: act(Body::Resign {}),
    }
}

fn linked(one: u8, other: u8) -> Link {
    let terms = Terms::between(node(one), node(other), [1; 16], 1).unwrap();
    let (a, b) = if terms.a == node(one) {
        (one, other)
    } else {
        (other, one)
    };
    Link::new(terms, terms.sign(key(a)), terms.sign(key(b))).unwrap()
}

/// Key `new` agrees to take the place of `old`.
fn successor(control: &Control, old: u8, new: u8) -> Successor {
    Successor {
        node: node(new),
        proof: link::prove(control.vault(), node(old), key(new)),
    }
}

/// Judged anew, it is the same.
fn assert_settled(control: &Control) {
    let mut slow = control.clone();
    slow.judge();
    assert_eq!(slow.state(), control.state());
}
