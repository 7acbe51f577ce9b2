//! `cluster`: the tests' Kubernetes by hand. `cluster up`, look around, `cluster down`.

use anyhow::Result;
use clap::{Parser, Subcommand};
use polykey_tests::cluster::Cluster;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "A real Kubernetes on this machine, for tests", after_help = "Examples:\n  cluster up --images\n  export KUBECONFIG=/tmp/polykey-test-cluster/admin.kubeconfig\n  cluster down")]
struct Arguments {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Bring it up, replacing one that is up
    Up {
        /// Also build the products and import their images
        #[arg(long)]
        images: bool,
    },
    /// Build the products and import their images into the cluster that is up
    Images,
    /// Stop it and remove every trace
    Down,
    /// Run kubectl on it
    Kubectl {
        /// Arguments of kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> Result<()> {
    let start = Instant::now();
    match Arguments::parse().command {
        What::Up { images } => {
            let mut cluster = Cluster::up()?;
            cluster.keep();
            if images {
                cluster.import_products()?;
            }
            println!("up in {:.1} s\nexport KUBECONFIG={}", start.elapsed().as_secs_f32(), cluster.kubeconfig.display());
        }
        What::Images => Cluster::existing()?.import_products()?,
        What::Down => {
            Cluster::existing()?.down();
            println!("down in {:.1} s", start.elapsed().as_secs_f32());
        }
        What::Kubectl { arguments } => {
            let status = Cluster::existing()?.command("kubectl").args(arguments).status()?;
            std::process::exit(status.code().unwrap_or(1));
        }
    }
    Ok(())
}
