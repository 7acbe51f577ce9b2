//! The control log of a vault: who may do what. A DAG of signed operations whose meaning is a function of the set of them: no order of arrival, no
//! clock and no network matters. Mirrors evaluate it as members do; no key is needed.
//!
//! | file | is |
//! |---|---|
//! | `op` | the encodings of all ten kinds |
//! | `log` | takes operations in; who might do what when |
//! | `check` | what is judged for good when an operation comes |
//! | `graph` | who builds on whom |
//! | `era` | Genesis and each Reset begin one |
//! | `resolve` | which removals count |
//! | `live` | who holds which grant, and who may write what, with some operations void |
//! | `fold`, `state` | what it all comes to, and the quick way there |
//! | `newer` | what this version cannot evaluate makes the vault [`Control::needs_upgrade`], and is never skipped |
//! | `draft` | operations to sign |

mod bits;
mod check;
mod draft;
mod era;
mod error;
mod fold;
mod graph;
mod live;
mod log;
mod newer;
mod op;
mod resolve;
mod state;

pub use draft::{Successor, genesis};
pub use error::{Applied, ControlError};
pub use log::{Control, FORMAT, MAX_OPS};
pub use op::{
    Act, Body, By, Caveat, MAX_CUT, MAX_LINK, MAX_LIVE_NODES, MAX_OP, MAX_PARENTS, NewerBody, Op,
    OpError, Role, SignedOp, Target,
};
pub use state::{Grant, Member, State};

#[cfg(test)]
mod tests;
