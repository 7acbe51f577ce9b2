//! Large values: a file that does not fit into one blob is a `list`, an object that points to its chunks. It is written and read chunk by chunk, so that neither side ever
//! needs all of it in memory.
//!
//! Body: `[1, size, [ref index,…]]`, the indexes in the order of the file. Every chunk but the last has [`MAX_BLOB`] bytes, so the size says how long each is. Equal chunks
//! are one object, which the order then names more than once.

use super::page::{Content, MAX_FILE, Variant};
use super::{Keyring, Objects, Tree, TreeError};
use crate::codec;
use crate::enc;
use crate::ids::{Address, VaultId};
use crate::seal::{self, Header, Kind, MAX_BLOB, MAX_REFS, ObjectKeys, SealError};
use minicbor::{Decode, Encode};
use std::collections::{BTreeSet, VecDeque};
use zeroize::Zeroizing;

// A file of the largest size must have its chunks in one list.
const _: () = assert!(MAX_FILE.div_ceil(MAX_BLOB as u64) <= MAX_REFS as u64);

/// How many chunks a file of `size` bytes has.
const fn chunks_of(size: u64) -> u64 {
    size.div_ceil(MAX_BLOB as u64)
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Body {
    #[n(0)]
    version: u8,
    #[n(1)]
    size: u64,
    #[n(2)]
    #[cbor(decode_with = "codec::list::<_, _, MAX_REFS>")]
    order: Vec<u16>,
}

/// A file being written: seals one chunk after another, then the list of them.
#[derive(Default)]
pub struct Chunks {
    size: u64,
    order: Vec<Address>,
}

impl Chunks {
    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its chunks in order.
    #[must_use]
    pub fn order(&self) -> &[Address] {
        &self.order
    }

    /// Seals the next chunk. Each but the last has [`MAX_BLOB`] bytes.
    ///
    /// # Errors
    /// `TooLarge` when the file would be larger than [`MAX_FILE`]; `Malformed` for an empty chunk, one that is too large, or one behind a short one.
    pub fn seal_next(
        &mut self,
        keys: &ObjectKeys,
        vault: &VaultId,
        bytes: &[u8],
    ) -> Result<(Address, Vec<u8>), TreeError> {
        let size = self.size + bytes.len() as u64;
        if size > MAX_FILE {
            return Err(TreeError::TooLarge(size));
        }
        let full = self.size == self.order.len() as u64 * MAX_BLOB as u64;
        if bytes.is_empty() || bytes.len() > MAX_BLOB || !full {
            return Err(TreeError::Malformed("a chunk of another size"));
        }
        let (address, object) = seal::seal(keys, vault, Kind::Blob, 0, &[], bytes)
            .map_err(|_| TreeError::TooLarge(size))?;
        self.order.push(address);
        self.size = size;
        Ok((address, object))
    }

    /// Seals the list.
    ///
    /// # Errors
    /// `Malformed` when the file fits into one blob.
    pub fn seal_list(
        &self,
        keys: &ObjectKeys,
        vault: &VaultId,
    ) -> Result<(Address, Vec<u8>), TreeError> {
        if self.size <= MAX_BLOB as u64 {
            return Err(TreeError::Malformed("a list of what fits into a blob"));
        }
        let refs: BTreeSet<Address> = self.order.iter().copied().collect();
        let refs: Vec<Address> = refs.into_iter().collect();
        let index = |a: &Address| {
            let found = refs.binary_search(a).ok();
            found
                .and_then(|at| u16::try_from(at).ok())
                .ok_or(TreeError::Malformed("a chunk that is not among the refs"))
        };
        let body = Body {
            version: 1,
            size: self.size,
            order: self.order.iter().map(index).collect::<Result<_, _>>()?,
        };
        seal::seal(keys, vault, Kind::List, 0, &refs, &enc::encode(&body))
            .map_err(|_| TreeError::TooLarge(self.size))
    }
}

/// Reads the chunks of a list in the order of the file, checked against the size that its entry says.
fn read_list(header: &Header, body: &[u8], size: u64) -> Result<VecDeque<Address>, TreeError> {
    let malformed = TreeError::Malformed;
    if header.kind != Kind::List {
        return Err(malformed("a large value that is no list"));
    }
    let stored: Body =
        enc::decode(body).map_err(|_| malformed("a list that is not canonical CBOR"))?;
    if stored.version != 1 {
        return Err(malformed("a list of another version"));
    }
    if stored.size != size || size <= MAX_BLOB as u64 || size > MAX_FILE {
        return Err(malformed("a list of another size than its entry says"));
    }
    if stored.order.len() as u64 != chunks_of(size) {
        return Err(malformed("a list whose chunks do not make up its size"));
    }
    let used: BTreeSet<u16> = stored.order.iter().copied().collect();
    if used.len() != header.refs.len() {
        return Err(malformed("a list with a ref that is not there or not used"));
    }
    stored
        .order
        .iter()
        .map(|at| header.refs.get(usize::from(*at)).copied())
        .collect::<Option<_>>()
        .ok_or(malformed("a list with a ref that is not there or not used"))
}

/// A value that is read piece by piece.
pub struct Pieces {
    size: u64,
    left: u64,
    next: Next,
}

enum Next {
    Inline(Option<Zeroizing<Vec<u8>>>),
    /// What is left of them, the next first.
    Objects(VecDeque<Address>),
}

impl Pieces {
    /// Bytes of all pieces.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the pieces that were not read yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

impl<O: Objects, K: Keyring> Tree<'_, O, K> {
    /// Begins to read a value. What its list says of it is checked here, each chunk when it is read.
    ///
    /// # Errors
    /// When the list of a large value is missing, damaged, sealed with an unknown key or malformed.
    pub fn pieces(&self, variant: &Variant) -> Result<Pieces, TreeError> {
        let next = match &variant.content {
            Content::Inline(bytes) => Next::Inline(Some(bytes.clone())),
            Content::Directory => Next::Inline(None),
            Content::Blob(address) => Next::Objects([*address].into()),
            Content::List(address) => {
                let (header, body) = self.open(address)?;
                Next::Objects(read_list(&header, &body, variant.size)?)
            }
        };
        Ok(Pieces {
            size: variant.size,
            left: variant.size,
            next,
        })
    }

    /// The next piece of a value, at most [`MAX_BLOB`] bytes; `None` behind the last.
    ///
    /// # Errors
    /// When its object is missing, damaged, sealed with an unknown key, or not what the entry and the list say.
    pub fn next_piece(&self, pieces: &mut Pieces) -> Result<Option<Zeroizing<Vec<u8>>>, TreeError> {
        let chunks = match &mut pieces.next {
            Next::Inline(bytes) => {
                pieces.left = 0;
                return Ok(bytes.take());
            }
            Next::Objects(chunks) => chunks,
        };
        let Some(address) = chunks.pop_front() else {
            return Ok(None);
        };
        let (header, bytes) = self.open(&address)?;
        let expected = pieces.left.min(MAX_BLOB as u64);
        if header.kind != Kind::Blob || bytes.len() as u64 != expected {
            return Err(TreeError::Malformed(
                "a value that is not what its entry says",
            ));
        }
        pieces.left -= expected;
        Ok(Some(bytes))
    }

    /// All bytes of a value. A large one is better read by [`Tree::pieces`].
    ///
    /// # Errors
    /// As [`Tree::pieces`] and [`Tree::next_piece`].
    pub fn read(&self, variant: &Variant) -> Result<Zeroizing<Vec<u8>>, TreeError> {
        let mut pieces = self.pieces(variant)?;
        let Some(first) = self.next_piece(&mut pieces)? else {
            return Ok(Zeroizing::new(Vec::new()));
        };
        if pieces.left == 0 {
            return Ok(first);
        }
        // At once, so that no copy of a part stays behind; bounded by `MAX_FILE`, and the list has as many chunks as that takes.
        let size = usize::try_from(pieces.size)
            .map_err(|_| TreeError::Malformed("a value that is not what its entry says"))?;
        let mut all = Zeroizing::new(Vec::with_capacity(size));
        all.extend_from_slice(&first);
        while let Some(piece) = self.next_piece(&mut pieces)? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    /// Whether a value is what its entry says. The chunks of a large one are not opened, only looked at: opening 64 MiB to accept a version would cost more than fetching it,
    /// and who writes junk there could as well remove the file.
    ///
    /// # Errors
    /// As [`Tree::read`].
    pub fn check(&self, variant: &Variant) -> Result<(), TreeError> {
        let mut pieces = self.pieces(variant)?;
        let (Content::List(_), Next::Objects(chunks)) = (&variant.content, &pieces.next) else {
            return self.next_piece(&mut pieces).map(drop);
        };
        let mut left = pieces.left;
        for chunk in chunks {
            let expected = left.min(MAX_BLOB as u64);
            left -= expected;
            let head = self.objects.head(chunk);
            let head = head
                .map_err(|e| TreeError::Store(*chunk, e))?
                .ok_or(TreeError::Missing(*chunk))?;
            let header = head.header().map_err(|e| TreeError::Seal(*chunk, e))?;
            let fits = header.kind == Kind::Blob
                && usize::try_from(expected).is_ok_and(|n| head.length == seal::blob_length(n));
            if !fits {
                return Err(TreeError::Malformed(
                    "a chunk of another size than its list says",
                ));
            }
        }
        Ok(())
    }

    /// Whether a value has just these bytes.
    pub(super) fn has_bytes(&self, variant: &Variant, bytes: &[u8]) -> Result<bool, TreeError> {
        if variant.size != bytes.len() as u64 {
            return Ok(false);
        }
        let (mut pieces, mut rest) = (self.pieces(variant)?, bytes);
        while let Some(piece) = self.next_piece(&mut pieces)? {
            let Some(behind) = rest.strip_prefix(piece.as_slice()) else {
                return Ok(false);
            };
            rest = behind;
        }
        Ok(rest.is_empty())
    }

    /// Whether two values have the same bytes.
    pub(super) fn same_bytes(&self, one: &Variant, other: &Variant) -> Result<bool, TreeError> {
        if one.size != other.size {
            return Ok(false);
        }
        if one.object().is_some() && one.object() == other.object() {
            return Ok(true);
        }
        let (mut a, mut b) = (self.pieces(one)?, self.pieces(other)?);
        loop {
            match (self.next_piece(&mut a)?, self.next_piece(&mut b)?) {
                (None, None) => return Ok(true),
                (Some(x), Some(y)) if x == y => {}
                _ => return Ok(false),
            }
        }
    }
}

/// A value over [`MAX_BLOB`] bytes that is in memory, as its objects and the address of its list.
pub(super) fn seal_whole(
    keys: &ObjectKeys,
    vault: &VaultId,
    value: &[u8],
    mut put: impl FnMut(Address, Vec<u8>),
) -> Result<Address, TreeError> {
    let size = value.len() as u64;
    if size > MAX_FILE {
        return Err(TreeError::TooLarge(size));
    }
    let mut chunks = Chunks::default();
    for chunk in value.chunks(MAX_BLOB) {
        let (address, object) = chunks.seal_next(keys, vault, chunk)?;
        put(address, object);
    }
    let (list, object) = chunks.seal_list(keys, vault)?;
    put(list, object);
    Ok(list)
}

/// Opens one sealed chunk again: to seal it with other keys.
///
/// # Errors
/// When it does not open or is no blob.
pub fn open_chunk(
    keys: &ObjectKeys,
    vault: &VaultId,
    object: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (header, bytes) = seal::open(keys, vault, object)?;
    if header.kind == Kind::Blob {
        Ok(bytes)
    } else {
        Err(SealError::Header)
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
