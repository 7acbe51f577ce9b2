//! Edits: from one tree to the next, reading the pages on the way to each edit and sealing only pages that are new.
//!
//! It goes level by level. On each, an edit lands in one old page; from there on entries are cut into pages anew until a cut meets the end of an old page, behind which
//! nothing can differ. What was cut becomes the edits of the level above.

use super::page::{
    Content, Entry, Expected, MAX_ENTRIES, MAX_FILE, MAX_INLINE, MAX_VARIANTS, Page, Value, Variant,
};
use super::{Found, Keyring, Objects, Tree, TreeError, closes, list};
use crate::epoch::ShapeKey;
use crate::ids::{Address, Tag};
use crate::path;
use crate::seal::{self, Kind, MAX_BLOB, ObjectKeys};
use std::collections::BTreeMap;
use std::ops::Bound;
use zeroize::Zeroizing;

/// A change of one path.
pub enum Edit {
    /// Write a value; it takes the place of all values that the path has.
    Put {
        /// Where.
        path: String,
        /// File mode in pods, at most 0777.
        mode: u32,
        /// What.
        value: Zeroizing<Vec<u8>>,
    },
    /// Write a large value whose list and chunks are among the tree's objects; it takes the place of all values that the path has.
    File {
        /// Where.
        path: String,
        /// File mode in pods, at most 0777.
        mode: u32,
        /// Bytes of the value.
        size: u64,
        /// Its list.
        list: Address,
    },
    /// Remove the path.
    Remove {
        /// Where.
        path: String,
    },
    /// Let these values, which other trees of the vault have, stand side by side at the path. None of them removes it.
    Keep {
        /// Where.
        path: String,
        /// At most [`MAX_VARIANTS`], one of a tag.
        variants: Vec<Variant>,
    },
}

impl Edit {
    /// The path that it changes.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Edit::Put { path, .. }
            | Edit::File { path, .. }
            | Edit::Remove { path }
            | Edit::Keep { path, .. } => path,
        }
    }
}

/// What becomes of a path.
enum Write {
    Value(u32, Zeroizing<Vec<u8>>),
    File(Variant),
    Variants(Vec<Variant>),
    Nothing,
}

/// The next tree.
pub struct Edited {
    /// Its root; the same as before when nothing differs.
    pub root: Address,
    /// Objects that it has and the tree before had not.
    pub objects: Vec<(Address, Vec<u8>)>,
    /// Paths whose value or mode differs, in order.
    pub changed: Vec<String>,
}

/// What becomes of a key: another entry, or none.
type Edits = BTreeMap<String, Option<Entry>>;

