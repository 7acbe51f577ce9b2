//! How fast a peer may ask and tell: each call and each signed record costs this node work, mostly a signature to check. Who is faster waits; nothing is
//! refused and nothing piles up, since nothing more is read from it meanwhile.

use polykey_core::ids::NodeId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Calls and records a second, for as long as a peer likes: 5,000 signatures are a quarter of one core.
const RATE: u32 = 5_000;
/// What a peer that was quiet may have at once: the longest history that a vault of a person has, and its pulls.
const BURST: u32 = 50_000;

/// By peer; only known nodes get this far, so it stays small.
#[derive(Default)]
pub(super) struct Pace(BTreeMap<NodeId, Debt>);

/// When a peer would be even again.
#[derive(Clone, Copy)]
struct Debt {
    even: Instant,
}

impl Pace {
    /// `peer` asks or tells `count` things; how long it has to wait first.
    pub(super) fn take(&mut self, peer: NodeId, count: usize, now: Instant) -> Duration {
        let cost = Duration::from_secs(1) / RATE;
        let spent = cost.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        if self.0.len() >= 64 {
            self.0.retain(|_, debt| debt.even > now);
        }
        let debt = self.0.entry(peer).or_insert(Debt { even: now });
        debt.even = debt.even.max(now) + spent;
        (debt.even - now).saturating_sub(cost * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_burst_and_the_rate(steps in proptest::collection::vec((0_usize..2_000, 0_u64..300), 1..200)) {
            let (one, other) = (NodeId::from([1; 32]), NodeId::from([2; 32]));
            let start = Instant::now();
            let (mut pace, mut now, mut done) = (Pace::default(), start, 0);
            for (count, pause) in steps {
                let wait = pace.take(one, count, now);
                now += wait + Duration::from_millis(pause);
                done += count;
                let allowed = f64::from(BURST) + f64::from(RATE) * (now - start).as_secs_f64();
                #[allow(clippy::cast_precision_loss, reason = "a few hundred thousand")]
                let done = done as f64;
                prop_assert!(done <= allowed + 1.0, "{} of {}", done, allowed);
                prop_assert_eq!(pace.take(other, 1, now), Duration::ZERO, "another peer does not wait");
            }
        }
    }
}
