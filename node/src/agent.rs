//! The agent: everything a running node is made of, put together in the one order that works, and taken apart again.
//!
//! | step | needs |
//! |---|---|
//! | probes answer | nothing: a kubelet asks while the store still opens |
//! | the socket is taken | that no other agent has it |
//! | identity, store, vaults, audit | the password or key file |
//! | peers, access set, watches | the vaults |
//! | the local API answers | all of them |

use crate::access::{Access, AccessError};
use crate::audit::{Audit, AuditError};
use crate::identity::{self, Identity, IdentityError};
use crate::local::{self, About, Doors, Health, Servers, Services, Socket, SocketError, TlsError};
use crate::metrics::Metrics;
use crate::net::{Net, NetError};
use crate::peers::{Peers, PeersError, Start};
use crate::record::Record;
use crate::store::{Store, StoreError};
use crate::successor::{self, SuccessorError};
use crate::vaults::{VaultError, Vaults};
use crate::watch::{Nodes, Watches};
use crate::workload::{self, IssuerError, Workloads};
use polykey_core::ids::NodeId;
use polykey_core::keys::{Key32, RootKey};
use polykey_core::unlock::{Method, Secret};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

/// How often grants that have expired are looked for.
const EXPIRY: Duration = Duration::from_secs(20);
/// The first collection comes so long after the start, so that an agent which never runs for long collects too.
const FIRST_COLLECT: Duration = Duration::from_mins(1);
/// The shortest time between two collections.
const COLLECT: Duration = Duration::from_millis(100);
/// How long owners have to hand a new member its key before any reader does.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long requests that were begun before the stop may take to end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Port of the TLS API where none is served, for the addresses of siblings that nobody will ask.
const NO_PORT: u16 = 0;

/// How long a start after a change of the key tries to get back what the stop before it still holds: sockets and the store.
const AGAIN: Duration = Duration::from_secs(20);
/// Between two tries.
const AGAIN_EVERY: Duration = Duration::from_millis(50);

/// What opens the identity.
pub enum Unlock {
    /// A person's password.
    Password(Zeroizing<String>),
    /// Content of a key file.
    KeyFile(Zeroizing<Vec<u8>>),
}

impl Unlock {
    /// For the identity's own functions.
    #[must_use]
    pub fn secret(&self) -> Secret<'_> {
        match self {
            Unlock::Password(password) => Secret::Passphrase(password),
            Unlock::KeyFile(bytes) => Secret::KeyFile(bytes),
        }
    }

    /// Opens nothing: an agent that runs has no use for the secret, and keeps none.
    fn forgotten() -> Unlock {
        Unlock::KeyFile(Zeroizing::new(Vec::new()))
    }

    fn copy(&self) -> Unlock {
        match self {
            Unlock::Password(password) => Unlock::Password(password.clone()),
            Unlock::KeyFile(bytes) => Unlock::KeyFile(bytes.clone()),
        }
    }
}

/// What an agent is asked for over its socket.
pub enum Ask {
    /// To stop.
    Stop,
    /// To start again with the key that has this device's place now. The secret is the one that opened the identity.
    Again(Unlock),
}

