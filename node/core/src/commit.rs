//! Commits: signed headers, each naming a tree, the commits and the control operations it builds on; and which of them count.
//!
//! A commit's validity is a function of the commits and operations that are here, never of the order in which they came. What a removed writer signs
//! outside the `cut` of its removal is void, however it is dated; honest work on top of it stays valid.
//!
//! The heads are a set, and all of them are kept and told to others. What they show together is [`crate::view`]'s; the next writer names all of them as parents.

use crate::codec;
use crate::control::{Control, Role};
use crate::ids::{self, Address, CommitId, NodeId, OpId, Tag, VaultId};
use crate::labels;
use crate::sign::{Payload, SignError, Signed};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use std::sync::Arc;

mod set;

pub use set::Commits;

/// The most bytes of a commit: 32 ids, and a note of two thousand characters.
pub const MAX_COMMIT: usize = 4 << 10;
/// The most parents, and the most control operations that a commit names.
pub const MAX_PARENTS: usize = 16;
/// How far in the future a commit may be dated, in milliseconds, before it is held: clocks that nobody set differ by less.
pub const MAX_AHEAD_MS: u64 = 10 * 60 * 1_000;
/// The most heads that one author may have at once: more than that is not one person's devices out of step but a flood.
pub const MAX_AUTHOR_HEADS: usize = 8;

/// A signed commit. Its id is the version's.
pub type SignedCommit = Signed<Commit>;

/// One version of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Commit {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// The vault.
    #[n(1)]
    pub vault: VaultId,
    /// Whose it is.
    #[n(2)]
    pub author: NodeId,
    /// One more than the author's highest in what it builds on.
    #[n(3)]
    pub seq: u64,
    /// Random.
    #[n(4)]
    pub nonce: ByteArray<16>,
    /// The heads that its author saw, ascending; none in the first.
    #[n(5)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
    pub parents: Vec<CommitId>,
    /// The heads of the control log that its author had, ascending.
    #[n(6)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
    pub control: Vec<OpId>,
    /// The tree.
    #[n(7)]
    pub root: Address,
    /// Unix milliseconds by its author's clock, but later than all parents.
    #[n(8)]
    pub time_ms: u64,
    /// A sealed note (a whole object), or empty.
    #[n(9)]
    #[cbor(
        encode_with = "minicbor::bytes::encode",
        decode_with = "codec::bytes::<_, MAX_COMMIT>"
    )]
    pub note: ByteVec,
}

impl Payload for Commit {
    const CONTEXT: &'static str = labels::COMMIT;
    const MAX: usize = MAX_COMMIT;
}

impl Commit {
    /// What names this commit inside trees.
    #[must_use]
    pub fn tag(&self) -> Tag {
        ids::tag(&self.vault, &self.author, self.seq, &self.nonce)
    }

    /// Checks all that can be checked of a commit alone.
    fn check(&self) -> Result<(), CommitError> {
        if self.version != 1 {
            return Err(CommitError::Version(self.version));
        }
        if !codec::ascending(&self.parents) || !codec::ascending(&self.control) {
            return Err(CommitError::Order);
        }
        if self.control.is_empty() {
            return Err(CommitError::Control);
        }
        Ok(())
    }
}

