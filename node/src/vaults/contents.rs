//! Contents of a vault as its members see them: read, listed, written. What is read of several heads is what they show together.

use super::entry::{Entry, Inner, VaultObjects};
use super::files::Stored;
use super::secrets::{NO_VAULT, Secrets};
use super::{VaultError, Vaults, now_ms, random, rows};
use crate::store::{Batch, Table};
use polykey_core::commit::{MAX_PARENTS, SignedCommit};
use polykey_core::control::{self, Control, Role, SignedOp};
use polykey_core::epoch::{self, EpochRecord, EpochSecret, Place, ShapeKey};
use polykey_core::ids::{CommitId, NodeId, VaultId};
use polykey_core::tree::{self, Edit, Tree, Variant};
use polykey_core::view;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use zeroize::Zeroizing;

/// What a write did.
#[derive(Debug)]
pub struct Edited {
    /// The version that is at the head now.
    pub version: CommitId,
    /// Paths that changed; empty when nothing differed and no version was made.
    pub changed: Vec<String>,
}

/// A secret that was read.
pub struct Got {
    /// Its bytes.
    pub value: Zeroizing<Vec<u8>>,
    /// The version that was read.
    pub version: CommitId,
    /// There are other values beside it: see [`Vaults::conflicts`].
    pub conflict: bool,
}

/// One secret in a listing.
#[derive(Debug)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// Bytes of its value.
    pub size: u64,
    /// Its mode.
    pub mode: u32,
    /// The commit that wrote it, when it is known here.
    pub version: Option<CommitId>,
    /// Its date, unix milliseconds.
    pub changed_ms: Option<u64>,
    /// Its author.
    pub by: Option<NodeId>,
    /// Several values stand side by side.
    pub conflict: bool,
}

/// A listing.
#[derive(Debug, Default)]
pub struct Listing {
    /// The version that is listed; `None` while nothing was committed.
    pub version: Option<CommitId>,
    /// By path.
    pub entries: Vec<Listed>,
}

impl Vaults {
    /// Makes a vault, of which this node is the owner. It has no version until something is written.
    ///
    /// # Errors
    /// When the name cannot be one or is taken.
    pub async fn create(&self, name: &str) -> Result<VaultId, VaultError> {
        self.may_write()?;
        self.check_name(name, None)?;
        let (shape, secret) = (ShapeKey::new(random()?), EpochSecret::new(random()?));
        let nowhere = VaultId::from(NO_VAULT);
        let id = secret.id();
        let place = Place {
            vault: &nowhere,
            epoch: &id,
            to: &self.me,
            from: &self.me,
        };
        let wrapped = epoch::wrap(place, &shape, &[&secret], &random()?)?;
        let record = EpochRecord {
            commitment: secret.commitment().into(),
            before: Vec::new(),
            wraps: vec![wrapped],
        };
        let op = control::genesis(
            self.me,
            *random()?,
            shape.commitment(),
            self.recovery,
            record,
        );
        let signed = SignedOp::sign(op, &self.key);
        let control = Control::new(&signed)?;
        let vault = control.vault();

        let mut batch = Batch::default();
        rows::put_vault(&mut batch, &vault, Some(name), Some(&shape));
        rows::put_op(&mut batch, &vault, 0, signed.bytes());
        rows::put_secret(&mut batch, &vault, &secret);
        let entry = Entry::new(
            vault,
            Some(name.to_owned()),
            control,
            Secrets::new(Some(shape), [secret]),
        );
        rows::put_floor(&mut batch, &vault, &entry.read().floor());
        self.add(entry, batch).await?;
        Ok(vault)
    }

    /// Reads one secret, of the shown version or of the one that `version` names: of several values side by side the newest.
    ///
    /// # Errors
    /// `NoSuch` when the path or version is not there.
    pub fn get(
        &self,
        vault: &VaultId,
        path: &str,
        version: Option<&str>,
    ) -> Result<Got, VaultError> {
        let opened = self.open_value(vault, path, version)?;
        Ok(Got {
            value: opened.value.whole()?,
            version: opened.version,
            conflict: opened.conflict,
        })
    }

