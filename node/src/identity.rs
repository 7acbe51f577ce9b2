//! The life of `identity.pk`: made from words or for a key file, opened, its password changed. The bytes are [`polykey_core::unlock`]'s; this file puts them on the disk so
//! that at every instant either the old file is whole or the new one.
//!
//! ```text
//! <node path>/identity.pk      0600, sealed by a password or a key file
//! <node path>/store/           the database
//! <node path>/audit/           the audit's segments
//! ```

use polykey_core::ids::NodeId;
use polykey_core::keys::{RootKey, Words};
use polykey_core::row::RowKey;
use polykey_core::unlock::{self, Cost, Fresh, Method, Secret, UnlockError, Unlocked};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the file in the node path.
const FILE: &str = "identity.pk";
/// Where a new one is written before it takes the old one's place.
const NEXT: &str = "identity.pk.next";

/// Why an identity could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is one already.
    #[error("{0} has an identity already")]
    Exists(PathBuf),
    /// There is none.
    #[error("{0} has no identity")]
    Missing(PathBuf),
    /// The file system failed.
    #[error("cannot {step} {path}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file, the password or the key file is not right.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// An opened identity.
pub struct Identity {
    /// Signs and receives.
    pub root: RootKey,
    /// Public half of the recovery key; a pod's identity has none.
    pub recovery: Option<[u8; 32]>,
    /// How it was opened.
    pub method: Method,
    /// Seals the store's rows.
    pub rows: RowKey,
}

impl Identity {
    /// The node that this identity is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.root.node_id()
    }

    fn opened(unlocked: Unlocked, method: Method) -> Identity {
        Identity {
            root: unlocked.root,
            recovery: unlocked.recovery,
            method,
            rows: unlocked.rows,
        }
    }
}

/// True when the node path has an identity.
///
/// # Errors
/// When the directory cannot be looked into.
pub fn exists(node_path: &Path) -> Result<bool, IdentityError> {
    let path = node_path.join(FILE);
    path.try_exists().map_err(io_error("look for", &path))
}

/// Where the store of a node path is.
#[must_use]
pub fn store_dir(node_path: &Path) -> PathBuf {
    node_path.join("store")
}

/// Where the audit of a node path is.
#[must_use]
pub fn audit_dir(node_path: &Path) -> PathBuf {
    node_path.join("audit")
}

/// Makes the identity of `words`, opened by `password` from now on. Polykey's own nodes give the same words the same node id.
///
/// # Errors
/// `Exists` when the node path has one.
pub fn create(node_path: &Path, words: &Words, password: &str) -> Result<Identity, IdentityError> {
    let identity = words.identity();
    let recovery = Some(*identity.recovery.node_id().as_bytes());
    let unlocked = Unlocked::new(identity.root, recovery, random()?);
    write_new(node_path, unlocked, &Secret::Passphrase(password))
}

/// Makes a random identity that has no words, opened by a key file: for pods.
///
/// # Errors
/// `Exists` when the node path has one, or the key file is too short.
pub fn create_for_key_file(node_path: &Path, key: &[u8]) -> Result<Identity, IdentityError> {
    let unlocked = Unlocked::new(RootKey::from_seed(&*random()?), None, random()?);
    write_new(node_path, unlocked, &Secret::KeyFile(key))
}

/// Opens the identity.
///
/// # Errors
/// `Missing`, or an [`UnlockError`] that does not tell a wrong password from a damaged file.
pub fn open(node_path: &Path, secret: &Secret<'_>) -> Result<Identity, IdentityError> {
    let file = read(node_path)?;
    let unlocked = unlock::open(&file, secret)?;
    Ok(Identity::opened(unlocked, unlock::method(&file)?))
}

/// Gives the identity another password or key file. The old file is overwritten before it is let go.
///
/// # Errors
/// As [`open`], when `old` does not open it.
pub fn change_secret(
    node_path: &Path,
    old: &Secret<'_>,
    new: &Secret<'_>,
) -> Result<(), IdentityError> {
    let unlocked = unlock::open(&read(node_path)?, old)?;
    replace(node_path, &sealed(&unlocked, new)?)
}

/// Gives the identity another password with the words alone, for who forgot the old one. The store stays.
///
/// # Errors
/// `Missing`, or that the words are another identity's.
pub fn restore(node_path: &Path, words: &Words, password: &str) -> Result<Identity, IdentityError> {
    let identity = words.identity();
    let recovery = Some(*identity.recovery.node_id().as_bytes());
    let unlocked = unlock::open_by_root(&read(node_path)?, identity.root, recovery)?;
    let file = sealed(&unlocked, &Secret::Passphrase(password))?;
    replace(node_path, &file)?;
    Ok(Identity::opened(unlocked, unlock::method(&file)?))
}

