//! The nodes that this one talks to: whom it knows, whom it dials, and the one connection that it keeps with each.
//!
//! An unknown node is turned away right after its handshake. What flows over a connection is [`crate::sync`]'s; no vault is opened here.

pub mod address;
mod backoff;
mod configured;
mod connections;
mod dial;
mod double;
mod hello;
pub mod known;
mod seen;
mod table;

pub use configured::{MAX_ADDRESSES, MAX_CONFIGURED};

use crate::net::{Close, Connection, Net};
use crate::store::{Store, StoreError};
use crate::sync::Syncing;
use crate::vaults::Vaults;
use address::{AddressError, PeerAddress};
use connections::{Connections, Placed};
use known::{Known, Place, Why};
use polykey_client::{access, api};
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::wire::{self, SignedStart};
use seen::SeenStarts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Handshakes of accepted connections in progress; further ones wait in the endpoint's own bounded queue.
const MAX_HANDSHAKES: usize = 64;
/// How often lists that end by the clock (a peer's `expires`, a grant's) are looked at, and whether a beat is due.
const TICK: Duration = Duration::from_secs(5);
/// Between two looks at who listens.
const HEARING: Duration = Duration::from_millis(10);

/// Why peers could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// The address is none.
    #[error("{address}: {source}")]
    Address {
        /// What was written.
        address: String,
        /// Why.
        #[source]
        source: AddressError,
    },
    /// The node itself.
    #[error("that is this node itself")]
    Myself,
    /// Over [`MAX_CONFIGURED`] or [`MAX_ADDRESSES`].
    #[error("too many {what}: the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The rows could not be read or written.
    #[error("peers in the store")]
    Store(#[from] StoreError),
    /// A row that this program did not write.
    #[error("the row of a peer is damaged")]
    Row,
}

/// What this process says of itself in a hello.
#[derive(Clone, Copy)]
pub struct Start {
    /// Random for each start of a process.
    pub instance: [u8; 16],
    /// Counts the starts of the store.
    pub boot: u64,
}

/// Known nodes and connections.
pub struct Peers {
    me: NodeId,
    start: SignedStart,
    net: Net,
    store: Arc<Store>,
    vaults: Arc<Vaults>,
    known: Arc<RwLock<Known>>,
    syncing: Arc<Syncing>,
    table: Mutex<Connections>,
    seen: Mutex<SeenStarts>,
    /// One edit of the rows at a time.
    editing: tokio::sync::Mutex<()>,
    /// Changes when a list of known nodes does.
    lists: watch::Sender<u64>,
    /// Changes when a connection begins or ends.
    links: watch::Sender<u64>,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Peers {
    /// Reads the configured peers and starts to listen, accept and dial.
    pub fn start(
        me: NodeId,
        start: Start,
        net: Net,
        store: Arc<Store>,
        vaults: Arc<Vaults>,
    ) -> Result<Arc<Peers>, PeersError> {
        let known = Arc::new(RwLock::new(configured::read(&store)?));
        let peers = Arc::new(Peers {
            me,
            start: vaults.sign_start(start.instance, start.boot),
            seen: Mutex::new(SeenStarts::read(&store)?),
            syncing: Syncing::new(me, vaults.clone(), known.clone()),
            net,
            store,
            vaults,
            known,
            table: Mutex::default(),
            editing: tokio::sync::Mutex::default(),
            lists: watch::Sender::new(0),
            links: watch::Sender::new(0),
            running: Mutex::default(),
        });
        let running = tokio::spawn(peers.clone().run());
        *locked(&peers.running) = Some(running);
        Ok(peers)
    }

    /// Where this node listens.
    #[must_use]
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.net.local_addr()
    }

    /// Puts the peers and siblings of an access set in force, all of them. Connected nodes are told to look again at what they share with this one.
    pub fn set_access(&self, peers: &[access::Peer], siblings: &[access::Sibling]) {
        self.change(|known| known.set_access(peers, siblings));
        let connected = locked(&self.table).open();
        let mine = wire::Hello::new(&self.start, None);
        tokio::spawn(async move {
            for connection in connected {
                // One that fails has ended, and looks again when it returns.
                let _ = hello::say_hello(&connection, &mine).await;
            }
        });
    }

    /// Whether a connection to `node` is open.
    #[must_use]
    pub fn connected(&self, node: &NodeId) -> bool {
        locked(&self.table).with(node).is_some()
    }

