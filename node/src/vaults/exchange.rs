//! What a peer is told of a vault, and what is taken from one. No key is needed for either; what this node can open it opens afterwards.
//!
//! Everything that arrives is verified before it is kept. A commit takes its place only when its whole tree is in the store, so what is placed can always be read and passed on.

use super::entry::{Entry, Inner, VaultObjects};
use super::rows::FloorRow;
use super::secrets::Secrets;
use super::{VaultError, Vaults, now_ms, rows};
use crate::store::{Batch, Table};
use polykey_core::commit::{CommitError, SignedCommit, vouch};
use polykey_core::control::{Applied, Control, ControlError, Role, SignedOp};
use polykey_core::epoch::WrapRecord;
use polykey_core::ids::{Address, CommitId, NodeId, OpId, VaultId};
use polykey_core::seal;
use polykey_core::sign::Signed;
use polykey_core::tree::{self, TreeError};
use polykey_core::view;
use polykey_core::wire::{Announce, MAX_INLINE, MAX_OBJECTS, MAX_RECORDS};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Bytes of signed things in one announcement: with [`MAX_INLINE`] of objects they stay under a frame.
const MAX_SIGNED: usize = 512 << 10;
/// Commits that may wait for their objects; the peer tells the others again.
const MAX_WAITING: usize = 1_024;
/// Versions that are pulled at the same time: as many as a peer answers. More of them would not make a long history come faster.
const MAX_AHEAD: usize = 8;
/// Commits of the future that wait for their time: one author's most heads, from eight authors.
const MAX_EARLY: usize = 64;
/// Wraps that are kept of one vault: one each for the most members, from a few owners.
const MAX_WRAPS: usize = 4_096;

/// Heads of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncHeads {
    /// Of the control log, ascending.
    pub control_heads: Vec<OpId>,
    /// Of the commits, ascending.
    pub heads: Vec<CommitId>,
}

/// Objects with their addresses.
type Addressed = Vec<(Address, Vec<u8>)>;
/// Signed operations and commits.
pub type Records = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// What a peer is known to hold of one vault: what it said, and what it was told since.
#[derive(Default)]
pub struct Told {
    control: BTreeSet<OpId>,
    commits: BTreeSet<CommitId>,
    wraps: HashSet<Vec<u8>>,
}

impl Told {
    /// What a peer said that it holds.
    #[must_use]
    pub fn new(heads: &SyncHeads) -> Told {
        let mut told = Told::default();
        told.heard(heads);
        told
    }

    /// It holds just this, and this node knows all of it: the rest is among its ancestors and need not be remembered.
    pub fn settled(&mut self, heads: &SyncHeads) {
        self.control = heads.control_heads.iter().copied().collect();
        self.commits = heads.heads.iter().copied().collect();
    }

    /// It said so again.
    pub fn heard(&mut self, heads: &SyncHeads) {
        self.control.extend(&heads.control_heads);
        self.commits.extend(&heads.heads);
    }
}

/// A version whose objects are to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The commit.
    pub want: CommitId,
    /// Its parents, which are here whole or pulled before it.
    pub have: Vec<CommitId>,
}

/// What came of an announcement.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// All of it is in place. `changed` when anything was new.
    Done {
        /// Something was new.
        changed: bool,
    },
    /// Commits wait for their objects, parents before children: pull each, several at once if it pleases, store what comes, then ask again with an empty announcement.
    NeedObjects(Vec<Pull>),
    /// Parents are missing: ask for them by id.
    NeedRecords {
        /// Operations.
        ops: Vec<OpId>,
        /// Commits.
        commits: Vec<CommitId>,
    },
}

impl Vaults {
    /// Vaults of which `node` is a live member.
    #[must_use]
    pub fn shared_with(&self, node: &NodeId) -> BTreeSet<VaultId> {
        let now = now_ms() / 1_000;
        let all = self.all();
        all.iter()
            .filter(|e| e.read().control.state().role_of(node, now).is_some())
            .map(|e| e.id)
            .collect()
    }

    /// Whether `node` is a live member of a vault that is here.
    #[must_use]
    pub fn is_shared_with(&self, vault: &VaultId, node: &NodeId) -> bool {
        let role = |e: Arc<Entry>| e.read().control.state().role_of(node, now_ms() / 1_000);
        self.entry(vault).ok().and_then(role).is_some()
    }

