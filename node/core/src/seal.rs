//! Sealed objects: the pages and blobs of a vault as they are stored, sent and addressed. Anyone can check an address and follow refs; only an epoch's keys open a body.
//!
//! ```text
//! 0  "PK"   2  version 1   3  kind   4  level   5  0   6  u16 n refs   8  epoch id 16   24  nonce 24   48  refs 32·n, strictly ascending   48+32n  ciphertext ‖ tag 16
//! address = BLAKE3(all bytes)
//! plain   = body ‖ 0x80 ‖ 0x00*  to pad(len(body) + 1)
//! AAD     = "polykey/1 object\0" ‖ vault ‖ bytes[0..24] ‖ refs
//! nonce   = BLAKE3_keyed(nonce key, u64le(len AAD) ‖ AAD ‖ plain)[..24]
//! ```
//!
//! Sealing is deterministic (a synthetic nonce), so a restored or cloned store cannot use a nonce twice. The nonce covers the AAD: from the plaintext alone it would give one
//! Poly1305 key to two AADs. Opening computes it again, which makes an object open to one text only.

use crate::ids::{Address, EpochId, VaultId};
use crate::keys::Key32;
use crate::labels;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

/// The largest object, in bytes: a blob of [`MAX_BLOB`] with the most refs needs 98,368; the rest is room for pages.
pub const MAX_OBJECT: usize = 128 << 10;
/// The most refs of one object: the chunks of a file of 64 MiB, each a blob of [`MAX_BLOB`].
pub const MAX_REFS: usize = (64usize << 20).div_ceil(MAX_BLOB);
/// The largest value in one blob: it pads to exactly 64 KiB.
pub const MAX_BLOB: usize = 65_535;
/// Pages above this level are refused: 8^16 entries are more than anyone has.
pub const MAX_LEVEL: u8 = 15;

const MAGIC: [u8; 3] = [b'P', b'K', 1];
/// Bytes before the refs.
pub const HEADER: usize = 48;
const POLY1305: usize = 16;
/// Bodies up to this size cannot be told apart by their length.
const SMALLEST_PLAIN: usize = 256;

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
    const fn points(self) -> bool {
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

/// Why bytes are no object, or do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than a header, or longer than [`MAX_OBJECT`].
    #[error("an object of {0} bytes; it has {HEADER} to {MAX_OBJECT}")]
    Length(usize),
    /// Not "PK" and version 1.
    #[error("not an object of this version")]
    Magic,
    /// A kind, level or reserved byte that does not exist.
    #[error("an object with a malformed header")]
    Header,
    /// More than [`MAX_REFS`], cut off, not strictly ascending, or of a kind that has none.
    #[error("an object with malformed refs")]
    Refs,
    /// A ciphertext whose size [`pad`] never gives.
    #[error("an object with malformed padding")]
    Padding,
    /// Sealed by another epoch than the keys at hand.
    #[error("an object of another epoch")]
    Epoch,
    /// Not sealed with these keys, for this vault, or changed since.
    #[error("an object that does not open")]
    Open,
    /// A body too large to seal.
    #[error("a body of {0} bytes is too large for an object")]
    TooLarge(usize),
}

/// What seals, opens and checks the objects of one epoch. The epoch's secret cannot be computed from it.
pub struct ObjectKeys {
    epoch: EpochId,
    object: Key32,
    nonce: Key32,
}

impl ObjectKeys {
    /// The keys of `epoch`.
    #[must_use]
    pub fn new(epoch: EpochId, object: Key32, nonce: Key32) -> ObjectKeys {
        ObjectKeys {
            epoch,
            object,
            nonce,
        }
    }

