//! What anyone can read of an object: its kind, its epoch and its refs. No key is needed, so a mirror, which has none, follows refs with this alone; the ciphertext is bound
//! to all of it.

use super::{MAGIC, MAX_BLOB, MAX_LEVEL, MAX_OBJECT, MAX_REFS, POLY1305, SealError, pad};
use crate::ids::{Address, EpochId};

/// Bytes before the refs.
pub const HEADER: usize = 48;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A page of a tree.
    Page = 1,
    /// A value.
    Blob = 2,
    /// The chunks of a large value.
    List = 3,
    /// The note of a commit.
    Note = 4,
}

impl Kind {
    /// Whether objects of this kind may have refs.
    pub(super) const fn points(self) -> bool {
        matches!(self, Kind::Page | Kind::List)
    }
}

/// What anyone can read of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Of a page: 0 for a leaf. Of anything else: 0.
    pub level: u8,
    /// Whose keys open it.
    pub epoch: EpochId,
    /// Objects that it points to, strictly ascending.
    pub refs: Vec<Address>,
}

/// The beginning of an object, which says what anyone can read of it.
pub struct Head {
    /// At least as many bytes as [`head_length`] says.
    pub first: Vec<u8>,
    /// Bytes of the whole object.
    pub length: usize,
}

impl Head {
    /// Of a whole object.
    #[must_use]
    pub fn of(object: &[u8]) -> Head {
        let length = object.len();
        Head {
            first: object[..head_length(object).min(length)].to_vec(),
            length,
        }
    }

    /// Reads what anyone can read.
    ///
    /// # Errors
    /// As [`header`].
    pub fn header(&self) -> Result<Header, SealError> {
        parse(&self.first, self.length)
    }
}

/// How many bytes at the beginning of an object its header takes, from the first [`HEADER`] of them (or fewer: then no more than those).
#[must_use]
pub fn head_length(first: &[u8]) -> usize {
    let n = first
        .get(6..8)
        .map_or(0, |n| usize::from(u16::from_be_bytes([n[0], n[1]])));
    HEADER + 32 * n.min(MAX_REFS)
}

/// Reads what anyone can read. Needs no key, and allocates only what the bounds allow.
///
/// # Errors
/// When the bytes are out of bounds or malformed.
pub fn header(bytes: &[u8]) -> Result<Header, SealError> {
    parse(bytes, bytes.len())
}

/// Reads an object of `length` bytes, of which the first are `bytes`.
fn parse(bytes: &[u8], length: usize) -> Result<Header, SealError> {
    if !(HEADER + POLY1305..=MAX_OBJECT).contains(&length) || bytes.len() < HEADER {
        return Err(SealError::Length(length));
    }
    if bytes[..3] != MAGIC {
        return Err(SealError::Magic);
    }
    let kind = match bytes[3] {
        1 => Kind::Page,
        2 => Kind::Blob,
        3 => Kind::List,
        4 => Kind::Note,
        _ => return Err(SealError::Header),
    };
    let level = bytes[4];
    if bytes[5] != 0 || level > MAX_LEVEL || (kind != Kind::Page && level != 0) {
        return Err(SealError::Header);
    }
    let epoch = EpochId::try_from(&bytes[8..24]).map_err(|_| SealError::Header)?;
    let refs = refs(bytes, length)?;
    if !(refs.is_empty() || kind.points()) {
        return Err(SealError::Refs);
    }
    let padded = length - HEADER - 32 * refs.len() - POLY1305;
    if pad(padded) != padded || (kind == Kind::Blob && padded > MAX_BLOB + 1) {
        return Err(SealError::Padding);
    }
    Ok(Header {
        kind,
        level,
        epoch,
        refs,
    })
}

fn refs(bytes: &[u8], length: usize) -> Result<Vec<Address>, SealError> {
    let n = usize::from(u16::from_be_bytes([bytes[6], bytes[7]]));
    let end = HEADER + 32 * n;
    if n > MAX_REFS || bytes.len() < end || length < end + POLY1305 {
        return Err(SealError::Refs);
    }
    let refs: Vec<Address> = bytes[HEADER..HEADER + 32 * n]
        .chunks_exact(32)
        .map(|r| Address::try_from(r).map_err(|_| SealError::Refs))
        .collect::<Result<_, _>>()?;
    if refs.is_sorted_by(|a, b| a < b) {
        Ok(refs)
    } else {
        Err(SealError::Refs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ObjectKeys, seal};
    use super::*;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    const VAULT: [u8; 32] = [0x22; 32];

    fn keys(n: u8) -> ObjectKeys {
        ObjectKeys::new(
            EpochId::from([n; 16]),
            Zeroizing::new([n; 32]),
            Zeroizing::new([n ^ 0xff; 32]),
        )
    }

    #[test]
    fn each_malformed_header_has_its_error() {
        let refs = [Address::from([1; 32]), Address::from([2; 32])];
        let (_, page) = seal(&keys(1), &VAULT.into(), Kind::Page, 0, &refs, b"page").unwrap();
        let (_, blob) = seal(&keys(1), &VAULT.into(), Kind::Blob, 0, &[], b"blob").unwrap();
        let changed = |object: &[u8], at: usize, value: u8| {
            let mut bytes = object.to_vec();
            bytes[at] = value;
            header(&bytes).err()
        };
        for (what, found, error) in [
            ("magic", changed(&page, 0, b'p'), SealError::Magic),
            ("version", changed(&page, 2, 2), SealError::Magic),
            ("kind 0", changed(&page, 3, 0), SealError::Header),
            ("kind 5", changed(&page, 3, 5), SealError::Header),
            ("level 16", changed(&page, 4, 16), SealError::Header),
            (
                "a blob with a level",
                changed(&blob, 4, 1),
                SealError::Header,
            ),
            ("reserved byte", changed(&page, 5, 1), SealError::Header),
            ("too many refs", changed(&page, 6, 0xff), SealError::Refs),
            (
                "refs past the end",
                changed(&page, 7, 0xff),
                SealError::Refs,
            ),
            ("refs out of order", changed(&page, 48, 3), SealError::Refs),
            ("a blob with refs", changed(&page, 3, 2), SealError::Refs),
            (
                "one byte short",
                header(&page[..page.len() - 1]).err(),
                SealError::Padding,
            ),
            (
                "a header alone",
                header(&page[..HEADER]).err(),
                SealError::Length(HEADER),
            ),
            (
                "too large",
                header(&vec![0; MAX_OBJECT + 1]).err(),
                SealError::Length(MAX_OBJECT + 1),
            ),
        ] {
            assert_eq!(found, Some(error), "{what}");
        }
        let other = seal(&keys(1), &VAULT.into(), Kind::Blob, 0, &refs, b"").err();
        assert_eq!(
            other,
            Some(SealError::Refs),
            "what no one accepts is not sealed"
        );
        let swapped = [refs[1], refs[0]];
        let other = seal(&keys(1), &VAULT.into(), Kind::Page, 0, &swapped, b"").err();
        assert_eq!(other, Some(SealError::Refs));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_header_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), real in any::<bool>()) {
            if real && bytes.len() > 8 { bytes[..6].copy_from_slice(&[b'P', b'K', 1, 1, 0, 0]); }
            if let Ok(h) = header(&bytes) { prop_assert!(h.refs.len() <= MAX_REFS); }
        }
    }
}
