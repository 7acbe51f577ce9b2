//! Versions that have to wait: their author writes faster than [`polykey_core::cap`] allows, their date is ahead, or they build on one of those. They are
//! held, not refused: peers tell them again, and then there is room. What this node writes itself, or wrote once, never waits.

use super::entry::Inner;
use polykey_core::cap::{Caps, Verdict};
use polykey_core::commit::SignedCommit;
use polykey_core::ids::{CommitId, NodeId, VaultId};
use std::collections::HashSet;
use std::time::Instant;

/// Versions that wait whole, so that they need not be told again: one author's most heads, from eight authors.
const MAX_EARLY: usize = 64;
/// Versions that are known to wait, so that nobody is asked for them again: more than an author who is held back for three minutes writes meanwhile.
const MAX_HELD: usize = 4_096;

/// How fast the versions of a vault come, and which of them wait.
pub struct Pace {
    since: Instant,
    caps: Caps,
    held: HashSet<CommitId>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            since: Instant::now(),
            caps: Caps::default(),
            held: HashSet::new(),
        }
    }
}

impl Pace {
    /// Of a vault that was not here until now.
    pub fn of_a_clone() -> Pace {
        Pace {
            caps: Caps::of_a_clone(0),
            ..Pace::default()
        }
    }

    /// Takes so many of an author a second.
    pub fn take(&mut self, per_second: u64) {
        self.caps.take(per_second);
    }

    /// Whether a version comes too fast.
    pub fn is_too_fast(&mut self, vault: &VaultId, commit: &SignedCommit) -> bool {
        let (header, at) = (commit.payload(), self.now());
        let verdict = self.caps.check(&header.author, header.time_ms, at);
        if verdict == (Verdict::Beyond { news: true }) {
            tracing::warn!(vault = %vault.short(), author = %header.author.short(), "an author writes more versions a second than this node takes: what is beyond waits; remove the author if it is a flood");
        }
        verdict != Verdict::Within
    }

    /// Whether one of these waits.
    pub fn holds_any(&self, commits: &[CommitId]) -> bool {
        commits.iter().any(|id| self.held.contains(id))
    }

    /// A version of another node took its place.
    pub fn took(&mut self, commit: &SignedCommit) {
        let (header, at) = (commit.payload(), self.now());
        self.caps.count(&header.author, header.time_ms, at);
        self.held.remove(&commit.id().into());
    }

    /// Authors who came too fast lately.
    pub fn held_back(&self) -> Vec<NodeId> {
        self.caps.held_back(self.now())
    }

    /// As if that much time had passed.
    #[cfg(test)]
    pub fn later(&mut self, by: std::time::Duration) {
        self.since -= by;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Inner {
    /// Lets a version wait.
    pub fn hold(&mut self, commit: SignedCommit) {
        if self.pace.held.len() < MAX_HELD {
            self.pace.held.insert(commit.id().into());
        }
        let early = &mut self.arriving.early;
        let known = early.iter().any(|other| other.id() == commit.id());
        if !known && early.len() < MAX_EARLY {
            early.push(commit);
        }
    }

    /// When none waits any more, none that builds on one has to.
    pub fn release(&mut self) {
        if self.arriving.early.is_empty() {
            self.pace.held.clear();
        }
    }
}
