//! The sidecar of a pod: one watch to the nearest node → verify → write → acknowledge. It knows no QUIC and no Kubernetes API, and holds no cluster credential but the
//! projected token that it shows to the nodes.
//!
//! | module | is |
//! |---|---|
//! | `config`, `downward` | what the pod tells it |
//! | `verify` | pure: is this version the vault's, signed by a live writer, no older than seen, and whole |
//! | `layout`, `files` | a version as files, switched in one step |
//! | `floor`, `board` | what survives a restart; what the probes read |
//! | `vault`, `session`, `follow` | one vault; one connection; which node next |

pub mod board;
pub mod config;
pub mod downward;
pub mod files;
pub mod floor;
pub mod follow;
pub mod layout;
pub mod session;
pub mod vault;
pub mod verify;
