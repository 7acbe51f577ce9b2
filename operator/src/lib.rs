//! Polykey in Kubernetes: the custom resources, the warden that turns them into the access set of its node, and the controller that tells the truth about them
//! in their status.
//!
//! Nothing here opens a vault or sees a secret's value. The warden reads specs and writes its own node and its own `PolykeyNode`; the controller reads specs and
//! nodes and writes status. Neither can do what the other does.

pub mod controller;
pub mod crd;
pub mod feed;
pub mod metrics;
pub mod settings;
pub mod signal;
pub mod warden;
