//! `cluster`: the tests' Kubernetes by hand. `cluster up`, look around, `cluster down`.

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use polykey_tests::cluster::Cluster;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "A real Kubernetes on this machine, for tests", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

const EXAMPLES: &str = "Examples:
  cluster up --images
  cluster kubectl get pods -A
  cluster down

With POLYKEY_TEST_KUBECONFIG set, that cluster is used; POLYKEY_TEST_LOAD_IMAGE is then the command that loads an image archive into it,
for example 'kind load image-archive'.";

#[derive(Subcommand)]
enum What {
    /// Bring it up, replacing one that is up
    Up {
        /// Also build the products and import their images
        #[arg(long)]
        images: bool,
    },
    /// Show what runs
    Status,
    /// Build the products and import their images into the cluster that is up
    ImportImages,
    /// Stop it and remove every trace
    Down,
    /// Run kubectl on it
    Kubectl {
        /// Arguments of kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run Helm on it
    Helm {
        /// Arguments of Helm
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    run().unwrap_or_else(|e| {
        eprintln!("error: {e:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let start = Instant::now();
    match Arguments::parse().command {
        What::Up { images } => {
            let mut cluster = Cluster::up()?;
            if images {
                cluster.import_products()?;
            }
            cluster.keep();
            println!(
                "up in {:.1} s\nexport KUBECONFIG={}",
                start.elapsed().as_secs_f32(),
                cluster.kubeconfig.display()
            );
        }
        What::Status => status(&Cluster::existing()?)?,
        What::ImportImages => {
            Cluster::existing()?.import_products()?;
            println!(
                "polykey:dev, polykey-operator:dev and polykey-sidecar:dev are there ({:.1} s)",
                start.elapsed().as_secs_f32()
            );
        }
        What::Down => {
            Cluster::existing()?.down()?;
            println!("down in {:.1} s", start.elapsed().as_secs_f32());
        }
        What::Kubectl { arguments } => return on_cluster("kubectl", &arguments),
        What::Helm { arguments } => return on_cluster("helm", &arguments),
    }
    Ok(ExitCode::SUCCESS)
}

fn status(cluster: &Cluster) -> Result<()> {
    let mut out = Vec::new();
    for (name, pid) in cluster.processes() {
        writeln!(out, "{name:<24} {pid}")?;
    }
    write!(out, "{}", cluster.kubectl(&["get", "nodes", "-o", "wide"])?)?;
    write!(out, "{}", cluster.kubectl(&["get", "pods", "-A"])?)?;
    writeln!(out, "export KUBECONFIG={}", cluster.kubeconfig.display())?;
    // A reader that has seen enough, as `head`, is no error.
    std::io::stdout().write_all(&out).ok();
    Ok(())
}

fn on_cluster(program: &str, arguments: &[String]) -> Result<ExitCode> {
    let status = Cluster::existing()?
        .command(program)
        .args(arguments)
        .status()?;
    let Some(code) = status.code() else {
        bail!("{program}: {status}")
    };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
