//! Which versions a vault has, how they are named, what each did, and which values stand side by side.

use super::entry::{Entry, Inner};
use super::secrets::Secrets;
use super::{VaultError, Vaults};
use polykey_core::control::Role;
use polykey_core::ids::{CommitId, NodeId, VaultId};
use polykey_core::tree::Change;
use polykey_core::view::{self, View};
use std::sync::Arc;

/// The fewest hex digits that name a version.
const MIN_PREFIX: usize = 6;

/// One version in a log.
#[derive(Debug)]
pub struct VersionInfo {
    /// Its id.
    pub version: CommitId,
    /// Who committed it.
    pub author: NodeId,
    /// When, unix milliseconds.
    pub committed_ms: u64,
    /// Paths, and `added`, `changed` or `removed`.
    pub changes: Vec<(String, &'static str)>,
    /// What became of its contents when they cannot be read: `broken` by its author, `pruned`, or `not here yet`.
    pub gone: Option<&'static str>,
}

/// A path of which several values stand side by side.
#[derive(Debug)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// Newest first: the first is the one that is shown.
    pub values: Vec<ConflictValue>,
}

/// One of several values.
#[derive(Debug)]
pub struct ConflictValue {
    /// The version that wrote it, in which it can be read alone.
    pub version: Option<CommitId>,
    /// Who wrote it.
    pub by: Option<NodeId>,
    /// When, unix milliseconds.
    pub changed_ms: Option<u64>,
    /// Bytes.
    pub size: u64,
}

/// What is needed to read one version without holding a lock.
pub(super) struct Reading {
    pub view: Arc<View>,
    pub version: CommitId,
    pub secrets: Arc<Secrets>,
}

impl Vaults {
    /// The newest versions first, at most `limit`; with `path` only those that changed it or something below it.
    ///
    /// # Errors
    /// When a page cannot be read.
    pub fn log(
        &self,
        vault: &VaultId,
        path: Option<&str>,
        limit: usize,
    ) -> Result<Vec<VersionInfo>, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Reader)?;
        let mut order: Vec<(u64, CommitId)> = {
            let inner = entry.read();
            let durable = inner.commits.reachable(&inner.heads);
            inner
                .commits
                .iter()
                .filter(|(id, h)| h.valid && durable.contains(id))
                .map(|(id, h)| (h.time_ms, *id))
                .collect()
        };
        // By date, which rises along the graph: the same on every device, whatever came first.
        order.sort_unstable_by(|a, b| b.cmp(a));
        let mut out = Vec::new();
        for (_, version) in order {
            if out.len() >= limit {
                break;
            }
            let Some(info) = self.info(&entry, &version)? else {
                continue;
            };
            let concerned = path.is_none_or(|path| {
                info.changes
                    .iter()
                    .any(|(p, _)| is_at_or_below(p, path.trim_end_matches('/')))
            });
            if concerned {
                out.push(info);
            }
        }
        Ok(out)
    }

    fn info(&self, entry: &Entry, version: &CommitId) -> Result<Option<VersionInfo>, VaultError> {
        let inner = entry.read();
        let Some(header) = inner.commits.get(version) else {
            return Ok(None);
        };
        let parents_are_here = header.parents.iter().all(|p| inner.whole_root(p).is_some());
        let (changes, gone) = match inner.check_here(&[*version]) {
            Err(VaultError::Pruned(_)) => (Vec::new(), Some("pruned")),
            Err(_) => (Vec::new(), Some("not here yet")),
            Ok(()) if inner.broken.contains(version) => (Vec::new(), Some("broken")),
            Ok(()) if parents_are_here => {
                let changes = self.changes(entry, &inner, &header.parents, &[*version])?;
                (changes, None)
            }
            // What it changed of contents that are gone nobody can tell.
            Ok(()) => (Vec::new(), None),
        };
        Ok(Some(VersionInfo {
            version: *version,
            author: header.author,
            committed_ms: header.time_ms,
            changes: changes
                .into_iter()
                .map(|c| {
                    let kind = kind(&c);
                    (c.path, kind)
                })
                .collect(),
            gone,
        }))
    }

    /// What differs between what some commits show together and what others do.
    pub(super) fn changes(
        &self,
        entry: &Entry,
        inner: &Inner,
        from: &[CommitId],
        to: &[CommitId],
    ) -> Result<Vec<Change>, VaultError> {
        let objects = self.objects(entry);
        let Some(new) = self.view_of(entry, inner, to)? else {
            return Ok(Vec::new());
        };
        let new = new.open(&objects, &*inner.secrets, entry.id);
        let Some(old) = self.view_of(entry, inner, from)? else {
            let added = |(path, new)| Change {
                path,
                old: Vec::new(),
                new,
            };
            return Ok(new.range("")?.into_iter().map(added).collect());
        };
        Ok(new.changes_since(&old.open(&objects, &*inner.secrets, entry.id))?)
    }

    /// Paths of which several values stand side by side, by path. They do until someone writes the path.
    ///
    /// # Errors
    /// When a page cannot be read.
    pub fn conflicts(&self, vault: &VaultId) -> Result<Vec<Conflict>, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Reader)?;
        let Some(reading) = self.reading(&entry, None)? else {
            return Ok(Vec::new());
        };
        let objects = self.objects(&entry);
        let contents = reading.view.open(&objects, &*reading.secrets, entry.id);
        let found = contents.range("")?;
        let inner = entry.read();
        let standing = |v: &polykey_core::tree::Variant| {
            let version = inner.commits.by_tag(&v.tag).copied();
            let header = version.and_then(|c| inner.commits.get(&c));
            ConflictValue {
                version,
                by: header.map(|h| h.author),
                changed_ms: header.map(|h| h.time_ms),
                size: v.size,
            }
        };
        let conflict = |(path, mut values): (String, Vec<polykey_core::tree::Variant>)| {
            view::newest_first(&inner.commits, &mut values);
            Conflict {
                path,
                values: values.iter().map(standing).collect(),
            }
        };
        Ok(found
            .into_iter()
            .filter(|(_, values)| values.len() > 1)
            .map(conflict)
            .collect())
    }

    /// Finds a version: its id, a unique beginning of it of at least six digits, or `~N` for N before the shown one.
    ///
    /// # Errors
    /// `NoSuch` or `Ambiguous`.
    pub fn find_version(&self, vault: &VaultId, text: &str) -> Result<CommitId, VaultError> {
        let entry = self.entry(vault)?;
        let inner = entry.read();
        inner.find_version(text).map(|(version, _)| version)
    }

    pub(super) fn reading(
        &self,
        entry: &Entry,
        version: Option<&str>,
    ) -> Result<Option<Reading>, VaultError> {
        let inner = entry.read();
        let (version, heads) = match version {
            Some(text) => inner.find_version(text)?,
            None => match inner.shown() {
                Some(version) => (version, inner.heads.clone()),
                None if inner.awaits_contents() => return Err(VaultError::Pending),
                None => return Ok(None),
            },
        };
        if !inner.secrets.complete(&inner.control) {
            return Err(VaultError::Pending);
        }
        inner.check_here(&heads)?;
        let view = if heads == inner.heads {
            self.view(entry, &inner)?
        } else {
            self.view_of(entry, &inner, &heads)?.map(Arc::new)
        };
        let view = view.ok_or_else(|| VaultError::NoSuch(format!("version {version}")))?;
        Ok(Some(Reading {
            view,
            version,
            secrets: inner.secrets.clone(),
        }))
    }
}

