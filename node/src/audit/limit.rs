//! Refusals at a limited rate: the first of its kind is written at once, those that follow within a minute are counted and written as one. A stranger cannot fill the disk, and
//! no refusal is lost.

use crate::record::Happened;
use polykey_core::audit::{Kind, Outcome, Subject};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long refusals are counted before their number is written.
const WINDOW: Duration = Duration::from_mins(1);
/// Kinds of refusal that are told apart; the rest is counted together. About 1 MiB.
const MAX_KINDS: usize = 1_024;

/// What was counted.
#[derive(Default)]
pub struct Limit {
    kinds: HashMap<Key, Counted>,
    others: Option<Counted>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    kind: u8,
    actor: String,
    vault: Option<[u8; 32]>,
    detail: String,
    reason: String,
}

struct Counted {
    first: Happened,
    since: Instant,
    more: u64,
}

impl Limit {
    /// True when it was only counted, and is not to be written.
    pub fn counts(&mut self, happened: &Happened, now: Instant) -> bool {
        let Outcome::Refused { reason, count } = &happened.outcome else {
            return false;
        };
        let key = Key {
            kind: happened.kind as u8,
            actor: happened.actor.clone(),
            vault: happened.subject.vault.map(|v| *v.as_bytes()),
            detail: happened.subject.detail.clone(),
            reason: reason.clone(),
        };
        if let Some(counted) = self.kinds.get_mut(&key) {
            counted.more = counted.more.saturating_add(*count);
            return true;
        }
        if self.kinds.len() >= MAX_KINDS {
            let others = self.others.get_or_insert_with(|| Counted {
                first: others(happened.kind),
                since: now,
                more: 0,
            });
            others.more = others.more.saturating_add(*count);
            return true;
        }
        self.kinds.insert(
            key,
            Counted {
                first: happened.clone(),
                since: now,
                more: 0,
            },
        );
        false
    }

    /// What was counted for long enough.
    pub fn due(&mut self, now: Instant) -> Vec<Happened> {
        self.take(|counted| now.duration_since(counted.since) >= WINDOW)
    }

    /// Everything that was counted.
    pub fn all(&mut self) -> Vec<Happened> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Counted) -> bool) -> Vec<Happened> {
        let kinds = self
            .kinds
            .extract_if(|_, counted| is_due(counted))
            .map(|(_, counted)| counted);
        let due: Vec<Counted> = kinds
            .chain(self.others.take_if(|counted| is_due(counted)))
            .collect();
        due.into_iter()
            .filter(|counted| counted.more > 0)
            .map(Counted::told)
            .collect()
    }
}

impl Counted {
    fn told(self) -> Happened {
        let mut told = self.first;
        if let Outcome::Refused { count, .. } = &mut told.outcome {
            *count = self.more;
        }
        told
    }
}

fn others(kind: Kind) -> Happened {
    let subject = Subject {
        vault: None,
        path: None,
        detail: "more kinds of refusal than are told apart".into(),
    };
    Happened {
        kind,
        actor: "others".into(),
        subject,
        outcome: Outcome::Refused {
            reason: "Various".into(),
            count: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(actor: &str) -> Happened {
        let subject = Subject {
            vault: None,
            path: None,
            detail: "app".into(),
        };
        Happened {
            kind: Kind::Read,
            actor: actor.into(),
            subject,
            outcome: Outcome::Refused {
                reason: "PathNotAllowed".into(),
                count: 1,
            },
        }
    }

    fn count(happened: &Happened) -> u64 {
        let Outcome::Refused { count, .. } = happened.outcome else {
            panic!("a refusal")
        };
        count
    }

    #[test]
    fn the_first_refusal_is_written_and_the_rest_of_its_minute_is_one_number() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        assert!(!limit.counts(&refusal("a"), start));
        for _ in 0..41 {
            assert!(limit.counts(&refusal("a"), start));
        }
        assert!(
            !limit.counts(&refusal("b"), start),
            "another workload is another kind"
        );
        assert!(limit.due(start + Duration::from_secs(59)).is_empty());
        let due = limit.due(start + WINDOW);
        assert_eq!(
            due.iter().map(count).collect::<Vec<_>>(),
            [41],
            "b has no more than its first"
        );
        assert!(!limit.counts(&refusal("a"), start + WINDOW), "a new minute");
    }

    #[test]
    fn what_was_done_is_never_held_back() {
        let mut limit = Limit::default();
        let done = Happened {
            outcome: Outcome::Done,
            ..refusal("a")
        };
        assert!((0..9).all(|_| !limit.counts(&done, Instant::now())));
    }

    #[test]
    fn a_flood_of_kinds_is_bounded_and_its_number_is_kept() {
        let (mut limit, start) = (Limit::default(), Instant::now());
        let written = (0..5_000)
            .filter(|n| !limit.counts(&refusal(&n.to_string()), start))
            .count();
        assert_eq!(written, MAX_KINDS);
        assert_eq!(
            limit.all().iter().map(count).sum::<u64>() + written as u64,
            5_000
        );
        assert!(limit.all().is_empty());
    }
}
