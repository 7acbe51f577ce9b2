//! A commit of one secret in vaults of 10² to 10⁵ secrets: what the agent's answer costs, what it writes, what a peer must be sent. Beside it, in turns, the floor: one put of as
//! many bytes into sled, its flush, one fdatasync.

use crate::clone::{fill, noise, path};
use crate::figures::{Samples, ratio};
use crate::floor::{self, Store};
use anyhow::{Context, Result};
use polykey_tests::laptop::Laptop;
use polykey_tests::line::unless_stopped;
use polykey_tests::socket::{Socket, socket_of};
use polykey_tests::tools;
use std::path::Path;
use std::time::{Duration, Instant};

/// Commits before anything counts.
const WARM_UP: usize = 50;
/// Bytes of a value that is written.
const VALUE: usize = 48;

/// Options.
#[derive(clap::Args)]
pub struct Commit {
    /// Secrets of the largest vault, a power of ten from 100
    #[arg(long, default_value_t = Commit::default().most)]
    most: usize,
    /// Commits that count
    #[arg(long, default_value_t = Commit::default().iterations)]
    iterations: usize,
}

impl Default for Commit {
    fn default() -> Commit {
        Commit {
            most: 100_000,
            iterations: 500,
        }
    }
}

/// Measures and prints.
pub fn measure(options: &Commit) -> Result<()> {
    floor::alone(unless_stopped(run(options)))
}

async fn run(options: &Commit) -> Result<()> {
    let root = tempfile::Builder::new()
        .prefix("polykey-floor-")
        .tempdir()?;
    let store = Store::open(root.path())?;
    let mut laptop = Laptop::new(&tools::products()?.join("polykey"))?;
    println!(
        "\ncommit: one secret of {VALUE} bytes, durable when answered; {} commits of each",
        options.iterations
    );
    let mut first = None;
    let mut secrets = 100;
    while secrets <= options.most {
        let vault = format!("of-{secrets}");
        laptop.create_vault(&vault)?;
        let at = socket_of(&laptop.node_path(), Path::new(&laptop.path("")));
        let mut socket = Socket::open(&at).await?;
        let begun = Instant::now();
        fill(&mut socket, &vault, secrets, VALUE).await?;
        let filled = begun.elapsed();
        let (mut product, mut bare) = (Samples::default(), Samples::default());
        let pid = laptop.pid().context("the agent runs")?;
        let mut written = 0;
        for turn in 0..WARM_UP + options.iterations {
            let value = noise((secrets + turn) as u64, VALUE);
            // Far apart, so that no page is hot.
            let target = path((turn * 7_919) % secrets);
            let counts = turn >= WARM_UP;
            let before = write_bytes(pid)?;
            let begun = Instant::now();
            socket
                .edit(&vault, &[(target.as_str(), value.as_slice())])
                .await?;
            if counts {
                product.push(begun.elapsed());
                written += write_bytes(pid)? - before;
            }
            let begun = Instant::now();
            store.put((secrets + turn) as u64, &noise(turn as u64, 4_096))?;
            if counts {
                bare.push(begun.elapsed());
            }
        }
        let p50 = product.percentile(50);
        let growth = ratio(p50, *first.get_or_insert(p50));
        println!("  {secrets:6} secrets   {}", product.line());
        println!("         floor     {}", bare.line());
        println!(
            "         ratio to the floor p50 {:.2}, to the smallest vault {growth:.2}; {} bytes to the disk a commit; filled in {:.1} s",
            ratio(p50, bare.percentile(50)),
            written / options.iterations as u64,
            filled.as_secs_f64()
        );
        println!("         memory of the agent {}", resident(pid)?);
        let started = restart(&mut laptop)?;
        println!(
            "         the agent opens its store and answers after {:.2} s (unlocking is 0.15 s of it)",
            started.as_secs_f64()
        );
        secrets *= 10;
    }
    Ok(())
}

/// Stops the agent and starts it again: how long until it answers.
pub fn restart(laptop: &mut Laptop) -> Result<Duration> {
    laptop.stop()?;
    let begun = Instant::now();
    laptop.start()?;
    Ok(begun.elapsed())
}

/// Bytes that a process has had written to the disk.
fn write_bytes(pid: u32) -> Result<u64> {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    Ok(line.context("the kernel counts")?.parse()?)
}

/// Resident memory of a process, for people.
pub fn resident(pid: u32) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .context("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(format!("{:.1} MiB", kib / 1_024.0))
}
