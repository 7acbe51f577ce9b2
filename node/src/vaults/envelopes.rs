//! Epochs and who gets their secrets: the one that an operation begins, and the envelopes of members who came after it.

use super::entry::Entry;
use super::secrets::Secrets;
use super::{VaultError, Vaults, now_ms, random, rows};
use crate::store::Batch;
use polykey_core::control::{Control, Role};
use polykey_core::epoch::{self, BOX, Boxed, EpochRecord, EpochSecret, Place, WrapRecord};
use polykey_core::ids::{EpochId, NodeId, VaultId};
use polykey_core::sign::Signed;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most envelopes whose lack is remembered: those of one vault with all its members, four times.
const MAX_LACKING: usize = 1_024;

/// Since when envelopes have been missing.
pub type Lacking = Mutex<HashMap<(VaultId, EpochId, NodeId), Instant>>;

impl Vaults {
    /// The epoch that follows `live` and opens all of them, with its envelopes for `readers`, for an operation in the name of `from`.
    pub(super) fn next_epoch(
        vault: &VaultId,
        live: &[EpochId],
        readers: &[NodeId],
        secrets: &Secrets,
        secret: &EpochSecret,
        from: &NodeId,
    ) -> Result<EpochRecord, VaultError> {
        let shape = secrets.shape().ok_or(VaultError::Pending)?;
        let mut before = Vec::new();
        for (index, live) in live.iter().enumerate() {
            let old = secrets.secret(live).ok_or(VaultError::Pending)?;
            let index =
                u8::try_from(index).map_err(|_| VaultError::Row("more epochs than boxes"))?;
            let sealed: [u8; BOX] = secret.box_before(index, old);
            before.push(Boxed {
                epoch: *live,
                sealed: sealed.into(),
            });
        }
        let id = secret.id();
        let mut wraps = Vec::new();
        for to in readers {
            let place = Place {
                vault,
                epoch: &id,
                to,
                from,
            };
            wraps.push(epoch::wrap(place, shape, &[secret], &random()?)?);
        }
        Ok(EpochRecord {
            commitment: secret.commitment().into(),
            before,
            wraps,
        })
    }

    /// The secret of a live epoch in an envelope for a member who came after it.
    pub(super) fn wrap_for(
        &self,
        secrets: &Secrets,
        vault: &VaultId,
        epoch: &EpochId,
        to: &NodeId,
    ) -> Result<Signed<WrapRecord>, VaultError> {
        let secret = secrets.secret(epoch).ok_or(VaultError::Pending)?;
        let shape = secrets.shape().ok_or(VaultError::Pending)?;
        let place = Place {
            vault,
            epoch,
            to,
            from: &self.me,
        };
        let wrapped = epoch::wrap(place, shape, &[secret], &random()?)?;
        let record = WrapRecord {
            version: 1,
            vault: *vault,
            epoch: *epoch,
            to: *to,
            from: self.me,
            enc: wrapped.enc,
            sealed: wrapped.sealed,
        };
        Ok(Signed::sign(record, &self.key))
    }

    /// Envelopes that are missing: a member who was granted beside a rotation is in neither. Owners make them at once.
    pub(super) fn missing_wraps<'w>(
        &self,
        control: &Control,
        secrets: &Secrets,
        wraps: &(impl Iterator<Item = &'w WrapRecord> + Clone),
    ) -> Result<Vec<Signed<WrapRecord>>, VaultError> {
        let now = now_ms() / 1_000;
        if control.state().role_of(&self.me, now) != Some(Role::Owner)
            || !secrets.complete(control)
            || self.may_write().is_err()
        {
            return Ok(Vec::new());
        }
        lacking(control, wraps, now)
            .into_iter()
            .map(|(epoch, to)| self.wrap_for(secrets, &control.vault(), &epoch, &to))
            .collect()
    }

    /// Envelopes that have been missing for `patience`: when no owner is there to make them, any reader does.
    ///
    /// # Errors
    /// The last failure; every vault was tried.
    pub async fn wrap_missing(&self, patience: Duration) -> Result<(), VaultError> {
        let mut result = Ok(());
        let mut seen = HashMap::new();
        for entry in self.all() {
            if let Err(e) = self.wrap_overdue(&entry, patience, &mut seen).await {
                result = Err(e);
            }
        }
        *self.lacking.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        result
    }

    async fn wrap_overdue(
        &self,
        entry: &Arc<Entry>,
        patience: Duration,
        seen: &mut HashMap<(VaultId, EpochId, NodeId), Instant>,
    ) -> Result<(), VaultError> {
        let one_writer = entry.writing.clone().lock_owned().await;
        let now = now_ms() / 1_000;
        let made = {
            let inner = entry.read();
            let reads = inner.control.state().role_of(&self.me, now) >= Some(Role::Reader);
            if !reads || !inner.secrets.complete(&inner.control) || self.may_write().is_err() {
                return Ok(());
            }
            let mut made = Vec::new();
            let wraps = inner.wraps.values().map(|w| w.payload());
            for (epoch, to) in lacking(&inner.control, &wraps, now) {
                if self.is_overdue((entry.id, epoch, to), patience, seen) {
                    made.push(self.wrap_for(&inner.secrets, &entry.id, &epoch, &to)?);
                }
            }
            made
        };
        if made.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for wrap in &made {
            rows::put_wrap(&mut batch, wrap.payload(), wrap.bytes());
        }
        self.change(entry, one_writer, batch, move |inner| {
            let keyed = |wrap: Signed<WrapRecord>| (rows::wrap_key(wrap.payload()), Arc::new(wrap));
            inner.wraps.extend(made.into_iter().map(keyed));
        })
        .await
        .map(drop)
    }

    fn is_overdue(
        &self,
        which: (VaultId, EpochId, NodeId),
        patience: Duration,
        seen: &mut HashMap<(VaultId, EpochId, NodeId), Instant>,
    ) -> bool {
        let known = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        let since = known.get(&which).copied().unwrap_or_else(Instant::now);
        if since.elapsed() >= patience {
            return true;
        }
        if seen.len() < MAX_LACKING {
            seen.insert(which, since);
        }
        false
    }
}

/// Readers without an envelope of a live epoch.
fn lacking<'w>(
    control: &Control,
    wraps: &(impl Iterator<Item = &'w WrapRecord> + Clone),
    now: u64,
) -> Vec<(EpochId, NodeId)> {
    let mut lacking = Vec::new();
    for live in &control.state().epochs {
        let Some((_, record)) = control.epoch(live) else {
            continue;
        };
        for member in control.state().readers(now) {
            let has = record.wraps.iter().any(|w| w.to == member)
                || wraps.clone().any(|w| w.epoch == *live && w.to == member);
            if !has {
                lacking.push((*live, member));
            }
        }
    }
    lacking
}
