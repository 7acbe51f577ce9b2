//! Wraps: the shape key and secrets of epochs in an HPKE envelope for one member.

use super::{EpochError, EpochSecret, MAX_SEGMENTS, MAX_WRAP, ShapeKey, Wrapped};
use crate::enc;
use crate::ids::{EpochId, NodeId, VaultId};
use crate::keys::{self, Key32, RootKey};
use crate::labels;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use std::convert::Infallible;
use zeroize::{Zeroize, Zeroizing};

/// What a wrap holds.
#[derive(Encode, Decode)]
#[cbor(array)]
pub(super) struct Opened {
    #[n(0)]
    pub(super) shape: ByteArray<32>,
    #[n(1)]
    pub(super) secrets: Vec<Segment>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
pub(super) struct Segment {
    #[n(0)]
    pub(super) epoch: EpochId,
    #[n(1)]
    pub(super) secret: ByteArray<32>,
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

pub(super) fn seal_for(
    place: Place<'_>,
    plain: &[u8],
    random: &Key32,
) -> Result<Wrapped, EpochError> {
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
    read(&plain, place.epoch, shape_commitment)
}

/// What stands in a wrap of `epoch` that was opened: the second half of [`unwrap`]. Any member can seal any bytes for another.
///
/// # Errors
/// `Wrap` for bytes of another form, `Commitment` for other keys than the control log commits to.
pub fn read(
    plain: &[u8],
    epoch: &EpochId,
    shape_commitment: &[u8; 32],
) -> Result<(ShapeKey, Vec<EpochSecret>), EpochError> {
    let opened: Opened = enc::decode(plain).map_err(|_| EpochError::Wrap)?;
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
    if secrets[0].id() != *epoch {
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
