//! Beats: an owner's or writer's signed word that at a time it held these heads. They age, so a network or a mirror that holds a vault back is noticed by
//! whoever reads it; nothing is decided by them.
//!
//! Only the newest of each author is kept and passed on. A beat makes a vault no fresher than its own date, whenever it arrives, so an old one that is
//! played again changes nothing.

use crate::commit::MAX_AHEAD_MS;
use crate::control::{Role, State};
use crate::ids::{CommitId, NodeId, OpId, VaultId};
use crate::labels;
use crate::sign::{Payload, SIGNATURE, SignError, Signed};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// How often an author signs one while somebody subscribes, in milliseconds: what a reader can tell apart is a few minutes.
pub const EVERY_MS: u64 = 60_000;
/// The most bytes of a beat without its signature: an array of six, a byte, four ids with their lengths, and a number of nine.
const MAX_PAYLOAD: usize = 160;
/// The most bytes of one beat.
pub const MAX_BEAT: usize = MAX_PAYLOAD + SIGNATURE;

/// A beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Beat {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// The vault.
    #[n(1)]
    pub vault: VaultId,
    /// Whose word it is.
    #[n(2)]
    pub author: NodeId,
    /// When, in Unix milliseconds by its author's clock.
    #[n(3)]
    pub time_ms: u64,
    /// [`hash_of_ops`] of the heads of the control log that it held.
    #[n(4)]
    pub control: ByteArray<32>,
    /// [`hash_of_commits`] of the heads that it held.
    #[n(5)]
    pub heads: ByteArray<32>,
}

impl Payload for Beat {
    const CONTEXT: &'static str = labels::BEAT;
    const MAX: usize = MAX_PAYLOAD;
}

/// A beat as it is sent.
pub type SignedBeat = Signed<Beat>;

/// BLAKE3 of ids of operations, one after the other in ascending order.
#[must_use]
pub fn hash_of_ops(heads: &[OpId]) -> [u8; 32] {
    hash(heads.iter().map(OpId::as_bytes))
}

/// BLAKE3 of ids of commits, one after the other in ascending order.
#[must_use]
pub fn hash_of_commits(heads: &[CommitId]) -> [u8; 32] {
    hash(heads.iter().map(CommitId::as_bytes))
}

fn hash<'a>(ids: impl Iterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(id);
    }
    *hasher.finalize().as_bytes()
}

/// Why a beat is not kept.
#[derive(Debug, thiserror::Error)]
pub enum BeatError {
    /// Whoever sent it could have seen that: the form, the vault, or the signature.
    #[error("a beat that is none of this vault's")]
    Vault,
    /// Not signed by its author.
    #[error("a beat that is not signed by its author")]
    Signature(#[source] SignError),
    /// Its author is no owner or writer, as far as is known here.
    #[error("{} may not write in this vault", .0.short())]
    NotWriter(NodeId),
    /// It is dated too far ahead of the own clock.
    #[error("a beat dated in the future")]
    Future,
}

/// The newest beat of each author.
#[derive(Clone, Debug, Default)]
pub struct Beats(BTreeMap<NodeId, SignedBeat>);

impl Beats {
    /// Takes a beat of `vault`, whose members are those of `state`; whether it is the newest of its author now. `now_ms` is the own clock.
    ///
    /// # Errors
    /// When it is not to be believed. Nothing is changed then.
    pub fn take(
        &mut self,
        signed: SignedBeat,
        vault: &VaultId,
        state: &State,
        now_ms: u64,
    ) -> Result<bool, BeatError> {
        let beat = signed.payload();
        if beat.version != 1 || beat.vault != *vault {
            return Err(BeatError::Vault);
        }
        let newest = self.0.get(&beat.author).map(|b| b.payload().time_ms);
        if newest >= Some(beat.time_ms) {
            return Ok(false);
        }
        if state.role_of(&beat.author, now_ms / 1_000) < Some(Role::Writer) {
            return Err(BeatError::NotWriter(beat.author));
        }
        if beat.time_ms > now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(BeatError::Future);
        }
        signed.verify(&beat.author).map_err(BeatError::Signature)?;
        self.0.insert(beat.author, signed);
        Ok(true)
    }

    /// The beats of those who may still write, later than what `told` says of each author; at most `most`.
    #[must_use]
    pub fn beyond(
        &self,
        told: &BTreeMap<NodeId, u64>,
        state: &State,
        now_ms: u64,
        most: usize,
    ) -> Vec<&SignedBeat> {
        let lives = |author: &NodeId| state.role_of(author, now_ms / 1_000) >= Some(Role::Writer);
        let newer = self.0.iter().filter(|(author, beat)| {
            told.get(author) < Some(&beat.payload().time_ms) && lives(author)
        });
        newer.map(|(_, beat)| beat).take(most).collect()
    }

    /// When `author` last beat, in Unix milliseconds.
    #[must_use]
    pub fn of(&self, author: &NodeId) -> Option<u64> {
        self.0.get(author).map(|beat| beat.payload().time_ms)
    }

    /// When an owner of `state` last gave its word, in Unix milliseconds: by a beat, or by the newest of its commits, whose date is `committed`.
    #[must_use]
    pub fn fresh_at(
        &self,
        state: &State,
        committed: impl Fn(&NodeId) -> Option<u64>,
    ) -> Option<u64> {
        let owners = state.owners().into_iter();
        owners
            .filter_map(|owner| self.of(&owner).max(committed(&owner)))
            .max()
    }
}

/// How old an owner's word is, in milliseconds. A clock that is behind makes nothing younger than new.
#[must_use]
pub fn age_ms(fresh_at: u64, now_ms: u64) -> u64 {
    now_ms.saturating_sub(fresh_at)
}

#[cfg(test)]
#[path = "beat_tests.rs"]
mod tests;
