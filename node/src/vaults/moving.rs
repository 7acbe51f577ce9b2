//! Giving this device's place in its vaults to another key: in all of them at once, in one batch with the key itself, so that there is no moment at which the device belongs to none.

use super::entry::{Entry, Inner};
use super::recovery::TakeBack;
use super::{Changed, VaultError, Vaults, now_ms, random, rows, to_the_end};
use crate::store::Batch;
use crate::successor;
use polykey_core::control::{Control, Role, SignedOp, Successor};
use polykey_core::epoch::EpochSecret;
use polykey_core::ids::{NodeId, OpId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::link;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// What came of it: this node signs nothing more, and starts again with the new key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The new id.
    pub new: NodeId,
    /// Vaults in which it has this node's place.
    pub vaults: Vec<VaultId>,
}

/// A vault with the operation that is about to be written to it.
struct Step {
    entry: Arc<Entry>,
    _one_writer: OwnedMutexGuard<()>,
    laid: Laid,
}

/// An operation with all that it changes in memory, once the disk has it.
pub(super) struct Laid {
    pub control: Arc<Control>,
    secret: Option<EpochSecret>,
}

impl Laid {
    /// Adds an operation on top of `control` to a batch.
    pub(super) fn down(
        batch: &mut Batch,
        entry: &Entry,
        mut control: Control,
        op: &SignedOp,
        secret: Option<EpochSecret>,
    ) -> Result<Laid, VaultError> {
        let at = control.len();
        control.apply(op)?;
        rows::put_op(batch, &entry.id, at, op.bytes());
        if let Some(secret) = &secret {
            rows::put_secret(batch, &entry.id, secret);
        }
        let mut floor = entry.read().floor();
        floor.control = control.heads();
        rows::put_floor(batch, &entry.id, &floor);
        Ok(Laid {
            control: Arc::new(control),
            secret,
        })
    }

    /// Makes it visible, and judges all commits by it.
    pub(super) fn place(self, inner: &mut Inner) {
        inner.secrets = Arc::new(inner.secrets.with(None, self.secret.as_slice()));
        inner.judge(&self.control);
        inner.control = self.control;
    }
}

impl Vaults {
    fn has_place(&self, entry: &Entry) -> bool {
        let now = now_ms() / 1_000;
        let inner = entry.read();
        inner.control.state().role_of(&self.me, now).is_some()
    }

    /// Gives this node's place in all its vaults to `new`, and keeps `new` for the next start: [`successor::settle`]. Where this node decides, a new epoch begins that the old key does
    /// not open; elsewhere an owner's node begins one when it hears of it.
    ///
    /// # Errors
    /// `Held` names the vault that does not allow it; then nothing was written.
    pub async fn move_to(&self, new: &RootKey) -> Result<Moved, VaultError> {
        self.hand_over(new, None).await.map(|(moved, _)| moved)
    }

    /// As [`Vaults::move_to`], but one vault is taken back for `new` by its maker's words. Gives the operation that did it, and its control log, too.
    pub(super) async fn hand_over(
        &self,
        new: &RootKey,
        back: Option<&TakeBack<'_>>,
    ) -> Result<(Moved, Option<(OpId, Arc<Control>)>), VaultError> {
        // Nothing comes in meanwhile, and two do not do this at once.
        let closed = self.entering.clone().write_owned().await;
        match back {
            // A thief who goes on as this node has no say in it.
            Some(_) => self.keeps_key()?,
            None => self.may_write()?,
        }
        let mut batch = Batch::default();
        successor::put(&mut batch, &self.me, new);
        let (mut steps, mut taken_back) = (Vec::new(), None);
        // In the order of their ids; whoever else holds one of the locks waits for no other.
        for entry in self.all() {
            let held = |why| VaultError::Held {
                vault: entry.id,
                why: Box::new(why),
            };
            self.standing.past_is_here(&entry.id).await;
            let one_writer = entry.writing.clone().lock_owned().await;
            let back = back.filter(|back| *back.vault == entry.id);
            let (op, secret) = match back {
                Some(back) => Self::reset(&entry, back, new)?,
                None if self.has_place(&entry) => self.replacement(&entry, new).map_err(held)?,
                None => continue,
            };
            let control = Control::clone(&entry.read().control);
            let laid = Laid::down(&mut batch, &entry, control, &op, secret).map_err(held)?;
            if back.is_some() {
                taken_back = Some((op.id().into(), laid.control.clone()));
            }
            steps.push(Step {
                entry,
                _one_writer: one_writer,
                laid,
            });
        }
        let moved = Moved {
            new: new.node_id(),
            vaults: steps.iter().map(|s| s.entry.id).collect(),
        };
        let (store, changed, successor) = (
            self.store.clone(),
            self.changed.clone(),
            self.successor.clone(),
        );
        let new = moved.new;
        to_the_end(async move {
            store.commit(batch).await?;
            successor.set(new).ok();
            for step in steps {
                step.laid.place(&mut step.entry.write());
                let vault = step.entry.id;
                changed.send(Changed { vault }).ok();
            }
            drop(closed);
            Ok(())
        })
        .await?;
        Ok((moved, taken_back))
    }

    /// The operation that gives this node's place in one vault to `new`.
    fn replacement(
        &self,
        entry: &Entry,
        new: &RootKey,
    ) -> Result<(SignedOp, Option<EpochSecret>), VaultError> {
        let inner = entry.read();
        let control = &inner.control;
        if control.needs_upgrade().is_some() {
            return Err(VaultError::NeedsUpgrade);
        }
        let now = now_ms() / 1_000;
        let state = control.state();
        let decides = state.role_of(&self.me, now) == Some(Role::Owner);
        // Without the keys of what there is, there is nothing to begin a new epoch from: another owner does.
        let (record, secret) = if decides && inner.secrets.complete(control) {
            let secret = EpochSecret::new(random()?);
            let readers = with_successor(state.readers(now), &[self.me], new.node_id());
            let record = Self::next_epoch(
                &entry.id,
                &state.epochs,
                &readers,
                &inner.secrets,
                &secret,
                &self.me,
            )?;
            (Some(record), Some(secret))
        } else {
            (None, None)
        };
        let successor = Successor {
            node: new.node_id(),
            proof: link::prove(entry.id, self.me, new),
        };
        let op = control.replace(self.me, successor, inner.heads.clone(), record)?;
        Ok((SignedOp::sign(op, &self.key), secret))
    }
}

/// Readers, with one in the place of others.
pub(super) fn with_successor(mut readers: Vec<NodeId>, old: &[NodeId], new: NodeId) -> Vec<NodeId> {
    readers.retain(|n| !old.contains(n) && *n != new);
    readers.push(new);
    readers.sort_unstable();
    readers
}
