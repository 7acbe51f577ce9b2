//! What can be judged of an operation for good from what it builds on: no later operation changes it. What fails here is never entered.

use super::bits::Bits;
use super::error::ControlError;
use super::log::Control;
use super::op::{Body, By, Op, Role, SignedOp, Target};
use crate::epoch::EpochRecord;
use crate::ids::{NodeId, OpId};
use crate::link::{self, Link};

impl Control {
    pub(super) fn check_signature(&self, signed: &SignedOp) -> Result<(), ControlError> {
        let op = signed.payload();
        let key = match op.by {
            By::Node => op.author,
            By::Recovery => self
                .recovery_key()
                .ok_or(ControlError::NotAuthorised(op.author))?,
        };
        signed.verify(&key).map_err(ControlError::Signature)
    }

    /// The recovery key that Genesis declares, given up or not.
    pub(super) fn recovery_key(&self) -> Option<NodeId> {
        match self.graph.body(0) {
            Body::Genesis { recovery, .. } => *recovery,
            _ => None,
        }
    }

    pub(super) fn check_in_place(&self, op: &Op, past: &Bits) -> Result<(), ControlError> {
        let role = match (op.by, op.body()) {
            (By::Recovery, _) if op.author != self.founder() => {
                return Err(ControlError::Contradiction(
                    "a recovery is in the name of who made the vault",
                ));
            }
            (By::Recovery, _) => None,
            (By::Node, Some(Body::Join { .. } | Body::Replace { .. } | Body::Revoke { .. })) => {
                Some(Role::Mirror)
            }
            (By::Node, _) => Some(Role::Owner),
        };
        if role.is_some() && self.graph.ever(past, &op.author) < role {
            return Err(ControlError::NotAuthorised(op.author));
        }
        match op.body() {
            Some(Body::Join { grant, node, link }) => {
                self.check_join(&op.author, grant, node, link, past)
            }
            Some(Body::Revoke {
                target,
                upto,
                epoch,
                ..
            }) => {
                self.check_kept(upto, past)?;
                self.check_removal(target, epoch.as_ref(), past)
            }
            Some(Body::Replace {
                new,
                proof,
                upto,
                epoch,
                ..
            }) => {
                self.check_kept(upto, past)?;
                self.check_takeover(op.author, *new, proof)?;
                check_envelopes(&op.author, epoch.as_ref())
            }
            Some(Body::Reset {
                new, proof, upto, ..
            }) => {
                self.check_kept(upto, past)?;
                link::check_proof(self.vault, op.author, *new, proof).map_err(ControlError::Proof)
            }
            _ => Ok(()),
        }
    }

    fn check_join(
        &self,
        author: &NodeId,
        grant: &OpId,
        node: &NodeId,
        link: &[u8],
        past: &Bits,
    ) -> Result<(), ControlError> {
        let at = self.graph.at(grant).filter(|at| past.has(*at));
        match at.map(|at| self.graph.body(at)) {
            Some(Body::Grant { siblings, .. }) if *siblings > 0 => {}
            Some(Body::Grant { .. }) => {
                return Err(ControlError::NotAuthorised(*author));
            }
            _ => {
                return Err(ControlError::Contradiction(
                    "it joins under a grant that it does not build on",
                ));
            }
        }
        let link = Link::read(link).map_err(ControlError::Link)?;
        if link.joins(author, node) {
            Ok(())
        } else {
            Err(ControlError::Contradiction("it links two other nodes"))
        }
    }

    fn check_kept(&self, upto: &[OpId], past: &Bits) -> Result<(), ControlError> {
        let among = |id: &OpId| self.graph.at(id).is_some_and(|at| past.has(at));
        if upto.iter().all(among) {
            Ok(())
        } else {
            Err(ControlError::Contradiction(
                "it keeps what it does not build on",
            ))
        }
    }

    fn check_removal(
        &self,
        target: &Target,
        epoch: Option<&EpochRecord>,
        past: &Bits,
    ) -> Result<(), ControlError> {
        match target {
            Target::Node(node) => check_envelopes(node, epoch),
            Target::Grant(id) => {
                let at = self.graph.at(id).filter(|at| past.has(*at));
                match at.map(|at| self.graph.body(at)) {
                    Some(Body::Genesis { .. } | Body::Grant { .. } | Body::Join { .. }) => Ok(()),
                    _ => Err(ControlError::Contradiction(
                        "it removes a grant that it does not build on",
                    )),
                }
            }
        }
    }

    fn check_takeover(
        &self,
        old: NodeId,
        new: NodeId,
        proof: &[u8; 64],
    ) -> Result<(), ControlError> {
        if old == new {
            return Err(ControlError::Contradiction("a node cannot replace itself"));
        }
        link::check_proof(self.vault, old, new, proof).map_err(ControlError::Proof)
    }
}

fn check_envelopes(removed: &NodeId, epoch: Option<&EpochRecord>) -> Result<(), ControlError> {
    if epoch.is_some_and(|record| record.wraps.iter().any(|w| w.to == *removed)) {
        return Err(ControlError::Contradiction(
            "it wraps the new epoch for whom it removes",
        ));
    }
    Ok(())
}
