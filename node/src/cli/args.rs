//! The command tree: what can be typed, and the help that explains it. No command is carried out here.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "these comments are the help on a terminal, where a backtick is a backtick and [@VERSION] is optional"
)]

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Examples that `polykey` alone prints, and that open `polykey --help`.
pub const EXAMPLES: &str = "  polykey init                              an identity on this device, and the vault `personal`
  polykey agent start --background          unlock it and keep it running
  polykey set personal:github               type a secret (or pipe it: … | polykey set REF)
  polykey get personal:github               print it
  polykey ls personal                       what is there
  polykey log personal:github               its versions; read one with personal:github@VERSION
  polykey vault create app                  a vault to share
  polykey peer add NODE-ID host:1314        who may connect, and where to dial
  polykey share app NODE-ID                 let that device or cluster read it
  polykey status                            is all well, and who is connected";

/// Encrypted, versioned vaults, shared from device to device and into clusters.
#[derive(Parser)]
#[command(name = "polykey", bin_name = "polykey", version, max_term_width = 100)]
#[command(before_long_help = concat_examples())]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; nothing prints examples and the state.
    #[command(subcommand)]
    pub command: Option<Command>,
}

fn concat_examples() -> String {
    format!("Examples:\n{EXAMPLES}")
}

/// Options of every command.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[derive(Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Where the identity and its store are [default: $XDG_DATA_HOME/polykey]
    #[arg(long, global = true, hide_short_help = true, value_name = "DIR", env = "PK_NODE_PATH", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub node_path: Option<PathBuf>,
    /// Unix socket of the agent [default: made from the node path]
    #[arg(long, global = true, hide_short_help = true, value_name = "PATH", env = "PK_SOCKET", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub socket: Option<PathBuf>,
    /// Form of what is printed
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORM",
        value_enum,
        env = "PK_OUTPUT",
        hide_env_values = true,
        default_value = "table",
        hide_default_value = true
    )]
    pub output: Format,
    /// The same as -o json
    #[arg(long, global = true, hide_short_help = true)]
    pub json: bool,
    /// Print only what was asked for, and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print more: ids whole
    #[arg(short, long, global = true, hide_short_help = true)]
    pub verbose: bool,
    /// Never ask; fail where a person would be needed
    #[arg(long, global = true, hide_short_help = true, env = "PK_NO_INPUT", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new(), num_args = 0)]
    pub no_input: bool,
    /// Colours
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "WHEN",
        value_enum,
        default_value = "auto",
        hide_default_value = true
    )]
    pub color: Color,
}

impl Global {
    /// The form that was asked for, with `--json` in mind.
    #[must_use]
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table on a terminal; fields between tabs, without a header, in a pipe
    Table,
    /// The same with ids whole
    Wide,
    /// One JSON document
    Json,
    /// One JSON document a line
    Jsonl,
    /// One YAML document
    Yaml,
    /// Names alone, one a line
    Name,
}

