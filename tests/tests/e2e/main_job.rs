//! The main job: a secret typed on a laptop is in a pod's files, and rotates there.

use super::World;
use anyhow::{Context, Result, ensure};
use polykey_tests::install::{self, NAMESPACE};
use polykey_tests::wait::wait_for;
use std::time::{Duration, Instant};

/// Namespace of the apps.
pub const SHOP: &str = "shop";
/// Values and names that must never be found anywhere.
pub const PLANTED: &[&str] = &[
    "planted-value-one",
    "planted-value-two",
    "planted-value-three",
    "planted-secret-name",
    "planted-vault-name",
];
const SOON: Duration = Duration::from_mins(2);

pub fn install_the_chart(w: &mut World) -> Result<()> {
    install::install(&w.cluster)?;
    w.nodes = install::node_ids(&w.cluster, 2)?;
    ensure!(
        w.nodes[0] != w.nodes[1],
        "each replica has an identity of its own"
    );
    let table = w
        .cluster
        .kubectl(&["get", "polykeynodes", "-n", NAMESPACE])?;
    ensure!(
        table.contains("polykey-0") && table.contains("polykey-1"),
        "{table}"
    );
    Ok(())
}

pub fn share(w: &mut World) -> Result<()> {
    for namespace in [SHOP, "other"] {
        install::namespace(&w.cluster, namespace)?;
        for account in ["app", "stranger"] {
            w.cluster.apply(&format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}, namespace: {namespace}}}\n"))?;
        }
    }
    install::admit(&w.cluster, "laptop", &w.laptop, &[SHOP])?;
    w.vault = w.laptop.create_vault("planted-vault-name")?;
    w.laptop
        .set("planted-vault-name:db/password", b"planted-value-one")?;
    w.laptop.set(
        "planted-vault-name:planted-secret-name",
        b"planted-value-three",
    )?;
    w.laptop
        .set("planted-vault-name:tls/cert.der", &[0, 255, 128, 7])?;
    w.laptop
        .set("planted-vault-name:big", &vec![b'x'; 65_535])?;
    w.laptop
        .polykey(&["set", "planted-vault-name:empty", "--from", "/dev/null"])?;
    install::introduce(&w.cluster, &w.laptop, &w.nodes)?;
    for node in &w.nodes {
        w.laptop.polykey(&["share", "planted-vault-name", node])?;
    }
    wait_for(SOON, "both nodes to hold the vault", || {
        let vaults = w.cluster.kubectl(&[
            "get",
            "polykeynodes",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.items[*].status.vaults}",
        ])?;
        ensure!(vaults == "1 1", "vaults of the nodes: {vaults}");
        Ok(())
    })
    .with_context(|| w.laptop.log())?;
    w.cluster
        .apply(&install::polykey_vault(SHOP, "app", &w.vault, "app"))
        .map(drop)
}

/// Waits until all pods of the app run what its deployment says.
pub fn rolled_out(w: &World) -> Result<()> {
    let of = ["rollout", "status", "deployment/web", "-n", SHOP];
    w.cluster
        .kubectl(&[&of[..], &["--timeout=90s"]].concat())
        .map(drop)
        .with_context(|| pods(w, "web"))
}

/// Scales the app, and waits for its pods.
pub fn scale(w: &World, replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    w.cluster
        .kubectl(&["scale", "deployment/web", "-n", SHOP, &replicas])?;
    rolled_out(w)
}

