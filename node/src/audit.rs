//! The audit's files: one thread that appends sealed, hash-chained entries, syncs them, and then answers. The format is [`polykey_core::audit`]'s; which words go in is
//! [`crate::record`]'s. No entry holds a value, and a path only sealed.
//!
//! ```text
//! audit/<number of its first entry>.log   frames, at most 16 MiB
//! audit/head                              the signed head, replaced whole every 1,024 entries, every hour with news, and at the end
//! ```
//!
//! A last frame that a crash cut off was never answered for and is taken away. Anything else that does not read is put aside as `….damaged`, the chain goes on from the last
//! good entry, and an entry says so: a damaged audit must not keep secrets from pods, and must not pass unseen.

mod limit;

use crate::record::Happened;
use crate::store::Store;
use limit::Limit;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use polykey_core::audit::{self as format, Chain, Entry, Kind, Outcome, Subject, split_frame};
use polykey_core::enc;
use polykey_core::ids::NodeId;
use polykey_core::keys::RootKey;
use polykey_core::row::RowKey;
use polykey_core::sign::SIGNATURE;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Bytes after which a new file begins.
const FULL: u64 = 16 << 20;
/// Entries after which the head is signed.
const SIGN_AFTER: u64 = 1_024;
/// Time after which the head is signed, if something is new.
const SIGN_EVERY: Duration = Duration::from_hours(1);
/// How often refusals that were counted are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Entries that one sync may cover.
const GROUP: usize = 256;

/// Why the audit could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file system failed.
    #[error("cannot {step} the audit at {path}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An entry is not what was written.
    #[error("{path}")]
    Entry {
        /// In which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: format::AuditError,
    },
    /// The files end before the signed head does.
    #[error("the audit has {found} entries; {signed} were signed for: its end was cut off")]
    Short {
        /// How many there are.
        found: u64,
        /// How many the head names.
        signed: u64,
    },
    /// The entries are others than the ones that were signed for.
    #[error("the audit is not the one that was signed for")]
    OtherThanSigned,
    /// The head is not this node's.
    #[error("the signed head of the audit is damaged")]
    Head,
    /// The writer ended.
    #[error("the audit takes no more entries")]
    Stopped,
    /// No randomness for a nonce.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// A signed head: what stood in the audit, to be kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Head {
    /// How many entries.
    #[n(0)]
    pub entries: u64,
    /// Hash of the newest.
    #[n(1)]
    pub hash: ByteArray<32>,
    /// The node's signature of it.
    #[n(2)]
    pub signature: ByteArray<SIGNATURE>,
}

/// The audit of a node.
pub struct Audit {
    jobs: Option<Sender<Job>>,
    writer: Option<std::thread::JoinHandle<()>>,
    chain: Arc<Mutex<Chain>>,
    limit: Arc<Mutex<Limit>>,
    key: Arc<RootKey>,
}

