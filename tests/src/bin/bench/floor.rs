//! The chain at its floor, in three processes and with nothing but the crates that the products stand on: A signs, seals and stores; B checks, opens, stores and
//! announces; C writes three files and switches. No tree, no permissions, no audit, no JSON. Keys are those of self-signed certificates, pinned; handshakes are over
//! before anything is measured.
//!
//! A message carries the clock readings of the stations before it, so every step is known of every turn.

use anyhow::{Context, Result, ensure};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ed25519_dalek::{Signature, Signer, SigningKey};
use polykey_client::tls;
use polykey_core::ids::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The steps between two clock readings.
pub const STEPS: [&str; 8] = [
    "sign",
    "seal",
    "A's store",
    "QUIC",
    "verify, open",
    "B's store",
    "TLS event",
    "files",
];
/// The files of the pod.
pub const FILES: [&str; 3] = ["user", "password", "url"];
/// Bytes of one value.
pub const VALUE: usize = 67;
const VALUES: usize = VALUE * FILES.len();
const STAMPS: usize = STEPS.len() + 1;
const STAMPED: usize = STAMPS * 8;
/// What a header of a commit takes, in bytes.
const HEADER: usize = 300;
const SIGNATURE: usize = 64;
const NONCE: [u8; 24] = [7; 24];
const SEALED: usize = VALUES + 16;
/// A's message: clock readings, and what both store.
const STORED: usize = HEADER + SIGNATURE + SEALED;
const MESSAGE: usize = STAMPED + STORED;
/// B's event: clock readings and plain values.
const EVENT: usize = STAMPED + VALUES;
/// Seed of the key that A signs with.
const AUTHOR: [u8; 32] = [5; 32];
/// Seed of B's certificate.
const NODE: [u8; 32] = [6; 32];

/// Station A, and the processes of B and C.
pub struct Floor {
    connection: quinn::Connection,
    to_node: quinn::SendStream,
    _endpoint: quinn::Endpoint,
    store: Store,
    key: SigningKey,
    cipher: XChaCha20Poly1305,
    turn: u64,
    pod: Station,
    _node: Station,
}

impl Floor {
    /// Starts B and C; stores are below `root`, C's files in `volume`.
    pub async fn start(root: &Path, volume: &Path) -> Result<Floor> {
        let mut node = Station::start(&["node", &root.join("b").to_string_lossy()])?;
        let (quic, api) = (node.address()?, node.address()?);
        let mut pod = Station::start(&["pod", &api.to_string(), &volume.to_string_lossy()])?;
        pod.line()?;
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
        let tls =
            QuicClientConfig::try_from(tls::client_config(tls::Pins::new([node_id()?]), None)?)?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        let connection = endpoint.connect(quic, "node.invalid")?.await?;
        let to_node = connection.open_uni().await?;
        let store = Store::open(&root.join("a"))?;
        Ok(Floor {
            connection,
            to_node,
            _endpoint: endpoint,
            store,
            key: SigningKey::from_bytes(&AUTHOR),
            cipher: cipher(),
            turn: 0,
            pod,
            _node: node,
        })
    }

    /// Sends three values on their way.
    pub async fn send(&mut self, values: &[[u8; VALUE]; 3]) -> Result<()> {
        let mut message = vec![0; STAMPED];
        stamp(&mut message, 0)?;
        let header = [u8::try_from(self.turn % 251)?; HEADER];
        let signature = self.key.sign(&header);
        message.extend_from_slice(&header);
        message.extend_from_slice(&signature.to_bytes());
        stamp(&mut message, 1)?;
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(NONCE), values.as_flattened())
            .map_err(|_| anyhow::anyhow!("not sealed"))?;
        message.extend_from_slice(&sealed);
        stamp(&mut message, 2)?;
        self.store.put(self.turn, &message[STAMPED..])?;
        stamp(&mut message, 3)?;
        self.turn += 1;
        self.to_node
            .write_all(&message)
            .await
            .with_context(|| format!("{:?}", self.connection.close_reason()))
    }

    /// How long each step of the last turn took.
    pub fn steps(&mut self) -> Result<Vec<Duration>> {
        let stamps = self.pod.line()?;
        let stamps = stamps
            .split(' ')
            .map(|s| Ok(s.parse()?))
            .collect::<Result<Vec<u64>>>()?;
        ensure!(stamps.len() == STAMPS, "the pod said {stamps:?}");
        Ok(stamps
            .windows(2)
            .map(|w| Duration::from_nanos(w[1].saturating_sub(w[0])))
            .collect())
    }
}

/// Process of a station; dropping it ends it.
pub struct Station {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Station {
    /// Starts this program as a station.
    pub fn start(arguments: &[&str]) -> Result<Station> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command
            .arg("floor")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = BufReader::new(child.stdout.take().context("a station has an output")?);
        Ok(Station { child, says })
    }

