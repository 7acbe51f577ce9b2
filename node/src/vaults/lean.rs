//! Versions whose trees are not here, as the vaults keep them. Which of them come next is [`growing`](polykey_core::growing)'s to say.

use super::entry::Inner;
use super::{VaultError, Vaults, rows};
use crate::store::Table;
use polykey_core::control::Control;
use polykey_core::growing::{Growing, Pull};
use polykey_core::ids::{Address, CommitId, NodeId, VaultId};
use polykey_core::prune;
use polykey_core::tree;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Inner {
    /// Which versions are whole and which come next.
    pub fn growing(&self) -> Growing<'_> {
        Growing::of(&self.commits, &self.lean, &self.prunable)
    }

    /// The whole versions on which no other whole one builds, ascending.
    pub fn whole_heads(&self) -> Vec<CommitId> {
        self.growing().heads()
    }

    /// The tree of a version, if all of it is here.
    pub fn whole_root(&self, version: &CommitId) -> Option<Address> {
        let header = self.commits.get(version)?;
        (!self.lean.contains(version)).then_some(header.root)
    }

    /// Judges all versions anew, after an operation.
    pub fn judge(&mut self, control: &Control) {
        self.commits.judge(control);
        self.find_prunable(control);
        self.heads = self.whole_heads();
    }

    /// Says why the contents of these versions cannot be read, if that is so of any.
    pub fn check_here(&self, heads: &[CommitId]) -> Result<(), VaultError> {
        match heads.iter().find(|h| self.lean.contains(h)) {
            None => Ok(()),
            Some(pruned) if self.prunable.contains(pruned) => Err(VaultError::Pruned(*pruned)),
            Some(_) => Err(VaultError::Pending),
        }
    }

    /// Finds the versions that came before what they build on.
    pub fn find_unseen(&mut self) {
        let growing = self.growing();
        let unseen = self.commits.iter().map(|(id, _)| *id).filter(|id| {
            growing.is_whole(id) && !growing.can_be_looked_at(id) && growing.will_be_looked_at(id)
        });
        self.unseen = unseen.collect();
    }

    /// Finds anew which versions an owner let go of: after an operation, or with the version that a prune keeps.
    pub fn find_prunable(&mut self, control: &Control) {
        self.prunable = prune::prunable(&self.commits, control.state().pruned());
    }
}

impl Vaults {
    /// Whether a version is here with all of its contents.
    #[must_use]
    pub fn is_whole(&self, vault: &VaultId, version: &CommitId) -> bool {
        self.entry(vault)
            .is_ok_and(|e| e.read().whole_root(version).is_some())
    }

    /// Objects that are on their way from a peer and are asked for next; `None` when no version that it shows waits for objects. `begun` when some object of the first version is here
    /// already.
    #[must_use]
    pub fn arriving(&self, vault: &VaultId, from: &NodeId) -> Option<(Vec<Address>, bool)> {
        let entry = self.entry(vault).ok()?;
        let inner = entry.read();
        let coming = inner.arriving.from.get(from)?;
        let wanted: Vec<Address> = coming.wanted.iter().copied().collect();
        let begun = !coming.wanted.contains(&coming.first);
        Some((wanted, begun))
    }

    /// Nothing is fetched from a peer any more: what it sends unasked is not kept.
    pub fn fetched(&self, vault: &VaultId, from: &NodeId) {
        if let Ok(entry) = self.entry(vault) {
            entry.write().arriving.from.remove(from);
        }
    }

    /// Held by the one peer of whom the past of a vault is fetched.
    #[must_use]
    pub fn turn_to_look_back(&self, vault: &VaultId) -> Option<Arc<tokio::sync::Mutex<()>>> {
        self.entry(vault).ok().map(|e| e.filling.clone())
    }

    /// The past that is not here, newest first, without the versions of `except`: pull these, then ask again. Empty when nothing is left.
    ///
    /// # Errors
    /// When the store fails.
    pub fn past_to_pull(
        &self,
        vault: &VaultId,
        except: &HashSet<CommitId>,
    ) -> Result<Vec<Pull>, VaultError> {
        let entry = self.entry(vault)?;
        if !entry.past_is_missing.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        let mut inner = entry.write();
        let growing = inner.growing();
        let mut past = growing.past();
        entry
            .past_is_missing
            .store(!past.is_empty(), Ordering::Release);
        past.retain(|id| !except.contains(id));
        let pulls = growing.pulls(&past);
        let objects = self.objects(&entry);
        let mut wanted = HashSet::new();
        for pull in &pulls {
            let here = pull.have.iter().filter_map(|id| inner.whole_root(id));
            let here: Vec<Address> = here.collect();
            if let Some(header) = inner.commits.get(&pull.want) {
                wanted.extend(tree::missing(&objects, &here, &header.root)?);
            }
        }
        inner.arriving.filling = pulls.iter().map(|pull| pull.want).collect();
        inner.arriving.wanted_past = wanted;
        Ok(pulls)
    }

    /// Whether an object is in the store.
    pub(super) fn has_object(
        &self,
        vault: &VaultId,
        address: &Address,
    ) -> Result<bool, VaultError> {
        let key = rows::pair(vault, address.as_bytes());
        Ok(self.store.has(Table::Object, &key)?)
    }
}
