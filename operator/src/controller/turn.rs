//! The loop of the controller: wait for something, look at everything, write what is due.

use crate::controller::apply::{Applier, Write, Written};
use crate::controller::consumers::{Replica, Tables};
use crate::controller::notes;
use crate::controller::observe::Observed;
use crate::controller::pace::{Due, due, ready_differs, urgent};
use crate::controller::plan::plan;
use crate::controller::plan_others::{plan_node, plan_peer};
use crate::crd::{PolykeyNode, PolykeyNodeStatus, PolykeyPeer, PolykeyVault};
use crate::feed::{Feed, Key, compare};
use crate::metrics::Metrics;
use crate::settings::Place;
use jiff::Timestamp;
use kube::ResourceExt;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Port of a node's TLS API.
const API_PORT: u16 = 1315;
/// Changes that come this close together are looked at once.
const SETTLE: Duration = Duration::from_millis(100);
/// The loop turns at least this often: expired peers, and proof of life.
const IDLE: Duration = Duration::from_secs(30);
/// Writes of one turn; the rest follow in the next, planned anew, so that a rotation does not wait behind 10,000 first statuses.
const BATCH: usize = 400;

/// What the controller watches.
pub struct Feeds {
    /// All PolykeyVaults.
    pub vaults: Feed<PolykeyVault>,
    /// PolykeyPeers.
    pub peers: Feed<PolykeyPeer>,
    /// Replicas.
    pub nodes: Feed<PolykeyNode>,
}

/// The controller.
pub struct Controller {
    feeds: Feeds,
    tables: Tables,
    applier: Applier,
    metrics: Arc<Metrics>,
    place: Place,
    memory: Memory,
}

/// What was written and is not back through a watch yet, when each object was written last, and who the nodes were.
#[derive(Default)]
struct Memory {
    vaults: HashMap<Key, Arc<PolykeyVault>>,
    peers: HashMap<Key, Arc<PolykeyPeer>>,
    nodes: HashMap<Key, Arc<PolykeyNode>>,
    written: HashMap<(&'static str, Key), Instant>,
    identities: BTreeMap<String, PolykeyNodeStatus>,
}

/// Writes that are due, the urgent ones first, and when the next one will be.
struct Plan {
    urgent: Vec<Write>,
    other: Vec<Write>,
    next: Option<Instant>,
}

impl Plan {
    fn add(&mut self, due: Due, urgent: bool, write: Write) {
        match due {
            Due::Never => {}
            Due::Now if urgent => self.urgent.push(write),
            Due::Now => self.other.push(write),
            Due::At(at) => self.next = Some(self.next.map_or(at, |next| next.min(at))),
        }
    }
}

impl Controller {
    /// A controller that has not looked at anything yet.
    #[must_use]
    pub fn new(
        feeds: Feeds,
        tables: Tables,
        applier: Applier,
        metrics: Arc<Metrics>,
        place: Place,
    ) -> Controller {
        Controller {
            feeds,
            tables,
            applier,
            metrics,
            place,
            memory: Memory::default(),
        }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        while !self.listed() {
            self.wait(Instant::now() + IDLE).await;
            self.metrics.turn();
        }
        self.metrics.ready();
        self.metrics.leader.set(1);
        loop {
            let next = self.turn().await;
            self.metrics.turn();
            if next.is_some_and(|next| next <= Instant::now()) {
                continue;
            }
            self.wait(next.unwrap_or_else(|| Instant::now() + IDLE))
                .await;
            tokio::time::sleep(SETTLE).await;
        }
    }

    fn listed(&self) -> bool {
        self.feeds.vaults.now().lists > 0
            && self.feeds.peers.now().lists > 0
            && self.feeds.nodes.now().lists > 0
    }

