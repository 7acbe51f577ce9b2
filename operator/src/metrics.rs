//! What the operator tells Prometheus and the kubelet, over plain HTTP. Label values come from fixed sets.

use crate::crd::PolykeyVaultStatus;
use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

/// The metrics of the operator.
pub struct Metrics {
    registry: Registry,
    vaults: IntGaugeVec,
    status_writes: IntCounterVec,
    ready: AtomicBool,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Panics
    /// Never: the names are valid and each is registered once.
    #[must_use]
    pub fn new() -> Arc<Metrics> {
        let registry = Registry::new();
        let vaults = IntGaugeVec::new(Opts::new("polykey_vaults", "PolykeyVaults by condition"), &["condition", "status", "reason"]).expect("a valid name");
        let status_writes = IntCounterVec::new(Opts::new("polykey_status_writes_total", "Writes of status"), &["result"]).expect("a valid name");
        // One replica runs, so it leads.
        let leader = IntGauge::new("polykey_leader", "1 while this replica writes").expect("a valid name");
        leader.set(1);
        registry.register(Box::new(vaults.clone())).expect("registered once");
        registry.register(Box::new(status_writes.clone())).expect("registered once");
        registry.register(Box::new(leader)).expect("registered once");
        Arc::new(Metrics { registry, vaults, status_writes, ready: AtomicBool::new(false) })
    }

    /// The caches are complete.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Counts the conditions of all vaults anew.
    pub fn vaults(&self, all: &[PolykeyVaultStatus]) {
        self.vaults.reset();
        for c in all.iter().flat_map(|s| &s.conditions) {
            self.vaults.with_label_values(&[c.type_.as_str(), c.status.as_str(), c.reason.as_str()]).inc();
        }
    }

    /// Counts a write.
    pub fn status_write(&self, ok: bool) {
        self.status_writes.with_label_values(&[if ok { "ok" } else { "error" }]).inc();
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` in a task of its own.
///
/// # Errors
/// When the port is taken.
pub async fn serve(address: SocketAddr, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    let listener = match TcpListener::bind(address).await {
        // A kernel without IPv6.
        Err(_) if address.is_ipv6() && address.ip().is_unspecified() => TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await,
        bound => bound,
    };
    let listener = listener.with_context(|| format!("cannot listen on TCP {address}"))?;
    let ready = metrics.clone();
    let app = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { if ready.ready.load(Ordering::Acquire) { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "the caches are not complete") } }))
        .route("/metrics", get(move || async move { TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap_or_default() }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}
