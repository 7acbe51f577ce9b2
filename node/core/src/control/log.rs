//! What a set of operations means. Removal beats what is concurrent to it; of two owners who remove each other the senior stays; there is always an owner.

use super::bits::Bits;
use super::op::{Act, Body, By, Caveat, Op, OpError, Role, SignedOp, Target};
use crate::epoch::EpochRecord;
use crate::ids::{CommitId, EpochId, NodeId, OpId, VaultId};
use crate::sign::SignError;
use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::sync::Arc;

/// The most operations of a log: one a day for eleven years. Then: a new vault.
pub const MAX_OPS: usize = 4_096;
/// The most void operations that are taken in: a removed owner's flood must not fill the log.
const MAX_VOID: usize = 256;
/// The most operations of kinds that this version does not evaluate.
const MAX_NEWER: usize = 64;

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
    /// Its author never had the right to it.
    #[error("{} may not do this in this vault", .0.short())]
    NotAuthorised(NodeId),
    /// Its author may write it, but this version cannot evaluate it: the vault is read-only here until the program is upgraded.
    #[error("operation {} is of a kind that this version does not know: upgrade polykey", .0.short())]
    NeedsUpgrade(OpId),
    /// The log is full.
    #[error("the vault has had its {MAX_OPS} changes of membership: make a new vault")]
    Full,
    /// The removal would leave nobody who decides who is a member.
    #[error("the last owner cannot be removed: make another node an owner first")]
    LastOwner,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It counts.
    Counts,
    /// It is kept and does not count: a removal made it void.
    Void,
    /// It was here already.
    Known,
}

/// A grant in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id; Genesis' for the first owner.
    pub id: OpId,
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
    /// The commits of prunes in force: see [`State::pruned`].
    prunes: BTreeSet<CommitId>,
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

    fn owner_stays(&self) -> bool {
        let lasting = |g: &Grant| g.role == Role::Owner && g.expires.is_none();
        self.members.values().flat_map(|m| &m.grants).any(lasting)
    }
}

/// An operation in its place.
#[derive(Clone)]
struct Entry {
    op: Arc<SignedOp>,
    /// Positions of it and of all that it builds on.
    past: Bits,
}

impl Entry {
    fn id(&self) -> OpId {
        self.op.id().into()
    }

    fn author(&self) -> NodeId {
        self.op.payload().author
    }

    fn body(&self) -> &Body {
        match &self.op.payload().act {
            Act::Known(body) => body,
            Act::Newer(_) => unreachable!("only evaluated kinds are entered"),
        }
    }
}

