//! The custom resources of `polykey.io/v1alpha1` as Rust types, and the YAML that is generated from them. The types are the source; no schema is written by hand.

pub mod node;
pub mod peer;
pub mod schema;
pub mod status;
pub mod vault;

pub use node::{PolykeyNode, PolykeyNodeStatus};
pub use peer::{PolykeyPeer, PolykeyPeerSpec, PolykeyPeerStatus};
pub use status::Condition;
pub use vault::{PolykeyVault, PolykeyVaultSpec, PolykeyVaultStatus};