    /// Objects of trees that are on their way and are asked for next; none when no commit waits for objects. `begun` when some object of the first tree is here already.
    #[must_use]
    pub fn arriving(&self, vault: &VaultId) -> Option<(Vec<Address>, bool)> {
        let entry = self.entry(vault).ok()?;
        let inner = entry.read();
        let root = inner.arriving.commits.front()?.payload().root;
        let wanted: Vec<Address> = inner.arriving.wanted.iter().copied().collect();
        let begun = !inner.arriving.wanted.contains(&root);
        Some((wanted, begun))
    }

    /// What this node holds of a vault; `None` when it has no such vault.
    #[must_use]
    pub fn summary(&self, vault: &VaultId) -> Option<SyncHeads> {
        let entry = self.entry(vault).ok()?;
        let inner = entry.read();
        Some(SyncHeads {
            control_heads: inner.control.heads(),
            heads: inner.heads.clone(),
        })
    }

    /// The next announcement for a peer, empty when it has everything; `told` is what it has, and is brought up to date. Objects are in it when they fit into `inline` bytes;
    /// commits whose objects do not come without any.
    ///
    /// # Errors
    /// When the store fails.
    pub fn announce_for(
        &self,
        vault: &VaultId,
        told: &mut Told,
        inline: usize,
    ) -> Result<Announce, VaultError> {
        let entry = self.entry(vault)?;
        let mut out = Announce::default();
        let mut room = MAX_SIGNED;
        let (control, commits) = {
            let inner = entry.read();
            let known: Vec<OpId> = told.control.iter().copied().collect();
            for op in inner.control.beyond(&known) {
                if out.ops.len() >= MAX_RECORDS || op.bytes().len() > room {
                    return Ok(out);
                }
                room -= op.bytes().len();
                told.control.insert(op.id().into());
                out.ops.push(op.bytes().to_vec().into());
            }
            for (key, wrap) in &inner.wraps {
                let lives = inner.control.state().epochs.contains(&wrap.payload().epoch);
                if lives && !told.wraps.contains(key) {
                    if out.wraps.len() >= MAX_RECORDS || wrap.bytes().len() > room {
                        return Ok(out);
                    }
                    room -= wrap.bytes().len();
                    told.wraps.insert(key.clone());
                    out.wraps.push(wrap.bytes().to_vec().into());
                }
            }
            // What is placed but not durable yet is nobody's business.
            let durable = (inner.heads != inner.commits.heads())
                .then(|| inner.commits.reachable(&inner.heads));
            let known: Vec<CommitId> = told.commits.iter().copied().collect();
            let beyond = inner
                .commits
                .beyond(&known)
                .into_iter()
                .filter(|id| durable.as_ref().is_none_or(|d| d.contains(id)))
                .take(MAX_RECORDS + 1);
            let with_roots: Vec<_> = beyond
                .filter_map(|id| {
                    let header = inner.commits.get(&id)?;
                    let before = header
                        .parents
                        .iter()
                        .filter_map(|p| inner.commits.get(p).map(|h| h.root))
                        .collect::<Vec<_>>();
                    Some((id, header.root, before))
                })
                .collect();
            (inner.control.clone(), with_roots)
        };
        drop(control);
        let objects = self.objects(&entry);
        let mut space = inline.min(MAX_INLINE);
        let mut sent: HashSet<Address> = HashSet::new();
        let mut large = false;
        for (id, root, before) in commits {
            let bytes = self.commit_bytes(vault, &id)?;
            let new: Vec<Address> = tree::difference(&objects, &before, &root)?
                .into_iter()
                .filter(|a| !sent.contains(a))
                .collect();
            let new = self.fitting(vault, &new, space, out.objects.len())?;
            let full = out.commits.len() >= MAX_RECORDS || bytes.len() > room;
            match new {
                Some(new) if !full && !large => {
                    space -= new.iter().map(|(_, o)| o.len()).sum::<usize>();
                    for (address, object) in new {
                        sent.insert(address);
                        out.objects.push(object.into());
                    }
                }
                // Too large: the peer pulls its objects, and those of the ones behind it that are too large as well.
                None if !full && (large || out.commits.is_empty()) => large = true,
                _ => return Ok(out),
            }
            room -= bytes.len();
            told.commits.insert(id);
            out.commits.push(bytes.into());
        }
        Ok(out)
    }

