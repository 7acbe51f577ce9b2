//! The nodes that this one talks to: whom it knows, whom it dials, and the one connection that it keeps with each.
//!
//! An unknown node is turned away right after its handshake. What flows over a connection is [`crate::sync`]'s; no vault is opened here.

pub mod address;
mod backoff;
mod dial;
mod double;
pub mod known;
mod seen;
mod table;

use crate::net::{Close, Connection, HANDSHAKE_DEADLINE, Knock, Net, NetError};
use crate::store::{Batch, Store, StoreError, Table};
use crate::sync::Syncing;
use crate::vaults::Vaults;
use address::{AddressError, PeerAddress};
use known::{Known, Place, Why};
use minicbor::{Decode, Encode};
use polykey_client::{access, api};
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::wire::SignedStart;
use polykey_core::{enc, wire};
use seen::SeenStarts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use table::Facts;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Most nodes that a person may write down, and most addresses of one: more is a script gone wrong.
pub const MAX_CONFIGURED: usize = 1024;
/// Most addresses of one node.
pub const MAX_ADDRESSES: usize = 16;
/// Handshakes of accepted connections in progress; further ones wait in the endpoint's own bounded queue.
const MAX_HANDSHAKES: usize = 64;
/// A hello is 210 bytes with all the versions it may name.
const MAX_HELLO: usize = 256;
/// How often lists that end by the clock (a peer's `expires`, a grant's) are looked at, and whether a beat is due.
const TICK: Duration = Duration::from_secs(5);
/// Between two looks at who listens.
const HEARING: Duration = Duration::from_millis(10);
/// Version of a row in [`Table::Peer`].
const ROW_VERSION: u8 = 1;

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

/// The rows of [`Table::Peer`], by node id.
#[derive(Encode, Decode)]
#[cbor(array)]
struct PeerRow {
    #[n(0)]
    version: u8,
    #[n(1)]
    addresses: Vec<String>,
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

#[derive(Default)]
struct Connections {
    next: u64,
    live: BTreeMap<NodeId, Live>,
    /// A second process with the identity of one in `live`, or the one before it that has not been found dead yet.
    beside: BTreeMap<NodeId, Live>,
    /// Nodes to which a hello is on its way.
    greeting: BTreeSet<NodeId>,
    past: BTreeMap<NodeId, Past>,
}

struct Live {
    number: u64,
    connection: Connection,
    facts: Facts,
    start: SignedStart,
}

#[derive(Default)]
struct Past {
    seen_ms: Option<u64>,
    failure: Option<String>,
    /// When two processes with its identity were found connected.
    cloned_ms: Option<u64>,
}

/// What came of a dial that was answered.
enum Greeting {
    /// There is a new connection.
    Connected,
    /// This one is connected already, or is about to be.
    Again(NodeId),
    /// A node that is not known here.
    Stranger(NodeId),
    /// The address leads back here.
    Myself,
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
        let known = Arc::new(RwLock::new(read_rows(&store)?));
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

    /// Adds `address` to those where `node` is dialled; without one, the node is only known and dials this one.
    pub async fn add(&self, node: NodeId, address: Option<&str>) -> Result<(), PeersError> {
        if node == self.me {
            return Err(PeersError::Myself);
        }
        let address = address.map(parse).transpose()?;
        let _one = self.editing.lock().await;
        let mut addresses = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let before = known.configured(&node);
            if before.is_none() && known.configured_count() >= MAX_CONFIGURED {
                return Err(too_many("peers", MAX_CONFIGURED));
            }
            before.cloned().unwrap_or_default()
        };
        addresses.extend(address);
        if addresses.len() > MAX_ADDRESSES {
            return Err(too_many("addresses of one peer", MAX_ADDRESSES));
        }
        let row = PeerRow {
            version: ROW_VERSION,
            addresses: addresses.iter().map(ToString::to_string).collect(),
        };
        let mut batch = Batch::default();
        batch.put(Table::Peer, node.as_bytes(), enc::encode(&row));
        self.store.commit(batch).await?;
        self.change(|known| known.configure(node, addresses));
        Ok(())
    }

