//! An app in the pod that reads its two files again and again, through one opened directory, as an app does that wants both of one version.

use anyhow::{Context, Result, anyhow};
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::writer::PAIR;

/// Between two looks: it shares the machine with what it looks at.
const PAUSE: Duration = Duration::from_micros(200);

/// What the app saw.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    /// Pairs that it read.
    pub looks: u64,
    /// Different ones among them.
    pub versions: u64,
    /// Directories that a newer version replaced before both files were read.
    pub replaced: u64,
    /// Pairs of two versions, or with one file missing from a version that is in place.
    pub torn: u64,
    /// Versions older than one that it saw before.
    pub back: u64,
}

/// The app, in a thread of its own.
pub struct Reader {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Seen>>,
}

impl Reader {
    /// Starts reading the vault's directory `dir`.
    pub fn start(dir: PathBuf) -> Reader {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut seen, mut newest) = (Seen::default(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let pair = look(&dir.join("..data"))?;
                seen.take(&pair, &mut newest);
                std::thread::sleep(PAUSE);
            }
            Ok(seen)
        });
        Reader { stop, thread }
    }

    /// Ends it.
    pub fn stop(self) -> Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the reader panicked"))?
    }
}

impl Seen {
    /// With what another app saw.
    pub fn add(&mut self, other: Seen) {
        self.looks += other.looks;
        self.versions += other.versions;
        self.replaced += other.replaced;
        self.torn += other.torn;
        self.back += other.back;
    }

    fn take(&mut self, pair: &Pair, newest: &mut u64) {
        match pair {
            Pair::Both(a, b) if a == b => {
                self.looks += 1;
                self.versions += u64::from(a != newest);
                self.back += u64::from(a < newest);
                *newest = *a;
            }
            Pair::Both(a, b) => {
                self.torn += 1;
                eprintln!("torn: {a} beside {b}");
            }
            Pair::Missing => {
                self.torn += 1;
                eprintln!("torn: a file is missing from the version in place");
            }
            Pair::Replaced => self.replaced += 1,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Pair {
    Both(u64, u64),
    /// Not both files are in the version that is in place.
    Missing,
    /// The version was replaced, and removed, meanwhile.
    Replaced,
}

fn look(data: &Path) -> Result<Pair> {
    let dir = open_dir(data)?;
    let [a, b] = PAIR.map(|file| number(&dir, file));
    match (a?, b?) {
        (Some(a), Some(b)) => Ok(Pair::Both(a, b)),
        // It is still in place after a file was not found: then no removal explains it.
        _ if fstat(&open_dir(data)?)?.st_ino == fstat(&dir)?.st_ino => Ok(Pair::Missing),
        _ => Ok(Pair::Replaced),
    }
}

/// A link whose target was replaced and removed between the two steps of its lookup is found again at once.
const TRIES: usize = 10;

fn open_dir(data: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || openat(CWD, data, flags, Mode::empty());
    let opened = (1..TRIES)
        .map(|_| open())
        .find(|o| !matches!(o, Err(Errno::NOENT)));
    opened
        .unwrap_or_else(open)
        .with_context(|| format!("cannot open {}", data.display()))
}

/// What a file below an opened directory holds; nothing when it is not there.
fn number(dir: impl AsFd, file: &str) -> Result<Option<u64>> {
    let opened = match openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    File::from(opened).read_to_string(&mut text)?;
    // An empty or half-written file is as torn as any other: it is no number of a write.
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn volume(a: &str, b: Option<&str>) -> tempfile::TempDir {
        let volume = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(volume.path().join("..1/pair")).expect("a version");
        fs::write(volume.path().join("..1/pair/a"), a).expect("a file");
        if let Some(b) = b {
            fs::write(volume.path().join("..1/pair/b"), b).expect("a file");
        }
        symlink("..1", volume.path().join("..data")).expect("a link");
        volume
    }

    #[test]
    fn a_mixed_half_written_or_missing_file_counts_as_torn_and_an_older_version_as_going_back() {
        let (mut seen, mut newest) = (Seen::default(), 0);
        for (a, b) in [
            ("7", Some("7")),
            ("8", Some("7")),
            ("9", Some("")),
            ("9", None),
            ("6", Some("6")),
        ] {
            let volume = volume(a, b);
            seen.take(
                &look(&volume.path().join("..data")).expect("readable"),
                &mut newest,
            );
        }
        assert_eq!(
            (seen.looks, seen.torn, seen.back, seen.replaced),
            (2, 3, 1, 0)
        );
    }

    #[test]
    fn a_version_that_was_replaced_while_it_was_read_is_not_torn() {
        let volume = volume("1", Some("1"));
        let dir = open_dir(&volume.path().join("..data")).expect("open");
        fs::remove_dir_all(volume.path().join("..1")).expect("removed");
        assert_eq!(number(&dir, PAIR[0]).expect("readable"), None);
    }
}
