//! The claim that joins two nodes of one person or cluster, signed by both; and the proof by which a key takes another's place. Each is verified from its own bytes: no chain, clock
//! or network is asked. What a link is good for is decided elsewhere.

use crate::enc::{self, EncError};
use crate::ids::{NodeId, VaultId};
use crate::keys::RootKey;
use crate::labels;
use crate::sign::{self, SIGNATURE, SignError};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

/// The most bytes of a link: two ids, two signatures, a nonce and a time have under 256.
pub const MAX_LINK: usize = 256;

/// Why bytes are no link between two nodes.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Longer than a link can be.
    #[error("{0} bytes are no link")]
    Length(usize),
    /// Not a canonical link.
    #[error("malformed link")]
    Malformed(#[source] EncError),
    /// The lower id is not first, or both are one.
    #[error("a link whose nodes are not two in ascending order")]
    Order,
    /// One of them has not signed.
    #[error("a link that is not signed by both")]
    Signature(#[source] SignError),
}

/// What both sign: `[a, b, nonce, time]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Terms {
    /// The node with the lower id.
    #[n(0)]
    pub a: NodeId,
    /// The other.
    #[n(1)]
    pub b: NodeId,
    /// Random, so that a link made anew is another.
    #[n(2)]
    pub nonce: ByteArray<16>,
    /// When it was made, in Unix milliseconds.
    #[n(3)]
    pub time_ms: u64,
}

impl Terms {
    /// The terms between two nodes; `None` when they are one.
    #[must_use]
    pub fn between(one: NodeId, other: NodeId, nonce: [u8; 16], time_ms: u64) -> Option<Terms> {
        (one != other).then(|| Terms {
            a: one.min(other),
            b: one.max(other),
            nonce: nonce.into(),
            time_ms,
        })
    }

    /// One side's signature.
    #[must_use]
    pub fn sign(&self, key: &RootKey) -> [u8; SIGNATURE] {
        key.sign(labels::LINK, &self.id())
    }

    fn id(&self) -> [u8; 32] {
        sign::id(labels::LINK, &enc::encode(self))
    }
}

/// A link with both signatures: `[a, b, nonce, time, sig_a, sig_b]`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Link {
    #[n(0)]
    a: NodeId,
    #[n(1)]
    b: NodeId,
    #[n(2)]
    nonce: ByteArray<16>,
    #[n(3)]
    time_ms: u64,
    #[n(4)]
    sig_a: ByteArray<SIGNATURE>,
    #[n(5)]
    sig_b: ByteArray<SIGNATURE>,
}

impl Link {
    /// Joins the two halves.
    ///
    /// # Errors
    /// When one of them is not its node's signature of the terms.
    pub fn new(
        terms: Terms,
        sig_a: [u8; SIGNATURE],
        sig_b: [u8; SIGNATURE],
    ) -> Result<Link, LinkError> {
        let link = Link {
            a: terms.a,
            b: terms.b,
            nonce: terms.nonce,
            time_ms: terms.time_ms,
            sig_a: sig_a.into(),
            sig_b: sig_b.into(),
        };
        link.verify()?;
        Ok(link)
    }

    /// Reads a link and checks both signatures.
    ///
    /// # Errors
    /// When it is malformed or not signed by both.
    pub fn read(bytes: &[u8]) -> Result<Link, LinkError> {
        if bytes.len() > MAX_LINK {
            return Err(LinkError::Length(bytes.len()));
        }
        let link: Link = enc::decode(bytes).map_err(LinkError::Malformed)?;
        link.verify()?;
        Ok(link)
    }

    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        enc::encode(self)
    }

    /// What both signed.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            a: self.a,
            b: self.b,
            nonce: self.nonce,
            time_ms: self.time_ms,
        }
    }

    /// Whether these are its two nodes.
    #[must_use]
    pub fn joins(&self, one: &NodeId, other: &NodeId) -> bool {
        (self.a, self.b) == (*one.min(other), *one.max(other))
    }

    fn verify(&self) -> Result<(), LinkError> {
        if self.a >= self.b {
            return Err(LinkError::Order);
        }
        let id = self.terms().id();
        let check = |signature: &[u8; SIGNATURE], by| {
            sign::verify(labels::LINK, &id, signature, by).map_err(LinkError::Signature)
        };
        check(&self.sig_a, &self.a)?;
        check(&self.sig_b, &self.b)
    }
}

