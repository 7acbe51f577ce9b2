//! The store: one sled database behind this file, which is the only one that names it. Rows are sealed, batches are atomic, and a commit is acknowledged only after the disk has it.
//!
//! sled's own flush ends in `sync_file_range` on Linux: neither the disk's cache nor the metadata of a grown file is written by it. So every group of commits is followed by
//! an `fdatasync` of our own on the same file. One writer thread applies what has queued up, flushes once for all, and then answers all.
//!
//! A failed write ends writing: what sled then holds in memory may not be on the disk, and nothing may be acknowledged on top of it until the agent starts again.

use polykey_core::row::RowKey;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// Version of what the rows hold. Newer is refused, older is migrated.
const SCHEMA: u32 = 1;
/// sled's page cache, in bytes.
const CACHE: u64 = 32 << 20;
/// Commits that wait for the writer; more wait for a place.
const QUEUE: usize = 1_024;
/// Commits that one flush may cover: 64 of the largest (a 64 KiB value each) are 4 MiB.
const GROUP: usize = 64;

/// The tables. A row's key is its table's number and the table's own key, which holds ids and counters, never names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// Schema version, boot counter, pod name.
    Meta = 1,
    /// Per vault: what must never go back.
    Floor = 2,
    /// Per vault: its local name and its shape key.
    Vault = 3,
    /// Secrets of epochs.
    Epoch = 4,
    /// Control operations.
    Op = 5,
    /// Wraps that came apart from an operation.
    Wrap = 6,
    /// Commits.
    Commit = 7,
    /// Sealed objects: the only rows that are stored as they are, since their address proves them.
    Object = 8,
    /// Configured peers.
    Peer = 9,
    /// The access set in force.
    Access = 10,
    /// Key sets of token issuers.
    Jwks = 11,
    /// Audit entries.
    Audit = 12,
    /// What arrived before what it depends on.
    Held = 13,
}

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("another agent uses {0}")]
    InUse(PathBuf),
    /// Made by a newer version.
    #[error("the store at {path} is of format {found}; this version knows {SCHEMA}")]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The database failed.
    #[error("the store at {path} failed to {step}")]
    Database {
        /// Where.
        path: PathBuf,
        /// What it was doing.
        step: &'static str,
        /// What it said.
        #[source]
        source: sled::Error,
    },
    /// The file system failed.
    #[error("the store at {path} failed to {step}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it was doing.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// A row was changed, or moved to another place.
    #[error("a row of table {0:?} is damaged")]
    Damaged(Table),
    /// A write failed earlier: see the log; a full disk is the usual cause.
    #[error("the store takes no more writes after a failure; free space if the disk is full, then start the agent again")]
    Stopped,
    /// No randomness for a nonce.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// Writes that take effect together or not at all.
#[derive(Default)]
pub struct Batch {
    writes: Vec<Write>,
}

struct Write {
    table: Table,
    key: Vec<u8>,
    value: Option<Zeroizing<Vec<u8>>>,
}

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, table: Table, key: &[u8], value: impl Into<Zeroizing<Vec<u8>>>) {
        self.writes.push(Write { table, key: key.to_vec(), value: Some(value.into()) });
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.writes.push(Write { table, key: key.to_vec(), value: None });
    }

    /// True when nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds the writes of another batch behind these.
    pub fn append(&mut self, mut other: Batch) {
        self.writes.append(&mut other.writes);
    }
}

/// An open store. Dropping it waits for the writer to finish what was handed to it.
pub struct Store {
    path: PathBuf,
    db: sled::Db,
    rows: RowKey,
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<std::thread::JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
    boot: u64,
}

struct Job {
    batch: sled::Batch,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Store {
    /// Opens the store in `dir`, making it when it is not there, and counts this start durably before anything else.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Newer` when a newer version made it, else what failed.
    pub fn open(dir: &Path, rows: RowKey) -> Result<Arc<Store>, StoreError> {
        let path = dir.to_path_buf();
        std::fs::create_dir_all(dir).map_err(|source| StoreError::Io { path: path.clone(), step: "make its directory", source })?;
        let config = sled::Config::new().path(dir).cache_capacity(CACHE).flush_every_ms(None).mode(sled::Mode::HighThroughput);
        let db = config.open().map_err(|e| match e {
            sled::Error::Io(ref io) if io.kind() == io::ErrorKind::WouldBlock || io.to_string().contains("could not acquire lock") => StoreError::InUse(path.clone()),
            source => StoreError::Database { path: path.clone(), step: "open", source },
        })?;
        let disk = Disk::open(dir)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let mut store = Store { path: path.clone(), db: db.clone(), rows, queue: Some(queue), writer: None, stopped: stopped.clone(), boot: 0 };
        store.start_counted(&disk)?;
        let spawned = std::thread::Builder::new().name("store-writer".into()).spawn(move || write_jobs(jobs, &db, &disk, &stopped));
        store.writer = Some(spawned.map_err(|source| StoreError::Io { path, step: "start its writer", source })?);
        Ok(Arc::new(store))
    }

    /// How many times this store was opened.
    #[must_use]
    pub fn boot(&self) -> u64 {
        self.boot
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
        let row = self.db.get(row_key(table, key)).map_err(|source| self.database("read", source))?;
        row.map(|row| self.opened(table, key, &row)).transpose()
    }

    /// True when the row is there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn has(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.db.contains_key(row_key(table, key)).map_err(|source| self.database("read", source))
    }

