//! The key that takes the place of this device's own. It is drawn before anything else is done with it, and stands in the store, sealed as every row, until `identity.pk` has it:
//!
//! | step | on the disk | a start then |
//! |---|---|---|
//! | 1 | one batch: the key in a row, and in every vault the operation that gives the old key's place to it | goes on with step 2 |
//! | 2 | `identity.pk` with the new key, the old file's blocks wiped | goes on with step 3 |
//! | 3 | the row is gone | has nothing to do |
//!
//! Whatever is cut off where, the next start ends in one of two states: nothing has happened, or the device is the new node everywhere. Steps 2 and 3 are only ever done by a start, so
//! the way after a crash is the way that is always gone.

use crate::identity::{self, IdentityError};
use crate::standing;
use crate::store::{Batch, Store, StoreError, Table};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use polykey_core::enc;
use polykey_core::ids::NodeId;
use polykey_core::keys::RootKey;
use polykey_core::unlock::Secret;
use std::path::Path;
use zeroize::Zeroize;

/// Version of the row.
const ROW_VERSION: u8 = 1;
/// Its key in [`Table::Meta`].
const ROW: &[u8] = b"next-key";
/// Bytes of a row: an array of a number and two byte strings of 32 bytes.
const MAX_ROW: usize = 2 + 2 * 34;

/// Why a change of the key could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum SuccessorError {
    /// The identity.
    #[error(
        "this device's new key could not be written into its identity; the next start tries again"
    )]
    Identity(#[from] IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row that this program did not write.
    #[error("the row of this device's next key is damaged")]
    Row,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Row {
    #[n(0)]
    version: u8,
    /// The node that it takes the place of.
    #[n(1)]
    old: NodeId,
    #[n(2)]
    seed: ByteArray<32>,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// Step 1, together with what gives the place of `old` to `key`.
pub fn put(batch: &mut Batch, old: &NodeId, key: &RootKey) {
    let row = Row {
        version: ROW_VERSION,
        old: *old,
        seed: (*key.seed()).into(),
    };
    batch.put(Table::Meta, ROW, enc::encode_secret(&row, MAX_ROW));
}

/// Steps 2 and 3, where they are due: gives the key that this device has from now on, once the disk has it. Works as long as a password takes to check: not on a thread of the runtime.
///
/// # Errors
/// When the identity or the store cannot be written: then nothing may go on, and the next start tries again.
pub async fn settle(
    node_path: &Path,
    store: &Store,
    root: RootKey,
    secret: &Secret<'_>,
) -> Result<RootKey, SuccessorError> {
    let Some(bytes) = store.get(Table::Meta, ROW)? else {
        return Ok(root);
    };
    let row: Row = enc::decode(&bytes).map_err(|_| SuccessorError::Row)?;
    if row.version != ROW_VERSION {
        return Err(SuccessorError::Row);
    }
    let new = RootKey::from_seed(&row.seed);
    let key = if root.node_id() == row.old {
        identity::change_root(node_path, secret, RootKey::from_seed(&row.seed))?;
        tracing::info!(old = %row.old.short(), new = %new.node_id().short(), "this device has its new key");
        new
    } else {
        // The file has it already; or it is that of a later change, and the store is an older copy.
        root
    };
    let mut batch = Batch::default();
    batch.remove(Table::Meta, ROW);
    if key.node_id() == RootKey::from_seed(&row.seed).node_id() {
        // Whoever had the old key beside this process has no part in the new one.
        standing::forget_other(&mut batch);
    }
    store.commit(batch).await?;
    Ok(key)
}

#[cfg(test)]
mod tests;
