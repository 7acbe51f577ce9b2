//! Files that components write outside the cluster's folder, since no setting moves them: found by the names that only ours can have, and removed.

use super::name;
use std::fs;
use std::path::Path;

/// Links to the logs of containers, one each; the kubelet makes them for collectors of logs.
const LOG_LINKS: &str = "/var/log/containers";
/// What libcni remembers of each pod's network.
const NETWORK_RESULTS: &str = "/var/lib/cni/results";
/// The kubelet's door for device plugins.
const DEVICE_PLUGINS: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";
/// Folders that go when nothing is left in them.
const FOLDERS: [&str; 4] = [
    LOG_LINKS,
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/run/containerd",
];

/// Removes what the cluster in `dir` wrote, once its components are stopped.
pub fn remove(dir: &Path) {
    let network = name(dir);
    let links = entries(Path::new(LOG_LINKS));
    for link in links
        .iter()
        .filter(|l| fs::read_link(l).is_ok_and(|target| target.starts_with(dir)))
    {
        fs::remove_file(link).ok();
    }
    for sandbox in sandboxes(network) {
        for name in [
            format!("{network}-{sandbox}-eth0"),
            format!("cni-loopback-{sandbox}-lo"),
        ] {
            fs::remove_file(Path::new(NETWORK_RESULTS).join(name)).ok();
        }
    }
    fs::remove_file(DEVICE_PLUGINS).ok();
    for folder in FOLDERS {
        remove_empty(Path::new(folder));
    }
}

/// Removes a folder whose tree has folders only, and of another what is such a tree.
pub fn remove_empty(dir: &Path) {
    for child in entries(dir)
        .iter()
        .filter(|p| p.is_dir() && !p.is_symlink())
    {
        remove_empty(child);
    }
    fs::remove_dir(dir).ok();
}

/// Ids of the pods that were on our network, from the names of its results.
fn sandboxes(network: &str) -> Vec<String> {
    let names = entries(Path::new(NETWORK_RESULTS));
    let names = names.iter().filter_map(|p| p.file_name()?.to_str());
    names
        .filter_map(|n| {
            Some(
                n.strip_prefix(network)?
                    .strip_prefix('-')?
                    .strip_suffix("-eth0")?
                    .to_owned(),
            )
        })
        .collect()
}

fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect()
}
