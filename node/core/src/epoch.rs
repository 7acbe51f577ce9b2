//! Epochs: the secrets that seal a vault's objects, one after each removal. A member gets the current secret in a wrap (HPKE) and the ones before by boxes, each under the next.
//!
//! Receivers check every secret against the commitment in the control log, so an owner cannot hand two members different keys.

use crate::ids::{EpochId, NodeId, VaultId};
use crate::keys::{self, Key32};
use crate::labels;
use crate::seal::ObjectKeys;
use crate::sign::Payload;
use chacha20poly1305::aead::{Aead, Payload as Msg};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

mod wrap;

pub use wrap::{Place, read as read_wrap, unwrap, wrap};

/// A boxed secret: 32 bytes and a tag.
pub const BOX: usize = 48;
/// The most bytes of a wrap's ciphertext: shape key, 16 pairs and a tag.
pub const MAX_WRAP: usize = 1_024;
/// The most history segments in one wrap.
pub const MAX_SEGMENTS: usize = 16;

/// Why a secret could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The receiver's id is not a public key.
    #[error("the receiver's id is not a public key")]
    Receiver,
    /// The wrap is not for this receiver, vault, epoch and sender, or was changed.
    #[error("a wrap that does not open")]
    Wrap,
    /// The box does not open with this epoch's chain key.
    #[error("a box that does not open")]
    Box,
    /// The secret is not the one that the control log commits to.
    #[error("a secret that the control log does not commit to")]
    Commitment,
}

/// The secret of an epoch.
pub struct EpochSecret(Key32);

impl EpochSecret {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(bytes: Key32) -> EpochSecret {
        EpochSecret(bytes)
    }

    /// The bytes, to be stored sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the control log says of it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        *keys::derive(labels::EPOCH_COMMIT, &*self.0)
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> EpochId {
        epoch_id(&self.commitment())
    }

    /// What seals and opens its objects.
    #[must_use]
    pub fn object_keys(&self) -> ObjectKeys {
        ObjectKeys::new(
            self.id(),
            keys::derive(labels::OBJECT_KEY, &*self.0),
            keys::derive(labels::OBJECT_NONCE, &*self.0),
        )
    }

    /// Accepts a secret that the control log commits to.
    ///
    /// # Errors
    /// `Commitment` when it is another.
    pub fn checked(self, commitment: &[u8; 32]) -> Result<EpochSecret, EpochError> {
        if self.commitment() == *commitment {
            Ok(self)
        } else {
            Err(EpochError::Commitment)
        }
    }

    /// Boxes the secret of the epoch before this one, the `index`-th of those that it follows.
    ///
    /// # Panics
    /// Never: 32 bytes are within the cipher's bounds.
    #[must_use]
    pub fn box_before(&self, index: u8, before: &EpochSecret) -> [u8; BOX] {
        let (id, before_id) = (self.id(), before.id());
        let sealed = self
            .chain()
            .encrypt(
                &box_nonce(&id, index).into(),
                Msg {
                    msg: &*before.0,
                    aad: &box_aad(&id, &before_id),
                },
            )
            .expect("32 bytes can be encrypted");
        sealed.try_into().expect("32 bytes and a tag")
    }

    /// Opens a box of [`EpochSecret::box_before`].
    ///
    /// # Errors
    /// `Box` when it is not one of this epoch's, `Commitment` when its content is not the secret of `before`.
    pub fn open_box(
        &self,
        index: u8,
        before: &EpochId,
        sealed: &[u8; BOX],
    ) -> Result<EpochSecret, EpochError> {
        let id = self.id();
        let plain = self.chain().decrypt(
            &box_nonce(&id, index).into(),
            Msg {
                msg: sealed,
                aad: &box_aad(&id, before),
            },
        );
        let plain = Zeroizing::new(plain.map_err(|_| EpochError::Box)?);
        let secret = EpochSecret(Zeroizing::new(
            plain.as_slice().try_into().map_err(|_| EpochError::Box)?,
        ));
        if secret.id() == *before {
            Ok(secret)
        } else {
            Err(EpochError::Commitment)
        }
    }

    fn chain(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*keys::derive(labels::EPOCH_CHAIN, &*self.0)).into())
    }
}

/// The id of the epoch with this commitment.
#[must_use]
pub fn epoch_id(commitment: &[u8; 32]) -> EpochId {
    let mut hasher = blake3::Hasher::new();
    hasher.update(labels::EPOCH_ID.as_bytes());
    hasher.update(&[0]);
    hasher.update(commitment);
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    EpochId::from(id)
}