impl Inner {
    /// The commits that a version is: one, or, of a version of several heads, those. The heads now are known, and those on which somebody built.
    pub fn heads_of(&self, version: &CommitId) -> Option<Vec<CommitId>> {
        if self.commits.contains(version) {
            return Some(vec![*version]);
        }
        self.several()
            .find(|heads| view::version(heads).as_ref() == Some(version))
            .map(<[CommitId]>::to_vec)
    }

    /// Heads that stood, or stand, side by side, as far as commits tell.
    fn several(&self) -> impl Iterator<Item = &[CommitId]> {
        let built_on = self.commits.iter().map(|(_, h)| h.parents.as_slice());
        std::iter::once(self.heads.as_slice())
            .chain(built_on)
            .filter(|heads| heads.len() > 1)
    }

    pub(super) fn find_version(&self, text: &str) -> Result<(CommitId, Vec<CommitId>), VaultError> {
        let missing = || VaultError::NoSuch(format!("version {text}"));
        if let Some(back) = text.strip_prefix('~') {
            let back: usize = back.parse().map_err(|_| missing())?;
            if back == 0 {
                return self
                    .shown()
                    .map(|v| (v, self.heads.clone()))
                    .ok_or_else(missing);
            }
            let mut at = self.newest_head().ok_or_else(missing)?;
            for _ in 0..back {
                at = self
                    .commits
                    .get(&at)
                    .and_then(|h| h.parents.first().copied())
                    .ok_or_else(missing)?;
            }
            return Ok((at, vec![at]));
        }
        if text.len() < MIN_PREFIX
            || text.len() > 64
            || !text.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(missing());
        }
        let lower = text.to_ascii_lowercase();
        let commits = self.commits.iter().filter(|(_, h)| h.valid);
        let mut found: Vec<(CommitId, Vec<CommitId>)> = commits
            .map(|(id, _)| (*id, vec![*id]))
            .filter(|(id, _)| id.to_string().starts_with(&lower))
            .chain(self.several().filter_map(|heads| {
                let version = view::version(heads)?;
                let named = version.to_string().starts_with(&lower);
                named.then(|| (version, heads.to_vec()))
            }))
            .collect();
        found.sort();
        found.dedup();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(missing()),
            _ => Err(VaultError::Ambiguous(text.to_owned())),
        }
    }
}

/// Whether a path is this one, or below it as a folder.
pub(super) fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn kind(change: &Change) -> &'static str {
    match (change.old.is_empty(), change.new.is_empty()) {
        (true, _) => "added",
        (false, true) => "removed",
        (false, false) => "changed",
    }
}
