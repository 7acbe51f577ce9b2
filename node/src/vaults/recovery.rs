//! Taking a vault back with the words of who made it, and giving those words up.

use super::entry::{Entry, Inner};
use super::moving::{Laid, Moved, with_successor};
use super::{VaultError, Vaults, now_ms, random};
use crate::store::Batch;
use polykey_core::control::{Control, ControlError, SignedOp, Successor};
use polykey_core::epoch::EpochSecret;
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};
use polykey_core::keys::{RootKey, Words};
use polykey_core::link;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Up to when a vault is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// All of it.
    Now,
    /// What this version builds on, but not it.
    Version(CommitId),
    /// Versions that are dated before, in Unix milliseconds.
    Time(u64),
}

/// What a recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The operation.
    pub reset: OpId,
    /// Ids that the maker of the vault had and that are no members now.
    pub replaced: Vec<NodeId>,
    /// Changes of membership by others that fell out.
    pub undone: usize,
    /// Live members now.
    pub members: usize,
}

/// A vault that is to be taken back.
pub(super) struct TakeBack<'a> {
    pub vault: &'a VaultId,
    words: &'a Words,
    until: Until,
}

impl Vaults {
    /// Makes this node the owner of a vault in the place of who made it, by the maker's words: with the members and contents of `until`, and nothing that the old key did since.
    ///
    /// # Errors
    /// `Words` when they are not this vault's, `SameKey` on a node that has the very key that is to lose the vault, `Pending` when this node has no key of the vault's contents.
    pub async fn recover(
        &self,
        vault: &VaultId,
        words: &Words,
        until: Until,
    ) -> Result<Recovered, VaultError> {
        let entry = self.entry(vault)?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        let control = Control::clone(&entry.read().control);
        recovery_key(&control, words)?;
        let (upto, _) = kept(&entry.read(), &control, until)?;
        // A key that was drawn after the moment that is gone back to is not the one that was lost.
        if control.founder_ids().contains(&self.me) && control.had_key(&upto, &self.me) {
            return Err(VaultError::SameKey);
        }
        self.may_write()?;
        let replaced = replaced(&control, &self.me);
        let back = TakeBack {
            vault,
            words,
            until,
        };
        let (reset, secret) = Self::reset(&entry, &back, &self.key)?;
        let control = self
            .put_down(&entry, one_writer, control, &reset, secret)
            .await?;
        Ok(recovered(&reset.id().into(), replaced, &control))
    }

    /// As [`Vaults::recover`], on a node that has the very key that is to lose the vault: as when its words made it anew on another machine. The vault is taken back for `new`, which gets
    /// this node's place in all other vaults too: [`Vaults::move_to`].
    ///
    /// # Errors
    /// As [`Vaults::recover`] and [`Vaults::move_to`]; then nothing was written.
    pub async fn recover_as(
        &self,
        vault: &VaultId,
        words: &Words,
        until: Until,
        new: &RootKey,
    ) -> Result<(Recovered, Moved), VaultError> {
        let entry = self.entry(vault)?;
        let replaced = replaced(&entry.read().control, &new.node_id());
        let back = TakeBack {
            vault,
            words,
            until,
        };
        let (moved, taken_back) = self.hand_over(new, Some(&back)).await?;
        let (reset, control) = taken_back.ok_or(VaultError::NotFound)?;
        Ok((recovered(&reset, replaced, &control), moved))
    }

    /// The operation that takes a vault back for `new`.
    pub(super) fn reset(
        entry: &Entry,
        back: &TakeBack<'_>,
        new: &RootKey,
    ) -> Result<(SignedOp, Option<EpochSecret>), VaultError> {
        let inner = entry.read();
        let control = &inner.control;
        let recovery = recovery_key(control, back.words)?;
        let (upto, cut) = kept(&inner, control, back.until)?;
        let secret = EpochSecret::new(random()?);
        let state = control.state_at(&upto);
        let readers = with_successor(
            state.readers(now_ms() / 1_000),
            &control.founder_ids(),
            new.node_id(),
        );
        // A Reset is in the founder's name, and so are its envelopes.
        let founder = control.founder();
        let record = Self::next_epoch(
            &entry.id,
            &state.epochs,
            &readers,
            &inner.secrets,
            &secret,
            &founder,
        )?;
        let successor = Successor {
            node: new.node_id(),
            proof: link::prove(entry.id, founder, new),
        };
        let op = control.reset(successor, upto, cut, record)?;
        Ok((SignedOp::sign(op, &recovery), Some(secret)))
    }

