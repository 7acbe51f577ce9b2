//! The Polykey node: it keeps vaults in a store, shares them with its peers, serves them to workloads, and is spoken to by its command line.

pub mod access;
pub mod cli;
pub mod identity;
pub mod metrics;
pub mod store;
pub mod vaults;
pub mod workload;
