//! `identity.pk`: the root key, the public half of the recovery key and the wrapped database key, under an unlock method: a passphrase for people, a key file for pods.
//!
//! ```text
//! "PKID"   1   method (1 passphrase, 2 key file)   params 12   salt 16   nonce 24   ciphertext
//! params of a passphrase: u32 memory in KiB, u32 passes, u32 lanes of Argon2id v1.3 (RFC 9106); of a key file: zeros
//! ciphertext = XChaCha20-Poly1305(kek, nonce, AAD = all bytes before it, CBOR [root seed, recovery public key or null, nonce 24, wrapped database key])
//! ```
//!
//! The database key is wrapped once more under a key that only the root key gives, so that the words alone can open a store whose password is lost.

use crate::enc;
use crate::keys::{self, Key32, RootKey};
use crate::labels;
use crate::row::RowKey;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

const MAGIC: &[u8; 5] = b"PKID\x01";
const HEADER: usize = 5 + 1 + 12 + 16 + 24;
/// The most bytes of the file: the header and some 170 bytes of ciphertext, with room for later fields.
pub const MAX_IDENTITY: usize = 1_024;
/// The fewest random bytes of a key file.
pub const KEY_FILE_BYTES: usize = 32;
/// The most bytes that are read of a key file.
pub const MAX_KEY_FILE: usize = 4_096;
/// Argon2id as RFC 9106 recommends where memory is scarce: 64 MiB, 3 passes.
pub const PASSPHRASE: Cost = Cost {
    memory_kib: 64 << 10,
    passes: 3,
    lanes: 1,
};

/// Cost of Argon2id. Read from a file it is somebody else's word, so it is bounded before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB, 19 MiB to 1 GiB.
    pub memory_kib: u32,
    /// Passes, 2 to 16.
    pub passes: u32,
    /// Lanes, 1 to 4.
    pub lanes: u32,
}

impl Cost {
    fn bounded(self) -> Result<Cost, UnlockError> {
        let ok = (19 << 10..=1 << 20).contains(&self.memory_kib)
            && (2..=16).contains(&self.passes)
            && (1..=4).contains(&self.lanes);
        if ok { Ok(self) } else { Err(UnlockError::Cost) }
    }
}

/// What unlocks an identity.
pub enum Secret<'a> {
    /// Typed by a person.
    Passphrase(&'a str),
    /// Content of a file of at least [`KEY_FILE_BYTES`] random bytes.
    KeyFile(&'a [u8]),
}

/// The unlock method of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A passphrase, at this cost.
    Passphrase(Cost),
    /// A key file.
    KeyFile,
}

/// Why an identity stays locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// Not an `identity.pk` of this version.
    #[error("not an identity file of this version")]
    Format,
    /// Argon2 parameters that are too weak, or would exhaust this machine.
    #[error("an identity file with unusable Argon2 parameters")]
    Cost,
    /// A passphrase was given for a key file's identity, or the other way round.
    #[error("the identity is unlocked by {expected}")]
    Method {
        /// What it asks for.
        expected: &'static str,
    },
    /// Fewer bytes than [`KEY_FILE_BYTES`].
    #[error("a key file has at least {KEY_FILE_BYTES} random bytes")]
    KeyFile,
    /// The wrong secret, or a changed file: they cannot be told apart.
    #[error("wrong password or key file, or the identity file is damaged")]
    Wrong,
}

/// An unlocked identity.
pub struct Unlocked {
    /// The node's key.
    pub root: RootKey,
    /// Public half of the recovery key; pods have none.
    pub recovery: Option<[u8; 32]>,
    /// Seals the rows of the store.
    pub rows: RowKey,
    database_key: Key32,
}

