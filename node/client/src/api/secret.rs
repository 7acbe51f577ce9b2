//! What is said of the secrets at one version of a vault: their paths, sizes and authors, and where several values stand side by side. Never a value.

use polykey_core::ids::{CommitId, NodeId};
use serde::{Deserialize, Serialize};

/// One secret in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Bytes of its value.
    pub size: u64,
    /// File mode, for example `0o444`.
    pub mode: u32,
    /// The version that wrote it, if its commit is known here.
    pub version: Option<CommitId>,
    /// When that version was committed, unix milliseconds.
    pub changed_ms: Option<u64>,
    /// Who committed it.
    pub by: Option<NodeId>,
    /// More than one concurrent value: the newest is shown.
    pub conflict: bool,
}

/// `GET /v1/vaults/{vault}/secrets?prefix=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// The version listed.
    pub version: Option<CommitId>,
    /// In order of path.
    pub entries: Vec<Entry>,
}

/// Answer to [`Edits`](super::Edits) and [`RestoreRequest`](super::RestoreRequest).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditReply {
    /// The version now at the head.
    pub version: CommitId,
    /// Paths that changed. Empty: nothing differed and no version was made.
    pub changed: Vec<String>,
}

/// A path of which several values stand side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// Newest first: the first is the one that is shown.
    pub values: Vec<ConflictValue>,
}

/// One of several values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictValue {
    /// The version that wrote it, in which it can be read.
    pub version: Option<CommitId>,
    /// Who wrote it.
    pub by: Option<NodeId>,
    /// When, by its author's clock, unix milliseconds.
    pub changed_ms: Option<u64>,
    /// Bytes of the value.
    pub size: u64,
}

/// `GET /v1/vaults/{vault}/conflicts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflicts {
    /// By path.
    pub conflicts: Vec<Conflict>,
}
