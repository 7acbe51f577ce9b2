//! Versions whose headers are in place and whose trees are not here: on their way, or let go of by an owner. They count as versions and show nothing. What is shown, built on and
//! announced are the versions that are whole.
//!
//! A version becomes whole when all of its tree is here and what it builds on is whole too, so that its changes can be looked at. There are two exceptions. Who has nothing yet takes
//! the newest first, reads and serves it, and fetches the past behind it meanwhile. And what an owner pruned is never fetched; what builds on it is taken without a look.

use super::entry::Inner;
use super::{VaultError, Vaults, rows};
use crate::store::Table;
use polykey_core::commit::{Commits, Header};
use polykey_core::control::Control;
use polykey_core::ids::{Address, CommitId, VaultId};
use polykey_core::prune;
use polykey_core::tree;
use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Versions that are pulled at the same time: as many as a peer answers. More of them would not make a long history come faster.
const MAX_AHEAD: usize = 8;

/// A version whose objects are to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The version.
    pub want: CommitId,
    /// Versions that are here whole or pulled before it: what those have does not come again.
    pub have: Vec<CommitId>,
}

/// Which versions are whole and which are fetched next, as the graph tells.
pub struct Growing<'a> {
    commits: &'a Commits,
    lean: &'a HashSet<CommitId>,
    broken: &'a BTreeSet<CommitId>,
    prunable: &'a HashSet<CommitId>,
    /// Whole since a moment ago, and not written yet.
    whole: &'a HashSet<CommitId>,
    /// The whole versions on which no other whole one builds.
    shown: OnceCell<Vec<CommitId>>,
    /// Those and all that they build on.
    past: OnceCell<HashSet<CommitId>>,
}

