//! Proof, after the fact, that two processes wrote with one identity: two commits with one number by one author. Both stay, side by side, as any
//! concurrent versions do; a person is told.
//!
//! A commit's number is one more than its author's highest in what it builds on, so of two with one number neither can build on the other.

use crate::commit::Commits;
use crate::ids::{CommitId, NodeId};
use std::collections::HashMap;

/// The most pairs that are remembered of a vault, the latest: who sees eight need not see the ninth.
pub const MAX_DOUBLES: usize = 8;

/// Two commits with one number by one author.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Double {
    /// Who wrote both.
    pub author: NodeId,
    /// Their number.
    pub seq: u64,
    /// The two, in the order in which they were placed here.
    pub commits: [CommitId; 2],
}

/// The doubles of a vault, kept up to date as commits are placed.
#[derive(Clone, Debug, Default)]
pub struct Doubles {
    /// The highest number of each author: what is above needs no look.
    highest: HashMap<NodeId, u64>,
    found: Vec<Double>,
}

impl Doubles {
    /// Those among `commits`.
    #[must_use]
    pub fn of(commits: &Commits) -> Doubles {
        let mut doubles = Doubles::default();
        let mut placed: HashMap<(NodeId, u64), CommitId> = HashMap::new();
        for (id, header) in commits.iter() {
            let highest = doubles.highest.entry(header.author).or_default();
            *highest = header.seq.max(*highest);
            if let Some(first) = placed.insert((header.author, header.seq), *id) {
                doubles.remember(header.author, header.seq, first, *id);
            }
        }
        doubles
    }

    /// Takes note of a commit that was placed in `commits`; whether it is the second of a pair.
    pub fn note(&mut self, commits: &Commits, id: &CommitId) -> bool {
        let Some(header) = commits.get(id) else {
            return false;
        };
        let highest = self.highest.entry(header.author).or_default();
        if header.seq > *highest {
            *highest = header.seq;
            return false;
        }
        let twin = commits
            .iter()
            .rev()
            .find(|(other, h)| *other != id && h.seq == header.seq && h.author == header.author);
        let Some((twin, _)) = twin else {
            return false;
        };
        let known = |d: &Double| d.commits.contains(id) && d.commits.contains(twin);
        if self.found.iter().any(known) {
            return false;
        }
        self.remember(header.author, header.seq, *twin, *id);
        true
    }

    fn remember(&mut self, author: NodeId, seq: u64, first: CommitId, second: CommitId) {
        if self.found.len() == MAX_DOUBLES {
            self.found.remove(0);
        }
        self.found.push(Double {
            author,
            seq,
            commits: [first, second],
        });
    }

    /// Those that still call for a person: their author is a member (`lives`), and has not built on both since. Who has knows of both.
    #[must_use]
    pub fn open(&self, commits: &Commits, lives: impl Fn(&NodeId) -> bool) -> Vec<Double> {
        let joined = |double: &Double| {
            commits.iter().rev().any(|(id, header)| {
                header.author == double.author
                    && header.seq > double.seq
                    && double.commits.iter().all(|c| commits.descends(id, c))
            })
        };
        let open = self.found.iter().filter(|d| lives(&d.author) && !joined(d));
        open.copied().collect()
    }
}

#[cfg(test)]
#[path = "doubles_tests.rs"]
mod tests;
