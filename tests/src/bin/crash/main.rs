//! What is left after a crash: `tests/crash` kills processes, `tests/powercut` cuts the power of their disks. In both a writer sets secrets on a laptop as fast as it can,
//! and afterwards nothing that was acknowledged may be lost, all must start again by itself, and both nodes must come to the same heads.

mod chance;
mod disk;
mod kills;
mod mount;
mod power;
mod progress;
mod reader;
mod tally;
mod writer;

use anyhow::Result;
use chance::Chance;
use clap::{Parser, Subcommand};
use polykey_tests::line::unless_stopped;
use std::process::ExitCode;

/// Crash everything on the line, again and again.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    how: How,
    /// Repeats the moments of another run, as far as a machine repeats anything
    #[arg(long, global = true)]
    seed: Option<u64>,
}

#[derive(Subcommand)]
enum How {
    /// SIGKILL
    Kill(kills::Kills),
    /// Disks that lose what was not synced
    Power(power::Power),
}

fn main() -> Result<ExitCode> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let Arguments { how, seed } = Arguments::parse();
    let mut chance = Chance::new(seed);
    println!("seed {}", chance.seed());
    // Two threads: the writer's connection goes on while this one waits for a process to start.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let good = runtime.block_on(unless_stopped(async {
        match how {
            How::Kill(kills) => kills::run(&kills, &mut chance).await,
            How::Power(power) => power::run(&power, &mut chance).await,
        }
    }))?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
