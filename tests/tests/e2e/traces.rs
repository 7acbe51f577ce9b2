//! What may be found nowhere, and what to look at when a step failed.

use super::World;
use super::main_job::PLANTED;
use anyhow::{Result, ensure};
use polykey_tests::install::NAMESPACE;
use std::path::{Path, PathBuf};

pub fn nothing_planted(w: &mut World) -> Result<()> {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    let read = |path: PathBuf| {
        (
            path.display().to_string(),
            std::fs::read(&path).unwrap_or_default(),
        )
    };
    places.extend(w.cluster.etcd_files().into_iter().map(read));
    places.extend(w.cluster.volume_files().into_iter().map(read));
    places.extend(below(&w.laptop.node_path()).into_iter().map(read));
    places.push(("the laptop's log".into(), w.laptop.log().into_bytes()));
    for (what, arguments) in [
        (
            "logs of the nodes",
            vec![
                "logs",
                "-n",
                NAMESPACE,
                "-l",
                "app.kubernetes.io/component=node",
                "--all-containers",
                "--tail=-1",
            ],
        ),
        (
            "logs of the operator",
            vec![
                "logs",
                "-n",
                NAMESPACE,
                "-l",
                "app.kubernetes.io/component=operator",
                "--tail=-1",
            ],
        ),
        (
            "logs of the sidecars",
            vec![
                "logs",
                "-n",
                "shop",
                "-l",
                "app=web",
                "-c",
                "polykey-sidecar",
                "--tail=-1",
            ],
        ),
        ("events", vec!["get", "events", "-A", "-o", "yaml"]),
        (
            "metrics of a node",
            vec![
                "get",
                "--raw",
                "/api/v1/namespaces/polykey-system/pods/polykey-0:9180/proxy/metrics",
            ],
        ),
        (
            "our objects",
            vec![
                "get",
                "polykeyvaults,polykeypeers,polykeynodes",
                "-A",
                "-o",
                "yaml",
            ],
        ),
    ] {
        places.push((what.into(), w.cluster.kubectl(&arguments)?.into_bytes()));
    }
    let total: usize = places.iter().map(|(_, b)| b.len()).sum();
    ensure!(total > 1 << 20, "only {total} bytes were searched");
    for (place, bytes) in &places {
        for planted in PLANTED {
            let found = bytes
                .windows(planted.len())
                .any(|window| window == planted.as_bytes());
            ensure!(!found, "{planted:?} is in {place}");
        }
    }
    // The search itself must be able to find something.
    ensure!(
        places
            .iter()
            .any(|(_, b)| b.windows(15).any(|x| x == b"polykey.io/inje")),
        "the search finds nothing at all"
    );
    println!(
        "        {} places, {} MiB, {} words: 0 hits",
        places.len(),
        total >> 20,
        PLANTED.len()
    );
    Ok(())
}

fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .flat_map(|e| {
            if e.path().is_dir() {
                below(&e.path())
            } else {
                vec![e.path()]
            }
        })
        .collect()
}

pub fn what_happened(w: &World) -> String {
    let mut out = String::new();
    for arguments in [
        &["get", "pods", "-A", "-o", "wide"][..],
        &[
            "get",
            "polykeyvaults,polykeypeers,polykeynodes",
            "-A",
            "-o",
            "wide",
        ],
        &[
            "logs",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component=node",
            "--all-containers",
            "--tail=40",
            "--prefix",
        ],
        &[
            "logs",
            "-n",
            NAMESPACE,
            "-l",
            "app.kubernetes.io/component=operator",
            "--tail=40",
        ],
        &["get", "events", "-A", "--sort-by=.lastTimestamp"],
    ] {
        let said = w
            .cluster
            .kubectl(arguments)
            .unwrap_or_else(|e| e.to_string());
        out += &["--- kubectl ", &arguments.join(" "), "\n", &said, "\n"].concat();
    }
    out += &["--- the laptop's agent\n", &w.laptop.log()].concat();
    out
}
