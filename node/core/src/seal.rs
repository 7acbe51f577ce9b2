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

mod head;
mod padding;

pub use head::{HEADER, Head, Header, Kind, head_length, header};
pub use padding::pad;

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

const POLY1305: usize = 16;

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

    }
}