    /// Reads every row of a table whose key starts with `prefix`, in order of key.
    pub fn scan(&self, table: Table, prefix: &[u8]) -> impl Iterator<Item = Result<(Vec<u8>, Zeroizing<Vec<u8>>), StoreError>> + '_ {
        self.db.scan_prefix(row_key(table, prefix)).map(move |row| {
            let (key, value) = row.map_err(|source| self.database("read", source))?;
            let key = key[1..].to_vec();
            let value = self.opened(table, &key, &value)?;
            Ok((key, value))
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
        let batch = self.sealed(batch)?;
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Stopped)?;
        queue.send(Job { batch, done }).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    fn sealed(&self, batch: Batch) -> Result<sled::Batch, StoreError> {
        let mut out = sled::Batch::default();
        for write in batch.writes {
            let place = row_key(write.table, &write.key);
            match write.value {
                None => out.remove(place),
                Some(value) if write.table == Table::Object => out.insert(place, value.as_slice()),
                Some(value) => {
                    let mut nonce = [0; 24];
                    getrandom::fill(&mut nonce).map_err(|_| StoreError::Randomness)?;
                    out.insert(place, self.rows.seal(write.table as u8, &write.key, &value, nonce));
                }
            }
        }
        Ok(out)
    }

    fn opened(&self, table: Table, key: &[u8], row: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if table == Table::Object {
            return Ok(Zeroizing::new(row.to_vec()));
        }
        self.rows.open(table as u8, key, row).map_err(|_| StoreError::Damaged(table))
    }

    /// Checks the schema and counts this start.
    fn start_counted(&mut self, disk: &Disk) -> Result<(), StoreError> {
        let number = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).map(u64::from_be_bytes).map_err(|_| StoreError::Damaged(Table::Meta));
        if let Some(found) = self.get(Table::Meta, b"schema")? {
            let found = u32::try_from(number(&found)?).unwrap_or(u32::MAX);
            if found > SCHEMA {
                return Err(StoreError::Newer { path: self.path.clone(), found });
            }
        }
        self.boot = 1 + self.get(Table::Meta, b"boot")?.map_or(Ok(0), |b| number(&b))?;
        let mut batch = Batch::default();
        batch.put(Table::Meta, b"schema", u64::from(SCHEMA).to_be_bytes().to_vec());
        batch.put(Table::Meta, b"boot", self.boot.to_be_bytes().to_vec());
        let batch = self.sealed(batch)?;
        self.db.apply_batch(batch).map_err(|source| self.database("write", source))?;
        disk.sync(&self.db)
    }

    fn database(&self, step: &'static str, source: sled::Error) -> StoreError {
        StoreError::Database { path: self.path.clone(), step, source }
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

fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table as u8);
    out.extend_from_slice(key);
    out
}

/// Our own handle of sled's file, for `fdatasync`.
struct Disk {
    path: PathBuf,
    file: File,
}

impl Disk {
    fn open(dir: &Path) -> Result<Disk, StoreError> {
        let io = |step| move |source| StoreError::Io { path: dir.to_path_buf(), step, source };
        // The names of files that were just made are on the disk only after their directories are.
        for made in [Some(dir), dir.parent().filter(|p| !p.as_os_str().is_empty())].into_iter().flatten() {
            File::open(made).and_then(|d| d.sync_all()).map_err(io("sync its directory"))?;
        }
        let file = File::open(dir.join("db")).map_err(io("open its file"))?;
        Ok(Disk { path: dir.to_path_buf(), file })
    }

    fn sync(&self, db: &sled::Db) -> Result<(), StoreError> {
        db.flush().map_err(|source| StoreError::Database { path: self.path.clone(), step: "flush", source })?;
        self.file.sync_data().map_err(|source| StoreError::Io { path: self.path.clone(), step: "sync", source })
    }
}

