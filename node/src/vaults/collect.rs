//! Lets go of what no version needs: an owner's prune, and the collection of objects by refs. No key is used, and headers and operations always stay.
//!
//! A collection walks what is needed in steps, without a lock. What is not needed it removes in slices, each under the vault's writing lock and after a walk over what came since:
//! so nothing that a writer or a peer's version builds on goes, and nobody waits longer than for one slice.

use super::entry::{Entry, Inner};
use super::{VaultError, Vaults, now_ms, rows};
use crate::store::{Batch, Table};
use polykey_core::commit::Header;
use polykey_core::control::{Control, Role, SignedOp};
use polykey_core::ids::{Address, CommitId, VaultId};
use polykey_core::prune::{self, Marking};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long an object is spared: a version that it belongs to may be on its way. Also how new a pruned version may be and keeps its tree: peers a little behind build on it.
pub const SPARED: Duration = Duration::from_hours(1);
/// Objects of one step of the walk, and of one slice that is removed: a few milliseconds each.
const SLICE: usize = 256;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that were looked at.
    pub seen: u64,
    /// Objects that are gone.
    pub removed: u64,
    /// Bytes of those.
    pub bytes: u64,
}

/// Which version a prune keeps.
pub enum Keep {
    /// This one, as a person names it.
    Version(String),
    /// The newest that is older than this, in Unix milliseconds.
    Before(u64),
    /// The newest of all.
    Newest,
}

/// What a prune let go of.
#[derive(Debug)]
pub struct Pruned {
    /// The version that is kept: what it builds on is let go of. `None` when no version is as old as was asked.
    pub keep: Option<CommitId>,
    /// Versions whose contents are let go of, here and by this and earlier prunes.
    pub versions: u64,
    /// It was so before.
    pub unchanged: bool,
}

impl Vaults {
    /// Lets everyone drop the contents of all versions that one builds on.
    ///
    /// # Errors
    /// `Role` when this node is no owner; `NoSuch` without such a version.
    pub async fn prune(&self, vault: &VaultId, keep: &Keep) -> Result<Pruned, VaultError> {
        let entry = self.entry(vault)?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        self.need_role(&entry, Role::Owner)?;
        self.may_write()?;
        let (keep, control, floor) = {
            let inner = entry.read();
            if inner.control.needs_upgrade().is_some() {
                return Err(VaultError::NeedsUpgrade);
            }
            (
                inner.to_keep(keep)?,
                Control::clone(&inner.control),
                inner.floor(),
            )
        };
        let Some(keep) = keep.filter(|keep| !control.state().pruned().any(|k| k == keep)) else {
            return Ok(Pruned {
                keep,
                versions: entry.read().prunable.len() as u64,
                unchanged: true,
            });
        };
        let mut control = control;
        let op = SignedOp::sign(control.prune(self.me, keep), &self.key);
        let at = control.len();
        control.apply(&op)?;
        let mut batch = Batch::default();
        rows::put_op(&mut batch, vault, at, op.bytes());
        let mut floor = floor;
        floor.control = control.heads();
        rows::put_floor(&mut batch, vault, &floor);
        let place = move |inner: &mut Inner| {
            inner.judge(&control);
            inner.control = Arc::new(control);
        };
        self.change(&entry, one_writer, batch, place).await?;
        let versions = entry.read().prunable.len() as u64;
        Ok(Pruned {
            keep: Some(keep),
            versions,
            unchanged: false,
        })
    }

    /// What [`Vaults::prune`] would let go of.
    ///
    /// # Errors
    /// As there.
    pub fn would_prune(&self, vault: &VaultId, keep: &Keep) -> Result<Pruned, VaultError> {
        let entry = self.entry(vault)?;
        self.need_role(&entry, Role::Owner)?;
        let inner = entry.read();
        let keep = inner.to_keep(keep)?;
        let before = inner.control.state();
        let keeps = before.pruned().chain(&keep);
        let versions = prune::prunable(&inner.commits, keeps).len() as u64;
        Ok(Pruned {
            keep,
            versions,
            unchanged: keep.is_none_or(|keep| before.pruned().any(|k| *k == keep)),
        })
    }

