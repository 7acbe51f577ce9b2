//! The contents of several heads together: what readers are shown, and what the next commit starts from, while versions stand side by side.
//!
//! A value `e` of a path is shown iff some head has it and every head either has it too or does not build on the commit that wrote it. Built on and gone means overwritten or
//! removed; not built on means concurrent. So a write beats a concurrent removal, concurrent writes stand side by side until someone writes the path, and nothing that was
//! overwritten comes back. It is a function of the set of commits: no merge base, no order of arrival and no machine's commit is in it.
//!
//! The tree of the first head (the lowest id) stands as it is; what the others make of it is an overlay in memory, made from diffs, so that it costs what differs. It is never
//! written by itself: the next commit of a person or an application has all heads as parents and this as its contents.

use crate::commit::{Commits, Header};
use crate::ids::{self, Address, CommitId, Tag, VaultId};
use crate::tree::{Change, Edit, Keyring, MAX_VARIANTS, Objects, Tree, TreeError, Variant};
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use zeroize::Zeroizing;

/// What several heads, or one, show together.
pub struct View {
    heads: Vec<CommitId>,
    /// Tree of the first head.
    root: Address,
    /// What a path has where that is not what the first head's tree has. An empty list: the path is not there.
    overlay: BTreeMap<String, Vec<Variant>>,
}

/// The id of the version that `heads` (ascending) are together: of one head its own.
#[must_use]
pub fn version(heads: &[CommitId]) -> Option<CommitId> {
    match heads {
        [] => None,
        [one] => Some(*one),
        many => Some(ids::view(many)),
    }
}

impl View {
    /// The view of `heads`; `None` without any. Their trees, where they differ, must be readable. With one head no tree is looked at.
    ///
    /// # Errors
    /// When a page that one head has and the first has not, or the other way round, cannot be read.
    pub fn of<O: Objects, K: Keyring>(
        commits: &Commits,
        heads: &[CommitId],
        objects: &O,
        keyring: &K,
        vault: VaultId,
    ) -> Result<Option<View>, TreeError> {
        let mut heads: Vec<CommitId> = heads
            .iter()
            .copied()
            .filter(|h| commits.contains(h))
            .collect();
        heads.sort_unstable();
        heads.dedup();
        let roots: Vec<Address> = heads
            .iter()
            .filter_map(|h| commits.get(h).map(|h| h.root))
            .collect();
        let Some(root) = roots.first().copied() else {
            return Ok(None);
        };
        // By path: what each head has that has something else than the first.
        let mut differing: BTreeMap<String, Differing> = BTreeMap::new();
        let first = Tree::new(objects, keyring, vault, root);
        for (at, other) in roots.iter().enumerate().skip(1) {
            for change in Tree::new(objects, keyring, vault, *other).changes_since(&first)? {
                let place = differing.entry(change.path).or_insert_with(|| Differing {
                    first: change.old,
                    others: BTreeMap::new(),
                });
                place.others.insert(at, change.new);
            }
        }
        let mut painted = Painted::from(commits, &heads);
        let overlay = differing
            .into_iter()
            .filter_map(|(path, values)| Some((path, values.together(&mut painted, heads.len())?)))
            .collect();
        Ok(Some(View {
            heads,
            root,
            overlay,
        }))
    }

    /// The heads, ascending.
    #[must_use]
    pub fn heads(&self) -> &[CommitId] {
        &self.heads
    }

    /// The version that they are together.
    #[must_use]
    pub fn version(&self) -> CommitId {
        version(&self.heads).unwrap_or_else(|| ids::view(&self.heads))
    }

    /// Root of the tree that the overlay lies over: that of the first head.
    #[must_use]
    pub fn root(&self) -> Address {
        self.root
    }

    /// The one tree that holds all of this, if there is one.
    #[must_use]
    pub fn is_one_tree(&self) -> bool {
        self.overlay.is_empty()
    }

    /// Paths at which the heads together have something else than the first alone, in order.
    pub fn differing(&self) -> impl Iterator<Item = &str> {
        self.overlay.keys().map(String::as_str)
    }

    /// The edits that make the first head's tree into this. Of more than [`MAX_VARIANTS`] values of a path the newest are kept.
    #[must_use]
    pub fn edits(&self, commits: &Commits) -> Vec<Edit> {
        let edit = |(path, values): (&String, &Vec<Variant>)| {
            let mut by_age: Vec<&Variant> = values.iter().collect();
            by_age.sort_by_key(|v| std::cmp::Reverse(age(commits, v)));
            Edit::Keep {
                path: path.clone(),
                variants: by_age
                    .into_iter()
                    .take(MAX_VARIANTS)
                    .map(Variant::duplicate)
                    .collect(),
            }
        };
        self.overlay.iter().map(edit).collect()
    }

