//! Commits: signed headers, each naming a tree, the commits and the control operations it builds on; and which of them count.
//!
//! A commit's validity is a function of the commits and operations that are here, never of the order in which they came. What a removed writer signs
//! outside the `cut` of its removal is void, however it is dated; honest work on top of it stays valid.
//!
//! The heads are a set, and all of them are kept and told to others. What they show together is [`crate::view`]'s; the next writer names all of them as parents.

use crate::codec;
use crate::control::{Control, Role};
use crate::ids::{self, Address, CommitId, NodeId, OpId, Tag, VaultId};
use crate::labels;
use crate::sign::{Payload, SignError, Signed};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The most bytes of a commit: 32 ids, and a note of two thousand characters.
pub const MAX_COMMIT: usize = 4 << 10;
/// The most parents, and the most control operations that a commit names.
pub const MAX_PARENTS: usize = 16;
/// How far in the future a commit may be dated, in milliseconds, before it is held: clocks that nobody set differ by less.
pub const MAX_AHEAD_MS: u64 = 10 * 60 * 1_000;
/// The most heads that one author may have at once: more than that is not one person's devices out of step but a flood.
pub const MAX_AUTHOR_HEADS: usize = 8;
/// The most void commits that are taken in: enough for honest work on top of a removed writer's, too few for a flood by it.
const MAX_VOID: usize = 1_024;

/// A signed commit. Its id is the version's.
pub type SignedCommit = Signed<Commit>;

/// One version of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Commit {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// The vault.
    #[n(1)]
    pub vault: VaultId,
    /// Whose it is.
    #[n(2)]
    pub author: NodeId,
    /// One more than the author's highest in what it builds on.
    #[n(3)]
    pub seq: u64,
    /// Random.
    #[n(4)]
    pub nonce: ByteArray<16>,
    /// The heads that its author saw, ascending; none in the first.
    #[n(5)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
    pub parents: Vec<CommitId>,
    /// The heads of the control log that its author had, ascending.
    #[n(6)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_PARENTS>")]
    pub control: Vec<OpId>,
    /// The tree.
    #[n(7)]
    pub root: Address,
    /// Unix milliseconds by its author's clock, but later than all parents.
    #[n(8)]
    pub time_ms: u64,
    /// A sealed note (a whole object), or empty.
    #[n(9)]
    #[cbor(
        encode_with = "minicbor::bytes::encode",
        decode_with = "codec::bytes::<_, MAX_COMMIT>"
    )]
    pub note: ByteVec,
}

impl Payload for Commit {
    const CONTEXT: &'static str = labels::COMMIT;
    const MAX: usize = MAX_COMMIT;
}

impl Commit {
    /// What names this commit inside trees.
    #[must_use]
    pub fn tag(&self) -> Tag {
        ids::tag(&self.vault, &self.author, self.seq, &self.nonce)
    }

    /// Checks all that can be checked of a commit alone.
    fn check(&self) -> Result<(), CommitError> {
        if self.version != 1 {
            return Err(CommitError::Version(self.version));
        }
        if !codec::ascending(&self.parents) || !codec::ascending(&self.control) {
            return Err(CommitError::Order);
        }
        if self.control.is_empty() {
            return Err(CommitError::Control);
        }
        Ok(())
    }
}

