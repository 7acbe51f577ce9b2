use super::*;
use crate::identity::Identity;
use crate::vaults::{Until, VaultError, Vaults};
use polykey_core::control::Role;
use polykey_core::ids::VaultId;
use polykey_core::keys::Words;
use polykey_core::tree::Edit;
use polykey_core::wire::{Double, SignedStart};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;
use zeroize::Zeroizing;

const KEY_FILE: [u8; 32] = [7; 32];

/// A device that does not run: all that it is stands in a folder.
struct Device(TempDir);

struct Running {
    store: Arc<Store>,
    vaults: Arc<Vaults>,
}

impl Device {
    /// With two vaults of its own.
    async fn new() -> (Device, Vec<VaultId>) {
        let dir = tempfile::tempdir().unwrap();
        identity::create_for_key_file(dir.path(), &KEY_FILE).unwrap();
        let device = Device(dir);
        let running = device.start().await;
        let mut vaults = Vec::new();
        for name in ["app", "personal"] {
            let vault = running.vaults.create(name).await.unwrap();
            let put = Edit::Put {
                path: "db".into(),
                mode: 0o444,
                value: Zeroizing::new(name.into()),
            };
            running.vaults.edit(&vault, vec![put], None).await.unwrap();
            vaults.push(vault);
        }
        (device, vaults)
    }

    fn open(&self) -> Identity {
        identity::open(self.0.path(), &Secret::KeyFile(&KEY_FILE)).unwrap()
    }

    /// As the agent does.
    async fn start(&self) -> Running {
        let Identity {
            root,
            recovery,
            rows,
            ..
        } = self.open();
        let store = Store::open(&identity::store_dir(self.0.path()), rows).unwrap();
        let secret = Secret::KeyFile(&KEY_FILE);
        let root = settle(self.0.path(), &store, root, &secret).await.unwrap();
        let vaults = Vaults::open(store.clone(), root, recovery).unwrap();
        Running { store, vaults }
    }
}

impl Device {
    /// Of these words, opened by the key file all the same.
    fn of_words(words: &Words) -> Device {
        let dir = tempfile::tempdir().unwrap();
        identity::create(dir.path(), words, "a password").unwrap();
        let (password, key) = (Secret::Passphrase("a password"), Secret::KeyFile(&KEY_FILE));
        identity::change_secret(dir.path(), &password, &key).unwrap();
        Device(dir)
    }
}

/// A device is one node in its file and in all its vaults, can read and write them, and nothing is left to be done.
async fn assert_is(device: &Device, node: NodeId, vaults: &[VaultId]) {
    let running = device.start().await;
    assert_eq!(running.vaults.me(), node);
    assert_eq!(device.open().node_id(), node);
    assert!(!running.store.has(Table::Meta, ROW).unwrap());
    for (vault, name) in vaults.iter().zip(["app", "personal"]) {
        let members = running.vaults.members(vault).unwrap().members;
        let members: Vec<_> = members.iter().map(|m| (m.node, m.role)).collect();
        assert_eq!(members, [(node, Role::Owner)]);
        let got = running.vaults.get(vault, "db", None).unwrap();
        assert_eq!(&got.value[..], name.as_bytes());
        let put = Edit::Put {
            path: "more".into(),
            mode: 0o444,
            value: Zeroizing::new(b"1".to_vec()),
        };
        running.vaults.edit(vault, vec![put], None).await.unwrap();
    }
}

fn key(n: u8) -> RootKey {
    RootKey::from_seed(&[n; 32])
}

#[tokio::test]
async fn a_change_of_the_key_that_is_cut_off_anywhere_ends_as_one_node_or_the_other() {
    type Cut = fn(&Device, &RootKey);
    let cuts: [(&str, Cut); 3] = [
        ("after the batch", |_, _| {}),
        ("while the new file was written", |device, _| {
            let torn = device.0.path().join("identity.pk.next.1");
            fs::write(torn, b"PKID\x01\x02").unwrap();
        }),
        ("before the row was removed", |device, new| {
            let new = RootKey::from_seed(&new.seed());
            identity::change_root(device.0.path(), &Secret::KeyFile(&KEY_FILE), new).unwrap();
        }),
    ];
    for (n, (cut, then)) in (9..).zip(cuts) {
        let (device, vaults) = Device::new().await;
        let old = device.open().node_id();
        let running = device.start().await;
        let moved = running.vaults.move_to(&key(n)).await.unwrap();
        assert_eq!(moved.vaults.len(), 2, "{cut}");
        drop(running);
        assert_eq!(
            device.open().node_id(),
            old,
            "only a start changes the file"
        );
        then(&device, &key(n));
        // The second start finds everything done.
        for _ in 0..2 {
            assert_is(&device, key(n).node_id(), &vaults).await;
        }
        let left = files(device.0.path());
        let left = left
            .iter()
            .filter(|f| f.to_string_lossy().contains(".next"));
        assert_eq!(left.count(), 0, "{cut}");
        // And once more.
        let running = device.start().await;
        running.vaults.move_to(&key(n + 20)).await.unwrap();
        drop(running);
        assert_is(&device, key(n + 20).node_id(), &vaults).await;
    }
}

