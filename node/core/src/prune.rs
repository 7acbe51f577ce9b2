//! Which versions keep their trees, and what no kept version needs. By refs alone: no key is used, so a mirror collects like a reader.
//!
//! Headers and operations are never dropped, only objects: the history stays signed and whole, and what a pruned version held cannot be read any more.

use crate::commit::Commits;
use crate::ids::{Address, CommitId};
use crate::tree::{self, Objects, TreeError};
use std::collections::HashSet;

/// The commits whose trees everyone may drop: what a prune in force keeps nothing of, that is the proper ancestors of its commit. Never a head.
#[must_use]
pub fn prunable<'k>(
    commits: &Commits,
    keeps: impl IntoIterator<Item = &'k CommitId>,
) -> HashSet<CommitId> {
    let mut below: HashSet<CommitId> = HashSet::new();
    for keep in keeps {
        if let Some(header) = commits.get(keep).filter(|h| h.valid) {
            below.extend(commits.reachable(&header.parents));
        }
    }
    for head in commits.heads() {
        below.remove(&head);
    }
    below
}

/// The versions whose trees stay when some are let go of, with their roots.
pub fn roots(
    commits: &Commits,
    gone: impl Fn(&CommitId) -> bool,
) -> impl Iterator<Item = (CommitId, Address)> {
    let stays = move |(id, _): &(&CommitId, _)| !gone(id);
    commits.iter().filter(stays).map(|(id, h)| (*id, h.root))
}

/// A walk over all objects that some versions need, a step at a time.
#[derive(Default)]
pub struct Marking {
    versions: HashSet<CommitId>,
    marked: HashSet<Address>,
    open: Vec<Address>,
}

impl Marking {
    /// Notes that a version needs its tree. What was walked already is not walked again.
    pub fn need(&mut self, version: CommitId, root: Address) {
        if self.versions.insert(version) {
            self.need_object(root);
        }
    }

    /// Notes that an object is needed, with all below it.
    pub fn need_object(&mut self, address: Address) {
        if self.marked.insert(address) {
            self.open.push(address);
        }
    }

    /// Walks on over at most `most` objects. True when more are left. What is not here has nothing below it here.
    ///
    /// # Errors
    /// When an object cannot be read: then nobody knows what it needs, and nothing must be dropped.
    pub fn step(&mut self, objects: &impl Objects, most: usize) -> Result<bool, TreeError> {
        for _ in 0..most {
            let Some(address) = self.open.pop() else {
                return Ok(false);
            };
            match tree::refs_of(objects, &address)? {
                Some(below) => below.into_iter().for_each(|below| self.need_object(below)),
                // It may still come, and then what is below it counts.
                None => drop(self.marked.remove(&address)),
            }
        }
        Ok(!self.open.is_empty())
    }

    /// Whether an object is needed, as far as the walk has come: an answer once [`Marking::step`] has no more.
    #[must_use]
    pub fn needs(&self, address: &Address) -> bool {
        self.marked.contains(address)
    }
}
