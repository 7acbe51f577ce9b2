//! The database: sled, of which only this file knows.
//!
//! sled's own flush ends in `sync_file_range` on Linux: neither the disk's cache nor the metadata of a grown file is written by it. So each flush is followed by an `fdatasync`
//! of our own on the same file.

use super::journal::Row;
use super::{StoreError, settings};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// sled's page cache, in bytes.
const CACHE: u64 = 32 << 20;
/// How long its threads may hold the file after this process closed it: a write or two.
const CLOSING: Duration = Duration::from_secs(5);
/// Between two looks whether they have let go.
const LOOK: Duration = Duration::from_millis(10);

/// What the database holds of a row.
pub type Stored = sled::IVec;
/// Why it failed.
pub type Failure = sled::Error;

/// The open database. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    path: PathBuf,
    db: sled::Db,
}

impl Database {
    /// Opens the database in `dir`, making it when it is not there. A `snap.*` file only speeds sled's recovery up; when one is damaged, it is put aside and everything is read from
    /// the log itself. The caller has the store's own lock ([`super::lock`]), so the only one who can have sled's is a thread of a database that this process has just closed.
    pub fn open(dir: &Path) -> Result<Database, StoreError> {
        settings::remove_torn(dir).map_err(StoreError::io(dir, "read its settings"))?;
        let open = || {
            sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE)
                .flush_every_ms(None)
                .mode(sled::Mode::HighThroughput)
                .open()
        };
        let opened = match when_closed(open) {
            Err(sled::Error::Corruption { .. }) if put_snapshots_aside(dir) => {
                tracing::warn!(store = %dir.display(), "a snapshot of the database was damaged; it was put aside and the log is read from its beginning");
                open()
            }
            other => other,
        };
        let path = dir.to_path_buf();
        let db = opened.map_err(|e| {
            if is_held(&e) {
                return StoreError::InUse {
                    path: path.clone(),
                    pid: None,
                };
            }
            StoreError::Database {
                path: path.clone(),
                step: "open",
                source: e,
            }
        })?;
        settings::sync(dir).map_err(StoreError::io(dir, "sync its settings"))?;
        Ok(Database { path, db })
    }

    /// What it holds at a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.db.get(key).map_err(self.failed("read"))
    }

    /// Whether it holds anything at a key.
    pub fn has(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.db.contains_key(key).map_err(self.failed("read"))
    }

    /// All from a key on, in order.
    pub fn from(
        &self,
        key: Vec<u8>,
    ) -> impl Iterator<Item = Result<(Stored, Stored), StoreError>> + '_ {
        self.db
            .range(key..)
            .map(|row| row.map_err(self.failed("read")))
    }

    /// All whose keys start with `prefix`, in order.
    pub fn below(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Stored, Stored), StoreError>> + use<'_> {
        self.db
            .scan_prefix(prefix)
            .map(|row| row.map_err(self.failed("read")))
    }

    /// Takes rows, in memory.
    pub fn apply(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        for (key, value) in rows {
            let before = match value {
                Some(value) => self.db.insert(key, value),
                None => self.db.remove(key),
            };
            before.map_err(self.failed("write"))?;
        }
        Ok(())
    }

    /// Takes rows that are on the disk all together or not at all, once it is synced.
    pub fn apply_at_once(&self, rows: Vec<Row>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(self.failed("write"))
    }

    /// Our own handle of its file.
    pub fn file(&self) -> Result<File, StoreError> {
        File::open(self.path.join("db")).map_err(StoreError::io(&self.path, "open its file"))
    }

    /// Brings to the disk what it holds. `file` is [`Database::file`].
    pub fn sync(&self, file: &File) -> Result<(), StoreError> {
        self.db.flush().map_err(self.failed("flush"))?;
        file.sync_data().map_err(StoreError::io(&self.path, "sync"))
    }

    /// Bytes on the disk.
    pub fn size(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(self.failed("measure"))
    }

    fn failed(&self, step: &'static str) -> impl Fn(sled::Error) -> StoreError + '_ {
        move |source| StoreError::Database {
            path: self.path.clone(),
            step,
            source,
        }
    }
}

/// True when someone has the database open.
fn is_held(e: &sled::Error) -> bool {
    matches!(e, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

/// Opens again until nobody has it open.
fn when_closed(open: impl Fn() -> sled::Result<sled::Db>) -> sled::Result<sled::Db> {
    let deadline = Instant::now() + CLOSING;
    loop {
        match open() {
            Err(e) if is_held(&e) && Instant::now() < deadline => std::thread::sleep(LOOK),
            opened => return opened,
        }
    }
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
