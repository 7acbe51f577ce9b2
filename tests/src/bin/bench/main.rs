//! `tests/bench`: figures of the products beside the floor of the same work in bare crates, in one run, at one pace. It prints; it never fails on a slow day.

mod chain;
mod figures;
mod floor;
mod memory;
mod switches;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use polykey_tests::tools;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Measure the products beside what the hardware gives at best.
#[derive(Parser)]
struct Arguments {
    /// What to measure; without it both.
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// From a commit on a laptop to the file switched in a pod, durable on both nodes
    Chain(chain::Chain),
    /// Resident memory of an idle sidecar and an idle node
    Memory(memory::Memory),
    /// A process of a floor
    #[command(subcommand, hide = true)]
    Floor(Floor),
}

#[derive(Subcommand)]
enum Floor {
    /// Station B of the chain
    Node { dir: PathBuf },
    /// Station C of the chain
    Pod { node: SocketAddr, dir: PathBuf },
    /// What any node must hold at least
    IdleNode { dir: PathBuf },
    /// What any sidecar must hold at least
    IdleSidecar { node: SocketAddr },
}

fn main() -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    match Arguments::parse().what {
        Some(What::Chain(options)) => on_disk(|| chain::measure(&options)),
        Some(What::Memory(options)) => on_disk(|| memory::measure(&options)),
        Some(What::Floor(Floor::Node { dir })) => floor::node(&dir),
        Some(What::Floor(Floor::Pod { node, dir })) => floor::pod(node, &dir),
        Some(What::Floor(Floor::IdleNode { dir })) => memory::bare::node(&dir),
        Some(What::Floor(Floor::IdleSidecar { node })) => memory::bare::sidecar(node),
        None => on_disk(|| {
            chain::measure(&chain::Chain::default())?;
            memory::measure(&memory::Memory::default())
        }),
    }
}

/// A store in memory would make durability free, for floor and product alike.
fn on_disk(measure: impl FnOnce() -> Result<()>) -> Result<()> {
    const TMPFS: i64 = 0x0102_1994;
    let dir = std::env::temp_dir();
    let kind = rustix::fs::statfs(&dir)?.f_type;
    ensure!(
        kind != TMPFS,
        "{} is in memory: set TMPDIR to a folder on a disk",
        dir.display()
    );
    println!(
        "built and run here: {} CPUs, {}",
        std::thread::available_parallelism()?,
        figures::load()
    );
    println!("programs: {}", tools::products()?.display());
    measure()
}
