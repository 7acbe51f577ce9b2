//! What a node tells Prometheus. Label values come from fixed sets, but for the namespace and name of a `PolykeyVault` on one series; never a pod, a path, a
//! version or a vault.

use crate::workload::{Mode, Reason};
use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::Arc;
use std::time::Duration;

/// Buckets of a review, in seconds: from a warm cache of the API server (2.6 ms) to the deadline (3 s).
const REVIEW_BUCKETS: [f64; 9] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 3.0];
/// Buckets from a commit on a laptop to the acknowledgement of a pod, in seconds: a millisecond on loopback to a minute over a bad link.
const ACK_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];

/// The most `PolykeyVault`s with series of their own: what a small Prometheus takes without notice.
const MAX_SERIES: usize = 2_000;

/// The metrics of one node.
pub struct Metrics {
    registry: Registry,
    workload_auth: IntCounterVec,
    tokenreview_seconds: Histogram,
    watches: IntGauge,
    access_rules: IntGauge,
    access_age_seconds: IntGauge,
    commit_to_ack_seconds: Histogram,
    peers: IntGaugeVec,
    pods_behind: IntGaugeVec,
    series_dropped: IntGauge,
    locked: IntGauge,
    connections_refused: IntCounterVec,
}

impl Metrics {
    /// All series, at zero. A node that is unlocked says so with [`Metrics::locked`].
    ///
    /// # Panics
    /// Never: names and labels are constants that the test of this module registers.
    #[must_use]
    pub fn new() -> Arc<Metrics> {
        Arc::new(Metrics::register().expect("the names of metrics are valid and distinct"))
    }

    fn register() -> prometheus::Result<Metrics> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let made = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            prometheus::Result::Ok(made)
        };
        let gauge = |name: &str, help: &str| {
            let made = IntGauge::new(name, help)?;
            registry.register(Box::new(made.clone()))?;
            prometheus::Result::Ok(made)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let made =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.into()))?;
            registry.register(Box::new(made.clone()))?;
            prometheus::Result::Ok(made)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let made = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(made.clone()))?;
            prometheus::Result::Ok(made)
        };
        let metrics = Metrics {
            workload_auth: counters(
                "polykey_workload_auth_total",
                "Tokens of workloads, by what came of them and on whose word.",
                &["result", "reason", "mode"],
            )?,
            tokenreview_seconds: histogram(
                "polykey_tokenreview_seconds",
                "Time to an answer of the API server about a token.",
                &REVIEW_BUCKETS,
            )?,
            watches: gauge("polykey_watches", "Open watches of workloads.")?,
            access_rules: gauge("polykey_access_rules", "Access rules in force.")?,
            access_age_seconds: gauge(
                "polykey_access_age_seconds",
                "Seconds since the warden last confirmed the access rules; -1 when there are none.",
            )?,
            commit_to_ack_seconds: histogram(
                "polykey_commit_to_ack_seconds",
                "Time from a commit, by its author's clock, to a pod's acknowledgement, by this node's.",
                &ACK_BUCKETS,
            )?,
            peers: gauges(
                "polykey_peers",
                "Known peers by the state of their connection.",
                &["state"],
            )?,
            pods_behind: gauges(
                "polykey_pods_behind",
                "Pods of a PolykeyVault that hold another version than the one served.",
                &["namespace", "name"],
            )?,
            series_dropped: gauge(
                "polykey_series_dropped",
                "PolykeyVaults without series of their own, since there are too many.",
            )?,
            locked: gauge("polykey_locked", "1 while the node's identity is locked.")?,
            connections_refused: counters(
                "polykey_api_connections_refused_total",
                "TLS connections that were closed before a request.",
                &["reason"],
            )?,
            registry,
        };
        metrics.start_at_zero();
        Ok(metrics)
    }

    fn start_at_zero(&self) {
        self.locked.set(1);
        self.access_age_seconds.set(-1);
        for mode in Mode::ALL {
            let _ = self
                .workload_auth
                .with_label_values(&["accepted", "", mode.label()]);
        }
        for state in ["connected", "disconnected"] {
            self.peers.with_label_values(&[state]).set(0);
        }
        for reason in ["limit", "handshake"] {
            let _ = self.connections_refused.with_label_values(&[reason]);
        }
    }

    /// A token was believed (`refused` is `None`) or not.
    pub fn workload_auth(&self, refused: Option<Reason>, mode: Mode) {
        let result = if refused.is_none() {
            "accepted"
        } else {
            "refused"
        };
        self.workload_auth
            .with_label_values(&[result, refused.map_or("", Reason::label), mode.label()])
            .inc();
    }

    /// The API server answered about a token, or did not in time.
    pub fn token_review(&self, took: Duration) {
        self.tokenreview_seconds.observe(took.as_secs_f64());
    }

    /// A watch was opened; it is counted until the guard is dropped.
    #[must_use]
    pub fn watch(self: &Arc<Self>) -> WatchCounted {
        self.watches.inc();
        WatchCounted(self.clone())
    }

    /// How many watches are open.
    #[must_use]
    pub fn open_watches(&self) -> u32 {
        u32::try_from(self.watches.get()).unwrap_or(0)
    }

    /// Rules in force, and seconds since they were confirmed.
    pub fn access(&self, rules: usize, age: Option<Duration>) {
        self.access_rules
            .set(i64::try_from(rules).unwrap_or(i64::MAX));
        let age = age.map_or(-1, |a| i64::try_from(a.as_secs()).unwrap_or(i64::MAX));
        self.access_age_seconds.set(age);
    }

    /// A pod has a version that was committed this long ago.
    pub fn commit_to_ack(&self, took: Duration) {
        self.commit_to_ack_seconds.observe(took.as_secs_f64());
    }

    /// Peers with and without a connection.
    pub fn peers(&self, connected: usize, disconnected: usize) {
        for (state, count) in [("connected", connected), ("disconnected", disconnected)] {
            self.peers
                .with_label_values(&[state])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Namespace, name and pods that are behind, of every rule. Over [`MAX_SERIES`] the rest is dropped and counted.
    pub fn pods_behind<'a>(&self, rules: impl Iterator<Item = (&'a str, &'a str, i64)>) {
        self.pods_behind.reset();
        let mut dropped = 0;
        for (at, (namespace, name, behind)) in rules.enumerate() {
            if at < MAX_SERIES {
                self.pods_behind
                    .with_label_values(&[namespace, name])
                    .set(behind);
            } else {
                dropped += 1;
            }
        }
        self.series_dropped.set(dropped);
    }

    /// The identity is locked, or no more.
    pub fn locked(&self, locked: bool) {
        self.locked.set(i64::from(locked));
    }

    /// A TLS connection was closed before a request: over the `limit`, or a failed `handshake`.
    pub fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.with_label_values(&[reason]).inc();
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .unwrap_or_default()
    }
}

