//! What the end-to-end tests, the demo and the benches stand on: a real Kubernetes, images packed without a container engine, and real nodes.

pub mod cluster;
pub mod images;
pub mod install;
pub mod issuer;
pub mod laptop;
pub mod line;
pub mod node;
pub mod pod;
pub mod process;
pub mod socket;
pub mod tools;
pub mod wait;
