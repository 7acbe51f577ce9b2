//! What workloads get of a vault: one version with what proves it. Whether they may have it is decided elsewhere, before this is asked.

use super::{VaultError, Vaults};
use polykey_core::control::Control;
use polykey_core::ids::{Address, CommitId, EpochId, NodeId, VaultId};
use polykey_core::path;
use polykey_core::seal::{self, ObjectKeys};
use polykey_core::tree::{self, Tree, Variant};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A version as it is served.
pub struct Served {
    /// The version.
    pub version: CommitId,
    /// Who committed it.
    pub author: NodeId,
    /// When, unix milliseconds.
    pub committed_ms: u64,
    /// Root of its tree.
    pub root: Address,
    /// The signed commit.
    pub commit: Vec<u8>,
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
        let version = match pin.or_else(|| inner.shown()) {
            Some(version) => version,
            None if inner.awaits_contents() => return Err(VaultError::Pending),
            None => return Err(VaultError::NoSuch("a version".to_owned())),
        };
        let durable = pin.is_none() || inner.commits.reachable(&inner.heads).contains(&version);
        let header = inner
            .commits
            .get(&version)
            .filter(|h| h.valid && durable)
            .ok_or_else(|| VaultError::NoSuch(version.to_string()))?;
        let (author, committed_ms, root, control) = (
            header.author,
            header.time_ms,
            header.root,
            inner.control.clone(),
        );
        drop(inner);
        Ok(Served {
            version,
            author,
            committed_ms,
            root,
            commit: self.commit_bytes(vault, &version)?,
            control,
        })
    }

    /// The control log of a vault, if it is here.
    #[must_use]
    pub fn control(&self, vault: &VaultId) -> Option<Arc<Control>> {
        self.entry(vault).ok().map(|e| e.read().control.clone())
    }

    /// Root of the tree of a version that is here.
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

    /// Files of a tree that any of `rules` covers (all of them without rules), by path.
    ///
    /// # Errors
    /// When a page cannot be read.
    pub fn files(
        &self,
        vault: &VaultId,
        root: Address,
        rules: &[String],
    ) -> Result<Vec<ServedFile>, VaultError> {
        let entry = self.entry(vault)?;
        let secrets = entry.read().secrets.clone();
        let objects = self.objects(&entry);
        let tree = Tree::new(&objects, &*secrets, *vault, root);
        let mut out = Vec::new();
        for (path, mut variants) in tree.range("")? {
            let covered = rules.is_empty() || rules.iter().any(|rule| path::covers(rule, &path));
            let shown = entry.read().newest(&variants);
            if let Some(at) = shown.filter(|_| covered) {
                let variant = variants.swap_remove(at);
                out.push(ServedFile { path, variant });
            }
        }
        Ok(out)
    }
}
