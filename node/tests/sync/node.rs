//! A node for tests: all its real parts, but no command line and no local API.

use polykey::net::Net;
use polykey::peers::{Peers, Start};
use polykey::store::Store;
use polykey::vaults::Vaults;
use polykey_client::access;
use polykey_core::control::Role;
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::keys::{RootKey, Words};
use polykey_core::row::RowKey;
use polykey_core::tree::Edit;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Longest wait for anything. A machine under load is slow, not wrong.
const PATIENCE: Duration = Duration::from_secs(40);

pub struct Node {
    pub id: NodeId,
    pub vaults: Arc<Vaults>,
    pub peers: Arc<Peers>,
    number: u8,
    seed: [u8; 32],
    dir: TempDir,
    at: SocketAddr,
    /// Its tasks, so that a kill takes them all.
    runtime: Option<tokio::runtime::Runtime>,
}

/// A node that does not run.
pub struct Stopped {
    pub id: NodeId,
    number: u8,
    seed: [u8; 32],
    dir: TempDir,
    at: SocketAddr,
}

/// The private key of a test node.
pub fn seed(number: u8) -> [u8; 32] {
    let mut seed = [0x71; 32];
    seed[0] = number;
    seed
}

/// The words that take back what a test node makes.
pub fn words(number: u8) -> Words {
    Words::from_entropy(&[number; 32])
}

impl Node {
    pub async fn start(number: u8) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        Node::open(number, seed(number), dir, anywhere).await
    }

    /// The node that the words of a test node make anew on another machine.
    pub async fn start_from_words(number: u8) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let root = *words(number).identity().root.seed();
        Node::open(number, root, dir, anywhere).await
    }

    async fn open(number: u8, seed: [u8; 32], dir: TempDir, at: SocketAddr) -> Node {
        let key = RootKey::from_seed(&seed);
        let id = key.node_id();
        let path = dir.path().join("store");
        let store = retry(|| Store::open(&path, RowKey::new(Zeroizing::new([3; 32])))).await;
        let start = Start {
            instance: rand16(),
            boot: store.boot(),
        };
        let recovery = *words(number).identity().recovery.node_id().as_bytes();
        let vaults = Vaults::open(store.clone(), key, Some(recovery)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (at, peers) = {
            let inside = runtime.enter();
            let net = {
                let deadline = Instant::now() + PATIENCE;
                loop {
                    match Net::bind(&seed, at) {
                        Ok(net) => break net,
                        Err(e) => assert!(Instant::now() < deadline, "{e:?}"),
                    }
                    std::thread::yield_now();
                }
            };
            let at = net.local_addr().unwrap();
            let peers = Peers::start(id, start, net, store, vaults.clone()).unwrap();
            drop(inside);
            (at, peers)
        };
        Node {
            id,
            vaults,
            peers,
            number,
            seed,
            dir,
            at,
            runtime: Some(runtime),
        }
    }

    /// Stops in good order.
    pub async fn stop(self) -> Stopped {
        self.peers.stop().await;
        self.kill()
    }

    /// Stops without a word to anyone.
    pub fn kill(mut self) -> Stopped {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        Stopped {
            id: self.id,
            number: self.number,
            seed: self.seed,
            at: self.at,
            dir: std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap()),
        }
    }

    /// Bytes of the large rows on its disk.
    pub fn disk(&self) -> u64 {
        let packs = std::fs::read_dir(self.dir.path().join("store/packs")).unwrap();
        packs.map(|p| p.unwrap().metadata().unwrap().len()).sum()
    }

    pub fn socket(&self) -> SocketAddr {
        self.at
    }

    pub fn address(&self) -> String {
        self.at.to_string()
    }

    /// A person adds the other, with its address.
    pub async fn dials(&self, other: &Node) {
        let address = other.address();
        self.peers.add(other.id, Some(&address)).await.unwrap();
    }

    /// A person adds the other, where a line to it begins.
    pub async fn dials_at(&self, other: &Node, at: SocketAddr) {
        let address = at.to_string();
        self.peers.add(other.id, Some(&address)).await.unwrap();
    }

    /// A person adds the other, without one.
    pub async fn knows(&self, other: &Node) {
        self.peers.add(other.id, None).await.unwrap();
    }

    /// An access set in force that admits all vaults of `peers`.
    pub fn admit(&self, peers: &[&Node], siblings: &[&Node]) {
        let peers: Vec<_> = peers.iter().map(|p| access_peer(p.id, None)).collect();
        let siblings: Vec<_> = siblings
            .iter()
            .map(|s| access::Sibling {
                node: s.id,
                addresses: Vec::new(),
            })
            .collect();
        self.inside(|| self.peers.set_access(&peers, &siblings));
    }

    /// An access set in force that admits these vaults of `peer`.
    pub fn admit_vaults(&self, peer: &Node, vaults: &[VaultId]) {
        let peer = access_peer(peer.id, Some(vaults.to_vec()));
        self.inside(|| self.peers.set_access(&[peer], &[]));
    }

    /// An access set in force of these nodes and the vaults that each may bring.
    pub fn admit_ids(&self, peers: &[(NodeId, Option<Vec<VaultId>>)]) {
        let peer =
            |(node, vaults): &(NodeId, Option<Vec<VaultId>>)| access_peer(*node, vaults.clone());
        let peers: Vec<_> = peers.iter().map(peer).collect();
        self.inside(|| self.peers.set_access(&peers, &[]));
    }

    /// An access set in force that says where `peer` stands.
    pub fn admit_at(&self, peer: &Node, address: &str) {
        let mut peer = access_peer(peer.id, None);
        peer.addresses = vec![address.to_owned()];
        self.inside(|| self.peers.set_access(&[peer], &[]));
    }

    fn inside(&self, act: impl FnOnce()) {
        let _inside = self.runtime.as_ref().map(tokio::runtime::Runtime::enter);
        act();
    }

    pub async fn share(&self, vault: &VaultId, with: &Node, role: Role) {
        self.share_id(vault, with.id, role).await;
    }

    pub async fn share_id(&self, vault: &VaultId, with: NodeId, role: Role) {
        self.vaults
            .grant(vault, with, role, None, None)
            .await
            .unwrap();
    }

    pub async fn set(&self, vault: &VaultId, path: &str, value: &[u8]) {
        self.set_all(vault, [(path, value.to_vec())]).await;
    }

    pub async fn set_all<'a>(
        &self,
        vault: &VaultId,
        values: impl IntoIterator<Item = (&'a str, Vec<u8>)>,
    ) {
        let edits = values.into_iter().map(put).collect();
        self.vaults.edit(vault, edits, None).await.unwrap();
    }

    /// Whether it could be written.
    pub async fn try_set_all<'a>(
        &self,
        vault: &VaultId,
        values: impl IntoIterator<Item = (&'a str, Vec<u8>)>,
    ) -> bool {
        let edits = values.into_iter().map(put).collect();
        self.vaults.edit(vault, edits, None).await.is_ok()
    }

    pub fn get(&self, vault: &VaultId, path: &str) -> Option<Vec<u8>> {
        let found = self.vaults.get(vault, path, None).ok()?;
        Some(found.value.to_vec())
    }

    /// Waits until this node can read that value.
    pub async fn has(&self, vault: &VaultId, path: &str, value: &[u8]) {
        eventually(path, || self.get(vault, path).as_deref() == Some(value)).await;
    }
}

