//! The node's own errors and summaries, in the words of the local API.

use super::reply::Failed;
use crate::access::AccessError;
use crate::peers::PeersError;
use crate::standing::{Other, Report};
use crate::vaults::{VaultError, VaultSummary};
use polykey_client::api;
use polykey_client::error::{ApiError, Code};
use polykey_core::control::{ControlError, Role};
use polykey_core::doubles::Double;
use polykey_core::epoch::EpochError;
use polykey_core::tree::TreeError;

impl From<VaultError> for Failed {
    fn from(e: VaultError) -> Failed {
        let code = vault_code(&e);
        if code == Code::Failed {
            tracing::error!(error = &e as &dyn std::error::Error, "a request failed");
        }
        let error = ApiError::new(code, chain(&e));
        Failed(match &e {
            VaultError::Pending => error.hint(
                "it comes when a node that has it is connected: `polykey peer ls` shows who is",
            ),
            VaultError::SameKey => error.hint("it needs another key, and its password or key file to change it"),
            VaultError::KeyChanged(_) => error.hint("try again in a moment"),
            VaultError::Words => error.hint("a vault is recovered with the 24 words of the device that made it"),
            VaultError::NeedsUpgrade => {
                error.hint("upgrade this program; nothing is lost meanwhile")
            }
            VaultError::Moved { .. } => error.hint("read it again, then decide"),
            VaultError::Pruned(_) => error.hint("the log says which versions still have theirs"),
            VaultError::Yielded { .. } => error
                .hint("stop the other for good, or make a new identity here and share with it; reading goes on")
                .next("polykey status"),
            _ => error,
        })
    }
}

fn vault_code(e: &VaultError) -> Code {
    match e {
        VaultError::NotFound | VaultError::NoSuch(_) | VaultError::Pruned(_) => Code::NotFound,
        VaultError::Ambiguous(_)
        | VaultError::Name(_)
        | VaultError::Words
        | VaultError::Tree(TreeError::Path(_))
        | VaultError::Epoch(EpochError::Receiver)
        | VaultError::Control(ControlError::Op(_)) => Code::Usage,
        VaultError::NameTaken
        | VaultError::Moved { .. }
        | VaultError::Yielded { .. }
        | VaultError::Wider
        | VaultError::Control(ControlError::LastOwner | ControlError::NoRecovery(_)) => {
            Code::Conflict
        }
        VaultError::TooMany
        | VaultError::Quota(_)
        | VaultError::Tree(TreeError::TooLarge(_) | TreeError::PageTooLarge)
        | VaultError::Control(ControlError::Full) => Code::TooLarge,
        VaultError::Role { .. } | VaultError::Control(ControlError::NotAuthorised(_)) => {
            Code::Forbidden
        }
        VaultError::NeedsUpgrade | VaultError::Control(ControlError::NeedsUpgrade(_)) => {
            Code::NeedsUpgrade
        }
        VaultError::SameKey => Code::Locked,
        VaultError::Pending | VaultError::KeyChanged(_) => Code::Unreachable,
        VaultError::Held { why, .. } => vault_code(why),
        _ => Code::Failed,
    }
}

impl From<PeersError> for Failed {
    fn from(e: PeersError) -> Failed {
        let code = match &e {
            PeersError::Address { .. } | PeersError::Myself => Code::Usage,
            PeersError::TooMany { .. } => Code::TooLarge,
            _ => Code::Failed,
        };
        ApiError::new(code, chain(&e)).into()
    }
}

impl From<AccessError> for Failed {
    fn from(e: AccessError) -> Failed {
        use crate::access::SetError;
        let code = match &e {
            AccessError::Set(SetError::WentBack { .. }) => Code::Conflict,
            AccessError::Set(SetError::TooMany { .. }) => Code::TooLarge,
            AccessError::Set(_) => Code::Usage,
            AccessError::Store(_) | AccessError::Damaged(_) => Code::Failed,
        };
        tracing::warn!(
            error = &e as &dyn std::error::Error,
            "an access set was refused"
        );
        ApiError::new(code, chain(&e)).into()
    }
}

/// An error with its sources, as one sentence.
pub(super) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        let more = s.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = s.source();
    }
    text
}

/// The word for a role.
pub fn role_word(role: Role) -> &'static str {
    match role {
        Role::Mirror => "mirror",
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Owner => "owner",
    }
}

/// The role of a word.
pub fn role_of(word: &str) -> Result<Role, ApiError> {
    match word {
        "mirror" => Ok(Role::Mirror),
        "reader" => Ok(Role::Reader),
        "writer" => Ok(Role::Writer),
        "owner" => Ok(Role::Owner),
        _ => Err(ApiError::new(
            Code::Usage,
            "a role is mirror, reader, writer or owner",
        )),
    }
}

/// A vault for the user of this node.
pub fn vault(summary: &VaultSummary) -> api::Vault {
    api::Vault {
        id: summary.id,
        name: summary.name.clone(),
        role: summary.role.map_or("none", role_word).to_owned(),
        version: summary.version,
        author: summary.author,
        committed_ms: summary.committed_ms,
        owners: summary.owners.clone(),
        members: summary.members,
        state: summary.state.as_str().to_owned(),
        doubles: summary.doubles.iter().map(double).collect(),
        held_back: summary.held_back.clone(),
        fresh_ms: summary.fresh_ms,
    }
}

fn double(double: &Double) -> api::Double {
    api::Double {
        author: double.author,
        versions: double.commits,
    }
}

/// How the node stands, for its user.
pub fn standing(report: &Report) -> api::Standing {
    let other = |other: Other| api::OtherProcess {
        boot: other.boot,
        told_by: other.told_by,
        at_ms: other.at_ms,
    };
    api::Standing {
        yielded: report.yielded.map(other),
        doubled: report.doubled.map(other),
        restored_by: report.restored.map(|(peer, _)| peer),
    }
}

/// A vault for the operator: names are this node's own and stay here.
pub fn vault_without_name(summary: &VaultSummary) -> api::Vault {
    api::Vault {
        name: None,
        ..vault(summary)
    }
}