/// The writer: applies what has queued up, syncs once, answers all.
fn write_jobs(mut jobs: mpsc::Receiver<Job>, db: &sled::Db, disk: &Disk, stopped: &AtomicBool) {
    while let Some(first) = jobs.blocking_recv() {
        let mut answers = Vec::with_capacity(1);
        let mut job = Some(first);
        let mut result = if stopped.load(Ordering::Acquire) { Err(StoreError::Stopped) } else { Ok(()) };
        while let Some(Job { batch, done }) = job.take() {
            if result.is_ok() {
                result = db.apply_batch(batch).map_err(|source| StoreError::Database { path: disk.path.clone(), step: "write", source });
            }
            answers.push(done);
            if answers.len() < GROUP {
                job = jobs.try_recv().ok();
            }
        }
        let result = result.and_then(|()| disk.sync(db));
        if let Err(e) = &result {
            stopped.store(true, Ordering::Release);
            if !matches!(e, StoreError::Stopped) {
                tracing::error!(error = e as &dyn std::error::Error, "a write failed; the store takes no more until the agent starts again");
            }
        }
        let failed = result.is_err();
        // The first waiter gets the cause, the others that writing has stopped.
        let mut result = Some(result);
        for done in answers {
            let answer = if failed { result.take().unwrap_or(Err(StoreError::Stopped)) } else { Ok(()) };
            done.send(answer).ok();
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{RowKey, Store};
    use std::sync::Arc;
    use zeroize::Zeroizing;

    /// The row key of scratch stores.
    pub fn scratch_key() -> RowKey {
        RowKey::new(Zeroizing::new([0x5c; 32]))
    }

    /// A store in a directory of its own, which lives as long as the first value.
    pub fn scratch_store() -> (tempfile::TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(&dir.path().join("store"), scratch_key()).expect("a new store opens");
        (dir, store)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{scratch_key, scratch_store};
    use super::*;

    fn one(table: Table, key: &[u8], value: &[u8]) -> Batch {
        let mut batch = Batch::default();
        batch.put(table, key, value.to_vec());
        batch
    }

    #[tokio::test]
    async fn rows_come_back_after_reopening_and_starts_are_counted() {
        let (dir, store) = scratch_store();
        assert_eq!(store.boot(), 1);
        store.commit(one(Table::Vault, b"k1", b"value")).await.unwrap();
        store.commit(one(Table::Object, b"k1", b"object")).await.unwrap();
        drop(store);
        let store = Store::open(&dir.path().join("store"), scratch_key()).unwrap();
        assert_eq!(store.boot(), 2);
        assert_eq!(store.get(Table::Vault, b"k1").unwrap().unwrap().as_slice(), b"value");
        assert_eq!(store.get(Table::Object, b"k1").unwrap().unwrap().as_slice(), b"object");
        assert_eq!(store.scan(Table::Vault, b"k").count(), 1);
        let mut batch = Batch::default();
        batch.remove(Table::Vault, b"k1");
        store.commit(batch).await.unwrap();
        assert!(!store.has(Table::Vault, b"k1").unwrap());
    }

    #[test]
    fn a_second_agent_on_one_store_is_told_so() {
        let (dir, _store) = scratch_store();
        let second = Store::open(&dir.path().join("store"), scratch_key());
        assert!(matches!(second, Err(StoreError::InUse(_))), "{:?}", second.err());
    }

    #[tokio::test]
    async fn a_flipped_byte_in_a_row_of_any_sealed_table_is_an_error() {
        use Table::{Access, Audit, Commit, Epoch, Floor, Held, Jwks, Meta, Op, Peer, Vault, Wrap};
        let (_dir, store) = scratch_store();
        for table in [Meta, Floor, Vault, Epoch, Op, Wrap, Commit, Peer, Access, Jwks, Audit, Held] {
            store.commit(one(table, b"key", b"some value")).await.unwrap();
            let place = row_key(table, b"key");
            let row = store.db.get(&place).unwrap().unwrap();
            for at in 0..row.len() {
                let mut changed = row.to_vec();
                changed[at] ^= 0x40;
                store.db.insert(&place, changed).unwrap();
                assert!(matches!(store.get(table, b"key"), Err(StoreError::Damaged(t)) if t == table), "byte {at} of {table:?}");
            }
            store.db.insert(row_key(table, b"other"), row).unwrap();
            assert!(store.get(table, b"other").is_err(), "a row of {table:?} in another place");
        }
    }

    #[tokio::test]
    async fn nothing_that_was_written_is_readable_in_the_files() {
        let (dir, store) = scratch_store();
        for i in 0..50u8 {
            store.commit(one(Table::Vault, &[i], b"planted-vault-name")).await.unwrap();
        }
        drop(store);
        for entry in std::fs::read_dir(dir.path().join("store")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(18).any(|w| w == b"planted-vault-name"), "{}", path.display());
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_writers_share_syncs_and_lose_nothing() {
        let (dir, store) = scratch_store();
        let writers: Vec<_> = (0..8u8)
            .map(|w| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0..50u8 {
                        store.commit(one(Table::Peer, &[w, n], &[n])).await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        drop(store);
        let store = Store::open(&dir.path().join("store"), scratch_key()).unwrap();
        assert_eq!(store.scan(Table::Peer, b"").count(), 400);
    }
}