#[tokio::test]
async fn a_change_of_the_key_whose_batch_is_not_on_the_disk_has_not_happened() {
    let (device, vaults) = Device::new().await;
    let old = device.open().node_id();
    let before = tempfile::tempdir().unwrap();
    copy(&identity::store_dir(device.0.path()), before.path());
    let running = device.start().await;
    running.vaults.move_to(&key(9)).await.unwrap();
    let late = running.vaults.create("late").await;
    assert!(matches!(late, Err(VaultError::KeyChanged(_))));
    drop(running);
    // The disk lost the batch, whole.
    fs::remove_dir_all(identity::store_dir(device.0.path())).unwrap();
    copy(before.path(), &identity::store_dir(device.0.path()));
    assert_is(&device, old, &vaults).await;
}

#[tokio::test]
async fn a_key_that_an_old_copy_of_the_store_waits_for_is_let_go_of() {
    let (device, _) = Device::new().await;
    let running = device.start().await;
    running.vaults.move_to(&key(9)).await.unwrap();
    drop(running);
    let secret = Secret::KeyFile(&KEY_FILE);
    identity::change_root(device.0.path(), &secret, key(30)).unwrap();
    let running = device.start().await;
    assert_eq!(running.vaults.me(), key(30).node_id());
    assert!(!running.store.has(Table::Meta, ROW).unwrap());
}

#[tokio::test]
async fn the_key_is_sealed_in_its_row_and_the_old_file_is_wiped() {
    let (device, _) = Device::new().await;
    let running = device.start().await;
    running.vaults.move_to(&key(9)).await.unwrap();
    drop(running);
    let seed = key(9).seed();
    for file in files(device.0.path()) {
        let bytes = fs::read(&file).unwrap();
        let shown = bytes.windows(32).any(|w| w == &seed[..]);
        assert!(!shown, "{}", file.display());
    }
    let path = device.0.path().join("identity.pk");
    let old = fs::File::open(&path).unwrap();
    drop(device.start().await);
    let left = {
        use std::io::Read;
        let mut left = Vec::new();
        { old }.read_to_end(&mut left).unwrap();
        left
    };
    assert!(!left.is_empty() && left.iter().all(|b| *b == 0));
}

#[tokio::test]
async fn a_thief_who_goes_on_as_this_node_keeps_nobody_from_taking_a_vault_back() {
    let words = Words::from_entropy(&[0x41; 32]);
    let device = Device::of_words(&words);
    let Running { store, vaults } = device.start().await;
    let vault = vaults.create("app").await.unwrap();
    // A peer shows a later start of the same node: the thief's.
    let root = words.identity().root;
    let mine = SignedStart::of(&root, [1; 16], store.boot());
    let theirs = SignedStart::of(&root, [2; 16], 50);
    let peer = key(3).node_id();
    let standing = vaults.standing();
    let shown = standing.shown_double(&mine, theirs.bytes(), false, peer);
    assert_eq!(shown.await.unwrap(), Some(Double::Yields));
    for refused in [
        vaults.create("other").await.map(drop),
        vaults.move_to(&key(9)).await.map(drop),
    ] {
        assert!(matches!(refused, Err(VaultError::Yielded { boot: 50 })));
    }
    let same = vaults.recover(&vault, &words, Until::Now).await;
    assert!(matches!(same, Err(VaultError::SameKey)), "{same:?}");
    let back = vaults.recover_as(&vault, &words, Until::Now, &key(9)).await;
    assert_eq!(back.unwrap().0.replaced, [root.node_id()]);
    drop((store, vaults));

    let Running { vaults, .. } = device.start().await;
    assert_eq!(vaults.me(), key(9).node_id());
    assert_eq!(vaults.standing().yielded(), None);
    vaults.create("other").await.unwrap();
    assert_eq!(vaults.summary_of(&vault).unwrap().owners, [vaults.me()]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.push(entry.path());
        }
    }
    all
}
