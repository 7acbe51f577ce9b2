//! Signed things: a canonical payload and an Ed25519 signature over its id. Ids and signatures carry a context, so that bytes made for one purpose prove nothing for another.

use crate::enc::{self, EncError};
use crate::ids::NodeId;
use crate::keys::RootKey;
use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::{Decode, Encode};

/// Length of a signature, in bytes.
pub const SIGNATURE: usize = 64;

/// `BLAKE3(context ‖ 0x00 ‖ payload)`.
#[must_use]
pub fn id(context: &str, payload: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(context.as_bytes());
    hasher.update(&[0]);
    hasher.update(payload);
    *hasher.finalize().as_bytes()
}

/// What a signature is made over: `context ‖ 0x00 ‖ id`.
#[must_use]
pub fn message(context: &str, id: &[u8; 32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(context.len() + 33);
    out.extend_from_slice(context.as_bytes());
    out.push(0);
    out.extend_from_slice(id);
    out
}

/// Checks a signature the strict way (no small-order keys, no second encoding), one at a time: validity must come out the same on every replica.
///
/// # Errors
/// When it is not the signature of `by`, or `by` is no key.
pub fn verify(
    context: &str,
    id: &[u8; 32],
    signature: &[u8; SIGNATURE],
    by: &NodeId,
) -> Result<(), SignError> {
    let key = VerifyingKey::from_bytes(by.as_bytes()).map_err(|_| SignError::Key)?;
    key.verify_strict(&message(context, id), &Signature::from_bytes(signature))
        .map_err(|_| SignError::Signature)
}

/// A payload that is signed: its context, and the most bytes that it may have without its signature.
pub trait Payload: Encode<()> + for<'b> Decode<'b, ()> {
    /// One of [`crate::labels`].
    const CONTEXT: &'static str;
    /// Bound of the encoding in bytes, checked before anything is decoded.
    const MAX: usize;
}

/// Why bytes are no signed payload.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Shorter than a signature, or over the bound.
    #[error("{found} bytes; a signed {context} has {SIGNATURE} to {most}")]
    Length {
        /// What it should be.
        context: &'static str,
        /// How long it is.
        found: usize,
        /// How long it may be.
        most: usize,
    },
    /// Not a canonical payload.
    #[error("malformed {context}")]
    Payload {
        /// What it should be.
        context: &'static str,
        /// Why not.
        #[source]
        source: EncError,
    },
    /// The author's id is not an Ed25519 public key.
    #[error("the author's id is not a public key")]
    Key,
    /// The signature is not the author's.
    #[error("the signature does not match")]
    Signature,
}

/// A payload with its id and signature. Parsing checks form alone; [`Signed::verify`] checks the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    payload: T,
    id: [u8; 32],
    bytes: Vec<u8>,
}

impl<T: Payload> Signed<T> {
    /// Signs `payload`.
    #[must_use]
    pub fn sign(payload: T, key: &RootKey) -> Self {
        let mut bytes = enc::encode(&payload);
        let id = id(T::CONTEXT, &bytes);
        bytes.extend_from_slice(&key.sign(T::CONTEXT, &id));
        Signed { payload, id, bytes }
    }

    /// Reads `payload ‖ signature`. The signature is not checked yet.
    ///
    /// # Errors
    /// When the length is out of bounds or the payload is not canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignError> {
        let most = T::MAX + SIGNATURE;
        let too_long = bytes.len() > most;
        let Some(length) = bytes.len().checked_sub(SIGNATURE).filter(|_| !too_long) else {
            return Err(SignError::Length {
                context: T::CONTEXT,
                found: bytes.len(),
                most,
            });
        };
        let payload = enc::decode(&bytes[..length]).map_err(|source| SignError::Payload {
            context: T::CONTEXT,
            source,
        })?;
        Ok(Signed {
            payload,
            id: id(T::CONTEXT, &bytes[..length]),
            bytes: bytes.to_vec(),
        })
    }

    /// Checks that `by` signed it.
    ///
    /// # Errors
    /// When it did not, or `by` is not a public key.
    pub fn verify(&self, by: &NodeId) -> Result<(), SignError> {
        verify(T::CONTEXT, &self.id, self.signature(), by)
    }
}

