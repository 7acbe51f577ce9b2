//! One vault in memory, and how it comes back from the store.

use super::collect::SPARED;
use super::pace::Pace;
use super::rows::{self, FloorRow};
use super::secrets::Secrets;
use super::{VaultError, rows::pair};
use crate::store::{Store, StoreError, Table};
use polykey_core::beat::Beats;
use polykey_core::commit::{Commits, SignedCommit};
use polykey_core::control::{Control, SignedOp};
use polykey_core::doubles::Doubles;
use polykey_core::epoch::{ShapeKey, WrapRecord};
use polykey_core::ids::{Address, CommitId, NodeId, VaultId};
use polykey_core::seal::Head;
use polykey_core::sign::Signed;
use polykey_core::tree::Objects;
use polykey_core::view::{self, View};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// One vault.
pub struct Entry {
    pub id: VaultId,
    /// Held by whoever changes the vault, from the reading of its state until the disk has the new one.
    pub writing: Arc<tokio::sync::Mutex<()>>,
    inner: RwLock<Inner>,
    /// Versions behind what is shown may be without their trees.
    pub past_is_missing: AtomicBool,
    /// Held by the one peer of whom the past is fetched.
    pub filling: Arc<tokio::sync::Mutex<()>>,
    born: Mutex<Born>,
}

/// Objects that were written since the process has the vault, and when. What was there before belongs to something that is in place or on its way, or to nothing any more.
struct Born {
    at: HashMap<Address, Instant>,
    /// Since when some are not in it.
    full: Option<Instant>,
}

/// The most objects whose birth is kept in mind. While there are more, what is not among them counts as just born.
const MAX_BORN: usize = 1 << 16;

/// Its state. What is in `control` and `heads` is durable.
pub struct Inner {
    pub name: Option<String>,
    pub control: Arc<Control>,
    /// Every commit that is known. Some may not be durable yet, and those in `lean` are without their trees.
    pub commits: Commits,
    /// What is shown: the commits with their whole trees on which no other such one builds. All of it is durable.
    pub heads: Vec<CommitId>,
    /// This node's own highest commit number.
    pub own_seq: u64,
    pub secrets: Arc<Secrets>,
    pub wraps: BTreeMap<Vec<u8>, Arc<Signed<WrapRecord>>>,
    pub arriving: Arriving,
    /// Commits with one number by one author.
    pub doubles: Doubles,
    /// Commits whose contents their authors made wrong: they count as commits, and show nothing.
    pub broken: BTreeSet<CommitId>,
    /// Commits whose trees are not here: on their way, or let go of.
    pub lean: HashSet<CommitId>,
    /// Commits of whose trees an owner let go, here or not.
    pub prunable: HashSet<CommitId>,
    /// Commits whose changes were not looked at, since what they build on came later.
    pub unseen: BTreeSet<CommitId>,
    /// When what nothing needs was last collected, unix milliseconds.
    pub collected_ms: Option<u64>,
    /// What the heads show together, with the heads for which it was made.
    pub view: Mutex<Option<KeptView>>,
    /// The date of each author's newest commit.
    pub committed: BTreeMap<NodeId, u64>,
    /// The newest beat of each author.
    pub beats: Beats,
    /// How fast commits come.
    pub pace: Pace,
}

/// A view and the heads that it is of.
pub type KeptView = (Vec<CommitId>, Arc<View>);

/// What is being fetched. In memory only: it is found again.
#[derive(Default)]
pub struct Arriving {
    /// From each peer that shows versions which are not here.
    pub from: BTreeMap<NodeId, Coming>,
    /// Versions of the past that are being fetched.
    pub filling: Vec<CommitId>,
    /// Objects of those that are not here yet, as far as is known.
    pub wanted_past: HashSet<Address>,
    /// Dated in the future, or too many at once: they take their place when their time has come.
    pub early: Vec<SignedCommit>,
}

/// What comes from one peer.
pub struct Coming {
    /// Root of the first version that is being fetched.
    pub first: Address,
    /// Objects of it that are not here yet, as far as is known, and of those behind it.
    pub wanted: HashSet<Address>,
}

impl Arriving {
    /// Takes note that an object came, which names `below` that are not here. False when nobody asked for it.
    pub fn came(&mut self, address: &Address, below: &[Address]) -> bool {
        let asked = self.from.values_mut().map(|coming| &mut coming.wanted);
        let mut wanted = false;
        for asked in asked.chain([&mut self.wanted_past]) {
            if asked.remove(address) {
                asked.extend(below);
                wanted = true;
            }
        }
        wanted
    }
}