    /// Lists every secret whose path begins with `prefix`.
    ///
    /// # Errors
    /// When a page cannot be read.
    pub fn list_paths(&self, vault: &VaultId, prefix: &str) -> Result<Listing, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Reader)?;
        let Some(reading) = self.reading(&entry, None)? else {
            return Ok(Listing::default());
        };
        let objects = self.objects(&entry);
        let contents = reading.view.open(&objects, &*reading.secrets, entry.id);
        let found = contents.range(prefix)?;
        let inner = entry.read();
        let listed = |(path, variants): (String, Vec<Variant>)| {
            let shown = view::newest(&inner.commits, &variants)?;
            let version = inner.commits.by_tag(&shown.tag).copied();
            let header = version.and_then(|v| inner.commits.get(&v));
            Some(Listed {
                path,
                size: shown.size,
                mode: shown.mode,
                version,
                changed_ms: header.map(|h| h.time_ms),
                by: header.map(|h| h.author),
                conflict: variants.len() > 1,
            })
        };
        Ok(Listing {
            version: Some(reading.version),
            entries: found.into_iter().filter_map(listed).collect(),
        })
    }

    /// Applies `edits` as one commit, on top of all versions that stand side by side. With `expect` only when the vault is at that version.
    ///
    /// # Errors
    /// `Moved` when it is at another, `Role` when this node may not write. Then nothing was changed.
    pub async fn edit(
        &self,
        vault: &VaultId,
        edits: Vec<Edit>,
        expect: Option<CommitId>,
    ) -> Result<Edited, VaultError> {
        self.write(vault, edits, None, expect).await
    }

    /// The same, and a large value whose chunks are stored, with its path and mode.
    pub(super) async fn write(
        &self,
        vault: &VaultId,
        edits: Vec<Edit>,
        file: Option<(String, u32, Stored)>,
        expect: Option<CommitId>,
    ) -> Result<Edited, VaultError> {
        let entry = self.entry(vault)?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        self.need_role(&entry, Role::Writer)?;
        let (signed, mut batch, changed) = {
            let inner = entry.read();
            check_writable(&inner, expect)?;
            self.next_version(&entry, &inner, edits, file)?
        };
        let version = CommitId::from(signed.id());
        if changed.is_empty() {
            let version = entry
                .read()
                .shown()
                .ok_or_else(|| VaultError::NoSuch("anything to remove".to_owned()))?;
            return Ok(Edited { version, changed });
        }
        rows::put_commit(&mut batch, vault, &version, signed.bytes());
        let mut floor = entry.read().floor();
        floor
            .heads
            .retain(|head| !signed.payload().parents.contains(head));
        floor.heads.push(version);
        floor.seq = signed.payload().seq;
        rows::put_floor(&mut batch, vault, &floor);
        let id = entry.id;
        let place = move |inner: &mut Inner| take_own(inner, &id, &signed);
        self.change(&entry, one_writer, batch, place).await?;
        Ok(Edited { version, changed })
    }

    /// The version that edits make of what is shown, the rows of its objects, and which paths it changes of those that were asked for.
    fn next_version(
        &self,
        entry: &Entry,
        inner: &Inner,
        mut edits: Vec<Edit>,
        file: Option<(String, u32, Stored)>,
    ) -> Result<(SignedCommit, Batch, Vec<String>), VaultError> {
        let vault = &entry.id;
        let keys = inner.secrets.writing(&inner.control)?;
        let shape = inner.secrets.shape().ok_or(VaultError::Pending)?;
        let mut new = HashMap::new();
        let mut batch = Batch::default();
        if let Some((path, mode, stored)) = file {
            let (size, list, object) = stored.list(&keys, &mut batch)?;
            rows::put_object(&mut batch, vault, &list, object.clone());
            new.insert(list, object);
            edits.push(Edit::File {
                path,
                mode,
                size,
                list,
            });
        }
        let asked: BTreeSet<String> = edits.iter().map(|e| e.path().to_owned()).collect();
        // Of more versions side by side than one can build on the others stay for the next.
        let parents: Vec<CommitId> = inner.heads.iter().take(MAX_PARENTS).copied().collect();
        let view = if parents == inner.heads {
            self.view(entry, inner)?
        } else {
            self.view_of(entry, inner, &parents)?.map(Arc::new)
        };
        let root = if let Some(view) = &view {
            view.root()
        } else {
            let (root, object) = tree::empty(&keys, vault)?;
            new.insert(root, object);
            root
        };
        let objects = VaultObjects {
            store: &self.store,
            vault,
            new: Some(&new),
        };
        let together = view.as_ref().map(|view| view.edits(&inner.commits));
        let all = together.into_iter().flatten().chain(edits).collect();
        let nonce = *random()?;
        let (me, control) = (self.me, &inner.control);
        let tag = inner.commits.next_tag(&parents, me, control, nonce);
        let edited =
            Tree::new(&objects, &*inner.secrets, *vault, root).edit(all, tag, shape, &keys)?;
        // What the heads' coming together changes nobody asked for.
        let settled = view.iter().flat_map(|v| v.differing().map(str::to_owned));
        let changed: BTreeSet<String> = edited.changed.into_iter().chain(settled).collect();
        let changed = changed.intersection(&asked).cloned().collect();
        let commits = &inner.commits;
        let commit = commits.next(&parents, me, control, edited.root, nonce, now_ms());
        for (address, bytes) in edited.objects {
            entry.born(address);
            rows::put_object(&mut batch, vault, &address, bytes);
        }
        // A removal of everything leaves the empty tree, whose page nobody sealed yet.
        if let Some(bytes) = new.remove(&edited.root) {
            rows::put_object(&mut batch, vault, &edited.root, bytes);
        }
        Ok((SignedCommit::sign(commit, &self.key), batch, changed))
    }

    pub(super) fn objects<'a>(&'a self, entry: &'a Entry) -> VaultObjects<'a> {
        VaultObjects {
            store: &self.store,
            vault: &entry.id,
            new: None,
        }
    }

    /// The signed bytes of a commit.
    pub(super) fn commit_bytes(
        &self,
        vault: &VaultId,
        commit: &CommitId,
    ) -> Result<Vec<u8>, VaultError> {
        let row = self
            .store
            .get(Table::Commit, &rows::pair(vault, commit.as_bytes()))?;
        row.map(|r| r.to_vec())
            .ok_or(VaultError::Row("a commit that is in memory"))
    }
}

/// Gives an own version its place. Its author is this node, its parents are the heads, its log is this one: nothing of it can be refused.
fn take_own(inner: &mut Inner, vault: &VaultId, signed: &SignedCommit) {
    let control = inner.control.clone();
    if let Err(e) = inner.commits.restore(signed, &control) {
        tracing::error!(
            error = &e as &dyn std::error::Error,
            "an own version does not fit"
        );
    }
    inner.heads = inner.whole_heads();
    inner.own_seq = signed.payload().seq;
    inner.note_placed(vault, &signed.id().into());
}

fn check_writable(inner: &Inner, expect: Option<CommitId>) -> Result<(), VaultError> {
    if inner.control.needs_upgrade().is_some() {
        return Err(VaultError::NeedsUpgrade);
    }
    if inner.awaits_contents() && inner.heads.is_empty() {
        return Err(VaultError::Pending);
    }
    match expect {
        Some(expected) if inner.shown() != Some(expected) => Err(VaultError::Moved {
            expected,
            found: inner.shown(),
        }),
        _ => Ok(()),
    }
}
