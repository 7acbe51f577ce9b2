//! `polykey-sidecar`: fetches a pod's secrets from the cluster's Polykey nodes, writes them as files and keeps them fresh. Its container has no shell and no other program.

use clap::{Parser, Subcommand};
use polykey_sidecar::config::{self, Config};
use polykey_sidecar::{board, follow, vault};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "It is started by the injection policy, which sets POLYKEY_VAULTS, POLYKEY_ENDPOINT and POLYKEY_DIR."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Follow the vaults of this pod (the default)
    Run,
    /// Exit 0 when every vault has been written once; for the startup and readiness probes
    Ready {
        /// Also fail when access was taken back or no trusted node is left
        #[arg(long)]
        fresh: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command.unwrap_or(Command::Run) {
        Command::Run => run(),
        Command::Ready { fresh } => {
            board::probe(&config::volume(), fresh).map_err(anyhow::Error::msg)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("polykey-sidecar: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Follows until SIGTERM, which ends with 0: a Job's pod must complete.
fn run() -> anyhow::Result<()> {
    let level = std::env::var("POLYKEY_LOG")
        .ok()
        .and_then(|l| l.parse().ok())
        .unwrap_or(tracing::Level::INFO);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let config = Config::from_env()?;
    let (vaults, board, state) = vault::open_all(&config.volume, &config.names, &config.pins)?;
    let shared = Arc::new(follow::Shared::new(&config, board, state)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            () = follow::follow(shared, vaults) => anyhow::bail!("nothing is left to follow"),
            _ = terminate.recv() => tracing::info!("stopped by SIGTERM"),
            _ = interrupt.recv() => tracing::info!("stopped by SIGINT"),
        }
        Ok(())
    })
}
