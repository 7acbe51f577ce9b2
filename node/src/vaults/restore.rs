//! What differs between two versions, and an old version's contents as a new commit.

use super::contents::Edited;
use super::versions::is_at_or_below;
use super::{VaultError, Vaults};
use polykey_core::control::Role;
use polykey_core::ids::{CommitId, VaultId};
use polykey_core::tree::{Edit, Variant};
use polykey_core::view;

/// What differs between two versions.
#[derive(Debug)]
pub struct Difference {
    /// The older one; `None` when there was nothing before.
    pub from: Option<CommitId>,
    /// The newer one.
    pub to: CommitId,
    /// By path.
    pub changes: Vec<Differs>,
}

/// A path that differs.
#[derive(Debug)]
pub struct Differs {
    /// The path.
    pub path: String,
    /// Bytes that were there; `None` when nothing was.
    pub old: Option<u64>,
    /// Bytes that are there; `None` when nothing is.
    pub new: Option<u64>,
    /// Several values stand side by side now.
    pub conflict: bool,
}

impl Vaults {
    /// What differs from one version to another, at or below `path` (all of it: empty). Without `to` it is the shown one, without `from` what that one's newest commit builds on.
    ///
    /// # Errors
    /// `NoSuch` for a version that is not here, and what reading fails with.
    pub fn diff(
        &self,
        vault: &VaultId,
        path: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Difference, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Reader)?;
        let new = self
            .reading(&entry, to)?
            .ok_or_else(|| VaultError::NoSuch("a version".to_owned()))?;
        let (from, changes) = if let Some(text) = from {
            let old = self
                .reading(&entry, Some(text))?
                .ok_or_else(|| VaultError::NoSuch(format!("version {text}")))?;
            let objects = self.objects(&entry);
            let before = old.view.open(&objects, &*old.secrets, entry.id);
            let after = new.view.open(&objects, &*new.secrets, entry.id);
            (Some(old.version), after.changes_since(&before)?)
        } else {
            let inner = entry.read();
            let commits = new.view.heads();
            let newest = commits
                .iter()
                .filter_map(|c| inner.commits.get(c))
                .max_by_key(|h| h.time_ms);
            let parents = newest.map_or_else(Vec::new, |h| h.parents.clone());
            let changes = self.changes(&entry, &inner, &parents, commits)?;
            (view::version(&parents), changes)
        };
        let size = |values: &[Variant]| {
            let inner = entry.read();
            view::newest(&inner.commits, values).map(|v| v.size)
        };
        let changes = changes
            .into_iter()
            .filter(|c| path.is_empty() || is_at_or_below(&c.path, path))
            .map(|c| Differs {
                old: size(&c.old),
                new: size(&c.new),
                conflict: c.new.len() > 1,
                path: c.path,
            })
            .collect();
        Ok(Difference {
            from,
            to: new.version,
            changes,
        })
    }

    /// Makes what is at and below `path` what it was in an old version, as a new commit. What was not there then is removed.
    ///
    /// # Errors
    /// `NoSuch` when that version has nothing there; else as [`Vaults::edit`].
    pub async fn restore(
        &self,
        vault: &VaultId,
        path: &str,
        version: &str,
    ) -> Result<Edited, VaultError> {
        let edits = self.as_it_was(vault, path, version)?;
        self.edit(vault, edits, None).await
    }

    fn as_it_was(
        &self,
        vault: &VaultId,
        path: &str,
        version: &str,
    ) -> Result<Vec<Edit>, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Writer)?;
        let missing = || VaultError::NoSuch(path.to_owned());
        let old = self.reading(&entry, Some(version))?.ok_or_else(missing)?;
        let now = self.reading(&entry, None)?.ok_or_else(missing)?;
        let objects = self.objects(&entry);
        let before = old.view.open(&objects, &*old.secrets, entry.id);
        let within = |p: &str| is_at_or_below(p, path) && !p.ends_with('/');
        let mut edits = Vec::new();
        let mut kept = std::collections::BTreeSet::new();
        for (path, values) in before.range(path)? {
            if !within(&path) {
                continue;
            }
            let inner = entry.read();
            let Some(variant) = view::newest(&inner.commits, &values) else {
                continue;
            };
            kept.insert(path.clone());
            edits.push(Edit::Put {
                path,
                mode: variant.mode,
                value: before.read(variant)?,
            });
        }
        if kept.is_empty() {
            return Err(missing());
        }
        let after = now.view.open(&objects, &*now.secrets, entry.id);
        let newer = after.range(path)?.into_iter().map(|(path, _)| path);
        edits.extend(
            newer
                .filter(|p| within(p) && !kept.contains(p))
                .map(|path| Edit::Remove { path }),
        );
        Ok(edits)
    }
}
