//! A real Kubernetes on this machine: etcd, API server, controllers, scheduler, containerd, kubelet, kube-proxy, DNS and Helm, up in some ten seconds.
//!
//! Pods are on a bridge of its own (198.18.0.0/24), Services on 198.19.0.0/24, both from the range for benchmarks (RFC 2544), and neither leaves the machine. One cluster at a time: what
//! a crashed run left is cleaned first, and so is a cluster that was kept. With `POLYKEY_TEST_KUBECONFIG` set that cluster is used instead, and nothing is brought up.
//!
//! For two at once, run each in a network namespace of its own (`unshare -n`) and give it a name of its own in `POLYKEY_TEST_CLUSTER`.
//!
//! The cluster goes down when its value is dropped and on Ctrl-C. A `static` is never dropped: whoever puts a cluster into one calls [`Cluster::down`].

mod bring_up;
mod certificates;
mod components;
mod files;
mod interrupt;
mod machine;
mod network;
mod ours;
mod outside;
mod processes;
mod volumes;

use crate::images::Image;
use crate::wait::{run, run_with};
use crate::{images, tools};
use anyhow::{Context, Result, bail, ensure};
use files::{files_below, last_lines};
use ours::Ours;
use processes::Processes;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Address of the bridge: of the API server for pods, of the node, and of what laptops dial.
pub const HOST: &str = "198.18.0.1";
/// Name of the one Kubernetes node.
pub const NODE: &str = "node-1";
/// Port of the API server.
pub const API_PORT: u16 = 16_443;
/// Where the folders of clusters are: only root can make one there, and root will trust what it finds in it.
const STATE: &str = "/var/lib";
/// Name of a cluster that is given no other in `POLYKEY_TEST_CLUSTER`.
const NAME: &str = "polykey-test-cluster";
/// Lines of each log that an error shows.
const LOG_LINES: usize = 15;

/// A running cluster.
pub struct Cluster {
    /// For `kubectl`, Helm and clients: full rights.
    pub kubeconfig: PathBuf,
    programs: PathBuf,
    state: Option<State>,
}

/// A cluster that this machine runs.
struct State {
    dir: PathBuf,
    ours: Ours,
    /// Held so that no other run takes it down.
    lock: Option<File>,
}

impl Cluster {
    /// Brings a cluster up, or takes the one that `POLYKEY_TEST_KUBECONFIG` names.
    ///
    /// # Errors
    /// When something is missing on this machine (one line says what), or a component does not come up (with the end of its log).
    pub fn up() -> Result<Cluster> {
        if let Some(foreign) = Cluster::foreign()? {
            foreign.import_own()?;
            return Ok(foreign);
        }
        machine::check()?;
        let dir = folder();
        let lock = machine::lock(&dir)?;
        let programs = tools::programs()?;
        clean(&dir, &programs)?;
        machine::check_alone()?;
        DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let ours = Ours::new(true);
        interrupt::watch(&dir, &programs, &ours)?;
        let cluster = Cluster {
            kubeconfig: dir.join("admin.kubeconfig"),
            programs,
            state: Some(State {
                dir,
                ours,
                lock: Some(lock),
            }),
        };
        cluster.start().with_context(|| {
            format!(
                "the cluster did not come up\n{}",
                cluster.component_logs(LOG_LINES)
            )
        })?;
        Ok(cluster)
    }

    /// Takes a cluster that an earlier run left up.
    ///
    /// # Errors
    /// When there is none.
    pub fn existing() -> Result<Cluster> {
        if let Some(foreign) = Cluster::foreign()? {
            return Ok(foreign);
        }
        let dir = folder();
        let kubeconfig = dir.join("admin.kubeconfig");
        ensure!(
            kubeconfig.exists(),
            "no cluster is up: cargo run -p polykey-tests --bin cluster -- up"
        );
        let ours = Ours::new(false);
        Ok(Cluster {
            kubeconfig,
            programs: tools::programs()?,
            state: Some(State {
                dir,
                ours,
                lock: None,
            }),
        })
    }