impl Format {
    /// Whether a program reads it: then errors are documents too.
    #[must_use]
    pub fn is_for_programs(self) -> bool {
        matches!(self, Format::Json | Format::Jsonl | Format::Yaml)
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Make this device's identity and the vault `personal`
    ///
    /// Shows 24 words once: they are the only way back in when the password is forgotten. A second run changes nothing.
    #[command(
        before_long_help = "Examples:\n  polykey init\n  polykey init --recovery-code-to words.txt --password-file pw.txt\n  polykey init --recovery-code-file words.txt"
    )]
    Init(Init),
    /// Print a secret: exactly its bytes
    #[command(
        before_long_help = "Examples:\n  polykey get app:prod/db\n  polykey get app:prod/db@3f9ab0 --to db.txt\n  polykey get app:prod/db@~1"
    )]
    Get(Get),
    /// Write a secret that is typed, piped or in a file
    ///
    /// Bytes from a pipe or a file are stored as they are, with a newline at their end if there is one; --trim-newline leaves one away. What is typed has none.
    #[command(
        before_long_help = "Examples:\n  polykey set app:prod/db                      asks for the value, twice\n  printf %s \"$value\" | polykey set app:prod/db\n  polykey set app:tls.key --from tls.key --mode 0400"
    )]
    Set(Set),
    /// List vaults, or the secrets of one
    #[command(
        before_long_help = "Examples:\n  polykey ls\n  polykey ls app:prod\n  polykey ls app -R -o json",
        visible_alias = "list"
    )]
    Ls(Ls),
    /// Remove secrets; older versions keep them
    #[command(before_long_help = "Examples:\n  polykey rm app:prod/db\n  polykey rm -r app:prod")]
    Rm(Rm),
    /// Versions of a vault or of one secret
    #[command(before_long_help = "Examples:\n  polykey log app\n  polykey log app:prod/db")]
    Log(Log),
    /// What differs between versions: names, or values with -r
    ///
    /// Without versions the last change; with one, from it to now. Ends with 7 when something differs.
    #[command(
        before_long_help = "Examples:\n  polykey diff app\n  polykey diff app:prod/db ~1 -r\n  polykey diff app 3f9ab0 2026-11-20T09:00"
    )]
    Diff(Diff),
    /// Make an old version of a secret or folder the newest
    ///
    /// It becomes a new version: nothing of the history goes.
    #[command(
        before_long_help = "Examples:\n  polykey restore app:prod/db@~1\n  polykey restore app:prod@3f9ab0"
    )]
    Restore(Restore),
    /// Let another device or cluster use a vault
    ///
    /// It may be away, or never have been met: it gets the vault when it connects.
    #[command(
        before_long_help = "Examples:\n  polykey share app NODE-ID\n  polykey share app NODE-ID --write --expires 30d\n  polykey share app NODE-ID --namespace shop --service-account app"
    )]
    Share(Share),
    /// Take a vault back from a device or cluster
    ///
    /// It reads nothing that is written from now on. What it has read it knows: the command lists what to rotate.
    #[command(before_long_help = "Examples:\n  polykey unshare app NODE-ID")]
    Unshare(Unshare),
    /// Who may connect, and where to dial
    #[command(subcommand)]
    Peer(Peer),
    /// Make, list and name vaults
    #[command(subcommand)]
    Vault(Vault),
    /// The key that this device is known by
    #[command(subcommand)]
    Key(Key),
    /// One screen: this device, its vaults and its peers
    #[command(
        before_long_help = "Examples:\n  polykey status\n  polykey status --check || echo look at it\n  polykey status -o json"
    )]
    Status(Status),
    /// Start and stop the agent, which holds the unlocked identity
    #[command(subcommand)]
    Agent(Agent),
    /// Print a completion script for a shell
    #[command(
        before_long_help = "Examples:\n  polykey completion bash > ~/.local/share/bash-completion/completions/polykey\n  polykey completion zsh > ~/.zfunc/_polykey\n  polykey completion fish > ~/.config/fish/completions/polykey.fish"
    )]
    Completion(Completion),
    /// Print the manual page, or write all of them
    Man(Man),
    /// Print the version of this program
    Version,
}

/// Options of `init`.
#[derive(Args)]
pub struct Init {
    /// Write the 24 words to a new file of mode 0600 instead of showing them; needed without a terminal
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "recovery_code_file")]
    pub recovery_code_to: Option<PathBuf>,
    /// Restore the identity of the 24 words in FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub recovery_code_file: Option<PathBuf>,
    /// Read the password from FILE (one newline at its end is left away)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "PK_PASSWORD_FILE", hide_env_values = true)]
    pub password_file: Option<PathBuf>,
}

/// Options of `get`.
#[derive(Args)]
pub struct Get {
    /// VAULT:PATH[#FIELD][@VERSION]
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Write the value to a file of mode 0600 instead
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub to: Option<PathBuf>,
    /// Print no newline after the value on a terminal
    #[arg(long)]
    pub no_newline: bool,
}

