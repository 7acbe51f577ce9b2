//! The commits of a vault: which are here, which of them count, and which are heads.

use super::{
    Accepted, Commit, CommitError, Header, MAX_AHEAD_MS, MAX_AUTHOR_HEADS, SignedCommit,
    check_alone, check_named, stands,
};
use crate::control::{Control, Role};
use crate::ids::{self, Address, CommitId, NodeId, OpId, Tag};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The most void commits that are taken in: enough for honest work on top of a removed writer's, too few for a flood by it.
pub(super) const MAX_VOID: usize = 1_024;

/// The commits of a vault.
#[derive(Clone, Default)]
pub struct Commits {
    headers: HashMap<CommitId, Header>,
    /// In an order in which parents come before children.
    pub(super) order: Vec<CommitId>,
    tags: HashMap<Tag, CommitId>,
    heads: BTreeSet<CommitId>,
    void: usize,
}

impl Commits {
    /// No commits.
    #[must_use]
    pub fn new() -> Commits {
        Commits::default()
    }

    /// Takes a commit in. `now_ms` is the own clock, in Unix milliseconds.
    ///
    /// # Errors
    /// When it is not valid here, or not yet: `MissingOps`, `MissingParents` and `Future` say what must come first. Nothing is changed then.
    pub fn accept(
        &mut self,
        signed: &SignedCommit,
        control: &Control,
        now_ms: u64,
    ) -> Result<Accepted, CommitError> {
        let commit = signed.payload();
        if self.contains(&signed.id().into()) {
            return Ok(Accepted::Known);
        }
        check_alone(signed, control)?;
        if commit.time_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(CommitError::Future {
                due_ms: commit.time_ms - MAX_AHEAD_MS,
            });
        }
        let member = control.state().members.get(&commit.author);
        let lapsed = member.is_some_and(|m| {
            m.role() >= Some(Role::Writer) && m.role_at(now_ms / 1_000) < Some(Role::Writer)
        });
        if lapsed {
            return Err(CommitError::NotWriter(commit.author));
        }
        self.insert(signed, control)
    }

    /// Takes a commit in that was accepted before, whatever the clock says: one of the own store, whose rows nobody else can write, or one that was just signed here. Its
    /// signature is not looked at again.
    ///
    /// # Errors
    /// As [`Commits::accept`], but for `Future`.
    pub fn restore(
        &mut self,
        signed: &SignedCommit,
        control: &Control,
    ) -> Result<Accepted, CommitError> {
        self.insert(signed, control)
    }

    fn insert(
        &mut self,
        signed: &SignedCommit,
        control: &Control,
    ) -> Result<Accepted, CommitError> {
        let id = CommitId::from(signed.id());
        if self.contains(&id) {
            return Ok(Accepted::Known);
        }
        check_named(signed, control)?;
        let commit = signed.payload();
        self.check_in_place(commit, control)?;
        if !control.ever(&commit.control, &commit.author, Role::Writer) {
            return Err(CommitError::NotWriter(commit.author));
        }
        // A commit that a cut keeps comes before the one that the cut names, unless it is that one.
        let valid = stands(&commit.author, &commit.control, control, |cut| {
            cut.contains(&id)
        });
        if !valid && self.void >= MAX_VOID && self.cuts_are_here(&commit.author, control) {
            return Err(CommitError::NotWriter(commit.author));
        }
        if valid {
            self.check_heads(commit)?;
        }
        self.place(id, commit, valid);
        if self.void > 0 && control.is_cut(&id) {
            // It shows which earlier ones a removal keeps.
            self.judge(control);
        }
        Ok(if self.headers[&id].valid {
            Accepted::Counts
        } else {
            Accepted::Void
        })
    }

    /// Whether no commit that a removal of `author` keeps can still come.
    fn cuts_are_here(&self, author: &NodeId, control: &Control) -> bool {
        control
            .removals(author)
            .iter()
            .all(|(_, cut)| cut.iter().all(|id| self.contains(id)))
    }

    /// Judges all commits anew: after the control log has changed. True when the heads are other ones now.
    pub fn judge(&mut self, control: &Control) -> bool {
        let mut kept: HashMap<OpId, HashSet<CommitId>> = HashMap::new();
        let mut demands: HashMap<_, Option<Vec<OpId>>> = HashMap::new();
        let mut verdicts = Vec::with_capacity(self.order.len());
        for id in &self.order {
            let header = &self.headers[id];
            let unknown = demands
                .entry((header.author, Arc::clone(&header.control)))
                .or_insert_with(|| {
                    let unknown = control.demands(&header.control, &header.author, Role::Writer)?;
                    for (r, cut) in &unknown {
                        kept.entry(*r).or_insert_with(|| self.reachable(cut));
                    }
                    Some(unknown.into_iter().map(|(r, _)| r).collect())
                });
            let stands = unknown
                .as_ref()
                .is_some_and(|unknown| unknown.iter().all(|r| kept[r].contains(id)));
            verdicts.push(stands);
        }
        for (id, valid) in self.order.iter().zip(verdicts) {
            if let Some(header) = self.headers.get_mut(id) {
                header.valid = valid;
            }
        }
        self.void = self.headers.values().filter(|h| !h.valid).count();
        let heads = self.find_heads();
        let changed = heads != self.heads;
        self.heads = heads;
        changed
    }

    /// The valid commits on which no other valid one builds, ascending.
    #[must_use]
    pub fn heads(&self) -> Vec<CommitId> {
        self.heads.iter().copied().collect()
    }

    /// Whether it is one of the [heads](Commits::heads).
    #[must_use]
    pub fn is_head(&self, id: &CommitId) -> bool {
        self.heads.contains(id)
    }

    /// Whether the commit is here.
    #[must_use]
    pub fn contains(&self, id: &CommitId) -> bool {
        self.headers.contains_key(id)
    }

    /// The commit, if it is here.
    #[must_use]
    pub fn get(&self, id: &CommitId) -> Option<&Header> {
        self.headers.get(id)
    }

    /// The commit that a tag inside a tree names.
    #[must_use]
    pub fn by_tag(&self, tag: &Tag) -> Option<&CommitId> {
        self.tags.get(tag)
    }

    /// All commits, parents before children.
    #[must_use = "an iterator does nothing by itself"]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&CommitId, &Header)> {
        self.order.iter().map(|id| (id, &self.headers[id]))
    }

    /// How many commits there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether `older` is `newer` or among what it builds on.
    #[must_use]
    pub fn descends(&self, newer: &CommitId, older: &CommitId) -> bool {
        if newer == older {
            return true;
        }
        let Some(floor) = self.headers.get(older).map(|h| h.time_ms) else {
            return false;
        };
        let mut seen = HashSet::from([*newer]);
        let mut open = vec![*newer];
        while let Some(id) = open.pop() {
            let Some(header) = self.headers.get(&id) else {
                continue;
            };
            // Dates rise along the graph, so what is older than `older` cannot lead to it.
            for parent in header.parents.iter().filter(|_| header.time_ms > floor) {
                if parent == older {
                    return true;
                }
                if seen.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        false
    }

    /// Commits that are neither among `theirs` nor what those build on, parents first. Unknown ids are passed over.
    #[must_use]
    pub fn beyond(&self, theirs: &[CommitId]) -> Vec<CommitId> {
        if self.heads.len() == 1
            && theirs.iter().any(|id| self.heads.contains(id))
            && self.void == 0
        {
            return Vec::new();
        }
        if self.void > 0 {
            let known = self.reachable(theirs);
            let unknown = self.order.iter().filter(|id| !known.contains(*id));
            return unknown.copied().collect();
        }
        // Newest first, from the heads, as long as anything that is not theirs is still to come: who is one commit behind costs one commit, not the history.
        let mut known: HashSet<CommitId> = theirs.iter().copied().collect();
        let mut open: HashSet<CommitId> = self
            .heads
            .iter()
            .filter(|id| !known.contains(*id))
            .copied()
            .collect();
        let mut beyond = Vec::new();
        for id in self.order.iter().rev() {
            if open.is_empty() {
                break;
            }
            let parents = &self.headers[id].parents;
            if known.contains(id) {
                open.retain(|id| !parents.contains(id));
                known.extend(parents);
            } else if open.remove(id) {
                open.extend(parents.iter().filter(|p| !known.contains(*p)));
                beyond.push(*id);
            }
        }
        beyond.reverse();
        beyond
    }

    /// These and all that they build on.
    #[must_use]
    pub fn reachable(&self, from: &[CommitId]) -> HashSet<CommitId> {
        let mut seen: HashSet<CommitId> = from
            .iter()
            .filter(|id| self.contains(id))
            .copied()
            .collect();
        let mut open: Vec<CommitId> = seen.iter().copied().collect();
        while let Some(id) = open.pop() {
            for parent in &self.headers[&id].parents {
                if seen.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        seen
    }

    /// What stands where some of these are gone: each of those gives way to what it builds on. Without those that another of them builds on; ascending.
    #[must_use]
    pub fn standing(&self, heads: &[CommitId], gone: impl Fn(&CommitId) -> bool) -> Vec<CommitId> {
        let mut found = BTreeSet::new();
        let mut open = heads.to_vec();
        let mut seen: HashSet<CommitId> = heads.iter().copied().collect();
        while let Some(id) = open.pop() {
            match self.get(&id) {
                Some(header) if gone(&id) => {
                    open.extend(header.parents.iter().filter(|p| seen.insert(**p)));
                }
                _ => drop(found.insert(id)),
            }
        }
        let covered = |id: &CommitId| {
            found
                .iter()
                .any(|other| other != id && self.descends(other, id))
        };
        found.iter().copied().filter(|id| !covered(id)).collect()
    }

    /// The unsigned commit of `root` on top of `parents`, at most [`MAX_PARENTS`](super::MAX_PARENTS), ascending. `nonce` is random, `now_ms` the own clock, in Unix milliseconds.
    #[must_use]
    pub fn next(
        &self,
        parents: &[CommitId],
        author: NodeId,
        control: &Control,
        root: Address,
        nonce: [u8; 16],
        now_ms: u64,
    ) -> Commit {
        let latest = parents
            .iter()
            .filter_map(|id| self.get(id).map(|h| h.time_ms))
            .max();
        Commit {
            version: 1,
            vault: control.vault(),
            author,
            seq: self.next_seq(&author, parents),
            nonce: nonce.into(),
            parents: parents.to_vec(),
            control: control.tips(),
            root,
            time_ms: latest.map_or(now_ms, |t| now_ms.max(t + 1)),
            note: Vec::new().into(),
        }
    }

    /// The tag of what [`Commits::next`] would make: it is needed to write the tree that the commit names.
    #[must_use]
    pub fn next_tag(
        &self,
        parents: &[CommitId],
        author: NodeId,
        control: &Control,
        nonce: [u8; 16],
    ) -> Tag {
        ids::tag(
            &control.vault(),
            &author,
            self.next_seq(&author, parents),
            &nonce,
        )
    }

    fn check_in_place(&self, commit: &Commit, control: &Control) -> Result<(), CommitError> {
        let missing: Vec<CommitId> = commit
            .parents
            .iter()
            .filter(|id| !self.contains(id))
            .copied()
            .collect();
        if !missing.is_empty() {
            return Err(CommitError::MissingParents(missing));
        }
        for parent in commit.parents.iter().map(|id| &self.headers[id]) {
            if commit.time_ms <= parent.time_ms {
                return Err(CommitError::Time);
            }
            if !control.reaches(&commit.control, &parent.control) {
                return Err(CommitError::Control);
            }
        }
        let next = self.next_seq(&commit.author, &commit.parents);
        if commit.seq == next {
            Ok(())
        } else {
            Err(CommitError::Seq {
                found: commit.seq,
                next,
            })
        }
    }

    /// One more than the author's highest number in what `parents` build on. Along each path its newest commit has the highest.
    fn next_seq(&self, author: &NodeId, parents: &[CommitId]) -> u64 {
        let mut highest = 0;
        let mut seen: HashSet<CommitId> = parents.iter().copied().collect();
        let mut open = parents.to_vec();
        while let Some(id) = open.pop() {
            let Some(header) = self.headers.get(&id) else {
                continue;
            };
            if header.author == *author {
                highest = highest.max(header.seq);
                continue;
            }
            open.extend(header.parents.iter().filter(|p| seen.insert(**p)));
        }
        highest.saturating_add(1)
    }

    fn check_heads(&self, commit: &Commit) -> Result<(), CommitError> {
        let others = self.heads.iter().filter(|id| !commit.parents.contains(id));
        let own = others
            .filter(|id| self.headers[*id].author == commit.author)
            .count();
        if own < MAX_AUTHOR_HEADS {
            Ok(())
        } else {
            Err(CommitError::TooManyHeads(commit.author))
        }
    }

    fn place(&mut self, id: CommitId, commit: &Commit, valid: bool) {
        // Commits in a row name the same operations: one copy in memory.
        let shared = commit.parents.iter().map(|p| &self.headers[p].control);
        let control = shared
            .into_iter()
            .find(|c| ***c == *commit.control)
            .map_or_else(|| commit.control.clone().into(), Arc::clone);
        let header = Header {
            author: commit.author,
            seq: commit.seq,
            parents: commit.parents.clone(),
            control,
            root: commit.root,
            time_ms: commit.time_ms,
            tag: commit.tag(),
            valid,
        };
        // An author who gives two commits one tag is taken at the lower id, whichever came first.
        let named = self.tags.entry(header.tag).or_insert(id);
        *named = id.min(*named);
        if valid {
            self.cover(&commit.parents);
            self.heads.insert(id);
        } else {
            self.void += 1;
        }
        self.headers.insert(id, header);
        self.order.push(id);
    }

    /// Takes out of the heads what a new valid commit builds on, through void ones too.
    fn cover(&mut self, parents: &[CommitId]) {
        let mut open = parents.to_vec();
        while let Some(id) = open.pop() {
            self.heads.remove(&id);
            if let Some(header) = self.headers.get(&id).filter(|h| !h.valid) {
                open.extend(&header.parents);
            }
        }
    }

    fn find_heads(&self) -> BTreeSet<CommitId> {
        let mut covered: HashSet<CommitId> = HashSet::new();
        let mut heads = BTreeSet::new();
        for id in self.order.iter().rev() {
            let header = &self.headers[id];
            if header.valid && !covered.contains(id) {
                heads.insert(*id);
            }
            if header.valid || covered.contains(id) {
                covered.extend(&header.parents);
            }
        }
        heads
    }
}