    fn foreign() -> Result<Option<Cluster>> {
        let Some(kubeconfig) = std::env::var_os("POLYKEY_TEST_KUBECONFIG")
            .filter(|k| !k.is_empty())
            .map(PathBuf::from)
        else {
            return Ok(None);
        };
        ensure!(
            kubeconfig.exists(),
            "POLYKEY_TEST_KUBECONFIG names {}, which is not there",
            kubeconfig.display()
        );
        Ok(Some(Cluster {
            kubeconfig,
            programs: tools::programs()?,
            state: None,
        }))
    }

    /// Leaves it up when this value goes.
    pub fn keep(&mut self) {
        if let Some(state) = &self.state {
            *state.ours.hold() = false;
        }
    }

    /// True when this is somebody's own cluster.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.state.is_none()
    }

    /// Address at which laptops reach node ports.
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
        run_with(
            self.command("kubectl").args(["apply", "-f", "-"]),
            yaml.as_bytes(),
        )
    }

    /// Runs Helm.
    ///
    /// # Errors
    /// With what it said.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let home = tools::cache().join("helm");
        let mut command = self.command("helm");
        command
            .args(arguments)
            .env("HELM_CACHE_HOME", &home)
            .env("HELM_CONFIG_HOME", &home)
            .env("HELM_DATA_HOME", &home);
        run(&mut command)
    }

    /// A program of the cluster with the kubeconfig in its environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        with_kubeconfig(&mut command, &self.kubeconfig);
        command
    }

    /// Makes images known to the cluster. For a foreign cluster the command in `POLYKEY_TEST_LOAD_IMAGE` is run with each archive (for kind: `kind load image-archive`; `true` where
    /// they are there already).
    ///
    /// # Errors
    /// When packing or importing fails.
    pub fn import(&self, wanted: &[Image<'_>]) -> Result<()> {
        let dir = self
            .state
            .as_ref()
            .map_or_else(tools::cache, |s| s.dir.clone())
            .join("images");
        let archives = match &self.state {
            Some(state) => state.ours.while_held(|| images::pack(wanted, &dir)),
            None => images::pack(wanted, &dir),
        };
        for archive in archives? {
            self.load(&archive)
                .with_context(|| format!("cannot import {}", archive.display()))?;
        }
        Ok(())
    }

    fn load(&self, archive: &Path) -> Result<()> {
        let mut command = if let Some(state) = &self.state {
            let mut ctr = Command::new("ctr");
            ctr.arg("-a")
                .arg(state.dir.join("containerd.sock"))
                .args(["-n", "k8s.io", "images", "import"]);
            ctr
        } else {
            let load = std::env::var("POLYKEY_TEST_LOAD_IMAGE").context("POLYKEY_TEST_LOAD_IMAGE is not set: how are image archives loaded into this cluster?")?;
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("{load} \"$0\"")]);
            shell
        };
        run(command.arg(archive)).map(drop)
    }

    /// Builds the products and makes their images known, as `polykey:dev`, `polykey-operator:dev`, `polykey-sidecar:dev`.
    ///
    /// # Errors
    /// When building or importing fails.
    pub fn import_products(&self) -> Result<()> {
        let bin = tools::products()?;
        let (node, operator, sidecar) = (
            bin.join("polykey"),
            bin.join("polykey-operator"),
            bin.join("polykey-sidecar"),
        );
        self.import(&[
            Image {
                name: "polykey:dev",
                program: &node,
                at: "/polykey",
                arguments: &["--help"],
                user: 65_532,
            },
            Image {
                name: "polykey-operator:dev",
                program: &operator,
                at: "/polykey-operator",
                arguments: &["--help"],
                user: 65_532,
            },
            Image {
                name: "polykey-sidecar:dev",
                program: &sidecar,
                at: "/polykey-sidecar",
                arguments: &[],
                user: 61_314,
            },
        ])
    }

    /// A client of the API server with full rights.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(
            kubeconfig,
            &kube::config::KubeConfigOptions::default(),
        )
        .await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// The files of etcd as they are on the disk, history included; of a foreign cluster there are none to see.
    #[must_use]
    pub fn etcd_files(&self) -> Vec<PathBuf> {
        self.files("etcd")
    }

    /// Everything that etcd holds or held, keys and values, as the bytes of its files: what to search for values that must not be there.
    ///
    /// # Errors
    /// When the cluster is foreign, since then nobody could tell that nothing was found from nothing was read.
    pub fn etcd_dump(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for file in self.etcd_files() {
            bytes.extend(
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?,
            );
        }
        ensure!(!bytes.is_empty(), "the etcd of this cluster cannot be read");
        Ok(bytes)
    }

    /// The files of the volumes that PVCs are bound to.
    #[must_use]
    pub fn volume_files(&self) -> Vec<PathBuf> {
        self.files("volumes")
    }

    /// The last lines of the log of each component and of each container; empty for a foreign cluster.
    #[must_use]
    pub fn component_logs(&self, lines: usize) -> String {
        let Some(state) = &self.state else {
            return String::new();
        };
        let components = fs::read_dir(&state.dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path());
        let mut logs: Vec<PathBuf> = components
            .filter(|p| p.extension().is_some_and(|e| e == "log"))
            .collect();
        logs.sort();
        logs.extend(self.files("pod-logs"));
        let shown: Vec<String> = logs
            .iter()
            .map(|log| format!("--- {}\n{}\n", log.display(), last_lines(log, lines)))
            .collect();
        shown.concat()
    }

    /// The components that run, with their process ids; none for a foreign cluster.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, u32)> {
        self.state
            .iter()
            .flat_map(|s| Processes::open(&s.dir).living())
            .collect()
    }

    /// Stops everything and removes every trace. A foreign cluster is left as it is.
    ///
    /// # Errors
    /// When another run uses the cluster, or something could not be removed.
    pub fn down(mut self) -> Result<()> {
        let Some(state) = self.state.take() else {
            return Ok(());
        };
        let _lock = state.lock.map_or_else(|| machine::lock(&state.dir), Ok)?;
        let mut ours = state.ours.hold();
        *ours = false;
        clean(&state.dir, &self.programs)
    }

    fn files(&self, below: &str) -> Vec<PathBuf> {
        self.state
            .iter()
            .flat_map(|s| files_below(&s.dir.join(below)))
            .collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else {
            return;
        };
        let mut ours = state.ours.hold();
        if std::mem::take(&mut *ours)
            && let Err(e) = clean(&state.dir, &self.programs)
        {
            eprintln!("{e:#}");
        }
    }
}

