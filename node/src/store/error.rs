//! Why a store could not be used.

use super::{SCHEMA, Table};
use std::io;
use std::path::{Path, PathBuf};

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
        source: super::database::Failure,
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

impl StoreError {
    /// An error of the file system, at a step.
    pub(super) fn io(
        path: &Path,
        step: &'static str,
    ) -> impl FnOnce(io::Error) -> StoreError + use<> {
        let path = path.to_path_buf();
        move |source| StoreError::Io { path, step, source }
    }
}
