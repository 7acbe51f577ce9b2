//! Plain HTTP for the kubelet and Prometheus: is the process alive, has it started, is it of use. Nothing here tells a secret, a name or an id.

use super::serve::{serve, stopped};
use crate::access::Access;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::store::{Store, Table};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// A store that has not answered for this long is stuck.
pub const STORE_DEADLINE: Duration = Duration::from_mins(1);
/// How often the store is asked.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Connections at once: a kubelet and a few scrapers.
const MAX_CONNECTIONS: usize = 32;
/// Wait after a failed accept.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How this process stands. Made before the store is opened, which can take minutes after a crash.
pub struct Health {
    started: OnceLock<Started>,
    scrape: OnceLock<BeforeScrape>,
    listening: AtomicBool,
    stopping: AtomicBool,
    store_answered: Mutex<Instant>,
}

type BeforeScrape = Box<dyn Fn(&Metrics) + Send + Sync>;

struct Started {
    store: Arc<Store>,
    /// The access set, on a node that serves workloads.
    access: Option<Arc<Access>>,
    peers: Option<Arc<Peers>>,
}

impl Health {
    /// A process that has only just begun.
    #[must_use]
    pub fn new() -> Arc<Health> {
        Arc::new(Health {
            started: OnceLock::new(),
            scrape: OnceLock::new(),
            listening: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            store_answered: Mutex::new(Instant::now()),
        })
    }

    /// The identity is unlocked and the store is open. `access` is that of a node that serves workloads; `peers` are counted in the metrics.
    pub fn started(
        self: &Arc<Self>,
        store: Arc<Store>,
        access: Option<Arc<Access>>,
        peers: Option<Arc<Peers>>,
    ) {
        *self.answered() = Instant::now();
        let started = Started {
            store,
            access,
            peers,
        };
        if self.started.set(started).is_ok() {
            tokio::spawn(ask_store(Arc::downgrade(self)));
        }
    }

    /// Does something before the metrics are read: what is too dear to keep up to date all the time.
    pub fn on_scrape(&self, act: impl Fn(&Metrics) + Send + Sync + 'static) {
        self.scrape.set(Box::new(act)).ok();
    }

    /// The ports that this node was told to serve are open.
    pub fn listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// From now on the node is leaving.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.store_answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Err with the reason when a restart may help.
    pub fn live(&self) -> Result<(), &'static str> {
        if self.started.get().is_some() && self.answered().elapsed() > STORE_DEADLINE {
            return Err("the store does not answer or takes no writes");
        }
        Ok(())
    }

    /// Err with the reason while the node is still coming up.
    pub fn startup(&self) -> Result<(), &'static str> {
        if self.started.get().is_some() {
            Ok(())
        } else {
            Err("locked, or the store is not open yet")
        }
    }

    /// Err with the reason while the node is of no use to workloads.
    pub fn ready(&self) -> Result<(), &'static str> {
        self.startup()?;
        if self.stopping.load(Ordering::Relaxed) {
            return Err("stopping");
        }
        if !self.listening.load(Ordering::Relaxed) {
            return Err("not listening yet");
        }
        let waits = self
            .started
            .get()
            .and_then(|s| s.access.as_ref())
            .is_some_and(|a| a.current().is_none());
        if waits {
            return Err("no access rules yet");
        }
        self.live()
    }
}

/// Asks the store now and then for as long as somebody looks. A store that takes no more writes counts as one that does not answer.
async fn ask_store(health: std::sync::Weak<Health>) {
    loop {
        {
            let Some(health) = health.upgrade() else {
                return;
            };
            let Some(store) = health.started.get().map(|s| s.store.clone()) else {
                return;
            };
            let asked = tokio::task::spawn_blocking(move || {
                store.get(Table::Meta, b"probe").is_ok() && !store.is_stopped()
            });
            if matches!(asked.await, Ok(true)) {
                *health.answered() = Instant::now();
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[derive(Clone)]
struct Shown {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// The routes.
pub fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route(
            "/livez",
            get(|State(s): State<Shown>| async move { say(s.health.live()) }),
        )
        .route(
            "/startupz",
            get(|State(s): State<Shown>| async move { say(s.health.startup()) }),
        )
        .route(
            "/readyz",
            get(|State(s): State<Shown>| async move { say(s.health.ready()) }),
        )
        .route(
            "/metrics",
            get(|State(s): State<Shown>| async move { scraped(s).await }),
        )
        .with_state(Shown { health, metrics })
}

fn say(state: Result<(), &'static str>) -> Response {
    match state {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Thousands of rules may have to be looked at: not on a thread that others wait for.
async fn scraped(shown: Shown) -> Response {
    match tokio::task::spawn_blocking(move || scrape(&shown)).await {
        Ok(response) => response,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn scrape(shown: &Shown) -> Response {
    if let Some(act) = shown.health.scrape.get() {
        act(&shown.metrics);
    }
    let access = shown.health.started.get().and_then(|s| s.access.as_ref());
    let rules = access
        .and_then(|a| a.current())
        .map_or(0, |c| c.set().rules.len());
    shown.metrics.access(rules, access.and_then(|a| a.age()));
    if let Some(peers) = shown.health.started.get().and_then(|s| s.peers.as_ref()) {
        let (all, connected) = (peers.list().len(), peers.connections());
        shown
            .metrics
            .peers(connected, all.saturating_sub(connected));
    }
    shown.metrics.locked(shown.health.startup().is_err());
    (
        [("content-type", "text/plain; version=0.0.4")],
        shown.metrics.text(),
    )
        .into_response()
}

/// Accepts until `stop` says true.
pub async fn accept(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(AFTER_FAILURE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let (app, stop) = (app.clone(), stop.clone());
        tokio::spawn(async move {
            serve(stream, app, stop).await;
            drop(place);
        });
    }
}