/// Puts another root key into the identity: the secret that opens it and the store stay.
///
/// # Errors
/// As [`open`], when `secret` does not open it.
pub fn change_root(
    node_path: &Path,
    secret: &Secret<'_>,
    root: RootKey,
) -> Result<(), IdentityError> {
    let unlocked = unlock::open(&read(node_path)?, secret)?.with_root(root);
    replace(node_path, &sealed(&unlocked, secret)?)
}

/// Which secret opens the identity.
///
/// # Errors
/// `Missing`, or that the file is none.
pub fn method(node_path: &Path) -> Result<Method, IdentityError> {
    Ok(unlock::method(&read(node_path)?)?)
}

/// Reads a key file, which has random bytes and no lines: a trailing newline is part of it.
///
/// # Errors
/// When it cannot be read, or is shorter or longer than a key file may be.
pub fn read_key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let bytes =
        read_bounded(path, unlock::MAX_KEY_FILE).map_err(io_error("read the key file", path))?;
    if (unlock::KEY_FILE_BYTES..=unlock::MAX_KEY_FILE).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(UnlockError::KeyFile.into())
    }
}

fn write_new(
    node_path: &Path,
    unlocked: Unlocked,
    secret: &Secret<'_>,
) -> Result<Identity, IdentityError> {
    make_dir(node_path)?;
    let path = node_path.join(FILE);
    let file = sealed(&unlocked, secret)?;
    let next = write_next(node_path, &file)?;
    // A hard link fails when the name is taken, where a rename would replace an identity that another process just made.
    let linked = fs::hard_link(&next, &path);
    fs::remove_file(&next).map_err(io_error("remove", &next))?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(IdentityError::Exists(node_path.to_path_buf()));
        }
        other => other.map_err(io_error("write", &path))?,
    }
    sync_dir(node_path)?;
    let method = unlock::method(&file)?;
    Ok(Identity::opened(unlocked, method))
}

fn replace(node_path: &Path, file: &[u8]) -> Result<(), IdentityError> {
    let path = node_path.join(FILE);
    let old = OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(io_error("open", &path))?;
    let next = write_next(node_path, file)?;
    fs::rename(&next, &path).map_err(io_error("replace", &path))?;
    sync_dir(node_path)?;
    // The name is the new file's now; what the old password opens is still in the old one's blocks, and in what a crash left of a file that was to take its place.
    wipe(old).map_err(io_error("overwrite the old", &path))?;
    left_over(node_path)
        .map_err(io_error("look into", node_path))?
        .iter()
        .try_for_each(|file| {
            let open = OpenOptions::new().write(true).open(file);
            open.and_then(wipe)
                .and_then(|()| fs::remove_file(file))
                .map_err(io_error("remove", file))
        })
}

/// Files that were to take the place of `identity.pk`.
fn left_over(node_path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(node_path)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|n| n.starts_with(NEXT))
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn wipe(mut old: File) -> io::Result<()> {
    let length = usize::try_from(old.metadata()?.len())
        .unwrap_or(0)
        .min(unlock::MAX_IDENTITY);
    old.write_all(&vec![0; length])?;
    old.sync_data()
}

fn write_next(node_path: &Path, file: &[u8]) -> Result<PathBuf, IdentityError> {
    let next = node_path.join(format!("{NEXT}.{}", std::process::id()));
    let write = || {
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)?;
        out.write_all(file)?;
        out.sync_all()
    };
    write().map_err(io_error("write", &next))?;
    Ok(next)
}

fn sealed(unlocked: &Unlocked, secret: &Secret<'_>) -> Result<Vec<u8>, IdentityError> {
    let fresh = Fresh {
        salt: *random()?,
        nonce: *random()?,
        inner: *random()?,
    };
    Ok(unlock::seal(unlocked, secret, COST, &fresh)?)
}

/// What a password costs to try: 64 MiB. Tests pay the least that is accepted.
const COST: Cost = if cfg!(test) {
    Cost {
        memory_kib: 19 << 10,
        passes: 2,
        lanes: 1,
    }
} else {
    unlock::PASSPHRASE
};

fn read(node_path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    let path = node_path.join(FILE);
    match read_bounded(&path, unlock::MAX_IDENTITY) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(IdentityError::Missing(node_path.to_path_buf()))
        }
        other => other.map_err(io_error("read", &path)),
    }
}

