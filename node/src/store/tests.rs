//! Rows come back whole or not at all, large ones too; and a store knows whose it is.

use super::packs::INLINE;
use super::testing::{plant, scratch_key, scratch_store};
use super::*;
use std::fs;

fn one(table: Table, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(table, key, value.to_vec());
    batch
}

fn address(object: &[u8]) -> Vec<u8> {
    [&[1; 32][..], seal::address(object).as_bytes()].concat()
}

#[tokio::test]
async fn rows_come_back_after_reopening_and_starts_are_counted() {
    let (dir, store) = scratch_store();
    assert_eq!(store.boot(), 1);
    store
        .commit(one(Table::Vault, b"k1", b"value"))
        .await
        .unwrap();
    store
        .commit(one(Table::Object, &address(b"object"), b"object"))
        .await
        .unwrap();
    drop(store);
    let store = Store::open(&dir.path().join("store"), scratch_key()).unwrap();
    assert_eq!(store.boot(), 2);
    assert_eq!(
        store.get(Table::Vault, b"k1").unwrap().unwrap().as_slice(),
        b"value"
    );
    assert_eq!(
        store
            .get(Table::Object, &address(b"object"))
            .unwrap()
            .unwrap()
            .as_slice(),
        b"object"
    );
    assert_eq!(store.scan(Table::Vault, b"k").count(), 1);
    let mut batch = Batch::default();
    batch.remove(Table::Vault, b"k1");
    store.commit(batch).await.unwrap();
    assert!(!store.has(Table::Vault, b"k1").unwrap());
}

#[test]
fn a_second_agent_on_one_store_is_told_so() {
    let (dir, _store) = scratch_store();
    let second = Store::open(&dir.path().join("store"), scratch_key());
    assert!(
        matches!(second, Err(StoreError::InUse { pid: Some(pid), .. }) if pid == std::process::id()),
        "{:?}",
        second.err()
    );
}

