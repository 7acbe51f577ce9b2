//! What is taken from a peer. No key is needed for it; what this node can open it opens afterwards.
//!
//! Everything that arrives is verified before it is kept. A version's header takes its place as soon as what it builds on has; it becomes whole, and so can be shown and passed on,
//! when its tree is in the store.

mod whole;

use super::entry::{Entry, Inner};
use super::pace::Pace;
use super::rows::FloorRow;
use super::secrets::Secrets;
use super::{VaultError, Vaults, now_ms, rows};
use crate::store::Batch;
use polykey_core::commit::{CommitError, SignedCommit, vouch};
use polykey_core::control::{Applied, Control, ControlError, Role, SignedOp};
use polykey_core::epoch::WrapRecord;
use polykey_core::growing::Pull;
use polykey_core::ids::{Address, CommitId, NodeId, OpId, VaultId};
use polykey_core::seal;
use polykey_core::sign::Signed;
use polykey_core::wire::{Announce, MAX_RECORDS};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedMutexGuard;

/// Wraps that are kept of one vault: one each for the most members, from a few owners.
const MAX_WRAPS: usize = 4_096;

/// What came of an announcement.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// All of it is in place. `changed` when anything was new.
    Done {
        /// Something was new.
        changed: bool,
    },
    /// Versions wait for their objects, in the order in which they become whole: pull each, several at once if it pleases, store what comes, then ask again with an empty
    /// announcement.
    NeedObjects(Vec<Pull>),
    /// Parents are missing: ask for them by id.
    NeedRecords {
        /// Operations.
        ops: Vec<OpId>,
        /// Commits.
        commits: Vec<CommitId>,
    },
}

/// What a peer shows, as far as is known.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Its heads. While none is known, it may have everything that was ever announced.
    pub heads: Vec<CommitId>,
    /// Versions that it has not got, though it shows what builds on them.
    pub absent: HashSet<CommitId>,
}

impl Vaults {
    /// Takes an announcement from `from`, of whom nothing is known but that.
    ///
    /// # Errors
    /// As [`Vaults::receive_of`].
    pub async fn receive(
        &self,
        from: &NodeId,
        vault: &VaultId,
        announce: Announce,
        admit: bool,
    ) -> Result<Received, VaultError> {
        let unknown = Offer::default();
        self.receive_of(from, vault, announce, &unknown, admit)
            .await
    }

    /// Takes an announcement from `from`, who shows what is in `offer`. A vault that is not here yet is taken when `admit` says that this sender may bring one and its log makes this node
    /// a member.
    ///
    /// # Errors
    /// `NotFound` for a vault that is not here and not taken; `Peer` for bytes that the sender could have known to be wrong.
    pub async fn receive_of(
        &self,
        from: &NodeId,
        vault: &VaultId,
        announce: Announce,
        offer: &Offer,
        admit: bool,
    ) -> Result<Received, VaultError> {
        let ops = parse::<polykey_core::control::Op>(&announce.ops)?;
        let entry = match self.entry(vault) {
            Ok(entry) => entry,
            Err(_) if admit => {
                let Some(entry) = self.take_in(from, vault, &ops).await? else {
                    return Err(VaultError::NotFound);
                };
                tracing::info!(vault = %vault.short(), from = %from.short(), "a vault was shared with this node");
                entry
            }
            Err(e) => return Err(e),
        };
        let one_writer = entry.writing.clone().lock_owned().await;
        // Before anything is looked into: a peer without room brings nothing more. What is here already is counted once again, which errs on the safe side
        // until the next start.
        self.quotas.take(vault, bytes_of(&announce))?;
        let mut step = Step::new(&entry, from, offer);
        step.take_ops(&ops)?;
        step.take_wraps(parse::<WrapRecord>(&announce.wraps)?)?;
        step.take_objects(announce.objects)?;
        let commits = parse(&announce.commits)?;
        self.miss_own(from, &entry, &commits);
        // From here on the entry holds what is not written yet: no way out but through `finish`.
        // What came before a fault counts.
        let taken = step.take_commits(commits, &self.me);
        let result = step.complete(self).and_then(|()| step.look_ahead(self));
        let result = result.and(taken);
        let missing = std::mem::take(&mut step.missing);
        let received = step.finish(self, one_writer).await?;
        result?;
        let (ops, commits) = missing.first(MAX_RECORDS);
        if !ops.is_empty() || !commits.is_empty() {
            return Ok(Received::NeedRecords { ops, commits });
        }
        Ok(received)
    }

