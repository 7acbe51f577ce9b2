//! What the chart tells the two programs, by environment or flags. No secret among them: tokens are files, read when they are used.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a pod is, and of which installation.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// Name of this pod.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Namespace of the installation.
    #[arg(long, env = "POD_NAMESPACE")]
    pub pod_namespace: String,
    /// UID of this pod.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// Name of the Helm release.
    #[arg(long, env = "POLYKEY_RELEASE", default_value = "polykey")]
    pub release: String,
    /// UID of the kube-system namespace: which cluster this is.
    #[arg(long, env = "POLYKEY_CLUSTER_UID")]
    pub cluster_uid: String,
    /// Name of the headless Service of the nodes: `<release>-peers.<namespace>.svc`.
    #[arg(long, env = "POLYKEY_PEERS_DOMAIN")]
    pub peers_domain: String,
}

/// Settings of `warden`.
#[derive(Args, Clone, Debug)]
pub struct WardenSettings {
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
    /// Socket of the node in the same pod.
    #[arg(
        long,
        env = "POLYKEY_SOCKET",
        default_value = "/run/polykey/agent.sock"
    )]
    pub socket: PathBuf,
}

/// Settings of `run`.
#[derive(Args, Clone, Debug)]
pub struct OperatorSettings {
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
    /// Token shown to the nodes, kept fresh by the kubelet; its audience is the nodes'.
    #[arg(
        long,
        env = "POLYKEY_NODE_TOKEN_FILE",
        default_value = "/var/run/secrets/polykey/token"
    )]
    pub node_token_file: PathBuf,
    /// Make the unlock Secret of the nodes when it is not there.
    #[arg(long, env = "POLYKEY_MAKE_UNLOCK_SECRET", default_value_t = false, action = clap::ArgAction::Set)]
    pub make_unlock_secret: bool,
    /// Probes and metrics, plain HTTP.
    #[arg(long, env = "POLYKEY_PROBE_LISTEN", default_value = "[::]:9180")]
    pub probe_listen: SocketAddr,
}
