//! Taking a vault back with the words of who made it, and giving those words up.

use super::entry::{Entry, Inner};
use super::{VaultError, Vaults, now_ms, random, rows};
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
        self.may_write()?;
        self.standing.past_is_here(vault).await;
        let one_writer = entry.writing.clone().lock_owned().await;
        let (control, secrets) = {
            let inner = entry.read();
            (Control::clone(&inner.control), inner.secrets.clone())
        };
        let recovery = recovery_key(&control, words)?;
        if control.founder_ids().contains(&self.me) {
            return Err(VaultError::SameKey);
        }
        let (upto, cut) = kept(&entry.read(), &control, until)?;
        let secret = EpochSecret::new(random()?);
        let state = control.state_at(&upto);
        let replaced = control.founder_ids();
        let mut readers: Vec<NodeId> = state
            .readers(now_ms() / 1_000)
            .into_iter()
            .filter(|n| !replaced.contains(n) && *n != self.me)
            .collect();
        readers.push(self.me);
        readers.sort_unstable();
        // A Reset is in the founder's name, and so are its envelopes.
        let founder = control.founder();
        let record = Self::next_epoch(vault, &state.epochs, &readers, &secrets, &secret, &founder)?;
        let new = Successor {
            node: self.me,
            proof: link::prove(*vault, founder, &self.key),
        };
        let op = control.reset(new, upto, cut, record)?;
        let reset = SignedOp::sign(op, &recovery);
        let control = self
            .put_down(&entry, one_writer, control, &reset, Some(secret))
            .await?;
        Ok(Recovered {
            reset: reset.id().into(),
            replaced,
            undone: control.undone().len(),
            members: control.state().members.len(),
        })
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
        mut control: Control,
        op: &SignedOp,
        secret: Option<EpochSecret>,
    ) -> Result<Arc<Control>, VaultError> {
        let at = control.len();
        control.apply(op)?;
        let mut batch = Batch::default();
        rows::put_op(&mut batch, &entry.id, at, op.bytes());
        if let Some(secret) = &secret {
            rows::put_secret(&mut batch, &entry.id, secret);
        }
        let mut floor = entry.read().floor();
        floor.control = control.heads();
        rows::put_floor(&mut batch, &entry.id, &floor);
        let control = Arc::new(control);
        let there = control.clone();
        let place = move |inner: &mut Inner| {
            inner.secrets = Arc::new(inner.secrets.with(None, secret.as_slice()));
            inner.judge(&there);
            inner.control = there;
        };
        self.change(entry, one_writer, batch, place).await?;
        Ok(control)
    }
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
