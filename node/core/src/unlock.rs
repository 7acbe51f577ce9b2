//! `identity.pk`: the root key, the public half of the recovery key and the wrapped database key, under an unlock method: a passphrase for people, a key file for pods.
//!
//! ```text
//! "PKID"   1   method (1 passphrase, 2 key file)   params 12   salt 16   nonce 24   box nonce 24   box 48   ciphertext
//! params of a passphrase: u32 memory in KiB, u32 passes, u32 lanes of Argon2id v1.3 (RFC 9106); of a key file: zeros
//! box        = XChaCha20-Poly1305(local kek of the root key, box nonce, AAD = "polykey/1 db key\0" ‖ node id, database key)
//! ciphertext = XChaCha20-Poly1305(kek of the method, nonce, AAD = all bytes before it, CBOR [root seed, recovery public key or null])
//! ```
//!
//! The box stands outside the ciphertext, so that the words alone (they give the root key) open a store whose password is lost.

use crate::codec;
use crate::enc;
use crate::keys::{self, Key32, RootKey};
use crate::labels;
use crate::row::RowKey;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, Zeroizing};

const MAGIC: &[u8; 5] = b"PKID\x01";
/// Everything before the ciphertext.
const HEADER: usize = 5 + 1 + 12 + 16 + 24 + 24 + BOX;
/// Where the nonce, the nonce of the box and the box begin.
const NONCE_AT: usize = 5 + 1 + 12 + 16;
const BOX_NONCE_AT: usize = NONCE_AT + 24;
const BOX_AT: usize = BOX_NONCE_AT + 24;
/// A wrapped database key: 32 bytes and a tag.
const BOX: usize = 48;
/// The plaintext: two byte strings of 32 bytes in an array.
const MAX_INSIDE: usize = 1 + 2 * 34;
/// The most bytes of the file: the header and some 90 bytes of ciphertext, with room for later fields.
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
    /// Fewer bytes than [`KEY_FILE_BYTES`], or more than [`MAX_KEY_FILE`].
    #[error("a key file has {KEY_FILE_BYTES} to {MAX_KEY_FILE} random bytes")]
    KeyFile,
    /// The root key is not the one that the file was made for, or the file was changed.
    #[error("these words belong to another identity, or the identity file is damaged")]
    OtherIdentity,
    /// Argon2 needs memory that this machine does not give.
    #[error("not enough memory to check the password ({0} MiB)")]
    Memory(u32),
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
    /// Nonce of the box.
    pub inner: [u8; 24],
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Inside {
    #[n(0)]
    root: ByteArray<32>,
    #[n(1)]
    #[cbor(with = "codec::nullable", has_nil)]
    recovery: Option<ByteArray<32>>,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.root.zeroize();
    }
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

    /// The same store under another root key.
    #[must_use]
    pub fn with_root(self, root: RootKey) -> Unlocked {
        Unlocked { root, ..self }
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
            for n in [cost.memory_kib, cost.passes, cost.lanes] {
                file.extend_from_slice(&n.to_be_bytes());
            }
        }
        Secret::KeyFile(_) => file.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    }
    file.extend_from_slice(&fresh.salt);
    file.extend_from_slice(&fresh.nonce);
    file.extend_from_slice(&fresh.inner);
    let database_key = Payload {
        msg: &identity.database_key[..],
        aad: &box_aad(&identity.root),
    };
    let boxed = local(&identity.root).encrypt(&fresh.inner.into(), database_key);
    file.extend_from_slice(&boxed.expect("within the cipher's bound"));

    let inside = Inside {
        root: (*identity.root.seed()).into(),
        recovery: identity.recovery.map(Into::into),
    };
    let plain = enc::encode_secret(&inside, MAX_INSIDE);
    let kek = kek(method(&file)?, secret, &fresh.salt)?;
    let inside = Payload {
        msg: &plain,
        aad: &file,
    };
    let sealed = XChaCha20Poly1305::new((&*kek).into()).encrypt(&fresh.nonce.into(), inside);
    file.extend_from_slice(&sealed.expect("within the cipher's bound"));
    Ok(file)
}

/// Opens an identity.
///
/// # Errors
/// `Wrong` for another secret and for a changed file alike.
pub fn open(file: &[u8], secret: &Secret<'_>) -> Result<Unlocked, UnlockError> {
    let method = method(file)?;
    let (head, sealed) = file.split_at(HEADER);
    let kek = kek(method, secret, part(file, NONCE_AT - 16)?)?;
    let plain = XChaCha20Poly1305::new((&*kek).into()).decrypt(
        part::<24>(file, NONCE_AT)?.into(),
        Payload {
            msg: sealed,
            aad: head,
        },
    );
    let plain = Zeroizing::new(plain.map_err(|_| UnlockError::Wrong)?);
    let inside: Inside = enc::decode(&plain).map_err(|_| UnlockError::Format)?;
    let root = RootKey::from_seed(&inside.root);
    open_by_root(file, root, inside.recovery.map(Into::into))
}

