//! Resident memory of idle products beside bare programs that do as little as anyone could: a TLS connection that is read from; a store, a QUIC endpoint with one
//! peer, and HTTP over TLS.

use crate::floor::{self, Station};
use anyhow::{Context, Result};
use polykey_tests::line::{Line, unless_stopped};
use polykey_tests::tools;
use quinn::crypto::rustls::QuicClientConfig;
use std::sync::Arc;
use std::time::Duration;

/// Vaults of the node.
const VAULTS: usize = 10;

/// How often an idle peer gives a sign of life, as often as between two nodes.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Options.
#[derive(clap::Args)]
pub struct Memory {
    /// Seconds of nothing before memory is read
    #[arg(long, default_value_t = Memory::default().idle)]
    idle: u64,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { idle: 20 }
    }
}

/// Measures and prints.
pub fn measure(options: &Memory) -> Result<()> {
    floor::alone(unless_stopped(run(options)))
}

async fn run(options: &Memory) -> Result<()> {
    let secret: [(&str, &[u8]); 1] = [("password", b"a value of a secret")];
    let mut line = Line::new(&tools::products()?, &secret).await?;
    for n in 1..VAULTS {
        line.share_another(&format!("vault-{n}"), &secret).await?;
    }
    let root = tempfile::Builder::new()
        .prefix("polykey-floor-")
        .tempdir()?;
    let mut bare_node = Station::start(&["idle-node", &root.path().to_string_lossy()])?;
    let (quic, api) = (bare_node.address()?, bare_node.address()?);
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
    let tls = polykey_client::tls::client_config(
        polykey_client::tls::Pins::new([floor::node_id()?]),
        None,
    )?;
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    let peer = endpoint.connect(quic, "node.invalid")?.await?;
    let idle = Duration::from_secs(options.idle);

    // A node is read before a pod watches it.
    tokio::time::sleep(idle).await;
    let node = resident(line.node.pid())?;
    let bare = resident(Some(bare_node.pid()))?;
    let laptop = resident(line.laptop.pid())?;
    line.pod.start()?;
    line.delivered("password", secret[0].1).await?;
    let mut bare_sidecar = Station::start(&["idle-sidecar", &api.to_string()])?;
    bare_sidecar.line()?;
    tokio::time::sleep(idle).await;
    let sidecar = resident(line.pod.pid())?;
    let watched = resident(line.node.pid())?;
    let bare_pod = resident(Some(bare_sidecar.pid()))?;
    anyhow::ensure!(peer.close_reason().is_none(), "the floor lost its peer");

    println!(
        "\nmemory after {} s of nothing, static programs",
        options.idle
    );
    println!("  sidecar, one vault               {sidecar}");
    println!("  floor: one TLS connection        {bare_pod}");
    println!(
        "  ratio                            {:.2}",
        sidecar.rss / bare_pod.rss
    );
    println!("  node, ten vaults, one peer       {node}");
    println!("  floor: HTTP, TLS, sled, quinn    {bare}");
    println!(
        "  ratio                            {:.2}",
        node.rss / bare.rss
    );
    println!("  the node with one watch open     {watched}");
    println!("  a laptop's agent, ten vaults     {laptop}");
    Ok(())
}

/// Memory of a process, MiB.
struct Resident {
    rss: f64,
    anonymous: f64,
}

impl std::fmt::Display for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "VmRSS {:5.1} MiB, of it RssAnon {:5.1} MiB",
            self.rss, self.anonymous
        )
    }
}

fn resident(pid: Option<u32>) -> Result<Resident> {
    let pid = pid.context("it does not run")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<f64> {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(name))
            .with_context(|| format!("no {name}"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1_024.0)
    };
    Ok(Resident {
        rss: field("VmRSS:")?,
        anonymous: field("RssAnon:")?,
    })
}

/// The bare programs.
pub mod bare {
    use crate::floor::{Store, alone, connect, quic_server, server_config};
    use anyhow::Result;
    use axum::Router;
    use axum::routing::get;
    use std::net::SocketAddr;
    use std::path::Path;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::server::TlsStream;

    /// HTTP over TLS, a store of ten trees, and a QUIC endpoint, on the threads that the node has.
    pub fn node(dir: &Path) -> Result<()> {
        let store = Store::open(dir)?;
        store.fill()?;
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(async {
                let quic = quic_server()?;
                let tcp = TcpListener::bind("127.0.0.1:0").await?;
                println!("{}\n{}", quic.local_addr()?, tcp.local_addr()?);
                let peers = tokio::spawn(async move {
                    let mut open = Vec::new();
                    while let Some(incoming) = quic.accept().await {
                        open.extend(incoming.await.ok());
                    }
                });
                let tls = TlsAcceptor::from(Arc::new(server_config()?));
                axum::serve(
                    Tls { tcp, tls },
                    Router::new().route("/", get(async || "idle")),
                )
                .await?;
                Ok(peers.await?)
            })
    }

    /// One TLS connection, read from for ever.
    pub fn sidecar(node: SocketAddr) -> Result<()> {
        alone(async {
            let mut tls = connect(node).await?;
            println!("connected");
            tls.read_u8().await?;
            Ok(())
        })
    }

    struct Tls {
        tcp: TcpListener,
        tls: TlsAcceptor,
    }

    impl axum::serve::Listener for Tls {
        type Io = TlsStream<TcpStream>;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (Self::Io, Self::Addr) {
            loop {
                let Ok((tcp, from)) = self.tcp.accept().await else {
                    continue;
                };
                if let Ok(tls) = self.tls.accept(tcp).await {
                    return (tls, from);
                }
            }
        }

        fn local_addr(&self) -> std::io::Result<Self::Addr> {
            self.tcp.local_addr()
        }
    }
}