/// One byte more than allowed is read, so that a file that is too long is seen to be.
fn read_bounded(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    File::open(path)?
        .take(most as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn make_dir(dir: &Path) -> Result<(), IdentityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("make", dir))?;
    match dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        // A parent that may not be read cannot be synced; the directory's own sync follows.
        Some(parent) => sync_dir(parent).or(Ok(())),
        None => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> Result<(), IdentityError> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .map_err(io_error("sync", dir))
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, IdentityError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).map_err(|_| IdentityError::Randomness)?;
    Ok(bytes)
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_path_buf();
    move |source| IdentityError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn words() -> Words {
        Words::from_entropy(&[9; 32])
    }

    fn rows_agree(a: &RowKey, b: &RowKey) -> bool {
        b.open(1, b"k", &a.seal(1, b"k", b"v", [1; 24])).is_ok()
    }

    #[test]
    fn an_identity_opens_with_its_password_and_the_same_words_are_the_same_node() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = create(a.path(), &words(), "correct horse").unwrap();
        let opened = open(a.path(), &Secret::Passphrase("correct horse")).unwrap();
        assert_eq!(made.node_id(), opened.node_id());
        assert_eq!(made.recovery, opened.recovery);
        assert!(rows_agree(&made.rows, &opened.rows));
        let again = create(b.path(), &words(), "another password").unwrap();
        assert_eq!(made.node_id(), again.node_id());
        assert!(
            !rows_agree(&made.rows, &again.rows),
            "each store has a key of its own"
        );
    }

    #[test]
    fn a_wrong_password_is_told_nothing_more_than_that() {
        let dir = tempfile::tempdir().unwrap();
        create(dir.path(), &words(), "correct horse").unwrap();
        let wrong = open(dir.path(), &Secret::Passphrase("correct hors"))
            .err()
            .unwrap();
        assert!(
            matches!(wrong, IdentityError::Unlock(UnlockError::Wrong)),
            "{wrong}"
        );
        let other_kind = open(dir.path(), &Secret::KeyFile(&[1; 32])).err().unwrap();
        assert!(
            matches!(
                other_kind,
                IdentityError::Unlock(UnlockError::Method { .. })
            ),
            "{other_kind}"
        );
    }

    #[test]
    fn an_identity_is_never_made_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let made = create_for_key_file(dir.path(), &[1; 32]).unwrap();
        assert!(matches!(
            create(dir.path(), &words(), "p"),
            Err(IdentityError::Exists(_))
        ));
        assert!(matches!(
            create_for_key_file(dir.path(), &[2; 32]),
            Err(IdentityError::Exists(_))
        ));
        assert_eq!(
            open(dir.path(), &Secret::KeyFile(&[1; 32]))
                .unwrap()
                .node_id(),
            made.node_id()
        );
        assert_eq!(made.recovery, None);
    }

    #[test]
    fn the_file_is_the_owners_alone_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let node_path = dir.path().join("new").join("node");
        create_for_key_file(&node_path, &[1; 32]).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&node_path.join(FILE)), 0o600);
        assert_eq!(mode(&node_path), 0o700);
        let names: Vec<_> = fs::read_dir(&node_path)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn a_changed_password_opens_the_same_store_and_the_old_one_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let made = create(dir.path(), &words(), "old").unwrap();
        let old_file = File::open(dir.path().join(FILE)).unwrap();
        change_secret(
            dir.path(),
            &Secret::Passphrase("old"),
            &Secret::Passphrase("new"),
        )
        .unwrap();
        let opened = open(dir.path(), &Secret::Passphrase("new")).unwrap();
        assert!(rows_agree(&made.rows, &opened.rows));
        assert!(open(dir.path(), &Secret::Passphrase("old")).is_err());
        let mut left = Vec::new();
        { old_file }.read_to_end(&mut left).unwrap();
        assert!(
            !left.is_empty() && left.iter().all(|b| *b == 0),
            "the old file was overwritten"
        );
    }

    #[test]
    fn the_words_alone_give_a_new_password_and_other_words_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let made = create(dir.path(), &words(), "forgotten").unwrap();
        let other = restore(dir.path(), &Words::from_entropy(&[8; 32]), "new")
            .err()
            .unwrap();
        assert!(
            matches!(other, IdentityError::Unlock(UnlockError::OtherIdentity)),
            "{other}"
        );
        let restored = restore(dir.path(), &words(), "new").unwrap();
        assert!(rows_agree(&made.rows, &restored.rows));
        assert!(open(dir.path(), &Secret::Passphrase("new")).is_ok());
    }

    #[test]
    fn a_flipped_byte_anywhere_in_the_file_never_opens_it() {
        let dir = tempfile::tempdir().unwrap();
        create_for_key_file(dir.path(), &[1; 32]).unwrap();
        let path = dir.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(
                open(dir.path(), &Secret::KeyFile(&[1; 32])).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_missing_identity_and_a_short_key_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            open(dir.path(), &Secret::KeyFile(&[1; 32])),
            Err(IdentityError::Missing(_))
        ));
        assert!(!exists(dir.path()).unwrap());
        let key = dir.path().join("key");
        fs::write(&key, [1; 31]).unwrap();
        assert!(matches!(
            read_key_file(&key),
            Err(IdentityError::Unlock(UnlockError::KeyFile))
        ));
        fs::write(&key, [1; 32]).unwrap();
        assert_eq!(read_key_file(&key).unwrap().len(), 32);
    }
}