    /// Objects, if they fit into `space` bytes and into an announcement that has `already` some.
    fn fitting(
        &self,
        vault: &VaultId,
        addresses: &[Address],
        space: usize,
        already: usize,
    ) -> Result<Option<Addressed>, VaultError> {
        if already + addresses.len() > MAX_OBJECTS {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(addresses.len());
        let mut total = 0;
        for address in addresses {
            let object = self
                .object(vault, address)?
                .ok_or(TreeError::Missing(*address))?;
            total += object.len();
            if total > space {
                return Ok(None);
            }
            out.push((*address, object));
        }
        Ok(Some(out))
    }

    /// Takes an announcement from `from`. A vault that is not here yet is taken when `admit` says that this sender may bring one and its log makes this node a member.
    ///
    /// # Errors
    /// `NotFound` for a vault that is not here and not taken; `Peer` for bytes that the sender could have known to be wrong.
    pub async fn receive(
        &self,
        from: &NodeId,
        vault: &VaultId,
        announce: Announce,
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
        let mut step = Step::new(&entry);
        step.take_ops(&ops)?;
        step.take_wraps(parse::<WrapRecord>(&announce.wraps)?)?;
        step.take_objects(announce.objects)?;
        let commits = parse(&announce.commits)?;
        self.miss_own(from, &entry, &commits);
        // From here on the entry holds what is not written yet: no way out but through `finish`.
        let result = step.take_commits(commits, self);
        let missing = std::mem::take(&mut step.missing);
        let received = step.finish(self, one_writer).await?;
        result?;
        let (ops, commits) = missing.first(MAX_RECORDS);
        if !ops.is_empty() || !commits.is_empty() {
            return Ok(Received::NeedRecords { ops, commits });
        }
        Ok(received)
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
            let address = seal::address(&bytes);
            let mut below = Vec::new();
            for part in header.refs {
                let key = rows::pair(vault, part.as_bytes());
                if !self.store.has(Table::Object, &key)? {
                    below.push(part);
                }
            }
            arrived.push((address, below, bytes));
        }
        let mut batch = Batch::default();
        let (mut kept, mut size) = (0, 0);
        {
            let wanted = &mut entry.write().arriving.wanted;
            for (address, below, bytes) in arrived {
                if wanted.remove(&address) {
                    wanted.extend(below);
                    size += bytes.len() as u64;
                    kept += 1;
                    rows::put_object(&mut batch, vault, &address, bytes);
                }
            }
        }
        self.quotas.take(vault, size)?;
        self.store.commit(batch).await?;
        Ok(kept)
    }

    /// Addresses of the objects that `want` has beyond those of `have`, parents first; a commit in `have` that is not here counts as empty.
    ///
    /// # Errors
    /// `NoSuch` when `want` is not here.
    pub fn pull(
        &self,
        vault: &VaultId,
        have: &[CommitId],
        want: &CommitId,
    ) -> Result<Vec<Address>, VaultError> {
        let entry = self.entry(vault)?;
        let (roots, root) = {
            let inner = entry.read();
            let root = inner
                .commits
                .get(want)
                .map(|h| h.root)
                .ok_or_else(|| VaultError::NoSuch(want.to_string()))?;
            (
                have.iter()
                    .filter_map(|c| inner.commits.get(c).map(|h| h.root))
                    .collect::<Vec<_>>(),
                root,
            )
        };
        Ok(tree::difference(&self.objects(&entry), &roots, &root)?)
    }

    /// One sealed object, if it is here.
    ///
    /// # Errors
    /// When the store fails.
    pub fn object(
        &self,
        vault: &VaultId,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let row = self
            .store
            .get(Table::Object, &rows::pair(vault, address.as_bytes()))?;
        Ok(row.map(|mut r| std::mem::take(&mut *r)))
    }

