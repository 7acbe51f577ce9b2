//! Values that are streamed: read piece by piece, and written chunk by chunk before the commit that names them. Whatever its size, a file costs this node about a batch of it
//! in memory.
//!
//! Chunks are in the store before any commit points to them. A write that breaks off leaves them to the collection of what nothing points to.

use super::entry::{Entry, VaultObjects};
use super::secrets::Secrets;
use super::{Edited, VaultError, Vaults, rows};
use crate::store::{Batch, Store};
use polykey_core::control::Role;
use polykey_core::ids::{Address, CommitId, VaultId};
use polykey_core::seal::{MAX_BLOB, ObjectKeys};
use polykey_core::tree::{self, Chunks, Edit, MAX_FILE, Pieces, Tree, TreeError, Variant};
use polykey_core::view;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Sealed bytes that go to the disk together: 16 chunks, so that syncs cost less than sealing.
const BATCH: usize = 1 << 20;

/// A value that is read piece by piece.
pub struct ValueReader {
    store: Arc<Store>,
    vault: VaultId,
    secrets: Arc<Secrets>,
    root: Address,
    pieces: Pieces,
}

impl ValueReader {
    /// Bytes of the value.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.pieces.size()
    }

    /// Bytes that were not read yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.pieces.left()
    }

    /// The next piece, at most 64 KiB; `None` behind the last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next_piece(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let objects = VaultObjects {
            store: &self.store,
            vault: &self.vault,
            new: None,
        };
        let tree = Tree::new(&objects, &*self.secrets, self.vault, self.root);
        Ok(tree.next_piece(&mut self.pieces)?)
    }

    /// All of it.
    ///
    /// # Errors
    /// When a piece cannot be read.
    pub fn whole(mut self) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let size = usize::try_from(self.size()).map_err(|_| VaultError::Row("a value"))?;
        let mut all = Zeroizing::new(Vec::with_capacity(size));
        while let Some(piece) = self.next_piece()? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// A secret that is opened for reading.
pub struct Opened {
    /// Its value.
    pub value: ValueReader,
    /// The version that is read.
    pub version: CommitId,
    /// There are other values beside it: see [`Vaults::conflicts`].
    pub conflict: bool,
}

/// A value on its way into a vault.
pub struct Incoming {
    entry: Arc<Entry>,
    store: Arc<Store>,
    keys: ObjectKeys,
    chunks: Chunks,
    /// What is not sealed yet: less than a chunk, or one of which it is not known yet whether more follows.
    rest: Zeroizing<Vec<u8>>,
    batch: Batch,
    batched: usize,
}

