//! What goes on when parts are gone.

use super::World;
use super::main_job::{SHOP, cat, scale, web_pods};
use anyhow::{Result, ensure};
use polykey_tests::install::NAMESPACE;
use polykey_tests::wait::wait_for;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

pub fn laptop_away(w: &mut World) -> Result<()> {
    w.laptop.stop()?;
    ensure!(cat(w, "deployment/web", "db/password")? == "planted-value-three");
    scale(w, 3)?;
    let names = web_pods(w)?;
    ensure!(names.len() == 3);
    for name in names {
        ensure!(
            cat(w, &format!("pod/{name}"), "db/password")? == "planted-value-three",
            "{name}"
        );
    }
    Ok(())
}

pub fn node_killed(w: &mut World) -> Result<()> {
    let id = |w: &World| {
        w.cluster.kubectl(&[
            "get",
            "polykeynode",
            "polykey-0",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.status.nodeId}",
        ])
    };
    let before = id(w)?;
    w.cluster.kubectl(&[
        "delete",
        "pod",
        "polykey-0",
        "-n",
        NAMESPACE,
        "--grace-period=0",
        "--force",
    ])?;
    // While it is gone a new pod still gets its files, from the other node.
    scale(w, 4)?;
    w.cluster.kubectl(&[
        "rollout",
        "status",
        "statefulset/polykey",
        "-n",
        NAMESPACE,
        "--timeout=120s",
    ])?;
    ensure!(id(w)? == before, "the node came back as another");
    // Every pod has a live watch again: the status counts them all.
    wait_for(SOON, "all pods to be counted again", || {
        let summary = w.cluster.kubectl(&[
            "get",
            "polykeyvault",
            "app",
            "-n",
            SHOP,
            "-o",
            "jsonpath={.status.pods.summary}",
        ])?;
        // The refused pod of an earlier step stays in the total for the ten minutes that a refusal is kept.
        ensure!(summary.starts_with("5/"), "{summary}");
        Ok(())
    })
}

pub fn laptop_back(w: &mut World) -> Result<()> {
    w.laptop.start()?;
    w.laptop
        .set("planted-vault-name:db/password", b"planted-value-one")?;
    let names = web_pods(w)?;
    for name in names {
        wait_for(SOON, "the value that was set after the outage", || {
            ensure!(cat(w, &format!("pod/{name}"), "db/password")? == "planted-value-one");
            Ok(())
        })?;
    }
    Ok(())
}
