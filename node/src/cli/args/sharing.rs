//! Of vaults, peers, members and keys.

use super::Dry;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

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
