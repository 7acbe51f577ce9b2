//! The contents of several heads together: what the next commit starts from when versions stand side by side.
//!
//! A value `e` of a path is kept iff some head has it and every head either has it too or never saw the commit that wrote it. Seen and gone means overwritten or removed; not
//! seen means concurrent. So a write beats a concurrent removal, concurrent writes stand side by side until someone writes the path, and nothing that was overwritten comes back.

use super::entry::{Inner, VaultObjects};
use super::secrets::Secrets;
use polykey_core::ids::{Address, CommitId, VaultId};
use polykey_core::tree::{Edit, MAX_VARIANTS, Tree, TreeError, Variant};
use std::collections::{BTreeMap, HashSet};

/// The edits that make the tree of the shown head into that of all heads. Empty with one head.
pub fn merging(
    inner: &Inner,
    objects: &VaultObjects<'_>,
    secrets: &Secrets,
    vault: VaultId,
) -> Result<Vec<Edit>, TreeError> {
    let Some(shown) = inner.shown() else {
        return Ok(Vec::new());
    };
    let others: Vec<CommitId> = inner
        .heads
        .iter()
        .copied()
        .filter(|h| *h != shown)
        .collect();
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let tree = |root: Address| Tree::new(objects, secrets, vault, root);
    let root = |id: &CommitId| inner.commits.get(id).map(|h| h.root);
    let Some(base) = root(&shown) else {
        return Ok(Vec::new());
    };
    // By path: what the shown head has, and what each other head has where it differs.
    let mut differing: BTreeMap<String, Differing> = BTreeMap::new();
    for head in &others {
        let Some(other) = root(head) else { continue };
        for change in tree(other).changes_since(&tree(base))? {
            let place = differing.entry(change.path).or_insert_with(|| Differing {
                shown: change.old,
                others: BTreeMap::new(),
            });
            place.others.insert(*head, change.new);
        }
    }
    let seen = Seen::by(inner, others.iter().copied().chain([shown]));
    let kept = |(path, values): (String, Differing)| {
        let has = |head: &CommitId| values.others.get(head).unwrap_or(&values.shown);
        let heads = || others.iter().chain([&shown]);
        let mut all: Vec<&Variant> = Vec::new();
        for variant in heads().flat_map(has) {
            if !all.iter().any(|v| v.tag == variant.tag) {
                all.push(variant);
            }
        }
        all.retain(|e| {
            heads()
                .all(|head| has(head).iter().any(|v| v.tag == e.tag) || !seen.wrote(inner, head, e))
        });
        let mut variants: Vec<Variant> = all.into_iter().map(Variant::duplicate).collect();
        while variants.len() > MAX_VARIANTS {
            let oldest = inner.oldest(&variants);
            variants.swap_remove(oldest);
        }
        Edit::Keep { path, variants }
    };
    Ok(differing.into_iter().map(kept).collect())
}

/// The values of one path.
struct Differing {
    /// Those of the shown head.
    shown: Vec<Variant>,
    /// Those of the other heads that have others.
    others: BTreeMap<CommitId, Vec<Variant>>,
}

/// Which commits each head builds on.
struct Seen(BTreeMap<CommitId, HashSet<CommitId>>);

impl Seen {
    fn by(inner: &Inner, heads: impl Iterator<Item = CommitId>) -> Seen {
        Seen(
            heads
                .map(|head| (head, inner.commits.reachable(&[head])))
                .collect(),
        )
    }

    /// Whether the commit that wrote `variant` is among what `head` builds on.
    fn wrote(&self, inner: &Inner, head: &CommitId, variant: &Variant) -> bool {
        inner
            .commits
            .by_tag(&variant.tag)
            .is_some_and(|commit| self.0.get(head).is_some_and(|seen| seen.contains(commit)))
    }
}

/// Checks that a commit changed only what it says it wrote: every value that is in no parent carries its tag. A writer who forges tags could make a write pass for another's.
///
/// # Errors
/// `Malformed` when it did not; `NoKey` when this node cannot look.
pub fn check_writes(
    inner: &Inner,
    objects: &VaultObjects<'_>,
    secrets: &Secrets,
    vault: VaultId,
    commit: &polykey_core::commit::Commit,
) -> Result<(), TreeError> {
    let tree = |root: Address| Tree::new(objects, secrets, vault, root);
    let roots: Vec<Address> = commit
        .parents
        .iter()
        .filter_map(|p| inner.commits.get(p).map(|h| h.root))
        .collect();
    let Some((first, rest)) = roots.split_first() else {
        // The first commit of all: its pages must open and its values be its own.
        let all = tree(commit.root).range("")?;
        return all
            .iter()
            .flat_map(|(_, variants)| variants)
            .try_for_each(|v| own(v, commit));
    };
    for change in tree(commit.root).changes_since(&tree(*first))? {
        for variant in change
            .new
            .iter()
            .filter(|new| !change.old.iter().any(|old| old.same(new)))
        {
            let in_another = rest
                .iter()
                .map(|root| tree(*root).get(&change.path))
                .collect::<Result<Vec<_>, _>>()?;
            if !in_another.iter().flatten().any(|v| v.same(variant)) {
                own(variant, commit)?;
                // What is written must open: whoever reads the path would fail for good.
                tree(commit.root).check(variant)?;
            }
        }
    }
    Ok(())
}

fn own(variant: &Variant, commit: &polykey_core::commit::Commit) -> Result<(), TreeError> {
    if variant.tag == commit.tag() {
        Ok(())
    } else {
        Err(TreeError::Malformed(
            "a value that carries another commit's tag",
        ))
    }
}
