//! What workloads get of a vault: one version with what proves it. Whether they may have it is decided elsewhere, before this is asked.

use super::{VaultError, Vaults};
use polykey_core::control::Control;
use polykey_core::ids::{Address, CommitId, EpochId, NodeId, VaultId};
use polykey_core::path;
use polykey_core::seal::{self, ObjectKeys};
use polykey_core::tree::{self, Tree, Variant};
use polykey_core::view::{self, View};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A version as it is served.
pub struct Served {
    /// The version: a commit's id, or that of several heads together.
    pub version: CommitId,
    /// The newest's author.
    pub author: NodeId,
    /// Authors of all its commits.
    pub authors: Vec<NodeId>,
    /// The newest's date, unix milliseconds.
    pub committed_ms: u64,
    /// What it shows.
    pub view: Arc<View>,
    /// Root of the one tree that its one commit signs; `None` when it has several, or one that shows nothing by itself.
    pub root: Option<Address>,
    /// Its signed commits.
    pub commits: Vec<Vec<u8>>,
    /// The log that it is judged by.
    pub control: Arc<Control>,
}

/// A file for a workload.
pub struct ServedFile {
    /// Path in the vault.
    pub path: String,
    /// Mode and value, which [`Vaults::open_variant`] reads.
    pub variant: Variant,
}

impl Vaults {
    /// The version that is shown, or the pinned one.
    ///
    /// # Errors
    /// `NotFound` without the vault, `Pending` while contents or keys are missing, `NoSuch` when the pinned version or any version at all is not here.
    pub fn served(&self, vault: &VaultId, pin: Option<CommitId>) -> Result<Served, VaultError> {
        let entry = self.entry(vault)?;
        let inner = entry.read();
        if !inner.secrets.complete(&inner.control) {
            return Err(VaultError::Pending);
        }
        let missing = |version: &CommitId| VaultError::NoSuch(version.to_string());
        let (version, heads) = match pin {
            Some(version) => (
                version,
                inner.heads_of(&version).ok_or_else(|| missing(&version))?,
            ),
            None => match inner.shown() {
                Some(version) => (version, inner.heads.clone()),
                None if inner.awaits_contents() => return Err(VaultError::Pending),
                None => return Err(VaultError::NoSuch("a version".to_owned())),
            },
        };
        inner.check_here(&heads)?;
        let durable = pin.map(|_| inner.commits.reachable(&inner.heads));
        let mut headers = Vec::new();
        for head in &heads {
            let header = inner
                .commits
                .get(head)
                .filter(|h| h.valid && durable.as_ref().is_none_or(|d| d.contains(head)))
                .ok_or_else(|| missing(&version))?;
            headers.push(header);
        }
        let newest = headers
            .iter()
            .max_by_key(|h| h.time_ms)
            .ok_or_else(|| missing(&version))?;
        let (author, committed_ms) = (newest.author, newest.time_ms);
        let authors = headers.iter().map(|h| h.author).collect();
        let view = if heads == inner.heads {
            self.view(&entry, &inner)?
        } else {
            self.view_of(&entry, &inner, &heads)?.map(Arc::new)
        };
        let view = view.ok_or_else(|| missing(&version))?;
        let root = (heads.len() == 1 && view.heads() == heads).then(|| view.root());
        let control = inner.control.clone();
        drop(inner);
        let commits = heads
            .iter()
            .map(|head| self.commit_bytes(vault, head))
            .collect::<Result<_, _>>()?;
        Ok(Served {
            version,
            author,
            authors,
            committed_ms,
            view,
            root,
            commits,
            control,
        })
    }

    /// The control log of a vault, if it is here.
    #[must_use]
    pub fn control(&self, vault: &VaultId) -> Option<Arc<Control>> {
        self.entry(vault).ok().map(|e| e.read().control.clone())
    }

    /// Whether all of these commits are here.
    #[must_use]
    pub fn has_commits(&self, vault: &VaultId, commits: &[CommitId]) -> bool {
        self.entry(vault).is_ok_and(|entry| {
            let inner = entry.read();
            commits.iter().all(|c| inner.commits.contains(c))
        })
    }

    /// Root of the tree of a commit that is here.
    #[must_use]
    pub fn root_of(&self, vault: &VaultId, version: &CommitId) -> Option<Address> {
        self.entry(vault)
            .ok()?
            .read()
            .commits
            .get(version)
            .map(|h| h.root)
    }

