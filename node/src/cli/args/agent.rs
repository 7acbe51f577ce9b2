//! Of the agent.

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `agent …`.
#[derive(Subcommand)]
pub enum Agent {
    /// Unlock the identity and serve it until stopped
    #[command(
        before_long_help = "Examples:\n  polykey agent start --background\n  polykey agent start --listen 0.0.0.0:1314\n  polykey agent start --key-file /etc/polykey/unlock/key --init     (in a cluster)"
    )]
    Start(Box<AgentStart>),
    /// Stop the agent; acknowledged writes are on disk
    Stop,
    /// Is the agent running? (ends with 5 if not)
    Status,
}

/// Options of `agent start`.
#[derive(Args)]
#[allow(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct AgentStart {
    /// Return when the agent answers; it goes on by itself, its log in the node path
    #[arg(long)]
    pub background: bool,
    /// Leave the session of the terminal (set by --background for itself).
    #[arg(long, hide = true)]
    pub detached: bool,
    /// Read the password from FILE (one newline at its end is left away)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "PK_PASSWORD_FILE", hide_env_values = true, conflicts_with = "key_file")]
    pub password_file: Option<PathBuf>,
    /// Unlock with the bytes of FILE (32 or more, random) instead of a password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
    /// With --key-file: make a new identity if there is none
    #[arg(long, requires = "key_file")]
    pub init: bool,
    /// This is the only copy of the node that is left: write again after another was found
    #[arg(long)]
    pub only_copy: bool,
    /// Spare what no version needs for so many milliseconds before it is removed (to test that it is)
    #[arg(
        long,
        hide = true,
        value_name = "MS",
        env = "PK_SPARE_MS",
        hide_env_values = true,
        default_value_t = 3_600_000
    )]
    pub spare_ms: u64,
    /// Versions of one author in one vault that are taken from peers a second; what is beyond waits
    #[arg(long, value_name = "N", env = "PK_AUTHOR_RATE", hide_env_values = true, default_value_t = polykey_core::cap::PER_SECOND, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub author_rate: u64,
    /// UDP address for peers
    #[arg(long, value_name = "ADDR", default_value = "[::]:0")]
    pub listen: SocketAddr,
    /// TCP address for workloads and the operator (TLS); off unless given
    #[arg(
        long,
        value_name = "ADDR",
        env = "POLYKEY_API_LISTEN",
        hide_env_values = true
    )]
    pub api_listen: Option<SocketAddr>,
    /// TCP address for probes and metrics (plain HTTP); off unless given
    #[arg(
        long,
        value_name = "ADDR",
        env = "POLYKEY_PROBE_LISTEN",
        hide_env_values = true
    )]
    pub probe_listen: Option<SocketAddr>,
    /// Options for workloads.
    #[command(flatten)]
    pub workloads: Workloads,
}

/// How workloads of a cluster prove who they are.
#[derive(Args)]
#[command(next_help_heading = "Options for workloads of a cluster")]
pub struct Workloads {
    /// The one audience that a workload's token must have
    #[arg(
        long,
        value_name = "TEXT",
        env = "POLYKEY_AUDIENCE",
        hide_env_values = true
    )]
    pub audience: Option<String>,
    /// Issuer of tokens [default: that of this pod's own token]
    #[arg(
        long,
        value_name = "URL",
        env = "POLYKEY_ISSUER",
        hide_env_values = true
    )]
    pub issuer: Option<String>,
    /// Where the issuer's keys are [default: the API server's]
    #[arg(
        long,
        value_name = "URL",
        env = "POLYKEY_JWKS_URL",
        hide_env_values = true
    )]
    pub jwks_url: Option<String>,
    /// Where tokens are reviewed [default: the API server's]
    #[arg(
        long,
        value_name = "URL",
        env = "POLYKEY_REVIEW_URL",
        hide_env_values = true,
        conflicts_with = "review"
    )]
    pub review_url: Option<String>,
    /// `off` accepts tokens on their signature alone
    #[arg(
        long,
        value_name = "on|off",
        value_enum,
        env = "POLYKEY_REVIEW",
        hide_env_values = true
    )]
    pub review: Option<Review>,
    /// Certificate authority of the API server
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "POLYKEY_KUBE_CA_FILE", hide_env_values = true)]
    pub kube_ca_file: Option<PathBuf>,
    /// This pod's own token
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "POLYKEY_KUBE_TOKEN_FILE", hide_env_values = true)]
    pub kube_token_file: Option<PathBuf>,
    /// Who may read consumers and vaults: NAMESPACE:SERVICEACCOUNT of the operator
    #[arg(
        long,
        value_name = "NS:SA",
        env = "POLYKEY_OPERATOR",
        hide_env_values = true
    )]
    pub operator_subject: Option<String>,
    /// Name of this pod
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide_env_values = true)]
    pub pod_name: Option<String>,
    /// Take a volume that a pod of another name made; never run both
    #[arg(long, env = "POLYKEY_MOVE_STORE", hide_env_values = true, value_parser = clap::builder::BoolishValueParser::new())]
    pub move_store: bool,
    /// Domain of the headless Service of the nodes
    #[arg(
        long,
        value_name = "DOMAIN",
        env = "POLYKEY_PEERS_DOMAIN",
        hide_env_values = true
    )]
    pub peers_domain: Option<String>,
}

/// Whether tokens are reviewed by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Review {
    /// By TokenReview
    On,
    /// By their signature alone
    Off,
}
