//! A disk that is full, that may only be read, or that gives back other bytes than were written: an error, and never wrong data; and nothing that was
//! acknowledged is missing when there is room again.
//!
//! The disks are small ones in memory, mounted by a child of the test in a mount namespace of its own, so that nothing is left behind however it ends.

use super::testing::{plant, scratch_key, scratch_store};
use super::{Batch, Store, StoreError, Table, row_key};
use polykey_core::seal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the child's disk is mounted; a test that is a child does nothing without it.
const DISK: &str = "POLYKEY_SMALL_DISK";
/// Size of that disk: sled's first segment is half of a megabyte, so it takes some dozen batches.
const SIZE: &str = "6m";

/// Runs a test of this file as a child with a small disk; `false` where no disk can be mounted.
fn on_a_small_disk(child: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={SIZE} none \"${DISK}\"");
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .env(DISK, dir.path())
            .stdin(Stdio::null());
        command
    };
    let can = in_namespace(&mount).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("no disk can be mounted here: {child} was not run");
        return false;
    }
    let run = in_namespace(&format!("{mount} && exec \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr)
    );
    true
}

fn disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

/// A row in sled, and one large enough to stand in a pack.
fn batch(n: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table::Peer, &n.to_be_bytes(), vec![7; 3_000]);
    let object = object(n);
    batch.put(Table::Object, &object_key(n), object);
    batch
}

fn object(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(1_500)
}

fn object_key(n: u64) -> Vec<u8> {
    [&[7; 32][..], seal::address(&object(n)).as_bytes()].concat()
}

/// Writes until a write fails; gives how many were acknowledged.
async fn fill(store: &Store, first: u64) -> (u64, StoreError) {
    for n in first.. {
        if let Err(e) = store.commit(batch(n)).await {
            return (n, e);
        }
    }
    unreachable!("a disk without an end")
}

fn holds(store: &Store, count: u64) {
    for n in 0..count {
        let row = store.get(Table::Peer, &n.to_be_bytes()).unwrap();
        assert_eq!(row.unwrap().as_slice(), [7; 3_000], "row {n}");
        let row = store.get(Table::Object, &object_key(n)).unwrap();
        assert_eq!(row.unwrap().as_slice(), object(n), "object {n}");
    }
}

#[test]
fn a_full_disk_stops_writing_and_loses_nothing_that_was_acknowledged() {
    on_a_small_disk("store::faults::the_disk_fills");
}

#[tokio::test]
#[ignore = "only as the child of the test above"]
async fn the_disk_fills() {
    let Some(disk) = disk() else { return };
    let path = disk.join("store");
    // Something else takes most of the room, and gives it back later.
    std::fs::write(disk.join("ballast"), vec![1; 3 << 20]).unwrap();
    let store = Store::open(&path, scratch_key()).unwrap();
    let (written, error) = fill(&store, 0).await;
    assert!(written > 10, "{written} before {error:?}");
    assert!(store.is_stopped());
    let again = store.commit(batch(1_000_000)).await;
    assert!(matches!(again, Err(StoreError::Stopped)), "{again:?}");
    holds(&store, written);
    drop(store);

    // Still full: it opens or says why, and what is there is right.
    match Store::open(&path, scratch_key()) {
        Ok(store) => holds(&store, written),
        Err(e) => assert!(
            matches!(e, StoreError::Io { .. } | StoreError::Database { .. }),
            "{e:?}"
        ),
    }
    std::fs::remove_file(disk.join("ballast")).unwrap();
    let store = Store::open(&path, scratch_key()).unwrap();
    holds(&store, written);
    store.commit(batch(written)).await.unwrap();
    drop(store);
    holds(&Store::open(&path, scratch_key()).unwrap(), written + 1);
}

#[test]
fn a_disk_that_turns_read_only_stops_writing_and_opens_again_when_it_is_not() {
    on_a_small_disk("store::faults::the_disk_turns_read_only");
}

#[tokio::test]
#[ignore = "only as the child of the test above"]
async fn the_disk_turns_read_only() {
    let Some(disk) = disk() else { return };
    let remount = |how: &str| {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,{how}")])
            .arg(&disk)
            .status();
        assert!(done.unwrap().success(), "{how}");
    };
    let path = disk.join("store");
    let store = Store::open(&path, scratch_key()).unwrap();
    for n in 0..20 {
        store.commit(batch(n)).await.unwrap();
    }
    drop(store);
    remount("ro");
    let refused = Store::open(&path, scratch_key()).err().unwrap();
    assert!(
        matches!(refused, StoreError::Io { .. } | StoreError::Database { .. }),
        "{refused:?}"
    );
    remount("rw");
    let store = Store::open(&path, scratch_key()).unwrap();
    holds(&store, 20);
    store.commit(batch(20)).await.unwrap();
}

/// Everything that is stored, as sled has it.
fn rows(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = store.db.below(b"").map(Result::unwrap);
    all.map(|(key, row)| (key.to_vec(), row.to_vec())).collect()
}

fn table_of(place: &[u8]) -> Table {
    let all = [
        Table::Meta,
        Table::Floor,
        Table::Vault,
        Table::Epoch,
        Table::Op,
        Table::Wrap,
        Table::Commit,
        Table::Object,
        Table::Peer,
        Table::Access,
        Table::Jwks,
        Table::Audit,
        Table::Held,
        Table::Seen,
    ];
    let table = all.into_iter().find(|t| *t as u8 == place[0]);
    table.expect("a table of this program")
}

