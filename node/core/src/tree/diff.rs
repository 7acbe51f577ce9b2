//! What differs between two trees: by paths, for who holds the keys, and by refs alone, for who does not. Both go level by level and never look below what is equal.

use super::page::{Expected, Value, Variant};
use super::{Keyring, Objects, Page, Tree, TreeError};
use crate::ids::Address;
use crate::seal::{Header, Kind};
use std::collections::{BTreeMap, BTreeSet};

/// A path whose values differ.
pub struct Change {
    /// The path.
    pub path: String,
    /// Its values before; none when it was added.
    pub old: Vec<Variant>,
    /// Its values after; none when it was removed.
    pub new: Vec<Variant>,
}

impl<O: Objects, K: Keyring> Tree<'_, O, K> {
    /// What differs from `before` to this tree, in order of path.
    ///
    /// # Errors
    /// When a page of either side that the other lacks cannot be read.
    pub fn changes_since(&self, before: &Self) -> Result<Vec<Change>, TreeError> {
        let (mut old, mut new) = (Side::of(before)?, Side::of(self)?);
        while let Some(level) = old.level().max(new.level()) {
            let (a, b) = (old.take(level), new.take(level));
            old.expand(
                before,
                a.iter()
                    .filter(|(x, _)| !b.contains_key(*x))
                    .map(|(_, p)| p),
            )?;
            new.expand(
                self,
                b.iter()
                    .filter(|(x, _)| !a.contains_key(*x))
                    .map(|(_, p)| p),
            )?;
        }
        Ok(merge(old.entries, new.entries))
    }
}

/// The part of one tree that the other does not have, so far.
struct Side {
    /// Pages by level and address.
    pages: BTreeMap<u8, BTreeMap<Address, Page>>,
    /// Entries of leaves that were reached.
    entries: BTreeMap<String, Vec<Variant>>,
}

impl Side {
    fn of<O: Objects, K: Keyring>(tree: &Tree<'_, O, K>) -> Result<Side, TreeError> {
        let mut side = Side {
            pages: BTreeMap::new(),
            entries: BTreeMap::new(),
        };
        side.add(tree.root, tree.page(&tree.root, &Expected::ROOT)?);
        Ok(side)
    }

    fn add(&mut self, address: Address, page: Page) {
        self.pages
            .entry(page.level)
            .or_default()
            .insert(address, page);
    }

    fn level(&self) -> Option<u8> {
        self.pages.keys().next_back().copied()
    }

    fn take(&mut self, level: u8) -> BTreeMap<Address, Page> {
        self.pages.remove(&level).unwrap_or_default()
    }

    fn expand<'p, O: Objects, K: Keyring>(
        &mut self,
        tree: &Tree<'_, O, K>,
        pages: impl Iterator<Item = &'p Page>,
    ) -> Result<(), TreeError> {
        for page in pages {
            let mut above: Option<&str> = None;
            for entry in &page.entries {
                match &entry.value {
                    Value::Variants(variants) => drop(self.entries.insert(
                        entry.key.clone(),
                        variants.iter().map(Variant::duplicate).collect(),
                    )),
                    Value::Child(child) => {
                        let expected = Expected {
                            level: page.level.checked_sub(1),
                            above,
                            last: Some(&entry.key),
                        };
                        self.add(*child, tree.page(child, &expected)?);
                    }
                }
                above = Some(&entry.key);
            }
        }
        Ok(())
    }
}

fn merge(
    mut old: BTreeMap<String, Vec<Variant>>,
    new: BTreeMap<String, Vec<Variant>>,
) -> Vec<Change> {
    let mut changes: BTreeMap<String, Change> = BTreeMap::new();
    for (path, new) in new {
        let old = old.remove(&path).unwrap_or_default();
        let same = old.len() == new.len() && old.iter().zip(&new).all(|(a, b)| a.same(b));
        if !same {
            changes.insert(path.clone(), Change { path, old, new });
        }
    }
    for (path, old) in old {
        changes.insert(
            path.clone(),
            Change {
                path,
                old,
                new: Vec::new(),
            },
        );
    }
    changes.into_values().collect()
}