    /// Forgets a configured peer with all its addresses; whether there was one. Its connection stays if it is known for another reason.
    pub async fn remove(&self, node: &NodeId) -> Result<bool, PeersError> {
        let _one = self.editing.lock().await;
        let mut batch = Batch::default();
        batch.remove(Table::Peer, node.as_bytes());
        self.store.commit(batch).await?;
        let mut was = false;
        self.change(|known| was = known.forget(node));
        Ok(was)
    }

    /// Puts the peers and siblings of an access set in force, all of them. Connected nodes are told to look again at what they share with this one.
    pub fn set_access(&self, peers: &[access::Peer], siblings: &[access::Sibling]) {
        self.change(|known| known.set_access(peers, siblings));
        let connected = self.open_connections();
        let hello = wire::Hello::new(&self.start, None);
        tokio::spawn(async move {
            for connection in connected {
                // One that fails has ended, and looks again when it returns.
                let _ = say_hello(&connection, &hello).await;
            }
        });
    }

    /// Whether a connection to `node` is open.
    #[must_use]
    pub fn connected(&self, node: &NodeId) -> bool {
        locked(&self.table).live.contains_key(node)
    }

    /// Waits, at most for `longest`, until whoever is connected and has a part in these vaults has heard that this node has none any more: such a peer refuses what this node offers.
    pub async fn heard_out(&self, vaults: &BTreeSet<VaultId>, longest: Duration) {
        let deadline = tokio::time::Instant::now() + longest;
        let connected: Vec<NodeId> = locked(&self.table).live.keys().copied().collect();
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
        locked(&self.table).live.len()
    }

