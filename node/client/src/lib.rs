//! The local API of a Polykey node, as its clients see it: the types that travel, the client over the Unix socket, the client over pinned TLS, references to
//! secrets and the error codes of the command line.
//!
//! This crate never opens a vault and never verifies a commit: it carries bytes between a node and those who ask it. What the bytes mean is `polykey-core`'s.

pub mod access;
pub mod api;
pub mod error;
pub mod http;
pub mod kinds;
pub mod reference;
pub mod tls;
pub mod unix;
pub mod watch;
