//! How many commits of one author a node takes: twenty a second for as long as the author likes. What is beyond waits and is taken later; it is never
//! void, since what counts is a function of what is here and not of how fast it came.
//!
//! Two clocks measure it, because each alone is wrong:
//!
//! - *Dates alone* (each commit's own) say nothing of a flood that is dated back: a year has room for six hundred million commits at twenty a second.
//! - *Arrivals alone* would hold up whoever clones a long history or comes back after days, when thousands of honest commits come within a second.
//!
//! So a commit is taken when it fits into the time that has passed here; or when it fits into the time that has passed between its author's dates, each
//! stretch of which counts once, and into what a node takes of one author's past at once ([`MAX_PAST`]). All three are counted in milliseconds, of which a
//! commit costs [`COST_MS`] each. A flood of today finds its dates rise no faster than the clock; one that is dated back ends at [`MAX_PAST`].
//!
//! Whoever clones a vault takes what its giver took before, at whatever pace that was written: see [`Caps::of_a_clone`].

use crate::ids::NodeId;
use std::collections::BTreeMap;

/// What a commit costs unless a node says otherwise: one of twenty a second, faster than any person or rotation writes.
pub const COST_MS: u64 = 50;
/// The same as a rate.
pub const PER_SECOND: u64 = 1_000 / COST_MS;
/// What an author who was quiet may write at once: a minute's worth, 1,200 commits.
pub const WINDOW_MS: u64 = 60_000;
/// Commits of the past that are taken of one author at once, in dates that leave room for them: one a minute for a year. More comes at twenty a second.
pub const MAX_PAST: u64 = 525_600;
/// How long after the last commit that had to wait its author counts as held back. Peers tell again what was not taken within a minute.
const HELD_FOR_MS: u64 = 2 * WINDOW_MS;
/// How long a clone may take: the slowest line that is of use brings a large vault within it.
const CLONE_MS: u64 = 60 * WINDOW_MS;

/// Whether a commit is taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be.
    Within,
    /// It waits.
    Beyond {
        /// Nothing of its author had to wait for a while: somebody should hear of it.
        news: bool,
    },
}

/// What the authors of one vault have left. It grows by one small entry for each author who had the right to write, of whom the control log has few.
#[derive(Clone, Debug)]
pub struct Caps {
    /// What a commit costs here.
    cost: u64,
    authors: BTreeMap<NodeId, Left>,
    /// Until when the vault is being cloned.
    cloning: u64,
}

/// What one author has left, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Left {
    /// When it was counted, by the steady clock.
    at: u64,
    /// Of the time that passes here.
    recent: u64,
    /// The newest date.
    dated: u64,
    /// Of the time between the dates.
    between: u64,
    /// Of the past.
    past: u64,
    /// When a commit last had to wait.
    held: Option<u64>,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps {
            cost: COST_MS,
            authors: BTreeMap::new(),
            cloning: 0,
        }
    }
}

impl Caps {
    /// Takes so many commits a second instead of twenty, at least one and at most a thousand.
    pub fn take(&mut self, per_second: u64) {
        self.cost = 1_000 / per_second.clamp(1, 1_000);
    }

    /// Those of a vault of which nothing was here until now: each author's dates may be as dense as they are, up to [`MAX_PAST`] commits.
    #[must_use]
    pub fn of_a_clone(at_ms: u64) -> Caps {
        Caps {
            cloning: at_ms.saturating_add(CLONE_MS),
            ..Caps::default()
        }
    }

    /// Whether a commit by `author` is taken now, dated `dated_ms`. `at_ms` is a clock that never goes back, from any start. Nothing is counted for it yet: see
    /// [`Caps::count`].
    pub fn check(&mut self, author: &NodeId, dated_ms: u64, at_ms: u64) -> Verdict {
        let cost = self.cost;
        let left = self.left(author, dated_ms, at_ms);
        if left.advanced(dated_ms, at_ms).fits(cost) {
            return Verdict::Within;
        }
        let news = !left.is_held_back(at_ms);
        left.held = Some(at_ms);
        Verdict::Beyond { news }
    }

    /// A commit was taken, whatever [`Caps::check`] would have said.
    pub fn count(&mut self, author: &NodeId, dated_ms: u64, at_ms: u64) {
        let cost = self.cost;
        let left = self.left(author, dated_ms, at_ms);
        *left = left.advanced(dated_ms, at_ms).spent(cost);
    }

    /// Authors of whom something had to wait lately, ascending.
    #[must_use]
    pub fn held_back(&self, at_ms: u64) -> Vec<NodeId> {
        let held = self.authors.iter();
        held.filter(|(_, left)| left.is_held_back(at_ms))
            .map(|(author, _)| *author)
            .collect()
    }

    fn left(&mut self, author: &NodeId, dated_ms: u64, at_ms: u64) -> &mut Left {
        let cloning = at_ms < self.cloning;
        let new = || Left::new(dated_ms, at_ms, cloning);
        self.authors.entry(*author).or_insert_with(new)
    }
}

impl Left {
    fn new(dated: u64, at: u64, cloning: bool) -> Left {
        let past = MAX_PAST * COST_MS;
        Left {
            at,
            recent: WINDOW_MS,
            dated,
            between: if cloning { past } else { WINDOW_MS },
            past,
            held: None,
        }
    }

    fn advanced(self, dated: u64, at: u64) -> Left {
        let passed = at.saturating_sub(self.at);
        let between = dated.saturating_sub(self.dated);
        Left {
            at: at.max(self.at),
            recent: grown(self.recent, passed, WINDOW_MS),
            dated: dated.max(self.dated),
            between: grown(self.between, between, WINDOW_MS),
            past: grown(self.past, passed, MAX_PAST * COST_MS),
            held: self.held,
        }
    }

    fn spent(self, cost: u64) -> Left {
        Left {
            recent: self.recent.saturating_sub(cost),
            between: self.between.saturating_sub(cost),
            past: self.past.saturating_sub(cost),
            ..self
        }
    }

    fn fits(&self, cost: u64) -> bool {
        self.recent >= cost || (self.between >= cost && self.past >= cost)
    }

    fn is_held_back(&self, at: u64) -> bool {
        let until = |held: u64| held.saturating_add(HELD_FOR_MS);
        self.held.is_some_and(|held| at < until(held))
    }
}

/// More of what there is, up to the most; what was more from the start stays.
fn grown(left: u64, by: u64, most: u64) -> u64 {
    left.saturating_add(by).min(most).max(left)
}

#[cfg(test)]
#[path = "cap_tests.rs"]
mod tests;