impl<'a> Growing<'a> {
    pub fn of(inner: &'a Inner, whole: &'a HashSet<CommitId>) -> Growing<'a> {
        Growing {
            commits: &inner.commits,
            lean: &inner.lean,
            broken: &inner.broken,
            prunable: &inner.prunable,
            whole,
            shown: OnceCell::new(),
            past: OnceCell::new(),
        }
    }

    pub fn is_whole(&self, id: &CommitId) -> bool {
        self.commits.contains(id) && (!self.lean.contains(id) || self.whole.contains(id))
    }

    /// What is shown: the whole versions on which no other whole one builds, ascending.
    pub fn heads(&self) -> Vec<CommitId> {
        let heads = self.commits.heads();
        if heads.iter().all(|h| self.is_whole(h)) {
            return heads;
        }
        let valid = |id: &CommitId| self.commits.get(id).is_some_and(|h| h.valid);
        let mut shown = self
            .commits
            .standing(&heads, |id| !self.is_whole(id) || !valid(id));
        shown.retain(|id| self.is_whole(id));
        shown
    }

    fn shown(&self) -> &[CommitId] {
        self.shown.get_or_init(|| self.heads())
    }

    /// Whether a version is behind what is shown. The first time that costs the length of the history: asked last.
    fn is_past(&self, id: &CommitId) -> bool {
        self.past
            .get_or_init(|| self.commits.reachable(self.shown()))
            .contains(id)
    }

    fn may_come(&self, id: &CommitId) -> bool {
        !self.is_whole(id) && !self.prunable.contains(id) && !self.broken.contains(id)
    }

    /// Whether a version behind what is shown is to be fetched.
    pub fn is_past_to_come(&self, id: &CommitId) -> bool {
        self.may_come(id) && self.is_past(id)
    }

    /// The versions beyond what is shown, parents first. Who has nothing yet is given the heads alone.
    pub fn beyond(&self) -> Vec<CommitId> {
        let spoiled = |id: &CommitId| self.broken.contains(id) && !self.is_whole(id);
        let heads = self.commits.standing(&self.commits.heads(), spoiled);
        let mut open: Vec<CommitId> = heads.into_iter().filter(|id| self.may_come(id)).collect();
        if open.is_empty() {
            return open;
        }
        let mut found: HashSet<CommitId> = open.iter().copied().collect();
        while let Some(id) = open.pop().filter(|_| !self.shown().is_empty()) {
            let parents = self.header(&id).map_or(&[][..], |h| &h.parents);
            for parent in parents {
                if self.may_come(parent) && !self.is_past(parent) && found.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        self.by_date(found)
    }

    /// The versions behind what is shown that are not here, newest first.
    pub fn past(&self) -> Vec<CommitId> {
        if self.lean.is_empty() {
            return Vec::new();
        }
        let lean = self.lean.iter().copied();
        let mut past = self.by_date(lean.filter(|id| self.is_past_to_come(id)));
        past.reverse();
        past
    }

    /// Whether a version may become whole, given those that are, as soon as its tree is here.
    pub fn is_next(&self, id: &CommitId) -> bool {
        let settled =
            |p: &CommitId| self.is_whole(p) || self.prunable.contains(p) || self.is_past(p);
        let parents = self.header(id).map_or(&[][..], |h| &h.parents);
        parents.iter().all(settled) || self.shown().is_empty()
    }

    /// Whether all that a version builds on is here, so that its changes can be looked at.
    pub fn can_be_looked_at(&self, id: &CommitId) -> bool {
        self.header(id)
            .is_some_and(|h| h.parents.iter().all(|p| self.is_whole(p)))
    }

    /// Whether all that a version builds on is here or may still come.
    pub fn will_be_looked_at(&self, id: &CommitId) -> bool {
        let comes = |p: &CommitId| self.is_whole(p) || self.may_come(p);
        self.header(id).is_some_and(|h| h.parents.iter().all(comes))
    }

    /// What to pull of `versions`, in this order: each with what is like it and here by then.
    pub fn pulls(&self, versions: &[CommitId]) -> Vec<Pull> {
        let mut coming: HashMap<CommitId, Vec<CommitId>> = HashMap::new();
        let mut pulls: Vec<Pull> = Vec::new();
        for want in versions.iter().take(MAX_AHEAD) {
            let Some(header) = self.header(want) else {
                continue;
            };
            let asked = |p: &CommitId| pulls.iter().any(|pull| pull.want == *p);
            let parents = header.parents.iter().copied();
            let mut have: Vec<CommitId> = parents
                .filter(|p| self.is_whole(p) || asked(p))
                .chain(coming.remove(want).unwrap_or_default())
                .collect();
            if have.is_empty() {
                have = self.shown().to_vec();
            }
            have.truncate(polykey_core::wire::MAX_HEADS);
            for parent in &header.parents {
                coming.entry(*parent).or_default().push(*want);
            }
            pulls.push(Pull { want: *want, have });
        }
        pulls
    }

    fn header(&self, id: &CommitId) -> Option<&'a Header> {
        self.commits.get(id)
    }

    fn by_date(&self, ids: impl IntoIterator<Item = CommitId>) -> Vec<CommitId> {
        let mut dated: Vec<(u64, CommitId)> = ids
            .into_iter()
            .map(|id| (self.header(&id).map_or(0, |h| h.time_ms), id))
            .collect();
        dated.sort_unstable();
        dated.into_iter().map(|(_, id)| id).collect()
    }
}

impl Inner {
    /// The whole versions on which no other whole one builds, ascending.
    pub fn whole_heads(&self) -> Vec<CommitId> {
        Growing::of(self, &HashSet::new()).heads()
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
        let nothing = HashSet::new();
        let growing = Growing::of(self, &nothing);
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

    /// Objects that are on their way and are asked for next; `None` when no version waits for objects. `begun` when some object of the first version is here already.
    #[must_use]
    pub fn arriving(&self, vault: &VaultId) -> Option<(Vec<Address>, bool)> {
        let entry = self.entry(vault).ok()?;
        let inner = entry.read();
        let first = inner.arriving.first?;
        let wanted: Vec<Address> = inner.arriving.wanted.iter().copied().collect();
        let begun = !inner.arriving.wanted.contains(&first);
        Some((wanted, begun))
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
        let nothing = HashSet::new();
        let growing = Growing::of(&inner, &nothing);
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
