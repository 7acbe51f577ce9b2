//! The control log of a vault: takes operations in, keeps what they come to, and answers who might do what when.

use super::bits::Bits;
use super::era::{self, Era};
use super::error::{Applied, ControlError};
use super::graph::Graph;
use super::op::{Body, Op, Role, SignedOp, Target};
use super::state::State;
use crate::epoch::EpochRecord;
use crate::ids::{CommitId, EpochId, NodeId, OpId, VaultId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most operations of a log: one a day for eleven years. Then: a new vault.
pub const MAX_OPS: usize = 4_096;
/// The most void operations that are taken in: a removed owner's flood must not fill the log.
const MAX_VOID: usize = 256;
/// The version of the formats that this program speaks.
pub const FORMAT: u32 = 1;

/// The control log of a vault, with its state.
#[derive(Clone)]
pub struct Control {
    pub(super) vault: VaultId,
    pub(super) graph: Graph,
    /// Oldest first.
    pub(super) eras: Vec<Era>,
    /// Operations of no era, and those that are void in theirs.
    pub(super) void: Bits,
    pub(super) state: State,
    /// Operations of kinds that this version does not evaluate, and those that build on them.
    pub(super) newer: BTreeMap<OpId, Arc<SignedOp>>,
}

impl Control {
    /// The log that `genesis` begins.
    ///
    /// # Errors
    /// When it is no Genesis, malformed, or not signed by its author.
    pub fn new(genesis: &SignedOp) -> Result<Control, ControlError> {
        let op = genesis.payload();
        op.check()?;
        let Some(Body::Genesis { .. }) = op.body() else {
            return Err(ControlError::Genesis);
        };
        genesis
            .verify(&op.author)
            .map_err(ControlError::Signature)?;
        let mut control = Control {
            vault: VaultId::from(genesis.id()),
            graph: Graph::default(),
            eras: Vec::new(),
            void: Bits::default(),
            state: State::default(),
            newer: BTreeMap::new(),
        };
        control.graph.enter(genesis.clone());
        control.judge();
        Ok(control)
    }

    /// The log that was kept: what [`Control::ops`] and then [`Control::unevaluated`] gave. All are verified again, and judged once.
    ///
    /// # Errors
    /// When one of them is not valid.
    pub fn restore(ops: &[SignedOp]) -> Result<Control, ControlError> {
        let (first, rest) = ops.split_first().ok_or(ControlError::Genesis)?;
        let mut control = Control::new(first)?;
        let mut waiting: Vec<&SignedOp> = rest.iter().collect();
        loop {
            let (before, mut missing) = (waiting.len(), Vec::new());
            for signed in std::mem::take(&mut waiting) {
                match control.admit(signed) {
                    Ok(Admitted::Here) => drop(control.graph.enter(signed.clone())),
                    Ok(Admitted::Newer(_)) => {
                        let id = signed.id().into();
                        control.newer.insert(id, Arc::new(signed.clone()));
                    }
                    // Those that cannot be evaluated stand in no order.
                    Err(ControlError::MissingParents(ids)) => {
                        missing.extend(ids);
                        waiting.push(signed);
                    }
                    Err(e) => return Err(e),
                }
            }
            if waiting.is_empty() {
                break;
            }
            if waiting.len() == before {
                return Err(ControlError::MissingParents(missing));
            }
        }
        control.judge();
        Ok(control)
    }

    /// Takes an operation in. The result is the same whatever the order in which operations come, once all are here.
    ///
    /// # Errors
    /// When it is not valid here, or not yet: `MissingParents` names what must come first. Nothing is changed then, but that `NeedsUpgrade` is remembered.
    pub fn apply(&mut self, signed: &SignedOp) -> Result<Applied, ControlError> {
        let id = OpId::from(signed.id());
        if self.contains(&id) {
            return Ok(Applied::Known);
        }
        if let Admitted::Newer(cause) = self.admit(signed)? {
            return self.remember(signed, cause);
        }
        if self.graph.len() - self.void.count() >= MAX_OPS {
            return Err(ControlError::Full);
        }
        let at = self.graph.enter(signed.clone());
        if !self.follow(at) {
            self.judge();
        }
        if !self.void.has(at) {
            return Ok(Applied::Counts);
        }
        if self.void.count() > MAX_VOID {
            self.graph.leave();
            self.judge();
            return Err(ControlError::TooManyVoid(MAX_VOID));
        }
        Ok(Applied::Void)
    }

    /// Whether an operation can take its place, by what never changes again.
    fn admit(&self, signed: &SignedOp) -> Result<Admitted, ControlError> {
        let op = signed.payload();
        op.check()?;
        let vault = op.vault.ok_or(ControlError::Genesis)?;
        if vault != self.vault {
            return Err(ControlError::OtherVault);
        }
        self.check_signature(signed)?;
        if let Some(newer) = op.parents.iter().find(|p| self.newer.contains_key(p)) {
            return Ok(Admitted::Newer(*newer));
        }
        let missing: Vec<OpId> = op
            .parents
            .iter()
            .filter(|p| !self.contains(p))
            .copied()
            .collect();
        if !missing.is_empty() {
            return Err(ControlError::MissingParents(missing));
        }
        self.check_in_place(op, &self.graph.past_of(&op.parents))?;
        Ok(match op.body() {
            Some(_) => Admitted::Here,
            None => Admitted::Newer(signed.id().into()),
        })
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Whether the operation is here and evaluated.
    #[must_use]
    pub fn contains(&self, id: &OpId) -> bool {
        self.graph.at(id).is_some()
    }

    /// Whether all of these, and so all that they build on, are here.
    #[must_use]
    pub fn covers(&self, ids: &[OpId]) -> bool {
        ids.iter().all(|id| self.contains(id))
    }

    /// Operations on which no other builds, ascending: what is here.
    #[must_use]
    pub fn heads(&self) -> Vec<OpId> {
        self.graph.heads().copied().collect()
    }

    /// Operations that count and on which no other such builds, ascending: what a new operation or commit names. Void ones are left out, or whoever was removed could add to
    /// everybody's.
    #[must_use]
    pub fn tips(&self) -> Vec<OpId> {
        let mut covered = Bits::default();
        let mut tips = Vec::new();
        for at in (0..self.graph.len()).rev() {
            if self.void.has(at) || covered.has(at) {
                continue;
            }
            covered.join(self.graph.past(at));
            tips.push(self.graph.id(at));
        }
        tips.sort_unstable();
        tips
    }

    /// All operations, parents before children.
    pub fn ops(&self) -> impl Iterator<Item = &SignedOp> {
        self.graph.entries().iter().map(|e| &*e.op)
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.graph.len()
    }

    /// Never: a log has its Genesis.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.graph.len() == 0
    }

    /// The operation, if it is here.
    #[must_use]
    pub fn get(&self, id: &OpId) -> Option<&SignedOp> {
        self.graph.at(id).map(|at| &*self.graph.entries()[at].op)
    }

    /// Whether the operation is here and counts.
    #[must_use]
    pub fn counts(&self, id: &OpId) -> bool {
        self.graph.at(id).is_some_and(|at| !self.void.has(at))
    }

    /// Operations that are not among `theirs` nor among what those build on, parents first. Unknown ids are passed over.
    #[must_use]
    pub fn beyond(&self, theirs: &[OpId]) -> Vec<&SignedOp> {
        let past = self.graph.past_of(theirs);
        self.graph
            .entries()
            .iter()
            .enumerate()
            .filter(|(at, _)| !past.has(*at))
            .map(|(_, e)| &*e.op)
            .collect()
    }

    /// Who may do what now.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Who might do what when these were the heads, without what later turned out void. Unknown ids are passed over.
    #[must_use]
    pub fn state_at(&self, heads: &[OpId]) -> State {
        let (era, within) = self.era_of(&self.graph.past_of(heads));
        self.state_of(era, &within)
    }

    /// The role of `node` when these were the heads, without what later turned out void; `None` too when one of them is unknown.
    #[must_use]
    pub fn role_when(&self, heads: &[OpId], node: &NodeId) -> Option<Role> {
        if !self.covers(heads) {
            return None;
        }
        let (era, within) = self.era_of(&self.graph.past_of(heads));
        era.held_by(&self.graph, node, &within)
            .map(|h| self.graph.terms(h.root).role)
            .max()
    }

    /// Whether `node` was ever granted at least `role` in what these heads build on, void or not.
    #[must_use]
    pub fn ever(&self, heads: &[OpId], node: &NodeId, role: Role) -> bool {
        self.covers(heads) && self.graph.ever(&self.graph.past_of(heads), node) >= Some(role)
    }

    /// Whether all of `ids` are among `heads` or what those build on.
    #[must_use]
    pub fn reaches(&self, heads: &[OpId], ids: &[OpId]) -> bool {
        if heads == ids {
            return self.covers(heads);
        }
        let past = self.graph.past_of(heads);
        ids.iter()
            .all(|id| self.graph.at(id).is_some_and(|at| past.has(at)))
    }

    /// The removals and recoveries in force that took something from `node`: id, and the commits up to which its own stay.
    #[must_use]
    pub fn removals(&self, node: &NodeId) -> Vec<(OpId, &[CommitId])> {
        self.removed_at(node)
            .into_iter()
            .map(|(_, at)| (self.graph.id(at), self.cut(at)))
            .collect()
    }

    /// What keeps a commit of `author` that names `heads`: `None` when the author had no such role there; else the removals that it did not know of and that leave it none, with the
    /// commits that each keeps. It counts if each keeps it.
    #[must_use]
    pub fn demands(
        &self,
        heads: &[OpId],
        author: &NodeId,
        role: Role,
    ) -> Option<Vec<(OpId, &[CommitId])>> {
        if self.role_when(heads, author) < Some(role) {
            return None;
        }
        let past = self.graph.past_of(heads);
        let (here, within) = self.era_of(&past);
        let spared = |era: &Era, r: usize| {
            !era.standing.takes_all(&self.graph, r)
                && here.held_by(&self.graph, author, &within).any(|h| {
                    self.graph.terms(h.root).role >= role && !era.standing.ends(&self.graph, r, &h)
                })
        };
        let unknown = self
            .removed_at(author)
            .into_iter()
            .filter(|(_, at)| !past.has(*at))
            .filter(|(era, at)| *at == era.root || !spared(era, *at))
            .map(|(_, at)| (self.graph.id(at), self.cut(at)));
        Some(unknown.collect())
    }

    /// Whether a removal or recovery in force names this commit as kept.
    #[must_use]
    pub fn is_cut(&self, commit: &CommitId) -> bool {
        let in_force = |era: &Era| {
            let mut all = era.accepted.list.clone();
            all.push(era.root);
            all
        };
        self.eras
            .iter()
            .flat_map(in_force)
            .any(|at| self.cut(at).contains(commit))
    }

    /// Removals and Resets in force that touch `node`, with their eras. A Reset stands for the era that it begins.
    fn removed_at(&self, node: &NodeId) -> Vec<(&Era, usize)> {
        let mut all = Vec::new();
        for (n, era) in self.eras.iter().enumerate() {
            if n > 0 && self.eras[n - 1].founder.contains(node) {
                all.push((era, era.root));
            }
            let mut of_era: Vec<usize> = self.graph.removals_of(node).to_vec();
            for hold in era.standing.holds.of(node) {
                of_era.extend(self.graph.withdrawals_of(hold.grant));
                of_era.extend(self.graph.withdrawals_of(hold.root));
            }
            of_era.sort_unstable();
            of_era.dedup();
            of_era.retain(|at| era.accepted.set.has(*at));
            all.extend(of_era.into_iter().map(|at| (era, at)));
        }
        all
    }

    fn cut(&self, at: usize) -> &[CommitId] {
        self.graph.removal(at).map_or(&[], |(_, cut, _)| cut)
    }

    /// The author of Genesis.
    #[must_use]
    pub fn founder(&self) -> NodeId {
        self.graph.author(0)
    }

    /// All ids that the founder has had: a Reset takes them out.
    #[must_use]
    pub fn founder_ids(&self) -> Vec<NodeId> {
        let newest = self.eras.last();
        newest.map_or_else(Vec::new, |era| era.founder.iter().copied().collect())
    }

    /// Commitment to the shape key.
    #[must_use]
    pub fn shape_commitment(&self) -> [u8; 32] {
        let Body::Genesis { shape_commit, .. } = self.graph.body(0) else {
            unreachable!("a log begins with its Genesis")
        };
        **shape_commit
    }

    /// The key of the words that can take the vault back; `None` when it has none, or it has given itself up.
    #[must_use]
    pub fn recovery(&self) -> Option<NodeId> {
        let resigned = |at: &usize| matches!(self.graph.body(*at), Body::Resign {});
        if self.graph.recoveries().iter().any(resigned) {
            return None;
        }
        self.recovery_key()
    }

    /// Operations of others than the founder that a recovery left out and that counted before: to be done again by who wants them.
    #[must_use]
    pub fn undone(&self) -> Vec<&SignedOp> {
        let mut undone = self.graph.all();
        for era in &self.eras {
            undone.remove(&era.ops);
        }
        let founder = self.founder_ids();
        undone
            .iter()
            .filter(|at| !founder.contains(&self.graph.author(*at)))
            .map(|at| &*self.graph.entries()[at].op)
            .collect()
    }

    /// The operation that makes an epoch, void or not: what is sealed by it must stay readable.
    #[must_use]
    pub fn epoch(&self, id: &EpochId) -> Option<(&SignedOp, &EpochRecord)> {
        self.epochs().find(|(_, record)| record.id() == *id)
    }

    /// All epochs, in the order of [`Control::ops`].
    pub fn epochs(&self) -> impl Iterator<Item = (&SignedOp, &EpochRecord)> {
        self.graph
            .entries()
            .iter()
            .filter_map(|e| Some((&*e.op, e.op.payload().epoch()?)))
    }

    /// The state as it would be without `target`: for whom the new epoch of its removal is wrapped.
    #[must_use]
    pub fn state_without(&self, target: &Target) -> State {
        self.state.without(target)
    }

    /// Whether a removal of `target` needs a new epoch: it could read.
    #[must_use]
    pub fn needs_epoch(&self, target: &Target) -> bool {
        self.graph.could_read(target, &self.graph.all())
    }

    /// Judges all operations anew.
    pub(super) fn judge(&mut self) {
        self.eras = era::eras(&self.graph);
        let mut void = self.graph.all();
        for era in &self.eras {
            let mut counting = era.ops.clone();
            counting.remove(&era.standing.void);
            void.remove(&counting);
        }
        self.void = void;
        let newest = self.eras.last().expect("Genesis begins an era");
        self.state = self.state_of(newest, &newest.ops);
    }

    /// The era to which a set of operations with all that they build on belongs, and those of them that are its own.
    fn era_of(&self, past: &Bits) -> (&Era, Bits) {
        let begun = self.eras.iter().rev().find(|era| past.has(era.root));
        let era = begun.unwrap_or(&self.eras[0]);
        let mut within = past.clone();
        within.meet(&era.ops);
        (era, within)
    }

    /// Whether an operation of a reader that left starts no epoch.
    pub(super) fn leaves_secrets(&self, at: usize) -> bool {
        match self.graph.removal(at) {
            Some((.., false)) => {}
            _ => return false,
        }
        let target = match self.graph.body(at) {
            Body::Revoke { target, .. } => *target,
            _ => Target::Node(self.graph.author(at)),
        };
        self.graph.could_read(&target, self.graph.past(at))
    }
}

/// Where an operation goes.
enum Admitted {
    /// Into the graph.
    Here,
    /// Beside it: it is, or builds on, what this version cannot evaluate.
    Newer(OpId),
}

/// The unsigned payloads of a log: see [`Control::apply`].
pub(super) fn next(control: &Control, author: NodeId, body: Body) -> Op {
    use super::op::{Act, By};
    let by = match body {
        Body::Reset { .. } | Body::Resign {} => By::Recovery,
        _ => By::Node,
    };
    let mut parents = control.tips();
    parents.truncate(super::op::MAX_PARENTS);
    Op {
        version: 1,
        vault: Some(control.vault),
        author,
        by,
        parents,
        act: Act::Known(Box::new(body)),
    }
}