/// The objects below `want` that are not below any of `have`, parents first, by refs alone: no key is needed. All of them must be here.
///
/// An object that does not fit the place where its parent puts it has nothing below it: then every node agrees on what a tree has, however wrong its author made it, and can pass all
/// of it on. Who opens it finds the fault.
///
/// # Errors
/// `Missing` when one of them is not here.
pub fn difference(
    objects: &impl Objects,
    have: &[Address],
    want: &Address,
) -> Result<Vec<Address>, TreeError> {
    let (found, missing) = walk(objects, have, want)?;
    missing
        .first()
        .map_or(Ok(found), |a| Err(TreeError::Missing(*a)))
}

/// The objects below `want` that are neither here nor below any of `have`, as far as what is here tells. Empty: all of the tree is here, if all of `have` is.
///
/// # Errors
/// When an object cannot be read.
pub fn missing(
    objects: &impl Objects,
    have: &[Address],
    want: &Address,
) -> Result<Vec<Address>, TreeError> {
    walk(objects, have, want).map(|(_, missing)| missing)
}

/// Objects by their height: leaves at [`LEAF`], values (a blob, or the list of a large one's chunks) below, chunks at the bottom.
type Levels = BTreeMap<u8, BTreeSet<Address>>;

/// Height of a leaf.
const LEAF: u8 = 2;
/// Height of a value.
const VALUE: u8 = 1;

fn walk(
    objects: &impl Objects,
    have: &[Address],
    want: &Address,
) -> Result<(Vec<Address>, Vec<Address>), TreeError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let (mut wanted, mut held) = (Levels::new(), Levels::new());
    if have.contains(want) {
        return Ok((found, missing));
    }
    for root in have {
        // A root that is not here has nothing to subtract.
        if let Some(header) = load(objects, root)? {
            held.entry(height(&header)).or_default().insert(*root);
        }
    }
    match load(objects, want)? {
        None => missing.push(*want),
        Some(header) => drop(wanted.entry(height(&header)).or_default().insert(*want)),
    }
    while let Some(level) = wanted.keys().next_back().copied() {
        while let Some(higher) = held.keys().next_back().copied().filter(|h| *h > level) {
            let pages = held.remove(&higher).unwrap_or_default();
            descend(objects, higher, pages.iter(), &mut held)?;
        }
        let want_here = wanted.remove(&level).unwrap_or_default();
        let have_here = held.remove(&level).unwrap_or_default();
        for address in want_here.difference(&have_here) {
            match load(objects, address)? {
                None => missing.push(*address),
                Some(header) => {
                    wanted
                        .entry(level.saturating_sub(1))
                        .or_default()
                        .extend(refs(header, level));
                    found.push(*address);
                }
            }
        }
        descend(objects, level, have_here.difference(&want_here), &mut held)?;
        wanted.retain(|_, addresses| !addresses.is_empty());
    }
    Ok((found, missing))
}

/// Notes the refs of held objects at `level` one level below. What is not here has nothing to subtract.
fn descend<'a>(
    objects: &impl Objects,
    level: u8,
    from: impl Iterator<Item = &'a Address>,
    held: &mut Levels,
) -> Result<(), TreeError> {
    for address in from {
        if let Some(header) = load(objects, address)? {
            held.entry(level.saturating_sub(1))
                .or_default()
                .extend(refs(header, level));
        }
    }
    held.retain(|_, addresses| !addresses.is_empty());
    Ok(())
}

/// What an object names, if it is here: for who walks refs and opens nothing.
///
/// # Errors
/// `Store`, or `Seal` when it is no object.
pub fn refs_of(
    objects: &impl Objects,
    address: &Address,
) -> Result<Option<Vec<Address>>, TreeError> {
    Ok(load(objects, address)?.map(|header| header.refs))
}

fn load(objects: &impl Objects, address: &Address) -> Result<Option<Header>, TreeError> {
    let head = objects
        .head(address)
        .map_err(|e| TreeError::Store(*address, e))?;
    head.map(|h| h.header())
        .transpose()
        .map_err(|e| TreeError::Seal(*address, e))
}

/// The refs of an object that its parent puts at this height; none where it does not fit there.
fn refs(header: Header, level: u8) -> Vec<Address> {
    let fits = match header.kind {
        Kind::Page => header.level + LEAF == level,
        Kind::List => level == VALUE,
        Kind::Blob | Kind::Note => false,
    };
    if fits { header.refs } else { Vec::new() }
}

/// The height of a root, which is a page if its author is honest.
fn height(header: &Header) -> u8 {
    match header.kind {
        Kind::Page => header.level + LEAF,
        Kind::List | Kind::Blob | Kind::Note => VALUE,
    }
}
