//! What operations in force come to: the state of a set of them, and the quick way when one builds on all others.

use super::bits::Bits;
use super::era::Era;
use super::graph::Terms;
use super::live::{Ground, Hold};
use super::log::Control;
use super::op::{Body, Role, Target};
use super::state::{Grant, Member, State};
use crate::ids::{EpochId, NodeId};
use std::collections::BTreeMap;

impl Control {
    /// The state of `within`, a part of an era with all that it builds on.
    pub(super) fn state_of(&self, era: &Era, within: &Bits) -> State {
        let mut members: BTreeMap<NodeId, Member> = BTreeMap::new();
        for hold in era.live(&self.graph, within) {
            let grants = &mut members.entry(hold.node).or_default().grants;
            let grant = self.grant_of(&hold);
            if !grants.contains(&grant) {
                grants.push(grant);
            }
        }
        for member in members.values_mut() {
            member.grants.sort_by_key(|g| g.id);
        }
        let mut state = State {
            members,
            format: 1,
            ..State::default()
        };
        let mut superseded = Bits::default();
        let mut making: Vec<(usize, EpochId)> = Vec::new();
        // What was let go of, and what is spoken, outlasts a recovery.
        let before = self.eras.iter().take_while(|e| e.root != era.root);
        for earlier in before {
            self.gather(&mut state, earlier, &earlier.ops);
        }
        self.gather(&mut state, era, within);
        for at in within.iter().filter(|at| !era.standing.void.has(*at)) {
            if let Some(record) = self.graph.entries()[at].op.payload().epoch() {
                let mut before = self.graph.past(at).clone();
                before.unset(at);
                superseded.join(&before);
                making.push((at, record.id()));
            }
        }
        making.retain(|(at, _)| !superseded.has(*at));
        state.rotation_pending = within
            .iter()
            .filter(|at| !era.standing.void.has(*at) && self.leaves_secrets(*at))
            .any(|at| !making.iter().any(|(m, _)| self.graph.past(*m).has(at)));
        state.epochs = making.into_iter().map(|(_, id)| id).collect();
        state.epochs.sort_unstable();
        state
    }

    fn gather(&self, state: &mut State, era: &Era, within: &Bits) {
        for at in within.iter().filter(|at| !era.standing.void.has(*at)) {
            match self.graph.body(at) {
                Body::Prune { keep } => {
                    state.prunes.insert(*keep);
                }
                Body::Format { min } => state.format = state.format.max(*min),
                _ => {}
            }
        }
    }

    fn grant_of(&self, hold: &Hold) -> Grant {
        let Terms {
            role,
            siblings,
            expires,
            caveat,
        } = self.graph.terms(hold.root);
        let joined = hold.grant != hold.root;
        Grant {
            id: self.graph.id(hold.grant),
            under: joined.then(|| self.graph.id(hold.root)),
            role,
            siblings: if joined { 0 } else { siblings },
            expires,
            caveat: caveat.cloned(),
        }
    }

    /// The quick way: the operation at `at` is an owner's and builds on all others, so it changes nothing that was. False when it must be judged with all.
    pub(super) fn follow(&mut self, at: usize) -> bool {
        let owner = self
            .state
            .members
            .get(&self.graph.author(at))
            .and_then(Member::role);
        if owner != Some(Role::Owner) || self.graph.past(at).count() != self.graph.len() {
            return false;
        }
        let removed = match self.graph.body(at) {
            Body::Grant { .. } | Body::Rotate { .. } | Body::Prune { .. } => None,
            Body::Revoke { target, .. } if self.may_follow(at, *target) => Some(*target),
            _ => return false,
        };
        if let Some(target) = removed {
            let state = self.state.without(&target);
            if !state.owner_stays() {
                return false;
            }
            self.state = state;
        }
        self.carry_on(at, removed.is_some());
        true
    }

    /// Whether a removal leaves what its node did before alone, and is an owner's own.
    fn may_follow(&self, at: usize, target: Target) -> bool {
        let op = self.graph.entries()[at].op.payload();
        let Body::Revoke { upto, epoch, .. } = self.graph.body(at) else {
            return false;
        };
        let reads = self.graph.could_read(&target, self.graph.past(at));
        *upto == op.parents && (epoch.is_some() || !reads)
    }

    fn carry_on(&mut self, at: usize, removal: bool) {
        let Some(era) = self.eras.last_mut() else {
            return;
        };
        era.ops.set(at);
        let ground = Ground {
            graph: &self.graph,
            ops: &era.ops,
            order: &[],
            base: &[],
        };
        era.standing.gain(&ground, at);
        if removal {
            era.accepted.push(at);
        }
        match self.graph.body(at) {
            Body::Grant { node, .. } => {
                let hold = Hold {
                    node: *node,
                    grant: at,
                    root: at,
                    via: at,
                };
                let grant = self.grant_of(&hold);
                let member = self.state.members.entry(*node).or_default();
                member.grants.push(grant);
                member.grants.sort_by_key(|g| g.id);
            }
            Body::Prune { keep } => {
                self.state.prunes.insert(*keep);
            }
            _ => {}
        }
        if let Some(record) = self.graph.entries()[at].op.payload().epoch() {
            self.state.epochs = vec![record.id()];
            self.state.rotation_pending = false;
        }
    }
}