    /// Whose keys they are.
    #[must_use]
    pub fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// Object key ‖ nonce key, for a sidecar.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(64));
        out.extend_from_slice(self.object.as_ref());
        out.extend_from_slice(self.nonce.as_ref());
        out
    }

    /// Reads [`ObjectKeys::to_bytes`]; `None` unless they are 64 bytes.
    #[must_use]
    pub fn from_bytes(epoch: EpochId, bytes: &[u8]) -> Option<ObjectKeys> {
        let (object, nonce) = bytes.split_first_chunk::<32>()?;
        Some(ObjectKeys {
            epoch,
            object: Zeroizing::new(*object),
            nonce: Zeroizing::new(nonce.try_into().ok()?),
        })
    }
}

/// The address of an object.
#[must_use]
pub fn address(bytes: &[u8]) -> Address {
    Address::from(*blake3::hash(bytes).as_bytes())
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

/// Seals `body` and gives the object with its address. `refs` must be strictly ascending.
///
/// # Errors
/// When the body is too large or the header would be one that [`header`] refuses.
pub fn seal(
    keys: &ObjectKeys,
    vault: &VaultId,
    kind: Kind,
    level: u8,
    refs: &[Address],
    body: &[u8],
) -> Result<(Address, Vec<u8>), SealError> {
    if refs.len() > MAX_REFS
        || !refs.is_sorted_by(|a, b| a < b)
        || !(refs.is_empty() || kind.points())
    {
        return Err(SealError::Refs);
    }
    if level > MAX_LEVEL || (kind != Kind::Page && level != 0) {
        return Err(SealError::Header);
    }
    let padded = pad(body.len() + 1);
    let total = HEADER + 32 * refs.len() + padded + POLY1305;
    if total > MAX_OBJECT || (kind == Kind::Blob && body.len() > MAX_BLOB) {
        return Err(SealError::TooLarge(body.len()));
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(padded));
    plain.extend_from_slice(body);
    plain.push(0x80);
    plain.resize(padded, 0);

    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[kind as u8, level, 0]);
    out.extend_from_slice(
        &u16::try_from(refs.len())
            .map_err(|_| SealError::Refs)?
            .to_be_bytes(),
    );
    out.extend_from_slice(keys.epoch.as_bytes());
    let aad = associated(vault, &out, refs.iter().flat_map(|r| *r.as_bytes()));
    let nonce = nonce(keys, &aad, &plain);
    out.extend_from_slice(&nonce);
    for r in refs {
        out.extend_from_slice(r.as_bytes());
    }
    let sealed = cipher(keys)
        .encrypt(
            &nonce.into(),
            Payload {
                msg: &plain,
                aad: &aad,
            },
        )
        .map_err(|_| SealError::TooLarge(body.len()))?;
    out.extend_from_slice(&sealed);
    Ok((address(&out), out))
}

/// Opens an object: checks that these keys sealed exactly these bytes for this vault.
///
/// # Errors
/// When the bytes are malformed, of another epoch, or not what was sealed.
pub fn open(
    keys: &ObjectKeys,
    vault: &VaultId,
    bytes: &[u8],
) -> Result<(Header, Zeroizing<Vec<u8>>), SealError> {
    let header = header(bytes)?;
    if header.epoch != keys.epoch {
        return Err(SealError::Epoch);
    }
    let sealed_at = HEADER + 32 * header.refs.len();
    let aad = associated(
        vault,
        &bytes[..24],
        bytes[HEADER..sealed_at].iter().copied(),
    );
    let stored: [u8; 24] = bytes[24..HEADER].try_into().map_err(|_| SealError::Open)?;
    let plain = cipher(keys).decrypt(
        &stored.into(),
        Payload {
            msg: &bytes[sealed_at..],
            aad: &aad,
        },
    );
    let mut plain = Zeroizing::new(plain.map_err(|_| SealError::Open)?);
    if nonce(keys, &aad, &plain) != stored {
        return Err(SealError::Open);
    }
    let end = plain
        .iter()
        .rposition(|b| *b != 0)
        .filter(|at| plain[*at] == 0x80)
        .ok_or(SealError::Open)?;
    if pad(end + 1) != plain.len() {
        return Err(SealError::Open);
    }
    plain.truncate(end);
    Ok((header, plain))
}

