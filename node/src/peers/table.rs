//! Which of two connections between the same two nodes stays. Both ends must come to the same answer, whatever order they see things in.

use polykey_core::ids::NodeId;

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// This end dialled it.
    pub dialled: bool,
    /// The start of the peer's process, from its hello.
    pub instance: [u8; 16],
}

/// Whether `new` takes the place of `old`. The connection that the lower id dialled stays. Of two that the same end dialled the later stays, since a
/// dialler says hello on a second one only when it has given up the first. A new process of the peer knows nothing of the old connection.
#[must_use]
pub fn replaces(me: &NodeId, peer: &NodeId, old: &Facts, new: &Facts) -> bool {
    let by_lower = |facts: &Facts| facts.dialled == (me < peer);
    new.instance != old.instance || by_lower(new) || !by_lower(old)
}

/// Whether a dialler that already has `old` should say hello on another connection to the same node.
#[must_use]
pub fn worth_a_hello(me: &NodeId, peer: &NodeId, old: &Facts) -> bool {
    !old.dialled && me < peer
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: [u8; 32] = [1; 32];
    const HIGH: [u8; 32] = [2; 32];

    fn facts(dialled: bool, instance: u8) -> Facts {
        Facts {
            dialled,
            instance: [instance; 16],
        }
    }

    /// One end of the race: what it keeps, as the name of the dialler (`true` = the lower id).
    fn settle(me_low: bool, order: &[bool]) -> bool {
        let (low, high) = (NodeId::from(LOW), NodeId::from(HIGH));
        let (me, peer) = if me_low { (low, high) } else { (high, low) };
        let mut kept: Option<bool> = None;
        for by_low in order {
            let new = facts(*by_low == me_low, 9);
            match kept {
                Some(old) if !replaces(&me, &peer, &facts(old == me_low, 9), &new) => {}
                _ => kept = Some(*by_low),
            }
        }
        kept.unwrap()
    }

    #[test]
    fn both_ends_keep_what_the_lower_id_dialled_in_every_order_of_arrival() {
        for me_low in [true, false] {
            for order in [[true, false], [false, true]] {
                assert!(settle(me_low, &order));
            }
        }
    }

    #[test]
    fn a_restarted_peer_takes_the_place_of_its_old_process() {
        let (low, high) = (NodeId::from(LOW), NodeId::from(HIGH));
        let (old, new) = (facts(true, 1), facts(false, 2));
        assert!(replaces(&low, &high, &old, &new));
        assert!(!replaces(&low, &high, &old, &facts(false, 1)));
    }

    #[test]
    fn the_later_of_two_from_one_dialler_stays() {
        let (low, high) = (NodeId::from(LOW), NodeId::from(HIGH));
        for (me, peer) in [(&low, &high), (&high, &low)] {
            for dialled in [true, false] {
                assert!(replaces(me, peer, &facts(dialled, 1), &facts(dialled, 1)));
            }
        }
    }

    #[test]
    fn nobody_says_hello_where_it_would_lose() {
        let (low, high) = (NodeId::from(LOW), NodeId::from(HIGH));
        assert!(worth_a_hello(&low, &high, &facts(false, 1)));
        assert!(!worth_a_hello(&high, &low, &facts(false, 1)));
        assert!(!worth_a_hello(&low, &high, &facts(true, 1)));
    }
}