struct Job {
    happened: Happened,
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

impl Audit {
    /// Opens the audit in `dir`, sealed with the store's key and signed with the node's.
    ///
    /// # Errors
    /// When its files cannot be read or made.
    pub fn open(dir: &Path, store: Arc<Store>, key: RootKey) -> Result<Audit, AuditError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io_error("make", dir))?;
        let key = Arc::new(key);
        let (mut log, damage) = Log::open(dir, store, key.clone())?;
        if let Some(note) = damage {
            tracing::error!(audit = %dir.display(), note, "a part of the audit does not read; it was put aside");
            log.append([about_itself(note)])?;
        }
        if log.of_another_key {
            // After a change of the node's key. It does not pass unseen either.
            log.append([about_itself("its head was signed by another key")])?;
            log.sign()?;
        }
        let (jobs, taken) = channel();
        let chain = Arc::new(Mutex::new(log.chain));
        let limit = Arc::new(Mutex::new(Limit::default()));
        let (shown, counted) = (chain.clone(), limit.clone());
        let spawned = std::thread::Builder::new()
            .name("audit-writer".into())
            .spawn(move || write_jobs(&taken, log, &shown, &counted));
        let writer = Some(spawned.map_err(io_error("start the writer of", dir))?);
        Ok(Audit {
            jobs: Some(jobs),
            writer,
            chain,
            limit,
            key,
        })
    }

    /// Writes down what happened and returns when the disk has it. Refusals that repeat within a minute are only counted; their number follows.
    ///
    /// # Errors
    /// When it may not be on the disk.
    pub async fn write(&self, happened: Happened) -> Result<(), AuditError> {
        if self
            .limit
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts(&happened, Instant::now())
        {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(AuditError::Stopped)?;
        jobs.send(Job {
            happened,
            done: Some(done),
        })
        .map_err(|_| AuditError::Stopped)?;
        answer.await.map_err(|_| AuditError::Stopped)?
    }

    /// The head, signed now.
    #[must_use]
    pub fn head(&self) -> Head {
        let chain = *self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        signed(&chain, &self.key)
    }
}

impl Drop for Audit {
    /// Waits until everything is written and the head is signed.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            writer.join().ok();
        }
    }
}

/// Reads the whole audit of a node that is not running (or a copy), checks the chain and the signed head, and gives every entry to `each`.
///
/// # Errors
/// The first thing that is not as it was written.
pub fn verify(
    dir: &Path,
    rows: &RowKey,
    node: &NodeId,
    mut each: impl FnMut(&Entry),
) -> Result<Chain, AuditError> {
    let head = read_head(dir)?;
    let mut chain = Chain::default();
    let mut at_head = (chain.next == head.as_ref().map_or(0, |h| h.entries)).then_some(chain);
    for first in segments(dir)? {
        let path = segment_path(dir, first);
        let wrong = |source| AuditError::Entry {
            path: path.clone(),
            source,
        };
        if first != chain.next {
            return Err(wrong(format::AuditError::Order {
                expected: chain.next,
                found: first,
            }));
        }
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let mut rest = bytes.as_slice();
        while let Some((frame, after)) = split_frame(rest).map_err(wrong)? {
            let entry = Entry::open(rows, first, chain.next, frame).map_err(wrong)?;
            chain.take(&entry).map_err(wrong)?;
            each(&entry);
            if head.as_ref().is_some_and(|h| h.entries == chain.next) {
                at_head = Some(chain);
            }
            rest = after;
        }
    }
    let Some(head) = head else { return Ok(chain) };
    let at_head = at_head.ok_or(AuditError::Short {
        found: chain.next,
        signed: head.entries,
    })?;
    if at_head.head != *head.hash {
        return Err(AuditError::OtherThanSigned);
    }
    at_head
        .verify(&head.signature, node)
        .map_err(|_| AuditError::Head)?;
    Ok(chain)
}

/// The newest file, open at its end.
struct Log {
    dir: PathBuf,
    store: Arc<Store>,
    key: Arc<RootKey>,
    chain: Chain,
    /// Number of the first entry of the file.
    first: u64,
    file: Option<File>,
    length: u64,
    signed: u64,
    signed_at: Instant,
    /// The signed head is not this key's.
    of_another_key: bool,
}

