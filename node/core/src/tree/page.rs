//! Pages of a tree, as bytes and as values: reading one checks everything that can be checked of it alone and against its parent.
//!
//! Body of a leaf: `[1, [[path, [[tag, kind, mode, size, content],…]],…]]`, of an inner page: `[1, [[last key, ref index],…]]`. `content` is the bytes themselves, an index
//! into the page's refs, or null.

use super::TreeError;
use crate::enc;
use crate::ids::{Address, Tag};
use crate::path;
use crate::seal::{self, Header, Kind, MAX_BLOB, ObjectKeys};
use minicbor::bytes::ByteArray;
use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// The most entries of a page.
pub const MAX_ENTRIES: usize = 64;
/// Values up to this size stand in the leaf itself: a password and its page travel as one object.
pub const MAX_INLINE: usize = 128;
/// The most concurrent values of one path that are kept side by side.
pub const MAX_VARIANTS: usize = 16;
/// The largest file: 64 MiB, in 1,025 chunks of 64 KiB less a byte.
pub const MAX_FILE: u64 = 64 << 20;

/// One value of a path.
pub struct Variant {
    /// Names the commit that wrote it.
    pub tag: Tag,
    /// File mode in pods.
    pub mode: u32,
    /// Bytes of the value.
    pub size: u64,
    /// Where the value is.
    pub content: Content,
}

/// Where a value is.
pub enum Content {
    /// Here.
    Inline(Zeroizing<Vec<u8>>),
    /// In one blob.
    Blob(Address),
    /// In chunks.
    List(Address),
    /// Nowhere: an explicit empty directory.
    Directory,
}

impl Variant {
    /// The object that holds the value, if it is not in the page.
    #[must_use]
    pub fn object(&self) -> Option<Address> {
        match &self.content {
            Content::Blob(a) | Content::List(a) => Some(*a),
            Content::Inline(_) | Content::Directory => None,
        }
    }

    /// Same commit, mode and bytes.
    #[must_use]
    pub fn same(&self, other: &Variant) -> bool {
        let content = match (&self.content, &other.content) {
            (Content::Inline(a), Content::Inline(b)) => a == b,
            (Content::Directory, Content::Directory) => true,
            (Content::Blob(a), Content::Blob(b)) | (Content::List(a), Content::List(b)) => a == b,
            _ => false,
        };
        content && self.tag == other.tag && self.mode == other.mode && self.size == other.size
    }

    /// A second copy, for a page that takes this entry over.
    #[must_use]
    pub fn duplicate(&self) -> Variant {
        let content = match &self.content {
            Content::Inline(bytes) => Content::Inline(bytes.clone()),
            Content::Blob(a) => Content::Blob(*a),
            Content::List(a) => Content::List(*a),
            Content::Directory => Content::Directory,
        };
        Variant {
            tag: self.tag,
            mode: self.mode,
            size: self.size,
            content,
        }
    }
}

/// An entry of a page: what its key is and what stands under it.
pub(super) struct Entry {
    pub key: String,
    pub value: Value,
}

pub(super) enum Value {
    /// In a leaf: the values of a path, by tag.
    Variants(Vec<Variant>),
    /// In an inner page: the page whose last key this is.
    Child(Address),
}

impl Entry {
    pub fn duplicate(&self) -> Entry {
        let value = match &self.value {
            Value::Variants(v) => Value::Variants(v.iter().map(Variant::duplicate).collect()),
            Value::Child(a) => Value::Child(*a),
        };
        Entry {
            key: self.key.clone(),
            value,
        }
    }

    pub fn same(&self, other: &Entry) -> bool {
        let value = match (&self.value, &other.value) {
            (Value::Variants(a), Value::Variants(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Value::Child(a), Value::Child(b)) => a == b,
            _ => false,
        };
        value && self.key == other.key
    }
}

impl Expected<'_> {
    /// Nothing is known of a root.
    pub const ROOT: Expected<'static> = Expected {
        level: None,
        above: None,
        last: None,
    };
}

/// A page in memory.
pub(super) struct Page {
    pub level: u8,
    pub entries: Vec<Entry>,
}

/// What a page's parent says of it: checked when it is read, so that a malicious tree fails loudly and costs only its own size.
pub(super) struct Expected<'a> {
    /// `None` for the root.
    pub level: Option<u8>,
    /// Every key is greater.
    pub above: Option<&'a str>,
    /// The last key is this one.
    pub last: Option<&'a str>,
}

impl Page {
    pub fn last_key(&self) -> Option<&str> {
        self.entries.last().map(|e| e.key.as_str())
    }

