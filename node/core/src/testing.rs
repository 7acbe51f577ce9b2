//! What the tests here make vaults of: a few keys by number, epochs that nobody can read in, and a vault whose members have the roles that a test asks for.

use crate::control::{Applied, Control, Role, genesis};
use crate::epoch::EpochRecord;
use crate::ids::NodeId;
use crate::keys::RootKey;
use crate::sign::Signed;
use std::cell::RefCell;
use std::collections::HashMap;

/// The present, in unix milliseconds.
pub const NOW: u64 = 1_800_000_000_000;

/// The key of a number, made once: a property makes thousands of histories with a handful of keys.
pub fn key(n: u8) -> &'static RootKey {
    thread_local!(static KEYS: RefCell<HashMap<u8, &'static RootKey>> = RefCell::default());
    KEYS.with_borrow_mut(|keys| {
        *keys
            .entry(n)
            .or_insert_with(|| Box::leak(Box::new(RootKey::from_seed(&[n; 32]))))
    })
}

/// The node of a number.
pub fn node(n: u8) -> NodeId {
    key(n).node_id()
}

/// An epoch without envelopes: evaluation looks at none.
pub fn epoch(n: u8) -> EpochRecord {
    EpochRecord {
        commitment: [n; 32].into(),
        before: vec![],
        wraps: vec![],
    }
}

/// A vault of node 0, which granted these roles in this order.
pub fn vault(members: impl IntoIterator<Item = (u8, Role)>) -> Control {
    let genesis = genesis(node(0), [5; 32], [6; 32], None, epoch(0));
    let mut control = Control::new(&Signed::sign(genesis, key(0))).unwrap();
    for (n, role) in members {
        let grant = control.grant(node(0), node(n), role, 0, None, None);
        let applied = control.apply(&Signed::sign(grant, key(0))).unwrap();
        assert_eq!(applied, Applied::Counts);
    }
    control
}