impl Inner {
    /// The version that is shown: the head's, or that of all heads together.
    pub fn shown(&self) -> Option<CommitId> {
        view::version(&self.heads)
    }

    /// The newest of the heads.
    pub fn newest_head(&self) -> Option<CommitId> {
        self.heads
            .iter()
            .copied()
            .max_by_key(|id| (self.commits.get(id).map(|h| h.time_ms), *id))
    }

    /// Something was committed elsewhere that is not here yet.
    pub fn awaits_contents(&self) -> bool {
        let heads = self.commits.heads();
        heads.iter().any(|head| self.lean.contains(head))
    }

    pub fn floor(&self) -> FloorRow {
        FloorRow {
            control: self.control.heads(),
            heads: self.heads.clone(),
            seq: self.own_seq,
        }
    }

    /// Takes note of a commit that was placed: of its date, and whether it has the number of another by the same author.
    pub fn note_placed(&mut self, vault: &VaultId, commit: &CommitId) {
        let Inner {
            doubles, commits, ..
        } = self;
        if let Some(header) = commits.get(commit).filter(|h| h.valid) {
            let newest = self.committed.entry(header.author).or_default();
            *newest = header.time_ms.max(*newest);
        }
        if doubles.note(commits, commit) {
            let author = commits.get(commit).map(|h| h.author.short());
            tracing::error!(vault = %vault.short(), version = %commit.short(), author = author.unwrap_or_default(), "two processes have written with one identity; both versions are kept");
        }
    }

    /// Takes note of a commit that may be this node's own.
    pub fn count_own(&mut self, me: &NodeId, commit: &CommitId) {
        if let Some(header) = self.commits.get(commit).filter(|h| h.author == *me) {
            self.own_seq = self.own_seq.max(header.seq);
        }
    }
}

impl Entry {
    pub fn new(id: VaultId, name: Option<String>, control: Control, secrets: Secrets) -> Entry {
        let inner = Inner {
            name,
            control: Arc::new(control),
            commits: Commits::new(),
            heads: Vec::new(),
            own_seq: 0,
            secrets: Arc::new(secrets),
            wraps: BTreeMap::new(),
            arriving: Arriving::default(),
            doubles: Doubles::default(),
            broken: BTreeSet::new(),
            lean: HashSet::new(),
            prunable: HashSet::new(),
            unseen: BTreeSet::new(),
            collected_ms: None,
            view: Mutex::default(),
            committed: BTreeMap::new(),
            beats: Beats::default(),
            pace: Pace::default(),
        };
        Entry {
            id,
            writing: Arc::default(),
            inner: RwLock::new(inner),
            past_is_missing: AtomicBool::new(false),
            filling: Arc::default(),
            born: Mutex::new(Born {
                at: HashMap::new(),
                full: None,
            }),
        }
    }

    /// Notes that an object was written now.
    pub fn born(&self, address: Address) {
        let mut born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        if born.at.len() >= MAX_BORN {
            born.at.retain(|_, at| at.elapsed() < SPARED);
        }
        if born.at.len() < MAX_BORN {
            born.at.insert(address, Instant::now());
        } else {
            born.full = Some(Instant::now());
        }
    }