    /// Gives versions of the past that came from `from` their place. What else is being fetched from it goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn receive_past(&self, from: &NodeId, vault: &VaultId) -> Result<(), VaultError> {
        let entry = self.entry(vault)?;
        let one_writer = entry.writing.clone().lock_owned().await;
        let unknown = Offer::default();
        let mut step = Step::new(&entry, from, &unknown);
        let result = step.complete(self);
        step.finish(self, one_writer).await?;
        result
    }

    /// Commits of this node that are not here: its store was restored, or it has a double.
    fn miss_own(&self, from: &NodeId, entry: &Entry, commits: &[SignedCommit]) {
        let mut own = commits.iter().filter(|c| c.payload().author == self.me);
        if own.any(|c| !entry.read().commits.contains(&c.id().into())) {
            self.standing.missed_own(entry.id, *from);
        }
    }

    /// Makes an entry for a vault whose log grants this node a role.
    async fn take_in(
        &self,
        from: &NodeId,
        vault: &VaultId,
        ops: &[SignedOp],
    ) -> Result<Option<Arc<Entry>>, VaultError> {
        let Some(first) = ops.first() else {
            return Ok(None);
        };
        let mut control = Control::new(first).map_err(|e| VaultError::Peer(e.to_string()))?;
        if control.vault() != *vault {
            return Err(VaultError::Peer(
                "a control log of another vault".to_owned(),
            ));
        }
        for op in &ops[1..] {
            match control.apply(op) {
                Ok(_) | Err(ControlError::MissingParents(_) | ControlError::NeedsUpgrade(_)) => {}
                Err(e) => return Err(VaultError::Peer(e.to_string())),
            }
        }
        if control
            .state()
            .role_of(&self.me, now_ms() / 1_000)
            .is_none()
        {
            return Ok(None);
        }
        let mut batch = Batch::default();
        self.quotas.introduce(&mut batch, vault, *from);
        self.quotas
            .take(vault, ops.iter().map(|op| op.bytes().len() as u64).sum())?;
        rows::put_vault(&mut batch, vault, None, None);
        for (at, op) in control.ops().enumerate() {
            rows::put_op(&mut batch, vault, at, op.bytes());
        }
        let entry = Entry::new(*vault, None, control, Secrets::default());
        entry.write().pace = Pace::of_a_clone();
        rows::put_floor(&mut batch, vault, &entry.read().floor());
        self.add(entry, batch).await.map(Some)
    }

    /// Stores objects that were asked for; others are passed over. Gives how many it kept.
    ///
    /// # Errors
    /// `Peer` for bytes that are no object.
    pub async fn store_objects(
        &self,
        vault: &VaultId,
        objects: Vec<Vec<u8>>,
    ) -> Result<usize, VaultError> {
        let entry = self.entry(vault)?;
        // Hashed and looked up before the vault is locked: several pulls arrive at a time.
        let mut arrived = Vec::with_capacity(objects.len());
        for bytes in objects {
            let header = seal::header(&bytes).map_err(|e| VaultError::Peer(e.to_string()))?;
            arrived.push((seal::address(&bytes), header.refs, bytes));
        }
        // What is seen to be here must not be collected before what names it is written.
        let _one_writer = entry.writing.clone().lock_owned().await;
        let mut absent = HashSet::new();
        for part in arrived.iter().flat_map(|(_, refs, _)| refs) {
            if !self.has_object(vault, part)? {
                absent.insert(*part);
            }
        }
        let mut batch = Batch::default();
        let (mut kept, mut size) = (0, 0);
        {
            let arriving = &mut entry.write().arriving;
            for (address, mut refs, bytes) in arrived {
                refs.retain(|part| absent.contains(part));
                if !arriving.came(&address, &refs) {
                    continue;
                }
                size += bytes.len() as u64;
                kept += 1;
                entry.born(address);
                rows::put_object(&mut batch, vault, &address, bytes);
            }
        }
        self.quotas.take(vault, size)?;
        self.store.commit(batch).await?;
        Ok(kept)
    }
}

