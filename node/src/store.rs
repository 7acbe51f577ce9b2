//! The store: one sled database behind this file, which is the only one that names it. Rows are sealed, batches are atomic, and a commit is acknowledged only after the disk has it.
//!
//! sled's own flush ends in `sync_file_range` on Linux: neither the disk's cache nor the metadata of a grown file is written by it. So each flush is followed by an `fdatasync`
//! of our own on the same file. That is done once for some hundred commits, and not in front of anybody who waits: a commit is durable by one frame of the [`journal`], whose rows
//! are given to sled after it, and once more at the next start. One writer thread puts what has queued up into one frame and then answers all.
//!
//! Large rows stand in [`packs`] beside it, since sled does not sync those at all.
//!
//! A failed write ends writing: what sled then holds in memory may not be on the disk, and nothing may be acknowledged on top of it until the agent starts again.

mod journal;
mod packs;
mod reclaim;
mod settings;

use journal::{Journal, Row};
use packs::{Appender, INLINE, MAX_ROW, Packs, Place};
use polykey_core::row::RowKey;
use polykey_core::seal::{self, Head};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

/// Version of what the rows hold. Newer is refused, older is migrated.
const SCHEMA: u32 = 1;
/// sled's page cache, in bytes.
const CACHE: u64 = 32 << 20;
/// Commits that wait for the writer; more wait for a place.
const QUEUE: usize = 1_024;
/// Commits that one flush may cover: 64 of the largest (a 64 KiB value each) are 4 MiB.
const GROUP: usize = 64;
/// Packs below this size, in bytes, are not worth a look for rows that nobody points to any more.
const COMPACT_FROM: u64 = 64 << 20;
/// Rows that one step of compaction moves, in bytes: what it holds in memory.
const COMPACT_STEP: usize = 8 << 20;
/// Bytes that are read of an object to follow its refs: those of a page have at most 64.
const FIRST_READ: usize = seal::HEADER + 64 * 32;
/// First byte of what sled holds of a row: the row follows, or its place in the packs.
const HERE: u8 = 0;
const PACKED: u8 = 1;

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
    /// Sealed objects, their keys ending in their address, which proves them: the only rows that are stored as they are.
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
    /// Per peer: its highest boot that was seen, and the process that had it.
    Seen = 14,
    /// Commits whose contents their authors made wrong. Ids alone.
    Broken = 15,
    /// Per vault that a peer introduced: which peer.
    Guest = 16,
    /// Commits whose trees are not here: on their way, or let go of. Ids alone.
    Lean = 17,
}

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("another agent uses {path}{}", .pid.map(|p| format!(" (process {p})")).unwrap_or_default())]
    InUse {
        /// Where.
        path: PathBuf,
        /// Which process, if it said so.
        pid: Option<u32>,
    },
    /// A pod's store was mounted by another pod.
    #[error("the store at {path} belongs to {made_by}, and this is {here}")]
    OtherPod {
        /// Where.
        path: PathBuf,
        /// The pod that made it.
        made_by: String,
        /// The pod that opened it.
        here: String,
    },
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
    #[error(
        "the store takes no more writes after a failure; free space if the disk is full, then start the agent again"
    )]
    Stopped,
    /// More than a row can hold.
    #[error("a row of {0} bytes is too large")]
    TooLarge(usize),
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
        self.writes.push(Write {
            table,
            key: key.to_vec(),
            value: Some(value.into()),
        });
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, table: Table, key: &[u8]) {
        self.writes.push(Write {
            table,
            key: key.to_vec(),
            value: None,
        });
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

struct Job {
    rows: Vec<Row>,
    /// Keys of rows to move out of this pack.
    moves: Option<(u32, Vec<Vec<u8>>)>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Store {
    /// Opens the store in `dir`, making it when it is not there, and counts this start durably before anything else.
    ///
    /// # Errors
    /// `InUse` when another process has it, `Newer` when a newer version made it, else what failed.
    pub fn open(dir: &Path, rows: RowKey) -> Result<Arc<Store>, StoreError> {
        let path = dir.to_path_buf();
        let io = |step| {
            let path = path.clone();
            move |source| StoreError::Io { path, step, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io("make its directory"))?;
        let lock = lock(dir)?;
        settings::remove_torn(dir).map_err(io("read its settings"))?;
        let db = open_database(dir)?;
        settings::sync(dir).map_err(io("sync its settings"))?;
        let packs = Arc::new(Packs::open(&dir.join("packs")).map_err(io("open its packs"))?);
        let mut disk = Disk::open(dir, &packs)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let (queue, jobs) = mpsc::channel(QUEUE);
        let mut store = Store {
            path: path.clone(),
            db: db.clone(),
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
        disk.recover(&db)?;
        store.start_counted(&mut disk)?;
        store.compact(&mut disk)?;
        let spawned = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || write_jobs(jobs, &db, &packs, &mut disk, &stopped));
        store.writer = Some(spawned.map_err(io("start its writer"))?);
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
            let row = self
                .db
                .get(row_key(table, key))
                .map_err(|source| self.database("read", source))?;
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
        let rows = self.db.range(from..).take(most).map(|row| {
            let (key, stored) = row.map_err(|source| self.database("read", source))?;
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
        let database = self
            .db
            .size_on_disk()
            .map_err(|source| self.database("measure", source))?;
        let packs = self
            .packs
            .sizes()
            .map_err(|source| self.io("list its packs", source))?;
        let packs: u64 = packs.iter().map(|(_, size)| size).sum();
        Ok(database + packs + journal::SIZE as u64)
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
        let row = self
            .db
            .get(row_key(Table::Object, key))
            .map_err(|source| self.database("read", source))?;
        let Some(row) = row else { return Ok(None) };
        match row.split_first() {
            Some((&HERE, row)) => Ok(Some(Head::of(row))),
            Some((&PACKED, place)) => {
                let place = Place::from_bytes(place).ok_or(StoreError::Damaged(Table::Object))?;
                let start = |most| {
                    self.packs
                        .read_start(place, most)
                        .map_err(|source| self.io("read its packs", source))?
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
        self.db
            .contains_key(row_key(table, key))
            .map_err(|source| self.database("read", source))
    }

    /// Bytes of the rows of a table whose key starts with `prefix`, as they are stored. None of them is read from the packs.
    ///
    /// # Errors
    /// When the database fails.
    pub fn stored(&self, table: Table, prefix: &[u8]) -> Result<u64, StoreError> {
        self.db
            .scan_prefix(row_key(table, prefix))
            .map(|row| {
                let (_, row) = row.map_err(|source| self.database("read", source))?;
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
        self.db.scan_prefix(row_key(table, prefix)).map(move |row| {
            let (key, value) = row.map_err(|source| self.database("read", source))?;
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
                    .map_err(|source| self.io("read its packs", source))?
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
        disk.write(&self.db, [self.sealed(batch)?])
    }

    /// Moves the rows that are in packs into new ones when less than half of what the packs hold is pointed to, and removes the old ones. A crash at any point leaves either
    /// place whole.
    fn compact(&self, disk: &mut Disk) -> Result<(), StoreError> {
        let sizes = self
            .packs
            .sizes()
            .map_err(|source| self.io("list its packs", source))?;
        let total: u64 = sizes.iter().map(|(_, size)| size).sum();
        if total < COMPACT_FROM {
            return Ok(());
        }
        let mut live = Vec::new();
        for row in self.db.iter() {
            let (key, stored) = row.map_err(|source| self.database("read", source))?;
            if let Some(place) = stored
                .split_first()
                .filter(|(kind, _)| **kind == PACKED)
                .and_then(|(_, place)| Place::from_bytes(place))
            {
                live.push((key, place));
            }
        }
        if live.iter().map(|(_, place)| place.length()).sum::<u64>() * 2 > total {
            return Ok(());
        }
        disk.packs
            .begin_next()
            .map_err(|source| self.io("begin a pack", source))?;
        let (mut rows, mut held): (Vec<Row>, usize) = (Vec::new(), 0);
        for (key, place) in live {
            if let Some(row) = self
                .packs
                .read(place)
                .map_err(|source| self.io("read its packs", source))?
            {
                held += row.len();
                rows.push((key.to_vec(), Some(row)));
            }
            if held >= COMPACT_STEP {
                disk.write(&self.db, [std::mem::take(&mut rows)])?;
                held = 0;
            }
        }
        disk.write(&self.db, [rows])?;
        sizes
            .iter()
            .try_for_each(|(number, _)| self.packs.remove(*number))
            .map_err(|source| self.io("remove an old pack", source))
    }

    fn io(&self, step: &'static str, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            step,
            source,
        }
    }

    fn database(&self, step: &'static str, source: sled::Error) -> StoreError {
        StoreError::Database {
            path: self.path.clone(),
            step,
            source,
        }
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

/// Takes the store for this process. The file says which one, for the error of the next.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let io = |source| StoreError::Io {
        path: dir.to_path_buf(),
        step: "lock",
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            (&file).take(16).read_to_string(&mut text).ok();
            return Err(StoreError::InUse {
                path: dir.to_path_buf(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(e)) => return Err(io(e)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io)?;
    Ok(file)
}

/// Opens sled. A `snap.*` file only speeds its recovery up; when one is damaged, it is put aside and everything is read from the log itself.
fn open_database(dir: &Path) -> Result<sled::Db, StoreError> {
    let open = || {
        sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput)
            .open()
    };
    let result = match open() {
        Err(sled::Error::Corruption { .. }) if put_snapshots_aside(dir) => {
            tracing::warn!(store = %dir.display(), "a snapshot of the database was damaged; it was put aside and the log is read from its beginning");
            open()
        }
        other => other,
    };
    result.map_err(|e| match e {
        sled::Error::Io(ref io) if io.to_string().contains("could not acquire lock") => {
            StoreError::InUse {
                path: dir.to_path_buf(),
                pid: None,
            }
        }
        source => StoreError::Database {
            path: dir.to_path_buf(),
            step: "open",
            source,
        },
    })
}

/// True when there was one to put aside.
fn put_snapshots_aside(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        return false;
    };
    let snapshots: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with("snap."))
        })
        .collect();
    let aside = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        fs::rename(path, dir.join(format!("damaged-{name}"))).is_ok()
    };
    !snapshots.is_empty() && snapshots.iter().all(aside)
}

/// What makes writes durable: the journal, our own handle of sled's file for `fdatasync`, and the end of the packs.
struct Disk {
    path: PathBuf,
    file: File,
    packs: Appender,
    journal: Journal,
    /// What the journal held at the start.
    held: Vec<Row>,
}

impl Disk {
    fn open(dir: &Path, packs: &Packs) -> Result<Disk, StoreError> {
        let io = |step| {
            move |source| StoreError::Io {
                path: dir.to_path_buf(),
                step,
                source,
            }
        };
        // The names of files that were just made are on the disk only after their directories are.
        for made in [
            Some(dir),
            dir.parent().filter(|p| !p.as_os_str().is_empty()),
        ]
        .into_iter()
        .flatten()
        {
            File::open(made)
                .and_then(|d| d.sync_all())
                .map_err(io("sync its directory"))?;
        }
        let file = File::open(dir.join("db")).map_err(io("open its file"))?;
        let packs = Appender::open(packs).map_err(io("open its packs"))?;
        let (journal, held) = Journal::open(dir).map_err(io("open its journal"))?;
        Ok(Disk {
            path: dir.to_path_buf(),
            file,
            packs,
            journal,
            held,
        })
    }

    /// Gives sled what the journal holds: it may have lost any part of it.
    fn recover(&mut self, db: &sled::Db) -> Result<(), StoreError> {
        let held = std::mem::take(&mut self.held);
        self.apply(db, held)?;
        self.checkpoint(db)
    }

    /// Writes batches, each whole or not at all, and returns when the disk has all of them: large rows first, then what points to them.
    fn write(
        &mut self,
        db: &sled::Db,
        batches: impl IntoIterator<Item = Vec<Row>>,
    ) -> Result<(), StoreError> {
        let rows = batches
            .into_iter()
            .flatten()
            .map(|row| self.place(row))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|e| self.io("write its packs", e))?;
        self.packs
            .sync()
            .map_err(|e| self.io("sync its packs", e))?;
        if self.journaled(&rows)? {
            return self.apply(db, rows);
        }
        self.checkpoint(db)?;
        if self.journaled(&rows)? {
            return self.apply(db, rows);
        }
        // More than a journal: sled's own batch is whole or not there.
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        db.apply_batch(batch)
            .map_err(|e| self.database("write", e))?;
        self.sync(db)
    }

    fn journaled(&mut self, rows: &[Row]) -> Result<bool, StoreError> {
        let written = self.journal.write(rows);
        written.map_err(|e| self.io("write its journal", e))
    }

    /// Tells sled, in memory. The journal has it.
    fn apply(&self, db: &sled::Db, rows: Vec<Row>) -> Result<(), StoreError> {
        for (key, value) in rows {
            let result = match value {
                Some(value) => db.insert(key, value),
                None => db.remove(key),
            };
            result.map_err(|e| self.database("write", e))?;
        }
        Ok(())
    }

    /// Brings to the disk what sled holds, after which the journal may begin again.
    fn checkpoint(&mut self, db: &sled::Db) -> Result<(), StoreError> {
        self.sync(db)?;
        let mut round = [0; 16];
        getrandom::fill(&mut round).map_err(|_| StoreError::Randomness)?;
        let begun = self.journal.begin(round);
        begun.map_err(|e| self.io("write its journal", e))
    }

    fn sync(&self, db: &sled::Db) -> Result<(), StoreError> {
        db.flush().map_err(|e| self.database("flush", e))?;
        self.file.sync_data().map_err(|e| self.io("sync", e))
    }

    /// Puts a large row into a pack, and leaves its place in sled.
    fn place(&mut self, (key, row): Row) -> io::Result<Row> {
        let stored = match row {
            None => None,
            Some(row) if row.len() <= INLINE => Some([&[HERE], row.as_slice()].concat()),
            Some(row) => Some([&[PACKED], &self.packs.append(&row)?.to_bytes()[..]].concat()),
        };
        Ok((key, stored))
    }

    fn io(&self, step: &'static str, source: io::Error) -> StoreError {
        StoreError::Io {
            path: self.path.clone(),
            step,
            source,
        }
    }

    fn database(&self, step: &'static str, source: sled::Error) -> StoreError {
        StoreError::Database {
            path: self.path.clone(),
            step,
            source,
        }
    }
}

/// Moves rows that still stand in `pack` to the end of the packs. One that cannot be read stays, and so does its pack.
fn move_rows(
    db: &sled::Db,
    packs: &Packs,
    disk: &mut Disk,
    pack: u32,
    keys: Vec<Vec<u8>>,
) -> Result<(), StoreError> {
    let begun = disk.packs.leave(pack);
    begun.map_err(|e| disk.io("begin a pack", e))?;
    let mut rows = Vec::new();
    for key in keys {
        let stored = db
            .get(&key)
            .map_err(|source| disk.database("read", source))?;
        let place = stored.and_then(|stored| reclaim::place_of(&stored));
        if let Some(place) = place.filter(|p| p.file() == pack)
            && let Ok(Some(row)) = packs.read(place)
        {
            rows.push((key, Some(row)));
        }
    }
    disk.write(db, [rows])
}

/// The writer: takes what has queued up, writes and syncs it once, answers all.
fn write_jobs(
    mut jobs: mpsc::Receiver<Job>,
    db: &sled::Db,
    packs: &Packs,
    disk: &mut Disk,
    stopped: &AtomicBool,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(next) = jobs.try_recv() else { break };
            group.push(next);
        }
        let (mut rows, mut answers, mut moves) = (Vec::new(), Vec::new(), Vec::new());
        for job in group {
            rows.push(job.rows);
            answers.push(job.done);
            moves.extend(job.moves);
        }
        let result = if stopped.load(Ordering::Acquire) {
            Err(StoreError::Stopped)
        } else {
            let written = disk.write(db, rows);
            let mut moves = moves.into_iter();
            written.and_then(|()| {
                moves.try_for_each(|(pack, keys)| move_rows(db, packs, disk, pack, keys))
            })
        };
        if let Err(e) = &result {
            stopped.store(true, Ordering::Release);
            if !matches!(e, StoreError::Stopped) {
                tracing::error!(
                    error = e as &dyn std::error::Error,
                    "a write failed; the store takes no more until the agent starts again"
                );
            }
        }
        let failed = result.is_err();
        // The first waiter gets the cause, the others that writing has stopped.
        let mut result = Some(result);
        for done in answers {
            let answer = if failed {
                result.take().unwrap_or(Err(StoreError::Stopped))
            } else {
                Ok(())
            };
            done.send(answer).ok();
        }
    }
    if !stopped.load(Ordering::Acquire)
        && let Err(e) = disk.checkpoint(db)
    {
        // Nothing is lost: the journal has it.
        tracing::warn!(
            error = &e as &dyn std::error::Error,
            "the store could not be tidied up at its end"
        );
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

    /// A store in a directory of its own, which lives as long as the first value.
    pub fn scratch_store() -> (tempfile::TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store =
            Store::open(&dir.path().join("store"), scratch_key()).expect("a new store opens");
        (dir, store)
    }
}
