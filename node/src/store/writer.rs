//! The one thread that writes: it puts what has queued up into one frame of the journal and then answers all.
//!
//! A failed write ends writing: what the database then holds in memory may not be on the disk, and nothing may be acknowledged on top of it until the agent starts again.

use super::database::Database;
use super::journal::{Journal, Row};
use super::packs::{Appender, INLINE, Packs};
use super::reclaim::place_of;
use super::{HERE, PACKED, StoreError};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Commits that one flush may cover: 64 of the largest (a 64 KiB value each) are 4 MiB.
const GROUP: usize = 64;

/// Rows to write together, or to move.
pub struct Job {
    pub rows: Vec<Row>,
    /// Keys of rows to move out of this pack.
    pub moves: Option<(u32, Vec<Vec<u8>>)>,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

/// What makes writes durable: the journal, our own handle of the database's file for `fdatasync`, and the end of the packs.
pub struct Disk {
    path: PathBuf,
    db: Database,
    file: File,
    packs: Appender,
    journal: Journal,
    /// What the journal held at the start.
    held: Vec<Row>,
}

impl Disk {
    pub fn open(dir: &Path, db: Database, packs: &Packs) -> Result<Disk, StoreError> {
        // The names of files that were just made are on the disk only after their directories are.
        let above = dir.parent().filter(|p| !p.as_os_str().is_empty());
        for made in [Some(dir), above].into_iter().flatten() {
            File::open(made)
                .and_then(|d| d.sync_all())
                .map_err(StoreError::io(dir, "sync its directory"))?;
        }
        let file = db.file()?;
        let packs = Appender::open(packs).map_err(StoreError::io(dir, "open its packs"))?;
        let (journal, held) =
            Journal::open(dir).map_err(StoreError::io(dir, "open its journal"))?;
        Ok(Disk {
            path: dir.to_path_buf(),
            db,
            file,
            packs,
            journal,
            held,
        })
    }

    /// Gives the database what the journal holds: it may have lost any part of it.
    pub fn recover(&mut self) -> Result<(), StoreError> {
        let held = std::mem::take(&mut self.held);
        self.db.apply(held)?;
        self.checkpoint()
    }

    /// Writes batches, each whole or not at all, and returns when the disk has all of them: large rows first, then what points to them.
    pub fn write(&mut self, batches: impl IntoIterator<Item = Vec<Row>>) -> Result<(), StoreError> {
        let rows = batches
            .into_iter()
            .flatten()
            .map(|row| self.place(row))
            .collect::<io::Result<Vec<_>>>()
            .map_err(self.failed("write its packs"))?;
        let synced = self.packs.sync();
        synced.map_err(self.failed("sync its packs"))?;
        if self.journaled(&rows)? {
            return self.db.apply(rows);
        }
        self.checkpoint()?;
        if self.journaled(&rows)? {
            return self.db.apply(rows);
        }
        // More than a journal holds.
        self.db.apply_at_once(rows)?;
        self.db.sync(&self.file)
    }

    fn journaled(&mut self, rows: &[Row]) -> Result<bool, StoreError> {
        let written = self.journal.write(rows);
        written.map_err(self.failed("write its journal"))
    }

    /// Brings to the disk what the database holds, after which the journal may begin again.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.db.sync(&self.file)?;
        let mut round = [0; 16];
        getrandom::fill(&mut round).map_err(|_| StoreError::Randomness)?;
        let begun = self.journal.begin(round);
        begun.map_err(self.failed("write its journal"))
    }

    /// Moves rows that still stand in `pack` to the end of the packs. One that cannot be read stays, and so does its pack.
    pub fn move_rows(
        &mut self,
        packs: &Packs,
        pack: u32,
        keys: Vec<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let begun = self.packs.leave(pack);
        begun.map_err(self.failed("begin a pack"))?;
        let mut rows = Vec::new();
        for key in keys {
            let stored = self.db.get(&key)?;
            let place = stored.and_then(|stored| place_of(&stored));
            if let Some(place) = place.filter(|p| p.file() == pack)
                && let Ok(Some(row)) = packs.read(place)
            {
                rows.push((key, Some(row)));
            }
        }
        self.write([rows])
    }

    /// Puts a large row into a pack, and leaves its place in the database.
    fn place(&mut self, (key, row): Row) -> io::Result<Row> {
        let stored = match row {
            None => None,
            Some(row) if row.len() <= INLINE => Some([&[HERE], row.as_slice()].concat()),
            Some(row) => Some([&[PACKED], &self.packs.append(&row)?.to_bytes()[..]].concat()),
        };
        Ok((key, stored))
    }

    fn failed(&self, step: &'static str) -> impl FnOnce(io::Error) -> StoreError + use<> {
        StoreError::io(&self.path, step)
    }
}

/// Takes what has queued up, writes and syncs it once, answers all, until nobody can queue up more.
pub fn run(mut jobs: mpsc::Receiver<Job>, packs: &Packs, disk: &mut Disk, stopped: &AtomicBool) {
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
            let written = disk.write(rows);
            let mut moves = moves.into_iter();
            written
                .and_then(|()| moves.try_for_each(|(pack, keys)| disk.move_rows(packs, pack, keys)))
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
        && let Err(e) = disk.checkpoint()
    {
        // Nothing is lost: the journal has it.
        tracing::warn!(
            error = &e as &dyn std::error::Error,
            "the store could not be tidied up at its end"
        );
    }
}