/// Names of the app's pods.
pub fn web_pods(w: &World) -> Result<Vec<String>> {
    let names = w.cluster.kubectl(&[
        "get",
        "pods",
        "-n",
        SHOP,
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

pub fn deployment(w: &mut World) -> Result<()> {
    let template = install::template("web", "app", "app", &["pause"], "Always");
    w.cluster
        .apply(&install::workload("Deployment", SHOP, "web", 2, &template))?;
    rolled_out(w)?;
    ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-one");
    let listing = exec(w, "deployment/web", &["/app", "ls", "/run/polykey/app/"])?;
    ensure!(
        listing.contains("/run/polykey/app/planted-secret-name") && listing.contains("-r--r--r--"),
        "{listing}"
    );
    let digest = exec(
        w,
        "deployment/web",
        &["/app", "sha256", "/run/polykey/app/big"],
    )?;
    ensure!(
        digest.trim() == polykey_tests::images::sha256(&vec![b'x'; 65_535]),
        "the largest value is whole"
    );
    let binary = exec(
        w,
        "deployment/web",
        &["/app", "sha256", "/run/polykey/app/tls/cert.der"],
    )?;
    ensure!(
        binary.trim() == polykey_tests::images::sha256(&[0, 255, 128, 7]),
        "binary values are whole"
    );
    let written = exec(
        w,
        "deployment/web",
        &["/app", "try-write", "/run/polykey/app/x"],
    );
    ensure!(written.is_err(), "the app's mount is read-only");
    let medium = w.cluster.kubectl(&[
        "get",
        "pods",
        "-n",
        SHOP,
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[0].spec.volumes[?(@.name==\"polykey-secrets\")].emptyDir.medium}",
    ])?;
    ensure!(medium == "Memory", "the volume is in memory: {medium}");
    Ok(())
}

pub fn stateful_set(w: &mut World) -> Result<()> {
    let template = install::template("db", "app", "app", &["pause"], "Always");
    w.cluster
        .apply(&install::workload("StatefulSet", SHOP, "db", 1, &template))?;
    w.cluster
        .kubectl(&[
            "rollout",
            "status",
            "statefulset/db",
            "-n",
            SHOP,
            "--timeout=90s",
        ])
        .with_context(|| pods(w, "db"))?;
    ensure!(cat(w, "pod/db-0", "db/password")? == "planted-value-one");
    Ok(())
}

pub fn job(w: &mut World) -> Result<()> {
    let template = install::template(
        "once",
        "app",
        "app",
        &["sha256", "/run/polykey/app/db/password"],
        "Never",
    )
    .replace('\n', "\n    ");
    w.cluster.apply(&format!("apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once, namespace: {SHOP}}}\nspec:\n  backoffLimit: 0\n  template:\n    {template}\n"))?;
    w.cluster
        .kubectl(&[
            "wait",
            "--for=condition=Complete",
            "job/once",
            "-n",
            SHOP,
            "--timeout=90s",
        ])
        .with_context(|| pods(w, "once"))?;
    let log = w
        .cluster
        .kubectl(&["logs", "job/once", "-n", SHOP, "-c", "app"])?;
    ensure!(
        log.trim() == polykey_tests::images::sha256(b"planted-value-one"),
        "{log}"
    );
    Ok(())
}

pub fn rotation(w: &mut World) -> Result<()> {
    let before = identity(w)?;
    let start = Instant::now();
    w.laptop
        .set("planted-vault-name:db/password", b"planted-value-two")?;
    wait_for(Duration::from_secs(10), "the new value in the pod", || {
        ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-two");
        Ok(())
    })?;
    println!(
        "        set to seen by kubectl exec: {} ms",
        start.elapsed().as_millis()
    );
    ensure!(identity(w)? == before, "the pods were touched");
    let data = exec(w, "deployment/web", &["/app", "ls", "/run/polykey/app/"])?;
    ensure!(
        data.contains("planted-secret-name"),
        "what did not change is still there: {data}"
    );
    Ok(())
}

pub fn environment(w: &mut World) -> Result<()> {
    let template = install::template("env", "app", "app", &["pause"], "Always").replace(
        "polykey.io/vaults: \"app\"",
        "polykey.io/vaults: \"app\", polykey.io/env: \"PGPASSWORD=app/db/password\"",
    );
    w.cluster
        .apply(&install::workload("Deployment", SHOP, "env", 1, &template))?;
    w.cluster
        .kubectl(&[
            "rollout",
            "status",
            "deployment/env",
            "-n",
            SHOP,
            "--timeout=90s",
        ])
        .with_context(|| pods(w, "env"))?;
    let value = exec(w, "deployment/env", &["/app", "env", "PGPASSWORD"])?;
    ensure!(value == "planted-value-two", "{value:?}");
    w.cluster
        .kubectl(&[
            "delete",
            "deployment/env",
            "-n",
            SHOP,
            "--wait=true",
            "--timeout=60s",
        ])
        .map(drop)
}

pub fn status(w: &mut World) -> Result<()> {
    let version = w.laptop.json(&["log", "planted-vault-name"])?["items"][0]["version"]
        .as_str()
        .context("a version")?
        .to_owned();
    wait_for(SOON, "the status to be right", || {
        let field = |path: &str| {
            w.cluster.kubectl(&[
                "get",
                "polykeyvault",
                "app",
                "-n",
                SHOP,
                "-o",
                &format!("jsonpath={path}"),
            ])
        };
        let ready = field("{.status.conditions[?(@.type==\"Ready\")].status}")?;
        let reason = field("{.status.conditions[?(@.type==\"Ready\")].reason}")?;
        let pods = field("{.status.pods.summary}")?;
        let served = field("{.status.version}")?;
        ensure!(
            (
                ready.as_str(),
                reason.as_str(),
                pods.as_str(),
                served.as_str()
            ) == ("True", "AllPodsCurrent", "3/3", version.as_str()),
            "{ready} {reason} {pods} {served}"
        );
        Ok(())
    })
    .with_context(|| {
        w.cluster
            .kubectl(&["get", "polykeyvaults", "-A", "-o", "yaml"])
            .unwrap_or_default()
    })?;
    let table = w.cluster.kubectl(&["get", "polykeyvaults", "-n", SHOP])?;
    ensure!(
        table.contains("READY") && table.contains(&version[..12]),
        "{table}"
    );
    Ok(())
}

/// Uids and restart counts of the pods of the Deployment.
fn identity(w: &World) -> Result<String> {
    w.cluster.kubectl(&["get", "pods", "-n", SHOP, "-l", "app=web", "-o", "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount} {.status.initContainerStatuses[*].restartCount};{end}"])
}

/// Content of a file in a pod.
pub fn cat(w: &World, pod: &str, path: &str) -> Result<String> {
    exec(
        w,
        pod,
        &["/app", "cat", &format!("/run/polykey/app/{path}")],
    )
}

/// Runs a program in a pod's app container.
pub fn exec(w: &World, pod: &str, command: &[&str]) -> Result<String> {
    let head = ["exec", pod, "-n", SHOP, "-c", "app", "--"];
    w.cluster.kubectl(&[&head[..], command].concat())
}

/// What a person would look at when pods do not start.
pub fn pods(w: &World, app: &str) -> String {
    let selector = format!("app={app}");
    let describe = w
        .cluster
        .kubectl(&["describe", "pods", "-n", SHOP, "-l", &selector])
        .unwrap_or_default();
    let logs = w
        .cluster
        .kubectl(&[
            "logs",
            "-n",
            SHOP,
            "-l",
            &selector,
            "-c",
            "polykey-sidecar",
            "--tail=30",
        ])
        .unwrap_or_else(|e| e.to_string());
    format!("{describe}\n--- sidecar\n{logs}")
}
