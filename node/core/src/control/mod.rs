//! The control log of a vault: who may do what. A DAG of signed operations whose meaning is a function of the set of them: no order of arrival, no
//! clock and no network matters. Mirrors evaluate it as members do; no key is needed.
//!
//! [`op`](self) has the encodings of all ten kinds; `log` the evaluation, of Genesis, Grant, Revoke, Rotate and Prune. An operation of another kind that its
//! author may write makes the vault [`Control::needs_upgrade`]: it is never skipped, since skipping it would be another state than other nodes have.

mod bits;
mod log;
mod op;

pub use log::{Applied, Control, ControlError, Grant, MAX_OPS, Member, State, genesis};
pub use op::{
    Act, Body, By, Caveat, MAX_CUT, MAX_LINK, MAX_LIVE_NODES, MAX_OP, MAX_PARENTS, NewerBody, Op,
    OpError, Role, SignedOp, Target,
};

#[cfg(test)]
mod tests;
