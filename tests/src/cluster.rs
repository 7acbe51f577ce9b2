//! A real Kubernetes on this machine: etcd, API server, controllers, scheduler, containerd, kubelet, kube-proxy, DNS and Helm, up in some ten seconds.
//!
//! Pods are on a bridge of its own (198.18.0.0/24), Services on 198.19.0.0/24, both from the range for benchmarks (RFC 2544), and neither leaves the machine. One cluster at a time: what
//! a crashed run left is cleaned first. With `POLYKEY_TEST_KUBECONFIG` set that cluster is used instead, and nothing is brought up.

mod certificates;
mod components;
mod processes;

use crate::images::Image;
use crate::wait::{run, run_with, wait_for};
use crate::{images, tools};
use anyhow::{Context, Result, ensure};
use processes::Processes;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Address of the bridge: of the API server for pods, of the node, and of what laptops dial.
pub const HOST: &str = "198.18.0.1";
/// Name of the one Kubernetes node.
pub const NODE: &str = "node-1";
/// Port of the API server.
pub const API_PORT: u16 = 16_443;
/// Where everything of the cluster is.
const STATE: &str = "/tmp/polykey-test-cluster";
/// How many volumes there are for PVCs.
const VOLUMES: usize = 6;

/// A running cluster.
pub struct Cluster {
    /// For `kubectl`, Helm and clients: full rights.
    pub kubeconfig: PathBuf,
    programs: PathBuf,
    state: Option<PathBuf>,
    keep: bool,
}

impl Cluster {
    /// Brings a cluster up, or takes the one that `POLYKEY_TEST_KUBECONFIG` names.
    ///
    /// # Errors
    /// When something is missing on this machine (one line says what), or a component does not come up (with the end of its log).
    pub fn up() -> Result<Cluster> {
        let programs = tools::programs()?;
        if let Some(kubeconfig) = std::env::var_os("POLYKEY_TEST_KUBECONFIG") {
            return Ok(Cluster { kubeconfig: kubeconfig.into(), programs, state: None, keep: true });
        }
        check_machine()?;
        let dir = PathBuf::from(STATE);
        clean(&dir, &programs);
        std::fs::create_dir_all(&dir)?;
        let cluster = Cluster { kubeconfig: dir.join("admin.kubeconfig"), programs, state: Some(dir.clone()), keep: false };
        if let Err(e) = components::start(&dir, &cluster.programs) {
            let logs = cluster.component_logs(15);
            return Err(e.context(format!("the cluster did not come up\n{logs}")));
        }
        cluster.volumes(&dir)?;
        let pause = cluster.programs.join("app");
        cluster.import(&[
            Image { name: "pause:dev", program: &pause, at: "/pause", arguments: &["pause"], user: 65_532 },
            Image { name: "app:dev", program: &pause, at: "/app", arguments: &["pause"], user: 65_532 },
        ])?;
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// Takes a cluster that an earlier run left up.
    ///
    /// # Errors
    /// When there is none.
    pub fn existing() -> Result<Cluster> {
        let programs = tools::programs()?;
        if let Some(kubeconfig) = std::env::var_os("POLYKEY_TEST_KUBECONFIG") {
            return Ok(Cluster { kubeconfig: kubeconfig.into(), programs, state: None, keep: true });
        }
        let dir = PathBuf::from(STATE);
        let kubeconfig = dir.join("admin.kubeconfig");
        ensure!(kubeconfig.exists(), "no cluster is up: cargo run -p polykey-tests --bin cluster -- up");
        Ok(Cluster { kubeconfig, programs, state: Some(dir), keep: true })
    }

    /// Leaves it up when this value goes.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// True when this is somebody's own cluster.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.state.is_none()
    }

    /// Address at which laptops reach NodePorts.
    ///
    /// # Errors
    /// When the cluster has no node.
    pub fn node_ip(&self) -> Result<String> {
        let path = "{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
        self.kubectl(&["get", "nodes", "-o", &format!("jsonpath={path}")])
    }

