//! What the cluster changes on the machine outside its folder: a bridge, a route, three firewall rules, kernel settings and control groups. All of it is put back.

use crate::wait::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::outside::remove_empty;
use super::{HOST, name};

/// The bridge of the pods.
const BRIDGE: &str = "pk-test0";
/// Addresses of Services. Only firewall rules know them: without those, no packet to one may leave the machine.
pub const SERVICES: &str = "198.19.0.0/24";
/// Kernel settings below /proc/sys that this, the kubelet or kube-proxy change; `Some` is what the cluster needs and does not set by itself.
const SETTINGS: [(&str, Option<&str>); 8] = [
    ("net/ipv4/ip_forward", Some("1")),
    ("net/bridge/bridge-nf-call-iptables", Some("1")),
    ("vm/overcommit_memory", None),
    ("vm/panic_on_oom", None),
    ("kernel/panic", None),
    ("kernel/panic_on_oops", None),
    ("kernel/keys/root_maxkeys", None),
    ("kernel/keys/root_maxbytes", None),
];
/// Rules put before all others, since a machine's own may refuse what crosses the bridge (Docker and ufw do). Pods reach each other and this machine, and nothing else.
const RULES: [&[&str]; 3] = [
    &["INPUT", "-i", BRIDGE, "-j", "ACCEPT"],
    &["FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"],
    &["FORWARD", "-i", BRIDGE, "!", "-o", BRIDGE, "-j", "REJECT"],
];

/// Makes the bridge, the CNI configuration and what the kernel must allow.
pub fn make(dir: &Path) -> Result<()> {
    Command::new("modprobe")
        .args(["-q", "br_netfilter"])
        .stderr(Stdio::null())
        .status()
        .ok();
    remember_settings(dir)?;
    for (setting, value) in SETTINGS {
        if let Some(value) = value {
            fs::write(proc_sys(setting), value)
                .with_context(|| format!("cannot set {setting} to {value}"))?;
        }
    }
    for root in cgroup_roots() {
        fs::create_dir_all(root.join(name(dir)))
            .with_context(|| format!("cannot make a control group in {}", root.display()))?;
    }
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["address", "add", &format!("{HOST}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    ip(&["route", "replace", "unreachable", SERVICES])?;
    for rule in RULES {
        run(Command::new("iptables").args(["-w", "-I"]).args(rule))?;
    }
    write_cni(dir)
}

fn write_cni(dir: &Path) -> Result<()> {
    let cni = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": name(dir),
        "plugins": [{
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": false,
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": dir.join("ipam"),
                "ranges": [[{"subnet": "198.18.0.0/24", "rangeStart": "198.18.0.10", "gateway": HOST}]],
                "routes": [{"dst": "0.0.0.0/0", "gw": HOST}],
            },
        }],
    });
    fs::create_dir_all(dir.join("cni"))?;
    fs::write(dir.join("cni/10-test.conflist"), cni.to_string())?;
    Ok(())
}

/// Puts everything back. What is not there is passed over, so it can follow a run that crashed anywhere.
pub fn remove(dir: &Path, programs: &Path) {
    remove_proxy_rules(dir, programs);
    // Of the same rule there may be several, one from each run that crashed.
    for rule in RULES {
        while quiet(Command::new("iptables").args(["-w", "-D"]).args(rule)) {}
    }
    unmount(dir);
    for port in bridge_ports() {
        quiet(Command::new("ip").args(["link", "delete", &port]));
    }
    quiet(Command::new("ip").args(["link", "delete", BRIDGE]));
    quiet(Command::new("ip").args(["route", "delete", "unreachable", SERVICES]));
    for root in cgroup_roots() {
        // A control group is removed by its folder; the kernel refuses while a process is in it.
        remove_empty(&root.join(name(dir)));
    }
    restore_settings(dir);
}

/// kube-proxy removes its rules but for one chain, which it takes for the kubelet's.
fn remove_proxy_rules(dir: &Path, programs: &Path) {
    if !dir.join("kube-proxy.yaml").exists() {
        return;
    }
    quiet(
        Command::new(programs.join("kube-proxy"))
            .arg("--cleanup")
            .arg("--config")
            .arg(dir.join("kube-proxy.yaml")),
    );
    for iptables in ["iptables", "ip6tables"] {
        for chain in ["INPUT", "OUTPUT"] {
            quiet(Command::new(iptables).args(["-w", "-D", chain, "-j", "KUBE-FIREWALL"]));
        }
        for action in ["-F", "-X"] {
            quiet(Command::new(iptables).args(["-w", action, "KUBE-FIREWALL"]));
        }
    }
}

/// True when nothing is mounted below `dir`, so that removing it removes only what is in it.
pub fn unmounted(dir: &Path) -> bool {
    mounts(dir).is_empty()
}

/// True when a kube-proxy of another Kubernetes has rules on this machine: two cannot share it.
pub fn another_kube_proxy() -> bool {
    quiet(Command::new("iptables").args(["-w", "-t", "nat", "-n", "-L", "KUBE-SERVICES"]))
}

fn unmount(dir: &Path) {
    // Newest first; lazily, since a process that hangs must not keep the folder.
    for mount in mounts(dir).iter().rev() {
        quiet(Command::new("umount").arg("-l").arg(mount));
    }
}

fn mounts(dir: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = text
        .lines()
        .filter_map(|l| l.split(' ').nth(1))
        .map(PathBuf::from);
    points.filter(|p| p.starts_with(dir)).collect()
}

fn bridge_ports() -> Vec<String> {
    let ports = fs::read_dir(format!("/sys/class/net/{BRIDGE}/brif"))
        .into_iter()
        .flatten()
        .flatten();
    ports
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Roots of the hierarchies: one of version 2, or one a controller of version 1.
fn cgroup_roots() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root];
    }
    let entries = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    entries
        .filter(|p| !p.is_symlink() && p.join("cgroup.procs").exists())
        .collect()
}

/// Ids of the processes in the pods' control group, at any depth.
pub fn contained(dir: &Path) -> Vec<u32> {
    let mut open: Vec<PathBuf> = cgroup_roots()
        .iter()
        .map(|root| root.join(name(dir)))
        .collect();
    let mut pids = Vec::new();
    while let Some(group) = open.pop() {
        let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(listed.lines().filter_map(|l| l.parse::<u32>().ok()));
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        open.extend(entries.map(|e| e.path()).filter(|p| p.is_dir()));
    }
    pids.sort_unstable();
    pids.dedup();
    pids
}

fn remember_settings(dir: &Path) -> Result<()> {
    let values = SETTINGS.iter().filter_map(|(setting, _)| {
        let value = fs::read_to_string(proc_sys(setting)).ok()?;
        Some(format!("{setting} {}\n", value.trim()))
    });
    Ok(fs::write(dir.join("settings"), values.collect::<String>())?)
}

fn restore_settings(dir: &Path) {
    let text = fs::read_to_string(dir.join("settings")).unwrap_or_default();
    for (setting, value) in text.lines().filter_map(|l| l.split_once(' ')) {
        fs::write(proc_sys(setting), value).ok();
    }
}

fn proc_sys(setting: &str) -> PathBuf {
    Path::new("/proc/sys").join(setting)
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}

/// Runs a program whose failure means that there was nothing to do.
fn quiet(command: &mut Command) -> bool {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}
