//! End to end on a real Kubernetes, with the installed chart and a laptop's agent: each step builds on the one before, as a person's day would. It counts its own steps, so it has no test runner;
//! it ends with `N passed, N failed`. `--keep` leaves the cluster up.

mod main_job;
mod outage;
mod refusals;
mod schema;
mod traces;

use anyhow::Result;
use polykey_tests::cluster::Cluster;
use polykey_tests::laptop::Laptop;
use polykey_tests::tools;
use std::time::Instant;

/// Everything that the steps share.
pub struct World {
    /// The cluster.
    pub cluster: Cluster,
    /// The laptop.
    pub laptop: Laptop,
    /// Ids of the cluster's nodes.
    pub nodes: Vec<String>,
    /// Id of the vault `app`.
    pub vault: String,
}

impl World {
    fn new() -> Result<World> {
        let cluster = Cluster::up()?;
        cluster.import_products()?;
        let laptop = Laptop::new(&tools::products()?.join("polykey"))?;
        Ok(World {
            cluster,
            laptop,
            nodes: Vec::new(),
            vault: String::new(),
        })
    }
}

type Step = (&'static str, fn(&mut World) -> Result<()>);

const STEPS: &[Step] = &[
    (
        "the chart brings nodes, operator and policies up",
        main_job::install_the_chart,
    ),
    (
        "a vault that is shared with node ids arrives in the cluster",
        main_job::share,
    ),
    (
        "a Deployment's pods get the files in a memory volume before they start",
        main_job::deployment,
    ),
    ("a StatefulSet's pods get the files", main_job::stateful_set),
    ("a Job with secrets completes", main_job::job),
    (
        "a rotation is in the running pods by one switch, with the pods untouched",
        main_job::rotation,
    ),
    (
        "a container takes a secret as an environment variable",
        main_job::environment,
    ),
    (
        "kubectl get polykeyvaults tells version and pods",
        main_job::status,
    ),
    (
        "a pod whose ServiceAccount is not listed gets nothing and is counted",
        refusals::service_account,
    ),
    (
        "a namespace that is not admitted gets nothing, and the reason says so",
        refusals::namespace,
    ),
    (
        "a vault that is not shared gets nothing, and the reason says so",
        refusals::not_shared,
    ),
    (
        "a field that does not work yet is refused, never ignored",
        refusals::unsupported,
    ),
    ("pin, signers and suspend restrict", refusals::restrictions),
    (
        "a misspelt annotation is explained at the Deployment",
        refusals::annotation,
    ),
    ("an unknown field is refused", refusals::unknown_field),
    (
        "every rule of the schema lets through and refuses what it should",
        schema::cases,
    ),
    (
        "tokens that are not this pod's for this cluster are refused alike",
        refusals::tokens,
    ),
    (
        "with the laptop gone running pods keep their files and new pods start",
        outage::laptop_away,
    ),
    (
        "a killed node comes back with its store while sidecars move to another",
        outage::node_killed,
    ),
    (
        "what was set meanwhile arrives when the laptop is back",
        outage::laptop_back,
    ),
    (
        "no planted value or name is in etcd, the nodes' volumes, the laptop's store, logs, events or metrics",
        traces::nothing_planted,
    ),
];

fn main() {
    let keep = std::env::args().any(|a| a == "--keep");
    let start = Instant::now();
    let mut world = match World::new() {
        Ok(world) => world,
        Err(e) => {
            println!(
                "the cluster could not be brought up: {e:#}\n\n0 passed, {} failed",
                STEPS.len()
            );
            std::process::exit(1);
        }
    };
    println!(
        "cluster and images ready in {:.0} s",
        start.elapsed().as_secs_f32()
    );
    let (mut passed, mut failed) = (0, 0);
    for (name, step) in STEPS {
        let start = Instant::now();
        match step(&mut world) {
            Ok(()) => {
                passed += 1;
                println!("ok      {name} ({:.1} s)", start.elapsed().as_secs_f32());
            }
            Err(e) => {
                failed += 1;
                println!(
                    "FAILED  {name} ({:.1} s)\n{e:#}\n",
                    start.elapsed().as_secs_f32()
                );
            }
        }
    }
    if failed > 0 {
        println!("{}", traces::what_happened(&world));
    }
    if keep {
        world.cluster.keep();
        println!(
            "the cluster is up: export KUBECONFIG={}",
            world.cluster.kubeconfig.display()
        );
    }
    drop(world);
    println!("\n{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}
