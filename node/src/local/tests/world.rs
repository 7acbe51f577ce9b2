//! A laptop that owns a vault, a cluster's node that serves it, and a pod.

use super::super::*;
use crate::agent::Ask;
use crate::record::{Happened, Record};
use crate::store::testing::scratch_store;
use crate::vaults::{Received, Told, Vaults};
use crate::watch::Nodes;
use crate::workload::testing::{AUDIENCE, ApiServer, TestIssuer, claims_of};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use polykey_client::access::{AccessSet, Delivery, Peer, Purpose, Rule};
use polykey_client::error::ApiError;
use polykey_client::http::{Connection, whole};
use polykey_client::tls::{Leaf, Pins, client_config, leaf};
use polykey_client::watch::Frame;
use polykey_core::control::Role;
use polykey_core::ids::{CommitId, NodeId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::tree::Edit;
use polykey_core::wire::Announce;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Longest wait for anything in these tests.
pub const SOON: Duration = Duration::from_secs(10);

pub const LAPTOP: u8 = 1;
pub const NODE: u8 = 2;

pub struct World {
    pub issuer: TestIssuer,
    pub api: ApiServer,
    pub laptop: Arc<Vaults>,
    pub services: Arc<Services>,
    pub servers: Option<Servers>,
    pub tls: SocketAddr,
    pub probes: SocketAddr,
    pub socket: PathBuf,
    pub vault: VaultId,
    pub audit: Arc<Mutex<Vec<Happened>>>,
    pub asked: mpsc::Receiver<Ask>,
    revision: u64,
    _probing: watch::Sender<bool>,
    _dirs: Vec<TempDir>,
}

fn about(me: NodeId, node_path: &Path) -> About {
    About {
        spare: crate::vaults::SPARED,
        node: me,
        node_path: node_path.to_path_buf(),
        unlock_method: "keyfile",
        boot: 1,
        since: Instant::now(),
        operator: Some("polykey:polykey-operator".into()),
    }
}

impl World {
    /// The laptop's vault `app` holds `db/password` and is shared with the node; no access rules are there yet.
    pub async fn new() -> World {
        let issuer = TestIssuer::new("k1");
        let api = ApiServer::start(&issuer).await;
        let (laptop_dir, laptop_store) = scratch_store();
        let laptop = Vaults::open(laptop_store, RootKey::from_seed(&[LAPTOP; 32]), None).unwrap();
        let (dir, store) = scratch_store();
        let vaults = Vaults::open(store.clone(), RootKey::from_seed(&[NODE; 32]), None).unwrap();
        let me = vaults.me();
        let metrics = Metrics::new();
        let cluster = AUDIENCE.strip_prefix("polykey:");
        let access = Access::open(store.clone(), cluster).unwrap();
        let workloads = Workloads::open(api.config(), store.clone(), metrics.clone()).unwrap();
        let net = crate::net::Net::bind(&[NODE; 32], "127.0.0.1:0".parse().unwrap()).unwrap();
        let start = crate::peers::Start {
            instance: [9; 16],
            boot: 1,
        };
        let peers = Peers::start(me, start, net, store.clone(), vaults.clone()).unwrap();
        let audit: Arc<Mutex<Vec<Happened>>> = Arc::default();
        let record = Arc::new(Record::new({
            let audit = audit.clone();
            move |happened| {
                audit.lock().unwrap().push(happened);
                Box::pin(async {})
            }
        }));
        let watches = Watches::new(
            vaults.clone(),
            access.clone(),
            Some(workloads.clone()),
            record.clone(),
            metrics.clone(),
            Nodes {
                me,
                address: Some("polykey-0.polykey-peers.polykey.svc:1315".into()),
                port: 1315,
            },
        );
        let (ask, asked) = mpsc::channel(1);
        let services = Arc::new(Services {
            about: about(me, dir.path()),
            vaults,
            peers,
            access: access.clone(),
            watches,
            workloads: Some(workloads),
            record,
            metrics: metrics.clone(),
            ask,
            clients: Mutex::default(),
        });
        let health = Health::new();
        let probes = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe_address = probes.local_addr().unwrap();
        // The probes outlive the test's servers, as they do in a process.
        let (probing, stop_probing) = watch::channel(false);
        serve_probes(probes, health.clone(), metrics, stop_probing);
        let socket = dir.path().join("run/agent.sock");
        let doors = Doors {
            socket: Socket::bind(&socket).await.unwrap(),
            tls: Some((
                TcpListener::bind("127.0.0.1:0").await.unwrap(),
                Zeroizing::new([NODE; 32]),
            )),
        };
        health.started(store, Some(access), None);
        let servers = start_servers(doors, &services, &health);
        let tls = servers.tls_address().unwrap();
        let vault = laptop.create("app").await.unwrap();
        let world = World {
            issuer,
            api,
            laptop,
            services,
            servers: Some(servers),
            tls,
            probes: probe_address,
            socket,
            vault,
            audit,
            asked,
            revision: 1,
            _probing: probing,
            _dirs: vec![laptop_dir, dir],
        };
        world.set(&[("db/password", b"first")]).await;
        world
            .laptop
            .grant(&world.vault, me, Role::Reader, None, None)
            .await
            .unwrap();
        world.sync().await;
        world
    }

    /// A world in which the pod of `shop:app` may read the whole vault.
    pub async fn admitting() -> World {
        let mut world = World::new().await;
        world.rules(vec![world.rule("app")]).await;
        world
    }

    pub fn rule(&self, name: &str) -> Rule {
        Rule {
            id: format!("shop/{name}#uid@1"),
            namespace: "shop".into(),
            name: name.into(),
            vault: self.vault,
            subjects: vec!["shop:app".into()],
            paths: vec![],
            version: None,
            signers: vec![],
            suspend: false,
            purpose: Purpose::Mount,
            delivery: Delivery::default(),
        }
    }

    pub fn access_set(&mut self, rules: Vec<Rule>) -> AccessSet {
        self.revision += 1;
        let at = self.revision.to_string();
        AccessSet {
            source: format!("k8s:{}", AUDIENCE.strip_prefix("polykey:").unwrap()),
            revision: [
                ("polykeyvaults".to_owned(), at.clone()),
                ("polykeypeers".to_owned(), at),
            ]
            .into(),
            rules,
            peers: vec![Peer {
                node: self.laptop.me(),
                addresses: vec![],
                namespaces: vec!["shop".into()],
                vaults: None,
                expires: None,
            }],
            siblings: vec![],
            ..AccessSet::default()
        }
        .sealed()
    }

    /// The warden puts rules, over the socket.
    pub async fn rules(&mut self, rules: Vec<Rule>) {
        let set = self.access_set(rules);
        let _: serde_json::Value = self
            .admin()
            .await
            .call(Method::PUT, "/v1/access", &set)
            .await
            .unwrap();
    }

    pub async fn set(&self, values: &[(&str, &[u8])]) -> CommitId {
        let edits = values
            .iter()
            .map(|(path, value)| Edit::Put {
                path: (*path).into(),
                mode: 0o444,
                value: Zeroizing::new(value.to_vec()),
            })
            .collect();
        self.laptop
            .edit(&self.vault, edits, None)
            .await
            .unwrap()
            .version
    }

    pub async fn remove(&self, path: &str) -> CommitId {
        let edit = Edit::Remove { path: path.into() };
        self.laptop
            .edit(&self.vault, vec![edit], None)
            .await
            .unwrap()
            .version
    }

    /// The laptop commits and the node has it.
    pub async fn rotate(&self, values: &[(&str, &[u8])]) -> CommitId {
        let version = self.set(values).await;
        self.sync().await;
        version
    }

    /// What the node serves.
    pub fn version(&self) -> CommitId {
        let served = self.services.vaults.served(&self.vault, None);
        served.unwrap().version
    }

    /// Tells the node what the laptop has, as the sync does.
    pub async fn sync(&self) {
        let (from, to) = (&self.laptop, &self.services.vaults);
        let heads = to.summary(&self.vault).unwrap_or_default();
        let mut told = Told::new(&heads);
        loop {
            let mut announce = from
                .announce_for(&self.vault, &mut told, usize::MAX)
                .unwrap();
            if announce.is_empty() {
                return;
            }
            loop {
                match to
                    .receive(&from.me(), &self.vault, announce, true)
                    .await
                    .unwrap()
                {
                    Received::Done { .. } => break,
                    Received::NeedObjects(pulls) => {
                        for pull in pulls {
                            for address in from.pull(&self.vault, &pull.have, &pull.want).unwrap() {
                                let object = from.object(&self.vault, &address).unwrap().unwrap();
                                to.store_objects(&self.vault, vec![object]).await.unwrap();
                            }
                        }
                        announce = Announce::default();
                    }
                    Received::NeedRecords { .. } => panic!("told in order"),
                }
            }
        }
    }

    pub async fn admin(&self) -> Connection {
        polykey_client::unix::connect(&self.socket).await.unwrap()
    }

    pub fn token(&self, namespace: &str, account: &str, pod: &str) -> String {
        self.issuer
            .token(&claims_of(unix_now(), pod, namespace, account))
    }

    pub fn pod_token(&self) -> String {
        self.token("shop", "app", "app-0")
    }

    /// A connection with this token and client key.
    pub async fn connect(
        &self,
        token: Option<&str>,
        key: Option<u8>,
    ) -> Result<Connection, ApiError> {
        self.connect_pinned(self.services.about.node, token, key)
            .await
    }

    pub async fn connect_pinned(
        &self,
        pin: NodeId,
        token: Option<&str>,
        key: Option<u8>,
    ) -> Result<Connection, ApiError> {
        let own: Option<Leaf> = key.map(|k| leaf(&[k; 32]).unwrap());
        let config = client_config(Pins::new([pin]), own).unwrap();
        let (node, connection) =
            polykey_client::tls::connect(&self.tls.to_string(), config, token).await?;
        assert_eq!(node, self.services.about.node);
        Ok(connection)
    }

    pub async fn watch(&self, names: &str) -> Watch {
        self.watch_as(&self.pod_token(), &format!("names={names}"))
            .await
            .unwrap()
    }

    pub async fn watch_as(&self, token: &str, query: &str) -> Result<Watch, ApiError> {
        let mut connection = self.connect(Some(token), Some(77)).await.unwrap();
        let answer = connection
            .send(
                Method::GET,
                &format!("/v1/watch?{query}"),
                "application/json",
                vec![],
            )
            .await?;
        if !answer.status().is_success() {
            return Err(whole(answer).await.unwrap_err());
        }
        Ok(Watch {
            body: answer.into_body(),
            buffer: vec![],
            _connection: connection,
        })
    }

    /// A path of the probe port.
    pub async fn probe(&self, path: &str) -> (u16, String) {
        let tcp = tokio::net::TcpStream::connect(self.probes).await.unwrap();
        let mut connection = Connection::start(tcp, None).await.unwrap();
        let answer = connection
            .send(Method::GET, path, "text/plain", vec![])
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub fn audited(&self, what: impl Fn(&Happened) -> bool) -> usize {
        self.audit
            .lock()
            .unwrap()
            .iter()
            .filter(|h| what(h))
            .count()
    }
}

fn start_servers(doors: Doors, services: &Arc<Services>, health: &Arc<Health>) -> Servers {
    start(doors, services.clone(), health.clone()).unwrap()
}

pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The sidecar's end of a watch.
pub struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
    _connection: Connection,
}

impl Watch {
    /// The next frame but pings; `None` at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        tokio::time::timeout(SOON, self.read())
            .await
            .expect("a frame in time")
    }

    async fn read(&mut self) -> Option<Frame> {
        loop {
            match Frame::split(&mut self.buffer).unwrap() {
                Some(Frame::Ping) => continue,
                Some(frame) => return Some(frame),
                None => {}
            }
            let part = self.body.frame().await?.ok()?;
            self.buffer
                .extend_from_slice(&part.into_data().unwrap_or_else(|_| Bytes::new()));
        }
    }

    /// True when nothing comes for a moment.
    pub async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(150), self.read())
            .await
            .is_err()
    }
}

/// Waits until something is true.
pub async fn eventually<T>(mut what: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(value) = what().await {
            return value;
        }
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
