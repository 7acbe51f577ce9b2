//! The operations as a graph: who builds on whom, and where to find what concerns a node or a grant. Nothing is judged here.

use super::bits::Bits;
use super::op::{Act, Body, By, Caveat, Role, SignedOp, Target};
use crate::ids::{CommitId, NodeId, OpId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// An operation in its place.
#[derive(Clone)]
pub struct Entry {
    pub op: Arc<SignedOp>,
    /// Positions of it and of all that it builds on.
    pub past: Bits,
}

/// What a grant says.
pub struct Terms<'a> {
    pub role: Role,
    pub siblings: u8,
    pub expires: Option<u64>,
    pub caveat: Option<&'a Caveat>,
}

/// Operations in an order in which parents come before children.
#[derive(Clone, Default)]
pub struct Graph {
    entries: Vec<Entry>,
    positions: HashMap<OpId, usize>,
    heads: BTreeSet<OpId>,
    /// Where a node is made a member, and the highest role that this can give it.
    named: HashMap<NodeId, Vec<(usize, Role)>>,
    /// Revocations of a node, and its own Replaces.
    removals: HashMap<NodeId, Vec<usize>>,
    /// Revocations of a grant.
    withdrawals: HashMap<usize, Vec<usize>>,
    /// Resets and Resigns.
    recoveries: Vec<usize>,
}

impl Graph {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn at(&self, id: &OpId) -> Option<usize> {
        self.positions.get(id).copied()
    }

    pub fn id(&self, at: usize) -> OpId {
        self.entries[at].op.id().into()
    }

    pub fn author(&self, at: usize) -> NodeId {
        self.entries[at].op.payload().author
    }

    pub fn body(&self, at: usize) -> &Body {
        match &self.entries[at].op.payload().act {
            Act::Known(body) => body,
            Act::Newer(_) => unreachable!("only evaluated kinds are entered"),
        }
    }

    pub fn by(&self, at: usize) -> By {
        self.entries[at].op.payload().by
    }

    /// It and all that it builds on.
    pub fn past(&self, at: usize) -> &Bits {
        &self.entries[at].past
    }

    /// These and all that they build on; unknown ids are passed over.
    pub fn past_of(&self, ids: &[OpId]) -> Bits {
        let mut past = Bits::default();
        for at in ids.iter().filter_map(|id| self.at(id)) {
            past.join(&self.entries[at].past);
        }
        past
    }

    pub fn all(&self) -> Bits {
        (0..self.len()).collect()
    }

    /// Operations on which no other builds, ascending by id.
    pub fn heads(&self) -> impl Iterator<Item = &OpId> {
        self.heads.iter()
    }

    pub fn removals_of(&self, node: &NodeId) -> &[usize] {
        self.removals.get(node).map_or(&[], Vec::as_slice)
    }

    pub fn withdrawals_of(&self, grant: usize) -> &[usize] {
        self.withdrawals.get(&grant).map_or(&[], Vec::as_slice)
    }

    pub fn recoveries(&self) -> &[usize] {
        &self.recoveries
    }

    /// The Grant under which a Join is; any other grant itself.
    pub fn root(&self, grant: usize) -> usize {
        match self.body(grant) {
            Body::Join { grant, .. } => self.at(grant).expect("a Join builds on its grant"),
            _ => grant,
        }
    }