    /// Known and connected nodes, by id.
    #[must_use]
    pub fn list(&self) -> Vec<api::Peer> {
        let now = now_ms();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let table = locked(&self.table);
        let mut nodes = known.nodes(now / 1000);
        nodes.extend(table.live.keys());
        nodes
            .into_iter()
            .map(|node| {
                let live = table.live.get(&node);
                let past = table.past.get(&node);
                let why = known.why(&node, now / 1000).unwrap_or(Why::Member);
                let addresses = known.addresses(&node, now / 1000);
                api::Peer {
                    node,
                    addresses: addresses.iter().map(ToString::to_string).collect(),
                    origin: why.word().to_owned(),
                    connected: live.is_some(),
                    cloned: past.is_some_and(|p| p.cloned_ms.is_some()),
                    address: live.map(|l| l.connection.remote().to_string()),
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
        let live = self.open_connections();
        {
            let mut table = locked(&self.table);
            table.live.clear();
            table.beside.clear();
        }
        for connection in &live {
            connection.close(Close::Bye);
        }
        let flushed = futures::future::join_all(live.iter().map(Connection::flushed));
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
        for connection in self.open_connections() {
            if !self.knows(&connection.node()) {
                connection.close(Close::UnknownNode);
            }
        }
    }

    fn open_connections(&self) -> Vec<Connection> {
        let table = locked(&self.table);
        let all = table.live.values().chain(table.beside.values());
        all.map(|l| l.connection.clone()).collect()
    }

    /// What this node says to `node`.
    fn hello_to(&self, node: &NodeId) -> wire::Hello {
        wire::Hello::new(&self.start, locked(&self.seen).of(node))
    }

    /// Takes in a node that dialled, if it is known and says hello in time.
    async fn admit(self: Arc<Self>, knock: Knock) {
        let from = knock.remote();
        match self.admitted(knock).await {
            Ok(node) => tracing::info!(peer = %node.short(), %from, "peer connected"),
            Err(error) => tracing::debug!(%from, %error, "connection not taken"),
        }
    }

    async fn admitted(self: &Arc<Self>, knock: Knock) -> Result<NodeId, NetError> {
        let connection = knock.handshake().await?;
        let node = connection.node();
        if node == self.me || !self.knows(&node) {
            return Err(turned_away(&connection, Close::UnknownNode));
        }
        if self.syncing.over_faults(&node) {
            return Err(turned_away(&connection, Close::Misbehaved));
        }
        let heard = tokio::time::timeout(HANDSHAKE_DEADLINE, hear_hello(&connection)).await;
        let Ok(Ok((hello, mut stream))) = heard else {
            return Err(turned_away(&connection, Close::NoHello));
        };
        let Ok(start) = SignedStart::read(&hello.start, &node) else {
            return Err(turned_away(&connection, Close::NoHello));
        };
        let answer = self.hello_to(&node);
        self.hear(&start, hello.seen).await;
        if !self.register(&connection, start) {
            return Err(turned_away(&connection, Close::Duplicate));
        }
        stream.tx.send(framed(&answer)).await?;
        stream.tx.finish();
        Ok(node)
    }

    /// Says hello on a connection that this node dialled, if it needs one to whoever answered.
    async fn greet(self: &Arc<Self>, connection: Connection) -> Result<Greeting, NetError> {
        let node = connection.node();
        if node == self.me {
            connection.close(Close::Bye);
            return Ok(Greeting::Myself);
        }
        if !self.knows(&node) {
            connection.close(Close::UnknownNode);
            return Ok(Greeting::Stranger(node));
        }
        if !self.reserve(&node) {
            connection.close(Close::Duplicate);
            return Ok(Greeting::Again(node));
        }
        let _reserved = Reserved(self, node);
        let mine = self.hello_to(&node);
        let answer = tokio::time::timeout(HANDSHAKE_DEADLINE, say_hello(&connection, &mine));
        let hello = match answer.await {
            Ok(Ok(hello)) => hello,
            Ok(Err(NetError::Closed(Close::Duplicate))) => return Ok(Greeting::Again(node)),
            Ok(Err(error)) => {
                connection.close(Close::NoHello);
                return Err(error);
            }
            Err(_) => return Err(turned_away(&connection, Close::NoHello)),
        };
        let Ok(start) = SignedStart::read(&hello.start, &node) else {
            return Err(turned_away(&connection, Close::NoHello));
        };
        self.hear(&start, hello.seen).await;
        if !self.register(&connection, start) {
            connection.close(Close::Duplicate);
            return Ok(Greeting::Again(node));
        }
        tracing::info!(peer = %node.short(), at = %connection.remote(), "peer connected");
        Ok(Greeting::Connected)
    }

    /// One hello at a time to a node, and none where the connection would not stay.
    fn reserve(&self, node: &NodeId) -> bool {
        let mut table = locked(&self.table);
        let worth = table
            .live
            .get(node)
            .is_none_or(|old| table::worth_a_hello(&self.me, node, &old.facts));
        worth && table.greeting.insert(*node)
    }

    /// Takes in what a hello says of both stores' past. It is on the disk before anything else is said on the connection.
    async fn hear(&self, start: &SignedStart, seen: Option<wire::Seen>) {
        let node = start.payload().node;
        if let Some(seen) = seen {
            let shared = self.vaults.shared_with(&node);
            let standing = self.vaults.standing();
            if let Err(error) = standing.remembered(&self.start, &seen, node, &shared).await {
                tracing::error!(%error, "what a peer remembers of this store could not be written");
            }
        }
        let noted = locked(&self.seen).note(start.payload());
        if let Some(batch) = noted
            && let Err(error) = self.store.commit(batch).await
        {
            tracing::error!(%error, "the start of a peer could not be written");
        }
    }

    /// Makes this the connection to its node, unless the one there is stays. That of another process of the same node steps aside until it is known whether
    /// it lives.
    fn register(self: &Arc<Self>, connection: &Connection, start: SignedStart) -> bool {
        let node = connection.node();
        let facts = Facts {
            dialled: connection.dialled(),
            instance: *start.payload().instance,
        };
        let mut table = locked(&self.table);
        if let Some(old) = table.live.get(&node)
            && !table::replaces(&self.me, &node, &old.facts, &facts)
        {
            return false;
        }
        table.next += 1;
        let number = table.next;
        let live = Live {
            number,
            connection: connection.clone(),
            facts,
            start,
        };
        let new = double::Party::of(&live);
        let old = table.live.insert(node, live);
        table.past.entry(node).or_default().failure = None;
        let mut doubt = None;
        if let Some(old) = old {
            if old.facts.instance == facts.instance {
                old.connection.close(Close::Duplicate);
            } else {
                doubt = Some(double::Party::of(&old));
                if let Some(third) = table.beside.insert(node, old) {
                    third.connection.close(Close::Duplicate);
                }
            }
        }
        drop(table);
        if let Some(old) = doubt {
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
        let mut table = locked(&self.table);
        if table.beside.get(&node).is_some_and(|l| l.number == number) {
            table.beside.remove(&node);
        }
        if table.live.get(&node).is_some_and(|l| l.number == number) {
            table.live.remove(&node);
            if let Some(other) = table.beside.remove(&node) {
                table.live.insert(node, other);
            }
            let past = table.past.entry(node).or_default();
            past.seen_ms = Some(now_ms());
            past.failure = Some(why.to_string());
            tracing::info!(peer = %node.short(), reason = %why, "peer disconnected");
        }
        drop(table);
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
            .filter(|node| **node != self.me && !table.live.contains_key(*node))
            .copied()
            .collect()
    }

    fn note_failure(&self, nodes: &[NodeId], why: &str) {
        let mut table = locked(&self.table);
        for node in nodes {
            table.past.entry(*node).or_default().failure = Some(why.to_owned());
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Known, u64) -> T) -> T {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        look(&known, now_ms() / 1000)
    }

    fn change(&self, edit: impl FnOnce(&mut Known)) {
        edit(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
        let known = self.read(Known::nodes);
        locked(&self.table)
            .past
            .retain(|node, _| known.contains(node));
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

/// A hello on its way to a node.
struct Reserved<'a>(&'a Peers, NodeId);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        locked(&self.0.table).greeting.remove(&self.1);
    }
}

/// Says hello and hears the answer.
async fn say_hello(connection: &Connection, mine: &wire::Hello) -> Result<wire::Hello, NetError> {
    let hello = wire::Call::Hello as u8;
    let mut stream = connection.call(hello, &framed(mine)).await?;
    stream.tx.finish();
    let frame = stream.rx.frame(MAX_HELLO).await?;
    frame.as_deref().and_then(understood).ok_or(NetError::Reset)
}

/// Hears the first hello of a node that dialled.
async fn hear_hello(
    connection: &Connection,
) -> Result<(wire::Hello, crate::net::Stream), NetError> {
    let mut stream = connection.accept().await?;
    if stream.rx.number().await? != Some(wire::Call::Hello as u8) {
        return Err(NetError::Reset);
    }
    let frame = stream.rx.frame(MAX_HELLO).await?;
    let hello = frame.as_deref().and_then(understood);
    Ok((hello.ok_or(NetError::Reset)?, stream))
}

fn understood(frame: &[u8]) -> Option<wire::Hello> {
    let hello: wire::Hello = wire::read(frame).ok()?;
    hello.versions.contains(&wire::VERSION).then_some(hello)
}

fn framed<M: wire::Message>(message: &M) -> Vec<u8> {
    // What goes through here has some two hundred bytes.
    wire::frame(message).unwrap_or_default()
}

fn turned_away(connection: &Connection, why: Close) -> NetError {
    connection.close(why);
    NetError::ClosedHere
}

fn parse(text: &str) -> Result<PeerAddress, PeersError> {
    text.parse().map_err(|source| PeersError::Address {
        address: text.chars().take(80).collect(),
        source,
    })
}

fn too_many(what: &'static str, limit: usize) -> PeersError {
    PeersError::TooMany { what, limit }
}

fn read_rows(store: &Store) -> Result<Known, PeersError> {
    let mut known = Known::default();
    for row in store.scan(Table::Peer, &[]) {
        let (key, value) = row?;
        let node = NodeId::try_from(&key[..]).map_err(|_| PeersError::Row)?;
        let row: PeerRow = enc::decode(&value).map_err(|_| PeersError::Row)?;
        if row.version != ROW_VERSION {
            return Err(PeersError::Row);
        }
        let addresses: Result<BTreeSet<_>, _> = row.addresses.iter().map(|a| a.parse()).collect();
        known.configure(node, addresses.map_err(|_: AddressError| PeersError::Row)?);
    }
    Ok(known)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
