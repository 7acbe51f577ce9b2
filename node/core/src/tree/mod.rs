//! The contents of a vault: an ordered map from paths to values, as a Merkle tree of sealed pages. The tree is a function of the map alone: whoever makes the same map, by
//! whatever edits, gets the same pages, so equal parts of two versions are equal objects.
//!
//! Where a page ends is decided by a keyed hash of its last key ([`ShapeKey::z`]), so that an edit changes one page a level, and only a member can aim at boundaries.

mod diff;
mod edit;
mod list;
mod page;

pub use diff::{Change, difference, missing, refs_of};
pub use edit::{Edit, Edited};
pub use list::{Chunks, Pieces, open_chunk};
pub use page::{Content, MAX_ENTRIES, MAX_FILE, MAX_INLINE, MAX_VARIANTS, Variant};

use crate::epoch::ShapeKey;
use crate::ids::{Address, EpochId, VaultId};
use crate::seal::{self, Head, ObjectKeys, SealError};
use page::{Expected, Page, Value};
use std::error::Error;
use std::ops::Bound;
use zeroize::Zeroizing;

/// Where sealed objects are.
pub trait Objects {
    /// The bytes at an address; `None` when they are not here.
    ///
    /// # Errors
    /// The store's own.
    fn object(&self, address: &Address) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>>;

