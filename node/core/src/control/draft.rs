//! Unsigned operations on top of what is here, for their author to sign and apply.

use super::error::ControlError;
use super::log::{Control, next};
use super::op::{Act, Body, By, Caveat, Op, Role, Target};
use crate::epoch::EpochRecord;
use crate::ids::{CommitId, NodeId, OpId};
use crate::link::Link;

/// Starts the operation that begins a vault. `nonce` is random.
#[must_use]
pub fn genesis(
    author: NodeId,
    nonce: [u8; 32],
    shape_commit: [u8; 32],
    recovery: Option<NodeId>,
    epoch: EpochRecord,
) -> Op {
    Op {
        version: 1,
        vault: None,
        author,
        by: By::Node,
        parents: Vec::new(),
        act: Act::Known(Box::new(Body::Genesis {
            nonce: nonce.into(),
            suite: 1,
            shape_commit: shape_commit.into(),
            recovery,
            epoch,
        })),
    }
}

/// A key that takes another's place.
#[derive(Clone, Copy)]
pub struct Successor {
    /// The new id.
    pub node: NodeId,
    /// Its signature, of [`crate::link::prove`].
    pub proof: [u8; 64],
}

impl Control {
    /// The operation that grants `role` to `node`.
    #[must_use]
    pub fn grant(
        &self,
        author: NodeId,
        node: NodeId,
        role: Role,
        siblings: u8,
        expires: Option<u64>,
        caveat: Option<Caveat>,
    ) -> Op {
        next(
            self,
            author,
            Body::Grant {
                node,
                role,
                siblings,
                expires,
                caveat,
            },
        )
    }

    /// The operation by which a node under `grant` brings in another of its gestalt.
    #[must_use]
    pub fn join(&self, author: NodeId, grant: OpId, node: NodeId, link: &Link) -> Op {
        let link = link.to_bytes().into();
        next(self, author, Body::Join { grant, node, link })
    }

    /// The operation that removes `target`, with the author's present operations and `cut`, its present heads, kept. Without an epoch: the removal of who could only carry, or of a
    /// fellow node under the author's own grant.
    ///
    /// # Errors
    /// `LastOwner` when nobody would be left to decide; `Contradiction` when `epoch` is missing and the target may read.
    pub fn revoke(
        &self,
        author: NodeId,
        target: Target,
        mut cut: Vec<CommitId>,
        epoch: Option<EpochRecord>,
    ) -> Result<Op, ControlError> {
        cut.sort_unstable();
        if !self.state_without(&target).owner_stays() {
            return Err(ControlError::LastOwner);
        }
        if epoch.is_none() && self.needs_epoch(&target) && !self.are_fellows(&author, &target) {
            return Err(ControlError::Contradiction(
                "it removes a reader and starts no epoch",
            ));
        }
        let upto = self.kept_now();
        self.checked(next(
            self,
            author,
            Body::Revoke {
                target,
                upto,
                cut,
                epoch,
            },
        ))
    }

    /// The operation that gives the author's place to another key.
    ///
    /// # Errors
    /// When the key has not agreed.
    pub fn replace(
        &self,
        author: NodeId,
        new: Successor,
        mut cut: Vec<CommitId>,
        epoch: Option<EpochRecord>,
    ) -> Result<Op, ControlError> {
        cut.sort_unstable();
        self.checked(next(
            self,
            author,
            Body::Replace {
                new: new.node,
                proof: new.proof.into(),
                upto: self.kept_now(),
                cut,
                epoch,
            },
        ))
    }

    /// The operation that starts a new epoch.
    #[must_use]
    pub fn rotate(&self, author: NodeId, epoch: EpochRecord) -> Op {
        next(self, author, Body::Rotate { epoch })
    }

    /// The operation that lets everyone drop the trees of proper ancestors of `keep`.
    #[must_use]
    pub fn prune(&self, author: NodeId, keep: CommitId) -> Op {
        next(self, author, Body::Prune { keep })
    }

    /// The operation that asks all members for a version of the formats.
    #[must_use]
    pub fn format(&self, author: NodeId, min: u32) -> Op {
        next(self, author, Body::Format { min })
    }

    /// The operation, for the recovery key to sign, that begins the vault a second time: with what `upto` came to, `new` in the founder's place, and of the founder's commits those up to
    /// `cut`.
    ///
    /// # Errors
    /// `NoRecovery`, or what is wrong with the operation.
    pub fn reset(
        &self,
        new: Successor,
        mut upto: Vec<OpId>,
        mut cut: Vec<CommitId>,
        epoch: EpochRecord,
    ) -> Result<Op, ControlError> {
        self.recoverable()?;
        upto.sort_unstable();
        cut.sort_unstable();
        let mut op = next(
            self,
            self.founder(),
            Body::Reset {
                upto,
                cut,
                new: new.node,
                proof: new.proof.into(),
                epoch,
            },
        );
        // It must be later than every Reset and name what it keeps, void or not.
        op.parents = self.newest_heads();
        self.checked(op)
    }

    /// The operation, for the recovery key to sign, by which it gives itself up for good.
    ///
    /// # Errors
    /// `NoRecovery` when there is nothing to give up.
    pub fn resign(&self) -> Result<Op, ControlError> {
        self.recoverable()?;
        let mut op = next(self, self.founder(), Body::Resign {});
        op.parents = self.newest_heads();
        self.checked(op)
    }

    fn recoverable(&self) -> Result<(), ControlError> {
        if self.recovery().is_some() {
            return Ok(());
        }
        Err(ControlError::NoRecovery(match self.recovery_key() {
            Some(_) => "its words were given up for good",
            None => "it was made by a node that has none",
        }))
    }

    /// All that is here: tips first, so that with more heads than an operation may name those are left out that do not count.
    fn newest_heads(&self) -> Vec<OpId> {
        let mut heads = self.tips();
        let more: Vec<OpId> = self
            .heads()
            .into_iter()
            .filter(|id| !heads.contains(id))
            .collect();
        heads.extend(more);
        heads.truncate(super::op::MAX_PARENTS);
        heads.sort_unstable();
        heads
    }

    fn kept_now(&self) -> Vec<OpId> {
        let mut tips = self.tips();
        tips.truncate(super::op::MAX_PARENTS);
        tips
    }

    fn checked(&self, op: Op) -> Result<Op, ControlError> {
        op.check()?;
        self.check_in_place(&op, &self.graph.past_of(&op.parents))?;
        Ok(op)
    }

    /// Whether the author may remove the target as a fellow node under one grant.
    #[must_use]
    pub fn are_fellows(&self, author: &NodeId, target: &Target) -> bool {
        let roots = |node: &NodeId| {
            let member = self.state.members.get(node);
            let grants = member.map_or(&[][..], |m| &m.grants);
            grants
                .iter()
                .map(|g| g.under.unwrap_or(g.id))
                .collect::<Vec<_>>()
        };
        let own = roots(author);
        match target {
            Target::Node(node) => roots(node).iter().any(|root| own.contains(root)),
            Target::Grant(id) => self
                .state
                .members
                .values()
                .flat_map(|m| &m.grants)
                .any(|g| g.id == *id && g.under.is_some_and(|root| own.contains(&root))),
        }
    }
}