    /// Reads an opened page and checks it.
    pub fn read(header: &Header, body: &[u8], expected: &Expected<'_>) -> Result<Page, TreeError> {
        let malformed = |what| Err(TreeError::Malformed(what));
        if header.kind != Kind::Page || expected.level.is_some_and(|l| l != header.level) {
            return malformed("a page of another level than its parent says");
        }
        let stored: Body = enc::decode(body)
            .map_err(|_| TreeError::Malformed("a page that is not canonical CBOR"))?;
        let entries = stored.resolve(header)?;
        if entries.is_empty() && (expected.level.is_some() || header.level != 0) {
            return malformed("an empty page");
        }
        if !entries.is_sorted_by(|a, b| a.key < b.key) {
            return malformed("keys out of order");
        }
        let page = Page {
            level: header.level,
            entries,
        };
        let above = page
            .entries
            .first()
            .zip(expected.above)
            .is_none_or(|(e, above)| e.key.as_str() > above);
        if !above
            || expected
                .last
                .is_some_and(|last| page.last_key() != Some(last))
        {
            return malformed("keys outside the bounds that the parent gives");
        }
        Ok(page)
    }

    /// Seals the page.
    pub fn seal(
        &self,
        keys: &ObjectKeys,
        vault: &crate::ids::VaultId,
    ) -> Result<(Address, Vec<u8>), TreeError> {
        let refs: Vec<Address> = self.refs().into_iter().collect();
        let body = Zeroizing::new(enc::encode(&Writing {
            page: self,
            refs: &refs,
        }));
        seal::seal(keys, vault, Kind::Page, self.level, &refs, &body)
            .map_err(|_| TreeError::PageTooLarge)
    }

    fn refs(&self) -> BTreeSet<Address> {
        let of = |e: &Entry| match &e.value {
            Value::Child(a) => vec![*a],
            Value::Variants(v) => v.iter().filter_map(Variant::object).collect(),
        };
        self.entries.iter().flat_map(of).collect()
    }
}

/// A body as it is stored: refs are indexes.
struct Body {
    leaf: Vec<(String, Vec<StoredVariant>)>,
    inner: Vec<(String, u16)>,
}

struct StoredVariant {
    tag: Tag,
    kind: u8,
    mode: u32,
    size: u64,
    content: Stored,
}

enum Stored {
    Inline(Zeroizing<Vec<u8>>),
    Ref(u16),
    Null,
}

/// Kind of an entry: a file.
const FILE: u8 = 0;
/// Kind of an entry: an explicit empty directory, whose path ends in `/`.
const DIRECTORY: u8 = 1;

impl Body {
    fn resolve(self, header: &Header) -> Result<Vec<Entry>, TreeError> {
        let (is_leaf, refs) = (header.level == 0, &header.refs);
        if (is_leaf && !self.inner.is_empty()) || (!is_leaf && !self.leaf.is_empty()) {
            return Err(TreeError::Malformed("entries of another kind of page"));
        }
        let mut used = BTreeSet::new();
        let mut take = |index: u16| {
            used.insert(index);
            refs.get(usize::from(index))
                .copied()
                .ok_or(TreeError::Malformed("a ref that is not there"))
        };
        let mut entries = Vec::with_capacity(self.leaf.len() + self.inner.len());
        for (key, index) in self.inner {
            entries.push(Entry {
                key,
                value: Value::Child(take(index)?),
            });
        }
        for (key, stored) in self.leaf {
            let variants: Vec<Variant> = stored
                .into_iter()
                .map(|v| v.resolve(&key, &mut take))
                .collect::<Result<_, _>>()?;
            if !variants.is_sorted_by(|a, b| a.tag < b.tag) || variants.is_empty() {
                return Err(TreeError::Malformed("values out of order"));
            }
            entries.push(Entry {
                key,
                value: Value::Variants(variants),
            });
        }
        if used.len() == refs.len() {
            Ok(entries)
        } else {
            Err(TreeError::Malformed("a ref that nothing uses"))
        }
    }
}

impl StoredVariant {
    fn resolve(
        self,
        key: &str,
        take: &mut impl FnMut(u16) -> Result<Address, TreeError>,
    ) -> Result<Variant, TreeError> {
        let content = match (self.kind, self.content) {
            (FILE, Stored::Inline(bytes))
                if bytes.len() <= MAX_INLINE && bytes.len() as u64 == self.size =>
            {
                Content::Inline(bytes)
            }
            (FILE, Stored::Ref(index))
                if self.size > MAX_INLINE as u64 && self.size <= MAX_BLOB as u64 =>
            {
                Content::Blob(take(index)?)
            }
            (FILE, Stored::Ref(index)) if self.size > MAX_BLOB as u64 && self.size <= MAX_FILE => {
                Content::List(take(index)?)
            }
            (DIRECTORY, Stored::Null) if self.size == 0 => Content::Directory,
            _ => {
                return Err(TreeError::Malformed(
                    "a value whose kind, size and content do not fit",
                ));
            }
        };
        if self.mode > 0o777 || matches!(content, Content::Directory) != key.ends_with('/') {
            return Err(TreeError::Malformed(
                "a value whose mode or path does not fit",
            ));
        }
        Ok(Variant {
            tag: self.tag,
            mode: self.mode,
            size: self.size,
            content,
        })
    }
}

