//! The journal: what makes a commit durable with one write and one sync. `journal` is a file of fixed size beside sled, written from its beginning again after each
//! checkpoint, so that a sync has data alone to bring to the disk and no new length.
//!
//! ```text
//! frame   round 16 ‖ number u32 ‖ length u32 ‖ check 16 ‖ rows       integers big-endian
//! check   BLAKE3(round ‖ number ‖ length ‖ rows)[..16]
//! row     key length u16 ‖ key ‖ value length u32 (all ones: the row is removed) ‖ value
//! ```
//!
//! A round is named by 16 random bytes, so that what an earlier round left behind the end is never taken for a part of this one. Its first frame has no rows and is on the disk
//! before sled is told to hold anything newer. A frame that does not check ends the round: a crash cut it off, and nobody was answered for it.
//!
//! Rows are sealed before they come here. Nothing in this file knows what they are.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A row by its place; `None` removes it.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// Bytes of the file. sled is brought to the disk each time it is full, so this bounds what sled may hold that no sync of its own file has covered: half of a segment of
/// sled's, which frees one only two segments later.
pub const SIZE: usize = 256 << 10;
const ROUND: usize = 16;
const CHECK: usize = 16;
const HEADER: usize = ROUND + 4 + 4 + CHECK;
/// The length of a value that says that the row is removed.
const REMOVED: u32 = u32::MAX;

/// The open journal.
pub struct Journal {
    file: File,
    round: [u8; ROUND],
    number: u32,
    end: usize,
}

impl Journal {
    /// Opens the journal in `dir`, making it when it is not there, and gives the rows that it holds, oldest first. They go to sled, and [`Journal::begin`] is next.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn open(dir: &Path) -> io::Result<(Journal, Vec<Row>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join("journal"))?;
        let mut held = vec![0; SIZE];
        let mut filled = 0;
        while let n @ 1.. = file.read_at(&mut held[filled..], filled as u64)? {
            filled += n;
        }
        if filled < SIZE {
            file.set_len(0)?;
            file.write_all(&held)?;
            file.sync_all()?;
            File::open(dir)?.sync_all()?;
        }
        let journal = Journal {
            file,
            round: [0; ROUND],
            number: 0,
            end: SIZE,
        };
        Ok((journal, rows_of(&held)))
    }

    /// Begins a round: nothing that was written before counts any more.
    ///
    /// # Errors
    /// When the file cannot be written or synced.
    pub fn begin(&mut self, round: [u8; ROUND]) -> io::Result<()> {
        (self.round, self.number, self.end) = (round, 0, 0);
        self.write(&[]).map(drop)
    }

    /// Puts rows on the disk as one frame, whole or not at all. False when there is no room for them in this round, and nothing was written.
    ///
    /// # Errors
    /// When the file cannot be written or synced.
    pub fn write(&mut self, rows: &[Row]) -> io::Result<bool> {
        let length: usize = rows.iter().map(encoded_length).sum();
        if self.end + HEADER + length > SIZE {
            return Ok(false);
        }
        let mut body = Vec::with_capacity(length);
        for row in rows {
            encode(row, &mut body);
        }
        let head = Head {
            round: self.round,
            number: self.number,
            length: u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?,
        };
        let frame = [&head.bytes()[..], &head.check(&body), &body].concat();
        self.file.write_all_at(&frame, self.end as u64)?;
        self.file.sync_data()?;
        self.end += frame.len();
        self.number += 1;
        Ok(true)
    }
}

/// What stands before the check of a frame.
struct Head {
    round: [u8; ROUND],
    number: u32,
    length: u32,
}

type HeadBytes = [u8; HEADER - CHECK];

impl Head {
    fn bytes(&self) -> HeadBytes {
        let mut out = [0; HEADER - CHECK];
        out[..ROUND].copy_from_slice(&self.round);
        out[ROUND..ROUND + 4].copy_from_slice(&self.number.to_be_bytes());
        out[ROUND + 4..].copy_from_slice(&self.length.to_be_bytes());
        out
    }

    fn check(&self, body: &[u8]) -> [u8; CHECK] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes()).update(body);
        let mut out = [0; CHECK];
        out.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK]);
        out
    }
}

/// The rows of the round that stands at the beginning of a journal, up to its first frame that does not check.
fn rows_of(mut bytes: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut round = None;
    let mut number = 0;
    while let Some((head, body, rest)) = frame(bytes) {
        if head.number != number || *round.get_or_insert(head.round) != head.round {
            break;
        }
        let Some(decoded) = decode(body) else { break };
        rows.extend(decoded);
        number += 1;
        bytes = rest;
    }
    rows
}

