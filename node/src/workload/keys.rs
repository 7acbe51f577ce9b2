//! The issuer's public keys, and the signatures that they check, on ring.
//!
//! A set is a value: [`KeySet::parse`] reads the JSON that the API server gives. Keys that this node could not use (of an unknown kind, or for encryption) are
//! left out one by one; a set without a usable key is no set.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature as ring_signature;
use std::collections::HashMap;

/// The largest JSON of a key set, in bytes: about a hundred RSA keys of 4,096 bits. An API server has two to four.
pub const MAX_KEY_SET: usize = 128 << 10;

/// Why bytes are no key set.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Over [`MAX_KEY_SET`].
    #[error("a key set of {0} bytes; the most is {MAX_KEY_SET}")]
    TooLarge(usize),
    /// Not the JSON of RFC 7517.
    #[error("not a JSON Web Key Set")]
    Malformed(#[source] serde_json::Error),
    /// No key in it can verify a token.
    #[error("the key set has no key that can verify a token")]
    Empty,
}

/// The public keys of an issuer by their id.
pub struct KeySet(HashMap<String, DecodingKey>);

impl KeySet {
    /// Reads a JSON Web Key Set.
    pub fn parse(json: &[u8]) -> Result<KeySet, KeysError> {
        if json.len() > MAX_KEY_SET {
            return Err(KeysError::TooLarge(json.len()));
        }
        let set: JwkSet = serde_json::from_slice(json).map_err(KeysError::Malformed)?;
        let keys: HashMap<_, _> = set.keys.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeysError::Empty);
        }
        Ok(KeySet(keys))
    }

    /// The key of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&DecodingKey> {
        self.0.get(id)
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

fn usable(jwk: &Jwk) -> Option<(String, DecodingKey)> {
    let id = jwk.common.key_id.clone().filter(|id| !id.is_empty())?;
    if !matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    // A shared secret in a public document is nobody's secret.
    (key.family() != AlgorithmFamily::Hmac).then_some((id, key))
}

/// Makes ring the verifier of jsonwebtoken in this process.
pub(super) fn install_verifier() {
    static ON_RING: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
        verifier_factory: |algorithm, key| Ok(Box::new(OnRing(*algorithm, key.kind().clone()))),
        key_utils: KeyUtils::new_unimplemented(),
    };
    ON_RING.install_default().ok();
}

struct OnRing(Algorithm, DecodingKeyKind);

impl JwtVerifier for OnRing {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

impl Verifier<Vec<u8>> for OnRing {
    fn verify(&self, message: &[u8], sig: &Vec<u8>) -> Result<(), signature::Error> {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let plain = |algorithm: &'static dyn ring_signature::VerificationAlgorithm, key: &[u8]| {
            ring_signature::UnparsedPublicKey::new(algorithm, key).verify(message, sig)
        };
        match (self.0, &self.1) {
            (Algorithm::RS256, RsaModulusExponent { n, e }) => {
                ring_signature::RsaPublicKeyComponents { n, e }.verify(
                    &ring_signature::RSA_PKCS1_2048_8192_SHA256,
                    message,
                    sig,
                )
            }
            (Algorithm::ES256, SecretOrDer(k)) => {
                plain(&ring_signature::ECDSA_P256_SHA256_FIXED, k)
            }
            (Algorithm::ES384, SecretOrDer(k)) => {
                plain(&ring_signature::ECDSA_P384_SHA384_FIXED, k)
            }
            (Algorithm::EdDSA, SecretOrDer(k)) => plain(&ring_signature::ED25519, k),
            _ => return Err(signature::Error::new()),
        }
        .map_err(|_| signature::Error::new())
    }
}