    /// To read from.
    pub fn open<'a, O: Objects, K: Keyring>(
        &'a self,
        objects: &'a O,
        keyring: &'a K,
        vault: VaultId,
    ) -> Contents<'a, O, K> {
        Contents {
            tree: Tree::new(objects, keyring, vault, self.root),
            overlay: &self.overlay,
        }
    }
}

/// A view, to read from.
pub struct Contents<'a, O, K> {
    tree: Tree<'a, O, K>,
    overlay: &'a BTreeMap<String, Vec<Variant>>,
}

impl<'a, O: Objects, K: Keyring> Contents<'a, O, K> {
    /// The values of a path, by tag; none when nothing is there.
    ///
    /// # Errors
    /// As [`Tree::get`].
    pub fn get(&self, path: &str) -> Result<Vec<Variant>, TreeError> {
        match self.overlay.get(path) {
            Some(values) => Ok(copies(values)),
            None => self.tree.get(path),
        }
    }

    /// Every path that starts with `prefix`, in order, with its values.
    ///
    /// # Errors
    /// As [`Tree::range`].
    pub fn range(&self, prefix: &str) -> Result<Vec<(String, Vec<Variant>)>, TreeError> {
        let below = self.tree.range(prefix)?;
        let over = || {
            self.overlay
                .range(prefix.to_owned()..)
                .take_while(|(path, _)| path.starts_with(prefix))
        };
        if over().next().is_none() {
            return Ok(below);
        }
        let mut all: BTreeMap<String, Vec<Variant>> = below.into_iter().collect();
        for (path, values) in over() {
            if values.is_empty() {
                all.remove(path);
            } else {
                all.insert(path.clone(), copies(values));
            }
        }
        Ok(all.into_iter().collect())
    }

    /// The bytes of a value.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn read(&self, variant: &Variant) -> Result<Zeroizing<Vec<u8>>, TreeError> {
        self.tree.read(variant)
    }

    /// To read large values from: any tree of the vault opens them.
    #[must_use]
    pub fn tree(&self) -> &Tree<'a, O, K> {
        &self.tree
    }

    /// What differs from `before` to this, in order of path.
    ///
    /// # Errors
    /// As [`Tree::changes_since`].
    pub fn changes_since(&self, before: &Self) -> Result<Vec<Change>, TreeError> {
        let changes = self.tree.changes_since(&before.tree)?;
        if self.overlay.is_empty() && before.overlay.is_empty() {
            return Ok(changes);
        }
        let mut all: BTreeMap<String, Change> =
            changes.into_iter().map(|c| (c.path.clone(), c)).collect();
        for path in self.overlay.keys().chain(before.overlay.keys()) {
            let (old, new) = (before.get(path)?, self.get(path)?);
            if same(&old, &new) {
                all.remove(path);
            } else {
                let path = path.clone();
                all.insert(path.clone(), Change { path, old, new });
            }
        }
        Ok(all.into_values().collect())
    }
}

/// The value of several that is shown: the newest, and of two that are as new that with the higher tag.
#[must_use]
pub fn newest<'v>(commits: &Commits, variants: &'v [Variant]) -> Option<&'v Variant> {
    variants.iter().max_by_key(|v| age(commits, v))
}

/// Sorts values so that the one that is shown is the first.
pub fn newest_first(commits: &Commits, variants: &mut [Variant]) {
    variants.sort_by_key(|v| std::cmp::Reverse(age(commits, v)));
}

fn age(commits: &Commits, variant: &Variant) -> (Option<u64>, ids::Tag) {
    let wrote = commits.by_tag(&variant.tag).and_then(|c| commits.get(c));
    (wrote.map(|h| h.time_ms), variant.tag)
}

/// Checks that the commit of a root and a tag wrote only what it says it wrote: every value that its parents together do not show carries its tag, and opens. A writer who forges tags could make
/// a write pass for another's, or bring back what was overwritten. Parents that are not in `commits`, or whose trees are gone, cannot be checked against.
///
/// # Errors
/// `Malformed` when it did not; `NoKey` when this reader cannot look; what the trees' reading fails with.
pub fn check_writes<O: Objects, K: Keyring>(
    commits: &Commits,
    vault: VaultId,
    (root, tag): (Address, Tag),
    parents: &[CommitId],
    objects: &O,
    keyring: &K,
) -> Result<(), TreeError> {
    let tree = Tree::new(objects, keyring, vault, root);
    let Some(before) = View::of(commits, parents, objects, keyring, vault)? else {
        // The first commit of all: its pages must open and its values be its own.
        return tree
            .range("")?
            .iter()
            .flat_map(|(_, variants)| variants)
            .try_for_each(|v| own(v, tag));
    };
    let nothing = BTreeMap::new();
    let after = Contents {
        tree,
        overlay: &nothing,
    };
    for change in after.changes_since(&before.open(objects, keyring, vault))? {
        let added = change
            .new
            .iter()
            .filter(|new| !change.old.iter().any(|old| old.same(new)));
        for variant in added {
            own(variant, tag)?;
            // What is written must open: whoever reads the path would fail for good.
            after.tree.check(variant)?;
        }
    }
    Ok(())
}