impl Stopped {
    /// Runs again, at the same address.
    pub async fn start(self) -> Node {
        Node::open(self.number, self.seed, self.dir, self.at).await
    }

    /// Runs again with another key, at the same address.
    pub async fn start_as(self, seed: [u8; 32]) -> Node {
        Node::open(self.number, seed, self.dir, self.at).await
    }

    /// A copy of all that is on its disk, which would run somewhere else.
    pub fn copy(self) -> (Stopped, Stopped) {
        let dir = tempfile::tempdir().unwrap();
        copy_folder(self.dir.path(), dir.path());
        let copy = Stopped {
            id: self.id,
            number: self.number,
            seed: self.seed,
            dir,
            at: (Ipv4Addr::LOCALHOST, 0).into(),
        };
        (self, copy)
    }

    /// Runs again where nobody finds it.
    pub async fn start_apart(self) -> Apart {
        let at = self.at;
        let node = Node::open(
            self.number,
            self.seed,
            self.dir,
            (Ipv4Addr::LOCALHOST, 0).into(),
        )
        .await;
        Apart { node, at }
    }
}

/// A node that runs where nobody finds it.
pub struct Apart {
    pub node: Node,
    at: SocketAddr,
}

impl Apart {
    pub async fn stop(self) -> Stopped {
        let stopped = self.node.stop().await;
        Stopped {
            at: self.at,
            ..stopped
        }
    }

    pub async fn set(&self, vault: &VaultId, path: &str, value: &[u8]) {
        self.node.set(vault, path, value).await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn access_peer(node: NodeId, vaults: Option<Vec<VaultId>>) -> access::Peer {
    access::Peer {
        node,
        addresses: Vec::new(),
        namespaces: vec!["*".to_owned()],
        vaults,
        expires: None,
    }
}

fn put((path, value): (&str, Vec<u8>)) -> Edit {
    Edit::Put {
        path: path.to_owned(),
        mode: 0o444,
        value: Zeroizing::new(value),
    }
}

fn rand16() -> [u8; 16] {
    use std::hash::{BuildHasher, RandomState};
    let half = || RandomState::new().hash_one(0).to_be_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&half());
    bytes[8..].copy_from_slice(&half());
    bytes
}

/// Waits for a condition.
pub async fn eventually(what: &str, met: impl FnMut() -> bool) {
    within(PATIENCE, what, met).await;
}

/// Waits for a condition until a deadline.
pub async fn within(patience: Duration, what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !met() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Tries until it works: what ended a moment ago may still hold a lock.
async fn retry<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(e) => assert!(Instant::now() < deadline, "{e:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