/// The control log of a vault, with its state.
#[derive(Clone)]
pub struct Control {
    vault: VaultId,
    /// In an order in which parents come before children.
    entries: Vec<Entry>,
    positions: HashMap<OpId, usize>,
    /// Positions of grants (and Genesis) to a node, and of revocations that touch it.
    grants: HashMap<NodeId, Vec<usize>>,
    revokes: HashMap<NodeId, Vec<usize>>,
    heads: BTreeSet<OpId>,
    void: Bits,
    /// Revocations in force.
    accepted: Vec<usize>,
    state: State,
    /// Operations of kinds that this version does not evaluate, and those that build on them.
    newer: BTreeMap<OpId, Arc<SignedOp>>,
}

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
            entries: Vec::new(),
            positions: HashMap::new(),
            grants: HashMap::new(),
            revokes: HashMap::new(),
            heads: BTreeSet::new(),
            void: Bits::default(),
            accepted: Vec::new(),
            state: State::default(),
            newer: BTreeMap::new(),
        };
        control.enter(genesis.clone());
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
        let op = signed.payload();
        op.check()?;
        let vault = op.vault.ok_or(ControlError::Genesis)?;
        if vault != self.vault {
            return Err(ControlError::OtherVault);
        }
        self.verify(signed)?;
        if let Some(newer) = op.parents.iter().find(|p| self.newer.contains_key(p)) {
            return self.remember(signed, *newer);
        }
        let missing: Vec<OpId> = op
            .parents
            .iter()
            .filter(|p| !self.positions.contains_key(p))
            .copied()
            .collect();
        if !missing.is_empty() {
            return Err(ControlError::MissingParents(missing));
        }
        let past = self.past(&op.parents);
        self.check_against(op, &past)?;
        if !matches!(
            op.body(),
            Some(
                Body::Grant { .. } | Body::Revoke { .. } | Body::Rotate { .. } | Body::Prune { .. }
            )
        ) {
            return self.remember(signed, id);
        }
        if self.entries.len() - self.void.count() >= MAX_OPS {
            return Err(ControlError::Full);
        }
        let linear =
            self.heads.len() == 1 && op.parents.len() == 1 && self.heads.contains(&op.parents[0]);
        let at = self.enter(signed.clone());
        if !(linear && self.follow(at)) {
            self.judge();
        }
        if !self.void.has(at) {
            return Ok(Applied::Counts);
        }
        if self.void.count() > MAX_VOID {
            self.leave();
            return Err(ControlError::NotAuthorised(op.author));
        }
        Ok(Applied::Void)
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// Whether the operation is here and evaluated.
    #[must_use]
    pub fn contains(&self, id: &OpId) -> bool {
        self.positions.contains_key(id)
    }

    /// Whether all of these, and so all that they build on, are here.
    #[must_use]
    pub fn covers(&self, ids: &[OpId]) -> bool {
        ids.iter().all(|id| self.contains(id))
    }

    /// Operations on which no other builds, ascending.
    #[must_use]
    pub fn heads(&self) -> Vec<OpId> {
        self.heads.iter().copied().collect()
    }

    /// All operations, parents before children.
    pub fn ops(&self) -> impl Iterator<Item = &SignedOp> {
        self.entries.iter().map(|e| &*e.op)
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: a log has its Genesis.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The operation, if it is here.
    #[must_use]
    pub fn get(&self, id: &OpId) -> Option<&SignedOp> {
        self.positions.get(id).map(|at| &*self.entries[*at].op)
    }

    /// Operations that are not among `theirs` nor among what those build on, parents first. Unknown ids are passed over.
    #[must_use]
    pub fn beyond(&self, theirs: &[OpId]) -> Vec<&SignedOp> {
        let known: Vec<OpId> = theirs
            .iter()
            .filter(|id| self.contains(id))
            .copied()
            .collect();
        let past = self.past(&known);
        self.entries
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
        let known: Vec<OpId> = heads
            .iter()
            .filter(|id| self.contains(id))
            .copied()
            .collect();
        self.state_of(&self.past(&known), &self.void, None)
    }

    /// The role of `node` when these were the heads, without what later turned out void; `None` too when one of them is unknown.
    #[must_use]
    pub fn role_when(&self, heads: &[OpId], node: &NodeId) -> Option<Role> {
        if !self.covers(heads) {
            return None;
        }
        let past = self.past(heads);
        self.live(node, &past, &self.void, None)
            .map(|at| self.grant_at(at).role)
            .max()
    }

    /// Whether `node` was ever granted at least `role` in what these heads build on, void or not.
    #[must_use]
    pub fn ever(&self, heads: &[OpId], node: &NodeId, role: Role) -> bool {
        self.covers(heads) && self.ever_in(&self.past(heads), node, role)
    }

    /// Whether all of `ids` are among `heads` or what those build on.
    #[must_use]
    pub fn reaches(&self, heads: &[OpId], ids: &[OpId]) -> bool {
        if heads == ids {
            return self.covers(heads);
        }
        let past = self.past(heads);
        ids.iter()
            .all(|id| self.positions.get(id).is_some_and(|at| past.has(*at)))
    }

    /// The revocations in force that touch `node`: id, and the commits up to which its own stay.
    pub fn revocations(&self, node: &NodeId) -> impl Iterator<Item = (OpId, &[CommitId])> {
        let touching = self.revokes.get(node).map_or(&[][..], Vec::as_slice);
        touching
            .iter()
            .filter(|at| self.accepted.contains(at))
            .map(|at| {
                let entry = &self.entries[*at];
                let Body::Revoke { cut, .. } = entry.body() else {
                    unreachable!("listed as a revocation")
                };
                (entry.id(), cut.as_slice())
            })
    }

    /// Whether a revocation in force names this commit as kept.
    #[must_use]
    pub fn is_cut(&self, commit: &CommitId) -> bool {
        self.accepted
            .iter()
            .any(|at| match self.entries[*at].body() {
                Body::Revoke { cut, .. } => cut.contains(commit),
                _ => false,
            })
    }

    /// An operation of a kind that this version cannot evaluate, by an author who may write it: the vault is then read-only.
    #[must_use]
    pub fn needs_upgrade(&self) -> Option<OpId> {
        self.newer
            .iter()
            .find(|(_, op)| self.may_write_newer(op.payload()))
            .map(|(id, _)| *id)
    }

    /// The operations that this version cannot evaluate, to be kept with the log until one can.
    pub fn unevaluated(&self) -> impl Iterator<Item = &SignedOp> {
        self.newer.values().map(|op| &**op)
    }

    /// The author of Genesis.
    #[must_use]
    pub fn founder(&self) -> NodeId {
        self.entries[0].author()
    }

    /// Commitment to the shape key.
    #[must_use]
    pub fn shape_commitment(&self) -> [u8; 32] {
        let Body::Genesis { shape_commit, .. } = self.entries[0].body() else {
            unreachable!("a log begins with its Genesis")
        };
        **shape_commit
    }

    /// The operation that makes an epoch, void or not: what is sealed by it must stay readable.
    #[must_use]
    pub fn epoch(&self, id: &EpochId) -> Option<(&SignedOp, &EpochRecord)> {
        self.entries.iter().find_map(|e| {
            let record = e.op.payload().epoch()?;
            (record.id() == *id).then_some((&*e.op, record))
        })
    }

    /// All epochs, in the order of [`Control::ops`].
    pub fn epochs(&self) -> impl Iterator<Item = (&SignedOp, &EpochRecord)> {
        self.entries
            .iter()
            .filter_map(|e| Some((&*e.op, e.op.payload().epoch()?)))
    }

    /// The unsigned operation that grants `role` to `node`.
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
        self.next(
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

    /// The unsigned operation that removes `target`, with the author's present operations and `cut`, its present heads, kept.
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
        let op = self.next(
            author,
            Body::Revoke {
                target,
                upto: self.heads(),
                cut,
                epoch,
            },
        );
        op.check()?;
        self.check_against(&op, &self.past(&op.parents))?;
        Ok(op)
    }

    /// The unsigned operation that starts a new epoch.
    #[must_use]
    pub fn rotate(&self, author: NodeId, epoch: EpochRecord) -> Op {
        self.next(author, Body::Rotate { epoch })
    }

    /// The unsigned operation that lets everyone drop the trees of proper ancestors of `keep`.
    #[must_use]
    pub fn prune(&self, author: NodeId, keep: CommitId) -> Op {
        self.next(author, Body::Prune { keep })
    }

    /// The state as it would be without `target`: for whom the new epoch of its removal is wrapped.
    #[must_use]
    pub fn state_without(&self, target: &Target) -> State {
        let mut state = self.state.clone();
        match target {
            Target::Node(node) => {
                state.members.remove(node);
            }
            Target::Grant(id) => {
                for member in state.members.values_mut() {
                    member.grants.retain(|g| g.id != *id);
                }
                state.members.retain(|_, m| !m.grants.is_empty());
            }
        }
        state
    }

    /// Whether a removal of `target` needs a new epoch: it could read.
    #[must_use]
    pub fn needs_epoch(&self, target: &Target) -> bool {
        self.could_read(target, &self.past(&self.heads()))
    }

    fn next(&self, author: NodeId, body: Body) -> Op {
        Op {
            version: 1,
            vault: Some(self.vault),
            author,
            by: By::Node,
            parents: self.heads(),
            act: Act::Known(Box::new(body)),
        }
    }

    fn verify(&self, signed: &SignedOp) -> Result<(), ControlError> {
        let op = signed.payload();
        let key = match op.by {
            By::Node => op.author,
            By::Recovery => {
                let Body::Genesis { recovery, .. } = self.entries[0].body() else {
                    unreachable!("a log begins with its Genesis")
                };
                recovery.ok_or(ControlError::NotAuthorised(op.author))?
            }
        };
        signed.verify(&key).map_err(ControlError::Signature)
    }

    /// What can be judged for good from the operations that this one builds on: no later operation changes it.
    fn check_against(&self, op: &Op, past: &Bits) -> Result<(), ControlError> {
        let needed = match op.body() {
            Some(Body::Join { .. } | Body::Replace { .. }) => Role::Mirror,
            _ => Role::Owner,
        };
        if op.by == By::Node && !self.ever_in(past, &op.author, needed) {
            return Err(ControlError::NotAuthorised(op.author));
        }
        let Some(Body::Revoke {
            target,
            upto,
            epoch,
            ..
        }) = op.body()
        else {
            return Ok(());
        };
        let among = |id: &OpId| self.positions.get(id).is_some_and(|at| past.has(*at));
        if !upto.iter().all(among) {
            return Err(ControlError::Contradiction(
                "it keeps what it does not build on",
            ));
        }
        if let Target::Grant(grant) = target
            && !(among(grant)
                && self
                    .grants
                    .values()
                    .flatten()
                    .any(|at| self.entries[*at].id() == *grant))
        {
            return Err(ControlError::Contradiction(
                "it removes a grant that it does not build on",
            ));
        }
        match epoch {
            None if self.could_read(target, past) => Err(ControlError::Contradiction(
                "it removes a reader and starts no epoch",
            )),
            Some(record) if matches!(target, Target::Node(n) if record.wraps.iter().any(|w| w.to == *n)) => {
                Err(ControlError::Contradiction(
                    "it wraps the new epoch for whom it removes",
                ))
            }
            _ => Ok(()),
        }
    }

    fn could_read(&self, target: &Target, past: &Bits) -> bool {
        match target {
            Target::Node(node) => self.ever_in(past, node, Role::Reader),
            Target::Grant(id) => self
                .positions
                .get(id)
                .is_some_and(|at| matches!(self.entries[*at].body(), Body::Grant { role, .. } if *role >= Role::Reader)
                    || *at == 0),
        }
    }

    /// Keeps an operation that cannot be evaluated. What its author may not write makes room for others, so that nobody can crowd out an owner's.
    fn remember(&mut self, signed: &SignedOp, cause: OpId) -> Result<Applied, ControlError> {
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
        if !self.covers(&op.parents) {
            // It builds on another of its kind, which is judged by itself.
            return false;
        }
        let role = self.role_when(&op.parents, &op.author);
        let outside = || {
            let kept = |(r, _): (OpId, _)| self.kept(&r, op);
            self.revocations(&op.author).all(kept)
        };
        match op.body() {
            Some(Body::Join { grant, .. }) => {
                let past = self.past(&op.parents);
                let mut live = self
                    .live(&op.author, &past, &self.void, None)
                    .map(|at| self.grant_at(at));
                live.any(|g| g.id == *grant && g.siblings > 0) && outside()
            }
            Some(Body::Replace { .. }) => role.is_some() && outside(),
            _ => role == Some(Role::Owner) && outside(),
        }
    }

    /// Whether `op`, not entered, comes after the revocation `r` (one in `upto` is entered by nature).
    fn kept(&self, r: &OpId, op: &Op) -> bool {
        self.reaches(&op.parents, &[*r])
    }

    fn past(&self, heads: &[OpId]) -> Bits {
        let mut past = Bits::default();
        for at in heads.iter().filter_map(|id| self.positions.get(id)) {
            past.join(&self.entries[*at].past);
        }
        past
    }

    /// Puts an operation at the end. Its parents are here.
    fn enter(&mut self, signed: SignedOp) -> usize {
        let at = self.entries.len();
        let (id, op) = (OpId::from(signed.id()), signed.payload());
        let mut past = self.past(&op.parents);
        past.set(at);
        for parent in &op.parents {
            self.heads.remove(parent);
        }
        self.heads.insert(id);
        self.positions.insert(id, at);
        match op.body() {
            Some(Body::Genesis { .. }) => self.grants.entry(op.author).or_default().push(at),
            Some(Body::Grant { node, .. }) => self.grants.entry(*node).or_default().push(at),
            Some(Body::Revoke { target, .. }) => {
                if let Some(node) = self.node_of(target) {
                    self.revokes.entry(node).or_default().push(at);
                }
            }
            _ => {}
        }
        self.entries.push(Entry {
            op: Arc::new(signed),
            past,
        });
        at
    }

    /// Takes the last operation out again.
    fn leave(&mut self) {
        let Some(last) = self.entries.pop() else {
            return;
        };
        let at = self.entries.len();
        self.positions.remove(&last.id());
        for list in self.grants.values_mut().chain(self.revokes.values_mut()) {
            list.retain(|p| *p != at);
        }
        let parents: BTreeSet<OpId> = self
            .entries
            .iter()
            .flat_map(|e| e.op.payload().parents.clone())
            .collect();
        self.heads = self
            .entries
            .iter()
            .map(Entry::id)
            .filter(|id| !parents.contains(id))
            .collect();
        self.judge();
    }

    fn node_of(&self, target: &Target) -> Option<NodeId> {
        match target {
            Target::Node(node) => Some(*node),
            Target::Grant(id) => match self.entries[*self.positions.get(id)?].body() {
                Body::Grant { node, .. } => Some(*node),
                Body::Genesis { .. } => Some(self.founder()),
                _ => None,
            },
        }
    }

    /// The fast path: the operation at `at` builds on all others, so it changes nothing that was. False when it must be judged with all.
    fn follow(&mut self, at: usize) -> bool {
        let entry = self.entries[at].clone();
        let author = self
            .state
            .members
            .get(&entry.author())
            .and_then(Member::role);
        if author != Some(Role::Owner) {
            return false;
        }
        match entry.body() {
            Body::Grant { node, .. } => {
                let member = self.state.members.entry(*node).or_default();
                member.grants.push(grant_of(&entry));
                member.grants.sort_by_key(|g| g.id);
            }
            Body::Revoke { target, upto, .. } => {
                let state = self.state_without(target);
                if *upto != entry.op.payload().parents || !state.owner_stays() {
                    return false;
                }
                self.state = state;
                self.accepted.push(at);
            }
            Body::Rotate { .. } => {}
            Body::Prune { keep } => {
                self.state.prunes.insert(*keep);
            }
            _ => return false,
        }
        if let Some(record) = entry.op.payload().epoch() {
            self.state.epochs = vec![record.id()];
        }
        true
    }

    /// Judges all operations anew.
    pub(super) fn judge(&mut self) {
        let (void, accepted) = self.resolve();
        let all = self.past(&self.heads());
        self.state = self.state_of(&all, &void, Some(&accepted));
        self.void = void;
        self.accepted = accepted;
    }

    /// Which operations are void, and which revocations are in force.
    fn resolve(&self) -> (Bits, Vec<usize>) {
        let order = self.revokes_by_rank();
        let mut excluded = Bits::default();
        loop {
            let (void, accepted) = self.turn(&order, &excluded);
            let all = self.past(&self.heads());
            let owned = self.state_of(&all, &void, Some(&accepted)).owner_stays();
            let bad = accepted
                .iter()
                .find(|r| void.has(**r))
                .or(accepted.last().filter(|_| !owned));
            match bad {
                None => return (void, accepted),
                Some(r) => excluded.set(*r),
            }
        }
    }

    /// One turn: takes revocations in the order of their authors' rank, as long as an owner is left.
    fn turn(&self, order: &[usize], excluded: &Bits) -> (Bits, Vec<usize>) {
        let (mut void, mut accepted) = (excluded.clone(), Vec::new());
        let all = self.past(&self.heads());
        loop {
            let before = accepted.len();
            for r in order {
                if void.has(*r) || accepted.contains(r) || self.closed(&void).has(*r) {
                    continue;
                }
                let mut with = void.clone();
                for at in self.voided_by(*r) {
                    with.set(at);
                }
                accepted.push(*r);
                if self
                    .state_of(&all, &self.closed(&with), Some(&accepted))
                    .owner_stays()
                {
                    void = with;
                } else {
                    accepted.pop();
                    void.set(*r);
                }
            }
            if accepted.len() == before {
                return (self.closed(&void), accepted);
            }
        }
    }

    /// `void` with all that it leaves without authority.
    fn closed(&self, void: &Bits) -> Bits {
        let mut closed = void.clone();
        for at in 1..self.entries.len() {
            if !closed.has(at) && !self.authorised(at, &closed) {
                closed.set(at);
            }
        }
        closed
    }

    /// Whether the author was a live owner in what the operation builds on.
    fn authorised(&self, at: usize, void: &Bits) -> bool {
        let op = self.entries[at].op.payload();
        // Without the operation itself: an owner may remove itself.
        let past = self.past(&op.parents);
        self.live(&op.author, &past, void, None)
            .any(|g| self.grant_at(g).role == Role::Owner)
    }

    /// What the removed node did beside the revocation at `r`.
    fn voided_by(&self, r: usize) -> Vec<usize> {
        let Body::Revoke { target, upto, .. } = self.entries[r].body() else {
            return Vec::new();
        };
        let Some(node) = self.node_of(target) else {
            return Vec::new();
        };
        let kept = self.past(upto);
        (1..self.entries.len())
            .filter(|at| *at != r && self.entries[*at].author() == node)
            .filter(|at| !kept.has(*at) && !self.entries[*at].past.has(r))
            .collect()
    }

    /// Revocations by the rank of their author, author, how much they build on, id. None of it can be ground when an attack begins.
    fn revokes_by_rank(&self) -> Vec<usize> {
        let ranks = self.ranks();
        let mut order: Vec<usize> = self.revokes.values().flatten().copied().collect();
        order.sort_by_cached_key(|at| {
            let e = &self.entries[*at];
            let rank = ranks.get(&e.author()).copied().unwrap_or(usize::MAX);
            (rank, e.author(), e.past.count(), e.id())
        });
        order
    }

    /// How far each owner's authority is from Genesis: a puppet is always junior to its maker.
    fn ranks(&self) -> HashMap<NodeId, usize> {
        let mut ranks = HashMap::from([(self.founder(), 1)]);
        let mut wave = vec![self.founder()];
        let mut made: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
        for e in &self.entries {
            if let Body::Grant {
                node,
                role: Role::Owner,
                ..
            } = e.body()
            {
                made.entry(e.author()).or_default().push(*node);
            }
        }
        let mut rank = 1;
        while !wave.is_empty() {
            rank += 1;
            let next: Vec<NodeId> = wave
                .iter()
                .filter_map(|n| made.get(n))
                .flatten()
                .copied()
                .collect();
            wave = Vec::new();
            for node in next {
                if let hash_map::Entry::Vacant(vacant) = ranks.entry(node) {
                    vacant.insert(rank);
                    wave.push(node);
                }
            }
        }
        ranks
    }

    /// Positions of the grants to `node` that are in `past`, not void, and that no revocation of `past` ends. `only`: those that count as revocations.
    fn live<'a>(
        &'a self,
        node: &NodeId,
        past: &'a Bits,
        void: &'a Bits,
        only: Option<&'a [usize]>,
    ) -> impl Iterator<Item = usize> + 'a {
        let grants = self.grants.get(node).map_or(&[][..], Vec::as_slice);
        let revokes = self.revokes.get(node).map_or(&[][..], Vec::as_slice);
        let counts =
            move |r: &usize| past.has(*r) && !void.has(*r) && only.is_none_or(|o| o.contains(r));
        let ends = move |r: &usize, g: usize| {
            counts(r)
                && !self.entries[g].past.has(*r)
                && match self.entries[*r].body() {
                    Body::Revoke {
                        target: Target::Grant(id),
                        ..
                    } => self.entries[g].id() == *id,
                    _ => true,
                }
        };
        grants
            .iter()
            .copied()
            .filter(move |g| past.has(*g) && !void.has(*g))
            .filter(move |g| !revokes.iter().any(|r| ends(r, *g)))
    }

    fn ever_in(&self, past: &Bits, node: &NodeId, role: Role) -> bool {
        self.grants.get(node).is_some_and(|grants| {
            grants
                .iter()
                .any(|g| past.has(*g) && self.grant_at(*g).role >= role)
        })
    }

    fn grant_at(&self, at: usize) -> Grant {
        grant_of(&self.entries[at])
    }

    fn state_of(&self, past: &Bits, void: &Bits, only: Option<&[usize]>) -> State {
        let mut members = BTreeMap::new();
        for node in self.grants.keys() {
            let mut grants: Vec<Grant> = self
                .live(node, past, void, only)
                .map(|at| self.grant_at(at))
                .collect();
            if !grants.is_empty() {
                grants.sort_by_key(|g| g.id);
                members.insert(*node, Member { grants });
            }
        }
        State {
            members,
            epochs: self.live_epochs(past, void),
            prunes: self.prunes(past, void),
        }
    }

    fn prunes(&self, past: &Bits, void: &Bits) -> BTreeSet<CommitId> {
        let keep = |(_, e): (usize, &Entry)| match e.body() {
            Body::Prune { keep } => Some(*keep),
            _ => None,
        };
        self.entries
            .iter()
            .enumerate()
            .filter(|(at, _)| past.has(*at) && !void.has(*at))
            .filter_map(keep)
            .collect()
    }

    /// Epochs of operations in force on which no other such operation builds.
    fn live_epochs(&self, past: &Bits, void: &Bits) -> Vec<EpochId> {
        let making: Vec<usize> = (0..self.entries.len())
            .filter(|at| past.has(*at) && !void.has(*at))
            .filter(|at| self.entries[*at].op.payload().epoch().is_some())
            .collect();
        let superseded = |at: usize| {
            making
                .iter()
                .any(|m| *m != at && self.entries[*m].past.has(at))
        };
        let mut live: Vec<EpochId> = making
            .iter()
            .filter(|at| !superseded(**at))
            .filter_map(|at| Some(self.entries[*at].op.payload().epoch()?.id()))
            .collect();
        live.sort_unstable();
        live
    }
}

fn grant_of(entry: &Entry) -> Grant {
    let id = entry.id();
    match entry.body() {
        Body::Grant {
            role,
            siblings,
            expires,
            caveat,
            ..
        } => Grant {
            id,
            role: *role,
            siblings: *siblings,
            expires: *expires,
            caveat: caveat.clone(),
        },
        _ => Grant {
            id,
            role: Role::Owner,
            siblings: 0,
            expires: None,
            caveat: None,
        },
    }
}
