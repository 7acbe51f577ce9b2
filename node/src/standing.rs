//! Whether this store is the only one with its identity, and whether it knows all of its own past: what peers tell it of both, and what it may write
//! meanwhile. Never decides what a peer may have.
//!
//! | state | comes from | means |
//! |---|---|---|
//! | restored | a peer has seen a later start of this store, or sends commits of this node that are not here | the own past is pulled first, for at most [`BUDGET`]; then writing goes on, which sealing and random tags keep safe |
//! | doubled | a peer is connected to another process with this identity, whose boot is lower | this one goes on; a person is told |
//! | yielded | the same, and its boot is higher | nothing is written here any more, after a restart neither, until a person says that this is the only one |

use crate::store::{Batch, Store, StoreError, Table};
use crate::vaults::now_ms;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use polykey_core::enc;
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::wire::{self, Double, Seen, SignedStart};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a write waits for this node's own past.
pub const BUDGET: Duration = Duration::from_secs(10);
/// Version of the row.
const ROW_VERSION: u8 = 1;
/// Its key in [`Table::Meta`].
const ROW: &[u8] = b"double";

/// Why what is remembered cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StandingError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that this program did not write.
    #[error("the row about another process with this identity is damaged")]
    Row,
}

/// Another process with this identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its boot.
    pub boot: u64,
    /// The peer that is, or was, connected to it.
    pub told_by: NodeId,
    /// When this node learned of it, unix milliseconds.
    pub at_ms: u64,
}

/// How this node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Nothing may be written here: the other one goes on.
    pub yielded: Option<Other>,
    /// There is another one; this one goes on.
    pub doubled: Option<Other>,
    /// The store was older than what that peer had seen of it, when this process began. Unix milliseconds.
    pub restored: Option<(NodeId, u64)>,
}

/// Lets go of what is remembered of another process: this device has another key, which that one does not have.
pub(crate) fn forget_other(batch: &mut Batch) {
    batch.remove(Table::Meta, ROW);
}

/// The row that keeps a store from writing.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Row {
    #[n(0)]
    version: u8,
    /// The signed start of the other process.
    #[n(1)]
    start: ByteVec,
    #[n(2)]
    told_by: NodeId,
    #[n(3)]
    at_ms: u64,
}

/// What is known of it.
pub struct Standing {
    me: NodeId,
    store: Arc<Store>,
    state: Mutex<State>,
    /// Changes when a write may go on.
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    report: Report,
    /// Peers from which a vault's past is awaited.
    awaited: BTreeMap<VaultId, BTreeSet<NodeId>>,
    /// Until when: one budget for a process, so that nobody can keep it from writing.
    until: Option<Instant>,
}

impl Standing {
    /// What the store remembers.
    ///
    /// # Errors
    /// When the row cannot be read.
    pub fn open(store: Arc<Store>, me: NodeId) -> Result<Standing, StandingError> {
        let mut state = State::default();
        if let Some(row) = store.get(Table::Meta, ROW)? {
            let row: Row = enc::decode(&row).map_err(|_| StandingError::Row)?;
            let start = SignedStart::read(&row.start, &me).map_err(|_| StandingError::Row)?;
            if row.version != ROW_VERSION {
                return Err(StandingError::Row);
            }
            state.report.yielded = Some(Other {
                boot: start.payload().boot,
                told_by: row.told_by,
                at_ms: row.at_ms,
            });
        }
        Ok(Standing {
            me,
            store,
            state: Mutex::new(state),
            moved: watch::Sender::new(0),
        })
    }

    /// How this node stands.
    #[must_use]
    pub fn report(&self) -> Report {
        self.state().report.clone()
    }

    /// The other process that goes on instead of this one, if there is one.
    #[must_use]
    pub fn yielded(&self) -> Option<Other> {
        self.state().report.yielded
    }

