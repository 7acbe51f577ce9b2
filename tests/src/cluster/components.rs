//! The components, each with the settings that make it work on one machine, in a container too, and beside whatever else runs there: ports and sockets of its own,
//! addresses of the bridge only.

use super::processes::Processes;
use super::{API_PORT, HOST, NODE, Ours, name, network};
use crate::wait::{run, run_with, wait_for};
use anyhow::{Result, ensure};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Address of the cluster's DNS, out of [`network::SERVICES`].
const DNS: &str = "198.19.0.10";
const ETCD_PORT: u16 = 16_379;
const ETCD_PEER_PORT: u16 = 16_380;
const DNS_PORT: u16 = 16_053;
const PROXY_HEALTH_PORT: u16 = 16_256;
/// How long one component may take to answer.
const STARTS: Duration = Duration::from_mins(1);

/// What components are started from.
pub struct Components<'a> {
    /// The cluster's folder.
    pub dir: &'a Path,
    /// Where the programs are.
    pub programs: &'a Path,
    /// Where they are remembered.
    pub processes: Processes,
    /// Held while one is started.
    pub ours: &'a Ours,
}

impl Components<'_> {
    /// containerd with images, state and socket of its own.
    pub fn containerd(&self) -> Result<()> {
        let config = format!(
            r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  # Else every pod's sandbox dies where this machine is a container itself and scores may not be lowered.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  sandbox_image = "docker.io/library/pause:dev"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
"#,
            root = self.at("containerd/root"),
            state = self.at("containerd/state"),
            socket = self.at("containerd.sock"),
            plugins = super::machine::cni_plugins()?.display(),
            cni = self.at("cni"),
        );
        let path = self.write("containerd.toml", &config)?;
        self.spawn(
            "containerd",
            Command::new("containerd").args(["--config", &path]),
        )
    }

    /// Waits for containerd.
    pub fn containerd_answers(&self) -> Result<()> {
        wait_for(STARTS, "containerd", || {
            run(Command::new("ctr").args(["-a", &self.at("containerd.sock"), "version"]))
        })
        .map(drop)
    }

    /// etcd, and with it the API server.
    pub fn api_server(&self) -> Result<()> {
        let client = format!("http://127.0.0.1:{ETCD_PORT}");
        let peer = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
        self.start(
            "etcd",
            &[
                format!("--data-dir={}", self.at("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // What a power cut would lose is thrown away anyway.
                "--unsafe-no-fsync".to_owned(),
            ],
        )?;
        wait_for(STARTS, "etcd", || connect("127.0.0.1", ETCD_PORT))?;
        self.start(
            "kube-apiserver",
            &[
                format!("--etcd-servers={client}"),
                format!("--bind-address={HOST}"),
                format!("--advertise-address={HOST}"),
                format!("--secure-port={API_PORT}"),
                "--endpoint-reconciler-type=lease".to_owned(),
                // Else logs and exec look the node's name up in DNS.
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                format!("--service-cluster-ip-range={}", network::SERVICES),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                "--allow-privileged=true".to_owned(),
                format!("--client-ca-file={}", self.at("ca.crt")),
                format!("--tls-cert-file={}", self.at("apiserver.crt")),
                format!("--tls-private-key-file={}", self.at("apiserver.key")),
                format!(
                    "--kubelet-client-certificate={}",
                    self.at("apiserver-kubelet.crt")
                ),
                format!("--kubelet-client-key={}", self.at("apiserver-kubelet.key")),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!(
                    "--service-account-signing-key-file={}",
                    self.at("service-account.key")
                ),
                format!(
                    "--service-account-key-file={}",
                    self.at("service-account.pub")
                ),
                format!("--cert-dir={}", self.at("apiserver-certs")),
            ],
        )
    }

    /// Waits for the API server.
    pub fn api_server_answers(&self) -> Result<()> {
        wait_for(STARTS, "the API server", || {
            connect(HOST, API_PORT)?;
            let ready = run(self.kubectl().args(["get", "--raw", "/readyz"]))?;
            ensure!(ready == "ok", "{ready}");
            Ok(())
        })
    }

    /// The controllers and the scheduler.
    pub fn controllers(&self) -> Result<()> {
        let common = |name: &str, port: u16| {
            [
                format!("--kubeconfig={}", self.at(&format!("{name}.kubeconfig"))),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={port}"),
                format!("--cert-dir={}", self.at(&format!("{name}-certs"))),
            ]
        };
        let own = [
            "--use-service-account-credentials".to_owned(),
            format!("--root-ca-file={}", self.at("ca.crt")),
            format!("--flex-volume-plugin-dir={}", self.at("volume-plugins")),
            format!(
                "--service-account-private-key-file={}",
                self.at("service-account.key")
            ),
        ];
        self.start(
            "kube-controller-manager",
            &[&common("kube-controller-manager", 16_257)[..], &own].concat(),
        )?;
        self.start("kube-scheduler", &common("kube-scheduler", 16_259))
    }

    /// The kubelet: its control groups below one of its own, no eviction for a full disk, no firewall rules.
    pub fn kubelet(&self) -> Result<()> {
        self.write("resolv.conf", "")?;
        let config = format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {HOST}
healthzPort: 0
authentication: {{anonymous: {{enabled: false}}, x509: {{clientCAFile: {ca}}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
clusterDNS: [{DNS}]
clusterDomain: cluster.local
resolvConf: {resolv}
podLogsDir: {logs}
volumePluginDir: {plugins}
containerRuntimeEndpoint: unix://{socket}
evictionHard: {{memory.available: 100Mi}}
imageGCHighThresholdPercent: 100
",
            group = name(self.dir),
            ca = self.at("ca.crt"),
            resolv = self.at("resolv.conf"),
            logs = self.at("pod-logs"),
            plugins = self.at("volume-plugins"),
            socket = self.at("containerd.sock"),
        );
        let config = self.write("kubelet.yaml", &config)?;
        self.start(
            "kubelet",
            &[
                format!("--config={config}"),
                format!("--kubeconfig={}", self.at("kubelet.kubeconfig")),
                format!("--root-dir={}", self.at("kubelet")),
                format!("--cert-dir={}", self.at("kubelet-certs")),
                format!("--hostname-override={NODE}"),
                format!("--node-ip={HOST}"),
            ],
        )
    }

    /// kube-proxy: node ports on the bridge's address only, connection tracking left as the machine has it.
    pub fn proxy(&self) -> Result<()> {
        let config = format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: {NODE}
clientConnection: {{kubeconfig: {}}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
iptables: {{localhostNodePorts: false}}
nodePortAddresses: [{HOST}/32]
healthzBindAddress: 127.0.0.1:{PROXY_HEALTH_PORT}
metricsBindAddress: 127.0.0.1:16249
",
            self.at("kube-proxy.kubeconfig")
        );
        let config = self.write("kube-proxy.yaml", &config)?;
        self.start("kube-proxy", &[format!("--config={config}")])
    }

    /// `CoreDNS` runs on the host; a Service without a selector leads to it.
    pub fn dns(&self) -> Result<()> {
        let config = format!(
            ".:{DNS_PORT} {{\n  bind {HOST}\n  errors\n  kubernetes cluster.local {{\n    kubeconfig {} test\n  }}\n}}\n",
            self.at("coredns.kubeconfig")
        );
        let config = self.write("Corefile", &config)?;
        self.start("coredns", &["-conf".to_owned(), config])?;
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
        run_with(self.kubectl().args(["apply", "-f", "-"]), yaml.as_bytes()).map(drop)
    }

    /// Waits for DNS and for the rules of Services.
    pub fn network_answers() -> Result<()> {
        wait_for(STARTS, "the cluster's DNS", || connect(HOST, DNS_PORT))?;
        wait_for(STARTS, "kube-proxy", || {
            connect("127.0.0.1", PROXY_HEALTH_PORT)
        })
    }

    fn at(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> Result<String> {
        fs::write(self.dir.join(name), text)?;
        Ok(self.at(name))
    }

    fn start(&self, name: &str, arguments: &[String]) -> Result<()> {
        self.spawn(name, Command::new(self.programs.join(name)).args(arguments))
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Result<()> {
        self.ours.while_held(|| self.processes.start(name, command))
    }

    fn kubectl(&self) -> Command {
        super::kubectl(self.programs, &self.dir.join("admin.kubeconfig"))
    }
}

fn connect(host: &str, port: u16) -> Result<()> {
    Ok(TcpStream::connect((host, port)).map(drop)?)
}