/// A store of a node that was used: a vault with members and versions, some values large.
async fn used_store() -> (tempfile::TempDir, std::sync::Arc<Store>) {
    use crate::vaults::Vaults;
    use polykey_core::control::Role;
    use polykey_core::keys::RootKey;
    use polykey_core::tree::Edit;
    let (dir, store) = scratch_store();
    let vaults = Vaults::open(store.clone(), RootKey::from_seed(&[1; 32]), None).unwrap();
    let vault = vaults.create("payments").await.unwrap();
    for (n, size) in [10, 200, 9_000].into_iter().enumerate() {
        let put = Edit::Put {
            path: format!("db/{n}"),
            mode: 0o444,
            value: zeroize::Zeroizing::new(vec![u8::try_from(n).unwrap(); size]),
        };
        vaults.edit(&vault, vec![put], None).await.unwrap();
    }
    let member = RootKey::from_seed(&[2; 32]).node_id();
    vaults
        .grant(&vault, member, Role::Writer, None, None)
        .await
        .unwrap();
    store.belongs_to("polykey-0", false).await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn every_changed_byte_and_every_two_rows_in_each_other_s_place_are_an_error() {
    let (dir, store) = used_store().await;
    let all = rows(&store);
    assert!(all.len() > 12, "{} rows", all.len());
    let read = |place: &[u8]| store.get(table_of(place), &place[1..]);
    let mut tried = 0;
    for (place, row) in &all {
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 1 << (at % 8);
            plant(&store, place, changed);
            assert!(read(place).is_err(), "byte {at} of {place:?}");
            tried += 1;
        }
        plant(&store, place, row.as_slice());
        assert!(read(place).unwrap().is_some());
    }
    let pairs = (0..all.len()).flat_map(|a| (a + 1..all.len()).map(move |b| (a, b)));
    for (a, b) in pairs {
        let ((one, first), (other, second)) = (&all[a], &all[b]);
        plant(&store, one, second.as_slice());
        plant(&store, other, first.as_slice());
        assert!(read(one).is_err() && read(other).is_err(), "{a} and {b}");
        plant(&store, one, first.as_slice());
        plant(&store, other, second.as_slice());
        tried += 1;
    }
    tried += sweep_packs(&store, &dir.path().join("store/packs"), &all);
    assert!(tried > 4_000, "{tried} changes");
}

/// The same for the bytes of packs: a row that stands there is an error, or is right since the byte is no row's.
fn sweep_packs(store: &Store, packs: &Path, all: &[(Vec<u8>, Vec<u8>)]) -> usize {
    let packed: Vec<&[u8]> = all
        .iter()
        .filter(|(_, row)| row[0] == super::PACKED)
        .map(|(place, _)| place.as_slice())
        .collect();
    assert!(!packed.is_empty());
    let value = |place: &&[u8]| store.get(table_of(place), &place[1..]);
    let right: Vec<_> = packed.iter().map(|p| value(p).unwrap().unwrap()).collect();
    let mut tried = 0;
    for pack in std::fs::read_dir(packs).unwrap() {
        let pack = pack.unwrap().path();
        let good = std::fs::read(&pack).unwrap();
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 0x10;
            std::fs::write(&pack, changed).unwrap();
            let mut errors = 0;
            for (place, right) in packed.iter().zip(&right) {
                match value(place) {
                    Ok(found) => assert_eq!(found.unwrap().as_slice(), right.as_slice()),
                    Err(_) => errors += 1,
                }
            }
            assert!(errors <= 1, "one byte is one row's");
            tried += 1;
        }
        std::fs::write(&pack, good).unwrap();
    }
    tried
}

/// Opens the vaults over a store with one row changed at a time: what they then give is right, or an error.
#[tokio::test]
async fn vaults_over_a_damaged_store_give_what_was_written_or_nothing() {
    use crate::vaults::Vaults;
    use polykey_core::keys::RootKey;
    let (_dir, store) = used_store().await;
    let all = rows(&store);
    let (mut refused, mut right) = (0, 0);
    for (n, (place, row)) in all.iter().enumerate() {
        let mut changed = row.clone();
        let at = n * 31 % row.len();
        changed[at] ^= 2;
        plant(&store, place, changed);
        match Vaults::open(store.clone(), RootKey::from_seed(&[1; 32]), None) {
            Err(_) => refused += 1,
            Ok(vaults) => {
                for summary in vaults.list() {
                    assert_eq!(summary.name.as_deref(), Some("payments"));
                    for (n, size) in [10, 200, 9_000].into_iter().enumerate() {
                        if let Ok(got) = vaults.get(&summary.id, &format!("db/{n}"), None) {
                            assert_eq!(*got.value, vec![u8::try_from(n).unwrap(); size]);
                            right += 1;
                        }
                    }
                }
            }
        }
        plant(&store, place, row.as_slice());
    }
    assert!(refused > 5 && right > 0, "{refused} refused, {right} right");
}

/// What the sweep would miss if the store did not look: a row that is taken as it is.
#[tokio::test]
async fn a_row_under_another_table_s_number_is_an_error() {
    let (_dir, store) = used_store().await;
    for (place, row) in rows(&store) {
        let table = table_of(&place);
        let other = if table == Table::Held {
            Table::Peer
        } else {
            Table::Held
        };
        plant(&store, row_key(other, &place[1..]), row);
        assert!(store.get(other, &place[1..]).is_err(), "{table:?}");
    }
}
