//! sled's `conf`, the file of its settings. sled writes it once, in two steps and without a sync, and an agent whose database has half of it does not start again. What it says
//! is the same for every store of this version, so a torn one is taken away before sled reads it: sled then writes it anew, and here it is synced before anything is acknowledged.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The file's name.
const FILE: &str = "conf";
/// The check at its end, CRC-32 (IEEE 802.3) of all before it, little-endian.
const CHECK: usize = 4;

/// Takes the file away if its check does not hold.
///
/// # Errors
/// When it cannot be read or removed.
pub fn remove_torn(dir: &Path) -> io::Result<()> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if is_whole(&bytes) {
        return Ok(());
    }
    tracing::warn!(store = %dir.display(), "the settings of the database were cut off by a crash; they are written again");
    fs::remove_file(&path)
}

/// Puts it on the disk. Its name is there once the directory is synced too.
///
/// # Errors
/// When it is not there or cannot be synced.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir.join(FILE))?.sync_all()
}

fn is_whole(bytes: &[u8]) -> bool {
    bytes
        .split_last_chunk::<CHECK>()
        .is_some_and(|(body, check)| !body.is_empty() && crc32(body) == u32::from_le_bytes(*check))
}

fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let shift = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), shift)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::scratch_key;
    use crate::store::{Batch, Store, Table};

    #[test]
    fn the_check_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_store_whose_settings_were_cut_off_anywhere_opens_with_all_that_it_held() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let store = Store::open(dir.path(), scratch_key()).unwrap();
        let mut batch = Batch::default();
        batch.put(Table::Peer, b"k", b"v".to_vec());
        runtime.block_on(store.commit(batch)).unwrap();
        drop(store);
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        assert!(is_whole(&whole));
        for torn in [
            Vec::new(),
            whole[..whole.len() - 1].to_vec(),
            whole[..whole.len() - CHECK].to_vec(),
            vec![0; whole.len()],
        ] {
            fs::write(&path, torn).unwrap();
            let store = Store::open(dir.path(), scratch_key()).unwrap();
            assert_eq!(&store.get(Table::Peer, b"k").unwrap().unwrap()[..], b"v");
            drop(store);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }
}
