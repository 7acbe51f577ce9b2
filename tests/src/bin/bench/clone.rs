//! A first copy of a vault over loopback, from the moment that it is shared until the other node has all of it on its disk, beside what QUIC gives for the same bytes.

use crate::bulk::{Bulk, Work};
use crate::floor;
use anyhow::{Context, Result, ensure};
use polykey_tests::line::{Line, unless_stopped};
use polykey_tests::socket::Socket;
use polykey_tests::tools;
use std::time::{Duration, Instant};

/// Bytes of one file: the largest there is.
const FILE: usize = 64 << 20;
/// Bytes of one secret among many.
const SMALL: usize = 400;
/// Secrets of one commit.
const BATCH: usize = 5_000;

/// Options.
#[derive(clap::Args)]
pub struct FirstCopy {
    /// Files of 64 MiB
    #[arg(long, default_value_t = FirstCopy::default().files)]
    files: usize,
    /// Secrets of 400 bytes in a vault of their own
    #[arg(long, default_value_t = FirstCopy::default().secrets)]
    secrets: usize,
    /// Turns
    #[arg(long, default_value_t = FirstCopy::default().turns)]
    turns: usize,
}

impl Default for FirstCopy {
    fn default() -> FirstCopy {
        FirstCopy {
            files: 4,
            secrets: 20_000,
            turns: 3,
        }
    }
}

/// Measures and prints.
pub fn measure(options: &FirstCopy) -> Result<()> {
    floor::alone(unless_stopped(run(options)))
}

async fn run(options: &FirstCopy) -> Result<()> {
    let root = tempfile::Builder::new()
        .prefix("polykey-floor-")
        .tempdir()?;
    let mut bulk = Bulk::start(root.path())?;
    let total = options.files * FILE;
    println!(
        "\nclone: {} files of 64 MiB, and {} secrets of {SMALL} bytes, over loopback; MiB/s",
        options.files, options.secrets
    );
    println!("  turn   raw    hashed  hashed+disk   clone   of raw  of hashed   many secrets");
    for turn in 1..=options.turns {
        let mut floors = [0.0; 3];
        for (rate, work) in floors
            .iter_mut()
            .zip([Work::Raw, Work::Hashed, Work::Stored])
        {
            *rate = mib(total) / bulk.send(work, total).await?.as_secs_f64();
        }
        let [raw, hashed, stored] = floors;
        let clone = mib(total) / large(options.files, turn).await?.as_secs_f64();
        let took = many(options.secrets).await?;
        println!(
            "  {turn:4} {raw:6.0} {hashed:8.0} {stored:11.0} {clone:9.0}    {:5.2}      {:5.2}   {:.2} s, {:.0} a second",
            clone / raw,
            clone / hashed,
            took.as_secs_f64(),
            f64::from(u32::try_from(options.secrets)?) / took.as_secs_f64()
        );
    }
    Ok(())
}

async fn large(files: usize, turn: usize) -> Result<Duration> {
    let mut line = Line::new(&tools::products()?, &[("a", b"a")]).await?;
    line.laptop.create_vault("large")?;
    let mut laptop = Socket::open(&line.laptop_socket()).await?;
    for n in 0..files {
        let value = noise(u64::try_from(turn * files + n)?, FILE);
        laptop.write("large", &format!("file-{n}"), value).await?;
    }
    shared(&mut line, "large").await
}

async fn many(secrets: usize) -> Result<Duration> {
    let mut line = Line::new(&tools::products()?, &[("a", b"a")]).await?;
    line.laptop.create_vault("many")?;
    let mut laptop = Socket::open(&line.laptop_socket()).await?;
    fill(&mut laptop, "many", secrets, SMALL).await?;
    shared(&mut line, "many").await
}

/// Writes many secrets, some thousands in a commit.
pub async fn fill(laptop: &mut Socket, vault: &str, secrets: usize, size: usize) -> Result<()> {
    for first in (0..secrets).step_by(BATCH) {
        let batch: Vec<(String, Vec<u8>)> = (first..secrets.min(first + BATCH))
            .map(|n| (path(n), noise(n as u64, size)))
            .collect();
        let batch: Vec<(&str, &[u8])> = batch
            .iter()
            .map(|(p, v)| (p.as_str(), v.as_slice()))
            .collect();
        laptop.edit(vault, &batch).await?;
    }
    Ok(())
}

/// Path of the `n`-th secret: 28 bytes, as people make them.
pub fn path(n: usize) -> String {
    format!("team-{:02}/service-{:03}/key-{n:06}", n % 40, n % 997)
}

/// Shares a vault and waits until the node has all of it.
async fn shared(line: &mut Line, vault: &str) -> Result<Duration> {
    let mut node = Socket::open(&line.node.socket()).await?;
    let mut laptop = Socket::open(&line.laptop_socket()).await?;
    let id = node.status().await?.node_id.to_string();
    let wanted = laptop.status().await?;
    let wanted = wanted
        .vaults
        .iter()
        .find(|v| v.name.as_deref() == Some(vault))
        .context("the laptop has it")?;
    let begun = Instant::now();
    line.laptop.polykey(&["share", vault, &id])?;
    while begun.elapsed() < Duration::from_mins(5) {
        let there = node.status().await?.vaults;
        if there
            .iter()
            .any(|v| v.id == wanted.id && v.version == wanted.version)
        {
            return Ok(begun.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ensure!(false, "it does not arrive: {}", line.node.log());
    Ok(begun.elapsed())
}

/// Bytes of which no two chunks are equal.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut out = vec![0; size];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

fn mib(bytes: usize) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a figure for people; 2^52 bytes are never sent"
    )]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}
