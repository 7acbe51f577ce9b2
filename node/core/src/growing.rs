//! Versions whose headers are in place and whose trees are not here: on their way, or let go of by an owner. They count as versions and show nothing. What is shown, built on and
//! announced are the versions that are whole.
//!
//! A version becomes whole when all of its tree is here and what it builds on is whole too, so that its changes can be looked at. There are three exceptions, all of which keep a vault
//! from waiting for what may never come. Who has nothing yet takes the newest first, reads and serves it, and fetches the past behind it meanwhile. What an owner pruned is never
//! fetched; what builds on it is taken without a look. And what a peer shows is taken from it even if it has not got a version that it builds on, which then is the past: it is fetched
//! when somebody has it, and what builds on it is looked at then.
//!
//! Of a peer only what it shows is asked, so that a version which nobody can give holds up nothing but what builds on it.

use crate::commit::{Commits, Header};
use crate::ids::CommitId;
use crate::wire;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

/// Versions that are pulled at the same time: as many as a peer answers. More of them would not make a long history come faster.
pub const MAX_AHEAD: usize = 8;

/// A version whose objects are to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The version.
    pub want: CommitId,
    /// Versions that are here whole or pulled before it: what those have does not come again.
    pub have: Vec<CommitId>,
}

/// Which versions are whole and which are fetched next. It is made for one moment: what it found of the graph it keeps.
pub struct Growing<'a> {
    commits: &'a Commits,
    lean: &'a HashSet<CommitId>,
    prunable: &'a HashSet<CommitId>,
    whole: Option<&'a HashSet<CommitId>>,
    absent: Option<&'a HashSet<CommitId>>,
    /// The whole versions on which no other whole one builds.
    shown: OnceCell<Vec<CommitId>>,
    /// Those and all that they build on.
    past: OnceCell<HashSet<CommitId>>,
}

impl<'a> Growing<'a> {
    /// For the versions of `commits`: those whose trees are not here, and those of whose trees an owner let go, here or not (see [`prune::prunable`](crate::prune::prunable)).
    #[must_use]
    pub fn of(
        commits: &'a Commits,
        lean: &'a HashSet<CommitId>,
        prunable: &'a HashSet<CommitId>,
    ) -> Growing<'a> {
        Growing {
            commits,
            lean,
            prunable,
            whole: None,
            absent: None,
            shown: OnceCell::new(),
            past: OnceCell::new(),
        }
    }

    /// Where these became whole a moment ago.
    #[must_use]
    pub fn with(self, whole: &'a HashSet<CommitId>) -> Growing<'a> {
        Growing {
            whole: Some(whole),
            ..self
        }
    }

    /// As it is before a peer that shows versions and has not got these, which they build on: they are passed over for now, and looked for when they are behind what is shown.
    #[must_use]
    pub fn without(self, absent: &'a HashSet<CommitId>) -> Growing<'a> {
        Growing {
            absent: Some(absent),
            ..self
        }
    }

    /// Whether all of a version's tree is here, and it has its place.
    #[must_use]
    pub fn is_whole(&self, id: &CommitId) -> bool {
        self.commits.contains(id)
            && (!self.lean.contains(id) || self.whole.is_some_and(|w| w.contains(id)))
    }

    /// What is shown: the whole versions on which no other whole one builds, ascending.
    #[must_use]
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
        !self.is_whole(id) && !self.prunable.contains(id)
    }

    fn is_absent(&self, id: &CommitId) -> bool {
        self.absent.is_some_and(|absent| absent.contains(id))
    }

    /// Whether a version behind what is shown is to be fetched.
    #[must_use]
    pub fn is_past_to_come(&self, id: &CommitId) -> bool {
        self.may_come(id) && self.is_past(id)
    }

    /// The versions beyond what is shown that who shows `heads` has, parents first. Who has nothing yet is given the heads alone.
    #[must_use]
    pub fn beyond(&self, heads: &[CommitId]) -> Vec<CommitId> {
        let comes = |id: &CommitId| self.commits.contains(id) && self.may_come(id);
        let mut open: Vec<CommitId> = heads.iter().copied().filter(comes).collect();
        if open.is_empty() {
            return open;
        }
        open.retain(|id| self.commits.is_head(id) || !self.is_past(id));
        let mut found: HashSet<CommitId> = open.iter().copied().collect();
        while let Some(id) = open.pop().filter(|_| !self.shown().is_empty()) {
            let parents = self.header(&id).map_or(&[][..], |h| &h.parents);
            for parent in parents {
                if self.may_come(parent) && !self.is_past(parent) && found.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        found.retain(|id| !self.is_absent(id));
        self.by_date(found)
    }

    /// The versions behind what is shown that are not here, newest first.
    #[must_use]
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
    #[must_use]
    pub fn is_next(&self, id: &CommitId) -> bool {
        let settled = |p: &CommitId| {
            self.is_whole(p) || self.prunable.contains(p) || self.is_absent(p) || self.is_past(p)
        };
        let parents = self.header(id).map_or(&[][..], |h| &h.parents);
        parents.iter().all(settled) || self.shown().is_empty()
    }

    /// Whether all that a version builds on is here, so that its changes can be looked at.
    #[must_use]
    pub fn can_be_looked_at(&self, id: &CommitId) -> bool {
        self.header(id)
            .is_some_and(|h| h.parents.iter().all(|p| self.is_whole(p)))
    }

    /// Whether all that a version builds on is here or may still come.
    #[must_use]
    pub fn will_be_looked_at(&self, id: &CommitId) -> bool {
        let comes = |p: &CommitId| self.is_whole(p) || self.may_come(p);
        self.header(id).is_some_and(|h| h.parents.iter().all(comes))
    }

    /// What to pull of `versions`, in this order: each with what is like it and here by then.
    #[must_use]
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
            have.truncate(wire::MAX_HEADS);
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

    /// Versions in an order in which parents come before children.
    pub fn by_date(&self, ids: impl IntoIterator<Item = CommitId>) -> Vec<CommitId> {
        let mut dated: Vec<(u64, CommitId)> = ids
            .into_iter()
            .map(|id| (self.header(&id).map_or(0, |h| h.time_ms), id))
            .collect();
        dated.sort_unstable();
        dated.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
#[path = "growing_tests.rs"]
mod tests;
