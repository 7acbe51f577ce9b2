//! Of what reads and writes secrets.

use super::{Dry, mode};
use clap::{Args, ValueHint};
use std::path::PathBuf;

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
