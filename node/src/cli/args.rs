//! The command tree: what can be typed, and the help that explains it. No command is carried out here.

#![allow(
    clippy::doc_markdown,
    rustdoc::broken_intra_doc_links,
    reason = "these comments are the help on a terminal, where a backtick is a backtick and [@VERSION] is optional"
)]

mod agent;
mod sharing;
mod values;

pub use agent::{Agent, AgentStart, Review, Workloads};
pub use sharing::{Key, KeyRotate, Opens, Peer, Recover, Resign, Share, Unshare, Vault};
pub use values::{Diff, Get, Log, Ls, Restore, Rm, Set};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
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

/// Options of `status`.
#[derive(Args)]
pub struct Status {
    /// End with 7 when something needs a look
    #[arg(long)]
    pub check: bool,
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
