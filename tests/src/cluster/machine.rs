//! What a machine must have before a cluster can start on it, checked first, so that a lack is one line and not the log of a component.

use super::{name, network};
use anyhow::{Context, Result, bail, ensure};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Programs of the packages that `tests/setup` installs.
const PROGRAMS: [&str; 9] = [
    "containerd",
    "ctr",
    "runc",
    "iptables",
    "ip",
    "conntrack",
    "openssl",
    "mount",
    "umount",
];
/// Where Debian, Ubuntu and the projects' own archives put the CNI plugins.
const CNI_PLUGINS: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];
/// Where the file is that is held while a run uses a cluster.
const LOCKS: &str = "/run/lock";

/// Checks for rights and programs.
pub fn check() -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "a Kubernetes of its own needs root: run as root, or name a cluster in POLYKEY_TEST_KUBECONFIG"
    );
    for program in PROGRAMS {
        ensure!(on_path(program), "{program} is missing: run tests/setup");
    }
    cni_plugins().map(drop)
}

/// Checks that no other Kubernetes is on this machine, once leftovers of ours are cleaned.
pub fn check_alone() -> Result<()> {
    ensure!(
        !network::another_kube_proxy(),
        "another Kubernetes has firewall rules here (iptables chain KUBE-SERVICES), and two cannot share a machine: stop it, or name a cluster in POLYKEY_TEST_KUBECONFIG"
    );
    Ok(())
}

/// The folder of the CNI plugins.
pub fn cni_plugins() -> Result<PathBuf> {
    let found = CNI_PLUGINS
        .iter()
        .map(Path::new)
        .find(|d| d.join("bridge").exists() && d.join("host-local").exists());
    found
        .map(Path::to_path_buf)
        .context("the CNI plugins are missing: run tests/setup")
}

/// Takes the lock that keeps two runs from sharing, and so breaking, one cluster. It ends with the value, or with the process.
pub fn lock(dir: &Path) -> Result<File> {
    let path = Path::new(LOCKS).join(format!("{}.lock", name(dir)));
    let shown = path.display();
    let file = File::create(&path).with_context(|| format!("cannot make {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another run uses the test cluster (it holds {shown}): wait for its end")
        }
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {shown}")),
    }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|d| d.join(program).exists())
}