/// The writing key of the live epochs: of one, its own secret; of several, one that is known to exactly the members of all of them.
///
/// # Panics
/// When there are none: the key would be one that everybody knows.
#[must_use]
pub fn join(secrets: &[EpochSecret]) -> EpochSecret {
    let mut sorted: Vec<(EpochId, &EpochSecret)> = secrets.iter().map(|s| (s.id(), s)).collect();
    sorted.sort_by_key(|(id, _)| *id);
    sorted.dedup_by_key(|(id, _)| *id);
    assert!(!sorted.is_empty(), "a vault has a live epoch");
    if let [(_, only)] = sorted[..] {
        return EpochSecret(only.0.clone());
    }
    let mut all = Zeroizing::new(Vec::with_capacity(sorted.len() * 48));
    for (id, secret) in sorted {
        all.extend_from_slice(id.as_bytes());
        all.extend_from_slice(&*secret.0);
    }
    EpochSecret(keys::derive(labels::EPOCH_JOIN, &all))
}

fn box_nonce(id: &EpochId, index: u8) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(id.as_bytes());
    nonce[23] = index;
    nonce
}

fn box_aad(id: &EpochId, before: &EpochId) -> [u8; 32] {
    let mut aad = [0; 32];
    aad[..16].copy_from_slice(id.as_bytes());
    aad[16..].copy_from_slice(before.as_bytes());
    aad
}

/// The key that decides where pages of a vault's tree end: constant for the vault's life.
pub struct ShapeKey(Key32);

impl ShapeKey {
    /// From 32 random bytes.
    #[must_use]
    pub fn new(bytes: Key32) -> ShapeKey {
        ShapeKey(bytes)
    }

    /// The bytes, to be stored sealed.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What Genesis says of it.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        *keys::derive(labels::SHAPE_COMMIT, &*self.0)
    }

    /// Leading zero bits of the keyed hash of a tree's key: how many levels end a page there.
    #[must_use]
    pub fn z(&self, key: &[u8]) -> u32 {
        let hash = blake3::keyed_hash(&self.0, key);
        let mut zeros = 0;
        for byte in hash.as_bytes() {
            zeros += byte.leading_zeros();
            if *byte != 0 {
                break;
            }
        }
        zeros
    }
}

/// A new epoch, as Genesis, Revoke, Rotate and others carry it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct EpochRecord {
    /// To its secret.
    #[n(0)]
    pub commitment: ByteArray<32>,
    /// The epochs that it follows, each secret boxed under the new one, in the order of their index.
    #[n(1)]
    pub before: Vec<Boxed>,
    /// The secret for every live reader, writer and owner: no key without its envelopes.
    #[n(2)]
    pub wraps: Vec<Wrapped>,
}

impl EpochRecord {
    /// The epoch's id.
    #[must_use]
    pub fn id(&self) -> EpochId {
        epoch_id(&self.commitment)
    }
}

/// A boxed secret of an earlier epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Boxed {
    /// Which epoch.
    #[n(0)]
    pub epoch: EpochId,
    /// Its box.
    #[n(1)]
    pub sealed: ByteArray<BOX>,
}

/// A wrapped secret.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Wrapped {
    /// Who can open it.
    #[n(0)]
    pub to: NodeId,
    /// HPKE encapsulated key.
    #[n(1)]
    pub enc: ByteArray<32>,
    /// HPKE ciphertext.
    #[n(2)]
    pub sealed: ByteVec,
}

/// A wrap for a member who came after the epoch's operation, signed by the member who makes it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct WrapRecord {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// The vault.
    #[n(1)]
    pub vault: VaultId,
    /// The epoch.
    #[n(2)]
    pub epoch: EpochId,
    /// Who can open it.
    #[n(3)]
    pub to: NodeId,
    /// Who made and signed it.
    #[n(4)]
    pub from: NodeId,
    /// HPKE encapsulated key.
    #[n(5)]
    pub enc: ByteArray<32>,
    /// HPKE ciphertext.
    #[n(6)]
    pub sealed: ByteVec,
}

impl Payload for WrapRecord {
    const CONTEXT: &'static str = labels::WRAP;
    const MAX: usize = MAX_WRAP + 256;
}

impl WrapRecord {
    /// The wrap inside.
    #[must_use]
    pub fn wrapped(&self) -> Wrapped {
        Wrapped {
            to: self.to,
            enc: self.enc,
            sealed: self.sealed.clone(),
        }
    }
}

#[cfg(test)]
#[path = "epoch_tests.rs"]
mod tests;
