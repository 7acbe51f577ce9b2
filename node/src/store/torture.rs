//! A writer that is killed without warning, again and again: what it was told to be durable is there, and no batch is there in part.
//!
//! A kill leaves the page cache alone, so this cannot see a missing sync; that the calls are made in order is the business of [`super::Disk::write`], and `tests/powercut` has disks
//! that lose what was not synced.

use super::testing::scratch_key;
use super::{Batch, Store, Table};
use polykey_core::seal;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Says where the writer writes; the test that is one does nothing without it.
const DIRECTORY: &str = "POLYKEY_TORTURED_STORE";

fn rounds() -> u64 {
    std::env::var("POLYKEY_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(24)
}

/// A value that tells of which batch it is: small in some, in a pack in others.
fn value(n: u64) -> Vec<u8> {
    n.to_be_bytes()
        .repeat(1 + usize::try_from(n * 131 % 2_000).unwrap_or(0))
}

fn object_key(n: u64) -> Vec<u8> {
    [&[7; 32][..], seal::address(&value(n)).as_bytes()].concat()
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..rounds() {
        acknowledged = acknowledged.max(write_until_killed(dir.path(), 1 + round * 7 % 40));
        let store = Store::open(dir.path(), scratch_key()).unwrap();
        let mut n = 0u64;
        loop {
            let counted = store.get(Table::Peer, &n.to_be_bytes()).unwrap();
            let object = store.get(Table::Object, &object_key(n)).unwrap();
            assert_eq!(
                counted.is_some(),
                object.is_some(),
                "round {round}: batch {n} is there in part"
            );
            if counted.is_none() {
                break;
            }
            n += 1;
        }
        assert!(
            n >= acknowledged,
            "round {round}: {acknowledged} batches were acknowledged and {n} are there"
        );
        assert_eq!(
            store.scan(Table::Peer, b"").count() as u64,
            n,
            "round {round}: a batch without those before it"
        );
        acknowledged = n;
    }
    assert!(acknowledged >= rounds(), "the writer got somewhere");
}

/// Lets the writer acknowledge `batches` and kills it in the middle of whatever it does then. Gives how many batches there are at least.
fn write_until_killed(dir: &Path, batches: u64) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::torture::a_writer_that_will_be_killed",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut last = 0;
    let told = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("durable ")?.parse::<u64>().ok());
    for n in told.take(usize::try_from(batches).unwrap()) {
        last = n;
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    last
}

#[test]
#[ignore = "only as the child of the test above"]
fn a_writer_that_will_be_killed() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let store = Store::open(Path::new(&dir), scratch_key()).unwrap();
    let first = store.scan(Table::Peer, b"").count() as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for n in first.. {
        let mut batch = Batch::default();
        batch.put(Table::Peer, &n.to_be_bytes(), value(n));
        batch.put(Table::Object, &object_key(n), value(n));
        runtime.block_on(store.commit(batch)).unwrap();
        let mut out = std::io::stdout().lock();
        // The test harness may still have half a line of its own out there.
        writeln!(out, "\ndurable {}", n + 1)
            .and_then(|()| out.flush())
            .unwrap();
    }
}
