//! One rotation to a thousand watchers of one node: from the commit on a laptop until the last of them has it. Beside it the floor: one KiB from a bare TLS server to as many
//! connections. All watchers live in this process, for both alike.

use crate::clone::noise;
use crate::figures::{Samples, ratio};
use crate::floor::{self, Station, alone, connect, server_config};
use anyhow::{Context, Result, bail, ensure};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use polykey_client::http::success;
use polykey_client::tls;
use polykey_client::watch::Frame;
use polykey_tests::line::{Line, VAULT, unless_stopped};
use polykey_tests::socket::Socket;
use polykey_tests::tools;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Rotations before anything counts.
const WARM_UP: usize = 3;
/// Bytes that the floor sends to each, about what a rotation takes.
const EVENT: usize = 1_024;
/// Longest wait for a rotation.
const DEADLINE: Duration = Duration::from_secs(30);

/// Options.
#[derive(clap::Args)]
pub struct Announce {
    /// Watchers
    #[arg(long, default_value_t = Announce::default().watchers)]
    watchers: usize,
    /// Rotations that count
    #[arg(long, default_value_t = Announce::default().iterations)]
    iterations: usize,
}

impl Default for Announce {
    fn default() -> Announce {
        Announce {
            watchers: 1_000,
            iterations: 40,
        }
    }
}

/// Measures and prints.
pub fn measure(options: &Announce) -> Result<()> {
    floor::alone(unless_stopped(run(options)))
}

async fn run(options: &Announce) -> Result<()> {
    let line = Line::new(&tools::products()?, &[("password", b"0")]).await?;
    let (told, mut heard) = mpsc::unbounded_channel();
    let node = Socket::open(&line.node.socket()).await?.status().await?;
    for n in 0..options.watchers {
        let token = line.token(&format!("web-{n}"))?;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
        let config = tls::client_config(tls::Pins::new([node.node_id]), Some(tls::leaf(&seed)?))?;
        let at = line.node.api.to_string();
        let (_, mut connection) = tls::connect(&at, config, Some(&token)).await?;
        let path = format!("/v1/watch?names={VAULT}");
        let answer = connection
            .send(Method::GET, &path, "application/json", Vec::new())
            .await?;
        let body = success(answer).await?.into_body();
        let told = told.clone();
        tokio::spawn(async move {
            let _open = connection;
            follow(body, &told).await
        });
    }
    all(&mut heard, options.watchers).await?;
    let mut bare = Fan::start(options.watchers).await?;
    let mut laptop = Socket::open(&line.laptop_socket()).await?;
    let (mut product, mut floor) = (Samples::default(), Samples::default());
    for turn in 0..WARM_UP + options.iterations {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let took = bare.turn().await?;
        if turn >= WARM_UP {
            floor.push(took);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let value = noise(turn as u64, 67);
        let begun = Instant::now();
        laptop
            .edit(VAULT, &[("password", value.as_slice())])
            .await?;
        let last = all(&mut heard, options.watchers).await?;
        if turn >= WARM_UP {
            product.push(last - begun);
        }
    }
    println!(
        "\nannounce: one rotation to {} watchers of one node, until the last has it",
        options.watchers
    );
    println!("  products, from the commit   {}", product.line());
    println!("  floor, TLS alone            {}", floor.line());
    let [p50, p99] = [50, 99].map(|p| ratio(product.percentile(p), floor.percentile(p)));
    println!("  ratio                       p50 {p50:.2}   p99 {p99:.2}");
    Ok(())
}

/// Tells when each version has come.
async fn follow(mut body: Incoming, told: &mpsc::UnboundedSender<Instant>) -> Result<()> {
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(bytes) = frame?.data_ref() {
            buffer.extend_from_slice(bytes);
        }
        while let Some(frame) = Frame::split(&mut buffer)? {
            match frame {
                Frame::Snapshot(_) | Frame::Change(_) => told.send(Instant::now())?,
                Frame::Refused(r) | Frame::Gone(r) => bail!("{}: {}", r.reason, r.message),
                _ => {}
            }
        }
    }
    Ok(())
}

/// When the last of `watchers` had heard.
async fn all(heard: &mut mpsc::UnboundedReceiver<Instant>, watchers: usize) -> Result<Instant> {
    let mut last = Instant::now();
    for n in 0..watchers {
        let at = tokio::time::timeout(DEADLINE, heard.recv()).await;
        last = at
            .with_context(|| format!("only {n} of {watchers} watchers have it"))?
            .context("all watchers are gone")?;
    }
    Ok(last)
}

/// The floor.
struct Fan {
    trigger: TcpStream,
    heard: mpsc::UnboundedReceiver<Instant>,
    watchers: usize,
    _server: Station,
}

impl Fan {
    async fn start(watchers: usize) -> Result<Fan> {
        let mut server = Station::start(&["fan"])?;
        let (trigger, at) = (server.address()?, server.address()?);
        let (told, heard) = mpsc::unbounded_channel();
        for _ in 0..watchers {
            let mut tls = connect(at).await?;
            let told = told.clone();
            tokio::spawn(async move {
                let mut event = vec![0; EVENT];
                while tls.read_exact(&mut event).await.is_ok() {
                    if told.send(Instant::now()).is_err() {
                        return;
                    }
                }
            });
        }
        let trigger = TcpStream::connect(trigger).await?;
        trigger.set_nodelay(true)?;
        Ok(Fan {
            trigger,
            heard,
            watchers,
            _server: server,
        })
    }

    async fn turn(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.trigger.write_all(&[1]).await?;
        Ok(all(&mut self.heard, self.watchers).await? - begun)
    }
}

/// The process of the floor: a task for each connection, as a node has it.
pub fn fan() -> Result<()> {
    alone(async {
        let control = TcpListener::bind("127.0.0.1:0").await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}\n{}", control.local_addr()?, listener.local_addr()?);
        let (turn, turns) = watch::channel(0_u64);
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server_config()?));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(each(tcp, acceptor.clone(), turns.clone()));
            }
        });
        let (mut trigger, _) = control.accept().await?;
        while trigger.read_u8().await.is_ok() {
            turn.send_modify(|n| *n += 1);
        }
        ensure!(false, "nobody asks any more");
        Ok(())
    })
}

async fn each(
    tcp: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    mut turns: watch::Receiver<u64>,
) -> Result<()> {
    tcp.set_nodelay(true)?;
    let mut tls = acceptor.accept(tcp).await?;
    turns.mark_unchanged();
    while turns.changed().await.is_ok() {
        tls.write_all(&[7; EVENT]).await?;
        tls.flush().await?;
    }
    Ok(())
}