/// How a node is to run.
pub struct Config {
    /// Folder of identity, store and audit.
    pub node_path: PathBuf,
    /// The socket of the local API.
    pub socket: PathBuf,
    /// What opens the identity.
    pub unlock: Unlock,
    /// Makes a new identity for the key file when there is none.
    pub init: bool,
    /// UDP address for peers.
    pub listen: SocketAddr,
    /// TCP address for workloads and the operator.
    pub api_listen: Option<SocketAddr>,
    /// TCP address for probes and metrics.
    pub probe_listen: Option<SocketAddr>,
    /// How workloads prove who they are; absent where none are served.
    pub workloads: Option<workload::Config>,
    /// `namespace:serviceaccount` of the operator.
    pub operator: Option<String>,
    /// Name of the pod: the store remembers it.
    pub pod_name: Option<String>,
    /// Takes a store that another pod made.
    pub move_here: bool,
    /// A person says that no other copy of this node runs any more.
    pub only_copy: bool,
    /// For how long what no version needs is spared: [`SPARED`](crate::vaults::SPARED), but in tests.
    pub spare: Duration,
    /// Versions of one author in one vault that are taken from peers a second.
    pub author_rate: u64,
    /// Domain of the headless Service of the nodes.
    pub peers_domain: Option<String>,
}

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vaults.
    #[error("the vaults in the store cannot be opened")]
    Vaults(#[from] VaultError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The access set.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What verifies tokens.
    #[error("tokens of workloads cannot be verified")]
    Workloads(#[from] IssuerError),
    /// The QUIC endpoint.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The peers.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A TCP address.
    #[error("cannot listen on TCP {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// Work on the disk ended without a result.
    #[error("the start was interrupted")]
    Interrupted,
    /// A change of the key that was begun.
    #[error(transparent)]
    Successor(#[from] SuccessorError),
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness")]
    Randomness,
}

/// A running node.
pub struct Agent {
    /// Everything that its API works with.
    pub services: Arc<Services>,
    servers: Servers,
    audit: Arc<Audit>,
    asked: mpsc::Receiver<Ask>,
    probes: Option<Probes>,
    expiry: JoinHandle<()>,
    released: watch::Receiver<()>,
}

struct Probes {
    address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

/// Runs a node until SIGTERM, SIGINT or a request over the socket, and again with another key each time that it got one; `started` is told each time.
///
/// # Errors
/// What did not start, or that signals cannot be waited for.
pub async fn serve(mut config: Config, started: impl Fn(&Agent)) -> Result<(), AgentError> {
    let mut agent = Agent::start(&config).await?;
    config.unlock = Unlock::forgotten();
    started(&agent);
    // From here on a signal is kept, also while the agent starts again.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(e) => {
            agent.stop().await;
            return Err(e);
        }
    };
    // Peers dial the port that they know.
    if let Some(bound) = agent.services.peers.local_addr() {
        config.listen.set_port(bound.port());
    }
    while let Some(unlock) = agent.run(&mut signals).await {
        config.unlock = unlock;
        agent = start_again(&config).await?;
        config.unlock = Unlock::forgotten();
        started(&agent);
    }
    Ok(())
}

/// What was stopped a moment ago may still hold its sockets.
async fn start_again(config: &Config) -> Result<Agent, AgentError> {
    let deadline = Instant::now() + AGAIN;
    loop {
        match Agent::start(config).await {
            Err(e) if e.may_pass() && Instant::now() < deadline => {
                tokio::time::sleep(AGAIN_EVERY).await;
            }
            other => return other,
        }
    }
}

impl AgentError {
    /// Whether something is held that may soon be let go of.
    fn may_pass(&self) -> bool {
        matches!(
            self,
            AgentError::Net(NetError::Bind { .. })
                | AgentError::Listen { .. }
                | AgentError::Socket(SocketError::Taken(_))
                | AgentError::Store(StoreError::InUse { .. })
        )
    }
}

/// What ends an agent from outside.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches SIGTERM and SIGINT from now on.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn new() -> Result<Signals, AgentError> {
        let catch = |kind| signal(kind).map_err(AgentError::Signals);
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
        })
    }
}

impl Agent {
    /// Starts a node.
    ///
    /// # Errors
    /// What did not start; whatever did is taken down again.
    pub async fn start(config: &Config) -> Result<Agent, AgentError> {
        let since = Instant::now();
        let (metrics, health) = (Metrics::new(), Health::new());
        let probes = serve_probes(config.probe_listen, &health, &metrics).await?;
        let socket = Socket::bind(&config.socket).await?;
        let tls = match config.api_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };

        let opened = open(config).await?;
        let Opened {
            store,
            vaults,
            audit,
            seed,
            method,
        } = opened;
        vaults.take_of_authors(config.author_rate);
        if let Some(pod) = &config.pod_name {
            store.belongs_to(pod, config.move_here).await?;
        }
        if config.only_copy {
            vaults.standing().alone().await?;
        }
        let me = vaults.me();
        let record = Arc::new(Record::new(writing_to(audit.clone())));