    /// Removes the objects of a vault that no kept version needs and that have been here for `age`. `pins` are versions that stay whatever was pruned.
    ///
    /// # Errors
    /// When an object cannot be read: then nothing more is removed.
    pub async fn collect(
        &self,
        vault: &VaultId,
        pins: &HashSet<CommitId>,
        age: Duration,
    ) -> Result<Collected, VaultError> {
        let entry = self.entry(vault)?;
        let objects = self.objects(&entry);
        self.let_go(&entry, pins, age).await?;
        let mut marking = Marking::default();
        need(&entry.read(), &mut marking);
        while marking.step(&objects, SLICE)? {
            tokio::task::yield_now().await;
        }
        let (mut done, mut after) = (Collected::default(), None::<Vec<u8>>);
        loop {
            let slice =
                self.store
                    .keys(Table::Object, vault.as_bytes(), after.as_deref(), SLICE)?;
            let Some((last, _)) = slice.last() else { break };
            after = Some(last.clone());
            done.seen += slice.len() as u64;
            let idle: Vec<(Address, u64)> = slice
                .iter()
                .filter_map(|(key, bytes)| Some((Address::try_from(key.get(32..)?).ok()?, *bytes)))
                .filter(|(a, _)| !marking.needs(a) && entry.is_older(a, age))
                .collect();
            if !idle.is_empty() {
                let _one_writer = entry.writing.clone().lock_owned().await;
                need(&entry.read(), &mut marking);
                while marking.step(&objects, SLICE)? {}
                let mut batch = Batch::default();
                let gone = |(a, _): &&(Address, u64)| !marking.needs(a) && entry.is_older(a, age);
                for (address, bytes) in idle.iter().filter(gone) {
                    batch.remove(Table::Object, &rows::pair(vault, address.as_bytes()));
                    done.removed += 1;
                    done.bytes += bytes;
                }
                self.store.commit(batch).await?;
            }
            tokio::task::yield_now().await;
        }
        self.quotas.give_back(vault, done.bytes);
        entry.write().collected_ms = Some(now_ms());
        Ok(done)
    }

    /// Lets go of the pruned versions: from here on their contents count as not here. What is shown, what somebody pinned, and what is as new as that peers may build on it stays.
    async fn let_go(
        &self,
        entry: &Entry,
        pins: &HashSet<CommitId>,
        age: Duration,
    ) -> Result<(), VaultError> {
        let _one_writer = entry.writing.clone().lock_owned().await;
        let gone: Vec<CommitId> = {
            let inner = entry.read();
            let pinned = pins
                .iter()
                .flat_map(|p| inner.heads_of(p).unwrap_or_default());
            let pinned: HashSet<CommitId> = pinned.collect();
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let old = now_ms().saturating_sub(age);
            let goes = |id: &&CommitId| {
                let date = inner.commits.get(id).map_or(u64::MAX, |h| h.time_ms);
                let stays = pinned.contains(*id) || inner.heads.contains(id) || date > old;
                !stays && !inner.lean.contains(*id)
            };
            inner.prunable.iter().filter(goes).copied().collect()
        };
        if gone.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for id in &gone {
            rows::put_lean(&mut batch, &entry.id, id);
        }
        self.store.commit(batch).await?;
        entry.write().lean.extend(gone);
        Ok(())
    }

    /// Collects in every vault, and gives the disk back what came free. A vault in which that fails does not keep the others from it.
    pub async fn collect_all(&self, pins: &HashSet<CommitId>, age: Duration) {
        for entry in self.all() {
            match self.collect(&entry.id, pins, age).await {
                Ok(done) if done.removed > 0 => {
                    tracing::info!(vault = %entry.id.short(), objects = done.removed, bytes = done.bytes, "what no version needs is gone");
                }
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!(vault = %entry.id.short(), error = &e as &dyn std::error::Error, "what no version needs stays for now");
                }
            }
        }
        if let Err(e) = self.store.reclaim().await {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "the disk does not get back what came free"
            );
        }
    }

    /// Bytes of the store, and when it was last collected, unix milliseconds.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub fn store_size(&self) -> Result<(u64, Option<u64>), VaultError> {
        let collected = self
            .all()
            .iter()
            .filter_map(|e| e.read().collected_ms)
            .max();
        Ok((self.store.size()?, collected))
    }
}

/// Notes all that is needed now: the trees of the versions that are here or on their way. What is shown is always among them.
fn need(inner: &Inner, marking: &mut Marking) {
    let gone = |id: &CommitId| inner.lean.contains(id) && inner.prunable.contains(id);
    for (id, root) in prune::roots(&inner.commits, gone) {
        marking.need(id, root);
    }
    for early in &inner.arriving.early {
        marking.need_object(early.payload().root);
    }
}

impl Inner {
    fn to_keep(&self, keep: &Keep) -> Result<Option<CommitId>, VaultError> {
        match keep {
            Keep::Version(text) => match self.find_version(text)? {
                (_, heads) if heads.len() == 1 => Ok(heads.first().copied()),
                _ => Err(VaultError::NoSuch(format!("one commit called {text}"))),
            },
            Keep::Newest => Ok(self.newest_head()),
            Keep::Before(ms) => {
                let here = self.commits.reachable(&self.heads);
                let old = |(id, h): &(&CommitId, &Header)| {
                    h.valid && here.contains(*id) && h.time_ms < *ms
                };
                let newest = self.commits.iter().filter(old);
                Ok(newest
                    .max_by_key(|(id, h)| (h.time_ms, **id))
                    .map(|(id, _)| *id))
            }
        }
    }
}