impl Log {
    /// With what was wrong with the newest file, if something was.
    fn open(
        dir: &Path,
        store: Arc<Store>,
        key: Arc<RootKey>,
    ) -> Result<(Log, Option<&'static str>), AuditError> {
        let head = read_head(dir).ok().flatten();
        let signed = head.as_ref().map_or(0, |h| h.entries);
        let of_another_key = head.as_ref().is_some_and(|h| {
            let at = Chain {
                next: h.entries,
                head: *h.hash,
            };
            at.verify(&h.signature, &key.node_id()).is_err()
        });
        let mut log = Log {
            dir: dir.to_path_buf(),
            store,
            key,
            chain: Chain::default(),
            first: 0,
            file: None,
            length: 0,
            signed,
            signed_at: Instant::now(),
            of_another_key,
        };
        let Some(first) = segments(dir)?.pop() else {
            let gone = head.filter(|h| h.entries > 0);
            let note = gone.is_some().then_some("its files are gone");
            if let Some(head) = gone {
                log.chain = Chain {
                    next: head.entries,
                    head: *head.hash,
                };
                log.first = head.entries;
            }
            return Ok((log, note));
        };
        log.first = first;
        let note = log.read_newest()?;
        let cut_off = note.is_none() && log.chain.next < signed;
        Ok((
            log,
            note.or(cut_off.then_some("entries that were signed for are missing at its end")),
        ))
    }

    fn read_newest(&mut self) -> Result<Option<&'static str>, AuditError> {
        let path = segment_path(&self.dir, self.first);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let mut rest = bytes.as_slice();
        let mut begun = false;
        self.chain.next = self.first;
        let wrong = loop {
            match split_frame(rest) {
                Ok(None) => break None,
                Err(format::AuditError::Cut) => break Some(false),
                Err(_) => break Some(true),
                Ok(Some((frame, after))) => {
                    let Ok(entry) =
                        Entry::open(self.store.row_key(), self.first, self.chain.next, frame)
                    else {
                        break Some(true);
                    };
                    if !begun {
                        // Earlier files are checked by `verify`; here they are believed.
                        self.chain.head = *entry.prev;
                        begun = true;
                    }
                    if self.chain.take(&entry).is_err() {
                        break Some(true);
                    }
                    rest = after;
                }
            }
        };
        self.length = (bytes.len() - rest.len()) as u64;
        let Some(damaged) = wrong else {
            return Ok(None);
        };
        if damaged {
            let aside = path.with_extension("log.damaged");
            fs::copy(&path, &aside)
                .and_then(|_| File::open(&aside)?.sync_all())
                .map_err(io_error("put aside", &aside))?;
        }
        let file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        file.set_len(self.length)
            .and_then(|()| file.sync_all())
            .map_err(io_error("cut", &path))?;
        Ok(damaged.then_some("a frame does not open"))
    }

    /// Appends entries and syncs once. After a failure the file is as it was before.
    fn append(&mut self, all: impl IntoIterator<Item = Happened>) -> Result<(), AuditError> {
        if self.length >= FULL {
            (self.first, self.file, self.length) = (self.chain.next, None, 0);
        }
        let mut chain = self.chain;
        let mut bytes = Vec::new();
        for Happened {
            kind,
            actor,
            subject,
            outcome,
        } in all
        {
            let entry = chain.entry(now_ms(), kind, &actor, subject, outcome);
            let mut nonce = [0; 24];
            getrandom::fill(&mut nonce).map_err(|_| AuditError::Randomness)?;
            bytes.extend(entry.seal(self.store.row_key(), self.first, nonce));
            chain.take(&entry).map_err(|source| AuditError::Entry {
                path: self.dir.clone(),
                source,
            })?;
        }
        let (path, length) = (segment_path(&self.dir, self.first), self.length);
        let file = self.file()?;
        if let Err(e) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            file.set_len(length).ok();
            return Err(io_error("write", &path)(e));
        }
        self.length += bytes.len() as u64;
        self.chain = chain;
        if self.chain.next - self.signed.min(self.chain.next) >= SIGN_AFTER {
            self.sign()?;
        }
        Ok(())
    }

    fn file(&mut self) -> Result<&mut File, AuditError> {
        let path = segment_path(&self.dir, self.first);
        if self.file.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(&path)
                .map_err(io_error("open", &path))?;
            sync_dir(&self.dir)?;
            self.file = Some(file);
        }
        self.file.as_mut().ok_or(AuditError::Stopped)
    }

    fn sign_when_due(&mut self) {
        if self.chain.next > self.signed && self.signed_at.elapsed() >= SIGN_EVERY {
            self.sign_or_say();
        }
    }

    fn sign_or_say(&mut self) {
        if let Err(e) = self.sign() {
            tracing::error!(
                error = &e as &dyn std::error::Error,
                "the head of the audit is not signed"
            );
        }
    }

    fn sign(&mut self) -> Result<(), AuditError> {
        let next = self.dir.join("head.next");
        let head = enc::encode(&signed(&self.chain, &self.key));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&next)?;
            file.write_all(&head)?;
            file.sync_all()?;
            fs::rename(&next, self.dir.join("head"))
        };
        write().map_err(io_error("sign", &next))?;
        sync_dir(&self.dir)?;
        (self.signed, self.signed_at) = (self.chain.next, Instant::now());
        Ok(())
    }
}

