//! Versions of a vault as an owner's node sends them, and every way in which one may not be what it claims.

mod authority;
mod contents;
mod owner;

use super::*;
use owner::Owner;

/// The pod's clock, in unix milliseconds.
const NOW: u64 = 1_800_000_000_000;

/// A pod that trusts whichever vault comes first.
fn fresh() -> Anchor {
    Anchor {
        pin: None,
        floor: None,
    }
}

fn check(anchor: &Anchor, content: Content) -> Result<(Held, BTreeMap<String, Entry>), Rejected> {
    verify(None, anchor, Arriving::new(content, true)?, NOW)
}

fn error(result: Result<(Held, BTreeMap<String, Entry>), Rejected>) -> Rejected {
    result.err().expect("a refusal")
}

fn copy(content: &Content) -> Content {
    polykey_core::enc::decode(&polykey_core::enc::encode(content)).unwrap()
}