impl<T> Signed<T> {
    /// What was signed.
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// Hash of the payload alone: a copy with another signature is the same thing.
    pub fn id(&self) -> [u8; 32] {
        self.id
    }

    /// `payload ‖ signature`, as stored and sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature.
    ///
    /// # Panics
    /// Never: no value is made without one.
    pub fn signature(&self) -> &[u8; SIGNATURE] {
        self.bytes
            .last_chunk()
            .expect("a signed thing ends in its signature")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq, Encode, Decode)]
    #[cbor(array)]
    struct Note {
        #[n(0)]
        text: String,
    }

    impl Payload for Note {
        const CONTEXT: &'static str = "test/1 note";
        const MAX: usize = 40;
    }

    /// The same bytes under another context.
    #[derive(Clone, Debug, PartialEq, Encode, Decode)]
    #[cbor(array)]
    struct Other {
        #[n(0)]
        text: String,
    }

    impl Payload for Other {
        const CONTEXT: &'static str = "test/1 another";
        const MAX: usize = 40;
    }

    fn note(text: &str, seed: u8) -> Signed<Note> {
        Signed::sign(
            Note {
                text: text.to_owned(),
            },
            &RootKey::from_seed(&[seed; 32]),
        )
    }

    #[test]
    fn a_copy_signed_by_another_is_the_same_thing() {
        let (a, b) = (note("hello", 1), note("hello", 2));
        assert_eq!(a.id(), b.id());
        assert_ne!(a.bytes(), b.bytes());
        let by = RootKey::from_seed(&[1; 32]).node_id();
        a.verify(&by).unwrap();
        assert!(matches!(b.verify(&by), Err(SignError::Signature)));
    }

    #[test]
    fn a_signature_counts_in_its_context_only() {
        let signed = note("hello", 1);
        let other = Signed::<Other>::parse(signed.bytes()).unwrap();
        assert_ne!(other.id(), signed.id());
        let by = RootKey::from_seed(&[1; 32]).node_id();
        assert!(matches!(other.verify(&by), Err(SignError::Signature)));
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_decoded() {
        let longest = "x".repeat(Note::MAX - 3);
        assert!(Signed::<Note>::parse(note(&longest, 1).bytes()).is_ok());
        let longer = note(&format!("{longest}x"), 1);
        assert!(matches!(
            Signed::<Note>::parse(longer.bytes()),
            Err(SignError::Length { found, most, .. }) if found == most + 1
        ));
        for length in 0..SIGNATURE {
            let parsed = Signed::<Note>::parse(&longer.bytes()[..length]);
            assert!(matches!(parsed, Err(SignError::Length { .. })), "{length}");
        }
        let empty = Signed::<Note>::parse(&[0; SIGNATURE]);
        assert!(matches!(empty, Err(SignError::Payload { .. })));
    }

    proptest! {
        #[test]
        fn a_signed_thing_comes_back_and_every_flipped_bit_is_noticed(text in "[a-z]{0,30}", bit in any::<prop::sample::Index>()) {
            let signed = note(&text, 1);
            let by = RootKey::from_seed(&[1; 32]).node_id();
            let parsed = Signed::<Note>::parse(signed.bytes()).unwrap();
            prop_assert_eq!(&parsed, &signed);
            prop_assert!(parsed.verify(&by).is_ok());
            let mut bad = signed.bytes().to_vec();
            let at = bit.index(bad.len() * 8);
            bad[at / 8] ^= 1 << (at % 8);
            let refused = Signed::<Note>::parse(&bad).and_then(|s| s.verify(&by)).is_err();
            prop_assert!(refused, "bit {} flipped", at);
        }
    }
}
