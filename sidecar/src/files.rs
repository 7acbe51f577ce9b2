//! Writes a version as files and switches to it in one step, as the kubelet does for its own volumes: a new directory, then one rename of the link `..data`.
//!
//! An app sees all of the old version or all of the new one. Whatever fails before the rename leaves the old files as they are.

use crate::layout::{self, Unusable};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The link that all names lead through.
const DATA: &str = "..data";
/// The link while it is made.
const DATA_NEW: &str = "..data_new";

/// One entry of a version.
pub struct Entry {
    /// Permission bits; ignored for a directory.
    pub mode: u32,
    /// Where its bytes are.
    pub source: Source,
}

/// Where the bytes of an entry are.
pub enum Source {
    /// Here.
    Bytes(Zeroizing<Vec<u8>>),
    /// In the version before this one, unchanged: the file is linked, not copied.
    Unchanged,
    /// It is an explicit empty directory (its path ends in `/`).
    Directory,
}

/// Why a version was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A path cannot be a file.
    #[error(transparent)]
    Path(#[from] Unusable),
    /// The memory volume is full.
    #[error("the memory volume is full (chart value sidecar.volumeMi)")]
    Full,
    /// The file system refused.
    #[error("cannot write below {dir}")]
    Io {
        /// The vault's directory.
        dir: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// The directory of one vault in the volume.
pub struct VaultDir {
    dir: PathBuf,
    /// Numbers the directories of versions, so that writing one version twice never meets itself.
    serial: u64,
}

impl VaultDir {
    /// Opens (and makes) the directory and removes what a killed sidecar left half-written.
    pub fn open(dir: PathBuf) -> Result<VaultDir, WriteError> {
        let mut this = VaultDir { dir, serial: 0 };
        this.attempt(|d| fs::create_dir_all(&d.dir))?;
        this.attempt(VaultDir::sweep)?;
        Ok(this)
    }

    /// True when a version is in place.
    pub fn has_version(&self) -> bool {
        self.dir.join(DATA).exists()
    }

    /// Reads the bytes of one file of the version in place.
    pub fn read(&self, path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
        fs::read(self.dir.join(DATA).join(path)).map(Zeroizing::new)
    }

    /// Writes `entries` as the version called `name` and switches to it. On an error the version before stays in place, whole.
    pub fn write(
        &mut self,
        name: &str,
        entries: &BTreeMap<String, Entry>,
    ) -> Result<(), WriteError> {
        let layout = layout::layout(entries.keys().map(String::as_str))?;
        self.serial += 1;
        let version = format!("..{name}.{}", self.serial);
        let old = fs::read_link(self.dir.join(DATA)).ok();
        let result = self.attempt(|d| {
            d.fill(&version, &layout, entries)?;
            d.switch(&version)
        });
        if result.is_err() {
            fs::remove_dir_all(self.dir.join(&version)).ok();
            return result;
        }
        // From here the new version is in place: what fails now leaves only a name or a directory too many, which the next write mends.
        self.attempt(|d| d.relink(&layout.links))?;
        if let Some(old) = old {
            fs::remove_dir_all(self.dir.join(old)).ok();
        }
        Ok(())
    }

    fn fill(
        &self,
        version: &str,
        layout: &layout::Layout,
        entries: &BTreeMap<String, Entry>,
    ) -> io::Result<()> {
        let root = self.dir.join(version);
        make_directory(&root)?;
        for directory in &layout.directories {
            make_directory(&root.join(directory))?;
        }
        for (path, entry) in entries {
            match &entry.source {
                Source::Directory => {}
                Source::Unchanged => {
                    fs::hard_link(self.dir.join(DATA).join(path), root.join(path))?;
                }
                Source::Bytes(bytes) => write_file(&root.join(path), entry.mode, bytes)?,
            }
        }
        Ok(())
    }

    fn switch(&self, version: &str) -> io::Result<()> {
        let new = self.dir.join(DATA_NEW);
        fs::remove_file(&new).or_else(absent_is_fine)?;
        symlink(version, &new)?;
        fs::rename(&new, self.dir.join(DATA))
    }

    /// Makes the links of names that are new and removes those of names that are gone.
    fn relink(&self, links: &std::collections::BTreeSet<String>) -> io::Result<()> {
        for link in links {
            match symlink(Path::new(DATA).join(link), self.dir.join(link)) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        for name in self.names()? {
            if !name.starts_with("..") && !links.contains(&name) {
                fs::remove_file(self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes directories of versions that `..data` does not point to.
    fn sweep(&self) -> io::Result<()> {
        let current = fs::read_link(self.dir.join(DATA)).ok();
        for name in self.names()? {
            let kept = name == DATA
                || current.as_deref() == Some(Path::new(&name))
                || !name.starts_with("..");
            if !kept {
                let path = self.dir.join(&name);
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path)?;
                } else {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.dir)?
            .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn attempt(&mut self, step: impl FnOnce(&Self) -> io::Result<()>) -> Result<(), WriteError> {
        step(self).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::Full,
            _ => WriteError::Io {
                dir: self.dir.clone(),
                source,
            },
        })
    }
}

/// Replaces a small file whole: written beside it, then renamed.
pub fn replace_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::remove_file(&new).or_else(absent_is_fine)?;
    write_file(&new, mode, bytes)?;
    fs::rename(new, path)
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Writes a file that does not exist yet, with its final mode from the first byte on whatever the umask.
fn write_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file: OwnedFd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o200))?;
    let mut file = fs::File::from(file);
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777))
}

fn absent_is_fine(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(mode: u32, value: &[u8]) -> Entry {
        Entry {
            mode,
            source: Source::Bytes(Zeroizing::new(value.to_vec())),
        }
    }

    fn entries(list: &[(&str, &[u8])]) -> BTreeMap<String, Entry> {
        list.iter()
            .map(|(p, v)| ((*p).to_owned(), bytes(0o444, v)))
            .collect()
    }

    fn read(dir: &Path, path: &str) -> Vec<u8> {
        fs::read(dir.join(path)).unwrap()
    }

    #[test]
    fn a_version_replaces_the_one_before_with_nothing_left_over() {
        let tmp = tempfile::tempdir().unwrap();
        let mut d = VaultDir::open(tmp.path().join("app")).unwrap();
        d.write("v1", &entries(&[("db/password", b"one"), ("gone", b"x")]))
            .unwrap();
        let dir = tmp.path().join("app");
        assert_eq!(read(&dir, "db/password"), b"one");
        let mut next = entries(&[("new", b"n")]);
        next.insert(
            "db/password".into(),
            Entry {
                mode: 0o444,
                source: Source::Unchanged,
            },
        );
        d.write("v2", &next).unwrap();
        assert_eq!(
            (read(&dir, "db/password"), read(&dir, "new")),
            (b"one".to_vec(), b"n".to_vec())
        );
        assert!(!dir.join("gone").exists() && !dir.join("gone").is_symlink());
        let versions = fs::read_dir(&dir)
            .unwrap()
            .filter(|e| {
                e.as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("..v")
            })
            .count();
        assert_eq!(versions, 1, "the old version's directory is removed");
    }

    #[test]
    fn a_version_that_cannot_be_written_leaves_the_old_one_whole() {
        let tmp = tempfile::tempdir().unwrap();
        let mut d = VaultDir::open(tmp.path().join("app")).unwrap();
        d.write("v1", &entries(&[("a", b"one"), ("b", b"two")]))
            .unwrap();
        let mut broken = entries(&[("b", b"changed")]);
        broken.insert(
            "zz-not-there-before".into(),
            Entry {
                mode: 0o444,
                source: Source::Unchanged,
            },
        );
        assert!(matches!(d.write("v2", &broken), Err(WriteError::Io { .. })));
        assert!(matches!(
            d.write("v3", &entries(&[("a", b"x"), ("a/b", b"y")])),
            Err(WriteError::Path(_))
        ));
        let dir = tmp.path().join("app");
        assert_eq!(
            (read(&dir, "a"), read(&dir, "b")),
            (b"one".to_vec(), b"two".to_vec())
        );
    }

    #[test]
    fn a_killed_writer_leaves_nothing_that_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("app");
        let mut d = VaultDir::open(dir.clone()).unwrap();
        d.write("v1", &entries(&[("a", b"one")])).unwrap();
        fs::create_dir(dir.join("..v2.2")).unwrap();
        fs::write(dir.join("..v2.2/a"), b"half").unwrap();
        symlink("..v2.2", dir.join(DATA_NEW)).unwrap();
        let d = VaultDir::open(dir.clone()).unwrap();
        assert!(
            d.has_version() && !dir.join("..v2.2").exists() && !dir.join(DATA_NEW).is_symlink()
        );
        assert_eq!(read(&dir, "a"), b"one");
    }

    #[test]
    fn modes_are_as_asked_and_directories_can_be_entered() {
        let tmp = tempfile::tempdir().unwrap();
        let mut d = VaultDir::open(tmp.path().join("app")).unwrap();
        let list = BTreeMap::from([
            ("k/private".to_owned(), bytes(0o400, b"k")),
            (
                "empty/".to_owned(),
                Entry {
                    mode: 0,
                    source: Source::Directory,
                },
            ),
        ]);
        d.write("v1", &list).unwrap();
        let mode = |p: &str| {
            fs::metadata(tmp.path().join("app").join(p))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(
            (mode("k/private"), mode("k"), mode("empty")),
            (0o400, 0o755, 0o755)
        );
    }
}
