//! Large rows, kept beside sled in append-only files, `packs/<n>.pack`.
//!
//! sled moves a page over 128 KiB into a file of its own under `blobs/` and never syncs that file, so a power cut would lose acknowledged rows. A page has up to twenty rows;
//! rows up to [`INLINE`] keep it small enough, and what is larger stands here, synced before the row that points to it is written. Rows prove themselves (they are sealed, or
//! addressed by their hash), so a pack needs no checksum; what a crash left at its end nobody points to.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Rows up to this size stand in sled: twenty of them and their keys are 104 KiB.
pub const INLINE: usize = 5 << 10;
/// A pack that has this many bytes is followed by a new one.
const FULL: u64 = 256 << 20;
/// The longest row that a pack gives back; a place that says more is damaged. An access set of 10,000 rules is about 10 MiB.
pub const MAX_ROW: usize = 64 << 20;
/// Bytes of a place: file, offset, length.
const PLACE: usize = 4 + 8 + 4;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    file: u32,
    offset: u64,
    length: u32,
}

impl Place {
    pub fn to_bytes(self) -> [u8; PLACE] {
        let mut out = [0; PLACE];
        out[..4].copy_from_slice(&self.file.to_be_bytes());
        out[4..12].copy_from_slice(&self.offset.to_be_bytes());
        out[12..].copy_from_slice(&self.length.to_be_bytes());
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Place> {
        let bytes: &[u8; PLACE] = bytes.try_into().ok()?;
        let (file, rest) = bytes.split_first_chunk::<4>()?;
        let (offset, length) = rest.split_first_chunk::<8>()?;
        Some(Place {
            file: u32::from_be_bytes(*file),
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(length.try_into().ok()?),
        })
    }

    pub fn file(self) -> u32 {
        self.file
    }

    pub fn length(self) -> u64 {
        u64::from(self.length)
    }
}

/// The packs of a store, to read from.
pub struct Packs {
    dir: PathBuf,
    open: Mutex<HashMap<u32, Arc<File>>>,
}

impl Packs {
    /// The packs in `dir`, which is made when it is not there.
    pub fn open(dir: &Path) -> io::Result<Packs> {
        fs::create_dir_all(dir)?;
        Ok(Packs {
            dir: dir.to_path_buf(),
            open: Mutex::default(),
        })
    }

    /// Reads a row; `None` when no such place exists.
    pub fn read(&self, place: Place) -> io::Result<Option<Vec<u8>>> {
        self.read_start(place, usize::MAX)
    }

    /// Reads a row, but not more than `most` bytes of it.
    pub fn read_start(&self, place: Place, most: usize) -> io::Result<Option<Vec<u8>>> {
        let length = place.length as usize;
        if length > MAX_ROW {
            return Ok(None);
        }
        let Some(file) = self.file(place.file)? else {
            return Ok(None);
        };
        // Before anything is allocated: the place is a disk's word.
        if file.metadata()?.len() < place.offset.saturating_add(place.length()) {
            return Ok(None);
        }
        let mut row = vec![0; length.min(most)];
        file.read_exact_at(&mut row, place.offset)?;
        Ok(Some(row))
    }

    /// Numbers of the packs that are there, ascending, with their sizes.
    pub fn sizes(&self) -> io::Result<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let number = entry
                .file_name()
                .to_str()
                .and_then(|n| n.strip_suffix(".pack")?.parse().ok());
            if let Some(number) = number {
                found.push((number, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes a pack that no row points to any more.
    pub fn remove(&self, number: u32) -> io::Result<()> {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
        fs::remove_file(path(&self.dir, number))
    }

    fn file(&self, number: u32) -> io::Result<Option<Arc<File>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Some(Arc::clone(file)));
        }
        let file = match File::open(path(&self.dir, number)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => Arc::new(other?),
        };
        open.insert(number, Arc::clone(&file));
        Ok(Some(file))
    }
}

/// The end of the newest pack, to append to.
pub struct Appender {
    dir: PathBuf,
    number: u32,
    file: Option<File>,
    end: u64,
    dirty: bool,
}

impl Appender {
    /// Goes on behind whatever `packs` hold.
    pub fn open(packs: &Packs) -> io::Result<Appender> {
        let (number, end) = packs.sizes()?.last().copied().unwrap_or((0, 0));
        Ok(Appender {
            dir: packs.dir.clone(),
            number,
            file: None,
            end,
            dirty: false,
        })
    }