    async fn wait(&mut self, until: Instant) {
        let until = until.min(Instant::now() + IDLE);
        tokio::select! {
            () = self.feeds.vaults.changed() => {}
            () = self.feeds.peers.changed() => {}
            () = self.feeds.nodes.changed() => {}
            () = self.tables.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// One pass. Says when the next write is due.
    async fn turn(&mut self) -> Option<Instant> {
        let started = Instant::now();
        self.follow_replicas().await;
        let Plan {
            mut urgent,
            other,
            next,
        } = self.plan();
        let all = urgent.len() + other.len();
        urgent.extend(other);
        urgent.truncate(BATCH);
        let tried = urgent.len();
        let written = self.applier.apply(urgent).await;
        let result = if written.len() == tried {
            "ok"
        } else {
            "error"
        };
        self.metrics
            .reconcile_seconds
            .with_label_values(&[result])
            .observe(started.elapsed().as_secs_f64());
        let failed = written.len() < tried;
        for object in written {
            self.memory.remember(object);
        }
        if all > BATCH {
            return Some(Instant::now());
        }
        // What failed is tried again after a while, not at once.
        if failed {
            Some(next.map_or(Instant::now() + IDLE / 10, |n| {
                n.min(Instant::now() + IDLE / 10)
            }))
        } else {
            next
        }
    }

    /// Keeps one stream a replica, and tells of one that came back with another id.
    async fn follow_replicas(&mut self) {
        let nodes: Vec<Arc<PolykeyNode>> = self
            .feeds
            .nodes
            .latest()
            .objects
            .values()
            .cloned()
            .collect();
        let mut replicas = Vec::new();
        for object in &nodes {
            let Some(status) = object.status.as_ref() else {
                continue;
            };
            let name = object.name_any();
            if let Some(event) = self
                .memory
                .identities
                .get(&name)
                .and_then(|before| notes::of_node(before, status))
            {
                self.applier.tell(&**object, vec![event]).await;
            }
            self.memory.identities.insert(name.clone(), status.clone());
            if let Ok(node) = status.node_id.parse() {
                let address = format!("{name}.{}:{API_PORT}", self.place.peers_domain);
                replicas.push(Replica {
                    name,
                    node,
                    address,
                });
            }
        }
        self.memory
            .identities
            .retain(|name, _| nodes.iter().any(|n| n.name_any() == *name));
        self.tables.follow(replicas);
    }

    fn plan(&mut self) -> Plan {
        let (now, clock) = (Timestamp::now(), Instant::now());
        let mut planned = Plan {
            urgent: Vec::new(),
            other: Vec::new(),
            next: None,
        };
        let (vaults, peers, nodes) = (
            self.feeds.vaults.latest(),
            self.feeds.peers.latest(),
            self.feeds.nodes.latest(),
        );
        self.memory
            .forget(&vaults.objects, &peers.objects, &nodes.objects);
        let views = self
            .tables
            .views(nodes.objects.keys().map(|(_, name)| name.clone()));
        let observed = Observed::new(&views);
        let mut counts: HashMap<(String, &'static str, String), i64> = HashMap::new();

        for (key, object) in &vaults.objects {
            let object = self.memory.vaults.get(key).unwrap_or(object);
            if object.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let status = plan(object, &observed, now);
            for c in &status.conditions {
                *counts
                    .entry((c.type_.clone(), c.status.as_str(), c.reason.clone()))
                    .or_default() += 1;
            }
            let hurry = urgent(object.status.as_ref(), &status);
            let when = due(
                object.status.as_ref() != Some(&status),
                hurry,
                self.memory.written("vault", key),
                clock,
            );
            planned.add(when, hurry, Write::Vault(object.clone(), Box::new(status)));
        }
        for (key, object) in &peers.objects {
            let object = self.memory.peers.get(key).unwrap_or(object);
            let status = plan_peer(object, &observed, &self.place.pod_namespace, now);
            let hurry = object
                .status
                .as_ref()
                .is_none_or(|before| ready_differs(&before.conditions, &status.conditions));
            let when = due(
                object.status.as_ref() != Some(&status),
                hurry,
                self.memory.written("peer", key),
                clock,
            );
            planned.add(when, hurry, Write::Peer(object.clone(), Box::new(status)));
        }
        for (key, object) in &nodes.objects {
            let object = self.memory.nodes.get(key).unwrap_or(object);
            let answers = views.iter().any(|v| v.name == key.1 && v.table.is_some());
            let Some(conditions) = plan_node(object, answers, now) else {
                continue;
            };
            let before = object
                .status
                .as_ref()
                .map(|s| s.conditions.as_slice())
                .unwrap_or_default();
            let when = due(
                before != conditions,
                true,
                self.memory.written("node", key),
                clock,
            );
            planned.add(when, true, Write::Node(object.clone(), conditions));
        }
        drop((vaults, peers, nodes));
        self.count(&counts, observed.answering(), observed.replicas());
        planned
    }

    fn count(
        &self,
        counts: &HashMap<(String, &'static str, String), i64>,
        answering: usize,
        replicas: usize,
    ) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.metrics.vaults.reset();
        for ((type_, status, reason), n) in counts {
            self.metrics
                .vaults
                .with_label_values(&[type_.as_str(), status, reason.as_str()])
                .set(*n);
        }
        self.metrics
            .nodes
            .with_label_values(&["answering"])
            .set(number(answering));
        self.metrics
            .nodes
            .with_label_values(&["silent"])
            .set(number(replicas - answering));
    }
}

impl Memory {
    fn written(&self, kind: &'static str, key: &Key) -> Option<Instant> {
        self.written.get(&(kind, key.clone())).copied()
    }

    fn remember(&mut self, object: Written) {
        let now = Instant::now();
        match object {
            Written::Vault(o) => {
                self.written.insert(("vault", key(&*o)), now);
                self.vaults.insert(key(&*o), o);
            }
            Written::Peer(o) => {
                self.written.insert(("peer", key(&*o)), now);
                self.peers.insert(key(&*o), o);
            }
            Written::Node(o) => {
                self.written.insert(("node", key(&*o)), now);
                self.nodes.insert(key(&*o), o);
            }
        }
    }

    /// Drops what the watches have caught up with, and what is no more.
    fn forget(
        &mut self,
        vaults: &BTreeMap<Key, Arc<PolykeyVault>>,
        peers: &BTreeMap<Key, Arc<PolykeyPeer>>,
        nodes: &BTreeMap<Key, Arc<PolykeyNode>>,
    ) {
        self.vaults
            .retain(|k, o| vaults.get(k).is_some_and(|known| is_newer(&**o, &**known)));
        self.peers
            .retain(|k, o| peers.get(k).is_some_and(|known| is_newer(&**o, &**known)));
        self.nodes
            .retain(|k, o| nodes.get(k).is_some_and(|known| is_newer(&**o, &**known)));
        self.written.retain(|(kind, k), _| match *kind {
            "vault" => vaults.contains_key(k),
            "peer" => peers.contains_key(k),
            _ => nodes.contains_key(k),
        });
    }
}

fn key<K: kube::Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// True when the object that a write gave back is newer than the watched one, and is the same object.
fn is_newer<K: kube::Resource>(written: &K, watched: &K) -> bool {
    let revision = |o: &K| o.resource_version().unwrap_or_default();
    written.uid() == watched.uid()
        && compare(&revision(written), &revision(watched)) == Ordering::Greater
}