        let cluster = config
            .workloads
            .as_ref()
            .and_then(|w| w.audience.strip_prefix("polykey:"));
        let access = Access::open(store.clone(), cluster)?;
        let serves_workloads = config.workloads.is_some();
        let workloads = config
            .workloads
            .clone()
            .map(|w| Workloads::open(w, store.clone(), metrics.clone()))
            .transpose()?;
        let net = Net::bind(&seed, config.listen)?;
        let start = Start {
            instance: random()?,
            boot: store.boot(),
        };
        let peers = Peers::start(me, start, net, store.clone(), vaults.clone())?;
        // The rules of the last run hold until the warden speaks.
        peers.set_access(&access.peers(), &access.siblings());
        let nodes = nodes(me, config, tls.as_ref());
        let watches = Watches::new(
            vaults.clone(),
            access.clone(),
            workloads.clone(),
            record.clone(),
            metrics.clone(),
            nodes,
        );

        let (ask, asked) = mpsc::channel(1);
        let about = About {
            node: me,
            node_path: config.node_path.clone(),
            unlock_method: unlocked_by(method),
            boot: store.boot(),
            since,
            operator: config.operator.clone(),
            spare: config.spare,
        };
        let services = Arc::new(Services {
            about,
            vaults: vaults.clone(),
            peers: peers.clone(),
            access: access.clone(),
            watches,
            workloads,
            record,
            metrics,
            ask,
            clients: Mutex::default(),
        });
        let released = store.released();
        let services_access = access.clone();
        health.started(store, serves_workloads.then_some(access), Some(peers));
        let doors = Doors {
            socket,
            tls: tls.map(|listener| (listener, seed)),
        };
        let servers = local::start(doors, services.clone(), health)?;
        tracing::info!(node = %me.short(), vaults = vaults.list().len(), udp = ?services.peers.local_addr(), "the agent answers");
        Ok(Agent {
            services,
            servers,
            audit,
            asked,
            probes,
            expiry: tokio::spawn(tend(vaults, services_access, config.spare)),
            released,
        })
    }

    /// Where the TLS API is.
    #[must_use]
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.servers.tls_address()
    }

    /// Where probes and metrics are.
    #[must_use]
    pub fn probe_address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().and_then(|p| p.address)
    }

    /// The audit.
    #[must_use]
    pub fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Runs until SIGTERM, SIGINT or a request over the socket, then stops. Gives what opens the identity when it is to start again.
    pub async fn run(mut self, signals: &mut Signals) -> Option<Unlock> {
        let (why, again) = tokio::select! {
            _ = signals.terminate.recv() => ("SIGTERM", None),
            _ = signals.interrupt.recv() => ("SIGINT", None),
            asked = self.asked.recv() => match asked {
                Some(Ask::Again(unlock)) => ("to start again with another key", Some(unlock)),
                Some(Ask::Stop) | None => ("asked over the socket", None),
            },
        };
        tracing::info!(why, "stopping");
        self.stop().await;
        again
    }

    /// Says goodbye to watches and peers, and returns when everything acknowledged is on the disk and the head of the audit is signed.
    pub async fn stop(mut self) {
        self.expiry.abort();
        self.servers.stop().await;
        self.services.peers.stop().await;
        if let Some(probes) = self.probes {
            probes.stop.send_replace(true);
            probes.running.await.ok();
        }
        // Both end with a thread that is waited for: not on a thread of the runtime.
        let rest = (self.services, self.audit);
        tokio::task::spawn_blocking(move || drop(rest)).await.ok();
        // Who is still being answered holds the store a moment longer.
        tokio::time::timeout(LAST_ANSWERS, self.released.changed())
            .await
            .ok();
    }
}

async fn serve_probes(
    address: Option<SocketAddr>,
    health: &Arc<Health>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Probes>, AgentError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = listen(address).await?;
    let address = listener.local_addr().ok();
    let (stop, stopped) = watch::channel(false);
    let running = local::serve_probes(listener, health.clone(), metrics.clone(), stopped);
    Ok(Some(Probes {
        address,
        stop,
        running,
    }))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, AgentError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AgentError::Listen { address, source })
}