impl<O: Objects, K: Keyring> Tree<'_, O, K> {
    /// Applies `edits` in their order as one step. `tag` names the commit that will hold the result, `keys` seal what is new.
    ///
    /// # Errors
    /// When a path or value is out of bounds (then nothing was done), or a page on the way cannot be read.
    pub fn edit(
        &self,
        edits: Vec<Edit>,
        tag: Tag,
        shape: &ShapeKey,
        keys: &ObjectKeys,
    ) -> Result<Edited, TreeError> {
        let mut sealing = Sealing {
            objects: BTreeMap::new(),
            keys,
            shape,
            vault: &self.vault,
        };
        let mut level_edits = self.leaf_edits(edits, tag, &mut sealing)?;
        let changed: Vec<String> = level_edits.keys().cloned().collect();
        if changed.is_empty() {
            return Ok(Edited {
                root: self.root(),
                objects: Vec::new(),
                changed,
            });
        }
        let height = self.page_at_root()?.level;
        for level in 0..=height {
            level_edits = self.rewrite(level, level_edits, &mut sealing)?;
        }
        let root = self.top(height, level_edits, &mut sealing)?;
        Ok(Edited {
            root,
            objects: sealing.reachable(root),
            changed,
        })
    }

    /// The last write of each path, without those that change nothing.
    fn leaf_edits(
        &self,
        edits: Vec<Edit>,
        tag: Tag,
        sealing: &mut Sealing<'_>,
    ) -> Result<Edits, TreeError> {
        let mut last = BTreeMap::new();
        for edit in edits {
            match edit {
                Edit::Put { path, mode, value } => {
                    path::check(&path)?;
                    if value.len() as u64 > MAX_FILE {
                        return Err(TreeError::TooLarge(value.len() as u64));
                    }
                    last.insert(path, Write::Value(mode & 0o777, value));
                }
                Edit::File {
                    path,
                    mode,
                    size,
                    list,
                } => {
                    path::check(&path)?;
                    let variant = Variant {
                        tag,
                        mode: mode & 0o777,
                        size,
                        content: Content::List(list),
                    };
                    self.pieces(&variant)?;
                    last.insert(path, Write::File(variant));
                }
                Edit::Remove { path } => drop(last.insert(path, Write::Nothing)),
                Edit::Keep { path, mut variants } => {
                    path::check_key(&path)?;
                    variants.sort_by_key(|v| v.tag);
                    if variants.len() > MAX_VARIANTS || !variants.is_sorted_by(|a, b| a.tag < b.tag)
                    {
                        return Err(TreeError::Malformed(
                            "values that cannot stand side by side",
                        ));
                    }
                    last.insert(
                        path,
                        if variants.is_empty() {
                            Write::Nothing
                        } else {
                            Write::Variants(variants)
                        },
                    );
                }
            }
        }
        let mut out = Edits::new();
        for (path, write) in last {
            let old = self.get(&path)?;
            match write {
                Write::Nothing if old.is_empty() => {}
                Write::Nothing => drop(out.insert(path, None)),
                Write::Variants(new) => {
                    if old.len() != new.len() || !old.iter().zip(&new).all(|(a, b)| a.same(b)) {
                        out.insert(
                            path.clone(),
                            Some(Entry {
                                key: path,
                                value: Value::Variants(new),
                            }),
                        );
                    }
                }
                Write::File(variant) => {
                    let same = match old.as_slice() {
                        [only] => only.mode == variant.mode && self.same_bytes(only, &variant)?,
                        _ => false,
                    };
                    if !same {
                        out.insert(
                            path.clone(),
                            Some(Entry {
                                key: path,
                                value: Value::Variants(vec![variant]),
                            }),
                        );
                    }
                }
                Write::Value(mode, value) => {
                    if !self.holds(&old, mode, &value)? {
                        let variant = sealing.value(tag, mode, value)?;
                        out.insert(
                            path.clone(),
                            Some(Entry {
                                key: path,
                                value: Value::Variants(vec![variant]),
                            }),
                        );
                    }
                }
            }
        }
        Ok(out)
    }

    fn holds(&self, old: &[Variant], mode: u32, value: &[u8]) -> Result<bool, TreeError> {
        let [only] = old else { return Ok(false) };
        Ok(only.mode == mode && self.has_bytes(only, value)?)
    }

    fn page_at_root(&self) -> Result<Page, TreeError> {
        self.page(&self.root, &Expected::ROOT)
    }

    /// Cuts the pages of one level anew around `edits`, and gives the edits of the level above: pages that are no more by their last key, and pages that are new.
    fn rewrite(
        &self,
        level: u8,
        mut edits: Edits,
        sealing: &mut Sealing<'_>,
    ) -> Result<Edits, TreeError> {
        let mut above = Edits::new();
        while let Some(first) = edits.keys().next().cloned() {
            let mut run = Run {
                level,
                cut: Vec::new(),
                old: BTreeMap::new(),
            };
            let mut found = self.page_at(level, Bound::Included(&first))?;
            while let Some(old) = found {
                let last = old.page.last_key().unwrap_or_default().to_owned();
                let is_last = old.is_last;
                run.feed(old, &mut edits, sealing, &mut above)?;
                // Behind a cut that meets the end of an old page nothing differs until the next edit.
                found = if run.cut.is_empty() || is_last {
                    None
                } else {
                    self.page_at(level, Bound::Excluded(&last))?
                };
            }
            run.close(sealing, &mut above)?;
        }
        Ok(above)
    }

    /// From the pages of the old root's level (all of them are in `edits`) up to the new root.
    fn top(
        &self,
        mut level: u8,
        edits: Edits,
        sealing: &mut Sealing<'_>,
    ) -> Result<Address, TreeError> {
        let mut entries: Vec<Entry> = edits.into_values().flatten().collect();
        while entries.len() > 1 {
            level = level
                .checked_add(1)
                .filter(|l| *l <= seal::MAX_LEVEL)
                .ok_or(TreeError::Malformed("a tree that is too high"))?;
            let mut above = Edits::new();
            let mut run = Run {
                level,
                cut: Vec::new(),
                old: BTreeMap::new(),
            };
            for entry in entries {
                run.push(entry, sealing, &mut above)?;
            }
            run.close(sealing, &mut above)?;
            entries = above.into_values().flatten().collect();
        }
        let Some(Entry {
            value: Value::Child(mut root),
            ..
        }) = entries.pop()
        else {
            return sealing.page(&Page {
                level: 0,
                entries: Vec::new(),
            });
        };
        // The root is the lowest level that has one page.
        loop {
            let page = match sealing.open(&root) {
                Some(page) => page?,
                None => self.page(&root, &Expected::ROOT)?,
            };
            match page.entries.as_slice() {
                [
                    Entry {
                        value: Value::Child(only),
                        ..
                    },
                ] => root = *only,
                _ => return Ok(root),
            }
        }
    }
}

/// A stretch of one level that is cut anew.
struct Run {
    level: u8,
    /// Entries since the last cut.
    cut: Vec<Entry>,
    /// Old pages of the stretch by last key: one that comes out the same keeps its object, whatever its epoch.
    old: BTreeMap<String, (Address, Vec<Entry>)>,
}