    /// Sealed objects of the tree `want` that the tree `have` does not have, parents first.
    ///
    /// # Errors
    /// When one is missing or damaged.
    pub fn objects_of(
        &self,
        vault: &VaultId,
        have: Option<Address>,
        want: Address,
    ) -> Result<Vec<Vec<u8>>, VaultError> {
        let entry = self.entry(vault)?;
        let have: Vec<Address> = have.into_iter().collect();
        let addresses = tree::difference(&self.objects(&entry), &have, &want)?;
        let one = |a: &Address| {
            self.object(vault, a)?
                .ok_or(VaultError::Tree(tree::TreeError::Missing(*a)))
        };
        addresses.iter().map(one).collect()
    }

    /// Addresses of what a reader of the tree `have` lacks of the tree `want`, parents first. Such a reader keeps pages but no values, so the value of every changed path
    /// is among them, even one that `have` has at another path.
    ///
    /// # Errors
    /// When a page is missing or damaged.
    pub fn change_of(
        &self,
        vault: &VaultId,
        have: Address,
        want: Address,
    ) -> Result<Vec<Address>, VaultError> {
        let entry = self.entry(vault)?;
        let objects = self.objects(&entry);
        let mut addresses = tree::difference(&objects, &[have], &want)?;
        let secrets = entry.read().secrets.clone();
        let known: BTreeSet<Address> = addresses.iter().copied().collect();
        let mut moved = BTreeSet::new();
        let changes = Tree::new(&objects, &*secrets, *vault, want)
            .changes_since(&Tree::new(&objects, &*secrets, *vault, have))?;
        for value in changes
            .iter()
            .flat_map(|c| &c.new)
            .filter_map(tree::Variant::object)
        {
            moved.insert(value);
            let bytes = self
                .object(vault, &value)?
                .ok_or(tree::TreeError::Missing(value))?;
            // A blob has no refs; a large value's list names its chunks.
            moved.extend(
                seal::header(&bytes)
                    .map_err(|e| tree::TreeError::Seal(value, e))?
                    .refs,
            );
        }
        addresses.extend(moved.difference(&known));
        Ok(addresses)
    }

    /// The epochs that sealed these objects.
    ///
    /// # Errors
    /// When one is no object.
    pub fn epochs_of(objects: &[Vec<u8>]) -> Result<BTreeSet<EpochId>, VaultError> {
        objects
            .iter()
            .map(|o| {
                seal::header(o)
                    .map(|h| h.epoch)
                    .map_err(|_| VaultError::Row("an object"))
            })
            .collect()
    }

    /// The object keys of epochs that this node can open; `Pending` when one is missing.
    ///
    /// # Errors
    /// `Pending`.
    pub fn object_keys(
        &self,
        vault: &VaultId,
        epochs: impl IntoIterator<Item = EpochId>,
    ) -> Result<Vec<ObjectKeys>, VaultError> {
        let entry = self.entry(vault)?;
        let secrets = entry.read().secrets.clone();
        epochs
            .into_iter()
            .map(|e| {
                secrets
                    .secret(&e)
                    .map(polykey_core::epoch::EpochSecret::object_keys)
                    .ok_or(VaultError::Pending)
            })
            .collect()
    }

    /// Files of a version that any of `rules` covers (all of them without rules), by path.
    ///
    /// # Errors
    /// When a page cannot be read.
    pub fn files(
        &self,
        vault: &VaultId,
        view: &View,
        rules: &[String],
    ) -> Result<Vec<ServedFile>, VaultError> {
        let entry = self.entry(vault)?;
        let secrets = entry.read().secrets.clone();
        let objects = self.objects(&entry);
        let contents = view.open(&objects, &*secrets, *vault);
        let mut out = Vec::new();
        let mut found = BTreeMap::new();
        // Only the part of the tree that a rule names is read: a pod with one file of a large vault costs its pages.
        let all = [String::new()];
        for rule in if rules.is_empty() { &all } else { rules } {
            let covered = contents.range(rule)?.into_iter();
            found.extend(covered.filter(|(path, _)| rule.is_empty() || path::covers(rule, path)));
        }
        for (path, variants) in found {
            if let Some(variant) = view::newest(&entry.read().commits, &variants) {
                out.push(ServedFile {
                    path,
                    variant: variant.duplicate(),
                });
            }
        }
        Ok(out)
    }
}
