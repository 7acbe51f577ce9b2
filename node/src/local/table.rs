//! What the operator reads of a node: who holds what, what each rule would be served, which vaults and peers there are. Whole tables, never more than one a second.

use super::Services;
use super::errors;
use crate::metrics::Metrics;
use crate::watch::rule_state;
use bytes::Bytes;
use futures::Stream;
use polykey_client::api::{Consumers, RuleState};
use polykey_core::ids::CommitId;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The least time between two tables.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// A table is sent at least this often: grants and peers end by the clock, and a reader sees that the node is there.
const AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// Time that a burst of changes is given to end before its table is made: the first acknowledgement of a rotation is seldom alone.
const GATHER: Duration = Duration::from_millis(50);

/// The table now.
pub fn now(services: &Services) -> Consumers {
    Consumers {
        consumers: services.watches.consumers().list(),
        rules: rules(services),
        vaults: services
            .vaults
            .list()
            .iter()
            .map(errors::vault_without_name)
            .collect(),
        peers: services.peers.list(),
    }
}

/// What each rule would be served now.
pub fn rules(services: &Services) -> Vec<RuleState> {
    let Some(set) = services.access.current() else {
        return Vec::new();
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    set.set()
        .rules
        .iter()
        .map(|rule| rule_state(&services.vaults, &set, rule, now))
        .collect()
}

/// Counts the pods that hold another version than the one that their rule is served, for the metrics.
pub fn count_behind(services: &Services, metrics: &Metrics) {
    let rules = rules(services);
    let mut behind: BTreeMap<(&str, &str), (Option<CommitId>, i64)> = rules
        .iter()
        .map(|r| ((r.namespace.as_str(), r.name.as_str()), (r.version, 0)))
        .collect();
    let rows = services.watches.consumers().list();
    for row in &rows {
        let rule = behind.get_mut(&(row.namespace.as_str(), row.name.as_str()));
        if let Some((served, count)) = rule
            && row.state != "refused"
            && served.is_some()
            && row.version != *served
        {
            *count += 1;
        }
    }
    metrics.pods_behind(behind.into_iter().map(|((ns, name), (_, n))| (ns, name, n)));
}

/// The table now, and again after every change, each as one line of JSON. A slow reader gets fewer.
pub fn lines(services: Arc<Services>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (lines, mut reader) = mpsc::channel(1);
    tokio::spawn(write_lines(services, lines));
    futures::stream::poll_fn(move |cx| reader.poll_recv(cx).map(|l| l.map(Ok)))
}

async fn write_lines(services: Arc<Services>, lines: mpsc::Sender<Bytes>) {
    let mut rows = services.watches.consumers().subscribe();
    let mut vaults = services.vaults.subscribe();
    let mut access = services.access.subscribe();
    let mut stop = services.watches.goodbye();
    let mut connections = services.peers.subscribe_links();
    loop {
        rows.mark_unchanged();
        access.mark_unchanged();
        connections.mark_unchanged();
        let made = Instant::now();
        let table = {
            let services = services.clone();
            // Thousands of decisions: not on a thread that others wait for.
            tokio::task::spawn_blocking(move || serde_json::to_vec(&now(&services)))
        };
        let Ok(Ok(mut line)) = table.await else {
            return;
        };
        line.push(b'\n');
        if lines.send(line.into()).await.is_err() {
            return;
        }
        let next = async {
            tokio::select! {
                _ = rows.changed() => {}
                _ = access.changed() => {}
                _ = connections.changed() => {}
                _ = vaults.recv() => while vaults.try_recv().is_ok() {},
                () = tokio::time::sleep(AT_LEAST_EVERY) => {}
            }
            tokio::time::sleep(GATHER).await;
            tokio::time::sleep_until(made + AT_MOST_EVERY).await;
        };
        tokio::select! {
            () = next => {}
            () = lines.closed() => return,
            () = stop.said() => return,
        }
    }
}
