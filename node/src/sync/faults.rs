//! How much false content each peer has sent lately. Only what the peer could have checked itself counts: never what the author of a vault did wrong,
//! or a malicious writer would make honest relays ban each other.

use polykey_core::ids::NodeId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Failed verifications within [`WINDOW`] after which a peer is not talked to. A sound peer sends none; a bug or a flipped bit, a few.
const MAX_FAULTS: u32 = 16;
/// After this long without a fault a peer starts anew.
const WINDOW: Duration = Duration::from_mins(10);

/// Counts by peer; only known nodes get this far, so it stays small.
#[derive(Default)]
pub(super) struct Faults(BTreeMap<NodeId, (u32, Instant)>);

impl Faults {
    /// Counts one; whether that was one too many.
    pub(super) fn add(&mut self, peer: NodeId, now: Instant) -> bool {
        self.0
            .retain(|_, (_, last)| now.duration_since(*last) < WINDOW);
        let (count, last) = self.0.entry(peer).or_insert((0, now));
        *count += 1;
        *last = now;
        *count >= MAX_FAULTS
    }

    /// Whether the peer is over the limit.
    pub(super) fn over(&self, peer: &NodeId, now: Instant) -> bool {
        self.0
            .get(peer)
            .is_some_and(|(count, last)| *count >= MAX_FAULTS && now.duration_since(*last) < WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_over_the_limit_until_it_was_quiet_for_a_while() {
        let (one, other) = (NodeId::from([1; 32]), NodeId::from([2; 32]));
        let start = Instant::now();
        let mut faults = Faults::default();
        for _ in 1..MAX_FAULTS {
            assert!(!faults.add(one, start));
        }
        assert!(!faults.over(&one, start));
        assert!(faults.add(one, start));
        assert!(faults.over(&one, start) && !faults.over(&other, start));
        assert!(!faults.over(&one, start + WINDOW));
        assert!(!faults.add(one, start + WINDOW));
    }
}
