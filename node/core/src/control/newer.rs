//! Operations that this version cannot evaluate. They are kept and told to others, never skipped: a vault that has one by an author who may write it is read-only here.

use super::error::{Applied, ControlError};
use super::log::{Control, FORMAT};
use super::op::{Body, By, Op, Role, SignedOp};
use crate::ids::OpId;
use std::sync::Arc;

/// The most operations of kinds that this version does not evaluate.
const MAX_NEWER: usize = 64;

impl Control {
    /// An operation in force that this version cannot evaluate, or that asks for a later version of the formats: the vault is then read-only.
    #[must_use]
    pub fn needs_upgrade(&self) -> Option<OpId> {
        self.newer
            .iter()
            .find(|(_, op)| self.may_write_newer(op.payload()))
            .map(|(id, _)| *id)
            .or_else(|| self.raises_format())
    }

    fn raises_format(&self) -> Option<OpId> {
        if self.state.format <= FORMAT {
            return None;
        }
        let raises = |at: &usize| {
            !self.void.has(*at)
                && matches!(self.graph.body(*at), Body::Format { min } if *min > FORMAT)
        };
        (0..self.graph.len())
            .find(raises)
            .map(|at| self.graph.id(at))
    }

    /// The operations that this version cannot evaluate, to be kept with the log until one can.
    pub fn unevaluated(&self) -> impl Iterator<Item = &SignedOp> {
        self.newer.values().map(|op| &**op)
    }

    /// Keeps an operation that cannot be evaluated. What its author may not write makes room for others, so that nobody can crowd out an owner's.
    pub(super) fn remember(
        &mut self,
        signed: &SignedOp,
        cause: OpId,
    ) -> Result<Applied, ControlError> {
        let author = signed.payload().author;
        if self.newer.len() >= MAX_NEWER {
            let idle = self
                .newer
                .iter()
                .find(|(_, op)| !self.may_write_newer(op.payload()))
                .map(|(id, _)| *id);
            match idle {
                Some(id) => drop(self.newer.remove(&id)),
                None => return Err(ControlError::NeedsUpgrade(cause)),
            }
        }
        self.newer
            .insert(signed.id().into(), Arc::new(signed.clone()));
        match self.needs_upgrade() {
            Some(_) => Err(ControlError::NeedsUpgrade(cause)),
            None => Err(ControlError::NotAuthorised(author)),
        }
    }

    fn may_write_newer(&self, op: &Op) -> bool {
        if op.by == By::Recovery {
            return true;
        }
        // What builds on another of its kind is judged by that one.
        self.demands(&op.parents, &op.author, Role::Owner)
            .is_some_and(|unknown| unknown.is_empty())
    }
}