fn own(variant: &Variant, tag: Tag) -> Result<(), TreeError> {
    if variant.tag == tag {
        Ok(())
    } else {
        Err(TreeError::Malformed(
            "a value that carries another commit's tag",
        ))
    }
}

/// The values of one path at which heads differ.
struct Differing {
    /// Those of the first head.
    first: Vec<Variant>,
    /// Those of the other heads that have others, by their place among the heads.
    others: BTreeMap<usize, Vec<Variant>>,
}

impl Differing {
    /// What all heads together show, by tag; `None` when that is what the first has.
    fn together(self, painted: &mut Painted<'_>, heads: usize) -> Option<Vec<Variant>> {
        let has = |head: usize| self.others.get(&head).unwrap_or(&self.first);
        let mut all: BTreeMap<ids::Tag, &Variant> = BTreeMap::new();
        for variant in self.first.iter().chain(self.others.values().flatten()) {
            all.entry(variant.tag).or_insert(variant);
        }
        let mut shown: Vec<Variant> = Vec::new();
        for variant in all.into_values() {
            let seen = painted.by(variant);
            let gone = |head: usize| {
                seen.is_some_and(|s| s.has(head)) && !has(head).iter().any(|v| v.tag == variant.tag)
            };
            if !(0..heads).any(gone) {
                shown.push(variant.duplicate());
            }
        }
        (!same(&shown, &self.first)).then_some(shown)
    }
}

fn same(a: &[Variant], b: &[Variant]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
}

fn copies(values: &[Variant]) -> Vec<Variant> {
    values.iter().map(Variant::duplicate).collect()
}

/// Which heads build on a commit, painted from the heads downwards as far as somebody asks. Dates rise along the graph, so what is older than the commit that is asked for
/// cannot lead to it.
struct Painted<'c> {
    commits: &'c Commits,
    marks: HashMap<CommitId, Marks>,
    open: BinaryHeap<(u64, CommitId)>,
}

impl<'c> Painted<'c> {
    fn from(commits: &'c Commits, heads: &[CommitId]) -> Painted<'c> {
        let mut painted = Painted {
            commits,
            marks: HashMap::new(),
            open: BinaryHeap::new(),
        };
        for (at, head) in heads.iter().enumerate() {
            painted.mark(*head, &Marks::one(at));
        }
        painted
    }

    /// The heads that build on the commit that wrote `variant`; `None` when none does.
    fn by(&mut self, variant: &Variant) -> Option<&Marks> {
        let commits = self.commits;
        let wrote = commits.by_tag(&variant.tag)?;
        let date = commits.get(wrote)?.time_ms;
        while let Some((_, id)) = self.open.pop_if_later(date) {
            let (Some(Header { parents, .. }), Some(marks)) =
                (commits.get(&id), self.marks.get(&id).cloned())
            else {
                continue;
            };
            for parent in parents {
                self.mark(*parent, &marks);
            }
        }
        self.marks.get(wrote)
    }

    fn mark(&mut self, id: CommitId, marks: &Marks) {
        match self.marks.get_mut(&id) {
            Some(known) => known.join(marks),
            None => {
                if let Some(header) = self.commits.get(&id) {
                    self.open.push((header.time_ms, id));
                    self.marks.insert(id, marks.clone());
                }
            }
        }
    }
}

/// Taking from the newest on: when a commit is taken, all that builds on it was taken before, so its marks are whole.
trait PopIfLater {
    fn pop_if_later(&mut self, date: u64) -> Option<(u64, CommitId)>;
}

impl PopIfLater for BinaryHeap<(u64, CommitId)> {
    fn pop_if_later(&mut self, date: u64) -> Option<(u64, CommitId)> {
        self.peek().filter(|(at, _)| *at > date)?;
        self.pop()
    }
}

/// A set of heads, by their places.
#[derive(Clone)]
struct Marks(Vec<u64>);

impl Marks {
    fn one(at: usize) -> Marks {
        let mut words = vec![0; at / 64 + 1];
        words[at / 64] |= 1 << (at % 64);
        Marks(words)
    }

    fn has(&self, at: usize) -> bool {
        self.0
            .get(at / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn join(&mut self, other: &Marks) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
