//! What a log comes to: members with their grants, the epochs that live, and what else is in force.

use super::op::{Caveat, Role, Target};
use crate::ids::{CommitId, EpochId, NodeId, OpId};
use std::collections::{BTreeMap, BTreeSet};

/// A grant in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id; Genesis' for the first owner, the Join's for a node that a fellow node brought in.
    pub id: OpId,
    /// The grant under which a fellow node brought it in.
    pub under: Option<OpId>,
    /// As what.
    pub role: Role,
    /// How many other nodes of its gestalt the node may bring in.
    pub siblings: u8,
    /// Unix seconds from which it no longer holds by a node's own clock.
    pub expires: Option<u64>,
    /// What a cluster may hand on; absent: all.
    pub caveat: Option<Caveat>,
}

impl Grant {
    /// Whether it holds at `now`, in Unix seconds.
    #[must_use]
    pub fn holds(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// A node with its grants in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// In the order of their ids; never empty.
    pub grants: Vec<Grant>,
}

impl Member {
    /// The highest role, whatever the clock says.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.grants.iter().map(|g| g.role).max()
    }

    /// The highest role at `now`, in Unix seconds.
    #[must_use]
    pub fn role_at(&self, now: u64) -> Option<Role> {
        self.grants
            .iter()
            .filter(|g| g.holds(now))
            .map(|g| g.role)
            .max()
    }
}

/// Who may do what, and which epochs live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Members by node.
    pub members: BTreeMap<NodeId, Member>,
    /// The epochs that no later one supersedes, ascending by id: one, or several when owners rotated at one moment.
    pub epochs: Vec<EpochId>,
    /// A reader left without an owner at hand: an owner has yet to start an epoch that it cannot open.
    pub rotation_pending: bool,
    /// The lowest version of the formats that members must speak; 1 unless an owner raised it.
    pub format: u32,
    /// The commits of prunes in force: see [`State::pruned`].
    pub(super) prunes: BTreeSet<CommitId>,
}

impl State {
    /// What `node` may do at `now`, in Unix seconds.
    #[must_use]
    pub fn role_of(&self, node: &NodeId, now: u64) -> Option<Role> {
        self.members.get(node)?.role_at(now)
    }

    /// Commits whose proper ancestors an owner let go of, ascending: everyone may drop the trees of those ancestors, never their headers.
    pub fn pruned(&self) -> impl Iterator<Item = &CommitId> {
        self.prunes.iter()
    }

    /// Nodes that are owners, ascending.
    #[must_use]
    pub fn owners(&self) -> Vec<NodeId> {
        let owner = |m: &Member| m.role() == Some(Role::Owner);
        self.members
            .iter()
            .filter(|(_, m)| owner(m))
            .map(|(n, _)| *n)
            .collect()
    }

    /// Nodes that may read at `now`, in Unix seconds, ascending: those for whom a new epoch is wrapped.
    #[must_use]
    pub fn readers(&self, now: u64) -> Vec<NodeId> {
        let reads = |m: &Member| m.role_at(now) >= Some(Role::Reader);
        self.members
            .iter()
            .filter(|(_, m)| reads(m))
            .map(|(n, _)| *n)
            .collect()
    }

    /// The grants by which `node` reads at `now`, in Unix seconds. Each allows what its own caveat allows.
    pub fn reading_grants(&self, node: &NodeId, now: u64) -> impl Iterator<Item = &Grant> {
        let grants = self.members.get(node).map_or(&[][..], |m| &m.grants);
        grants
            .iter()
            .filter(move |g| g.holds(now) && g.role >= Role::Reader)
    }

    /// The state as it would be without `target`.
    pub(super) fn without(&self, target: &Target) -> State {
        let mut state = self.clone();
        match target {
            Target::Node(node) => {
                state.members.remove(node);
            }
            Target::Grant(id) => {
                for member in state.members.values_mut() {
                    member
                        .grants
                        .retain(|g| g.id != *id && g.under != Some(*id));
                }
                state.members.retain(|_, m| !m.grants.is_empty());
            }
        }
        state
    }

    /// Whether an owner is left whose grant does not end by itself.
    pub(super) fn owner_stays(&self) -> bool {
        let lasting = |g: &Grant| g.role == Role::Owner && g.expires.is_none();
        self.members.values().flat_map(|m| &m.grants).any(lasting)
    }
}