/// Bytes of the object that a blob of `size` bytes is sealed in.
#[must_use]
pub fn blob_length(size: usize) -> usize {
    HEADER + pad(size + 1) + POLY1305
}

fn cipher(keys: &ObjectKeys) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*keys.object).into())
}

fn associated(vault: &VaultId, head: &[u8], refs: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut aad = Vec::with_capacity(labels::OBJECT.len() + 1 + 32 + 24 + refs.size_hint().0);
    aad.extend_from_slice(labels::OBJECT.as_bytes());
    aad.push(0);
    aad.extend_from_slice(vault.as_bytes());
    aad.extend_from_slice(head);
    aad.extend(refs);
    aad
}

fn nonce(keys: &ObjectKeys, aad: &[u8], plain: &[u8]) -> [u8; 24] {
    let mut hasher = blake3::Hasher::new_keyed(&keys.nonce);
    hasher.update(&(aad.len() as u64).to_le_bytes());
    hasher.update(aad);
    hasher.update(plain);
    let mut out = [0; 24];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// The padded size of `length` bytes: 256, else Padmé (Nikitin et al., PETS 2019, section 4), which adds 12 % at most and leaks O(log log length) bits.
#[must_use]
pub fn pad(length: usize) -> usize {
    if length <= SMALLEST_PLAIN {
        return SMALLEST_PLAIN;
    }
    let exponent = length.ilog2();
    let significant = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - significant)) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(n: u8) -> ObjectKeys {
        ObjectKeys::new(
            EpochId::from([n; 16]),
            Zeroizing::new([n; 32]),
            Zeroizing::new([n ^ 0xff; 32]),
        )
    }

    const VAULT: [u8; 32] = [0x22; 32];

    fn any_refs() -> impl Strategy<Value = Vec<Address>> {
        proptest::collection::btree_set(any::<[u8; 32]>(), 0..6)
            .prop_map(|s| s.into_iter().map(Address::from).collect())
    }

    #[test]
    fn sizes_are_padded_as_the_reference_says() {
        for (length, padded) in [
            (1, 256),
            (256, 256),
            (257, 272),
            (1000, 1024),
            (4097, 4352),
            (65_536, 65_536),
        ] {
            assert_eq!(pad(length), padded, "{length}");
        }
    }

    #[test]
    fn the_largest_blob_fits_and_one_byte_more_is_refused() {
        let k = keys(1);
        let (_, object) = seal(&k, &VAULT.into(), Kind::Blob, 0, &[], &vec![7; MAX_BLOB]).unwrap();
        assert_eq!(object.len(), 48 + 65_536 + 16);
        assert_eq!(
            seal(
                &k,
                &VAULT.into(),
                Kind::Blob,
                0,
                &[],
                &vec![7; MAX_BLOB + 1]
            ),
            Err(SealError::TooLarge(MAX_BLOB + 1))
        );
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

    #[test]
    fn a_text_under_another_padding_or_nonce_does_not_open() {
        // What a member with the keys can make and `seal` never does: everything verifies but the one thing.
        let (k, vault) = (keys(1), VaultId::from(VAULT));
        let make = |plain: &[u8], given: Option<[u8; 24]>| {
            let mut out = [
                &MAGIC[..],
                &[Kind::Blob as u8, 0, 0, 0, 0],
                k.epoch.as_bytes(),
            ]
            .concat();
            let aad = associated(&vault, &out, std::iter::empty());
            let nonce = given.unwrap_or_else(|| nonce(&k, &aad, plain));
            out.extend_from_slice(&nonce);
            out.extend_from_slice(
                &cipher(&k)
                    .encrypt(
                        &nonce.into(),
                        Payload {
                            msg: plain,
                            aad: &aad,
                        },
                    )
                    .unwrap(),
            );
            open(&k, &vault, &out).map(|(_, body)| body.to_vec())
        };
        let mut plain = [0; 512];
        plain[..6].copy_from_slice(b"hello\x80");
        assert_eq!(make(&plain[..256], None), Ok(b"hello".to_vec()));
        assert_eq!(
            make(&plain[..256], Some([9; 24])),
            Err(SealError::Open),
            "a chosen nonce"
        );
        assert_eq!(
            make(&plain[..512], None),
            Err(SealError::Open),
            "more padding than the text needs"
        );
        assert_eq!(make(&[0; 256], None), Err(SealError::Open), "no end mark");
        plain[5] = 0x81;
        assert_eq!(
            make(&plain[..256], None),
            Err(SealError::Open),
            "another end mark"
        );
    }

    proptest! {
        #[test]
        fn padding_is_stable_ordered_and_small(length in 1usize..200_000) {
            let padded = pad(length);
            prop_assert!(padded >= length && pad(padded) == padded && pad(length + 1) >= padded);
            prop_assert!(length <= 256 || padded - length <= length * 12 / 100);
        }

        #[test]
        fn seal_roundtrip(body in proptest::collection::vec(any::<u8>(), 0..2000), refs in any_refs(), level in 0u8..16) {
            let (address_, object) = seal(&keys(1), &VAULT.into(), Kind::Page, level, &refs, &body).unwrap();
            prop_assert_eq!(address(&object), address_);
            let (header_, plain) = open(&keys(1), &VAULT.into(), &object).unwrap();
            prop_assert_eq!(&plain[..], &body[..]);
            prop_assert_eq!(&header_, &header(&object).unwrap());
            prop_assert_eq!((header_.kind, header_.level, header_.refs), (Kind::Page, level, refs));
        }

        #[test]
        fn seal_binds_everything(body in proptest::collection::vec(any::<u8>(), 0..400), refs in any_refs(), bit in any::<prop::sample::Index>()) {
            let (_, mut object) = seal(&keys(1), &VAULT.into(), Kind::Page, 3, &refs, &body).unwrap();
            prop_assert!(open(&keys(1), &[0x23; 32].into(), &object).is_err(), "another vault");
            let other = ObjectKeys::new(EpochId::from([1; 16]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
            prop_assert!(open(&other, &VAULT.into(), &object).is_err(), "other keys");
            let at = bit.index(object.len() * 8);
            object[at / 8] ^= 1 << (at % 8);
            prop_assert!(open(&keys(1), &VAULT.into(), &object).is_err(), "bit {} flipped", at);
        }

        #[test]
        fn seal_is_deterministic(body in proptest::collection::vec(any::<u8>(), 0..400), refs in any_refs()) {
            let make = || seal(&keys(1), &VAULT.into(), Kind::Page, 0, &refs, &body).unwrap();
            prop_assert_eq!(make(), make());
        }

        #[test]
        fn nonce_never_shared_by_two_aads(body in proptest::collection::vec(any::<u8>(), 0..400), a in any_refs(), b in any_refs(), level in 0u8..16) {
            let make = |level, refs: &[Address], vault: [u8; 32]| seal(&keys(1), &vault.into(), Kind::Page, level, refs, &body).unwrap().1[24..48].to_vec();
            let first = make(0, &a, VAULT);
            prop_assert_ne!(&first, &make(0, &a, [0x23; 32]));
            if a != b { prop_assert_ne!(&first, &make(0, &b, VAULT)); }
            if level != 0 { prop_assert_ne!(&first, &make(level, &a, VAULT)); }
        }

        #[test]
        fn no_bytes_make_the_header_parser_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), real in any::<bool>()) {
            if real && bytes.len() > 8 { bytes[..6].copy_from_slice(&[b'P', b'K', 1, 1, 0, 0]); }
            if let Ok(h) = header(&bytes) { prop_assert!(h.refs.len() <= MAX_REFS); }
        }
    }
}