impl Run {
    /// Feeds the entries of an old page, with the edits that fall into it.
    fn feed(
        &mut self,
        old: Found,
        edits: &mut Edits,
        sealing: &mut Sealing<'_>,
        above: &mut Edits,
    ) -> Result<(), TreeError> {
        let Found {
            address,
            page: old,
            is_last,
        } = old;
        let bound = if is_last {
            None
        } else {
            old.last_key().map(str::to_owned)
        };
        let later = match &bound {
            Some(last) => {
                let mut later = edits.split_off(last.as_str());
                if let Some(at_last) = later.remove(last.as_str()) {
                    edits.insert(last.clone(), at_last);
                }
                later
            }
            None => Edits::new(),
        };
        let mut here = std::mem::replace(edits, later).into_iter().peekable();
        if let Some(last) = old.last_key() {
            above.entry(last.to_owned()).or_insert(None);
            self.old.insert(
                last.to_owned(),
                (address, old.entries.iter().map(Entry::duplicate).collect()),
            );
        }
        for entry in old.entries {
            while let Some((_, edit)) = here.next_if(|(key, _)| *key < entry.key) {
                if let Some(new) = edit {
                    self.push(new, sealing, above)?;
                }
            }
            match here.next_if(|(key, _)| *key == entry.key) {
                Some((_, Some(new))) => self.push(new, sealing, above)?,
                Some((_, None)) => {}
                None => self.push(entry, sealing, above)?,
            }
        }
        for new in here.filter_map(|(_, edit)| edit) {
            self.push(new, sealing, above)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        entry: Entry,
        sealing: &mut Sealing<'_>,
        above: &mut Edits,
    ) -> Result<(), TreeError> {
        let ends = closes(sealing.shape, self.level, &entry.key);
        self.cut.push(entry);
        if ends || self.cut.len() == MAX_ENTRIES {
            self.close(sealing, above)
        } else {
            Ok(())
        }
    }

    /// Ends the page that is being cut.
    fn close(&mut self, sealing: &mut Sealing<'_>, above: &mut Edits) -> Result<(), TreeError> {
        let Some(last) = self.cut.last().map(|e| e.key.clone()) else {
            return Ok(());
        };
        let page = Page {
            level: self.level,
            entries: std::mem::take(&mut self.cut),
        };
        let unchanged = self.old.get(&last).filter(|(_, old)| {
            old.len() == page.entries.len() && old.iter().zip(&page.entries).all(|(a, b)| a.same(b))
        });
        let address = match unchanged {
            Some((address, _)) => *address,
            None => sealing.page(&page)?,
        };
        above.insert(
            last.clone(),
            Some(Entry {
                key: last,
                value: Value::Child(address),
            }),
        );
        Ok(())
    }
}

/// What was sealed so far.
struct Sealing<'k> {
    objects: BTreeMap<Address, Vec<u8>>,
    keys: &'k ObjectKeys,
    shape: &'k ShapeKey,
    vault: &'k crate::ids::VaultId,
}

impl Sealing<'_> {
    fn value(
        &mut self,
        tag: Tag,
        mode: u32,
        value: Zeroizing<Vec<u8>>,
    ) -> Result<Variant, TreeError> {
        let size = value.len() as u64;
        let content = if value.len() <= MAX_INLINE {
            Content::Inline(value)
        } else if value.len() <= MAX_BLOB {
            let (address, object) = seal::seal(self.keys, self.vault, Kind::Blob, 0, &[], &value)
                .map_err(|_| TreeError::TooLarge(size))?;
            self.objects.insert(address, object);
            Content::Blob(address)
        } else {
            let objects = &mut self.objects;
            Content::List(list::seal_whole(
                self.keys,
                self.vault,
                &value,
                |address, object| {
                    objects.insert(address, object);
                },
            )?)
        };
        Ok(Variant {
            tag,
            mode,
            size,
            content,
        })
    }

    fn page(&mut self, page: &Page) -> Result<Address, TreeError> {
        let (address, object) = page.seal(self.keys, self.vault)?;
        self.objects.insert(address, object);
        Ok(address)
    }

    /// A page that was sealed here.
    fn open(&self, address: &Address) -> Option<Result<Page, TreeError>> {
        let bytes = self.objects.get(address)?;
        let opened =
            seal::open(self.keys, self.vault, bytes).map_err(|e| TreeError::Seal(*address, e));
        Some(opened.and_then(|(header, body)| Page::read(&header, &body, &Expected::ROOT)))
    }

    /// What the new root needs of it, parents first: pages that a lower root left over are dropped.
    fn reachable(mut self, root: Address) -> Vec<(Address, Vec<u8>)> {
        let mut out = Vec::with_capacity(self.objects.len());
        let mut next = vec![root];
        while let Some(address) = next.pop() {
            if let Some(bytes) = self.objects.remove(&address) {
                next.extend(seal::header(&bytes).map(|h| h.refs).unwrap_or_default());
                out.push((address, bytes));
            }
        }
        out
    }
}