    /// What it said next.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(
            self.says.read_line(&mut line)? > 0,
            "a station of the floor ended"
        );
        Ok(line.trim_end().to_owned())
    }

    /// An address that it said.
    pub fn address(&mut self) -> Result<SocketAddr> {
        Ok(self.line()?.parse()?)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Station B.
pub fn node(dir: &Path) -> Result<()> {
    let store = Store::open(dir)?;
    alone(async {
        let quic = quic_server()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}\n{}", quic.local_addr()?, listener.local_addr()?);
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let mut pod = tokio_rustls::TlsAcceptor::from(Arc::new(server_config()?))
            .accept(tcp)
            .await?;
        let connection = quic
            .accept()
            .await
            .context("the endpoint is closed")?
            .await?;
        let mut from_laptop = connection.accept_uni().await?;
        let (author, cipher) = (SigningKey::from_bytes(&AUTHOR).verifying_key(), cipher());
        let mut message = vec![0; MESSAGE];
        for turn in 0.. {
            from_laptop.read_exact(&mut message).await?;
            stamp(&mut message, 4)?;
            let (stamps, stored) = message.split_at(STAMPED);
            let (signed, sealed) = stored.split_at(HEADER + SIGNATURE);
            author.verify_strict(
                &signed[..HEADER],
                &Signature::from_bytes(signed[HEADER..].try_into()?),
            )?;
            let values = cipher
                .decrypt(&XNonce::from(NONCE), sealed)
                .map_err(|_| anyhow::anyhow!("not opened"))?;
            let mut event = [stamps, &values].concat();
            stamp(&mut event, 5)?;
            store.put(turn, stored)?;
            stamp(&mut event, 6)?;
            pod.write_all(&event).await?;
            pod.flush().await?;
        }
        Ok(())
    })
}

/// Station C.
pub fn pod(node: SocketAddr, dir: &Path) -> Result<()> {
    alone(async {
        let mut tls = connect(node).await?;
        println!("connected");
        let mut event = vec![0; EVENT];
        let mut old = None;
        for turn in 0_u64.. {
            tls.read_exact(&mut event).await?;
            stamp(&mut event, 7)?;
            let version = switch(dir, turn, &event[STAMPED..])?;
            stamp(&mut event, 8)?;
            if let Some(old) = old.replace(version) {
                fs::remove_dir_all(old)?;
            }
            let stamps = event[..STAMPED]
                .chunks_exact(8)
                .map(|s| u64::from_le_bytes(s.try_into().unwrap_or_default()).to_string());
            println!("{}", stamps.collect::<Vec<_>>().join(" "));
        }
        Ok(())
    })
}

/// Three files in a new directory, then one rename of the link `..data`. Gives the directory.
fn switch(dir: &Path, turn: u64, values: &[u8]) -> Result<PathBuf> {
    let name = format!("..v{turn}");
    let version = dir.join(&name);
    fs::create_dir(&version)?;
    for (file, value) in FILES.iter().zip(values.chunks_exact(VALUE)) {
        fs::write(version.join(file), value)?;
    }
    let link = dir.join("..data_new");
    std::os::unix::fs::symlink(&name, &link)?;
    fs::rename(link, dir.join("..data"))?;
    Ok(version)
}

/// sled as the node uses it: its own flush, then an fdatasync, since the flush alone reaches neither the disk's cache nor the metadata of a grown file.
pub struct Store {
    db: sled::Db,
    file: File,
}

impl Store {
    /// Opens it with the node's settings.
    pub fn open(dir: &Path) -> Result<Store> {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(32 << 20)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        Ok(Store {
            db: config.open()?,
            file: File::open(dir.join("db"))?,
        })
    }

    /// Puts a value durably.
    pub fn put(&self, turn: u64, value: &[u8]) -> Result<()> {
        self.db.insert(turn.to_be_bytes(), value)?;
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }

    /// Ten trees with a value each.
    pub fn fill(&self) -> Result<()> {
        for n in 0..10_u8 {
            self.db.open_tree([n])?.insert([n], &[n; 300][..])?;
        }
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }
}

/// A QUIC endpoint with B's certificate.
pub fn quic_server() -> Result<quinn::Endpoint> {
    let crypto = QuicServerConfig::try_from(server_config()?)?;
    Ok(quinn::Endpoint::server(
        quinn::ServerConfig::with_crypto(Arc::new(crypto)),
        "127.0.0.1:0".parse()?,
    )?)
}

/// TLS 1.3 with B's certificate, without tickets.
pub fn server_config() -> Result<rustls::ServerConfig> {
    let leaf = tls::leaf(&NODE)?;
    let mut config =
        rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_single_cert(vec![leaf.certificate], leaf.key)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A TLS connection to B, its key pinned.
pub async fn connect(node: SocketAddr) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(node).await?;
    tcp.set_nodelay(true)?;
    let config = tls::client_config(tls::Pins::new([node_id()?]), None)?;
    Ok(tokio_rustls::TlsConnector::from(config)
        .connect("node.invalid".try_into()?, tcp)
        .await?)
}

/// B's key.
pub fn node_id() -> Result<NodeId> {
    tls::node_of(&tls::leaf(&NODE)?.certificate).context("a leaf holds a key")
}

/// Runs on one thread: a thread more would cost a wake-up.
pub fn alone<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn cipher() -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&[9; 32].into())
}

/// The clock is that of the day: the only one that processes share without unsafe code. A step of it would show as one wild sample.
fn stamp(message: &mut [u8], at: usize) -> Result<()> {
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?;
    message[at * 8..][..8].copy_from_slice(&now.to_le_bytes());
    Ok(())
}
