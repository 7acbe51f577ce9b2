//! Beats: what this node says of the vaults that it may write, and what it hears from others. They live in memory alone: after a start a vault is as fresh as
//! its newest commit by an owner until the next beat comes.

use super::entry::{Entry, Inner};
use super::{VaultError, Vaults, now_ms};
use minicbor::bytes::ByteVec;
use polykey_core::beat::{Beat, BeatError, EVERY_MS, SignedBeat, hash_of_commits, hash_of_ops};
use polykey_core::control::Role;
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::wire::MAX_BEATS;
use std::collections::BTreeMap;

impl Vaults {
    /// Told of a vault when there is a newer beat of it.
    #[must_use]
    pub fn subscribe_beats(&self) -> tokio::sync::broadcast::Receiver<VaultId> {
        self.beaten.subscribe()
    }

    /// Signs a beat of a vault that this node may write, if its last one is old enough.
    pub fn beat(&self, vault: &VaultId) {
        let Ok(entry) = self.entry(vault) else {
            return;
        };
        let now = now_ms();
        let beat = {
            let inner = entry.read();
            let state = inner.control.state();
            let due = inner
                .beats
                .of(&self.me)
                .is_none_or(|last| now >= last.saturating_add(EVERY_MS));
            let may = state.role_of(&self.me, now / 1_000) >= Some(Role::Writer);
            // It says what is shown here, whatever else was heard of: nobody stops it by holding back what it announced.
            if !due || !may || self.may_write().is_err() {
                return;
            }
            Beat {
                version: 1,
                vault: *vault,
                author: self.me,
                time_ms: now,
                control: hash_of_ops(&inner.control.heads()).into(),
                heads: hash_of_commits(&inner.heads).into(),
            }
        };
        let signed = SignedBeat::sign(beat, &self.key);
        if keep_beat(&entry, signed, now).is_ok_and(|new| new) {
            self.beaten.send(*vault).ok();
        }
    }

    /// Takes beats from a peer.
    ///
    /// # Errors
    /// `NotFound`, or `Peer` for what the peer could have known to be wrong.
    pub fn take_beats(&self, vault: &VaultId, beats: &[ByteVec]) -> Result<(), VaultError> {
        let entry = self.entry(vault)?;
        let now = now_ms();
        let mut new = false;
        for bytes in beats {
            let signed = SignedBeat::parse(bytes);
            let signed = signed.map_err(|e| VaultError::Peer(e.to_string()))?;
            match keep_beat(&entry, signed, now) {
                Ok(newer) => new |= newer,
                // It knows other members, or has another clock.
                Err(BeatError::NotWriter(_) | BeatError::Future) => {}
                Err(e @ (BeatError::Vault | BeatError::Signature(_))) => {
                    return Err(VaultError::Peer(e.to_string()));
                }
            }
        }
        if new {
            self.beaten.send(*vault).ok();
        }
        Ok(())
    }

    /// The beats of a vault that are newer than what `told` says, which is brought up to date.
    #[must_use]
    pub fn beats_beyond(&self, vault: &VaultId, told: &mut BTreeMap<NodeId, u64>) -> Vec<Vec<u8>> {
        let Ok(entry) = self.entry(vault) else {
            return Vec::new();
        };
        let inner = entry.read();
        let state = inner.control.state();
        let newer = inner.beats.beyond(told, state, now_ms(), MAX_BEATS);
        let mut out = Vec::with_capacity(newer.len());
        for beat in newer {
            told.insert(beat.payload().author, beat.payload().time_ms);
            out.push(beat.bytes().to_vec());
        }
        out
    }
}

fn keep_beat(entry: &Entry, beat: SignedBeat, now: u64) -> Result<bool, BeatError> {
    let mut inner = entry.write();
    let control = inner.control.clone();
    inner.beats.take(beat, &entry.id, control.state(), now)
}

impl Inner {
    /// When an owner last gave its word, unix milliseconds.
    pub fn fresh_at(&self) -> Option<u64> {
        self.beats.fresh_at(self.control.state(), |owner| {
            self.committed.get(owner).copied()
        })
    }
}