/// What a key signs to take another's place in a vault: `[vault, old, new]`. Three fields, where a link has four.
#[derive(Encode)]
#[cbor(array)]
struct Takeover {
    #[n(0)]
    vault: VaultId,
    #[n(1)]
    old: NodeId,
    #[n(2)]
    new: NodeId,
}

fn takeover(vault: VaultId, old: NodeId, new: NodeId) -> [u8; 32] {
    sign::id(labels::LINK, &enc::encode(&Takeover { vault, old, new }))
}

/// The new key's signature that it takes the place of `old` in `vault`.
#[must_use]
pub fn prove(vault: VaultId, old: NodeId, new: &RootKey) -> [u8; SIGNATURE] {
    new.sign(labels::LINK, &takeover(vault, old, new.node_id()))
}

/// Checks a signature of [`prove`].
///
/// # Errors
/// When it is another's, or for another place.
pub fn check_proof(
    vault: VaultId,
    old: NodeId,
    new: NodeId,
    proof: &[u8; SIGNATURE],
) -> Result<(), SignError> {
    sign::verify(labels::LINK, &takeover(vault, old, new), proof, &new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(n: u8) -> RootKey {
        RootKey::from_seed(&[n; 32])
    }

    fn link(one: u8, other: u8) -> Link {
        let (x, y) = (key(one), key(other));
        let terms = Terms::between(x.node_id(), y.node_id(), [3; 16], 4).unwrap();
        let (a, b) = if terms.a == x.node_id() {
            (x, y)
        } else {
            (y, x)
        };
        Link::new(terms, terms.sign(&a), terms.sign(&b)).unwrap()
    }

    #[test]
    fn a_link_is_signed_by_both_and_joins_no_others() {
        let link = link(1, 2);
        let (one, other, third) = (key(1).node_id(), key(2).node_id(), key(3).node_id());
        assert!(link.joins(&one, &other) && link.joins(&other, &one));
        assert!(!link.joins(&one, &third) && !link.joins(&one, &one));
        let terms = link.terms();
        assert!(matches!(
            Link::new(terms, terms.sign(&key(3)), *link.sig_b),
            Err(LinkError::Signature(_))
        ));
        assert!(Terms::between(one, one, [0; 16], 0).is_none());
        let swapped = Link {
            a: link.b,
            b: link.a,
            sig_a: link.sig_b,
            sig_b: link.sig_a,
            ..link
        };
        assert!(matches!(
            Link::read(&swapped.to_bytes()),
            Err(LinkError::Order)
        ));
    }

    #[test]
    fn a_proof_is_for_one_vault_one_place_and_one_key() {
        let (vault, old) = (VaultId::from([1; 32]), key(1).node_id());
        let proof = prove(vault, old, &key(2));
        let new = key(2).node_id();
        check_proof(vault, old, new, &proof).unwrap();
        assert!(check_proof(VaultId::from([2; 32]), old, new, &proof).is_err());
        assert!(check_proof(vault, key(3).node_id(), new, &proof).is_err());
        assert!(check_proof(vault, old, key(3).node_id(), &proof).is_err());
    }

    proptest! {
        #[test]
        fn every_flipped_bit_of_a_link_is_noticed(bit in any::<prop::sample::Index>()) {
            let mut bytes = link(1, 2).to_bytes();
            prop_assert!(bytes.len() <= MAX_LINK);
            prop_assert_eq!(Link::read(&bytes).unwrap(), link(1, 2));
            let at = bit.index(bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            prop_assert!(Link::read(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_a_link_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Link::read(&bytes).is_err());
        }
    }
}
