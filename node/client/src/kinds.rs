//! What `-o json` prints: the kinds of `cli.polykey.io/v1`. One document for one thing, a `…List` for many.
//!
//! Fields are only ever added. A value of a secret is in [`SecretValue`] and nowhere else; times are RFC 3339 in UTC, versions have all their 64 digits.

mod history;
mod node;
mod secret;
mod vault;

pub use history::{Diff, Differs, Pruning, Version};
pub use node::{Agent, Identity, KeyChange, Peer, Problem, SoftwareVersion, Status};
pub use secret::{Conflict, Secret, SecretValue};
pub use vault::{Grant, Member, Revocation, Vault};

use crate::error::{ApiError, Code};
use jiff::Timestamp;
use polykey_core::ids::{CommitId, NodeId};
use serde::Serialize;

/// The `apiVersion` of every document.
pub const API_VERSION: &str = "cli.polykey.io/v1";

/// Something that is printed as a document of its own.
pub trait Kind: Serialize {
    /// Its `kind`.
    const KIND: &'static str;
}

/// Something that is also printed in lists.
pub trait Item: Kind {
    /// The `kind` of a list of it.
    const LIST: &'static str;
}

/// One document: the body's fields after `apiVersion` and `kind`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a, T> {
    api_version: &'static str,
    kind: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

impl<'a, T: Kind> Document<'a, T> {
    /// The document of one thing.
    pub fn of(body: &'a T) -> Self {
        Document {
            api_version: API_VERSION,
            kind: T::KIND,
            body,
        }
    }
}

/// Many of one kind.
#[derive(Serialize)]
pub struct List<T> {
    /// In the order of the command that lists them.
    pub items: Vec<T>,
}

impl<T: Item> Kind for List<T> {
    const KIND: &'static str = T::LIST;
}

macro_rules! kinds {
    ($($kind:ident $(in $list:literal)?),* $(,)?) => {
        $(
            impl Kind for $kind { const KIND: &'static str = stringify!($kind); }
            $(impl Item for $kind { const LIST: &'static str = $list; })?
        )*
    };
}

kinds! {
    Identity, Agent, Status, SoftwareVersion, SecretValue, Change, Grant, Revocation, Diff, Pruning, KeyChange,
    Conflict in "ConflictList",
    Vault in "VaultList", Member in "MemberList", Secret in "SecretList", Version in "VersionList", Peer in "PeerList",
}

/// What a writing command did, or would do.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `set`, `rm`, `rename`, `peer-add` or `peer-rm`.
    pub action: &'static str,
    /// What it was done to: references, names or node ids.
    pub targets: Vec<String>,
    /// Those that differ now; empty when everything was so before.
    pub changed: Vec<String>,
    /// The vault's version now.
    pub version: Option<CommitId>,
    /// Nothing was written.
    pub dry_run: bool,
}

/// Who did something.
#[derive(Serialize)]
pub struct By {
    /// The node.
    pub id: NodeId,
}

/// What is printed on stderr with `-o json` when a command fails.
#[derive(Serialize)]
pub struct Failure<'a> {
    error: FailureBody<'a>,
}

#[derive(Serialize)]
struct FailureBody<'a> {
    code: Code,
    exit: u8,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    next: &'a [String],
}

impl<'a> Failure<'a> {
    /// The document of an error that ends the program with `exit`.
    #[must_use]
    pub fn of(error: &'a ApiError, exit: u8) -> Self {
        Failure {
            error: FailureBody {
                code: error.code,
                exit,
                message: &error.message,
                hint: error.hint.as_deref(),
                next: &error.next,
            },
        }
    }
}

/// A time of the local API; `None` when a hostile clock wrote one that no calendar has.
#[must_use]
pub fn from_millis(ms: u64) -> Option<Timestamp> {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
}

/// The same in seconds.
#[must_use]
pub fn from_seconds(s: u64) -> Option<Timestamp> {
    i64::try_from(s)
        .ok()
        .and_then(|s| Timestamp::from_second(s).ok())
}
