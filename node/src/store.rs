//! The store: rows in one database, large ones in packs beside it. Rows are sealed, batches are atomic, and a commit is acknowledged only after the disk has it.
//!
//! A commit is durable by one frame of the [`journal`]; its rows are given to the [`database`] after it, and once more at the next start. The database itself is synced once for some
//! hundred commits, not in front of anybody who waits. Large rows stand in [`packs`], since the database does not sync those at all. One thread, the [`writer`], does all of this.

mod batch;
mod database;
mod error;
mod journal;
mod lock;
mod packs;
mod reclaim;
mod settings;
mod writer;

pub use batch::{Batch, Table};
pub use error::StoreError;

use batch::row_key;
use database::Database;
use journal::Row;
use packs::{MAX_ROW, Packs, Place};
use polykey_core::row::RowKey;
use polykey_core::seal::{self, Head};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot, watch};
use writer::{Disk, Job};
use zeroize::Zeroizing;

/// Version of what the rows hold. Newer is refused, older is migrated.
const SCHEMA: u32 = 1;
/// Commits that wait for the writer; more wait for a place.
const QUEUE: usize = 1_024;
/// Bytes that are read of an object to follow its refs: those of a page have at most 64.
const FIRST_READ: usize = seal::HEADER + 64 * 32;
/// First byte of what the database holds of a row: the row follows, or its place in the packs.
const HERE: u8 = 0;
const PACKED: u8 = 1;

/// An open store. Dropping it waits for the writer to finish what was handed to it.
pub struct Store {
    path: PathBuf,
    db: Database,
    packs: Arc<Packs>,
    rows: RowKey,
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<std::thread::JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
    boot: u64,
    /// Held as long as the store is open.
    _lock: File,
    /// Last, so that it is dropped when everything else is.
    released: watch::Sender<()>,
}