/// Options of `set`.
#[derive(Args)]
pub struct Set {
    /// VAULT:PATH[#FIELD]
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Never a value: one given here is refused.
    #[arg(hide = true, num_args = 0.., allow_hyphen_values = true)]
    pub values: Vec<String>,
    /// Read the value from a file; - is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,
    /// File mode in pods, octal
    #[arg(long, value_name = "MODE", default_value = "0444", value_parser = mode)]
    pub mode: u32,
    /// Leave one newline at the end of the value away
    #[arg(long)]
    pub trim_newline: bool,
    /// Write only if the vault is still at this version
    #[arg(long, value_name = "VERSION")]
    pub if_version: Option<String>,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// Options of `ls`.
#[derive(Args)]
pub struct Ls {
    /// VAULT[:PATH]; nothing lists the vaults
    #[arg(value_name = "VAULT[:PATH]")]
    pub scope: Option<String>,
    /// Everything below, not only one level (documents for programs always hold everything)
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// Options of `rm`.
#[derive(Args)]
pub struct Rm {
    /// VAULT:PATH…
    #[arg(value_name = "REF", required = true)]
    pub references: Vec<String>,
    /// Everything below a folder
    #[arg(short, long)]
    pub recursive: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// Options of `log`.
#[derive(Args)]
pub struct Log {
    /// VAULT, or VAULT:PATH for one secret
    #[arg(value_name = "VAULT[:PATH]")]
    pub scope: String,
    /// At most so many versions
    #[arg(long, value_name = "N", default_value = "50")]
    pub limit: u32,
    /// Go on, and print each version that comes
    #[arg(short, long)]
    pub watch: bool,
}

/// Options of `diff`.
#[derive(Args)]
pub struct Diff {
    /// VAULT, or VAULT:PATH for one secret or folder
    #[arg(value_name = "VAULT[:PATH]")]
    pub scope: String,
    /// From this version: its digits, ~N, or a time
    #[arg(value_name = "V1")]
    pub from: Option<String>,
    /// To this version; nothing is now
    #[arg(value_name = "V2")]
    pub to: Option<String>,
    /// Show values
    #[arg(short, long)]
    pub reveal: bool,
}

/// Options of `restore`.
#[derive(Args)]
pub struct Restore {
    /// VAULT:PATH@VERSION
    #[arg(value_name = "REF@VERSION")]
    pub reference: String,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// Options of `share`.
#[derive(Args)]
pub struct Share {
    /// Name or id of the vault
    pub vault: String,
    /// Node id (v…), or a unique prefix of one that is known here
    #[arg(value_name = "NODE-ID")]
    pub who: String,
    /// It may write, too
    #[arg(long, conflicts_with_all = ["mirror", "owner"])]
    pub write: bool,
    /// It may decide who else may use it, too
    #[arg(long, conflicts_with = "mirror")]
    pub owner: bool,
    /// It only carries the ciphertext for others and can read nothing
    #[arg(long)]
    pub mirror: bool,
    /// Ends by itself after this time: 90m, 12h, 30d, 2w
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// It may bring in so many more nodes of its own, such as the other replicas of a cluster
    #[arg(long, value_name = "N", default_value = "0")]
    pub siblings: u8,
    /// A cluster may hand it to pods of this namespace only (repeatable)
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Vec<String>,
    /// A cluster may hand it to pods of this ServiceAccount only (repeatable)
    #[arg(long, value_name = "NAME")]
    pub service_account: Vec<String>,
    /// A cluster may hand out this path only (repeatable)
    #[arg(long, value_name = "PATH")]
    pub path: Vec<String>,
    /// Only this cluster: the uid of its kube-system namespace
    #[arg(long, value_name = "UID")]
    pub cluster: Option<String>,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// Options of `unshare`.
#[derive(Args)]
pub struct Unshare {
    /// Name or id of the vault
    pub vault: String,
    /// Node id (v…), or a unique prefix of a member's
    #[arg(value_name = "NODE-ID")]
    pub who: String,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// `peer …`.
#[derive(Subcommand)]
pub enum Peer {
    /// Let a node connect, and dial it where an address is given
    Add {
        /// Node id (v…)
        #[arg(value_name = "NODE-ID")]
        node: String,
        /// host:port; several ids may have one address
        #[arg(value_name = "ADDRESS")]
        address: Option<String>,
        /// What would be done
        #[command(flatten)]
        dry: Dry,
    },
    /// List peers and their connections
    #[command(visible_alias = "list")]
    Ls,
    /// Dial a node no longer
    Rm {
        /// Node id (v…), or a unique prefix of a peer's
        #[arg(value_name = "NODE-ID")]
        node: String,
        /// What would be done
        #[command(flatten)]
        dry: Dry,
    },
}

/// `vault …`.
#[derive(Subcommand)]
pub enum Vault {
    /// Make an empty vault that this device owns
    Create {
        /// Its name on this device
        name: String,
        /// What would be done
        #[command(flatten)]
        dry: Dry,
    },
    /// List vaults
    #[command(visible_alias = "list")]
    Ls,
    /// Who has a vault, and what they may do
    Members {
        /// Name or id of the vault
        vault: String,
    },
    /// Take a vault back from a thief, with the words of the device that made it
    ///
    /// This device takes the place of the one that made the vault. Whatever that one's key did after --before counts no longer: removals, new members, versions. A new machine that was restored from the words has the very key that the thief has: it gets another with it, in all its vaults.
    #[command(
        before_long_help = "Examples:\n  polykey vault recover app --before 3f9ab0c41d7e\n  polykey vault recover app --before 2026-05-12T09:00:00Z --recovery-code-file words.txt"
    )]
    Recover(Recover),
    /// Give up the words that could take a vault back, for good
    #[command(before_long_help = "Examples:\n  polykey vault resign app")]
    Resign(Resign),
    /// Let go of the contents of old versions, here and on every other device
    ///
    /// Their dates, authors and signatures stay; what they held is gone for good. Pinned versions keep their contents where they are pinned.
    #[command(
        before_long_help = "Examples:\n  polykey vault prune app --older 90d\n  polykey vault prune app --keep 3f9ab0"
    )]
    Prune {
        /// Name or id of the vault
        vault: String,
        /// Keep this version and all newer ones [default: the newest alone]
        #[arg(long, value_name = "VERSION", conflicts_with = "older")]
        keep: Option<String>,
        /// Keep what is newer than this: 90m, 12h, 30d, 2w
        #[arg(long, value_name = "TIME")]
        older: Option<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        /// What would be done
        #[command(flatten)]
        dry: Dry,
    },
    /// Secrets with several values that were written apart, side by side
    Conflicts {
        /// Name or id of the vault
        vault: String,
    },
    /// Give a vault another name on this device
    Rename {
        /// Name or id of the vault
        vault: String,
        /// Its new name
        name: String,
        /// What would be done
        #[command(flatten)]
        dry: Dry,
    },
}

/// Options of `vault recover`.
#[derive(Args)]
pub struct Recover {
    /// Name or id of the vault
    pub vault: String,
    /// The first version that is not to be believed, or a time (versions bear the date that their author gave them)
    #[arg(long, value_name = "VERSION-OR-TIME")]
    pub before: Option<String>,
    /// Read the 24 words from FILE instead of asking for them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub recovery_code_file: Option<PathBuf>,
    /// What opens the identity, where it gets another key.
    #[command(flatten)]
    pub opens: Opens,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// Options of `vault resign`.
#[derive(Args)]
pub struct Resign {
    /// Name or id of the vault
    pub vault: String,
    /// Read the 24 words from FILE instead of asking for them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub recovery_code_file: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// `key …`.
#[derive(Subcommand)]
pub enum Key {
    /// Give this device another key, and so another id
    ///
    /// The new key takes this device's place in all its vaults at once; the old one opens nothing that is written from then on. The agent starts again by itself. Whoever knows this device by its old id (peers, the PolykeyPeer of a cluster) has to be told the new one. The 24 words take vaults back as before (vault recover), but they restore neither this device nor its password any more.
    #[command(
        before_long_help = "Examples:\n  polykey key rotate --dry-run\n  polykey key rotate\n  polykey key rotate --yes --password-file pw.txt"
    )]
    Rotate(KeyRotate),
}

/// Options of `key rotate`.
#[derive(Args)]
pub struct KeyRotate {
    /// What opens the identity.
    #[command(flatten)]
    pub opens: Opens,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// What would be done
    #[command(flatten)]
    pub dry: Dry,
}

/// What opens this device's identity.
#[derive(Args)]
pub struct Opens {
    /// Read the password from FILE (one newline at its end is left away)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "PK_PASSWORD_FILE", hide_env_values = true, conflicts_with = "key_file")]
    pub password_file: Option<PathBuf>,
    /// The key file that this device is unlocked with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub key_file: Option<PathBuf>,
}

/// Options of `status`.
#[derive(Args)]
pub struct Status {
    /// End with 7 when something needs a look
    #[arg(long)]
    pub check: bool,
}

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

/// Options of `completion`.
#[derive(Args)]
pub struct Completion {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// Options of `man`.
#[derive(Args)]
pub struct Man {
    /// Write one page a command into this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// The switch of everything that writes.
#[derive(Args)]
pub struct Dry {
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Permission bits in octal, at most 0777.
fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("a mode has three octal digits, such as 0400".to_owned()),
    }
}