/// Opens the identity of a root key that came from the words, whatever the unlock method: the way back in when a password is forgotten.
///
/// # Errors
/// `OtherIdentity` when the file is not this root key's, or its box was changed.
pub fn open_by_root(
    file: &[u8],
    root: RootKey,
    recovery: Option<[u8; 32]>,
) -> Result<Unlocked, UnlockError> {
    method(file)?;
    let boxed = Payload {
        msg: &file[BOX_AT..HEADER],
        aad: &box_aad(&root),
    };
    let key = local(&root).decrypt(part::<24>(file, BOX_NONCE_AT)?.into(), boxed);
    let key = Zeroizing::new(key.map_err(|_| UnlockError::OtherIdentity)?);
    let key: Key32 = Zeroizing::new(key.as_slice().try_into().map_err(|_| UnlockError::Format)?);
    Ok(Unlocked::new(root, recovery, key))
}

fn part<const N: usize>(file: &[u8], at: usize) -> Result<&[u8; N], UnlockError> {
    file[at..].first_chunk().ok_or(UnlockError::Format)
}

fn local(root: &RootKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&*root.local_kek()).into())
}

fn box_aad(root: &RootKey) -> Vec<u8> {
    [labels::DB_KEY.as_bytes(), &[0], root.node_id().as_bytes()].concat()
}

fn kek(method: Method, secret: &Secret<'_>, salt: &[u8; 16]) -> Result<Key32, UnlockError> {
    match (method, secret) {
        (Method::Passphrase(cost), Secret::Passphrase(text)) => {
            argon2id(cost, text.as_bytes(), salt)
        }
        (Method::KeyFile, Secret::KeyFile(bytes)) => {
            if (KEY_FILE_BYTES..=MAX_KEY_FILE).contains(&bytes.len()) {
                Ok(keys::derive(labels::KEYFILE, bytes))
            } else {
                Err(UnlockError::KeyFile)
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

/// Argon2id in memory that is asked for politely, since the amount is a file's word, and wiped afterwards.
fn argon2id(cost: Cost, passphrase: &[u8], salt: &[u8; 16]) -> Result<Key32, UnlockError> {
    let cost = cost.bounded()?;
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32))
        .map_err(|_| UnlockError::Cost)?;
    let blocks = params.block_count();
    let mut memory = Zeroizing::new(Vec::new());
    memory
        .try_reserve_exact(blocks)
        .map_err(|_| UnlockError::Memory(cost.memory_kib >> 10))?;
    memory.resize(blocks, Block::new());
    let mut out = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase, salt, out.as_mut(), &mut memory[..])
        .map_err(|_| UnlockError::Cost)?;
    Ok(out)
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
    fn the_root_key_alone_opens_what_a_lost_password_locks() {
        let secret = Secret::KeyFile(&[7; 32]);
        let file = seal(&identity(), &secret, CHEAP, &fresh()).unwrap();
        let root = |seed| RootKey::from_seed(&[seed; 32]);
        let opened = open_by_root(&file, root(1), Some([2; 32])).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(*opened.database_key, [3; 32]);
        let other = open_by_root(&file, root(9), None).err();
        assert_eq!(other, Some(UnlockError::OtherIdentity));
        for at in BOX_NONCE_AT..HEADER {
            let mut bad = file.clone();
            bad[at] ^= 1;
            let changed = open_by_root(&bad, root(1), None).err();
            assert_eq!(changed, Some(UnlockError::OtherIdentity), "byte {at}");
        }
        for length in 0..HEADER {
            assert!(
                open_by_root(&file[..length], root(1), None).is_err(),
                "cut to {length}"
            );
        }
    }

    #[test]
    fn another_root_key_opens_the_same_store_and_the_old_one_opens_nothing() {
        let secret = Secret::KeyFile(&[7; 32]);
        let moved = identity().with_root(RootKey::from_seed(&[9; 32]));
        let file = seal(&moved, &secret, CHEAP, &fresh()).unwrap();
        let opened = open(&file, &secret).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            (opened.root.node_id(), opened.recovery, *opened.database_key),
            (
                RootKey::from_seed(&[9; 32]).node_id(),
                Some([2; 32]),
                [3; 32]
            )
        );
        let old = open_by_root(&file, identity().root, None).err();
        assert_eq!(old, Some(UnlockError::OtherIdentity));
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
            let opened = open(&bad, &Secret::Passphrase("p")).err();
            assert_eq!(opened, Some(UnlockError::Cost), "{value} at {at}");
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
