//! When a version that came is whole, and which are fetched next.

use super::Step;
use crate::vaults::entry::{Coming, Inner, VaultObjects};
use crate::vaults::{VaultError, Vaults, rows};
use polykey_core::growing::Growing;
use polykey_core::ids::{Address, CommitId};
use polykey_core::tree::{self, TreeError};
use polykey_core::view;
use std::collections::{BTreeSet, HashSet};

impl Step<'_> {
    /// Takes note of the versions that are whole by now.
    pub(super) fn complete(&mut self, vaults: &Vaults) -> Result<(), VaultError> {
        let entry = self.entry;
        let mut inner = entry.write();
        if self.new_ops {
            inner.commits.judge(&self.control);
        }
        let pruned = |id: &CommitId| self.control.state().pruned().any(|keep| keep == id);
        if self.new_ops || self.placed.iter().any(pruned) {
            inner.find_prunable(&self.control);
        }
        for id in &self.placed {
            inner.count_own(&vaults.me, id);
        }
        // Who had nothing shows the peer's heads first, all that are here; then the rest stands behind them.
        let heads = inner.commits.heads();
        let nothing_yet = inner.heads.is_empty();
        if nothing_yet {
            for id in self.growing(&inner).beyond(self.shows(&heads)) {
                self.look(&mut inner, &id, vaults)?;
            }
        }
        if !nothing_yet || !self.whole.is_empty() {
            for id in self.growing(&inner).beyond(&heads) {
                if self.growing(&inner).is_next(&id) {
                    self.look(&mut inner, &id, vaults)?;
                }
            }
        }
        let asked = inner.arriving.filling.iter().chain(&self.placed);
        for id in asked.copied().collect::<Vec<_>>() {
            if self.growing(&inner).is_past_to_come(&id) {
                self.look(&mut inner, &id, vaults)?;
            }
        }
        self.look_at_last(&mut inner, vaults)
    }

    /// Which versions are whole by now, and which come next.
    fn growing<'s>(&'s self, inner: &'s Inner) -> Growing<'s> {
        let growing = inner.growing().with(&self.whole);
        growing.without(&self.offer.absent)
    }

    /// The heads that the peer shows, where `all` are those that are known.
    fn shows<'s>(&'s self, all: &'s [CommitId]) -> &'s [CommitId] {
        match self.offer.heads.as_slice() {
            [] => all,
            known => known,
        }
    }

    /// Takes note of a version whose tree is here by now.
    fn look(
        &mut self,
        inner: &mut Inner,
        id: &CommitId,
        vaults: &Vaults,
    ) -> Result<(), VaultError> {
        let growing = self.growing(inner);
        let Some(header) = inner.commits.get(id) else {
            return Ok(());
        };
        let pulls = growing.pulls(&[*id]);
        let like_it = pulls.iter().flat_map(|pull| &pull.have);
        let roots: Vec<Address> = like_it
            .filter_map(|p| inner.commits.get(p).map(|h| h.root))
            .collect();
        let objects = self.objects(vaults);
        let here = match tree::difference(&objects, &roots, &header.root) {
            Ok(here) => here,
            Err(TreeError::Missing(_)) => {
                self.keep_below(&header.root);
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        if growing.can_be_looked_at(id) {
            self.check(inner, id, vaults)?;
        } else {
            self.unseen.push(*id);
        }
        for address in here {
            if let Some(bytes) = self.objects.get(&address) {
                self.entry.born(address);
                rows::put_object(&mut self.batch, &self.entry.id, &address, bytes.clone());
            }
        }
        self.whole.insert(*id);
        Ok(())
    }

    fn objects<'s>(&'s self, vaults: &'s Vaults) -> VaultObjects<'s> {
        VaultObjects {
            store: &vaults.store,
            vault: &self.entry.id,
            new: Some(&self.objects),
        }
    }

    /// Whether a version changes what it may: all that it adds is its own.
    fn check(
        &mut self,
        inner: &mut Inner,
        id: &CommitId,
        vaults: &Vaults,
    ) -> Result<(), VaultError> {
        let Some(header) = inner.commits.get(id) else {
            return Ok(());
        };
        let parents = inner.readable(&header.parents);
        let objects = self.objects(vaults);
        let looked = view::check_writes(
            &inner.commits,
            self.entry.id,
            (header.root, header.tag),
            &parents,
            &objects,
            &*inner.secrets,
        );
        match looked {
            // Whoever carries a vault without its keys, or does not have the newest yet, cannot look.
            Ok(()) | Err(TreeError::NoKey(_) | TreeError::Missing(_)) => Ok(()),
            Err(e @ (TreeError::Store(..) | TreeError::Damaged(_))) => Err(e.into()),
            Err(e) => {
                self.spoiled(inner, id, &e);
                Ok(())
            }
        }
    }

    /// A version's author made its contents wrong: not its sender, who may have no key to look inside. Nobody is dropped for it, and the version shows nothing.
    fn spoiled(&mut self, inner: &mut Inner, id: &CommitId, why: &TreeError) {
        let author = inner.commits.get(id).map(|h| h.author.short());
        tracing::warn!(vault = %self.entry.id.short(), version = %id.short(), author = author.unwrap_or_default(), error = %why, "a version's contents are broken by its author: it shows nothing");
        inner.broken.insert(*id);
        rows::put_broken(&mut self.batch, &self.entry.id, id);
    }

    /// Looks at the changes of versions that came before what they build on, once that is here.
    fn look_at_last(&mut self, inner: &mut Inner, vaults: &Vaults) -> Result<(), VaultError> {
        let mut unseen = std::mem::take(&mut inner.unseen);
        unseen.extend(std::mem::take(&mut self.unseen));
        let growing = self.growing(inner);
        unseen.retain(|id| growing.will_be_looked_at(id));
        let (now, later): (BTreeSet<_>, BTreeSet<_>) = unseen
            .into_iter()
            .partition(|id| growing.can_be_looked_at(id));
        // What a version is compared with must have been looked at itself: its faults are not the version's.
        let now = growing.by_date(now);
        inner.unseen = later;
        for id in now {
            self.check(inner, &id, vaults)?;
        }
        Ok(())
    }

    /// Notes which versions are to be pulled: the first that waits of those that the peer shows, and those behind it that build on versions which are whole or are pulled too.
    pub(super) fn look_ahead(&mut self, vaults: &Vaults) -> Result<(), VaultError> {
        let entry = self.entry;
        let mut inner = entry.write();
        let waits = {
            let (growing, heads) = (self.growing(&inner), inner.commits.heads());
            growing.pulls(&growing.beyond(self.shows(&heads)))
        };
        let root = |id: &CommitId| inner.commits.get(id).map(|h| h.root);
        let roots: Vec<Address> = waits.iter().filter_map(|pull| root(&pull.want)).collect();
        let (Some(pull), Some(first)) = (waits.first(), roots.first().copied()) else {
            inner.arriving.from.remove(self.from);
            return Ok(());
        };
        let here: Vec<Address> = pull.have.iter().filter_map(root).collect();
        let mut wanted = HashSet::new();
        wanted.extend(tree::missing(&self.objects(vaults), &here, &first)?);
        for root in roots.iter().skip(1) {
            if !vaults.has_object(&self.entry.id, root)? {
                wanted.insert(*root);
            }
        }
        let coming = Coming { first, wanted };
        inner.arriving.from.insert(*self.from, coming);
        self.waits = waits;
        Ok(())
    }
}
