//! `tests/demo`: each step of the main job in words, with its time.

use anyhow::{Context, Result, ensure};
use polykey_tests::cluster::Cluster;
use polykey_tests::install::{self, NAMESPACE};
use polykey_tests::laptop::Laptop;
use polykey_tests::tools;
use polykey_tests::wait::wait_for;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rotations that are timed.
const ROTATIONS: usize = 10;

#[allow(
    clippy::too_many_lines,
    reason = "the demo is one story, told in order"
)]
fn main() -> Result<()> {
    let keep = std::env::args().any(|a| a == "--keep");
    let mut step = Steps(Instant::now());
    println!("A secret goes from a laptop into a pod of a real Kubernetes, and changes there.\n");

    let mut cluster = Cluster::up()?;
    step.done(&format!(
        "a Kubernetes is up ({})",
        cluster
            .kubectl(&["version", "-o", "json"])
            .map(|v| version(&v))
            .unwrap_or_default()
    ));
    cluster.import_products()?;
    step.done("polykey is built and its images are in the cluster");
    install::install(&cluster)?;
    let nodes = install::node_ids(&cluster, 2)?;
    step.done("helm install: two nodes with their wardens, the operator, the admission policies");

    let laptop = Laptop::new(&tools::products()?.join("polykey"))?;
    step.done(&format!(
        "polykey init && polykey agent start: this laptop is {}",
        laptop.node_id
    ));
    let vault = laptop.create_vault("app")?;
    laptop.set("app:db/password", b"first")?;
    step.done("polykey vault create app; polykey set app:db/password");
    install::namespace(&cluster, "shop")?;
    cluster
        .apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: app, namespace: shop}\n")?;
    install::admit(&cluster, "my-laptop", &laptop, &["shop"])?;
    let address = install::introduce(&cluster, &laptop, &nodes)?;
    step.done(&format!(
        "a PolykeyPeer admits the laptop for namespace shop; polykey peer add NODE {address}, twice"
    ));
    for node in &nodes {
        laptop.polykey(&["share", "app", node])?;
    }
    wait_for(Duration::from_mins(1), "the vault in the cluster", || {
        let vaults = cluster.kubectl(&[
            "get",
            "polykeynodes",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.items[*].status.vaults}",
        ])?;
        ensure!(vaults == "1 1", "{vaults}");
        Ok(())
    })?;
    step.done("polykey share app NODE, twice: the vault is on both nodes");
    cluster.apply(&install::polykey_vault("shop", "app", &vault, "app"))?;
    let template = install::template("web", "app", "app", &["pause"], "Always");
    cluster.apply(&install::workload(
        "Deployment",
        "shop",
        "web",
        2,
        &template,
    ))?;
    cluster.kubectl(&[
        "rollout",
        "status",
        "deployment/web",
        "-n",
        "shop",
        "--timeout=120s",
    ])?;
    step.done("a PolykeyVault of two fields and a Deployment with one label and one annotation: 2 pods run");
    let file = "/run/polykey/app/db/password";
    let value = cluster.kubectl(&[
        "exec",
        "deployment/web",
        "-n",
        "shop",
        "-c",
        "app",
        "--",
        "/app",
        "cat",
        file,
    ])?;
    ensure!(value == "first", "the pod has {value:?}");
    step.done(&format!("in the pod {file} holds {value:?}"));

    let uid = || {
        cluster.kubectl(&["get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].metadata.uid} {.items[*].status.containerStatuses[*].restartCount}"])
    };
    let before = uid()?;
    let mut times = Vec::new();
    for n in 0..ROTATIONS {
        times.push(rotate(&cluster, &laptop, file, &format!("rotation {n}"))?);
    }
    ensure!(uid()? == before, "the pods were touched");
    times.sort_unstable();
    step.done(&format!(
        "polykey set app:db/password, {ROTATIONS} times: in the pod's file after {:.1} ms (median; slowest {:.1} ms), pods untouched",
        millis(times[ROTATIONS / 2]),
        millis(times[ROTATIONS - 1])
    ));
    wait_for(Duration::from_secs(30), "the status", || {
        let table = cluster.kubectl(&["get", "polykeyvaults", "-n", "shop"])?;
        ensure!(
            table.contains("2/2") && table.contains("AllPodsCurrent"),
            "{table}"
        );
        println!("\n{table}");
        Ok(())
    })?;
    step.done("kubectl get polykeyvaults");
    if keep {
        cluster.keep();
        println!(
            "\nThe cluster stays up. Look around:\n  export KUBECONFIG={}\n  kubectl get polykey -A\n  kubectl logs -n shop deployment/web -c polykey-sidecar\nEnd it:\n  cargo run -p polykey-tests --bin cluster -- down",
            cluster.kubeconfig.display()
        );
    } else {
        drop(cluster);
        step.done("cleaned up");
    }
    Ok(())
}

/// Sets a value and gives the time from the start of `polykey set` until a program in the pod read it from the file.
fn rotate(cluster: &Cluster, laptop: &Laptop, file: &str, value: &str) -> Result<Duration> {
    let mut waiting = cluster.command("kubectl");
    waiting.args([
        "exec",
        "deployment/web",
        "-n",
        "shop",
        "-c",
        "app",
        "--",
        "/app",
        "wait-for",
        file,
        value,
        "30",
    ]);
    let watcher = waiting
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    // The watcher needs a moment to be inside the pod; it polls the file from then on and reports the clock of its sight.
    wait_for(Duration::from_secs(10), "the watcher in the pod", || {
        watching(value)
    })?;
    let start = unix_nanos()?;
    laptop.set("app:db/password", value.as_bytes())?;
    let seen = watcher.wait_with_output()?;
    let seen: u128 = String::from_utf8_lossy(&seen.stdout)
        .trim()
        .parse()
        .context("the pod never saw the value")?;
    Ok(Duration::from_nanos(u64::try_from(
        seen.saturating_sub(start),
    )?))
}

/// The watcher runs in the pod: its process is visible from the host of the test cluster.
fn watching(value: &str) -> Result<()> {
    let list = Command::new("ps").args(["-eo", "args"]).output()?;
    let found = String::from_utf8_lossy(&list.stdout)
        .lines()
        .any(|l| l.starts_with("/app wait-for") && l.contains(value));
    ensure!(found, "not there yet");
    Ok(())
}

fn unix_nanos() -> Result<u128> {
    Ok(std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_nanos())
}

fn version(json: &str) -> String {
    serde_json::from_str::<serde_json::Value>(json)
        .ok()
        .and_then(|v| v["serverVersion"]["gitVersion"].as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1_000.0
}

/// Prints each step with the time that it took.
struct Steps(Instant);

impl Steps {
    fn done(&mut self, what: &str) {
        println!("{:>7.1} s  {what}", self.0.elapsed().as_secs_f32());
        self.0 = Instant::now();
    }
}
