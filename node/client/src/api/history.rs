//! The versions of a vault: what each did, how two differ, from where on they are kept, and a way back to one.

use polykey_core::ids::{CommitId, NodeId};
use serde::{Deserialize, Serialize};

/// One version in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its id.
    pub version: CommitId,
    /// Who committed it.
    pub author: NodeId,
    /// When, by its author's clock, unix milliseconds.
    pub committed_ms: u64,
    /// Paths written or removed, when the versions before it are here.
    pub changes: Vec<PathChange>,
    /// Why its contents cannot be read: `broken` by its author, or `pruned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// What a version did to one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// The path.
    pub path: String,
    /// `added`, `changed` or `removed`.
    pub change: String,
}

/// `GET /v1/vaults/{vault}/log?path=&limit=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Newest first.
    pub versions: Vec<Version>,
}

/// A path that differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// The path.
    pub path: String,
    /// Bytes that were there; absent when nothing was.
    pub old: Option<u64>,
    /// Bytes that are there; absent when nothing is.
    pub new: Option<u64>,
    /// Several values stand side by side now.
    pub conflict: bool,
}

/// `GET /v1/vaults/{vault}/diff?path=&from=&to=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The older version; absent when nothing was before.
    pub from: Option<CommitId>,
    /// The newer one.
    pub to: CommitId,
    /// By path.
    pub changes: Vec<Differs>,
}

/// `POST /v1/vaults/{vault}/prune`: lets everyone drop the contents of all versions that one builds on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// Which version is kept; without this and `before_ms` the newest.
    #[serde(default)]
    pub keep: Option<String>,
    /// Keep the newest that is older than this, unix milliseconds.
    #[serde(default)]
    pub before_ms: Option<u64>,
    /// Only say what would be let go of.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to [`PruneRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReply {
    /// The version that is kept; `None` when no version is as old as was asked.
    pub keep: Option<CommitId>,
    /// Versions whose contents are let go of, by this and earlier prunes.
    pub versions: u64,
    /// It was so before.
    pub unchanged: bool,
    /// Bytes that came free on this node at once; what is younger than an hour goes later.
    pub freed: u64,
}

/// `POST /v1/vaults/{vault}/restore`: what is at and below a path becomes what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The path.
    pub path: String,
    /// In which version, or its prefix.
    pub version: String,
}
