//! What a node sends to a pod, as the fuzzer gives it (`node/fuzz`, target `pod_version`): its seeds, and changed copies of them. The node's own decoders are run by
//! `node/tests/decoders`.

#[path = "../../node/fuzz/src/pod.rs"]
mod pod;

use polykey_client::watch::{Body, Files, Frame};
use polykey_core::epoch::EpochSecret;
use polykey_core::ids::{Address, EpochId, Tag};
use polykey_core::seal::ObjectKeys;
use polykey_core::tree::{self, Edit, Keyring, Objects, Tree};
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

struct Ring(ObjectKeys);

impl Keyring for Ring {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        (*epoch == self.0.epoch()).then_some(&self.0)
    }
}

struct Memory(HashMap<Address, Vec<u8>>);

impl Objects for Memory {
    fn object(
        &self,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.get(address).cloned())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/fuzz/seeds/pod_version")
}

/// A stream with one version, of a value in the page, one in a blob and one in chunks.
fn stream() -> Vec<u8> {
    let (secret, control, key) = pod::vault();
    let (root, objects) = tree_of(&secret, &control.vault());
    let content = pod::content(&control, &key, &secret, root, objects);
    [vec![0], Frame::Snapshot(content).to_bytes()].concat()
}

fn tree_of(secret: &EpochSecret, vault: &polykey_core::ids::VaultId) -> (Address, Vec<Vec<u8>>) {
    let keys = secret.object_keys();
    let (root, empty) = tree::empty(&keys, vault).unwrap();
    let objects = Memory(HashMap::from([(root, empty)]));
    let ring = Ring(secret.object_keys());
    let put = |path: &str, size: usize| Edit::Put {
        path: path.into(),
        mode: 0o444,
        value: Zeroizing::new(vec![7; size]),
    };
    let edits = vec![put("a", 3), put("b/c", 300)];
    let edited = Tree::new(&objects, &ring, *vault, root)
        .edit(edits, Tag::from([8; 16]), &pod::shape(), &keys)
        .unwrap();
    (
        edited.root,
        edited.objects.into_iter().map(|(_, o)| o).collect(),
    )
}

fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let (secret, control, key) = pod::vault();
    let (root, objects) = tree_of(&secret, &control.vault());
    let mut files = pod::content(&control, &key, &secret, root, objects);
    files.body = Body::Files(Files {
        put: Vec::new(),
        removed: Vec::new(),
    });
    let files = [vec![0], Frame::Snapshot(files).to_bytes()].concat();
    vec![
        ("stream", stream()),
        ("files", files),
        ("empty-tree", vec![1, 0, 4, 2, 0x82, 1, 0x80]),
        ("blob-for-a-root", vec![1, 0, 3, 0, 1, 2]),
    ]
}

#[test]
fn the_version_of_the_seeds_verifies() {
    let (secret, control, key) = pod::vault();
    let (root, objects) = tree_of(&secret, &control.vault());
    let content = pod::content(&control, &key, &secret, root, objects);
    let (_, entries) = pod::taken(content).ok().unwrap();
    assert_eq!(entries.into_keys().collect::<Vec<_>>(), ["a", "b/c"]);
}

/// With `POLYKEY_WRITE_SEEDS` set it writes them instead.
#[test]
fn the_seeds_are_what_the_formats_give() {
    for (name, bytes) in examples() {
        let file = folder().join(name);
        if std::env::var_os("POLYKEY_WRITE_SEEDS").is_some() {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &bytes).unwrap();
        }
        assert!(
            fs::read(&file).unwrap_or_default() == bytes,
            "{name} is another: a format has changed; POLYKEY_WRITE_SEEDS=1 writes the seeds again"
        );
        pod::pod_version(&bytes);
    }
}

proptest! {
    /// A byte of a real stream is another, some are missing, or there is noise: no panic, and what is taken is whole.
    #[test]
    fn no_bytes_of_a_node_break_the_verification(at: prop::sample::Index, flip: u8, cut: prop::sample::Index, noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (_, mut bytes) in examples() {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            pod::pod_version(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            pod::pod_version(&bytes);
        }
        pod::pod_version(&noise);
    }
}
