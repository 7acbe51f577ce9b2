//! The vaults of this node: made, read, written, shared, received from peers and served to workloads.
//!
//! Every change is one batch: objects, signed things, secrets and the floor together. It is durable before it is visible, announced or served. Reading takes no lock longer
//! than it takes to copy a root.
//!
//! | file | is |
//! |---|---|
//! | `entry` | one vault in memory, and how it comes back from the store |
//! | `rows` | what its rows hold |
//! | `secrets` | shape key and epoch secrets, and how they are found in the log |
//! | `contents` | read, list, write |
//! | `versions` | which versions there are, and what each did |
//! | `restore` | what differs between two, and an old one's contents as a new one |
//! | `fresh` | beats: how old an owner's last word is |
//! | `members` | grant, revoke, members |
//! | `envelopes` | new epochs, and who gets their secrets |
//! | `upkeep` | what an owner's node writes by itself |
//! | `recovery` | taking a vault back with its maker's words |
//! | `moving` | giving this device's place in its vaults to another key |
//! | `exchange` | what peers are told, and given |
//! | `intake` | what is taken from them |
//! | `lean` | versions without their trees, and which come next |
//! | `collect` | prunes, and the collection of what no version needs |
//! | `files` | values streamed in and out |
//! | `quota` | how much each peer may bring |
//! | `view` | what the heads show together, kept while they stay |
//! | `serve` | what workloads get |

mod collect;
mod contents;
mod entry;
mod envelopes;
mod exchange;
mod files;
mod fresh;
mod intake;
mod lean;
mod members;
mod moving;
mod pace;
mod quota;
mod recovery;
mod restore;
mod rows;
mod secrets;
mod serve;
mod upkeep;
mod versions;
mod view;

pub use collect::{Collected, Keep, Pruned, SPARED};
pub use contents::{Edited, Got, Listed, Listing};
pub use exchange::{Records, SyncHeads, Told};
pub use files::{Incoming, Opened, ValueReader};
pub use intake::{Offer, Received};
pub use members::{Granted, MemberInfo, MemberList, Revoked, Terms};
pub use moving::Moved;
pub use quota::{PEER_BYTES, Quotas};
pub use recovery::{Recovered, Until};
pub use restore::{Difference, Differs};
pub use serve::{Served, ServedFile};
pub use versions::{Conflict, ConflictValue, VersionInfo};

use crate::standing::{Standing, StandingError};
use crate::store::{Batch, Store, StoreError, Table};
use entry::{Entry, Inner};
use polykey_core::cap;
use polykey_core::commit::CommitError;
use polykey_core::control::{ControlError, Role};
use polykey_core::doubles::Double;
use polykey_core::ids::{CommitId, NodeId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::tree::TreeError;
use polykey_core::wire::SignedStart;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedMutexGuard, broadcast};

/// The most vaults of one node.
pub const MAX_VAULTS: usize = 10_000;
/// The longest petname, in bytes: it stands in listings and on command lines.
const MAX_NAME: usize = 128;
/// Changes that a slow subscriber may be behind before it must look at everything again.
const CHANGES: usize = 1_024;

/// Something of a vault changed, and the disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub vault: VaultId,
}

/// How a vault stands on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// Contents are here and can be read (or carried, by a mirror).
    Ok,
    /// Granted, but the contents or their key are not here yet.
    Pending,
    /// Several versions stand side by side.
    Diverged,
    /// Two processes have written with one identity.
    Cloned,
    /// The newest version's contents are wrong, by its author's doing: what it builds on is shown.
    Broken,
    /// Somebody used what this version of the program does not know: read-only.
    NeedsUpgrade,
}

impl VaultState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            VaultState::Ok => "ok",
            VaultState::Pending => "pending",
            VaultState::Diverged => "diverged",
            VaultState::Cloned => "cloned",
            VaultState::Broken => "broken",
            VaultState::NeedsUpgrade => "needs-upgrade",
        }
    }
}