/// Why a commit is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A version that this program does not know.
    #[error("a commit of version {0}: upgrade polykey")]
    Version(u8),
    /// A list that is a set is not in ascending order.
    #[error("a commit whose parents or operations are not in ascending order")]
    Order,
    /// It belongs to another vault.
    #[error("a commit of another vault")]
    OtherVault,
    /// The signature is missing or another's.
    #[error("a commit that is not signed by its author")]
    Signature(#[source] SignError),
    /// Control operations that it names are not here yet.
    #[error("{} control operations that it names are missing", .0.len())]
    MissingOps(Vec<OpId>),
    /// Commits that it builds on are not here yet.
    #[error("{} commits that it builds on are missing", .0.len())]
    MissingParents(Vec<CommitId>),
    /// It names no operations, or fewer than its parents.
    #[error("a commit that knows less of the control log than its parents")]
    Control,
    /// Its number is not the next of its author.
    #[error("a commit with number {found} where its author's next is {next}")]
    Seq {
        /// The number it has.
        found: u64,
        /// The number it must have.
        next: u64,
    },
    /// It is dated no later than a parent.
    #[error("a commit dated before what it builds on")]
    Time,
    /// It is dated too far ahead of the own clock: to be held until then, not dropped.
    #[error("a commit dated in the future: held")]
    Future {
        /// When it can be taken in, in Unix milliseconds.
        due_ms: u64,
    },
    /// Its author was never a writer, or is none now.
    #[error("{} may not write in this vault", .0.short())]
    NotWriter(NodeId),
    /// Its author has too many heads at once.
    #[error("{} has {MAX_AUTHOR_HEADS} versions side by side: not taking more", .0.short())]
    TooManyHeads(NodeId),
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It counts.
    Counts,
    /// It is kept and does not count: its author was removed, and the removal does not keep it.
    Void,
    /// It was here already.
    Known,
}

/// A commit in its place.
#[derive(Clone, Debug)]
pub struct Header {
    /// Whose it is.
    pub author: NodeId,
    /// Its number among the author's.
    pub seq: u64,
    /// What it builds on.
    pub parents: Vec<CommitId>,
    /// The control operations that it names.
    pub control: Arc<[OpId]>,
    /// Its tree.
    pub root: Address,
    /// Its date, in Unix milliseconds.
    pub time_ms: u64,
    /// What names it inside trees.
    pub tag: Tag,
    /// Whether it counts.
    pub valid: bool,
}

/// Whether a commit's author had the right to it, as far as the control log tells: what a consumer checks who does not have the history.
///
/// `kept` says whether the commit is among those that a `cut` names, or what those build on.
///
/// # Errors
/// When the signature, the vault or the author's right is missing, or operations that it names are.
pub fn vouch(
    signed: &SignedCommit,
    control: &Control,
    kept: impl Fn(&[CommitId]) -> bool,
) -> Result<(), CommitError> {
    check_alone(signed, control)?;
    let commit = signed.payload();
    if stands(&commit.author, &commit.control, control, kept) {
        Ok(())
    } else {
        Err(CommitError::NotWriter(commit.author))
    }
}

/// [`vouch`] for one who has this commit alone: a removed author's is believed if the removal names it.
///
/// # Errors
/// As [`vouch`].
pub fn vouch_alone(signed: &SignedCommit, control: &Control) -> Result<(), CommitError> {
    let id = CommitId::from(signed.id());
    vouch(signed, control, |cut| cut.contains(&id))
}

fn check_alone(signed: &SignedCommit, control: &Control) -> Result<(), CommitError> {
    check_signature(signed)?;
    check_named(signed, control)
}

fn check_signature(signed: &SignedCommit) -> Result<(), CommitError> {
    signed
        .verify(&signed.payload().author)
        .map_err(CommitError::Signature)
}

/// What a commit says of itself and of the control log.
fn check_named(signed: &SignedCommit, control: &Control) -> Result<(), CommitError> {
    let commit = signed.payload();
    commit.check()?;
    if commit.vault != control.vault() {
        return Err(CommitError::OtherVault);
    }
    let missing: Vec<OpId> = commit
        .control
        .iter()
        .filter(|id| !control.contains(id))
        .copied()
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(CommitError::MissingOps(missing))
    }
}

/// Writer where it was made, and each removal that would have left the author none either was known there or keeps it.
fn stands(
    author: &NodeId,
    named: &[OpId],
    control: &Control,
    kept: impl Fn(&[CommitId]) -> bool,
) -> bool {
    control
        .demands(named, author, Role::Writer)
        .is_some_and(|unknown| unknown.iter().all(|(_, cut)| kept(cut)))
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