impl Incoming {
    /// Takes more of the value.
    ///
    /// # Errors
    /// `TooLarge` past 64 MiB; what failed when the store cannot be written.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), VaultError> {
        while !bytes.is_empty() {
            if self.rest.len() == MAX_BLOB {
                self.seal_rest()?;
                if self.batched >= BATCH {
                    self.flush().await?;
                }
            }
            let (now, later) = bytes.split_at(bytes.len().min(MAX_BLOB - self.rest.len()));
            let size = self.chunks.size() + (self.rest.len() + now.len()) as u64;
            if size > MAX_FILE {
                return Err(TreeError::TooLarge(size).into());
            }
            self.rest.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn seal_rest(&mut self) -> Result<(), VaultError> {
        let sealed = self
            .chunks
            .seal_next(&self.keys, &self.entry.id, &self.rest);
        let (address, object) = sealed?;
        self.rest.clear();
        self.batched += object.len();
        self.entry.born(address);
        rows::put_object(&mut self.batch, &self.entry.id, &address, object);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), VaultError> {
        self.batched = 0;
        self.store.commit(std::mem::take(&mut self.batch)).await?;
        Ok(())
    }

    /// The last chunk goes to the disk; of a value that fits into one object nothing has, and it is an ordinary write.
    pub(super) async fn end(mut self) -> Result<Arrived, VaultError> {
        if self.chunks.size() == 0 {
            return Ok(Arrived::Small(self.rest));
        }
        self.seal_rest()?;
        self.flush().await?;
        Ok(Arrived::Large(Stored {
            store: self.store,
            entry: self.entry,
            keys: self.keys,
            chunks: self.chunks,
        }))
    }
}

/// All of a value is here.
pub(super) enum Arrived {
    Small(Zeroizing<Vec<u8>>),
    Large(Stored),
}

/// A large value whose chunks are in the store and whose list is not made yet.
pub(super) struct Stored {
    store: Arc<Store>,
    entry: Arc<Entry>,
    keys: ObjectKeys,
    chunks: Chunks,
}

impl Stored {
    /// Its size and list, sealed with the keys that live now. When the epoch changed while the value arrived, somebody was removed meanwhile who could open the chunks: they are
    /// sealed again into `batch`.
    pub(super) fn list(
        self,
        keys: &ObjectKeys,
        batch: &mut Batch,
    ) -> Result<(u64, Address, Vec<u8>), VaultError> {
        let vault = self.entry.id;
        let mut chunks = self.chunks;
        if keys.epoch() != self.keys.epoch() {
            let mut again = Chunks::default();
            for address in chunks.order() {
                let row = super::entry::stored_object(&self.store, &vault, address)?
                    .ok_or(TreeError::Missing(*address))?;
                let plain = tree::open_chunk(&self.keys, &vault, &row)
                    .map_err(|e| TreeError::Seal(*address, e))?;
                let (address, object) = again.seal_next(keys, &vault, &plain)?;
                rows::put_object(batch, &vault, &address, object);
            }
            chunks = again;
        }
        let (list, object) = chunks.seal_list(keys, &vault)?;
        Ok((chunks.size(), list, object))
    }
}

impl Vaults {
    /// Opens one secret for reading, of the shown version or of the one that `version` names: of several values side by side the newest.
    ///
    /// # Errors
    /// `NoSuch` when the path or version is not there.
    pub fn open_value(
        &self,
        vault: &VaultId,
        path: &str,
        version: Option<&str>,
    ) -> Result<Opened, VaultError> {
        let missing = || VaultError::NoSuch(path.to_owned());
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Reader)?;
        let reading = self.reading(&entry, version)?.ok_or_else(missing)?;
        let objects = self.objects(&entry);
        let contents = reading.view.open(&objects, &*reading.secrets, entry.id);
        let variants = contents.get(path)?;
        let shown = view::newest(&entry.read().commits, &variants)
            .filter(|v| !path.ends_with('/') || v.object().is_some())
            .ok_or_else(missing)?;
        let pieces = contents.tree().pieces(shown)?;
        let root = reading.view.root();
        Ok(Opened {
            value: self.reader(vault, reading.secrets, root, pieces),
            version: reading.version,
            conflict: variants.len() > 1,
        })
    }

    /// Opens a value that stands in a page of the tree `root`.
    ///
    /// # Errors
    /// When its list cannot be read.
    pub fn open_variant(
        &self,
        vault: &VaultId,
        root: Address,
        variant: &Variant,
    ) -> Result<ValueReader, VaultError> {
        let entry = self.entry(vault)?;
        let secrets = entry.read().secrets.clone();
        let objects = self.objects(&entry);
        let pieces = Tree::new(&objects, &*secrets, *vault, root).pieces(variant)?;
        Ok(self.reader(vault, secrets, root, pieces))
    }

    fn reader(
        &self,
        vault: &VaultId,
        secrets: Arc<Secrets>,
        root: Address,
        pieces: Pieces,
    ) -> ValueReader {
        ValueReader {
            store: self.store.clone(),
            vault: *vault,
            secrets,
            root,
            pieces,
        }
    }

    /// Begins to take a value of any size. Nothing is visible of it until [`Vaults::put_file`].
    ///
    /// # Errors
    /// `Role` when this node may not write, `Pending` without the keys to do so.
    pub fn begin_file(&self, vault: &VaultId) -> Result<Incoming, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Writer)?;
        let keys = {
            let inner = entry.read();
            inner.secrets.writing(&inner.control)?
        };
        Ok(Incoming {
            entry,
            store: self.store.clone(),
            keys,
            chunks: Chunks::default(),
            rest: Zeroizing::new(Vec::with_capacity(MAX_BLOB)),
            batch: Batch::default(),
            batched: 0,
        })
    }

    /// Writes a value that has arrived as one commit, as [`Vaults::edit`].
    ///
    /// # Errors
    /// As [`Vaults::edit`].
    pub async fn put_file(
        &self,
        vault: &VaultId,
        path: String,
        mode: u32,
        value: Incoming,
        expect: Option<CommitId>,
    ) -> Result<Edited, VaultError> {
        match value.end().await? {
            Arrived::Small(value) => {
                let edit = Edit::Put { path, mode, value };
                self.edit(vault, vec![edit], expect).await
            }
            Arrived::Large(stored) => {
                self.write(vault, Vec::new(), Some((path, mode, stored)), expect)
                    .await
            }
        }
    }
}
