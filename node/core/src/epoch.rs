//! Epochs: the secrets that seal a vault's objects, one after each removal. A member gets the current secret in a wrap (HPKE) and the ones before by boxes, each under the next.
//!
//! Receivers check every secret against the commitment in the control log, so an owner cannot hand two members different keys.

use crate::enc;
use crate::ids::{EpochId, NodeId, VaultId};
use crate::keys::{self, Key32, RootKey};
use crate::labels;
use crate::seal::ObjectKeys;
use crate::sign::Payload;
use chacha20poly1305::aead::{Aead, Payload as Msg};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use std::convert::Infallible;
use zeroize::{Zeroize, Zeroizing};

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

/// What a wrap holds.
#[derive(Encode, Decode)]
#[cbor(array)]
struct Opened {
    #[n(0)]
    shape: ByteArray<32>,
    #[n(1)]
    secrets: Vec<Segment>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Segment {
    #[n(0)]
    epoch: EpochId,
    #[n(1)]
    secret: ByteArray<32>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.shape.zeroize();
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

/// Where a wrap stands; it opens nowhere else.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The vault; 32 zero bytes in its Genesis, whose id is a hash over its wraps.
    pub vault: &'a VaultId,
    /// The epoch whose current secret it carries.
    pub epoch: &'a EpochId,
    /// Who opens it.
    pub to: &'a NodeId,
    /// Who made it.
    pub from: &'a NodeId,
}

impl Place<'_> {
    fn aad(&self) -> Vec<u8> {
        [
            &self.vault.as_bytes()[..],
            self.epoch.as_bytes(),
            self.to.as_bytes(),
            self.from.as_bytes(),
        ]
        .concat()
    }
}

fn info() -> Vec<u8> {
    [labels::EPOCH_WRAP.as_bytes(), &[0]].concat()
}

/// Wraps the shape key and the secrets (one for each history segment, normally one) for `place.to`. `random` is 32 fresh random bytes; the ephemeral key depends on
/// all that is wrapped as well, so that one `random` serves the wraps of a whole operation, and a repeated one repeats no key.
///
/// # Errors
/// `Receiver` when `place.to` is not a public key, `Wrap` for no secrets or more than [`MAX_SEGMENTS`].
pub fn wrap(
    place: Place<'_>,
    shape: &ShapeKey,
    secrets: &[&EpochSecret],
    random: &Key32,
) -> Result<Wrapped, EpochError> {
    if secrets.is_empty() || secrets.len() > MAX_SEGMENTS {
        return Err(EpochError::Wrap);
    }
    let opened = Opened {
        shape: (*shape.0).into(),
        secrets: secrets
            .iter()
            .map(|s| Segment {
                epoch: s.id(),
                secret: (*s.0).into(),
            })
            .collect(),
    };
    seal_for(place, &enc::encode_secret(&opened, MAX_WRAP), random)
}

fn seal_for(place: Place<'_>, plain: &[u8], random: &Key32) -> Result<Wrapped, EpochError> {
    let aad = place.aad();
    let public = keys::x25519_public(place.to).ok_or(EpochError::Receiver)?;
    let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&public)
        .map_err(|_| EpochError::Receiver)?;
    let mut random = Given::new(random, &aad, plain);
    let (enc, sealed) = hpke::single_shot_seal_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(&OpModeS::Base, &public, &info(), plain, &aad, &mut random)
    .map_err(|_| EpochError::Receiver)?;
    let enc: [u8; 32] = enc.to_bytes().into();
    Ok(Wrapped {
        to: *place.to,
        enc: enc.into(),
        sealed: sealed.into(),
    })
}

/// Opens a wrap and checks the shape key against Genesis and the epoch's secret against its commitment. Gives the shape key and the secrets, the current one first.
///
/// # Errors
/// When it does not open with `key`, or holds other keys than the control log commits to.
pub fn unwrap(
    place: Place<'_>,
    wrapped: &Wrapped,
    key: &RootKey,
    shape_commitment: &[u8; 32],
) -> Result<(ShapeKey, Vec<EpochSecret>), EpochError> {
    if wrapped.sealed.len() > MAX_WRAP {
        return Err(EpochError::Wrap);
    }
    let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&*key.x25519_secret())
        .map_err(|_| EpochError::Wrap)?;
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&*wrapped.enc)
        .map_err(|_| EpochError::Wrap)?;
    let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &enc,
        &info(),
        &wrapped.sealed,
        &place.aad(),
    );
    let plain = Zeroizing::new(plain.map_err(|_| EpochError::Wrap)?);
    let opened: Opened = enc::decode(&plain).map_err(|_| EpochError::Wrap)?;
    let shape = ShapeKey(Zeroizing::new(*opened.shape));
    if shape.commitment() != *shape_commitment {
        return Err(EpochError::Commitment);
    }
    if opened.secrets.is_empty() || opened.secrets.len() > MAX_SEGMENTS {
        return Err(EpochError::Wrap);
    }
    let mut secrets = Vec::with_capacity(opened.secrets.len());
    for segment in &opened.secrets {
        let secret = EpochSecret(Zeroizing::new(*segment.secret));
        if secret.id() != segment.epoch {
            return Err(EpochError::Commitment);
        }
        secrets.push(secret);
    }
    if secrets[0].id() != *place.epoch {
        return Err(EpochError::Commitment);
    }
    Ok((shape, secrets))
}