    /// Runs `kubectl` and gives what it printed.
    ///
    /// # Errors
    /// With what it said on standard error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        run(self.command("kubectl").args(arguments))
    }

    /// `kubectl apply` of a manifest.
    ///
    /// # Errors
    /// With what the API server said.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        run_with(self.command("kubectl").args(["apply", "-f", "-"]), yaml.as_bytes())
    }

    /// Runs Helm.
    ///
    /// # Errors
    /// With what it said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let home = tools::cache().join("helm");
        let mut command = self.command("helm");
        command.args(arguments).env("HELM_CACHE_HOME", &home).env("HELM_CONFIG_HOME", &home).env("HELM_DATA_HOME", &home);
        run(&mut command)
    }

    /// A program of the cluster with the kubeconfig in its environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("KUBECONFIG", &self.kubeconfig).env_remove("POLYKEY_TEST_KUBECONFIG");
        command
    }

    /// Makes images known to the cluster. For a foreign cluster the command in `POLYKEY_TEST_LOAD_IMAGE` is run with each archive (for kind: `kind load image-archive`).
    ///
    /// # Errors
    /// When packing or importing fails.
    pub fn import(&self, wanted: &[Image<'_>]) -> Result<()> {
        let dir = self.state.clone().unwrap_or_else(|| tools::cache().join("images")).join("images");
        for archive in images::pack(wanted, &dir)? {
            match &self.state {
                Some(state) => {
                    let socket = state.join("containerd.sock");
                    run(Command::new("ctr").arg("-a").arg(socket).args(["-n", "k8s.io", "images", "import"]).arg(&archive))?;
                }
                None => {
                    let load = std::env::var("POLYKEY_TEST_LOAD_IMAGE").context("POLYKEY_TEST_LOAD_IMAGE is not set: how are image archives loaded into this cluster?")?;
                    run(Command::new("sh").args(["-c", &format!("{load} \"$0\"")]).arg(&archive))?;
                }
            }
        }
        Ok(())
    }

    /// Builds the products and makes their images known, as `polykey:dev`, `polykey-operator:dev`, `polykey-sidecar:dev`.
    ///
    /// # Errors
    /// When building or importing fails.
    pub fn import_products(&self) -> Result<()> {
        let bin = tools::products()?;
        let (node, operator, sidecar) = (bin.join("polykey"), bin.join("polykey-operator"), bin.join("polykey-sidecar"));
        self.import(&[
            Image { name: "polykey:dev", program: &node, at: "/polykey", arguments: &["--help"], user: 65_532 },
            Image { name: "polykey-operator:dev", program: &operator, at: "/polykey-operator", arguments: &["--help"], user: 65_532 },
            Image { name: "polykey-sidecar:dev", program: &sidecar, at: "/polykey-sidecar", arguments: &[], user: 61_314 },
        ])
    }

    /// The files of etcd as they are on the disk, history included; of a foreign cluster there are none to see.
    #[must_use]
    pub fn etcd_files(&self) -> Vec<PathBuf> {
        self.state.iter().flat_map(|s| files_below(&s.join("etcd"))).collect()
    }

    /// The files of the volumes that PVCs are bound to.
    #[must_use]
    pub fn volume_files(&self) -> Vec<PathBuf> {
        self.state.iter().flat_map(|s| files_below(&s.join("volumes"))).collect()
    }

    /// The last lines of every component's log.
    #[must_use]
    pub fn component_logs(&self, lines: usize) -> String {
        let mut out = String::new();
        let logs = self.state.iter().flat_map(|s| files_below(s)).filter(|p| p.extension().is_some_and(|e| e == "log"));
        for log in logs {
            let text = std::fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let tail: Vec<&str> = text.lines().rev().take(lines).collect();
            out.push_str(&format!("--- {}\n{}\n", log.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n")));
        }
        out
    }

    /// Stops everything and removes every trace.
    pub fn down(mut self) {
        self.keep = true;
        if let Some(dir) = self.state.take() {
            clean(&dir, &self.programs);
        }
    }

    fn volumes(&self, dir: &Path) -> Result<()> {
        let mut yaml = String::from(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}}\nprovisioner: kubernetes.io/no-provisioner\nvolumeBindingMode: WaitForFirstConsumer\n",
        );
        for n in 0..VOLUMES {
            let path = dir.join(format!("volumes/{n}"));
            std::fs::create_dir_all(&path)?;
            yaml.push_str(&format!(
                "---\napiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: local-{n}}}\nspec:\n  capacity: {{storage: 1Gi}}\n  accessModes: [ReadWriteOnce]\n  storageClassName: local\n  persistentVolumeReclaimPolicy: Retain\n  local: {{path: {}}}\n  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{NODE}]}}]}}]}}}}\n",
                path.display()
            ));
        }
        wait_for(Duration::from_secs(20), "volumes to be taken by the API server", || self.apply(&yaml)).map(drop)
    }

    fn wait_ready(&self) -> Result<()> {
        wait_for(Duration::from_secs(60), "the Kubernetes node to be ready", || {
            let ready = self.kubectl(&["get", "node", NODE, "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"])?;
            ensure!(ready == "True", "Ready is {ready:?}");
            self.kubectl(&["get", "serviceaccount", "default", "-n", "default"])
        })
        .map(drop)
        .with_context(|| self.component_logs(10))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(dir) = self.state.take().filter(|_| !self.keep) {
            clean(&dir, &self.programs);
        }
    }
}

/// What this machine must have.
fn check_machine() -> Result<()> {
    ensure!(rustix::process::getuid().is_root(), "a Kubernetes of its own needs root: run as root, or name a cluster in POLYKEY_TEST_KUBECONFIG");
    for program in ["containerd", "runc", "ctr", "iptables", "ip", "conntrack", "openssl", "mount"] {
        let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"].iter().any(|d| Path::new(d).join(program).exists());
        ensure!(found, "{program} is missing: run tests/setup");
    }
    ensure!(Path::new("/usr/lib/cni/bridge").exists(), "the CNI plugins are missing: run tests/setup");
    Ok(())
}

/// Stops what runs, unmounts, and removes links, rules and files. What is not there is passed over.
fn clean(dir: &Path, programs: &Path) {
    Processes::open(dir).stop_all();
    components::clean_network(dir, programs);
    std::fs::remove_dir_all(dir).ok();
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(t) if t.is_dir() => open.push(path),
                Ok(t) if t.is_file() => out.push(path),
                _ => {}
            }
        }
    }
    out.sort();
    out
}
