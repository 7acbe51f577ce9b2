//! The routes of a vault's history on the Unix socket: versions, what differs between them, values side by side, and an old version as a new one.

use super::admin::{MAX_SMALL, usage};
use super::guard::Admin;
use super::reply::{self, Failed};
use crate::vaults::Keep;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request};
use axum::response::Response;
use polykey_client::api::{
    Conflict, ConflictValue, Conflicts, Diff, Differs, EditReply, Log, PathChange, PruneReply,
    PruneRequest, RestoreRequest, Version,
};
use polykey_core::ids::CommitId;
use serde::Deserialize;
use std::collections::HashSet;

/// Versions in a log when nothing is said.
const LOG_DEFAULT: usize = 20;
/// The most versions in one log.
const LOG_MOST: usize = 1_000;

/// What of a log is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOf {
    path: Option<String>,
    limit: Option<usize>,
}

/// `GET …/log`
pub async fn log(
    admin: Admin,
    Path(given): Path<String>,
    query: Result<Query<LogOf>, QueryRejection>,
) -> Result<Response, Failed> {
    let Query(LogOf { path, limit }) =
        query.map_err(|_| usage("this path takes `path` and `limit`"))?;
    let vault = admin.vaults.resolve(&given)?;
    let limit = limit.unwrap_or(LOG_DEFAULT).min(LOG_MOST);
    let path = path.filter(|p| !p.is_empty());
    let versions = admin.vaults.log(&vault, path.as_deref(), limit)?;
    let versions = versions
        .into_iter()
        .map(|v| Version {
            version: v.version,
            author: v.author,
            committed_ms: v.committed_ms,
            gone: v.gone.map(str::to_owned),
            changes: v
                .changes
                .into_iter()
                .map(|(path, change)| PathChange {
                    path,
                    change: change.to_owned(),
                })
                .collect(),
        })
        .collect();
    Ok(reply::json(&Log { versions }))
}

/// `GET …/conflicts`
pub async fn conflicts(admin: Admin, Path(given): Path<String>) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let standing = |s: crate::vaults::ConflictValue| ConflictValue {
        version: s.version,
        by: s.by,
        changed_ms: s.changed_ms,
        size: s.size,
    };
    let conflicts = admin.vaults.conflicts(&vault)?;
    let conflicts = conflicts
        .into_iter()
        .map(|c| Conflict {
            path: c.path,
            values: c.values.into_iter().map(standing).collect(),
        })
        .collect();
    Ok(reply::json(&Conflicts { conflicts }))
}

/// Between which versions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffOf {
    path: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// `GET …/diff`
pub async fn diff(
    admin: Admin,
    Path(given): Path<String>,
    query: Result<Query<DiffOf>, QueryRejection>,
) -> Result<Response, Failed> {
    let Query(DiffOf { path, from, to }) =
        query.map_err(|_| usage("this path takes `path`, `from` and `to`"))?;
    let vault = admin.vaults.resolve(&given)?;
    let path = path.unwrap_or_default();
    let found = admin
        .vaults
        .diff(&vault, &path, from.as_deref(), to.as_deref())?;
    let differs = |d: crate::vaults::Differs| Differs {
        path: d.path,
        old: d.old,
        new: d.new,
        conflict: d.conflict,
    };
    Ok(reply::json(&Diff {
        from: found.from,
        to: found.to,
        changes: found.changes.into_iter().map(differs).collect(),
    }))
}

/// `POST …/restore`
pub async fn restore(
    admin: Admin,
    Path(given): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let RestoreRequest { path, version } = reply::parse(request, MAX_SMALL).await?;
    let edited = admin.vaults.restore(&vault, &path, &version).await?;
    Ok(reply::json(&EditReply {
        version: edited.version,
        changed: edited.changed,
    }))
}

/// `POST …/prune`
pub async fn prune(
    admin: Admin,
    Path(given): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let PruneRequest {
        keep,
        before_ms,
        dry_run,
    } = reply::parse(request, MAX_SMALL).await?;
    let keep = match (keep, before_ms) {
        (Some(version), _) => Keep::Version(version),
        (None, Some(ms)) => Keep::Before(ms),
        (None, None) => Keep::Newest,
    };
    if dry_run {
        let would = admin.vaults.would_prune(&vault, &keep)?;
        return Ok(reply::json(&PruneReply {
            keep: would.keep,
            versions: would.versions,
            unchanged: would.unchanged,
            freed: 0,
        }));
    }
    let pruned = admin.vaults.prune(&vault, &keep).await?;
    let pins: HashSet<CommitId> = admin.access.pins().collect();
    let collected = admin
        .vaults
        .collect(&vault, &pins, admin.about.spare)
        .await?;
    Ok(reply::json(&PruneReply {
        keep: pruned.keep,
        versions: pruned.versions,
        unchanged: pruned.unchanged,
        freed: collected.bytes,
    }))
}
