//! How much each peer may bring here: bytes of the vaults that it introduced. A vault counts for whoever brought it first, whoever writes in it later; a
//! vault made here counts for nobody.

use crate::store::{Batch, Store, Table};
use crate::vaults::VaultError;
use polykey_core::ids::{NodeId, VaultId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of the vaults that one peer introduced: sixty of the largest files, or 10⁵ secrets changed ten times over. More is not what a person's devices share.
pub const PEER_BYTES: u64 = 4 << 30;

/// Who brought which vault, and how much each has brought.
pub struct Quotas {
    most: AtomicU64,
    brought: Mutex<Brought>,
}

#[derive(Default)]
struct Brought {
    by: BTreeMap<VaultId, NodeId>,
    bytes: BTreeMap<NodeId, u64>,
}

impl Quotas {
    /// What the store says. The sizes are counted anew, so what was collected since counts no more.
    ///
    /// # Errors
    /// When the store fails or a row is damaged.
    pub fn open(store: &Store) -> Result<Quotas, VaultError> {
        let mut brought = Brought::default();
        for row in store.scan(Table::Guest, b"") {
            let (vault, by) = row?;
            let vault = VaultId::try_from(vault.as_slice());
            let by = NodeId::try_from(by.as_slice());
            let (Ok(vault), Ok(by)) = (vault, by) else {
                return Err(VaultError::Row("who brought a vault"));
            };
            let bytes = store.stored(Table::Object, vault.as_bytes())?
                + store.stored(Table::Commit, vault.as_bytes())?
                + store.stored(Table::Op, vault.as_bytes())?;
            brought.by.insert(vault, by);
            *brought.bytes.entry(by).or_default() += bytes;
        }
        Ok(Quotas {
            most: PEER_BYTES.into(),
            brought: Mutex::new(brought),
        })
    }

    /// Another limit than [`PEER_BYTES`].
    pub fn limit(&self, bytes: u64) {
        self.most.store(bytes, Ordering::Relaxed);
    }

    /// `by` brings `vault`, of which nothing is here.
    pub fn introduce(&self, batch: &mut Batch, vault: &VaultId, by: NodeId) {
        batch.put(Table::Guest, vault.as_bytes(), by.as_bytes().to_vec());
        self.brought().by.insert(*vault, by);
    }

    /// That much more of `vault` is to be stored.
    ///
    /// # Errors
    /// `Quota` when whoever brought it has no room for it; then nothing is counted.
    pub fn take(&self, vault: &VaultId, bytes: u64) -> Result<(), VaultError> {
        let mut brought = self.brought();
        let Some(by) = brought.by.get(vault).copied() else {
            return Ok(());
        };
        let used = brought.bytes.entry(by).or_default();
        let after = used.saturating_add(bytes);
        if bytes > 0 && after > self.most.load(Ordering::Relaxed) {
            return Err(VaultError::Quota(by));
        }
        *used = after;
        Ok(())
    }

    /// That much of `vault` was removed.
    pub fn give_back(&self, vault: &VaultId, bytes: u64) {
        let mut brought = self.brought();
        if let Some(by) = brought.by.get(vault).copied() {
            let used = brought.bytes.entry(by).or_default();
            *used = used.saturating_sub(bytes);
        }
    }

    /// Bytes of the vaults that `peer` introduced.
    #[must_use]
    pub fn used(&self, peer: &NodeId) -> u64 {
        self.brought().bytes.get(peer).copied().unwrap_or_default()
    }

    fn brought(&self) -> MutexGuard<'_, Brought> {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
