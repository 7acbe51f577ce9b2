//! `tests/bench`: figures of the products beside the floor of the same work in bare crates, in one run, at one pace. It prints; it never fails on a slow day.

mod announce;
mod bulk;
mod chain;
mod clone;
mod commit;
mod figures;
mod floor;
mod memory;
mod pure;
mod scale;
mod switches;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use polykey_tests::tools;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Measure the products beside what the hardware gives at best.
#[derive(Parser)]
struct Arguments {
    /// What to measure; without it everything.
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// From a commit on a laptop to the file switched in a pod, durable on both nodes
    Chain(chain::Chain),
    /// Resident memory of an idle sidecar and an idle node
    Memory(memory::Memory),
    /// A commit of one secret in vaults of 100 to 100,000
    Commit(commit::Commit),
    /// Bytes that one changed secret sends
    Pull,
    /// A first copy of a vault
    Clone(clone::FirstCopy),
    /// Many vaults, and a long history
    Scale(scale::Scale),
    /// A rotation to a thousand watchers
    Announce(announce::Announce),
    /// A control log of a thousand operations
    Control,
    /// What many heads show together
    View,
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
    /// Sender to many
    Fan,
    /// Receiver of bulk
    Bulk { dir: PathBuf },
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
        Some(What::Commit(options)) => on_disk(|| commit::measure(&options)),
        Some(What::Pull) => pure::pull(),
        Some(What::Clone(options)) => on_disk(|| clone::measure(&options)),
        Some(What::Scale(options)) => on_disk(|| scale::measure(&options)),
        Some(What::Announce(options)) => on_disk(|| announce::measure(&options)),
        Some(What::Control) => pure::control(),
        Some(What::View) => pure::view(),
        Some(What::Floor(Floor::Fan)) => announce::fan(),
        Some(What::Floor(Floor::Bulk { dir })) => bulk::receive(&dir),
        Some(What::Floor(Floor::Node { dir })) => floor::node(&dir),
        Some(What::Floor(Floor::Pod { node, dir })) => floor::pod(node, &dir),
        Some(What::Floor(Floor::IdleNode { dir })) => memory::bare::node(&dir),
        Some(What::Floor(Floor::IdleSidecar { node })) => memory::bare::sidecar(node),
        None => on_disk(|| {
            chain::measure(&chain::Chain::default())?;
            memory::measure(&memory::Memory::default())?;
            commit::measure(&commit::Commit::default())?;
            pure::pull()?;
            clone::measure(&clone::FirstCopy::default())?;
            announce::measure(&announce::Announce::default())?;
            pure::control()?;
            pure::view()?;
            scale::measure(&scale::Scale::default())
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