/// Random bytes for one sealing.
pub struct Fresh {
    /// Salt of the passphrase.
    pub salt: [u8; 16],
    /// Nonce of the file.
    pub nonce: [u8; 24],
    /// Nonce of the wrapped database key.
    pub inner: [u8; 24],
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Inside {
    #[n(0)]
    root: ByteArray<32>,
    #[n(1)]
    recovery: Option<ByteArray<32>>,
    #[n(2)]
    nonce: ByteArray<24>,
    #[n(3)]
    database_key: ByteVec,
}

impl Unlocked {
    /// A new identity with a new database key.
    #[must_use]
    pub fn new(root: RootKey, recovery: Option<[u8; 32]>, database_key: Key32) -> Unlocked {
        Unlocked {
            root,
            recovery,
            rows: RowKey::new(database_key.clone()),
            database_key,
        }
    }
}

/// The method of a file, to know what to ask for.
///
/// # Errors
/// When the header is malformed or its parameters are out of bounds.
pub fn method(file: &[u8]) -> Result<Method, UnlockError> {
    if file.len() < HEADER || file.len() > MAX_IDENTITY || !file.starts_with(MAGIC) {
        return Err(UnlockError::Format);
    }
    let number =
        |at: usize| u32::from_be_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]);
    match file[5] {
        1 => Cost {
            memory_kib: number(6),
            passes: number(10),
            lanes: number(14),
        }
        .bounded()
        .map(Method::Passphrase),
        2 if file[6..18] == [0; 12] => Ok(Method::KeyFile),
        _ => Err(UnlockError::Format),
    }
}

/// Seals an identity under `secret`; `cost` is for a passphrase.
///
/// # Errors
/// When the key file is too short or the cost is out of bounds.
///
/// # Panics
/// Never: the plaintext is within the cipher's bound.
pub fn seal(
    identity: &Unlocked,
    secret: &Secret<'_>,
    cost: Cost,
    fresh: &Fresh,
) -> Result<Vec<u8>, UnlockError> {
    let mut file = Vec::with_capacity(256);
    file.extend_from_slice(MAGIC);
    match secret {
        Secret::Passphrase(_) => {
            let cost = cost.bounded()?;
            file.push(1);
            [cost.memory_kib, cost.passes, cost.lanes]
                .iter()
                .for_each(|n| file.extend_from_slice(&n.to_be_bytes()));
        }
        Secret::KeyFile(_) => file.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    }
    file.extend_from_slice(&fresh.salt);
    file.extend_from_slice(&fresh.nonce);
    let local = XChaCha20Poly1305::new((&*identity.root.local_kek()).into());
    let wrapped = local
        .encrypt(&fresh.inner.into(), &identity.database_key[..])
        .expect("within the cipher's bound");
    let inside = Inside {
        root: (*identity.root.seed()).into(),
        recovery: identity.recovery.map(Into::into),
        nonce: fresh.inner.into(),
        database_key: wrapped.into(),
    };
    let plain = Zeroizing::new(enc::encode(&inside));
    let kek = kek(method(&file)?, secret, &fresh.salt)?;
    let sealed = XChaCha20Poly1305::new((&*kek).into())
        .encrypt(
            &fresh.nonce.into(),
            Payload {
                msg: &plain,
                aad: &file,
            },
        )
        .expect("within the cipher's bound");
    file.extend_from_slice(&sealed);
    Ok(file)
}

/// Opens an identity.
///
/// # Errors
/// `Wrong` for another secret and for a changed file alike.
pub fn open(file: &[u8], secret: &Secret<'_>) -> Result<Unlocked, UnlockError> {
    let method = method(file)?;
    let (head, sealed) = file.split_at(HEADER);
    let salt: &[u8; 16] = head[18..34].try_into().map_err(|_| UnlockError::Format)?;
    let nonce: [u8; 24] = head[34..].try_into().map_err(|_| UnlockError::Format)?;
    let kek = kek(method, secret, salt)?;
    let plain = XChaCha20Poly1305::new((&*kek).into()).decrypt(
        &nonce.into(),
        Payload {
            msg: sealed,
            aad: head,
        },
    );
    let plain = Zeroizing::new(plain.map_err(|_| UnlockError::Wrong)?);
    let inside: Inside = enc::decode(&plain).map_err(|_| UnlockError::Format)?;
    let root = RootKey::from_seed(&Zeroizing::new(*inside.root));
    let local = XChaCha20Poly1305::new((&*root.local_kek()).into());
    let key = Zeroizing::new(
        local
            .decrypt(&(*inside.nonce).into(), &inside.database_key[..])
            .map_err(|_| UnlockError::Format)?,
    );
    let key: Key32 = Zeroizing::new(key.as_slice().try_into().map_err(|_| UnlockError::Format)?);
    Ok(Unlocked::new(root, inside.recovery.map(Into::into), key))
}