    /// Begins a pack behind all others: what is appended from now on is in none of them.
    pub fn begin_next(&mut self) -> io::Result<()> {
        self.sync()?;
        (self.number, self.end, self.file) = (self.number.saturating_add(1), 0, None);
        Ok(())
    }

    /// Begins a next pack when this one is at the end.
    pub fn leave(&mut self, pack: u32) -> io::Result<()> {
        if self.number == pack {
            self.begin_next()?;
        }
        Ok(())
    }

    /// Appends a row. It is on the disk after [`Appender::sync`].
    pub fn append(&mut self, row: &[u8]) -> io::Result<Place> {
        let length = u32::try_from(row.len())
            .ok()
            .filter(|_| row.len() <= MAX_ROW)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        if self.end >= FULL {
            self.begin_next()?;
        }
        let place = Place {
            file: self.number,
            offset: self.end,
            length,
        };
        self.file()?.write_all(row)?;
        self.end += u64::from(length);
        self.dirty = true;
        Ok(place)
    }

    /// Puts what was appended on the disk. Free when nothing was.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) {
            self.file()?.sync_data()?;
        }
        Ok(())
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path(&self.dir, self.number))?;
            // The name of a new file is on the disk only after its directory is.
            File::open(&self.dir)?.sync_all()?;
            self.end = file.metadata()?.len();
            self.file = Some(file);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number}.pack"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_come_back_across_restarts_and_behind_what_a_crash_left() {
        let dir = tempfile::tempdir().unwrap();
        let packs = Packs::open(dir.path()).unwrap();
        let mut places = Vec::new();
        for n in 0..5u8 {
            let mut end = Appender::open(&packs).unwrap();
            places.push(end.append(&vec![n; 9_000]).unwrap());
            end.sync().unwrap();
            OpenOptions::new()
                .append(true)
                .open(path(dir.path(), 0))
                .unwrap()
                .write_all(b"torn")
                .unwrap();
        }
        for (n, place) in (0u8..).zip(places) {
            assert_eq!(packs.read(place).unwrap().unwrap(), vec![n; 9_000]);
        }
    }

    #[test]
    fn a_next_pack_leaves_the_old_ones_whole_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let packs = Packs::open(dir.path()).unwrap();
        let mut end = Appender::open(&packs).unwrap();
        let first = end.append(b"first").unwrap();
        end.begin_next().unwrap();
        let second = end.append(b"second").unwrap();
        assert_eq!(packs.read(first).unwrap().unwrap(), b"first");
        packs.remove(first.file()).unwrap();
        assert_eq!(packs.read(first).unwrap(), None);
        assert_eq!(packs.read(second).unwrap().unwrap(), b"second");
        assert_eq!(packs.sizes().unwrap(), [(1, 6)]);
    }

    proptest! {
        #[test]
        fn no_place_makes_a_pack_panic_or_allocate_what_is_not_there(bytes: [u8; PLACE], length in 0usize..PLACE) {
            let dir = tempfile::tempdir().unwrap();
            let packs = Packs::open(dir.path()).unwrap();
            Appender::open(&packs).unwrap().append(b"some row").unwrap();
            prop_assert!(Place::from_bytes(&bytes[..length]).is_none());
            let place = Place::from_bytes(&bytes).unwrap();
            prop_assert_eq!(place.to_bytes(), bytes);
            prop_assert!(packs.read(place).unwrap().is_none_or(|row| row.len() <= 8));
            let in_a_pack = Place { file: 0, ..place };
            prop_assert!(packs.read(in_a_pack).unwrap().is_none_or(|row| row.len() <= 8));
        }
    }
}