    /// The beginning of the object at an address. Who follows refs needs no more; whoever can give this without reading and hashing large values should.
    ///
    /// # Errors
    /// The store's own.
    fn head(&self, address: &Address) -> Result<Option<Head>, Box<dyn Error + Send + Sync>> {
        match fetch(self, address) {
            Ok(bytes) => Ok(Some(Head::of(&bytes))),
            Err(TreeError::Missing(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether [`Objects::object`] gives only bytes whose hash it has compared with the address: then nobody compares it again.
    fn proven(&self) -> bool {
        false
    }
}

/// The epochs' keys at hand.
pub trait Keyring {
    /// The keys of an epoch; `None` when this reader was never given them.
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys>;
}

/// Why a tree could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// An object of the tree is not here.
    #[error("object {0} is not here")]
    Missing(Address),
    /// The store failed.
    #[error("cannot read object {0}")]
    Store(Address, #[source] Box<dyn Error + Send + Sync>),
    /// The bytes at an address are other bytes.
    #[error("object {0} is damaged")]
    Damaged(Address),
    /// No key for an epoch that the tree uses.
    #[error("no key for epoch {0}")]
    NoKey(EpochId),
    /// An object does not open.
    #[error("object {0} does not open")]
    Seal(Address, #[source] SealError),
    /// Made by a writer that does not follow the format.
    #[error("malformed tree: {0}")]
    Malformed(&'static str),
    /// A value over [`MAX_FILE`].
    #[error("a value of {0} bytes; the most is {MAX_FILE}, which is 64 MiB")]
    TooLarge(u64),
    /// Entries that do not fit into one page.
    #[error("the entries of one page are too large together")]
    PageTooLarge,
    /// A path that no secret can have.
    #[error(transparent)]
    Path(#[from] crate::path::PathError),
}

/// A version's tree, to read from and to derive the next one from.
pub struct Tree<'a, O, K> {
    objects: &'a O,
    keyring: &'a K,
    vault: VaultId,
    root: Address,
}

impl<'a, O: Objects, K: Keyring> Tree<'a, O, K> {
    /// The tree with this root.
    pub fn new(objects: &'a O, keyring: &'a K, vault: VaultId, root: Address) -> Self {
        Tree {
            objects,
            keyring,
            vault,
            root,
        }
    }

    /// The root.
    pub fn root(&self) -> Address {
        self.root
    }

    /// The values of a path, by tag; none when nobody wrote it.
    ///
    /// # Errors
    /// When a page on the way is missing, damaged, sealed with an unknown key or malformed.
    pub fn get(&self, path: &str) -> Result<Vec<Variant>, TreeError> {
        let Some(Found { page: mut leaf, .. }) = self.page_at(0, Bound::Included(path))? else {
            return Ok(Vec::new());
        };
        let found = leaf.entries.binary_search_by(|e| e.key.as_str().cmp(path));
        Ok(found
            .ok()
            .map_or_else(Vec::new, |at| match leaf.entries.swap_remove(at).value {
                Value::Variants(variants) => variants,
                Value::Child(_) => Vec::new(),
            }))
    }

    /// Every path that starts with `prefix`, in order, with its values.
    ///
    /// # Errors
    /// As [`Tree::get`].
    pub fn range(&self, prefix: &str) -> Result<Vec<(String, Vec<Variant>)>, TreeError> {
        let mut out = Vec::new();
        let root = self.page(&self.root, &Expected::ROOT)?;
        self.collect(root, prefix, &mut out)?;
        Ok(out)
    }

    fn collect(
        &self,
        page: Page,
        prefix: &str,
        out: &mut Vec<(String, Vec<Variant>)>,
    ) -> Result<(), TreeError> {
        let level = page.level;
        let mut above: Option<String> = None;
        for entry in page.entries {
            // A subtree ends before the prefix when its last key does, and begins behind it when the one before it ends behind it.
            let past = above
                .as_deref()
                .is_some_and(|a| a > prefix && !a.starts_with(prefix));
            if past {
                break;
            }
            if entry.key.as_str() < prefix {
                above = Some(entry.key);
                continue;
            }
            match entry.value {
                Value::Variants(variants) if entry.key.starts_with(prefix) => {
                    out.push((entry.key.clone(), variants));
                }
                Value::Variants(_) => {}
                Value::Child(child) => {
                    let expected = Expected {
                        level: level.checked_sub(1),
                        above: above.as_deref(),
                        last: Some(&entry.key),
                    };
                    self.collect(self.page(&child, &expected)?, prefix, out)?;
                }
            }
            above = Some(entry.key);
        }
        Ok(())
    }

    /// The page of `level` that holds the first key at or behind `from`. With `Included` a key behind all others belongs to the last page; with `Excluded` it belongs to none.
    fn page_at(&self, level: u8, from: Bound<&str>) -> Result<Option<Found>, TreeError> {
        let mut found = Found {
            address: self.root,
            page: self.page(&self.root, &Expected::ROOT)?,
            is_last: true,
        };
        if found.page.level < level {
            return Err(TreeError::Malformed("a level above the root"));
        }
        let mut above: Option<String> = None;
        while found.page.level > level {
            let entries = &found.page.entries;
            let at = entries.partition_point(|e| match from {
                Bound::Included(key) => e.key.as_str() < key,
                Bound::Excluded(key) => e.key.as_str() <= key,
                Bound::Unbounded => false,
            });
            let at = match from {
                _ if at < entries.len() => at,
                Bound::Excluded(_) => return Ok(None),
                _ => entries.len() - 1,
            };
            let Value::Child(child) = entries[at].value else {
                return Err(TreeError::Malformed("a value in an inner page"));
            };
            if at > 0 {
                above = Some(entries[at - 1].key.clone());
            }
            let expected = Expected {
                level: Some(found.page.level - 1),
                above: above.as_deref(),
                last: Some(&entries[at].key),
            };
            let is_last = found.is_last && at + 1 == entries.len();
            found = Found {
                address: child,
                page: self.page(&child, &expected)?,
                is_last,
            };
        }
        let behind = matches!(from, Bound::Excluded(key) if found.page.last_key().is_none_or(|last| last <= key));
        Ok((!behind).then_some(found))
    }

    fn page(&self, address: &Address, expected: &Expected<'_>) -> Result<Page, TreeError> {
        let (header, body) = self.open(address)?;
        Page::read(&header, &body, expected)
    }

    fn open(&self, address: &Address) -> Result<(seal::Header, Zeroizing<Vec<u8>>), TreeError> {
        let bytes = fetch(self.objects, address)?;
        let epoch = seal::header(&bytes)
            .map_err(|e| TreeError::Seal(*address, e))?
            .epoch;
        let keys = self.keyring.keys(&epoch).ok_or(TreeError::NoKey(epoch))?;
        seal::open(keys, &self.vault, &bytes).map_err(|e| TreeError::Seal(*address, e))
    }
}

/// A page that was looked for.
struct Found {
    address: Address,
    page: Page,
    /// No page of its level is behind it.
    is_last: bool,
}

/// The empty tree: one empty leaf.
///
/// # Errors
/// Never in practice: an empty page can always be sealed.
pub fn empty(keys: &ObjectKeys, vault: &VaultId) -> Result<(Address, Vec<u8>), TreeError> {
    Page {
        level: 0,
        entries: Vec::new(),
    }
    .seal(keys, vault)
}

/// The bytes at an address, checked to be those.
fn fetch<O: Objects + ?Sized>(objects: &O, address: &Address) -> Result<Vec<u8>, TreeError> {
    let bytes = objects
        .object(address)
        .map_err(|e| TreeError::Store(*address, e))?
        .ok_or(TreeError::Missing(*address))?;
    if objects.proven() || seal::address(&bytes) == *address {
        Ok(bytes)
    } else {
        Err(TreeError::Damaged(*address))
    }
}

/// True when an entry with this key ends its page at `level`, whatever else is in it.
fn closes(shape: &ShapeKey, level: u8, key: &str) -> bool {
    shape.z(key.as_bytes()) >= 3 * (u32::from(level) + 1)
}

#[cfg(test)]
mod tests;