impl Store {
    /// Opens the store in `dir`, making it when it is not there, and counts this start durably before anything else.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Newer` when a newer version made it, else what failed.
    pub fn open(dir: &Path, rows: RowKey) -> Result<Arc<Store>, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(StoreError::io(dir, "make its directory"))?;
        let lock = lock::take(dir)?;
        let db = Database::open(dir)?;
        let packs = Packs::open(&dir.join("packs"));
        let packs = Arc::new(packs.map_err(StoreError::io(dir, "open its packs"))?);
        let mut disk = Disk::open(dir, db.clone(), &packs)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let mut store = Store {
            path: dir.to_path_buf(),
            db,
            packs: packs.clone(),
            rows,
            queue: Some(queue),
            writer: None,
            stopped: stopped.clone(),
            boot: 0,
            _lock: lock,
            released: watch::Sender::new(()),
        };
        store.check_schema()?;
        disk.recover()?;
        store.start_counted(&mut disk)?;
        store.compact(&mut disk)?;
        let spawned = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer::run(jobs, &packs, &mut disk, &stopped));
        store.writer = Some(spawned.map_err(StoreError::io(dir, "start its writer"))?);
        Ok(Arc::new(store))
    }

    /// Says in which pod this is. A store remembers the first one: a volume mounted by another pod is a clone or a mistake, and both nodes would have one identity. With
    /// `move_here` it belongs to this pod from now on.
    ///
    /// # Errors
    /// `OtherPod` when another pod made the store.
    pub async fn belongs_to(&self, pod: &str, move_here: bool) -> Result<(), StoreError> {
        match self.get(Table::Meta, b"pod")? {
            Some(made_by) if made_by.as_slice() == pod.as_bytes() => return Ok(()),
            Some(made_by) if !move_here => {
                let made_by = String::from_utf8_lossy(&made_by).into_owned();
                return Err(StoreError::OtherPod {
                    path: self.path.clone(),
                    made_by,
                    here: pod.to_owned(),
                });
            }
            _ => {}
        }
        let mut batch = Batch::default();
        batch.put(Table::Meta, b"pod", pod.as_bytes().to_vec());
        self.commit(batch).await
    }

    /// Counts the next start on from `boot`, if that is higher than this one: a peer has seen it of a later state of this store.
    pub fn raise_boot(&self, batch: &mut Batch, boot: u64) {
        if boot > self.boot {
            batch.put(Table::Meta, b"boot", boot.to_be_bytes().to_vec());
        }
    }

    /// How many times this store was opened.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Ends (its sender is dropped) when the store is closed and may be opened again.
    #[must_use]
    pub fn released(&self) -> watch::Receiver<()> {
        self.released.subscribe()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that seals the rows, for uses beside them.
    #[must_use]
    pub fn row_key(&self) -> &RowKey {
        &self.rows
    }

    /// Reads a row.
    ///
    /// # Errors
    /// `Damaged` when it is not what was written there.
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let read = || {
            let row = self.db.get(&row_key(table, key))?;
            row.map(|row| self.opened(table, key, &row)).transpose()
        };
        // A row that was just moved to another pack is found at its new place.
        read().or_else(|_| read())
    }

    /// Keys of a table behind `after` that start with `prefix`, in order, at most `most`, with the bytes that each row takes.
    ///
    /// # Errors
    /// When the database fails.
    pub fn keys(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, StoreError> {
        let mut from = row_key(table, after.unwrap_or(prefix));
        if after.is_some() {
            from.push(0);
        }
        let rows = self.db.from(from).take(most).map(|row| {
            let (key, stored) = row?;
            let bytes = reclaim::place_of(&stored).map_or(stored.len() as u64, Place::length);
            Ok((key.to_vec(), bytes))
        });
        let wanted = row_key(table, prefix);
        let mut out = Vec::new();
        for row in rows {
            let (key, bytes) = row?;
            if !key.starts_with(&wanted) {
                break;
            }
            out.push((key[1..].to_vec(), bytes));
        }
        Ok(out)
    }

    /// Bytes on the disk: the database, its journal and the packs.
    ///
    /// # Errors
    /// When they cannot be measured.
    pub fn size(&self) -> Result<u64, StoreError> {
        let packs: u64 = self.pack_sizes()?.iter().map(|(_, size)| size).sum();
        Ok(self.db.size()? + packs + journal::SIZE as u64)
    }

    /// The beginning of an object. Unlike what [`Store::get`] gives they are not compared with its address:
    /// reading all of a value only to follow the pages above it would cost more than everything else.
    ///
    /// # Errors
    /// When the database or the packs fail.
    pub fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        // As in `get`.
        let read = || self.read_head(key);
        read().or_else(|_| read())
    }

    fn read_head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        let row = self.db.get(&row_key(Table::Object, key))?;
        let Some(row) = row else { return Ok(None) };
        match row.split_first() {
            Some((&HERE, row)) => Ok(Some(Head::of(row))),
            Some((&PACKED, place)) => {
                let place = Place::from_bytes(place).ok_or(StoreError::Damaged(Table::Object))?;
                let start = |most| {
                    self.packs
                        .read_start(place, most)
                        .map_err(StoreError::io(&self.path, "read its packs"))?
                        .ok_or(StoreError::Damaged(Table::Object))
                };
                let mut first = start(FIRST_READ)?;
                let needed = seal::head_length(&first);
                if needed > first.len() {
                    first = start(needed)?;
                }
                let length = usize::try_from(place.length()).unwrap_or(usize::MAX);
                Ok(Some(Head { first, length }))
            }
            _ => Err(StoreError::Damaged(Table::Object)),
        }
    }

    /// True when the row is there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn has(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.db.has(&row_key(table, key))
    }

    /// Bytes of the rows of a table whose key starts with `prefix`, as they are stored. None of them is read from the packs.
    ///
    /// # Errors
    /// When the database fails.
    pub fn stored(&self, table: Table, prefix: &[u8]) -> Result<u64, StoreError> {
        self.db
            .below(&row_key(table, prefix))
            .map(|row| {
                let (_, row) = row?;
                Ok(match row.split_first() {
                    Some((&PACKED, place)) => Place::from_bytes(place).map_or(0, Place::length),
                    _ => row.len() as u64,
                })
            })
            .sum()
    }

    /// Reads every row of a table whose key starts with `prefix`, in order of key.
    pub fn scan(
        &self,
        table: Table,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Zeroizing<Vec<u8>>), StoreError>> + '_ {
        self.db.below(&row_key(table, prefix)).map(move |row| {
            let (key, value) = row?;
            let key = key[1..].to_vec();
            match self.opened(table, &key, &value) {
                Ok(value) => Ok((key, value)),
                // It was just moved to another pack, or it is damaged there too.
                Err(e) => self.get(table, &key)?.map(|value| (key, value)).ok_or(e),
            }
        })
    }

    /// Writes a batch and returns when the disk has it.
    ///
    /// # Errors
    /// When it may not be on the disk; then the store takes no more writes.
    pub async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows = self.sealed(batch)?;
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue
            .send(Job {
                rows,
                moves: None,
                done,
            })
            .await
            .map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    fn sealed(&self, batch: Batch) -> Result<Vec<Row>, StoreError> {
        let mut out = Vec::with_capacity(batch.writes.len());
        for mut write in batch.writes {
            let place = row_key(write.table, &write.key);
            let row = match write.value.take() {
                None => None,
                Some(mut value) if write.table == Table::Object => {
                    Some(std::mem::take(&mut *value))
                }
                Some(value) => {
                    let mut nonce = [0; 24];
                    getrandom::fill(&mut nonce).map_err(|_| StoreError::Randomness)?;
                    Some(self.rows.seal(write.table as u8, &write.key, &value, nonce))
                }
            };
            if let Some(length) = row
                .as_ref()
                .map(Vec::len)
                .filter(|length| *length > MAX_ROW)
            {
                return Err(StoreError::TooLarge(length));
            }
            out.push((place, row));
        }
        Ok(out)
    }

    fn opened(
        &self,
        table: Table,
        key: &[u8],
        stored: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let packed;
        let row = match stored.split_first() {
            Some((&HERE, row)) => row,
            Some((&PACKED, place)) => {
                let place = Place::from_bytes(place).ok_or(StoreError::Damaged(table))?;
                packed = self
                    .packs
                    .read(place)
                    .map_err(StoreError::io(&self.path, "read its packs"))?
                    .ok_or(StoreError::Damaged(table))?;
                &packed
            }
            _ => return Err(StoreError::Damaged(table)),
        };
        if table == Table::Object {
            let proven = key.ends_with(seal::address(row).as_bytes());
            return if proven {
                Ok(Zeroizing::new(row.to_vec()))
            } else {
                Err(StoreError::Damaged(table))
            };
        }
        self.rows
            .open(table as u8, key, row)
            .map_err(|_| StoreError::Damaged(table))
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let number = |bytes: Zeroizing<Vec<u8>>| {
            <[u8; 8]>::try_from(bytes.as_slice())
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::Damaged(Table::Meta))
        };
        self.get(Table::Meta, key)?.map(number).transpose()
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        match self.number(b"schema")? {
            Some(found) if found > u64::from(SCHEMA) => Err(StoreError::Newer {
                path: self.path.clone(),
                found: u32::try_from(found).unwrap_or(u32::MAX),
            }),
            _ => Ok(()),
        }
    }

    /// Checks the schema, which the journal may just have brought, and counts this start.
    fn start_counted(&mut self, disk: &mut Disk) -> Result<(), StoreError> {
        self.check_schema()?;
        self.boot = 1 + self.number(b"boot")?.unwrap_or(0);
        let mut batch = Batch::default();
        batch.put(
            Table::Meta,
            b"schema",
            u64::from(SCHEMA).to_be_bytes().to_vec(),
        );
        batch.put(Table::Meta, b"boot", self.boot.to_be_bytes().to_vec());
        disk.write([self.sealed(batch)?])
    }

    /// True once a write has failed.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod torture;

#[cfg(test)]
pub(crate) mod testing {
    use super::{RowKey, Store};
    use std::sync::Arc;
    use zeroize::Zeroizing;

    /// The row key of scratch stores.
    pub fn scratch_key() -> RowKey {
        RowKey::new(Zeroizing::new([0x5c; 32]))
    }

    /// Puts a row behind the store's back.
    pub(super) fn plant(store: &Store, key: impl AsRef<[u8]>, row: impl AsRef<[u8]>) {
        let row = (key.as_ref().to_vec(), Some(row.as_ref().to_vec()));
        store.db.apply(vec![row]).expect("a row");
    }

    /// A store in a directory of its own, which lives as long as the first value.
    pub fn scratch_store() -> (tempfile::TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store =
            Store::open(&dir.path().join("store"), scratch_key()).expect("a new store opens");
        (dir, store)
    }
}
