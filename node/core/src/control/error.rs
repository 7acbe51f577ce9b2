//! Why an operation is not taken into a log, and what became of one that was.

use super::log::MAX_OPS;
use super::op::OpError;
use crate::ids::{NodeId, OpId};
use crate::link::LinkError;
use crate::sign::SignError;

/// Why an operation is not taken into a log.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It breaks a rule by itself.
    #[error("malformed")]
    Op(#[from] OpError),
    /// The signature is missing or another's.
    #[error("not signed by its author")]
    Signature(#[source] SignError),
    /// The first operation of a log is Genesis, and Genesis is no other.
    #[error("a log begins with its Genesis, and has no other")]
    Genesis,
    /// It belongs to another vault.
    #[error("an operation of another vault")]
    OtherVault,
    /// Operations that it builds on are not here yet.
    #[error("{} operations that it builds on are missing", .0.len())]
    MissingParents(Vec<OpId>),
    /// It names something that is not among the operations that it builds on, or lacks what such an operation needs.
    #[error("an operation that contradicts what it builds on: {0}")]
    Contradiction(&'static str),
    /// The claim that links the two nodes of a Join does not.
    #[error("a node is brought in without a link to who brings it")]
    Link(#[source] LinkError),
    /// The key that is to take another's place has not agreed.
    #[error("the new key has not agreed to take the old one's place")]
    Proof(#[source] SignError),
    /// Its author never had the right to it.
    #[error("{} may not do this in this vault", .0.short())]
    NotAuthorised(NodeId),
    /// It does not count, and enough of those are kept.
    #[error("an operation that does not count, beside {0} others")]
    TooManyVoid(usize),
    /// Its author may write it, but this version cannot evaluate it: the vault is read-only here until the program is upgraded.
    #[error("operation {} is of a kind that this version does not know: upgrade polykey", .0.short())]
    NeedsUpgrade(OpId),
    /// The log is full.
    #[error("the vault has had its {MAX_OPS} changes of membership: make a new vault")]
    Full,
    /// The removal would leave nobody who decides who is a member.
    #[error("the last owner cannot be removed: make another node an owner first")]
    LastOwner,
    /// The vault has no recovery key, or it has given itself up.
    #[error("this vault cannot be recovered with words: {0}")]
    NoRecovery(&'static str),
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It counts.
    Counts,
    /// It is kept and does not count: a removal or a recovery made it void, or its author has no right to it.
    Void,
    /// It was here already.
    Known,
}