fn kek(method: Method, secret: &Secret<'_>, salt: &[u8; 16]) -> Result<Key32, UnlockError> {
    match (method, secret) {
        (Method::Passphrase(cost), Secret::Passphrase(text)) => {
            let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
                .map_err(|_| UnlockError::Cost)?;
            let mut out = Zeroizing::new([0; 32]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(text.as_bytes(), salt, out.as_mut())
                .map_err(|_| UnlockError::Cost)?;
            Ok(out)
        }
        (Method::KeyFile, Secret::KeyFile(bytes)) => {
            if bytes.len() < KEY_FILE_BYTES {
                Err(UnlockError::KeyFile)
            } else {
                Ok(keys::derive(labels::KEYFILE, bytes))
            }
        }
        (Method::Passphrase(_), Secret::KeyFile(_)) => Err(UnlockError::Method {
            expected: "a password",
        }),
        (Method::KeyFile, Secret::Passphrase(_)) => Err(UnlockError::Method {
            expected: "a key file",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 19 << 10,
        passes: 2,
        lanes: 1,
    };

    fn identity() -> Unlocked {
        Unlocked::new(
            RootKey::from_seed(&[1; 32]),
            Some([2; 32]),
            Zeroizing::new([3; 32]),
        )
    }

    fn fresh() -> Fresh {
        Fresh {
            salt: [4; 16],
            nonce: [5; 24],
            inner: [6; 24],
        }
    }

    #[test]
    fn each_method_opens_with_its_secret_and_no_other() {
        let by_word = seal(
            &identity(),
            &Secret::Passphrase("open sesame"),
            CHEAP,
            &fresh(),
        )
        .unwrap();
        let by_file = seal(&identity(), &Secret::KeyFile(&[7; 32]), CHEAP, &fresh()).unwrap();
        for (file, secret) in [
            (&by_word, Secret::Passphrase("open sesame")),
            (&by_file, Secret::KeyFile(&[7; 32])),
        ] {
            let opened = open(file, &secret).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(
                (opened.root.node_id(), opened.recovery, *opened.database_key),
                (identity().root.node_id(), Some([2; 32]), [3; 32])
            );
        }
        assert_eq!(
            open(&by_word, &Secret::Passphrase("open says me")).err(),
            Some(UnlockError::Wrong)
        );
        assert_eq!(
            open(&by_file, &Secret::KeyFile(&[8; 32])).err(),
            Some(UnlockError::Wrong)
        );
        assert_eq!(
            open(&by_file, &Secret::KeyFile(&[7; 31])).err(),
            Some(UnlockError::KeyFile)
        );
        assert_eq!(
            open(&by_file, &Secret::Passphrase("x")).err(),
            Some(UnlockError::Method {
                expected: "a key file"
            })
        );
    }

    #[test]
    fn parameters_are_bounded_before_argon2_runs() {
        let file = seal(&identity(), &Secret::Passphrase("p"), CHEAP, &fresh()).unwrap();
        for (at, value) in [
            (6, 18u32 << 10),
            (6, (1 << 20) + 1),
            (6, u32::MAX),
            (10, 1),
            (10, 17),
            (14, 0),
            (14, 5),
        ] {
            let mut bad = file.clone();
            bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
            assert_eq!(method(&bad), Err(UnlockError::Cost), "{value} at {at}");
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let file = seal(&identity(), &Secret::KeyFile(&[7; 32]), CHEAP, &fresh()).unwrap();
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(open(&bad, &Secret::KeyFile(&[7; 32])).is_err(), "byte {at}");
        }
        for length in 0..file.len() {
            assert!(
                open(&file[..length], &Secret::KeyFile(&[7; 32])).is_err(),
                "cut to {length}"
            );
        }
    }
}