    /// Waits, at most for `longest`, until whoever is connected and has a part in these vaults has heard that this node has none any more: such a peer refuses what this node offers.
    pub async fn heard_out(&self, vaults: &BTreeSet<VaultId>, longest: Duration) {
        let deadline = tokio::time::Instant::now() + longest;
        let connected: Vec<NodeId> = locked(&self.table).nodes().copied().collect();
        let of_peer = |peer: NodeId| {
            let shared = vaults
                .iter()
                .filter(move |v| self.vaults.is_shared_with(v, &peer));
            shared.map(move |vault| (peer, *vault))
        };
        self.syncing
            .await_refusals(connected.into_iter().flat_map(of_peer).collect());
        while self.syncing.awaits_refusals(|peer| self.connected(peer))
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(HEARING).await;
        }
    }

    /// Told when a connection begins or ends.
    #[must_use]
    pub fn subscribe_links(&self) -> watch::Receiver<u64> {
        self.links.subscribe()
    }

    /// Open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        locked(&self.table).nodes().count()
    }

    /// Known and connected nodes, by id.
    #[must_use]
    pub fn list(&self) -> Vec<api::Peer> {
        let now = now_ms();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let table = locked(&self.table);
        let mut nodes = known.nodes(now / 1000);
        nodes.extend(table.nodes());
        nodes
            .into_iter()
            .map(|node| {
                let live = table.with(&node);
                let past = table.past(&node);
                let why = known.why(&node, now / 1000).unwrap_or(Why::Member);
                let addresses = known.addresses(&node, now / 1000);
                api::Peer {
                    node,
                    addresses: addresses.iter().map(ToString::to_string).collect(),
                    origin: why.word().to_owned(),
                    connected: live.is_some(),
                    cloned: past.is_some_and(|p| p.cloned_ms.is_some()),
                    address: live.map(|c| c.remote().to_string()),
                    seen_ms: match live {
                        Some(_) => Some(now),
                        None => past.and_then(|p| p.seen_ms),
                    },
                    last_error: match live {
                        Some(_) => None,
                        None => past.and_then(|p| p.failure.clone()),
                    },
                }
            })
            .collect()
    }

    /// Closes every connection and the socket.
    pub async fn stop(&self) {
        let running = locked(&self.running).take();
        if let Some(running) = running {
            running.abort();
            let _ = running.await;
        }
        let open = locked(&self.table).take_all();
        for connection in &open {
            connection.close(Close::Bye);
        }
        let flushed = futures::future::join_all(open.iter().map(Connection::flushed));
        tokio::join!(self.net.close(), flushed);
    }

    async fn run(self: Arc<Self>) {
        let mut handshakes = JoinSet::new();
        let mut diallers = BTreeMap::<PeerAddress, Dialler>::new();
        let mut lists = self.lists.subscribe();
        let mut changed = self.vaults.subscribe();
        let mut tick = tokio::time::interval(TICK);
        self.update_diallers(&mut diallers);
        loop {
            tokio::select! {
                knock = self.net.accept(), if handshakes.len() < MAX_HANDSHAKES => {
                    let Some(knock) = knock else { return };
                    handshakes.spawn(self.clone().admit(knock));
                }
                _ = handshakes.join_next(), if !handshakes.is_empty() => {}
                _ = lists.changed() => {
                    self.update_diallers(&mut diallers);
                    self.drop_strangers();
                }
                _ = changed.recv() => self.drop_strangers(),
                _ = tick.tick() => {
                    let syncing = self.syncing.clone();
                    tokio::task::spawn_blocking(move || syncing.beat());
                    self.update_diallers(&mut diallers);
                    self.drop_strangers();
                }
            }
        }
    }

    fn update_diallers(self: &Arc<Self>, diallers: &mut BTreeMap<PeerAddress, Dialler>) {
        let places = self.read(Known::places);
        diallers
            .retain(|address, dialler| places.contains_key(address) && !dialler.0.is_finished());
        for address in places.into_keys() {
            diallers.entry(address.clone()).or_insert_with(|| {
                Dialler(tokio::spawn(dial::keep_connected(self.clone(), address)))
            });
        }
    }

    /// Ends the connections of nodes that are no longer known.
    fn drop_strangers(&self) {
        let open = locked(&self.table).open();
        for connection in open {
            if !self.knows(&connection.node()) {
                connection.close(Close::UnknownNode);
            }
        }
    }

    /// Makes this the connection to its node, unless the one there is stays. That of another process of the same node steps aside until it is known whether
    /// it lives.
    fn register(self: &Arc<Self>, connection: &Connection, start: SignedStart) -> bool {
        let placed = locked(&self.table).place(&self.me, connection, start);
        let Some(Placed { new, doubted }) = placed else {
            return false;
        };
        let number = new.number;
        if let Some(old) = doubted {
            tokio::spawn(double::settle(self.clone(), old, new));
        }
        tokio::spawn(self.clone().serve(connection.clone(), number));
        self.links.send_modify(|n| *n += 1);
        true
    }

    async fn serve(self: Arc<Self>, connection: Connection, number: u64) {
        self.syncing.clone().run(&connection, &self.start).await;
        let why = connection.closed().await;
        let node = connection.node();
        let ended = locked(&self.table).ended(&node, number, why.to_string(), now_ms());
        if ended {
            tracing::info!(peer = %node.short(), reason = %why, "peer disconnected");
        }
        self.links.send_modify(|n| *n += 1);
    }

    fn knows(&self, node: &NodeId) -> bool {
        self.read(|known, now| known.why(node, now)).is_some()
            || !self.vaults.shared_with(node).is_empty()
    }

    fn place(&self, address: &PeerAddress) -> Option<Place> {
        self.read(|known, now| known.places(now).remove(address))
    }

    /// Nodes of a place that have no connection.
    fn missing(&self, place: &Place) -> Vec<NodeId> {
        let table = locked(&self.table);
        let missing = place.nodes.iter();
        missing
            .filter(|node| **node != self.me && table.with(node).is_none())
            .copied()
            .collect()
    }

    fn note_failure(&self, nodes: &[NodeId], why: &str) {
        let mut table = locked(&self.table);
        for node in nodes {
            table.past_of(*node).failure = Some(why.to_owned());
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Known, u64) -> T) -> T {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        look(&known, now_ms() / 1000)
    }

    fn change(&self, edit: impl FnOnce(&mut Known)) {
        edit(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        let known = self.read(Known::nodes);
        locked(&self.table).forget_all_but(&known);
        self.lists.send_modify(|n| *n += 1);
    }
}

/// A dialler ends with whoever holds it.
struct Dialler(JoinHandle<()>);

impl Drop for Dialler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