    /// What the grant at this position gives. A Join has the terms of its grant, but brings nobody in by itself.
    pub fn terms(&self, grant: usize) -> Terms<'_> {
        match self.body(self.root(grant)) {
            Body::Grant {
                role,
                siblings,
                expires,
                caveat,
                ..
            } => Terms {
                role: *role,
                siblings: *siblings,
                expires: *expires,
                caveat: caveat.as_ref(),
            },
            _ => Terms {
                role: Role::Owner,
                siblings: 0,
                expires: None,
                caveat: None,
            },
        }
    }

    /// The highest role that `node` was ever given in `past`, void or not.
    pub fn ever(&self, past: &Bits, node: &NodeId) -> Option<Role> {
        let named = self.named.get(node).map_or(&[][..], Vec::as_slice);
        named
            .iter()
            .filter(|(at, _)| past.has(*at))
            .map(|(_, role)| *role)
            .max()
    }

    /// Whether who is removed could ever read.
    pub fn could_read(&self, target: &Target, past: &Bits) -> bool {
        match target {
            Target::Node(node) => self.ever(past, node) >= Some(Role::Reader),
            Target::Grant(id) => self
                .at(id)
                .is_some_and(|at| self.terms(at).role >= Role::Reader),
        }
    }

    /// What a Revoke, Replace or Reset keeps: operations, commits, and whether it starts an epoch.
    pub fn removal(&self, at: usize) -> Option<(&[OpId], &[CommitId], bool)> {
        match self.body(at) {
            Body::Revoke {
                upto, cut, epoch, ..
            }
            | Body::Replace {
                upto, cut, epoch, ..
            } => Some((upto, cut, epoch.is_some())),
            Body::Reset { upto, cut, .. } => Some((upto, cut, true)),
            _ => None,
        }
    }

    /// Puts an operation at the end. Its parents are here, and what it names too.
    pub fn enter(&mut self, signed: SignedOp) -> usize {
        let at = self.entries.len();
        let (id, op) = (OpId::from(signed.id()), signed.payload().clone());
        let mut past = self.past_of(&op.parents);
        for parent in &op.parents {
            self.heads.remove(parent);
        }
        let gives = self.gives(&op.author, &past, op.body());
        past.set(at);
        self.heads.insert(id);
        self.positions.insert(id, at);
        self.entries.push(Entry {
            op: Arc::new(signed),
            past,
        });
        if op.parents.is_empty() {
            self.named.insert(op.author, vec![(at, Role::Owner)]);
        }
        if let Some((node, role)) = gives {
            self.named.entry(node).or_default().push((at, role));
        }
        match op.body() {
            Some(Body::Revoke { target, .. }) => match target {
                Target::Node(node) => self.removals.entry(*node).or_default().push(at),
                Target::Grant(id) => {
                    if let Some(grant) = self.at(id) {
                        self.withdrawals.entry(grant).or_default().push(at);
                    }
                }
            },
            Some(Body::Replace { .. }) => self.removals.entry(op.author).or_default().push(at),
            Some(Body::Reset { .. } | Body::Resign {}) => self.recoveries.push(at),
            _ => {}
        }
        at
    }

    /// Whom an operation makes a member, and as what at most.
    fn gives(&self, author: &NodeId, past: &Bits, body: Option<&Body>) -> Option<(NodeId, Role)> {
        match body? {
            Body::Grant { node, role, .. } => Some((*node, *role)),
            Body::Join { grant, node, .. } => Some((*node, self.terms(self.at(grant)?).role)),
            Body::Replace { new, .. } => Some((*new, self.ever(past, author)?)),
            Body::Reset { new, .. } => Some((*new, Role::Owner)),
            _ => None,
        }
    }

    /// Takes the last operation out again.
    pub fn leave(&mut self) {
        let Some(last) = self.entries.pop() else {
            return;
        };
        let (at, id) = (self.entries.len(), OpId::from(last.op.id()));
        self.positions.remove(&id);
        for list in self
            .removals
            .values_mut()
            .chain(self.withdrawals.values_mut())
        {
            list.retain(|p| *p != at);
        }
        for list in self.named.values_mut() {
            list.retain(|(p, _)| *p != at);
        }
        self.recoveries.retain(|p| *p != at);
        self.heads.remove(&id);
        for parent in &last.op.payload().parents {
            let covered = |e: &Entry| e.op.payload().parents.contains(parent);
            if !self.entries.iter().any(covered) {
                self.heads.insert(*parent);
            }
        }
    }
}
