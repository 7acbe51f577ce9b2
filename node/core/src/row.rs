//! Rows of a node's own store, sealed so that a stolen disk shows no name and no value, and a row cannot be moved to another place.
//!
//! `nonce 24 ‖ XChaCha20-Poly1305(database key, nonce, AAD = "polykey/1 row\0" ‖ table ‖ 0 ‖ key)`. Keys of rows are ids and counters, never names.

use crate::keys::Key32;
use crate::labels;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

/// Bytes that sealing adds.
pub const OVERHEAD: usize = 24 + 16;

/// A row that was changed, moved, or sealed by another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row that does not open")]
pub struct RowError;

/// The database key.
pub struct RowKey(Key32);

impl RowKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(bytes: Key32) -> RowKey {
        RowKey(bytes)
    }

    /// Seals a row. `nonce` is 24 fresh random bytes.
    ///
    /// # Panics
    /// Never: rows are far below the cipher's bound of 256 GiB.
    #[must_use]
    pub fn seal(&self, table: u8, key: &[u8], plain: &[u8], nonce: [u8; 24]) -> Vec<u8> {
        let sealed = self
            .cipher()
            .encrypt(
                &nonce.into(),
                Payload {
                    msg: plain,
                    aad: &place(table, key),
                },
            )
            .expect("within the cipher's bound");
        let mut out = Vec::with_capacity(24 + sealed.len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens a row of this place.
    ///
    /// # Errors
    /// When one bit differs from what was sealed there.
    pub fn open(&self, table: u8, key: &[u8], row: &[u8]) -> Result<Zeroizing<Vec<u8>>, RowError> {
        let (nonce, sealed) = row.split_first_chunk::<24>().ok_or(RowError)?;
        let plain = self.cipher().decrypt(
            nonce.into(),
            Payload {
                msg: sealed,
                aad: &place(table, key),
            },
        );
        plain.map(Zeroizing::new).map_err(|_| RowError)
    }

    /// A key for another use inside the node, such as naming paths in the audit.
    #[must_use]
    pub fn keyed_hash(&self, bytes: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.0, bytes).as_bytes()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

fn place(table: u8, key: &[u8]) -> Vec<u8> {
    [labels::ROW.as_bytes(), &[0, table, 0], key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_opens_in_its_place_and_nowhere_else(plain in proptest::collection::vec(any::<u8>(), 0..200), key in proptest::collection::vec(any::<u8>(), 0..40), nonce: [u8; 24], bit in any::<prop::sample::Index>()) {
            let rows = RowKey::new(Zeroizing::new([1; 32]));
            let mut row = rows.seal(3, &key, &plain, nonce);
            prop_assert_eq!(row.len(), plain.len() + OVERHEAD);
            prop_assert_eq!(&rows.open(3, &key, &row).unwrap()[..], &plain[..]);
            prop_assert!(rows.open(4, &key, &row).is_err(), "another table");
            prop_assert!(rows.open(3, &[&key[..], &[0]].concat(), &row).is_err(), "another key");
            prop_assert!(RowKey::new(Zeroizing::new([2; 32])).open(3, &key, &row).is_err(), "another store");
            let at = bit.index(row.len() * 8);
            row[at / 8] ^= 1 << (at % 8);
            prop_assert!(rows.open(3, &key, &row).is_err(), "bit {} flipped", at);
        }

        #[test]
        fn no_bytes_open_or_panic(row in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(RowKey::new(Zeroizing::new([1; 32])).open(1, b"k", &row).is_err());
        }
    }
}
