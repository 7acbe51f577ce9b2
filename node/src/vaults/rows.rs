//! What the rows of a vault hold. Keys begin with the vault's id, so that one scan gives all of one vault.

use super::VaultError;
use crate::store::{Batch, Table};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use polykey_core::enc;
use polykey_core::epoch::{EpochSecret, ShapeKey, WrapRecord};
use polykey_core::ids::{Address, CommitId, EpochId, OpId, VaultId};
use zeroize::Zeroizing;

/// Row of [`Table::Vault`].
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct VaultRow {
    #[n(0)]
    pub name: Option<String>,
    #[n(1)]
    pub shape: Option<ByteArray<32>>,
}

/// Row of [`Table::Floor`]: what this node has accepted, and must never be shown to have gone back from.
#[derive(Encode, Decode, Default, PartialEq, Eq, Debug)]
#[cbor(array)]
pub struct FloorRow {
    #[n(0)]
    pub control: Vec<OpId>,
    #[n(1)]
    pub heads: Vec<CommitId>,
    /// This node's own highest commit number.
    #[n(2)]
    pub seq: u64,
}

pub fn put_vault(batch: &mut Batch, vault: &VaultId, name: Option<&str>, shape: Option<&ShapeKey>) {
    let row = VaultRow {
        name: name.map(str::to_owned),
        shape: shape.map(|s| (*s.expose()).into()),
    };
    batch.put(Table::Vault, vault.as_bytes(), enc::encode(&row));
}

pub fn read_vault(row: &[u8]) -> Result<VaultRow, VaultError> {
    enc::decode(row).map_err(|_| VaultError::Row("a vault"))
}

pub fn put_floor(batch: &mut Batch, vault: &VaultId, floor: &FloorRow) {
    batch.put(Table::Floor, vault.as_bytes(), enc::encode(floor));
}

pub fn read_floor(row: &[u8]) -> Result<FloorRow, VaultError> {
    enc::decode(row).map_err(|_| VaultError::Row("a floor"))
}

/// Operations are numbered in an order in which parents come first.
pub fn put_op(batch: &mut Batch, vault: &VaultId, at: usize, bytes: &[u8]) {
    let at = u32::try_from(at).unwrap_or(u32::MAX).to_be_bytes();
    batch.put(
        Table::Op,
        &[&vault.as_bytes()[..], &at].concat(),
        bytes.to_vec(),
    );
}

/// Operations of kinds that this version does not evaluate stand behind all others.
pub fn put_newer_op(batch: &mut Batch, vault: &VaultId, id: &OpId, bytes: &[u8]) {
    let [a, b, c, d, ..] = *id.as_bytes();
    batch.put(
        Table::Op,
        &[&vault.as_bytes()[..], &[a | 0x80, b, c, d]].concat(),
        bytes.to_vec(),
    );
}

pub fn put_commit(batch: &mut Batch, vault: &VaultId, commit: &CommitId, bytes: &[u8]) {
    batch.put(
        Table::Commit,
        &pair(vault, commit.as_bytes()),
        bytes.to_vec(),
    );
}

/// A commit whose contents its author made wrong.
pub fn put_broken(batch: &mut Batch, vault: &VaultId, commit: &CommitId) {
    batch.put(Table::Broken, &pair(vault, commit.as_bytes()), Vec::new());
}

/// A commit whose tree is not here.
pub fn put_lean(batch: &mut Batch, vault: &VaultId, commit: &CommitId) {
    batch.put(Table::Lean, &pair(vault, commit.as_bytes()), Vec::new());
}

/// Its tree is here.
pub fn remove_lean(batch: &mut Batch, vault: &VaultId, commit: &CommitId) {
    batch.remove(Table::Lean, &pair(vault, commit.as_bytes()));
}

/// The commit that the key of a row of [`Table::Broken`] or [`Table::Lean`] names.
pub fn read_marked(key: &[u8]) -> Result<CommitId, VaultError> {
    key.get(32..)
        .and_then(|id| CommitId::try_from(id).ok())
        .ok_or(VaultError::Row("a mark at a commit"))
}

pub fn put_object(batch: &mut Batch, vault: &VaultId, address: &Address, bytes: Vec<u8>) {
    batch.put(Table::Object, &pair(vault, address.as_bytes()), bytes);
}

pub fn put_wrap(batch: &mut Batch, wrap: &WrapRecord, bytes: &[u8]) {
    batch.put(Table::Wrap, &wrap_key(wrap), bytes.to_vec());
}

/// One wrap is kept of an epoch, a receiver and a maker.
pub fn wrap_key(wrap: &WrapRecord) -> Vec<u8> {
    [
        wrap.vault.as_ref(),
        wrap.epoch.as_ref(),
        wrap.to.as_ref(),
        wrap.from.as_ref(),
    ]
    .concat()
}

pub fn put_secret(batch: &mut Batch, vault: &VaultId, secret: &EpochSecret) {
    batch.put(
        Table::Epoch,
        &pair(vault, secret.id().as_bytes()),
        secret.expose().to_vec(),
    );
}

pub fn read_secret(row: &Zeroizing<Vec<u8>>, key: &[u8]) -> Result<EpochSecret, VaultError> {
    let bytes: [u8; 32] = row
        .as_slice()
        .try_into()
        .map_err(|_| VaultError::Row("a secret"))?;
    let secret = EpochSecret::new(Zeroizing::new(bytes));
    let named = key.get(32..).and_then(|k| EpochId::try_from(k).ok());
    if named == Some(secret.id()) {
        Ok(secret)
    } else {
        Err(VaultError::Row("a secret"))
    }
}

/// `vault ‖ id`.
pub fn pair(vault: &VaultId, id: &[u8]) -> Vec<u8> {
    [&vault.as_bytes()[..], id].concat()
}