    /// Signed operations and commits by id, parents first; what is not here is left out.
    ///
    /// # Errors
    /// When the store fails.
    pub fn records(
        &self,
        vault: &VaultId,
        ops: &[OpId],
        commits: &[CommitId],
    ) -> Result<Records, VaultError> {
        let entry = self.entry(vault)?;
        let inner = entry.read();
        let found = inner
            .control
            .ops()
            .filter(|op| ops.contains(&op.id().into()))
            .map(|op| op.bytes().to_vec())
            .collect();
        let durable = inner.commits.reachable(&inner.heads);
        let known: Vec<CommitId> = inner
            .commits
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| commits.contains(id) && durable.contains(id))
            .collect();
        drop(inner);
        let commits = known
            .iter()
            .map(|id| self.commit_bytes(vault, id))
            .collect::<Result<_, _>>()?;
        Ok((found, commits))
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
    batch: Batch,
    /// Copied when something new comes.
    control: Arc<Control>,
    new_ops: bool,
    wraps: Vec<Signed<WrapRecord>>,
    objects: HashMap<Address, Vec<u8>>,
    placed: Vec<CommitId>,
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

/// What becomes of one commit.
enum Fate {
    /// It has its place, or is not taken for good.
    Settled,
    /// It waits for its objects.
    Waits(BTreeSet<Address>),
    /// It waits for its time.
    Early,
}

impl<'e> Step<'e> {
    fn new(entry: &'e Arc<Entry>) -> Step<'e> {
        let control = entry.read().control.clone();
        Step {
            entry,
            batch: Batch::default(),
            control,
            new_ops: false,
            wraps: Vec::new(),
            objects: HashMap::new(),
            placed: Vec::new(),
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

    /// Places the commits whose trees are whole, with those that waited before, up to the first that waits for objects.
    fn take_commits(
        &mut self,
        commits: Vec<SignedCommit>,
        vaults: &Vaults,
    ) -> Result<(), VaultError> {
        let (mut queue, due) = {
            let arriving = &mut self.entry.write().arriving;
            (
                std::mem::take(&mut arriving.commits),
                std::mem::take(&mut arriving.early),
            )
        };
        for commit in due.into_iter().chain(commits) {
            let known = queue.iter().any(|q| q.id() == commit.id());
            if !known && queue.len() < MAX_WAITING {
                queue.push_back(commit);
            }
        }
        let mut result = Ok(());
        while let Some(commit) = queue.pop_front() {
            match self.take_commit(&commit, vaults) {
                Ok(Fate::Settled) => {}
                Ok(Fate::Early) => {
                    let early = &mut self.entry.write().arriving.early;
                    if early.len() < MAX_EARLY {
                        early.push(commit);
                    }
                }
                Ok(Fate::Waits(absent)) => {
                    queue.push_front(commit);
                    self.look_ahead(&queue, absent, vaults)?;
                    break;
                }
                Err(e) => {
                    result = Err(e);
                    break;
                }
            }
        }
        self.entry.write().arriving.commits = queue;
        let placed = |id: &CommitId| self.entry.read().commits.contains(id);
        self.missing.commits.retain(|id| !placed(id));
        result
    }

    /// Notes which versions are to be pulled: the first of the queue, of which `absent` is not here, and those behind it that build on versions which are here or are pulled
    /// too. Of the others only the root is known, if it is not here.
    fn look_ahead(
        &mut self,
        queue: &VecDeque<SignedCommit>,
        absent: BTreeSet<Address>,
        vaults: &Vaults,
    ) -> Result<(), VaultError> {
        let mut wanted: HashSet<Address> = absent.into_iter().collect();
        let mut coming: HashSet<CommitId> = HashSet::new();
        for (at, commit) in queue.iter().take(MAX_AHEAD).enumerate() {
            let header = commit.payload();
            let placed = |p: &CommitId| self.entry.read().commits.contains(p) || coming.contains(p);
            if !header.parents.iter().all(placed) || vouch(commit, &self.control, |_| true).is_err()
            {
                break;
            }
            let key = rows::pair(&self.entry.id, header.root.as_bytes());
            if at > 0 && !vaults.store.has(Table::Object, &key)? {
                wanted.insert(header.root);
            }
            coming.insert(commit.id().into());
            self.waits.push(Pull {
                want: commit.id().into(),
                have: header.parents.clone(),
            });
        }
        self.entry.write().arriving.wanted = wanted;
        Ok(())
    }

    fn take_commit(&mut self, commit: &SignedCommit, vaults: &Vaults) -> Result<Fate, VaultError> {
        let (id, header) = (CommitId::from(commit.id()), commit.payload());
        let mut inner = self.entry.write();
        if inner.commits.contains(&id) {
            return Ok(Fate::Settled);
        }
        let unknown: Vec<CommitId> = header
            .parents
            .iter()
            .filter(|p| !inner.commits.contains(p))
            .copied()
            .collect();
        if !unknown.is_empty() {
            self.missing.commits.extend(unknown);
            return Ok(Fate::Settled);
        }
        // Nothing is fetched, and nothing looked into, for a commit that nobody vouches for.
        if let Err(e) = vouch(commit, &self.control, |_| true) {
            drop(inner);
            return self.not_taken(&id, e);
        }
        let roots: Vec<Address> = header
            .parents
            .iter()
            .filter_map(|p| inner.commits.get(p).map(|h| h.root))
            .collect();
        let objects = VaultObjects {
            store: &vaults.store,
            vault: &self.entry.id,
            new: Some(&self.objects),
        };
        let whole = match tree::difference(&objects, &roots, &header.root) {
            Ok(whole) => whole,
            Err(TreeError::Missing(_)) => {
                let absent = tree::missing(&objects, &roots, &header.root)?;
                self.keep_below(&header.root);
                return Ok(Fate::Waits(absent.into_iter().collect()));
            }
            Err(e) => return author_at_fault(&self.entry.id, &id, e),
        };
        let parents = inner.readable(&header.parents);
        let looked =
            view::check_writes(&inner.commits, header, &parents, &objects, &*inner.secrets);
        let broken = match looked {
            // Whoever carries a vault without its keys, or does not have the newest yet, cannot look.
            Ok(()) | Err(TreeError::NoKey(_)) => false,
            Err(e @ (TreeError::Store(..) | TreeError::Damaged(_))) => return Err(e.into()),
            Err(e) => {
                tracing::warn!(vault = %self.entry.id.short(), version = %id.short(), author = %header.author.short(), error = %e, "a version's contents are broken by its author: it shows nothing");
                true
            }
        };
        if let Err(e) = inner.commits.accept(commit, &self.control, now_ms()) {
            drop(inner);
            return self.not_taken(&id, e);
        }
        inner.count_own(&vaults.me, &id);
        inner.note_placed(&self.entry.id, &id);
        if broken {
            inner.broken.insert(id);
            rows::put_broken(&mut self.batch, &self.entry.id, &id);
        }
        drop(inner);
        for address in whole {
            if let Some(bytes) = self.objects.get(&address) {
                rows::put_object(&mut self.batch, &self.entry.id, &address, bytes.clone());
            }
        }
        rows::put_commit(&mut self.batch, &self.entry.id, &id, commit.bytes());
        self.placed.push(id);
        Ok(Fate::Settled)
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
    fn not_taken(&mut self, id: &CommitId, e: CommitError) -> Result<Fate, VaultError> {
        match e {
            CommitError::MissingOps(ops) => self.missing.ops.extend(ops),
            CommitError::MissingParents(parents) => self.missing.commits.extend(parents),
            CommitError::Future { .. } => {
                tracing::warn!(vault = %self.entry.id.short(), version = %id.short(), "a version dated in the future waits for its time");
                return Ok(Fate::Early);
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
        Ok(Fate::Settled)
    }

    /// Writes everything as one batch, then makes it visible.
    async fn finish(
        mut self,
        vaults: &Vaults,
        one_writer: OwnedMutexGuard<()>,
    ) -> Result<Received, VaultError> {
        let id = self.entry.id;
        let (secrets, heads, floor, made) = {
            let mut inner = self.entry.write();
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
            if self.new_ops {
                inner.commits.judge(&self.control);
            }
            let heads = inner.commits.heads();
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
        let changed =
            self.new_ops || !self.wraps.is_empty() || !self.placed.is_empty() || secrets.is_some();
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
        let (control, wraps) = (self.control, self.wraps);
        let place = move |inner: &mut Inner| {
            inner.control = control;
            inner.heads = heads;
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

/// A tree that is malformed, or does not open: its author did that, not its sender, who may have no key to look inside. It is not taken, and nobody is dropped for it.
fn author_at_fault(vault: &VaultId, id: &CommitId, e: TreeError) -> Result<Fate, VaultError> {
    match e {
        TreeError::Store(..) | TreeError::Damaged(_) => Err(e.into()),
        e => {
            tracing::warn!(vault = %vault.short(), version = %id.short(), error = %e, "a version with malformed contents is not taken");
            Ok(Fate::Settled)
        }
    }
}