/// A vault in a listing.
#[derive(Clone, Debug)]
pub struct VaultSummary {
    /// Its id.
    pub id: VaultId,
    /// Its petname on this node.
    pub name: Option<String>,
    /// What this node may do; `None` once it was removed.
    pub role: Option<Role>,
    /// The version that is shown: the head's, or that of all heads together.
    pub version: Option<CommitId>,
    /// Who committed it; of several heads the newest's.
    pub author: Option<NodeId>,
    /// When, unix milliseconds; of several heads the newest's.
    pub committed_ms: Option<u64>,
    /// Live owners.
    pub owners: Vec<NodeId>,
    /// Live members.
    pub members: u32,
    /// How it stands.
    pub state: VaultState,
    /// Pairs of versions with one number by one author.
    pub doubles: Vec<Double>,
    /// Authors who write faster than is taken: the rest waits.
    pub held_back: Vec<NodeId>,
    /// When an owner last gave its word, by a beat or a commit, unix milliseconds; `None` where this node is an owner itself.
    pub fresh_ms: Option<u64>,
}

/// Why something of a vault could not be done.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No such vault, or none for the asker: one answer for both.
    #[error("no such vault, or it is not shared with you")]
    NotFound,
    /// No such path or version in it.
    #[error("{0} is not there")]
    NoSuch(String),
    /// The version is there, its contents are not: an owner let go of them.
    #[error("the contents of version {} were pruned by an owner, and are gone", .0.short())]
    Pruned(CommitId),
    /// A version prefix that several versions have.
    #[error("{0} is the beginning of several versions")]
    Ambiguous(String),
    /// The name cannot be one.
    #[error("a vault cannot be called that: {0}")]
    Name(&'static str),
    /// The name is another vault's.
    #[error("there is a vault of that name already")]
    NameTaken,
    /// What a peer introduced has reached its limit here.
    #[error("the vaults that {} brought have reached their limit of bytes on this node", .0.short())]
    Quota(NodeId),
    /// More than [`MAX_VAULTS`].
    #[error("a node has at most {MAX_VAULTS} vaults")]
    TooMany,
    /// This node is not an owner, a writer, or a reader.
    #[error("this device is {found} of the vault; that takes {needed}")]
    Role {
        /// What it is.
        found: &'static str,
        /// What it would have to be.
        needed: &'static str,
    },
    /// Another process with this node's identity goes on writing.
    #[error(
        "a copy of this node runs elsewhere with a later start ({boot}) of its store; this one writes nothing until it is the only one"
    )]
    Yielded {
        /// The boot of the other.
        boot: u64,
    },
    /// The vault moved on since the version that the writer saw.
    #[error("the vault is at another version than {expected}")]
    Moved {
        /// What the writer saw.
        expected: CommitId,
        /// What it is.
        found: Option<CommitId>,
    },
    /// Granted, but not here yet.
    #[error("the vault's contents have not arrived yet")]
    Pending,
    /// Somebody used what this version does not know.
    #[error("the vault uses something that this version does not know")]
    NeedsUpgrade,
    /// A grant that an existing wider one makes meaningless.
    #[error("that node has wider access already")]
    Wider,
    /// Words that are another vault's.
    #[error("these are not the words of who made this vault")]
    Words,
    /// A recovery on the node that has the key which is to lose the vault: see [`Vaults::recover_as`].
    #[error("this device has the very key that made the vault, and whoever took it has it too")]
    SameKey,
    /// This device's place was given to another key, and it is about to start again with that.
    #[error("this device has another key from now on, {}, and is about to start again", .0.short())]
    KeyChanged(NodeId),
    /// One vault keeps this device from getting another key.
    #[error("vault {} does not let this device have another key", .vault.short())]
    Held {
        /// Which.
        vault: VaultId,
        /// Why.
        #[source]
        why: Box<VaultError>,
    },
    /// Bytes that the peer who sent them could have known to be wrong.
    #[error("the peer sent what it must have known to be wrong: {0}")]
    Peer(String),
    /// A control operation.
    #[error("cannot change who is a member")]
    Control(#[from] ControlError),
    /// A commit.
    #[error("cannot commit")]
    Commit(#[from] CommitError),
    /// A tree.
    #[error("cannot read or write the contents")]
    Tree(#[from] TreeError),
    /// A secret.
    #[error("cannot make the vault's keys")]
    Epoch(#[from] polykey_core::epoch::EpochError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store remembers of other processes with this identity.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// A row that is whole but holds something else than it should.
    #[error("the store holds something that this version cannot read: {0}")]
    Row(&'static str),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// The vaults of a node.
pub struct Vaults {
    store: Arc<Store>,
    key: RootKey,
    me: NodeId,
    recovery: Option<NodeId>,
    entries: Arc<RwLock<BTreeMap<VaultId, Arc<Entry>>>>,
    changed: broadcast::Sender<Changed>,
    beaten: broadcast::Sender<VaultId>,
    standing: Arc<Standing>,
    lacking: envelopes::Lacking,
    quotas: Quotas,
    /// Versions of one author in one vault that are taken from peers a second.
    author_rate: AtomicU64,
    /// Held by whoever brings a new vault in, and by whoever gives this node's place away in all that there are.
    entering: Arc<tokio::sync::RwLock<()>>,
    /// The key that has this node's place.
    successor: Arc<OnceLock<NodeId>>,
}

impl Vaults {
    /// Loads every vault from the store. `recovery` is the public half of this node's recovery key: vaults that it makes can be taken back with the words.
    ///
    /// # Errors
    /// When the store fails or a row is damaged: then nothing is served rather than something wrong.
    pub fn open(
        store: Arc<Store>,
        key: RootKey,
        recovery: Option<[u8; 32]>,
    ) -> Result<Arc<Vaults>, VaultError> {
        let me = key.node_id();
        let mut entries = BTreeMap::new();
        for row in store.scan(Table::Vault, b"") {
            let (id, row) = row?;
            let id =
                VaultId::try_from(id.as_slice()).map_err(|_| VaultError::Row("a vault's key"))?;
            entries.insert(id, Arc::new(Entry::load(&store, &me, id, &row)?));
        }
        let changed = broadcast::channel(CHANGES).0;
        let standing = Arc::new(Standing::open(store.clone(), me)?);
        let quotas = Quotas::open(&store)?;
        Ok(Arc::new(Vaults {
            standing,
            quotas,
            author_rate: AtomicU64::new(cap::PER_SECOND),
            beaten: broadcast::channel(CHANGES).0,
            store,
            key,
            me,
            recovery: recovery.map(NodeId::from),
            entries: Arc::new(RwLock::new(entries)),
            changed,
            lacking: envelopes::Lacking::default(),
            entering: Arc::default(),
            successor: Arc::default(),
        }))
    }

    /// Takes that many versions of one author in one vault from peers a second, instead of [`cap::PER_SECOND`].
    pub fn take_of_authors(&self, per_second: u64) {
        self.author_rate.store(per_second, Ordering::Relaxed);
        for entry in self.all() {
            entry.write().pace.take(per_second);
        }
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Whether this node is the only one of its identity, and knows its own past.
    #[must_use]
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// How much each peer has brought, and may bring.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// This process's start on the store, signed.
    #[must_use]
    pub fn sign_start(&self, instance: [u8; 16], boot: u64) -> SignedStart {
        SignedStart::of(&self.key, instance, boot)
    }

    /// Told of every change, once the disk has it. Lagging means: look at everything again.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.changed.subscribe()
    }

    /// All vaults, by name, then id.
    #[must_use]
    pub fn list(&self) -> Vec<VaultSummary> {
        let mut all: Vec<VaultSummary> = self.all().iter().map(|e| self.summarise(e)).collect();
        all.sort_by(|a, b| {
            (a.name.is_none(), &a.name, a.id).cmp(&(b.name.is_none(), &b.name, b.id))
        });
        all
    }

    /// One vault.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn summary_of(&self, vault: &VaultId) -> Result<VaultSummary, VaultError> {
        Ok(self.summarise(&*self.entry(vault)?))
    }

    /// Finds a vault by its petname, its id, or a unique beginning of its id of at least six characters.
    ///
    /// # Errors
    /// `NotFound`, or `Ambiguous`.
    pub fn resolve(&self, text: &str) -> Result<VaultId, VaultError> {
        let all = self.all();
        if let Some(named) = all.iter().find(|e| e.read().name.as_deref() == Some(text)) {
            return Ok(named.id);
        }
        if let Ok(id) = text.parse::<VaultId>() {
            return self.entry(&id).map(|e| e.id);
        }
        let long_enough = text.len() >= 6 && text.starts_with('z');
        let mut found = all
            .iter()
            .filter(|e| long_enough && e.id.to_string().starts_with(text));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one.id),
            (Some(_), Some(_)) => Err(VaultError::Ambiguous(text.to_owned())),
            (None, _) => Err(VaultError::NotFound),
        }
    }

    /// Gives a vault another petname on this node.
    ///
    /// # Errors
    /// When the name cannot be one or is taken.
    pub async fn rename(&self, vault: &VaultId, name: &str) -> Result<(), VaultError> {
        let entry = self.entry(vault)?;
        let one_writer = entry.writing.clone().lock_owned().await;
        self.check_name(name, Some(vault))?;
        let mut batch = Batch::default();
        rows::put_vault(&mut batch, vault, Some(name), entry.read().secrets.shape());
        let name = name.to_owned();
        self.change(&entry, one_writer, batch, |inner| inner.name = Some(name))
            .await
            .map(drop)
    }

    fn check_name(&self, name: &str, except: Option<&VaultId>) -> Result<(), VaultError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(VaultError::Name("a name has 1 to 128 bytes"));
        }
        if name.contains(['/', ':']) || name.chars().any(char::is_control) || name.trim() != name {
            return Err(VaultError::Name(
                "no slash, colon or control character, and no space at its ends",
            ));
        }
        if name.parse::<VaultId>().is_ok() {
            return Err(VaultError::Name("that is a vault's id"));
        }
        let taken = self
            .all()
            .iter()
            .any(|e| Some(&e.id) != except && e.read().name.as_deref() == Some(name));
        if taken {
            Err(VaultError::NameTaken)
        } else {
            Ok(())
        }
    }

    fn summarise(&self, entry: &Entry) -> VaultSummary {
        let inner = entry.read();
        let state = inner.control.state();
        let shown = inner.shown();
        let header = inner.newest_head().and_then(|id| inner.commits.get(&id));
        let role = state.role_of(&self.me, now_ms() / 1_000);
        let readable =
            role.is_none_or(|r| r < Role::Reader) || inner.secrets.complete(&inner.control);
        let doubles = inner
            .doubles
            .open(&inner.commits, |node| state.members.contains_key(node));
        let stands = if inner.control.needs_upgrade().is_some() {
            VaultState::NeedsUpgrade
        } else if inner.heads.iter().any(|h| inner.broken.contains(h)) {
            VaultState::Broken
        } else if !doubles.is_empty() {
            VaultState::Cloned
        } else if inner.heads.len() > 1 {
            VaultState::Diverged
        } else if !readable || (shown.is_none() && inner.awaits_contents()) {
            VaultState::Pending
        } else {
            VaultState::Ok
        };
        VaultSummary {
            id: entry.id,
            name: inner.name.clone(),
            role,
            version: shown,
            author: header.map(|h| h.author),
            committed_ms: header.map(|h| h.time_ms),
            owners: state.owners(),
            members: u32::try_from(state.members.len()).unwrap_or(u32::MAX),
            state: stands,
            doubles,
            held_back: inner.pace.held_back(),
            fresh_ms: inner.fresh_at().filter(|_| role != Some(Role::Owner)),
        }
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    fn entry(&self, vault: &VaultId) -> Result<Arc<Entry>, VaultError> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(vault).cloned().ok_or(VaultError::NotFound)
    }

    /// Writes a batch and makes it visible, to the end even when whoever asked has gone: the disk and the memory must not part. Gives the lock back.
    async fn change(
        &self,
        entry: &Arc<Entry>,
        one_writer: OwnedMutexGuard<()>,
        batch: Batch,
        apply: impl FnOnce(&mut Inner) + Send + 'static,
    ) -> Result<OwnedMutexGuard<()>, VaultError> {
        let (store, entry, changed) = (self.store.clone(), entry.clone(), self.changed.clone());
        to_the_end(async move {
            store.commit(batch).await?;
            apply(&mut entry.write());
            changed.send(Changed { vault: entry.id }).ok();
            Ok(one_writer)
        })
        .await
    }

    /// Writes a vault that is new here, and makes it visible.
    async fn add(&self, entry: Entry, batch: Batch) -> Result<Arc<Entry>, VaultError> {
        let entering = self.entering.clone().read_owned().await;
        self.keeps_key()?;
        if self.all().len() >= MAX_VAULTS {
            return Err(VaultError::TooMany);
        }
        let (store, entries, changed) = (
            self.store.clone(),
            self.entries.clone(),
            self.changed.clone(),
        );
        let rate = self.author_rate.load(Ordering::Relaxed);
        entry.write().pace.take(rate);
        to_the_end(async move {
            store.commit(batch).await?;
            let id = entry.id;
            let entry = entries
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(id)
                .or_insert_with(|| Arc::new(entry))
                .clone();
            changed.send(Changed { vault: id }).ok();
            drop(entering);
            Ok(entry)
        })
        .await
    }

    /// Nothing is signed by a node whose double goes on, nor by a key that has been replaced.
    fn may_write(&self) -> Result<(), VaultError> {
        self.keeps_key()?;
        match self.standing.yielded() {
            None => Ok(()),
            Some(other) => Err(VaultError::Yielded { boot: other.boot }),
        }
    }

    fn keeps_key(&self) -> Result<(), VaultError> {
        match self.successor.get() {
            None => Ok(()),
            Some(new) => Err(VaultError::KeyChanged(*new)),
        }
    }

    /// This node's role, or an error that says what would be needed.
    fn need_role(&self, entry: &Entry, needed: Role) -> Result<(), VaultError> {
        if needed >= Role::Writer {
            self.may_write()?;
        }
        let found = entry
            .read()
            .control
            .state()
            .role_of(&self.me, now_ms() / 1_000);
        if found >= Some(needed) {
            return Ok(());
        }
        let word = |role: Option<Role>| match role {
            Some(Role::Mirror) => "a mirror",
            Some(Role::Reader) => "a reader",
            Some(Role::Writer) => "a writer",
            Some(Role::Owner) => "an owner",
            None => "no member",
        };
        Err(VaultError::Role {
            found: word(found),
            needed: word(Some(needed)),
        })
    }

    /// The nodes that are members of any vault.
    #[must_use]
    pub fn members_of_all(&self) -> BTreeSet<NodeId> {
        self.all()
            .iter()
            .flat_map(|e| {
                e.read()
                    .control
                    .state()
                    .members
                    .keys()
                    .copied()
                    .collect::<Vec<_>>()
            })
            .filter(|n| *n != self.me)
            .collect()
    }
}

/// Runs to its end, whether or not somebody still waits for it.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, VaultError>> + Send + 'static,
) -> Result<T, VaultError> {
    tokio::spawn(work)
        .await
        .unwrap_or(Err(VaultError::Store(StoreError::Stopped)))
}

/// Unix milliseconds by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Fresh random bytes.
fn random<const N: usize>() -> Result<zeroize::Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).map_err(|_| VaultError::Randomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