fn parse<T: polykey_core::sign::Payload>(
    records: &[minicbor::bytes::ByteVec],
) -> Result<Vec<Signed<T>>, VaultError> {
    records
        .iter()
        .map(|bytes| Signed::parse(bytes).map_err(|e| VaultError::Peer(e.to_string())))
        .collect()
}

/// Bytes of all that an announcement would store.
fn bytes_of(announce: &Announce) -> u64 {
    let parts = [
        &announce.ops,
        &announce.wraps,
        &announce.commits,
        &announce.objects,
    ];
    let bytes = parts
        .into_iter()
        .flatten()
        .map(|record| record.len() as u64);
    bytes.sum()
}

/// One announcement being taken in: everything is prepared beside the entry, written as one batch, and only then visible.
struct Step<'e> {
    entry: &'e Arc<Entry>,
    from: &'e NodeId,
    offer: &'e Offer,
    batch: Batch,
    /// Copied when something new comes.
    control: Arc<Control>,
    new_ops: bool,
    wraps: Vec<Signed<WrapRecord>>,
    objects: HashMap<Address, Vec<u8>>,
    /// Versions whose headers took their place.
    placed: Vec<CommitId>,
    /// Versions that became whole.
    whole: HashSet<CommitId>,
    /// Versions that became whole while some that they build on are not: their changes are looked at later.
    unseen: Vec<CommitId>,
    waits: Vec<Pull>,
    missing: Missing,
}

/// What must come before what came.
#[derive(Default)]
struct Missing {
    ops: BTreeSet<OpId>,
    commits: BTreeSet<CommitId>,
}

impl Missing {
    fn first(self, most: usize) -> (Vec<OpId>, Vec<CommitId>) {
        (
            self.ops.into_iter().take(most).collect(),
            self.commits.into_iter().take(most).collect(),
        )
    }
}

