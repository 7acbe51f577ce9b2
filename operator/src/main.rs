//! `polykey-operator`: `run` is the controller, `warden` the companion of each node, `crds` prints the custom resources.

use clap::{Parser, Subcommand};
use polykey_operator::settings::{OperatorSettings, WardenSettings};
use polykey_operator::{controller, crd, warden};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Turns PolykeyVault objects into access rules and status.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write status of PolykeyVaults, PolykeyPeers and PolykeyNodes from what the nodes report.
    Run(OperatorSettings),
    /// Put the access rules of this cluster into the node of this pod, and report the node.
    Warden(WardenSettings),
    /// Print the custom resource definitions as YAML.
    Crds {
        /// Write one file a kind into each of these directories instead.
        #[arg(long, num_args = 1.., value_name = "DIR")]
        write: Vec<PathBuf>,
    },
}

// One thread: nearly all of the work is waiting, and every further thread costs an arena of the allocator.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Command::Crds { write } = &cli.command {
        return crds(write);
    }
    log();
    // Another crate that brought a second provider would make rustls panic for an ambiguous default.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    match cli.command {
        Command::Run(settings) => controller::run(settings).await?,
        Command::Warden(settings) => warden::run(settings).await?,
        Command::Crds { .. } => {}
    }
    Ok(())
}

fn crds(dirs: &[PathBuf]) -> anyhow::Result<()> {
    if dirs.is_empty() {
        print!("{}", crd::schema::stream()?);
    } else {
        crd::schema::write(dirs)?;
    }
    Ok(())
}

/// `POLYKEY_LOG` as in `RUST_LOG`. The HTTP client below says at ERROR what its caller gets as an error anyway and tells better, so it is quiet unless asked for.
fn log() {
    let asked = std::env::var("POLYKEY_LOG").unwrap_or_default();
    let asked = if asked.is_empty() { "info" } else { &asked };
    let filter = EnvFilter::new(format!("kube_client=off,{asked}"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .init();
}
