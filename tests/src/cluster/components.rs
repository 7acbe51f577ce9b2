//! The components in the order in which they start, each with the settings that make it work on one machine and in a container; and the network around them.

use super::certificates;
use super::processes::Processes;
use super::{API_PORT, HOST, NODE};
use crate::wait::{run, run_with, wait_for};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The bridge of the pods.
const BRIDGE: &str = "pk-test0";
/// Addresses of Services.
const SERVICES: &str = "198.19.0.0/24";
/// Address of the cluster's DNS.
const DNS: &str = "198.19.0.10";
const ETCD_PORT: u16 = 16_379;
const ETCD_PEER_PORT: u16 = 16_380;
const DNS_PORT: u16 = 16_053;
/// How long one component may take to answer.
const STARTS: Duration = Duration::from_secs(60);

/// Starts everything in `dir`.
pub fn start(dir: &Path, programs: &Path) -> Result<()> {
    let processes = Processes::open(dir);
    certificates::make(dir)?;
    network(dir)?;
    let at = |name: &str| dir.join(name).display().to_string();
    let program = |name: &str| Command::new(programs.join(name));

    containerd(dir, &processes)?;
    processes.start(
        "etcd",
        program("etcd").args([
            format!("--data-dir={}", at("etcd")),
            format!("--listen-client-urls=http://127.0.0.1:{ETCD_PORT}"),
            format!("--advertise-client-urls=http://127.0.0.1:{ETCD_PORT}"),
            format!("--listen-peer-urls=http://127.0.0.1:{ETCD_PEER_PORT}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{ETCD_PEER_PORT}"),
            format!("--initial-cluster=default=http://127.0.0.1:{ETCD_PEER_PORT}"),
            "--unsafe-no-fsync".to_owned(),
        ]),
    )?;
    answers(ETCD_PORT, "etcd")?;
    processes.start(
        "kube-apiserver",
        program("kube-apiserver").args([
            format!("--etcd-servers=http://127.0.0.1:{ETCD_PORT}"),
            format!("--secure-port={API_PORT}"),
            format!("--advertise-address={HOST}"),
            "--endpoint-reconciler-type=lease".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            format!("--client-ca-file={}", at("ca.crt")),
            format!("--tls-cert-file={}", at("apiserver.crt")),
            format!("--tls-private-key-file={}", at("apiserver.key")),
            format!("--kubelet-client-certificate={}", at("apiserver-kubelet.crt")),
            format!("--kubelet-client-key={}", at("apiserver-kubelet.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", at("service-account.key")),
            format!("--service-account-key-file={}", at("service-account.pub")),
            format!("--cert-dir={}", at("apiserver-certs")),
        ]),
    )?;
    wait_for(STARTS, "the API server", || {
        let ready = run(program("kubectl").args(["get", "--raw", "/readyz"]).env("KUBECONFIG", at("admin.kubeconfig")))?;
        ensure!(ready == "ok", "{ready}");
        Ok(())
    })?;
    processes.start(
        "kube-controller-manager",
        program("kube-controller-manager").args([
            format!("--kubeconfig={}", at("kube-controller-manager.kubeconfig")),
            "--use-service-account-credentials".to_owned(),
            format!("--root-ca-file={}", at("ca.crt")),
            format!("--service-account-private-key-file={}", at("service-account.key")),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", at("controller-certs")),
        ]),
    )?;
    processes.start(
        "kube-scheduler",
        program("kube-scheduler").args([
            format!("--kubeconfig={}", at("kube-scheduler.kubeconfig")),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", at("scheduler-certs")),
        ]),
    )?;
    kubelet(dir, programs, &processes)?;
    proxy(dir, programs, &processes)?;
    dns(dir, programs, &processes)
}

fn containerd(dir: &Path, processes: &Processes) -> Result<()> {
    let at = |name: &str| dir.join(name).display().to_string();
    fs::write(
        dir.join("containerd.toml"),
        format!(
            r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "docker.io/library/pause:dev"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"#,
            root = at("containerd/root"),
            state = at("containerd/state"),
            socket = at("containerd.sock"),
            cni = at("cni"),
        ),
    )?;
    processes.start("containerd", Command::new("containerd").arg("--config").arg(dir.join("containerd.toml")))?;
    wait_for(STARTS, "containerd", || run(Command::new("ctr").arg("-a").arg(dir.join("containerd.sock")).arg("version"))).map(drop)
}

fn kubelet(dir: &Path, programs: &Path, processes: &Processes) -> Result<()> {
    let at = |name: &str| dir.join(name).display().to_string();
    fs::write(dir.join("resolv.conf"), "")?;
    fs::write(
        dir.join("kubelet.yaml"),
        format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {HOST}
authentication: {{anonymous: {{enabled: false}}, x509: {{clientCAFile: {ca}}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
clusterDNS: [{DNS}]
clusterDomain: cluster.local
resolvConf: {resolv}
podLogsDir: {logs}
containerRuntimeEndpoint: unix://{socket}
evictionHard: {{memory.available: 100Mi}}
imageGCHighThresholdPercent: 100
syncFrequency: 5s
healthzBindAddress: 127.0.0.1
",
            ca = at("ca.crt"),
            resolv = at("resolv.conf"),
            logs = at("pod-logs"),
            socket = at("containerd.sock"),
        ),
    )?;
    processes.start(
        "kubelet",
        Command::new(programs.join("kubelet")).args([
            format!("--config={}", at("kubelet.yaml")),
            format!("--kubeconfig={}", at("kubelet.kubeconfig")),
            format!("--root-dir={}", at("kubelet")),
            format!("--cert-dir={}", at("kubelet-certs")),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={HOST}"),
        ]),
    )
}

fn proxy(dir: &Path, programs: &Path, processes: &Processes) -> Result<()> {
    fs::write(
        dir.join("kube-proxy.yaml"),
        format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: {NODE}
clientConnection: {{kubeconfig: {}}}
conntrack: {{maxPerCore: 0, min: 0}}
healthzBindAddress: 127.0.0.1:16256
metricsBindAddress: 127.0.0.1:16249
",
            dir.join("kube-proxy.kubeconfig").display()
        ),
    )?;
    processes.start("kube-proxy", Command::new(programs.join("kube-proxy")).arg("--config").arg(dir.join("kube-proxy.yaml")))
}

/// CoreDNS runs on the host; a Service without a selector leads to it.
fn dns(dir: &Path, programs: &Path, processes: &Processes) -> Result<()> {
    fs::write(
        dir.join("Corefile"),
        format!(".:{DNS_PORT} {{\n  bind {HOST}\n  kubernetes cluster.local {{\n    kubeconfig {} test\n  }}\n}}\n", dir.join("coredns.kubeconfig").display()),
    )?;
    processes.start("coredns", Command::new(programs.join("coredns")).arg("-conf").arg(dir.join("Corefile")))?;
    let yaml = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {DNS}
  ports: [{{name: dns, port: 53, protocol: UDP, targetPort: {DNS_PORT}}}, {{name: dns-tcp, port: 53, protocol: TCP, targetPort: {DNS_PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns-host, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
ports: [{{name: dns, port: {DNS_PORT}, protocol: UDP}}, {{name: dns-tcp, port: {DNS_PORT}, protocol: TCP}}]
endpoints: [{{addresses: [{HOST}], conditions: {{ready: true}}}}]
"
    );
    let mut kubectl = Command::new(programs.join("kubectl"));
    kubectl.args(["apply", "-f", "-"]).env("KUBECONFIG", dir.join("admin.kubeconfig"));
    run_with(&mut kubectl, yaml.as_bytes()).map(drop)
}

/// The bridge, the CNI configuration and what the kernel must allow.
fn network(dir: &Path) -> Result<()> {
    Command::new("modprobe").args(["-q", "br_netfilter"]).status().ok();
    for (setting, value) in [("ipv4/ip_forward", "1"), ("bridge/bridge-nf-call-iptables", "1")] {
        let path = format!("/proc/sys/net/{setting}");
        fs::write(&path, value).with_context(|| format!("cannot set {path}"))?;
    }
    run(Command::new("ip").args(["link", "add", BRIDGE, "type", "bridge"]))?;
    run(Command::new("ip").args(["address", "add", &format!("{HOST}/24"), "dev", BRIDGE]))?;
    run(Command::new("ip").args(["link", "set", BRIDGE, "up"]))?;
    run(Command::new("ip").args(["route", "replace", "unreachable", SERVICES]))?;
    fs::create_dir_all(dir.join("cni"))?;
    let cni = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "test",
        "plugins": [
            {"type": "bridge", "bridge": BRIDGE, "isGateway": false, "ipMasq": false, "hairpinMode": true, "ipam": {
                "type": "host-local",
                "dataDir": dir.join("ipam"),
                "ranges": [[{"subnet": "198.18.0.0/24", "rangeStart": "198.18.0.10", "gateway": HOST}]],
                "routes": [{"dst": "0.0.0.0/0", "gw": HOST}],
            }},
        ],
    });
    fs::write(dir.join("cni/10-test.conflist"), cni.to_string())?;
    // Network namespaces that are there already are not ours.
    fs::write(dir.join("netns-before"), namespaces().join("\n"))?;
    Ok(())
}

/// Removes mounts, links, rules and network namespaces.
pub fn clean_network(dir: &Path, programs: &Path) {
    let quiet = |command: &mut Command| drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
    if dir.join("kube-proxy.yaml").exists() {
        quiet(Command::new(programs.join("kube-proxy")).arg("--cleanup").arg("--config").arg(dir.join("kube-proxy.yaml")));
    }
    let below = format!("{}/", dir.display());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for mount in mounts.lines().rev().filter_map(|l| l.split(' ').nth(1)).filter(|m| m.starts_with(&below)) {
        quiet(Command::new("umount").args(["-l", mount]));
    }
    if let Ok(before) = fs::read_to_string(dir.join("netns-before")) {
        for name in namespaces().iter().filter(|n| n.starts_with("cni-") && !before.lines().any(|b| b == *n)) {
            quiet(Command::new("ip").args(["netns", "delete", name]));
        }
    }
    quiet(Command::new("ip").args(["link", "delete", BRIDGE]));
    quiet(Command::new("ip").args(["route", "delete", "unreachable", SERVICES]));
}

fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/var/run/netns").into_iter().flatten().flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

fn answers(port: u16, what: &str) -> Result<()> {
    wait_for(STARTS, what, || Ok(TcpStream::connect(("127.0.0.1", port))?)).map(drop)
}