/// The writer: takes what has queued up, syncs it once, answers all.
fn write_jobs(jobs: &Receiver<Job>, mut log: Log, shown: &Mutex<Chain>, limit: &Mutex<Limit>) {
    loop {
        let mut group = Vec::new();
        let ended = match jobs.recv_timeout(LOOK) {
            Ok(job) => {
                group.push(job);
                group.extend(jobs.try_iter().take(GROUP - 1));
                false
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => true,
        };
        let counted = {
            let mut limit = limit.lock().unwrap_or_else(PoisonError::into_inner);
            if ended {
                limit.all()
            } else {
                limit.due(Instant::now())
            }
        };
        group.extend(counted.into_iter().map(|happened| Job {
            happened,
            done: None,
        }));
        if !group.is_empty() {
            write_group(&mut log, group, shown);
        }
        if ended {
            if log.chain.next > log.signed {
                log.sign_or_say();
            }
            return;
        }
        log.sign_when_due();
    }
}

fn write_group(log: &mut Log, group: Vec<Job>, shown: &Mutex<Chain>) {
    let (happened, answers): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|job| (job.happened, job.done))
        .unzip();
    let result = log.append(happened);
    *shown.lock().unwrap_or_else(PoisonError::into_inner) = log.chain;
    if let Err(e) = &result {
        tracing::error!(
            error = e as &dyn std::error::Error,
            "the audit is not written"
        );
    }
    let failed = result.is_err();
    let mut result = Some(result);
    for done in answers.into_iter().flatten() {
        let answer = if failed {
            result.take().unwrap_or(Err(AuditError::Stopped))
        } else {
            Ok(())
        };
        done.send(answer).ok();
    }
}

fn about_itself(note: &str) -> Happened {
    let subject = Subject {
        vault: None,
        path: None,
        detail: format!("audit: {note}"),
    };
    Happened {
        kind: Kind::Store,
        actor: "local".into(),
        subject,
        outcome: Outcome::Done,
    }
}

fn signed(chain: &Chain, key: &RootKey) -> Head {
    Head {
        entries: chain.next,
        hash: chain.head.into(),
        signature: chain.sign(key).into(),
    }
}

fn read_head(dir: &Path) -> Result<Option<Head>, AuditError> {
    let path = dir.join("head");
    match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error("read", &path)(e)),
        Ok(bytes) => enc::decode(&bytes).map(Some).map_err(|_| AuditError::Head),
    }
}

/// Numbers of the first entries of the files, ascending.
fn segments(dir: &Path) -> Result<Vec<u64>, AuditError> {
    let list = || {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            found.extend(
                name.to_str()
                    .and_then(|n| n.strip_suffix(".log")?.parse::<u64>().ok()),
            );
        }
        found.sort_unstable();
        Ok(found)
    };
    list().map_err(io_error("list", dir))
}

fn segment_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first}.log"))
}

fn sync_dir(dir: &Path) -> Result<(), AuditError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(io_error("sync", dir))
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_path_buf();
    move |source| AuditError::Io { step, path, source }
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