    /// A person says that this is the only process with this identity from now on. Its next start counts on from the other's.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn alone(&self) -> Result<(), StoreError> {
        let Some(other) = self.yielded() else {
            return Ok(());
        };
        let mut batch = Batch::default();
        batch.remove(Table::Meta, ROW);
        self.store.raise_boot(&mut batch, other.boot);
        self.store.commit(batch).await?;
        self.state().report.yielded = None;
        Ok(())
    }

    /// `told_by` shows the start of another process with this identity; `older` is its word on whose connection is the older one. Gives what follows
    /// from it, once it is on the disk; `None` when it proves nothing.
    ///
    /// # Errors
    /// When the store fails; this process writes nothing more then too.
    pub async fn shown_double(
        &self,
        mine: &SignedStart,
        start: &[u8],
        older: bool,
        told_by: NodeId,
    ) -> Result<Option<Double>, StoreError> {
        let Ok(other) = SignedStart::read(start, &self.me) else {
            return Ok(None);
        };
        let Some(double) = wire::double(mine.payload(), other.payload(), older) else {
            return Ok(None);
        };
        let at_ms = now_ms();
        let known = Other {
            boot: other.payload().boot,
            told_by,
            at_ms,
        };
        let new = match double {
            Double::Stays => self.state().report.doubled.replace(known).is_none(),
            Double::Yields => self.state().report.yielded.replace(known).is_none(),
        };
        if !new {
            return Ok(Some(double));
        }
        tracing::error!(peer = %told_by.short(), boot = mine.payload().boot, other = known.boot, yields = double == Double::Yields, "another process has the identity of this node: a copy of its store runs elsewhere");
        if double == Double::Yields {
            let row = Row {
                version: ROW_VERSION,
                start: start.to_vec().into(),
                told_by,
                at_ms,
            };
            let mut batch = Batch::default();
            batch.put(Table::Meta, ROW, enc::encode(&row));
            self.store.commit(batch).await?;
        }
        Ok(Some(double))
    }

    /// A peer remembers `seen` of this store. If that is gone from it, the vaults that are shared with the peer are brought up to date before anything
    /// is written to them, and the next start is counted on from there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remembered(
        &self,
        mine: &SignedStart,
        seen: &Seen,
        peer: NodeId,
        shared: &BTreeSet<VaultId>,
    ) -> Result<(), StoreError> {
        if !seen.is_ahead_of(mine.payload()) || !self.note_restored(peer) {
            return Ok(());
        }
        tracing::warn!(peer = %peer.short(), boot = mine.payload().boot, seen = seen.boot, "this store is older than what a peer has seen of it: it was restored from a copy. Its own later versions are fetched before anything is written");
        for vault in shared {
            self.state().awaited.entry(*vault).or_default().insert(peer);
        }
        let mut batch = Batch::default();
        self.store.raise_boot(&mut batch, seen.boot);
        self.store.commit(batch).await
    }

    /// A peer sends a commit of this node that is not here. With a double alive that is the double's.
    pub fn missed_own(&self, vault: VaultId, peer: NodeId) {
        {
            let state = self.state();
            if state.report.doubled.is_some() || state.report.yielded.is_some() {
                return;
            }
        }
        if self.note_restored(peer) {
            tracing::warn!(peer = %peer.short(), vault = %vault.short(), "a peer has versions of this node that are not in its store: it was restored from a copy");
        }
        let mut state = self.state();
        state.awaited.entry(vault).or_default().insert(peer);
    }

    /// Whether this peer's part of a vault's past is awaited.
    #[must_use]
    pub fn awaits(&self, vault: &VaultId, peer: &NodeId) -> bool {
        let state = self.state();
        state
            .awaited
            .get(vault)
            .is_some_and(|peers| peers.contains(peer))
    }

    /// Everything that `peer` holds of `vault` is here.
    pub fn caught_up(&self, vault: &VaultId, peer: &NodeId) {
        let mut state = self.state();
        if let Some(peers) = state.awaited.get_mut(vault) {
            peers.remove(peer);
            if peers.is_empty() {
                state.awaited.remove(vault);
            }
        }
        drop(state);
        self.moved.send_modify(|n| *n += 1);
    }

    /// Returns when this node's own past in `vault` is here, or was waited for long enough.
    pub async fn past_is_here(&self, vault: &VaultId) {
        let mut moved = self.moved.subscribe();
        loop {
            moved.borrow_and_update();
            let until = {
                let state = self.state();
                let until = state.until.filter(|until| *until > Instant::now());
                until.filter(|_| state.awaited.contains_key(vault))
            };
            let Some(until) = until else { return };
            tokio::select! {
                _ = moved.changed() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Whether that is news.
    fn note_restored(&self, peer: NodeId) -> bool {
        let mut state = self.state();
        let new = state.report.restored.is_none();
        if new {
            state.report.restored = Some((peer, now_ms()));
            state.until = Some(Instant::now() + BUDGET);
        }
        new
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