/// One open watch.
pub struct WatchCounted(Arc<Metrics>);

impl Drop for WatchCounted {
    fn drop(&mut self) {
        self.0.watches.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_before_anything_happened() {
        let text = Metrics::new().text();
        for name in [
            "polykey_workload_auth_total",
            "polykey_tokenreview_seconds",
            "polykey_watches",
            "polykey_access_rules",
            "polykey_access_age_seconds -1",
            "polykey_commit_to_ack_seconds",
            "polykey_peers{state=\"connected\"} 0",
            "polykey_locked 1",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }

    #[test]
    fn a_refused_token_is_counted_under_its_reason_and_mode() {
        let metrics = Metrics::new();
        metrics.workload_auth(Some(Reason::Audience), Mode::Review);
        metrics.workload_auth(None, Mode::Offline);
        let text = metrics.text();
        let line = |l: &str| text.lines().any(|t| t == l);
        assert!(
            line(
                "polykey_workload_auth_total{mode=\"review\",reason=\"audience\",result=\"refused\"} 1"
            ),
            "{text}"
        );
        assert!(
            line("polykey_workload_auth_total{mode=\"offline\",reason=\"\",result=\"accepted\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn a_watch_is_counted_until_it_ends() {
        let metrics = Metrics::new();
        let first = metrics.watch();
        let second = metrics.watch();
        assert_eq!(metrics.open_watches(), 2);
        drop((first, second));
        assert_eq!(metrics.open_watches(), 0);
    }

    #[test]
    fn series_of_single_rules_are_bounded_and_the_rest_is_counted() {
        let metrics = Metrics::new();
        let names: Vec<String> = (0..MAX_SERIES + 5).map(|n| format!("v{n}")).collect();
        metrics.pods_behind(names.iter().map(|n| ("shop", n.as_str(), 1)));
        let text = metrics.text();
        assert_eq!(text.matches("polykey_pods_behind{").count(), MAX_SERIES);
        assert!(text.contains("polykey_series_dropped 5"));
        metrics.pods_behind([("shop", "v0", 0)].into_iter());
        assert_eq!(metrics.text().matches("polykey_pods_behind{").count(), 1);
    }

    #[test]
    fn reasons_and_modes_have_distinct_labels() {
        let labels: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
    }
}