/// The frame at the beginning of `bytes`, if its check holds.
fn frame(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let (round, rest) = bytes.split_first_chunk::<ROUND>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (check, rest) = rest.split_first_chunk::<CHECK>()?;
    let head = Head {
        round: *round,
        number: u32::from_be_bytes(*number),
        length: u32::from_be_bytes(*length),
    };
    let (body, rest) = rest.split_at_checked(head.length as usize)?;
    (head.check(body) == *check).then_some((head, body, rest))
}

fn encoded_length((key, value): &Row) -> usize {
    2 + key.len() + 4 + value.as_ref().map_or(0, Vec::len)
}

/// Keys are ids and counters, and values of this size stand in packs: neither length is cut here, and a frame that would not read back is not found by its check.
fn encode((key, value): &Row, out: &mut Vec<u8>) {
    out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(key);
    let length = value
        .as_ref()
        .map_or(REMOVED, |v| u32::try_from(v.len()).unwrap_or(REMOVED));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value.as_deref().unwrap_or_default());
}

fn decode(mut bytes: &[u8]) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let value = match u32::from_be_bytes(*length) {
            REMOVED => None,
            length => Some(length as usize),
        };
        let (taken, rest) = rest.split_at_checked(value.unwrap_or(0))?;
        rows.push((key.to_vec(), value.map(|_| taken.to_vec())));
        bytes = rest;
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(dir: &Path) -> Vec<Row> {
        Journal::open(dir).unwrap().1
    }

    fn row() -> impl Strategy<Value = Row> {
        let bytes = |most| prop::collection::vec(any::<u8>(), 0..most);
        (bytes(80), prop::option::of(bytes(600)))
    }

    #[test]
    fn a_new_round_makes_the_one_before_it_forgotten_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, rows) = Journal::open(dir.path()).unwrap();
        assert!(rows.is_empty());
        journal.begin([1; ROUND]).unwrap();
        let row = |n: u8| vec![(vec![n], Some(vec![n; 10]))];
        for n in 0..5 {
            assert!(journal.write(&row(n)).unwrap());
        }
        assert_eq!(opened(dir.path()).len(), 5);
        journal.begin([2; ROUND]).unwrap();
        assert_eq!(opened(dir.path()), []);
        journal.write(&row(9)).unwrap();
        assert_eq!(opened(dir.path()), row(9));
    }

    #[test]
    fn rows_that_do_not_fit_are_refused_and_harm_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.begin([1; ROUND]).unwrap();
        let large = vec![(vec![1], Some(vec![7; SIZE / 3]))];
        assert!(journal.write(&large).unwrap());
        assert!(journal.write(&large).unwrap());
        assert!(!journal.write(&large).unwrap());
        assert!(journal.write(&[(vec![2], None)]).unwrap());
        assert_eq!(opened(dir.path()).len(), 3);
        assert_eq!(
            std::fs::metadata(dir.path().join("journal")).unwrap().len(),
            SIZE as u64
        );
    }

    proptest! {
        #[test]
        fn what_was_written_comes_back_in_order(frames in prop::collection::vec(prop::collection::vec(row(), 0..6), 0..12)) {
            let dir = tempfile::tempdir().unwrap();
            let (mut journal, _) = Journal::open(dir.path()).unwrap();
            journal.begin([3; ROUND]).unwrap();
            for frame in &frames {
                prop_assert!(journal.write(frame).unwrap());
            }
            prop_assert_eq!(opened(dir.path()), frames.concat());
        }

        #[test]
        fn a_byte_that_was_changed_ends_the_round_before_its_frame(at in 0usize..4_000, flip in 1u8..) {
            let dir = tempfile::tempdir().unwrap();
            let (mut journal, _) = Journal::open(dir.path()).unwrap();
            journal.begin([3; ROUND]).unwrap();
            let rows: Vec<Vec<Row>> = (0..20u8).map(|n| vec![(vec![n; 30], Some(vec![n; 130]))]).collect();
            let mut ends = vec![journal.end];
            for frame in &rows {
                journal.write(frame).unwrap();
                ends.push(journal.end);
            }
            let mut byte = [0];
            journal.file.read_exact_at(&mut byte, at as u64).unwrap();
            journal.file.write_all_at(&[byte[0] ^ flip], at as u64).unwrap();
            let whole = ends.iter().filter(|end| **end <= at).count().saturating_sub(1);
            prop_assert_eq!(opened(dir.path()), rows[..whole].concat());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = (rows_of(&bytes), decode(&bytes));
        }
    }
}
