//! The versions of a vault: what each did, how two differ, and from where on they are kept. Names and sizes, never values.

use super::{By, from_millis};
use crate::api;
use jiff::Timestamp;
use polykey_core::ids::CommitId;
use serde::Serialize;

/// One version of a vault, or of a secret in it.
#[derive(Serialize)]
pub struct Version {
    /// Its id.
    pub version: CommitId,
    /// When it was committed, by its author's clock.
    pub changed: Option<Timestamp>,
    /// Who committed it.
    pub by: By,
    /// What it did.
    pub changes: Vec<api::PathChange>,
    /// Why its contents cannot be read: `broken` by its author, or `pruned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

impl From<api::Version> for Version {
    fn from(v: api::Version) -> Self {
        Version {
            version: v.version,
            changed: from_millis(v.committed_ms),
            by: By { id: v.author },
            changes: v.changes,
            gone: v.gone,
        }
    }
}

/// `polykey diff`: names and sizes, never values.
#[derive(Serialize)]
pub struct Diff {
    /// The vault, as it was named.
    pub vault: String,
    /// The older version; absent when nothing was before.
    pub from: Option<CommitId>,
    /// The newer version.
    pub to: CommitId,
    /// What differs, by path.
    pub changes: Vec<Differs>,
}

impl Diff {
    /// What differs in the vault called `vault`.
    #[must_use]
    pub fn of(vault: &str, diff: api::Diff) -> Diff {
        let differs = |d: api::Differs| Differs {
            path: d.path,
            change: match (d.old, d.new) {
                (None, _) => "added",
                (Some(_), None) => "removed",
                (Some(_), Some(_)) => "changed",
            },
            old_size: d.old,
            new_size: d.new,
            conflict: d.conflict,
        };
        Diff {
            vault: vault.to_owned(),
            from: diff.from,
            to: diff.to,
            changes: diff.changes.into_iter().map(differs).collect(),
        }
    }
}

/// A path that differs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Differs {
    /// Path in the vault.
    pub path: String,
    /// `added`, `changed` or `removed`.
    pub change: &'static str,
    /// Bytes that were there.
    pub old_size: Option<u64>,
    /// Bytes that are there.
    pub new_size: Option<u64>,
    /// Several values stand side by side now.
    pub conflict: bool,
}

/// `polykey vault prune`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruning {
    /// The vault, as it was named.
    pub vault: String,
    /// The version that is kept: what it builds on is let go of. `null` when no version is as old as that.
    pub keep: Option<CommitId>,
    /// Versions whose contents are let go of, by this and earlier prunes.
    pub versions: u64,
    /// It was so before.
    pub unchanged: bool,
    /// Bytes that came free on this device at once; the rest goes later.
    pub freed: u64,
}
