//! The Polykey node: it keeps vaults in a store, shares them with its peers, serves them to workloads, and is spoken to by its command line.

pub mod access;
pub mod agent;
pub mod audit;
pub mod cli;
pub mod identity;
pub mod local;
pub mod metrics;
pub mod net;
pub mod peers;
pub mod record;
pub mod standing;
pub mod store;
pub mod successor;
pub mod sync;
pub mod vaults;
pub mod watch;
pub mod workload;
