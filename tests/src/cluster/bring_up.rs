//! The way up: what starts when, and what is waited for.

use super::components::Components;
use super::processes::Processes;
use super::{Cluster, NODE, State, certificates, network, volumes};
use crate::images::Image;
use crate::tools;
use crate::wait::wait_for;
use anyhow::{Result, ensure};
use std::time::Duration;

impl Cluster {
    /// The order is that of need; what needs nothing of each other starts together.
    pub(super) fn start(&self) -> Result<()> {
        let Some(State { dir, ours, .. }) = &self.state else {
            return Ok(());
        };
        let components = Components {
            dir,
            programs: &self.programs,
            processes: Processes::open(dir),
            ours,
        };
        ours.while_held(|| certificates::make(dir))?;
        ours.while_held(|| network::make(dir))?;
        components.containerd()?;
        components.api_server()?;
        components.containerd_answers()?;
        self.import_own()?;
        components.api_server_answers()?;
        components.controllers()?;
        components.kubelet()?;
        components.proxy()?;
        components.dns()?;
        self.apply(&ours.while_held(|| volumes::make(&dir.join("volumes")))?)?;
        Components::network_answers()?;
        self.ready()
    }

    /// The program of the containers under test, and, where the sandboxes are ours, the same as their pause.
    pub(super) fn import_own(&self) -> Result<()> {
        let app = tools::app()?;
        let image = |name, at| Image {
            name,
            program: &app,
            at,
            arguments: &["pause"],
            user: 65_532,
        };
        self.import(&[image("app:dev", "/app")])?;
        if self.is_foreign() {
            Ok(())
        } else {
            self.import(&[image("pause:dev", "/pause")])
        }
    }

    fn ready(&self) -> Result<()> {
        wait_for(
            Duration::from_mins(1),
            "the Kubernetes node to be ready",
            || {
                let ready = self.kubectl(&[
                    "get",
                    "node",
                    NODE,
                    "-o",
                    "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}",
                ])?;
                ensure!(ready == "True", "Ready is {ready:?}");
                self.kubectl(&["get", "serviceaccount", "default", "-n", "default"])
            },
        )
        .map(drop)
    }
}