/// Why a commit is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A version that this program does not know.
    #[error("a commit of version {0}: upgrade polykey")]
    Version(u8),
    /// A list that is a set is not in ascending order.
    #[error("a commit whose parents or operations are not in ascending order")]
    Order,
    /// It belongs to another vault.
    #[error("a commit of another vault")]
    OtherVault,
    /// The signature is missing or another's.
    #[error("a commit that is not signed by its author")]
    Signature(#[source] SignError),
    /// Control operations that it names are not here yet.
    #[error("{} control operations that it names are missing", .0.len())]
    MissingOps(Vec<OpId>),
    /// Commits that it builds on are not here yet.
    #[error("{} commits that it builds on are missing", .0.len())]
    MissingParents(Vec<CommitId>),
    /// It names no operations, or fewer than its parents.
    #[error("a commit that knows less of the control log than its parents")]
    Control,
    /// Its number is not the next of its author.
    #[error("a commit with number {found} where its author's next is {next}")]
    Seq {
        /// The number it has.
        found: u64,
        /// The number it must have.
        next: u64,
    },
    /// It is dated no later than a parent.
    #[error("a commit dated before what it builds on")]
    Time,
    /// It is dated too far ahead of the own clock: to be held until then, not dropped.
    #[error("a commit dated in the future: held")]
    Future {
        /// When it can be taken in, in Unix milliseconds.
        due_ms: u64,
    },
    /// Its author was never a writer, or is none now.
    #[error("{} may not write in this vault", .0.short())]
    NotWriter(NodeId),
    /// Its author has too many heads at once.
    #[error("{} has {MAX_AUTHOR_HEADS} versions side by side: not taking more", .0.short())]
    TooManyHeads(NodeId),
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It counts.
    Counts,
    /// It is kept and does not count: its author was removed, and the removal does not keep it.
    Void,
    /// It was here already.
    Known,
}

/// A commit in its place.
#[derive(Clone, Debug)]
pub struct Header {
    /// Whose it is.
    pub author: NodeId,
    /// Its number among the author's.
    pub seq: u64,
    /// What it builds on.
    pub parents: Vec<CommitId>,
    /// The control operations that it names.
    pub control: Arc<[OpId]>,
    /// Its tree.
    pub root: Address,
    /// Its date, in Unix milliseconds.
    pub time_ms: u64,
    /// What names it inside trees.
    pub tag: Tag,
    /// Whether it counts.
    pub valid: bool,
}

/// Whether a commit's author had the right to it, as far as the control log tells: what a consumer checks who does not have the history.
///
/// `kept` says whether the commit is among those that a `cut` names, or what those build on.
///
/// # Errors
/// When the signature, the vault or the author's right is missing, or operations that it names are.
pub fn vouch(
    signed: &SignedCommit,
    control: &Control,
    kept: impl Fn(&[CommitId]) -> bool,
) -> Result<(), CommitError> {
    check_alone(signed, control)?;
    let commit = signed.payload();
    if stands(&commit.author, &commit.control, control, kept) {
        Ok(())
    } else {
        Err(CommitError::NotWriter(commit.author))
    }
}

/// [`vouch`] for one who has this commit alone: a removed author's is believed if the removal names it.
///
/// # Errors
/// As [`vouch`].
pub fn vouch_alone(signed: &SignedCommit, control: &Control) -> Result<(), CommitError> {
    let id = CommitId::from(signed.id());
    vouch(signed, control, |cut| cut.contains(&id))
}

fn check_alone(signed: &SignedCommit, control: &Control) -> Result<(), CommitError> {
    check_signature(signed)?;
    check_named(signed, control)
}

fn check_signature(signed: &SignedCommit) -> Result<(), CommitError> {
    signed
        .verify(&signed.payload().author)
        .map_err(CommitError::Signature)
}

/// What a commit says of itself and of the control log.
fn check_named(signed: &SignedCommit, control: &Control) -> Result<(), CommitError> {
    let commit = signed.payload();
    commit.check()?;
    if commit.vault != control.vault() {
        return Err(CommitError::OtherVault);
    }
    let missing: Vec<OpId> = commit
        .control
        .iter()
        .filter(|id| !control.contains(id))
        .copied()
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(CommitError::MissingOps(missing))
    }
}

/// Writer where it was made, and each removal that would have left the author none either was known there or keeps it.
fn stands(
    author: &NodeId,
    named: &[OpId],
    control: &Control,
    kept: impl Fn(&[CommitId]) -> bool,
) -> bool {
    control
        .demands(named, author, Role::Writer)
        .is_some_and(|unknown| unknown.iter().all(|(_, cut)| kept(cut)))
}

/// The commits of a vault.
#[derive(Clone, Default)]
pub struct Commits {
    headers: HashMap<CommitId, Header>,
    /// In an order in which parents come before children.
    order: Vec<CommitId>,
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

    /// The unsigned commit of `root` on top of `parents`, at most [`MAX_PARENTS`], ascending. `nonce` is random, `now_ms` the own clock, in Unix milliseconds.
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

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
