//! Metrics and probes of the controller, plain HTTP on one port. Labels come from fixed sets: no pod, path, version or object name.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// The loop turns at least every half minute; four missed turns are a hang.
const STUCK: Duration = Duration::from_mins(2);

/// Why metrics and probes are not served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// A name is taken or malformed.
    #[error("cannot register a metric")]
    Register(#[from] prometheus::Error),
    /// The port is not free.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// What the controller counts, and whether it is well.
pub struct Metrics {
    registry: Registry,
    /// `polykey_vaults{condition,status,reason}`: PolykeyVaults by condition.
    pub vaults: IntGaugeVec,
    /// `polykey_nodes{state}`: replicas that answer, and that do not.
    pub nodes: IntGaugeVec,
    /// `polykey_reconcile_seconds{result}`: one pass over everything.
    pub reconcile_seconds: HistogramVec,
    /// `polykey_status_writes_total{result}`.
    pub status_writes: IntCounterVec,
    /// `polykey_leader`: 1 while this one writes.
    pub leader: IntGauge,
    started: Instant,
    turned: AtomicU64,
    ready: AtomicBool,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Result<Arc<Metrics>, MetricsError> {
        let registry = Registry::new();
        let metrics = Metrics {
            vaults: IntGaugeVec::new(
                Opts::new("polykey_vaults", "PolykeyVaults by condition"),
                &["condition", "status", "reason"],
            )?,
            nodes: IntGaugeVec::new(
                Opts::new(
                    "polykey_nodes",
                    "Replicas by whether they answer the operator",
                ),
                &["state"],
            )?,
            reconcile_seconds: HistogramVec::new(
                HistogramOpts::new(
                    "polykey_reconcile_seconds",
                    "Time of one pass over all objects",
                ),
                &["result"],
            )?,
            status_writes: IntCounterVec::new(
                Opts::new("polykey_status_writes_total", "Status written"),
                &["result"],
            )?,
            leader: IntGauge::new("polykey_leader", "1 while this operator writes status")?,
            registry,
            started: Instant::now(),
            turned: AtomicU64::new(0),
            ready: AtomicBool::new(false),
        };
        metrics.register()?;
        Ok(Arc::new(metrics))
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.vaults.clone()))?;
        self.registry.register(Box::new(self.nodes.clone()))?;
        self.registry
            .register(Box::new(self.reconcile_seconds.clone()))?;
        self.registry
            .register(Box::new(self.status_writes.clone()))?;
        self.registry.register(Box::new(self.leader.clone()))
    }

    /// The loop turned.
    pub fn turn(&self) {
        self.turned
            .store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }

    /// All lists were read once.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    fn is_live(&self) -> bool {
        let turned = Duration::from_secs(self.turned.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(turned) < STUCK
    }

    fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Opens the port; on a machine without IPv6, `[::]` means all of IPv4.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, MetricsError> {
    match TcpListener::bind(address).await {
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(four)
                .await
                .map_err(|e| MetricsError::Listen(four, e))
        }
        other => other.map_err(|e| MetricsError::Listen(address, e)),
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` for ever.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let (live, ready, shown) = (metrics.clone(), metrics.clone(), metrics);
    let app = Router::new()
        .route(
            "/livez",
            get(move || async move { probe(live.is_live(), "the loop does not turn") }),
        )
        .route(
            "/readyz",
            get(move || async move {
                probe(
                    ready.ready.load(Ordering::Relaxed),
                    "not all lists were read yet",
                )
            }),
        )
        .route(
            "/metrics",
            get(move || async move { shown.text().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR) }),
        );
    axum::serve(listener, app).await
}

fn probe(good: bool, otherwise: &'static str) -> (StatusCode, &'static str) {
    if good {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_show_what_was_counted() {
        let metrics = Metrics::new().expect("metrics");
        metrics
            .vaults
            .with_label_values(&["Ready", "True", "AllPodsCurrent"])
            .set(3);
        metrics.status_writes.with_label_values(&["ok"]).inc();
        let text = metrics.text().expect("text");
        assert!(
            text.contains(
                r#"polykey_vaults{condition="Ready",reason="AllPodsCurrent",status="True"} 3"#
            ),
            "{text}"
        );
        assert!(
            text.contains(r#"polykey_status_writes_total{result="ok"} 1"#),
            "{text}"
        );
    }

    #[test]
    fn a_fresh_controller_is_live_and_not_ready() {
        let metrics = Metrics::new().expect("metrics");
        assert!(metrics.is_live());
        assert!(!metrics.ready.load(Ordering::Relaxed));
        metrics.ready();
        assert!(metrics.ready.load(Ordering::Relaxed));
    }
}