impl<'e> Step<'e> {
    fn new(entry: &'e Arc<Entry>, from: &'e NodeId, offer: &'e Offer) -> Step<'e> {
        let control = entry.read().control.clone();
        Step {
            entry,
            from,
            offer,
            batch: Batch::default(),
            control,
            new_ops: false,
            wraps: Vec::new(),
            objects: HashMap::new(),
            placed: Vec::new(),
            whole: HashSet::new(),
            unseen: Vec::new(),
            waits: Vec::new(),
            missing: Missing::default(),
        }
    }

    /// Takes operations.
    fn take_ops(&mut self, ops: &[SignedOp]) -> Result<(), VaultError> {
        for op in ops {
            let at = self.control.len();
            if self.control.contains(&op.id().into()) {
                continue;
            }
            match Arc::make_mut(&mut self.control).apply(op) {
                Ok(Applied::Known) => {}
                Ok(_) => {
                    self.new_ops = true;
                    rows::put_op(&mut self.batch, &self.entry.id, at, op.bytes());
                }
                Err(ControlError::NeedsUpgrade(id)) => {
                    tracing::warn!(vault = %self.entry.id.short(), op = %id.short(), "this vault uses what this version does not know: read-only until polykey is upgraded");
                    self.new_ops = true;
                    rows::put_newer_op(
                        &mut self.batch,
                        &self.entry.id,
                        &op.id().into(),
                        op.bytes(),
                    );
                }
                Err(ControlError::MissingParents(ids)) => self.missing.ops.extend(ids),
                // Its sender may know less: it was none's fault to pass on what does not count here.
                Err(e @ (ControlError::TooManyVoid(_) | ControlError::Full)) => {
                    tracing::warn!(vault = %self.entry.id.short(), error = %e, "an operation is not taken");
                }
                Err(e) => return Err(VaultError::Peer(e.to_string())),
            }
        }
        self.missing.ops.retain(|id| !self.control.contains(id));
        Ok(())
    }

    /// Takes wraps of known epochs by members; others are passed over.
    fn take_wraps(&mut self, wraps: Vec<Signed<WrapRecord>>) -> Result<(), VaultError> {
        for wrap in wraps {
            let w = wrap.payload();
            if w.version != 1 || w.vault != self.entry.id {
                return Err(VaultError::Peer("a wrap of another vault".to_owned()));
            }
            wrap.verify(&w.from)
                .map_err(|e| VaultError::Peer(e.to_string()))?;
            let useful = self.control.epoch(&w.epoch).is_some()
                && self
                    .control
                    .ever(&self.control.heads(), &w.from, Role::Reader);
            let (here, known) = {
                let inner = self.entry.read();
                (
                    inner.wraps.len() + self.wraps.len(),
                    inner.wraps.contains_key(&rows::wrap_key(w)),
                )
            };
            if useful && !known && here < MAX_WRAPS {
                rows::put_wrap(&mut self.batch, w, wrap.bytes());
                self.wraps.push(wrap);
            }
        }
        Ok(())
    }

    fn take_objects(&mut self, objects: Vec<minicbor::bytes::ByteVec>) -> Result<(), VaultError> {
        for bytes in objects {
            seal::header(&bytes).map_err(|e| VaultError::Peer(e.to_string()))?;
            self.objects.insert(seal::address(&bytes), bytes.into());
        }
        Ok(())
    }

    /// Gives the commits their place, with those whose time has come.
    fn take_commits(&mut self, commits: Vec<SignedCommit>, me: &NodeId) -> Result<(), VaultError> {
        let due = std::mem::take(&mut self.entry.write().arriving.early);
        for commit in due.into_iter().chain(commits) {
            self.take_commit(commit, me)?;
        }
        self.entry.write().release();
        let placed = |id: &CommitId| self.entry.read().commits.contains(id);
        self.missing.commits.retain(|id| !placed(id));
        Ok(())
    }

    fn take_commit(&mut self, commit: SignedCommit, me: &NodeId) -> Result<(), VaultError> {
        let (id, header) = (CommitId::from(commit.id()), commit.payload());
        let mut inner = self.entry.write();
        if inner.commits.contains(&id) {
            return Ok(());
        }
        let unknown = header.parents.iter().filter(|p| !inner.commits.contains(p));
        let unknown: Vec<CommitId> = unknown.copied().collect();
        if inner.pace.holds_any(&unknown) {
            inner.hold(commit);
            return Ok(());
        }
        if !unknown.is_empty() {
            self.missing.commits.extend(unknown);
            return Ok(());
        }
        let foreign = header.author != *me;
        if foreign && inner.pace.is_too_fast(&self.entry.id, &commit) {
            return match vouch(&commit, &self.control, |_| true) {
                Ok(()) => {
                    inner.hold(commit);
                    Ok(())
                }
                Err(e) => {
                    drop(inner);
                    self.not_taken(commit, e)
                }
            };
        }
        if let Err(e) = inner.commits.accept(&commit, &self.control, now_ms()) {
            drop(inner);
            return self.not_taken(commit, e);
        }
        if foreign {
            inner.pace.took(&commit);
        }
        inner.lean.insert(id);
        inner.note_placed(&self.entry.id, &id);
        drop(inner);
        rows::put_commit(&mut self.batch, &self.entry.id, &id, commit.bytes());
        self.placed.push(id);
        Ok(())
    }

    /// Keeps what came inline of a tree that is not whole yet: the rest follows. What belongs to no tree is not kept, or a member could fill the disk.
    fn keep_below(&mut self, root: &Address) {
        let mut open = vec![*root];
        let mut kept = HashSet::new();
        while let Some(address) = open.pop() {
            if let Some(bytes) = self.objects.get(&address).filter(|_| kept.insert(address)) {
                open.extend(seal::header(bytes).map(|h| h.refs).unwrap_or_default());
                rows::put_object(&mut self.batch, &self.entry.id, &address, bytes.clone());
            }
        }
    }

    /// A commit that does not count here. Its sender is to blame only where it must have seen the same, whatever else it knows and whatever its clock says.
    fn not_taken(&mut self, commit: SignedCommit, e: CommitError) -> Result<(), VaultError> {
        let id = CommitId::from(commit.id());
        match e {
            CommitError::MissingOps(ops) => self.missing.ops.extend(ops),
            CommitError::MissingParents(parents) => self.missing.commits.extend(parents),
            CommitError::Future { .. } => {
                tracing::warn!(vault = %self.entry.id.short(), version = %id.short(), "a version dated in the future waits for its time");
                self.entry.write().hold(commit);
            }
            CommitError::NotWriter(_) | CommitError::TooManyHeads(_) | CommitError::Version(_) => {
                tracing::warn!(vault = %self.entry.id.short(), version = %id.short(), error = %e, "a version is not taken");
            }
            CommitError::Order
            | CommitError::OtherVault
            | CommitError::Signature(_)
            | CommitError::Control
            | CommitError::Seq { .. }
            | CommitError::Time => {
                return Err(VaultError::Peer(e.to_string()));
            }
        }
        Ok(())
    }

    /// Writes everything as one batch, then makes it visible.
    async fn finish(
        mut self,
        vaults: &Vaults,
        one_writer: OwnedMutexGuard<()>,
    ) -> Result<Received, VaultError> {
        let id = self.entry.id;
        let (secrets, heads, floor, made) = {
            let inner = self.entry.read();
            let all = || {
                inner
                    .wraps
                    .values()
                    .map(|w| w.payload())
                    .chain(self.wraps.iter().map(Signed::payload))
            };
            let look =
                self.new_ops || !self.wraps.is_empty() || !inner.secrets.complete(&self.control);
            let (shape, found) = if look {
                inner.secrets.found(&self.control, &all(), &vaults.key)
            } else {
                (None, Vec::new())
            };
            let secrets = (shape.is_some() || !found.is_empty()).then(|| {
                for secret in &found {
                    rows::put_secret(&mut self.batch, &id, secret);
                }
                if let Some(shape) = &shape {
                    rows::put_vault(&mut self.batch, &id, inner.name.as_deref(), Some(shape));
                }
                Arc::new(inner.secrets.with(shape, &found))
            });
            let made = if self.new_ops {
                vaults.missing_wraps(
                    &self.control,
                    secrets.as_ref().unwrap_or(&inner.secrets),
                    &all(),
                )?
            } else {
                Vec::new()
            };
            let heads = inner.growing().with(&self.whole).heads();
            let floor = FloorRow {
                control: self.control.heads(),
                heads: heads.clone(),
                seq: inner.own_seq,
            };
            (secrets, heads, floor, made)
        };
        for wrap in &made {
            rows::put_wrap(&mut self.batch, wrap.payload(), wrap.bytes());
        }
        self.wraps.extend(made);
        for placed in self.placed.iter().filter(|id| !self.whole.contains(id)) {
            rows::put_lean(&mut self.batch, &id, placed);
        }
        for whole in self.whole.iter().filter(|id| !self.placed.contains(id)) {
            rows::remove_lean(&mut self.batch, &id, whole);
        }
        let changed = self.new_ops
            || !self.wraps.is_empty()
            || !self.placed.is_empty()
            || !self.whole.is_empty()
            || secrets.is_some();
        let received = if self.waits.is_empty() {
            Received::Done { changed }
        } else {
            Received::NeedObjects(self.waits)
        };
        if !changed {
            vaults.store.commit(self.batch).await?;
            return Ok(received);
        }
        rows::put_floor(&mut self.batch, &id, &floor);
        let (control, wraps, whole) = (self.control, self.wraps, self.whole);
        let first = self.entry.read().heads.is_empty() && !heads.is_empty();
        if first {
            self.entry.past_is_missing.store(true, Ordering::Release);
        }
        let place = move |inner: &mut Inner| {
            inner.control = control;
            inner.heads = heads;
            for id in &whole {
                inner.lean.remove(id);
            }
            inner.wraps.extend(
                wraps
                    .into_iter()
                    .map(|wrap| (rows::wrap_key(wrap.payload()), Arc::new(wrap))),
            );
            if let Some(secrets) = secrets {
                inner.secrets = secrets;
            }
        };
        vaults
            .change(self.entry, one_writer, self.batch, place)
            .await?;
        Ok(received)
    }
}