    /// Gives the words of a vault up for good: nobody can take it back with them any more.
    ///
    /// # Errors
    /// `Words` when they are not this vault's; `Control` when it has none to give up.
    pub async fn resign(&self, vault: &VaultId, words: &Words) -> Result<OpId, VaultError> {
        let entry = self.entry(vault)?;
        self.may_write()?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        let control = Control::clone(&entry.read().control);
        let recovery = recovery_key(&control, words)?;
        let resign = SignedOp::sign(control.resign()?, &recovery);
        self.put_down(&entry, one_writer, control, &resign, None)
            .await?;
        Ok(resign.id().into())
    }

    /// Writes an operation of the recovery key, and judges all commits by it.
    async fn put_down(
        &self,
        entry: &Arc<Entry>,
        one_writer: OwnedMutexGuard<()>,
        control: Control,
        op: &SignedOp,
        secret: Option<EpochSecret>,
    ) -> Result<Arc<Control>, VaultError> {
        let mut batch = Batch::default();
        let laid = Laid::down(&mut batch, entry, control, op, secret)?;
        let control = laid.control.clone();
        self.change(entry, one_writer, batch, |inner| laid.place(inner))
            .await?;
        Ok(control)
    }
}

fn recovered(reset: &OpId, replaced: Vec<NodeId>, control: &Control) -> Recovered {
    Recovered {
        reset: *reset,
        replaced,
        undone: control.undone().len(),
        members: control.state().members.len(),
    }
}

/// The ids that the maker of a vault had until now.
fn replaced(control: &Control, new: &NodeId) -> Vec<NodeId> {
    let mut ids = control.founder_ids();
    ids.retain(|id| id != new);
    ids
}

fn recovery_key(control: &Control, words: &Words) -> Result<RootKey, VaultError> {
    let Some(expected) = control.recovery() else {
        return Err(ControlError::NoRecovery("it has no words, or they were given up").into());
    };
    let recovery = words.identity().recovery;
    if recovery.node_id() == expected {
        Ok(recovery)
    } else {
        Err(VaultError::Words)
    }
}

/// The operations and commits that a recovery keeps. Operations bear no date: of a moment those count that a version of before names.
fn kept(
    inner: &Inner,
    control: &Control,
    until: Until,
) -> Result<(Vec<OpId>, Vec<CommitId>), VaultError> {
    let commits: Vec<CommitId> = match until {
        Until::Now => return Ok((control.tips(), inner.heads.clone())),
        Until::Version(version) => inner
            .commits
            .get(&version)
            .ok_or_else(|| VaultError::NoSuch(version.to_string()))?
            .parents
            .clone(),
        Until::Time(ms) => {
            let before: Vec<CommitId> = inner
                .commits
                .iter()
                .filter(|(_, h)| h.time_ms < ms)
                .map(|(id, _)| *id)
                .collect();
            let covered: std::collections::HashSet<CommitId> = before
                .iter()
                .filter_map(|id| inner.commits.get(id))
                .flat_map(|h| h.parents.clone())
                .collect();
            before
                .into_iter()
                .filter(|id| !covered.contains(id))
                .collect()
        }
    };
    let named = commits.iter().filter_map(|id| inner.commits.get(id));
    let mut upto: Vec<OpId> = named.flat_map(|h| h.control.to_vec()).collect();
    upto.sort_unstable();
    upto.dedup();
    if upto.is_empty() {
        upto.push(OpId::from(*control.vault().as_bytes()));
    }
    Ok((upto, commits))
}
