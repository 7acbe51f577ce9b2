//! Many vaults on one node, and a long history: how long the agent takes to open them, what memory it holds, and what a commit and a listing cost then.

use crate::clone::noise;
use crate::commit::{resident, restart};
use crate::figures::{Samples, millis};
use crate::floor;
use anyhow::{Context, Result};
use polykey_tests::laptop::Laptop;
use polykey_tests::line::unless_stopped;
use polykey_tests::socket::{Socket, socket_of};
use polykey_tests::tools;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Paths that the long history writes in turns.
const PATHS: usize = 100;

/// Options.
#[derive(clap::Args)]
pub struct Scale {
    /// Vaults with one secret each
    #[arg(long, default_value_t = Scale::default().vaults)]
    vaults: usize,
    /// Commits of one vault
    #[arg(long, default_value_t = Scale::default().commits)]
    commits: usize,
}

impl Default for Scale {
    fn default() -> Scale {
        Scale {
            vaults: 1_000,
            commits: 10_000,
        }
    }
}

/// Measures and prints.
pub fn measure(options: &Scale) -> Result<()> {
    floor::alone(unless_stopped(run(options)))
}

async fn run(options: &Scale) -> Result<()> {
    let program = tools::products()?.join("polykey");
    println!("\nscale: many vaults, and a long history");
    let mut laptop = Laptop::new(&program)?;
    report(&mut laptop, "nothing yet").await?;
    let mut socket = Socket::open(&socket_at(&laptop)).await?;
    for n in 0..options.vaults {
        let name = format!("vault-{n:05}");
        socket.create(&name).await?;
        socket.edit(&name, &[("password", b"a value")]).await?;
    }
    report(&mut laptop, &format!("{} vaults", options.vaults)).await?;

    let mut laptop = Laptop::new(&program)?;
    let mut socket = Socket::open(&socket_at(&laptop)).await?;
    socket.create("long").await?;
    let mut samples = Samples::default();
    for n in 0..options.commits {
        if n % (options.commits / 4).max(1) == 0 && n > 0 {
            println!("  commits up to {n:6}   {}", samples.line());
            samples = Samples::default();
        }
        let value = noise(n as u64, 48);
        let begun = Instant::now();
        let path = format!("key-{}", n % PATHS);
        socket
            .edit("long", &[(path.as_str(), value.as_slice())])
            .await?;
        samples.push(begun.elapsed());
    }
    println!("  commits up to {:6}   {}", options.commits, samples.line());
    report(&mut laptop, &format!("{} commits", options.commits)).await
}

async fn report(laptop: &mut Laptop, of: &str) -> Result<()> {
    let opened = restart(laptop)?;
    let pid = laptop.pid().context("the agent runs")?;
    let fresh = resident(pid)?;
    let begun = Instant::now();
    Socket::open(&socket_at(laptop)).await?.status().await?;
    println!(
        "  {of}: opened and answering after {:.2} s (unlocking is 0.15 s of it), {fresh}, status in {:.1} ms",
        opened.as_secs_f64(),
        millis(begun.elapsed())
    );
    Ok(())
}

fn socket_at(laptop: &Laptop) -> PathBuf {
    socket_of(&laptop.node_path(), Path::new(&laptop.path("")))
}