/// What the secret opens.
struct Opened {
    store: Arc<Store>,
    vaults: Arc<Vaults>,
    audit: Arc<Audit>,
    seed: Key32,
    method: Method,
}

/// Argon2 takes 0.2 s and a large store seconds: not on a thread of the runtime.
async fn open(config: &Config) -> Result<Opened, AgentError> {
    let node_path = config.node_path.clone();
    let (unlock, init) = (config.unlock.copy(), config.init);
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let Identity {
            root,
            recovery,
            method,
            rows,
        } = identity_of(&node_path, &unlock, init)?;
        let store = Store::open(&identity::store_dir(&node_path), rows)?;
        let secret = unlock.secret();
        let root = runtime.block_on(successor::settle(&node_path, &store, root, &secret))?;
        let seed = root.seed();
        let audit = Arc::new(Audit::open(
            &identity::audit_dir(&node_path),
            store.clone(),
            RootKey::from_seed(&seed),
        )?);
        let vaults = Vaults::open(store.clone(), root, recovery)?;
        Ok(Opened {
            store,
            vaults,
            audit,
            seed,
            method,
        })
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| AgentError::Interrupted)?
}

fn identity_of(
    node_path: &std::path::Path,
    unlock: &Unlock,
    init: bool,
) -> Result<Identity, IdentityError> {
    match unlock {
        Unlock::KeyFile(key) if init && !identity::exists(node_path)? => {
            let made = identity::create_for_key_file(node_path, key)?;
            tracing::info!(node = %made.node_id(), "a new identity was made");
            Ok(made)
        }
        _ => identity::open(node_path, &unlock.secret()),
    }
}

fn unlocked_by(method: Method) -> &'static str {
    match method {
        Method::Passphrase(_) => "passphrase",
        Method::KeyFile => "keyfile",
    }
}

/// A pod is `<pod>.<domain of the headless Service>`; a laptop has no address that a sidecar would dial.
fn nodes(me: NodeId, config: &Config, tls: Option<&TcpListener>) -> Nodes {
    let port = tls
        .and_then(|l| l.local_addr().ok())
        .map_or(NO_PORT, |a| a.port());
    let name = config.pod_name.as_ref().zip(config.peers_domain.as_ref());
    Nodes {
        me,
        address: name.map(|(pod, domain)| format!("{pod}.{domain}:{port}")),
        port,
    }
}

/// What the API puts on record goes into the audit. A failure is the audit's to report: whoever asked is answered.
fn writing_to(
    audit: Arc<Audit>,
) -> impl Fn(crate::record::Happened) -> crate::record::Written + Send + Sync + 'static {
    move |happened| {
        let audit = audit.clone();
        Box::pin(async move {
            if let Err(e) = audit.write(happened).await {
                tracing::error!(
                    error = &e as &dyn std::error::Error,
                    "something is missing in the audit"
                );
            }
        })
    }
}

/// What vaults need from time to time.
async fn tend(vaults: Arc<Vaults>, access: Arc<Access>, spare: Duration) {
    tokio::join!(end_expired(&vaults), collect(&vaults, &access, spare));
}

/// What no version needs goes, some time after it came to be so.
async fn collect(vaults: &Vaults, access: &Access, spare: Duration) {
    let mut wait = spare.min(FIRST_COLLECT);
    loop {
        tokio::time::sleep(wait.max(COLLECT)).await;
        vaults.collect_all(&access.pins().collect(), spare).await;
        wait = spare;
    }
}

/// Owners write the removal of a grant that has ended by the clock, so that all members come to one state.
async fn end_expired(vaults: &Vaults) {
    let mut tick = tokio::time::interval(EXPIRY);
    // Not all readers at one moment.
    let jitter = random::<1>().map_or(0, |[byte]| u64::from(byte) * 60);
    let patience = PATIENCE + Duration::from_millis(jitter);
    loop {
        tick.tick().await;
        if let Err(e) = vaults.wrap_missing(patience).await {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "a member has no key of a vault yet"
            );
        }
        if let Err(e) = vaults.end_expired().await {
            tracing::warn!(
                error = &e as &dyn std::error::Error,
                "a grant that has expired is not removed yet"
            );
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], AgentError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AgentError::Randomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
