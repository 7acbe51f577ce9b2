//! When to try again: at once the first time, then ever later with jitter, so that many nodes do not return in step after an outage.

use std::time::Duration;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest wait for a peer that answers but does not know this node: somebody is likely to be adding it there now.
const LONGEST_UNKNOWN: Duration = Duration::from_secs(5);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
    /// The peer answered, and does not know this node.
    pub unknown: bool,
}

impl Backoff {
    /// How long to wait before the next attempt; `jitter` is random, and shortens the wait by up to half.
    pub fn next(&mut self, jitter: u16) -> Duration {
        let longest = if self.unknown {
            LONGEST_UNKNOWN
        } else {
            LONGEST
        };
        let wait = match self.failures {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(16)).min(longest),
        };
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 - f64::from(jitter) / f64::from(u16::MAX) / 2.0)
    }

    /// Starts over.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_grow_to_their_limit_and_start_over(jitters in proptest::collection::vec(any::<u16>(), 1..60), unknown: bool) {
            let mut backoff = Backoff { unknown, ..Backoff::default() };
            let longest = if unknown { LONGEST_UNKNOWN } else { LONGEST };
            prop_assert_eq!(backoff.next(jitters[0]), Duration::ZERO);
            let mut full = FIRST;
            for jitter in &jitters[1..] {
                let wait = backoff.next(*jitter);
                prop_assert!(wait <= full && wait * 2 + Duration::from_millis(1) >= full);
                full = (full * 2).min(longest);
            }
            backoff.reset();
            prop_assert_eq!(backoff.next(0), Duration::ZERO);
        }
    }
}