/// Randomness that the caller gave, stretched: HPKE asks for a source, and this crate has none of its own.
struct Given(blake3::OutputReader);

impl Given {
    fn new(random: &Key32, aad: &[u8], plain: &[u8]) -> Given {
        let key = keys::derive(labels::WRAP_RANDOM, &**random);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(aad); // of one length always
        hasher.update(plain);
        let reader = hasher.finalize_xof();
        hasher.zeroize();
        Given(reader)
    }
}

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut b = [0; 4];
        self.0.fill(&mut b);
        Ok(u32::from_le_bytes(b))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut b = [0; 8];
        self.0.fill(&mut b);
        Ok(u64::from_le_bytes(b))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Given {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(n: u8) -> EpochSecret {
        EpochSecret::new(Zeroizing::new([n; 32]))
    }

    #[test]
    fn a_wrap_opens_for_its_receiver_in_its_place_and_nowhere_else() {
        let (owner, member, other) = (
            RootKey::from_seed(&[1; 32]),
            RootKey::from_seed(&[2; 32]),
            RootKey::from_seed(&[3; 32]),
        );
        let (vault, shape, epoch) = (
            VaultId::from([4; 32]),
            ShapeKey::new(Zeroizing::new([5; 32])),
            secret(6),
        );
        let (id, to, from) = (epoch.id(), member.node_id(), owner.node_id());
        let place = Place {
            vault: &vault,
            epoch: &id,
            to: &to,
            from: &from,
        };
        let wrapped = wrap(place, &shape, &[&epoch], &Zeroizing::new([7; 32])).unwrap();
        let (shape2, secrets) = unwrap(place, &wrapped, &member, &shape.commitment())
            .ok()
            .unwrap();
        assert_eq!(
            (shape2.expose(), secrets[0].expose(), secrets.len()),
            (shape.expose(), epoch.expose(), 1)
        );
        let failed = |r: Result<(ShapeKey, Vec<EpochSecret>), EpochError>| r.err().unwrap();
        assert_eq!(
            failed(unwrap(place, &wrapped, &other, &shape.commitment())),
            EpochError::Wrap
        );
        let third = other.node_id();
        assert_eq!(
            failed(unwrap(
                Place {
                    from: &third,
                    ..place
                },
                &wrapped,
                &member,
                &shape.commitment()
            )),
            EpochError::Wrap
        );
        assert_eq!(
            failed(unwrap(
                Place {
                    vault: &VaultId::from([9; 32]),
                    ..place
                },
                &wrapped,
                &member,
                &shape.commitment()
            )),
            EpochError::Wrap
        );
        assert_eq!(
            failed(unwrap(place, &wrapped, &member, &[0; 32])),
            EpochError::Commitment
        );
        let claimed = secret(8).id();
        let place = Place {
            epoch: &claimed,
            ..place
        };
        let wrong = wrap(place, &shape, &[&epoch], &Zeroizing::new([7; 32])).unwrap();
        assert_eq!(
            failed(unwrap(place, &wrong, &member, &shape.commitment())),
            EpochError::Commitment,
            "another secret than the epoch's"
        );
    }

    #[test]
    fn an_owner_cannot_pass_off_another_secret_as_an_epochs() {
        let (new, before, other) = (secret(1), secret(2), secret(3));
        let boxed = Msg {
            msg: other.expose(),
            aad: &box_aad(&new.id(), &before.id()),
        };
        let boxed = new.chain().encrypt(&box_nonce(&new.id(), 0).into(), boxed);
        let opened = new.open_box(0, &before.id(), &boxed.unwrap().try_into().unwrap());
        assert_eq!(opened.err(), Some(EpochError::Commitment), "in a box");

        let key = RootKey::from_seed(&[2; 32]);
        let shape = ShapeKey::new(Zeroizing::new([5; 32]));
        let (vault, id, node) = (VaultId::from([4; 32]), new.id(), key.node_id());
        let place = Place {
            vault: &vault,
            epoch: &id,
            to: &node,
            from: &node,
        };
        let segment = |epoch: EpochId, secret: &EpochSecret| Segment {
            epoch,
            secret: (*secret.0).into(),
        };
        let open = |secrets: Vec<Segment>| {
            let opened = Opened {
                shape: (*shape.0).into(),
                secrets,
            };
            let random = Zeroizing::new([7; 32]);
            let wrapped = seal_for(place, &enc::encode_secret(&opened, MAX_WRAP), &random).unwrap();
            let opened = unwrap(place, &wrapped, &key, &shape.commitment());
            opened.map(|(_, secrets)| secrets.len())
        };
        let history = || segment(before.id(), &before);
        assert_eq!(open(vec![segment(id, &new), history()]), Ok(2));
        for (what, secrets) in [
            ("as the current one", vec![segment(id, &other)]),
            (
                "as an earlier one",
                vec![segment(id, &new), segment(before.id(), &other)],
            ),
            ("an earlier one first", vec![history(), segment(id, &new)]),
        ] {
            assert_eq!(open(secrets), Err(EpochError::Commitment), "{what}");
        }
        assert_eq!(open(vec![]), Err(EpochError::Wrap), "nothing");
    }

    #[test]
    fn one_random_serves_many_wraps() {
        let (shape, epoch) = (ShapeKey::new(Zeroizing::new([5; 32])), secret(6));
        let (vault, id, from) = (
            VaultId::from([4; 32]),
            epoch.id(),
            RootKey::from_seed(&[1; 32]).node_id(),
        );
        let make = |vault: &VaultId, to: u8, secrets: &[&EpochSecret]| {
            let to = RootKey::from_seed(&[to; 32]).node_id();
            let place = Place {
                vault,
                epoch: &id,
                to: &to,
                from: &from,
            };
            wrap(place, &shape, secrets, &Zeroizing::new([7; 32]))
                .unwrap()
                .enc
        };
        let first = make(&vault, 2, &[&epoch]);
        assert_eq!(first, make(&vault, 2, &[&epoch]), "values in, values out");
        assert_ne!(first, make(&vault, 3, &[&epoch]), "another receiver");
        assert_ne!(
            first,
            make(&VaultId::from([8; 32]), 2, &[&epoch]),
            "another vault"
        );
        assert_ne!(
            first,
            make(&vault, 2, &[&epoch, &secret(9)]),
            "other secrets"
        );
    }

    #[test]
    fn a_wrap_holds_one_to_sixteen_secrets() {
        let (shape, epoch) = (ShapeKey::new(Zeroizing::new([5; 32])), secret(6));
        let key = RootKey::from_seed(&[2; 32]);
        let (vault, id, node) = (VaultId::from([4; 32]), epoch.id(), key.node_id());
        let place = Place {
            vault: &vault,
            epoch: &id,
            to: &node,
            from: &node,
        };
        let make = |n| wrap(place, &shape, &vec![&epoch; n], &Zeroizing::new([7; 32]));
        let most = make(MAX_SEGMENTS).unwrap();
        assert!(most.sealed.len() <= MAX_WRAP);
        assert_eq!(
            unwrap(place, &most, &key, &shape.commitment())
                .ok()
                .unwrap()
                .1
                .len(),
            MAX_SEGMENTS
        );
        assert_eq!(make(0).err(), Some(EpochError::Wrap));
        assert_eq!(make(MAX_SEGMENTS + 1).err(), Some(EpochError::Wrap));
    }

    proptest! {
        #[test]
        fn epoch_prev_chain_opens_history(seeds in proptest::collection::btree_set(any::<u8>(), 2..6)) {
            let secrets: Vec<EpochSecret> = seeds.iter().map(|s| secret(*s)).collect();
            let boxes: Vec<[u8; BOX]> = secrets.windows(2).map(|w| w[1].box_before(0, &w[0])).collect();
            let mut at = secret(*seeds.last().unwrap());
            for (n, sealed) in boxes.iter().enumerate().rev() {
                prop_assert_eq!(at.open_box(1, &secrets[n].id(), sealed).err(), Some(EpochError::Box), "another index");
                at = at.open_box(0, &secrets[n].id(), sealed).ok().unwrap();
                prop_assert_eq!(at.expose(), secrets[n].expose());
            }
        }

        #[test]
        fn a_join_needs_every_secret_and_no_order(a: [u8; 32], b: [u8; 32]) {
            let s = |x: [u8; 32]| EpochSecret::new(Zeroizing::new(x));
            prop_assert_eq!(join(&[s(a), s(b)]).id(), join(&[s(b), s(a)]).id());
            if a != b {
                prop_assert_ne!(join(&[s(a), s(b)]).id(), s(a).id());
                prop_assert_ne!(join(&[s(a), s(b)]).id(), s(b).id());
            }
            prop_assert_eq!(join(&[s(a), s(a)]).id(), s(a).id(), "one live epoch writes with its own secret");
        }
    }
}
