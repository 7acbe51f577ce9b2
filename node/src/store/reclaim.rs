//! Packs are given back while the store is open: what is still pointed to in a pack that is mostly dead is written again at the end, through the writer and in steps, so that
//! others write between them; then the pack goes. A crash at any point leaves either place whole.

use super::packs::Place;
use super::writer::{Disk, Job};
use super::{PACKED, Store, StoreError};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Packs below this size together, in bytes, are not worth a look at the start.
const COMPACT_FROM: u64 = 64 << 20;
/// Rows that one step moves, in bytes: what it holds in memory.
const COMPACT_STEP: usize = 8 << 20;
/// A pack below this size, in bytes, is not worth the writing: what is alive in it would be written again for little.
const WORTH: u64 = 4 << 20;

/// Where a row stands, when it is not in the database itself.
pub fn place_of(stored: &[u8]) -> Option<Place> {
    stored
        .split_first()
        .filter(|(kind, _)| **kind == PACKED)
        .and_then(|(_, place)| Place::from_bytes(place))
}

/// Rows that still stand in one pack.
#[derive(Default)]
struct Alive {
    bytes: u64,
    rows: Vec<(Vec<u8>, u64)>,
}

impl Store {
    /// Removes packs of which more than half is dead. Gives the bytes that came free.
    ///
    /// # Errors
    /// When the store fails; what was moved until then stays right.
    pub async fn reclaim(&self) -> Result<u64, StoreError> {
        let sizes = self.pack_sizes()?;
        if sizes.iter().all(|(_, size)| *size < WORTH) {
            return Ok(0);
        }
        let mut alive = self.alive()?;
        let mut freed = 0;
        for (pack, size) in sizes {
            let here = alive.remove(&pack).unwrap_or_default();
            if size < WORTH || here.bytes * 2 > size {
                continue;
            }
            if !self.empty(pack, here.rows).await? {
                continue;
            }
            self.remove_pack(pack)?;
            freed += size.saturating_sub(here.bytes);
        }
        Ok(freed)
    }

    /// Before anybody waits: moves all rows that are in packs into new ones when less than half of what the packs hold is pointed to, and removes the old ones. A crash at any point
    /// leaves either place whole.
    pub(super) fn compact(&self, disk: &mut Disk) -> Result<(), StoreError> {
        let sizes = self.pack_sizes()?;
        let total: u64 = sizes.iter().map(|(_, size)| size).sum();
        if total < COMPACT_FROM {
            return Ok(());
        }
        let alive = self.alive()?;
        if alive.values().map(|pack| pack.bytes).sum::<u64>() * 2 > total {
            return Ok(());
        }
        for (pack, here) in alive {
            for step in steps(here.rows) {
                disk.move_rows(&self.packs, pack, step)?;
            }
        }
        let left = self.alive()?;
        let emptied = sizes.iter().filter(|(pack, _)| !left.contains_key(pack));
        for (pack, _) in emptied {
            self.remove_pack(*pack)?;
        }
        Ok(())
    }

    pub(super) fn pack_sizes(&self) -> Result<Vec<(u32, u64)>, StoreError> {
        let sizes = self.packs.sizes();
        sizes.map_err(StoreError::io(&self.path, "list its packs"))
    }

    fn remove_pack(&self, pack: u32) -> Result<(), StoreError> {
        let removed = self.packs.remove(pack);
        removed.map_err(StoreError::io(&self.path, "remove a pack"))
    }

    /// Moves all out of a pack. What came into it until it was left is moved in a second round; what cannot be read stays, and the pack with it.
    async fn empty(&self, pack: u32, rows: Vec<(Vec<u8>, u64)>) -> Result<bool, StoreError> {
        for step in steps(rows) {
            self.move_out(pack, step).await?;
        }
        let Some(left) = self.alive()?.remove(&pack) else {
            return Ok(true);
        };
        for step in steps(left.rows) {
            self.move_out(pack, step).await?;
        }
        Ok(!self.alive()?.contains_key(&pack))
    }

    fn alive(&self) -> Result<BTreeMap<u32, Alive>, StoreError> {
        let mut alive: BTreeMap<u32, Alive> = BTreeMap::new();
        for row in self.db.below(b"") {
            let (key, stored) = row?;
            if let Some(place) = place_of(&stored) {
                let here = alive.entry(place.file()).or_default();
                here.bytes += place.length();
                here.rows.push((key.to_vec(), place.length()));
            }
        }
        Ok(alive)
    }

    async fn move_out(&self, pack: u32, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        let job = Job {
            rows: Vec::new(),
            moves: Some((pack, keys)),
            done,
        };
        queue.send(job).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }
}

/// Keys in steps of [`COMPACT_STEP`] bytes of rows. There is a step even without rows: the pack may be the one that is appended to.
fn steps(rows: Vec<(Vec<u8>, u64)>) -> Vec<Vec<Vec<u8>>> {
    let (mut out, mut bytes) = (vec![Vec::new()], 0);
    for (key, length) in rows {
        if bytes >= COMPACT_STEP as u64 {
            out.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(last) = out.last_mut() {
            last.push(key);
        }
    }
    out
}
