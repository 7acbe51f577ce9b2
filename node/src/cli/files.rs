//! Files for one person's eyes, and the files that passwords and words come from.

use super::stop::Stop;
use polykey_client::error::{ApiError, Code};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Mode of everything written here.
const PRIVATE: u32 = 0o600;
/// The longest password or list of words that is read, in bytes: 24 words need 215.
const MAX_SECRET_FILE: usize = 4_096;

/// A file of mode 0600 that is written whole or not at all: a temporary one beside it, synced, then renamed over it. Dropped before that, it leaves nothing.
pub struct PrivateFile<'f> {
    file: &'f Path,
    temporary: PathBuf,
    out: File,
}

impl PrivateFile<'_> {
    /// Begins.
    pub fn begin(file: &Path) -> Result<PrivateFile<'_>, Stop> {
        let temporary = beside(file);
        let out = create(&temporary).map_err(|e| cannot_write(file, &e))?;
        Ok(PrivateFile {
            file,
            temporary,
            out,
        })
    }

    /// Writes more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let written = self.out.write_all(bytes);
        written.map_err(|e| cannot_write(self.file, &e))
    }

    /// Puts it in its place.
    pub fn finish(self) -> Result<(), Stop> {
        let written = self.out.sync_all();
        let placed = written.and_then(|()| std::fs::rename(&self.temporary, self.file));
        placed.map_err(|e| cannot_write(self.file, &e))
    }
}

impl Drop for PrivateFile<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn cannot_write(file: &Path, e: &std::io::Error) -> Stop {
    Stop::failed(format!("cannot write {}: {e}", file.display()))
}

/// Writes a new file of mode 0600 and syncs it; one that is there is never touched.
pub fn create_private(file: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let written =
        create(file).and_then(|mut out| out.write_all(bytes).and_then(|()| out.sync_all()));
    written.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Stop::Error(
            ApiError::new(
                Code::Conflict,
                format!("{} is there already; nothing was changed", file.display()),
            )
            .hint("name a file that does not exist yet"),
        ),
        _ => Stop::failed(format!("cannot write {}: {e}", file.display())),
    })
}

/// The text of a file that holds a password or words.
pub fn read_secret(file: &Path, what: &str) -> Result<Zeroizing<String>, Stop> {
    let failed = |e: std::io::Error| {
        Stop::failed(format!(
            "cannot read the {what} from {}: {e}",
            file.display()
        ))
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_FILE + 2));
    let file_to_read = File::open(file).map_err(failed)?;
    file_to_read
        .take(MAX_SECRET_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_SECRET_FILE {
        return Err(Stop::failed(format!(
            "{} is no file with a {what}: it has more than {MAX_SECRET_FILE} bytes",
            file.display()
        )));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| {
        Stop::failed(format!(
            "{} is no file with a {what}: it is not UTF-8",
            file.display()
        ))
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn create(file: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(file)
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    file.with_file_name(name)
}