/// The folder of the cluster that this process means.
fn folder() -> PathBuf {
    let name = std::env::var("POLYKEY_TEST_CLUSTER")
        .ok()
        .filter(|n| !n.is_empty());
    Path::new(STATE).join(name.as_deref().unwrap_or(NAME))
}

/// Name of the cluster in `dir`: of its folder, its control group, its network and its lock.
fn name(dir: &Path) -> &str {
    dir.file_name().and_then(|n| n.to_str()).unwrap_or(NAME)
}

/// Stops what runs, unmounts, and removes links, rules and files. What is not there is passed over.
fn clean(dir: &Path, programs: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    Processes::open(dir).stop_all(|| network::contained(dir));
    network::remove(dir, programs);
    outside::remove(dir);
    if !network::unmounted(dir) {
        bail!(
            "something is still mounted below {}: unmount it, then remove the folder",
            dir.display()
        );
    }
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

fn kubectl(programs: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(programs.join("kubectl"));
    with_kubeconfig(&mut command, kubeconfig);
    command
}

/// What it learns of one cluster is not kept for the next, nor in the home of whoever runs the tests.
fn with_kubeconfig(command: &mut Command, kubeconfig: &Path) {
    command
        .env("KUBECONFIG", kubeconfig)
        .env_remove("POLYKEY_TEST_KUBECONFIG");
    if let Some(dir) = kubeconfig
        .parent()
        .filter(|d| d.parent() == Some(Path::new(STATE)))
    {
        command.env("KUBECACHEDIR", dir.join("kubectl-cache"));
    }
}
