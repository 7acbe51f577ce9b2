//! The local API of a node: the Unix socket for its user and its warden, TLS for workloads and the operator, plain HTTP for probes and metrics.
//!
//! Here is who may ask and in which form; what is answered comes from the vaults, the peers, the access set and the watches.

mod admin;
mod errors;
mod guard;
mod history;
mod key;
mod probes;
mod recovery;
mod reply;
mod reuse;
mod serve;
mod stall;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod unix;
mod values;
mod workloads;

pub use probes::Health;
pub use tls::TlsError;
pub use unix::{Socket, SocketError};

use crate::access::Access;
use crate::agent::Ask;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::record::Record;
use crate::vaults::Vaults;
use crate::watch::Watches;
use crate::workload::Workloads;
use guard::{SocketDoor, TlsDoor};
use polykey_core::ids::NodeId;
use reuse::Clients;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long the goodbyes to watches are spread over, so that a thousand sidecars do not reach the other nodes in one moment. Within the 30 s that Kubernetes gives a pod.
pub const GOODBYES: Duration = Duration::from_secs(10);

/// Facts of this process.
pub struct About {
    /// This node.
    pub node: NodeId,
    /// Where the store is.
    pub node_path: PathBuf,
    /// `passphrase` or `keyfile`.
    pub unlock_method: &'static str,
    /// Starts of this store.
    pub boot: u64,
    /// When this process started.
    pub since: Instant,
    /// `namespace:serviceaccount` of the operator.
    pub operator: Option<String>,
    /// For how long what no version needs is spared.
    pub spare: Duration,
}

/// What the handlers work with. They get it through `guard` only.
pub struct Services {
    /// Facts.
    pub about: About,
    /// The vaults.
    pub vaults: Arc<Vaults>,
    /// The peers.
    pub peers: Arc<Peers>,
    /// The access set.
    pub access: Arc<Access>,
    /// The open watches.
    pub watches: Arc<Watches>,
    /// The token rule; absent where no workloads are served.
    pub workloads: Option<Arc<Workloads>>,
    /// The audit.
    pub record: Arc<Record>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Told when somebody asks the agent to stop, or to start again.
    pub ask: mpsc::Sender<Ask>,
    /// Which client uses which pod's token.
    pub clients: Mutex<Clients>,
}

impl Services {
    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to listen, and what is bound already.
pub struct Doors {
    /// The socket.
    pub socket: Socket,
    /// TLS, and the seed of the node's key that it proves itself with.
    pub tls: Option<(TcpListener, zeroize::Zeroizing<[u8; 32]>)>,
}

/// The running servers.
pub struct Servers {
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
    watches: Arc<Watches>,
    health: Arc<Health>,
    tls_address: Option<SocketAddr>,
}

/// Serves probes and metrics on `listener` until the process ends. Started first: the kubelet asks while the store is still opening.
pub fn serve_probes(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(probes::accept(
        listener,
        probes::router(health, metrics),
        stop,
    ))
}

/// Starts the servers.
pub fn start(
    doors: Doors,
    services: Arc<Services>,
    health: Arc<Health>,
) -> Result<Servers, TlsError> {
    let (stop, stopped) = watch::channel(false);
    let mut running = JoinSet::new();
    let mut tls_address = None;
    if let Some((listener, seed)) = doors.tls {
        tls_address = listener.local_addr().ok();
        let config = tls::config(&seed)?;
        let app = workloads::router(TlsDoor::new(services.clone()));
        let metrics = services.metrics.clone();
        running.spawn(tls::accept(listener, config, app, metrics, stopped.clone()));
        if let Some(workloads) = services.workloads.clone() {
            let mut stopped = stopped.clone();
            running.spawn(async move {
                tokio::select! {
                    () = workloads.keep_fresh() => {}
                    () = serve::stopped(&mut stopped) => {}
                }
            });
        }
    }
    let watches = services.watches.clone();
    // The probes outlive the servers: they must not keep the store open.
    let behind = Arc::downgrade(&services);
    health.on_scrape(move |metrics| {
        if let Some(services) = behind.upgrade() {
            table::count_behind(&services, metrics);
        }
    });
    let admin = admin::router(SocketDoor::new(services));
    running.spawn(doors.socket.accept(admin, stopped));
    health.listening();
    Ok(Servers {
        stop,
        running,
        watches,
        health,
        tls_address,
    })
}

impl Servers {
    /// Where TLS is served.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Not ready, goodbye to every watch, then no more connections.
    pub async fn stop(self) {
        self.stop_within(GOODBYES).await;
    }

    async fn stop_within(mut self, goodbyes: Duration) {
        self.health.stopping();
        self.watches.say_goodbye(goodbyes).await;
        self.stop.send_replace(true);
        while self.running.join_next().await.is_some() {}
    }
}