impl<'b, C> Decode<'b, C> for Body {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        let error = minicbor::decode::Error::message;
        if d.array()? != Some(2) || d.u8()? != 1 {
            return Err(error("not a page body of version 1"));
        }
        let n = bounded(d, MAX_ENTRIES)?;
        let mut body = Body {
            leaf: Vec::new(),
            inner: Vec::new(),
        };
        for _ in 0..n {
            if d.array()? != Some(2) {
                return Err(error("an entry has two parts"));
            }
            let key = d.str()?.to_owned();
            path::check_key(&key).map_err(|_| error("a key that is no path"))?;
            if d.datatype()? == Type::Array {
                let variants = bounded(d, MAX_VARIANTS)?;
                body.leaf.push((
                    key,
                    (0..variants)
                        .map(|_| StoredVariant::decode(d, c))
                        .collect::<Result<_, _>>()?,
                ));
            } else {
                body.inner.push((key, d.u16()?));
            }
        }
        Ok(body)
    }
}

impl<'b, C> Decode<'b, C> for StoredVariant {
    fn decode(d: &mut Decoder<'b>, c: &mut C) -> Result<Self, minicbor::decode::Error> {
        if d.array()? != Some(5) {
            return Err(minicbor::decode::Error::message("a value has five parts"));
        }
        let tag = Tag::from(<[u8; 16]>::from(ByteArray::<16>::decode(d, c)?));
        let (kind, mode, size) = (d.u8()?, d.u32()?, d.u64()?);
        let content = match d.datatype()? {
            Type::Bytes => Stored::Inline(Zeroizing::new(d.bytes()?.to_vec())),
            Type::Null => d.null().map(|()| Stored::Null)?,
            _ => Stored::Ref(d.u16()?),
        };
        Ok(StoredVariant {
            tag,
            kind,
            mode,
            size,
            content,
        })
    }
}

fn bounded(d: &mut Decoder<'_>, most: usize) -> Result<u64, minicbor::decode::Error> {
    match d.array()? {
        Some(n) if n <= most as u64 => Ok(n),
        _ => Err(minicbor::decode::Error::message("too many, or no length")),
    }
}

impl<C> Encode<C> for Body {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?
            .u8(1)?
            .array((self.leaf.len() + self.inner.len()) as u64)?;
        for (key, index) in &self.inner {
            e.array(2)?.str(key)?.u16(*index)?;
        }
        for (key, variants) in &self.leaf {
            e.array(2)?.str(key)?.array(variants.len() as u64)?;
            for v in variants {
                e.array(5)?
                    .bytes(v.tag.as_bytes())?
                    .u8(v.kind)?
                    .u32(v.mode)?
                    .u64(v.size)?;
                match &v.content {
                    Stored::Inline(bytes) => e.bytes(bytes)?,
                    Stored::Ref(index) => e.u16(*index)?,
                    Stored::Null => e.null()?,
                };
            }
        }
        e.ok()
    }
}

/// A page with the order of its refs, as it is written.
struct Writing<'a> {
    page: &'a Page,
    refs: &'a [Address],
}

impl Writing<'_> {
    fn index<W: Write>(&self, address: &Address) -> Result<u16, minicbor::encode::Error<W::Error>> {
        let found = self
            .refs
            .binary_search(address)
            .ok()
            .and_then(|i| u16::try_from(i).ok());
        found.ok_or_else(|| minicbor::encode::Error::message("a ref that is not among the page's"))
    }
}

impl<C> Encode<C> for Writing<'_> {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?.u8(1)?.array(self.page.entries.len() as u64)?;
        for entry in &self.page.entries {
            e.array(2)?.str(&entry.key)?;
            match &entry.value {
                Value::Child(a) => drop(e.u16(self.index::<W>(a)?)?),
                Value::Variants(variants) => {
                    e.array(variants.len() as u64)?;
                    for v in variants {
                        let kind = if matches!(v.content, Content::Directory) {
                            DIRECTORY
                        } else {
                            FILE
                        };
                        e.array(5)?
                            .bytes(v.tag.as_bytes())?
                            .u8(kind)?
                            .u32(v.mode)?
                            .u64(v.size)?;
                        match &v.content {
                            Content::Inline(bytes) => e.bytes(bytes)?,
                            Content::Blob(a) | Content::List(a) => e.u16(self.index::<W>(a)?)?,
                            Content::Directory => e.null()?,
                        };
                    }
                }
            }
        }
        e.ok()
    }
}