#[tokio::test]
async fn a_flipped_byte_in_a_row_of_any_sealed_table_is_an_error() {
    use Table::{
        Access, Audit, Broken, Commit, Epoch, Floor, Held, Jwks, Meta, Op, Peer, Vault, Wrap,
    };
    let (_dir, store) = scratch_store();
    for table in [
        Meta, Floor, Vault, Epoch, Op, Wrap, Commit, Peer, Access, Jwks, Audit, Held, Broken,
    ] {
        store
            .commit(one(table, b"key", b"some value"))
            .await
            .unwrap();
        let place = row_key(table, b"key");
        let row = store.db.get(&place).unwrap().unwrap();
        for at in 0..row.len() {
            let mut changed = row.to_vec();
            changed[at] ^= 0x40;
            plant(&store, &place, changed);
            assert!(
                matches!(store.get(table, b"key"), Err(StoreError::Damaged(t)) if t == table),
                "byte {at} of {table:?}"
            );
        }
        plant(&store, row_key(table, b"other"), row);
        assert!(
            store.get(table, b"other").is_err(),
            "a row of {table:?} in another place"
        );
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_large_row_or_in_an_object_of_any_size_is_an_error() {
    let (dir, store) = scratch_store();
    let (small, large) = (vec![1; 300], vec![2; 9_000]);
    for (table, key, value) in [
        (Table::Access, b"key".to_vec(), &large),
        (Table::Object, address(&large), &large),
        (Table::Object, address(&small), &small),
    ] {
        store.commit(one(table, &key, value)).await.unwrap();
        let place = row_key(table, &key);
        let row = store.db.get(&place).unwrap().unwrap();
        for at in 0..row.len() {
            let mut changed = row.to_vec();
            changed[at] ^= 1;
            plant(&store, &place, changed);
            assert!(
                matches!(store.get(table, &key), Err(StoreError::Damaged(t)) if t == table),
                "byte {at} of {table:?}"
            );
        }
        plant(&store, &place, row);
        assert_eq!(
            store.get(table, &key).unwrap().unwrap().as_slice(),
            value.as_slice()
        );
    }
    let pack = dir.path().join("store/packs/0.pack");
    let good = fs::read(&pack).unwrap();
    for at in [0, 4_000, 9_000, good.len() - 1] {
        let mut changed = good.clone();
        changed[at] ^= 1;
        fs::write(&pack, changed).unwrap();
        assert!(
            store.get(Table::Access, b"key").is_err()
                || store.get(Table::Object, &address(&large)).is_err(),
            "byte {at} of the pack"
        );
    }
}

#[tokio::test]
async fn sled_never_makes_a_file_that_it_does_not_sync() {
    let (dir, store) = scratch_store();
    for size in [
        200,
        INLINE - 100,
        INLINE,
        INLINE + 1,
        20_000,
        66_000,
        131_072,
    ] {
        for n in 0..40u8 {
            // Neighbours in one page: the worst case for its size.
            let object = vec![n; size];
            let mut batch = one(Table::Op, &[n, 0], &object);
            batch.put(Table::Object, &address(&object), object.clone());
            store.commit(batch).await.unwrap();
        }
    }
    let blobs = fs::read_dir(dir.path().join("store/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0);
}

#[tokio::test]
async fn large_rows_that_were_overwritten_give_their_space_back_at_the_next_start() {
    let (dir, store) = scratch_store();
    let row = |n: u8| vec![n; 1 << 20];
    store
        .commit(one(Table::Op, b"stays", &row(0)))
        .await
        .unwrap();
    for n in 0..70u8 {
        store
            .commit(one(Table::Access, b"set", &row(n)))
            .await
            .unwrap();
    }
    let size = |store: &Store| {
        store
            .packs
            .sizes()
            .unwrap()
            .iter()
            .map(|(_, size)| size)
            .sum::<u64>()
    };
    assert!(size(&store) > 70 << 20);
    drop(store);
    for _ in 0..2 {
        let store = Store::open(&dir.path().join("store"), scratch_key()).unwrap();
        assert!(size(&store) < 3 << 20, "{} bytes", size(&store));
        assert_eq!(
            store
                .get(Table::Access, b"set")
                .unwrap()
                .unwrap()
                .as_slice(),
            row(69).as_slice()
        );
        assert_eq!(
            store.get(Table::Op, b"stays").unwrap().unwrap().as_slice(),
            row(0).as_slice()
        );
    }
}

#[tokio::test]
async fn a_damaged_snapshot_of_the_database_costs_nothing() {
    let (dir, store) = scratch_store();
    store
        .commit(one(Table::Peer, b"p", b"value"))
        .await
        .unwrap();
    drop(store);
    let path = dir.path().join("store");
    drop(Store::open(&path, scratch_key()).unwrap());
    let is_snapshot = |e: &fs::DirEntry| e.file_name().to_string_lossy().starts_with("snap.");
    let snapshots: Vec<_> = fs::read_dir(&path)
        .unwrap()
        .flatten()
        .filter(is_snapshot)
        .collect();
    assert!(!snapshots.is_empty());
    for snapshot in snapshots {
        let mut bytes = fs::read(snapshot.path()).unwrap();
        bytes[3] ^= 1;
        fs::write(snapshot.path(), bytes).unwrap();
    }
    let store = Store::open(&path, scratch_key()).unwrap();
    assert_eq!(store.boot(), 3);
    assert_eq!(
        store.get(Table::Peer, b"p").unwrap().unwrap().as_slice(),
        b"value"
    );
}

#[tokio::test]
async fn a_store_knows_the_pod_that_made_it() {
    let (_dir, store) = scratch_store();
    store.belongs_to("polykey-0", false).await.unwrap();
    store.belongs_to("polykey-0", false).await.unwrap();
    let other = store.belongs_to("polykey-1", false).await.unwrap_err();
    assert!(
        matches!(&other, StoreError::OtherPod { made_by, .. } if made_by == "polykey-0"),
        "{other}"
    );
    store.belongs_to("polykey-1", true).await.unwrap();
    assert!(store.belongs_to("polykey-0", false).await.is_err());
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let (dir, store) = scratch_store();
    store
        .commit(one(
            Table::Meta,
            b"schema",
            &u64::from(SCHEMA + 1).to_be_bytes(),
        ))
        .await
        .unwrap();
    drop(store);
    let refused = Store::open(&dir.path().join("store"), scratch_key())
        .err()
        .unwrap();
    assert!(
        matches!(refused, StoreError::Newer { found, .. } if found == SCHEMA + 1),
        "{refused}"
    );
}

#[tokio::test]
async fn nothing_that_was_written_is_readable_in_the_files() {
    let (dir, store) = scratch_store();
    for i in 0..50u8 {
        store
            .commit(one(Table::Vault, &[i], b"planted-vault-name"))
            .await
            .unwrap();
    }
    drop(store);
    for entry in std::fs::read_dir(dir.path().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                !bytes.windows(18).any(|w| w == b"planted-vault-name"),
                "{}",
                path.display()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_syncs_and_lose_nothing() {
    let (dir, store) = scratch_store();
    let writers: Vec<_> = (0..8u8)
        .map(|w| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..50u8 {
                    store.commit(one(Table::Peer, &[w, n], &[n])).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    drop(store);
    let store = Store::open(&dir.path().join("store"), scratch_key()).unwrap();
    assert_eq!(store.scan(Table::Peer, b"").count(), 400);
}

#[tokio::test]
async fn a_pack_that_is_mostly_dead_is_given_back_while_others_write_and_read() {
    let (dir, store) = scratch_store();
    let value = |n: u8| vec![n; 64 << 10];
    for n in 0..100u8 {
        let mut batch = Batch::default();
        batch.put(Table::Access, &[n], value(n));
        store.commit(batch).await.unwrap();
    }
    let mut batch = Batch::default();
    for n in 10..100u8 {
        batch.remove(Table::Access, &[n]);
    }
    store.commit(batch).await.unwrap();
    let before = store.size().unwrap();
    let writer = store.clone();
    let writing = tokio::spawn(async move {
        for n in 100..120u8 {
            let mut batch = Batch::default();
            batch.put(Table::Access, &[n], vec![n; 64 << 10]);
            writer.commit(batch).await.unwrap();
        }
    });
    let freed = store.reclaim().await.unwrap();
    writing.await.unwrap();
    assert!(freed > 4 << 20 && store.size().unwrap() < before, "{freed}");
    let path = dir.path().join("store");
    drop(store);
    let store = Store::open(&path, testing::scratch_key()).unwrap();
    for n in (0..10).chain(100..120u8) {
        assert_eq!(
            store.get(Table::Access, &[n]).unwrap().unwrap().as_slice(),
            value(n),
            "{n}"
        );
    }
    assert_eq!(store.scan(Table::Access, b"").count(), 30);
    assert_eq!(
        store.reclaim().await.unwrap(),
        0,
        "nothing is left to give back"
    );
}
