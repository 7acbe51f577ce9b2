//! The local API over real sockets, with real vaults in temporary directories. Only the Kubernetes API server is a stand-in.

mod admin;
mod permitted;
mod sidecar;
mod tokens;
mod values;
mod watching;
mod world;
