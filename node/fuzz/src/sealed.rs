//! Sealed things: objects and the trees that they make, `identity.pk`, frames of the audit.

use polykey_core::audit::{self, Chain, Entry};
use polykey_core::epoch::ShapeKey;
use polykey_core::ids::{Address, EpochId, Tag, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::row::RowKey;
use polykey_core::seal::{self, Kind, MAX_BLOB, MAX_OBJECT, MAX_REFS, ObjectKeys};
use polykey_core::tree::{self, Edit, Keyring, Objects, Tree, Variant};
use polykey_core::unlock::{self, Method, Secret};
use std::collections::HashMap;
use std::error::Error;
use zeroize::Zeroizing;

/// What anyone reads of an object before it has a key: bounds hold, and what is accepted is ordered and of a size that sealing gives.
pub fn object_header(bytes: &[u8]) {
    if let Ok(header) = seal::header(bytes) {
        assert!(bytes.len() <= MAX_OBJECT && header.refs.len() <= MAX_REFS);
        assert!(header.refs.is_sorted_by(|a, b| a < b));
        let padded = bytes.len() - 64 - 32 * header.refs.len();
        assert_eq!(seal::pad(padded), padded);
        assert!(seal::open(&Keys::new().0, &VAULT.into(), bytes).is_err());
    }
}

const VAULT: [u8; 32] = [0x22; 32];

/// One epoch.
struct Keys(ObjectKeys);

impl Keys {
    fn new() -> Keys {
        let key = |n| Zeroizing::new([n; 32]);
        Keys(ObjectKeys::new(EpochId::from([1; 16]), key(2), key(3)))
    }
}

impl Keyring for Keys {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        (*epoch == self.0.epoch()).then_some(&self.0)
    }
}

#[derive(Default)]
struct Pile(HashMap<Address, Vec<u8>>);

impl Objects for Pile {
    fn object(&self, address: &Address) -> Result<Option<Vec<u8>>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.get(address).cloned())
    }
}

/// The "level" of a piece that stands for the chunk of a large value.
const FULL_CHUNK: u8 = 19;
/// Larger values are not read: an input of a few bytes can name many of them.
const MAX_READ: u64 = 1 << 20;

/// A tree by a writer who has the keys and follows no rule: each piece is one object, `level, number of refs, refs (places of earlier objects), body`, and the last is the
/// root. A level of 16 makes it a blob, 17 a list, 18 a note, 19 the chunk of a
/// large value, full of one byte.
pub fn tree(bytes: &[u8]) {
    let (keys, vault) = (Keys::new(), VaultId::from(VAULT));
    let (mut pile, mut made) = (Pile::default(), Vec::new());
    for piece in super::pieces(bytes).take(64) {
        let [level, refs, rest @ ..] = piece else {
            continue;
        };
        let (refs, body) = rest.split_at(usize::from(*refs).min(rest.len()));
        let mut refs: Vec<Address> = refs
            .iter()
            .filter_map(|at| made.get(usize::from(*at)).copied())
            .collect();
        refs.sort_unstable();
        refs.dedup();
        let full;
        let body = match body.first() {
            Some(byte) if level % 20 == FULL_CHUNK => {
                full = vec![*byte; MAX_BLOB];
                &full
            }
            _ => body,
        };
        let (kind, level) = match level % 20 {
            16 | FULL_CHUNK => (Kind::Blob, 0),
            17 => (Kind::List, 0),
            18 => (Kind::Note, 0),
            level => (Kind::Page, level),
        };
        if let Ok((address, object)) = seal::seal(&keys.0, &vault, kind, level, &refs, body) {
            assert_eq!(
                seal::open(&keys.0, &vault, &object).map(|(_, plain)| plain.to_vec()),
                Ok(body.to_vec())
            );
            pile.0.insert(address, object);
            made.push(address);
        }
    }
    let Some(root) = made.last() else { return };
    walk(&pile, &keys, vault, *root, made.first().copied());
}

fn walk(pile: &Pile, keys: &Keys, vault: VaultId, root: Address, other: Option<Address>) {
    let tree = Tree::new(pile, keys, vault, root);
    let listed = tree.range("");
    for (path, variants) in listed.iter().flatten() {
        let got = tree.get(path).expect("a listed path is found");
        assert_eq!(got.len(), variants.len());
        let same = |(a, b): (&Variant, &Variant)| a.same(b);
        assert!(
            got.iter().zip(variants).all(same),
            "a path is found as it is listed"
        );
        for variant in variants.iter().filter(|v| v.size <= MAX_READ) {
            if let Ok(value) = tree.read(variant) {
                assert_eq!(value.len() as u64, variant.size);
            }
        }
    }
    assert!(listed.iter().flatten().is_sorted_by(|(a, _), (b, _)| a < b));
    let _ = tree::missing(pile, &[], &root);
    if let Some(other) = other {
        let _ = tree::difference(pile, &[other], &root);
        let _ = tree.changes_since(&Tree::new(pile, keys, vault, other));
    }
    let put = Edit::Put {
        path: "m/n".to_owned(),
        mode: 0o444,
        value: Zeroizing::new(vec![7; 200]),
    };
    let remove = Edit::Remove {
        path: "a".to_owned(),
    };
    let shape = ShapeKey::new(Zeroizing::new([0x44; 32]));
    if let Ok(edited) = tree.edit(vec![put, remove], Tag::from([9; 16]), &shape, &keys.0) {
        assert!(
            edited
                .objects
                .iter()
                .all(|(_, object)| seal::header(object).is_ok())
        );
    }
}

/// `identity.pk` from a disk that somebody else wrote to: no Argon2 parameters out of bounds. (Argon2 itself is too slow to run here.)
pub fn identity(file: &[u8]) {
    if let Ok(Method::Passphrase(cost)) = unlock::method(file) {
        assert!((19 << 10..=1 << 20).contains(&cost.memory_kib) && (2..=16).contains(&cost.passes));
    }
    let _ = unlock::open(file, &Secret::KeyFile(&[5; 32]));
    let _ = unlock::open_by_root(file, RootKey::from_seed(&[1; 32]), None);
}

/// A file of the audit: frames as they are on a disk, and each piece as an entry that this store sealed.
pub fn audit(bytes: &[u8]) {
    let rows = RowKey::new(Zeroizing::new([1; 32]));
    let mut rest = bytes;
    while let Ok(Some((sealed, after))) = audit::split_frame(rest) {
        let _ = Entry::open(&rows, 0, 0, sealed);
        assert!(after.len() < rest.len());
        rest = after;
    }
    let mut chain = Chain::default();
    for piece in super::pieces(bytes) {
        let place = [[0; 8], chain.next.to_be_bytes()].concat();
        let sealed = rows.seal(0xA0, &place, piece, [3; 24]);
        let Ok(entry) = Entry::open(&rows, 0, chain.next, &sealed) else {
            continue;
        };
        let before = chain.next;
        if chain.take(&entry).is_ok() {
            assert_eq!((entry.seq, chain.head), (before, entry.hash()));
        }
        if let Some(path) = &entry.subject.path {
            let _ = path.open(&rows);
        }
        let frame = entry.seal(&rows, 0, [4; 24]);
        assert!(
            matches!(audit::split_frame(&frame), Ok(Some((_, [])))),
            "what was read can be written"
        );
    }
}