    /// Whether an object has been here for at least `age`, or longer than this process.
    pub fn is_older(&self, address: &Address, age: Duration) -> bool {
        let born = self.born.lock().unwrap_or_else(PoisonError::into_inner);
        let at = born.at.get(address).or(born.full.as_ref());
        at.is_none_or(|at| at.elapsed() >= age)
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a vault back. Everything is verified again: the store is trusted to keep bytes, not to vouch for them.
    pub fn load(store: &Store, me: &NodeId, id: VaultId, row: &[u8]) -> Result<Entry, VaultError> {
        let row = rows::read_vault(row)?;
        let control = load_control(store, id)?;
        let mut secrets = Vec::new();
        for row in store.scan(Table::Epoch, id.as_bytes()) {
            let (key, value) = row?;
            secrets.push(rows::read_secret(&value, &key)?);
        }
        let shape = row.shape.map(|s| ShapeKey::new(Zeroizing::new(s.into())));
        let entry = Entry::new(id, row.name, control, Secrets::new(shape, secrets));
        {
            let mut inner = entry.write();
            for row in store.scan(Table::Wrap, id.as_bytes()) {
                let (key, value) = row?;
                let wrap =
                    Signed::<WrapRecord>::parse(&value).map_err(|_| VaultError::Row("a wrap"))?;
                inner.wraps.insert(key, Arc::new(wrap));
            }
            let control = inner.control.clone();
            inner.commits = load_commits(store, id, &control)?;
            inner.doubles = Doubles::of(&inner.commits);
            for row in store.scan(Table::Broken, id.as_bytes()) {
                inner.broken.insert(rows::read_marked(&row?.0)?);
            }
            for row in store.scan(Table::Lean, id.as_bytes()) {
                inner.lean.insert(rows::read_marked(&row?.0)?);
            }
            inner.find_prunable(&control);
            inner.heads = inner.whole_heads();
            if !inner.lean.is_empty() {
                inner.find_unseen();
                entry.past_is_missing.store(true, Ordering::Release);
            }
            inner.committed = newest_of_each(&inner.commits);
            inner.own_seq = inner
                .commits
                .iter()
                .filter(|(_, h)| h.author == *me)
                .map(|(_, h)| h.seq)
                .max()
                .unwrap_or(0);
            check_floor(store, &id, &inner)?;
        }
        Ok(entry)
    }
}

fn newest_of_each(commits: &Commits) -> BTreeMap<NodeId, u64> {
    let mut newest = BTreeMap::new();
    for (_, header) in commits.iter().filter(|(_, h)| h.valid) {
        let time = newest.entry(header.author).or_default();
        *time = header.time_ms.max(*time);
    }
    newest
}

fn load_control(store: &Store, id: VaultId) -> Result<Control, VaultError> {
    let mut ops = Vec::new();
    for row in store.scan(Table::Op, id.as_bytes()) {
        ops.push(SignedOp::parse(&row?.1).map_err(|_| VaultError::Row("an operation"))?);
    }
    if ops.is_empty() {
        return Err(VaultError::Row("a control log"));
    }
    let control = Control::restore(&ops)?;
    if control.vault() == id {
        Ok(control)
    } else {
        Err(VaultError::Row("a control log"))
    }
}

fn load_commits(store: &Store, id: VaultId, control: &Control) -> Result<Commits, VaultError> {
    let mut signed = Vec::new();
    for row in store.scan(Table::Commit, id.as_bytes()) {
        signed.push(SignedCommit::parse(&row?.1).map_err(|_| VaultError::Row("a commit"))?);
    }
    // A commit is dated after all that it builds on, so this order has parents first.
    signed.sort_by_key(|c| (c.payload().time_ms, c.id()));
    let mut commits = Commits::new();
    for commit in &signed {
        commits.restore(commit, control)?;
    }
    commits.judge(control);
    Ok(commits)
}

/// The floor was written with what it describes, so a store that holds less was put together from others.
fn check_floor(store: &Store, id: &VaultId, inner: &Inner) -> Result<(), VaultError> {
    let Some(row) = store.get(Table::Floor, id.as_bytes())? else {
        return Ok(());
    };
    let floor = rows::read_floor(&row)?;
    let whole = inner.control.covers(&floor.control)
        && floor.heads.iter().all(|h| inner.commits.contains(h));
    if whole {
        Ok(())
    } else {
        Err(VaultError::Row("less of a vault than its floor says"))
    }
}

/// The objects of one vault in the store, with some that are about to be written.
pub struct VaultObjects<'a> {
    pub store: &'a Store,
    pub vault: &'a VaultId,
    pub new: Option<&'a HashMap<Address, Vec<u8>>>,
}

impl Objects for VaultObjects<'_> {
    fn object(
        &self,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(bytes) = self.new.and_then(|n| n.get(address)) {
            return Ok(Some(bytes.clone()));
        }
        Ok(stored_object(self.store, self.vault, address)?)
    }

    fn head(
        &self,
        address: &Address,
    ) -> Result<Option<Head>, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(bytes) = self.new.and_then(|n| n.get(address)) {
            return Ok(Some(Head::of(bytes)));
        }
        Ok(self.store.head(&pair(self.vault, address.as_bytes()))?)
    }

    /// The store compares what it reads; what is new was addressed when it came.
    fn proven(&self) -> bool {
        true
    }
}

/// One sealed object of a vault.
pub fn stored_object(
    store: &Store,
    vault: &VaultId,
    address: &Address,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row = store.get(Table::Object, &pair(vault, address.as_bytes()))?;
    Ok(row.map(|mut row| std::mem::take(&mut *row)))
}
