//! What `-o json` prints: the kinds of `cli.polykey.io/v1`. One document for one thing, a `…List` for many.
//!
//! Fields are only ever added. A value of a secret is in [`SecretValue`] and nowhere else; times are RFC 3339 in UTC, versions have all their 64 digits.

use crate::api;
use crate::error::{ApiError, Code};
use crate::reference::{Reference, Revision};
use base64::Engine;
use jiff::Timestamp;
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

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

/// `polykey init`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The node id of this identity; absent when it was there before and stays sealed.
    pub node_id: Option<NodeId>,
    /// Where it is kept.
    pub node_path: String,
    /// False when it was there before and nothing was changed.
    pub created: bool,
    /// It was made from words that were given.
    pub restored: bool,
    /// Where the words were written, if they were.
    pub recovery_code_file: Option<String>,
}

/// `polykey key rotate`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyChange {
    /// The id of this device until now.
    pub old_id: NodeId,
    /// Its id from now on; absent in a dry run, which draws no key.
    pub new_id: Option<NodeId>,
    /// Vaults in which the new id has the old one's place.
    pub vaults: Vec<VaultId>,
    /// Peers of this device: those of them that a person configured know it by its old id.
    pub peers: Vec<NodeId>,
    /// Nothing was changed.
    pub dry_run: bool,
}

/// `polykey agent start --background` and `polykey agent stop`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// It answers on its socket.
    pub running: bool,
    /// The Unix socket.
    pub socket: String,
    /// The node, while it runs.
    pub node_id: Option<NodeId>,
    /// UDP address of the QUIC endpoint.
    pub listen: Option<String>,
}

/// `polykey status`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// Version of the agent's program.
    pub software_version: String,
    /// Where the store is.
    pub node_path: String,
    /// The Unix socket that answered.
    pub socket: String,
    /// `passphrase` or `keyfile`.
    pub unlock_method: String,
    /// UDP address of the QUIC endpoint.
    pub listen: Option<String>,
    /// Starts of this store.
    pub boot: u64,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Bytes of the store on the disk.
    pub store_bytes: u64,
    /// When what no version needs was last removed from it, since the start.
    pub collected: Option<Timestamp>,
    /// Digest of the access set in force.
    pub access_set: Option<String>,
    /// Seconds since it was confirmed.
    pub access_age_seconds: Option<u64>,
    /// Open watches of workloads.
    pub consumers: u32,
    /// Vaults of this node.
    pub vaults: Vec<Vault>,
    /// Peers of this node.
    pub peers: Vec<Peer>,
    /// Whether it is the only one of its identity, and knows its own past; absent where there is nothing to say.
    #[serde(skip_serializing_if = "api::Standing::is_quiet")]
    pub standing: api::Standing,
    /// What a person should look at; `status --check` ends with 7 when there is any.
    pub problems: Vec<Problem>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub message: String,
    /// A command that helps or explains.
    pub next: Option<String>,
}

/// One vault.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// Its id.
    pub id: VaultId,
    /// Its name on this node.
    pub name: Option<String>,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// `ok`, `pending`, `diverged`, `cloned`, `needs-upgrade` or `broken`.
    pub state: String,
    /// Pairs of versions that prove that two processes wrote with one identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubles: Vec<api::Double>,
    /// Authors who write faster than this node takes; absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<NodeId>,
    /// When an owner last gave its word, by a beat or a commit; absent where this node is an owner itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Timestamp>,
    /// The newest version.
    pub version: Option<CommitId>,
    /// When it was committed.
    pub changed: Option<Timestamp>,
    /// Who committed it.
    pub by: Option<By>,
    /// Live owners.
    pub owners: Vec<NodeId>,
    /// Live members.
    pub members: u32,
}

/// Who did something.
#[derive(Serialize)]
pub struct By {
    /// The node.
    pub id: NodeId,
}

/// One member of a vault.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// When its access ends.
    pub expires: Option<Timestamp>,
    /// What a cluster may hand to its pods.
    pub caveat: Option<api::Caveat>,
    /// It is this node.
    pub this_node: bool,
    /// A connection to it is open.
    pub connected: bool,
    /// How many other nodes of its gestalt it may bring in.
    pub siblings: u8,
    /// The grant of the fellow node that brought it in.
    pub under: Option<OpId>,
}

/// One secret, without its value.
#[derive(Serialize)]
pub struct Secret {
    /// The reference for files.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Path in the vault.
    pub path: String,
    /// Bytes of its value.
    pub size: u64,
    /// File mode in pods, four octal digits.
    pub mode: String,
    /// The version that wrote it.
    pub version: Option<CommitId>,
    /// When it was written.
    pub changed: Option<Timestamp>,
    /// Who wrote it.
    pub by: Option<By>,
    /// Several concurrent values: the newest is shown.
    pub conflict: bool,
}

/// One secret with its value. Made for printing on request only, hence neither `Debug` nor `Clone`.
#[derive(Serialize)]
pub struct SecretValue {
    /// The reference for files, with the version.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The version that was read.
    pub version: CommitId,
    /// `utf-8`, or `base64` for bytes that are no text.
    pub encoding: &'static str,
    /// The value in that encoding.
    #[serde(serialize_with = "text")]
    pub value: Zeroizing<String>,
}

/// One version of a vault, or of a secret in it.
#[derive(Serialize)]
pub struct Version {
    /// Its id.
    pub version: CommitId,
    /// When it was committed, by its author's clock.
    pub changed: Option<Timestamp>,
    /// Who committed it.
    pub by: By,
    /// What it did.
    pub changes: Vec<api::PathChange>,
    /// Why its contents cannot be read: `broken` by its author, or `pruned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// One of several values that stand side by side at a path, until someone writes it.
#[derive(Serialize)]
pub struct Conflict {
    /// The reference for files of this value: with the version that wrote it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Path in the vault.
    pub path: String,
    /// It is the newest: the one that is shown.
    pub shown: bool,
    /// Bytes of the value.
    pub size: u64,
    /// The version that wrote it.
    pub version: Option<CommitId>,
    /// When it was written.
    pub changed: Option<Timestamp>,
    /// Who wrote it.
    pub by: Option<By>,
}

/// `polykey diff`: names and sizes, never values.
#[derive(Serialize)]
pub struct Diff {
    /// The vault, as it was named.
    pub vault: String,
    /// The older version; absent when nothing was before.
    pub from: Option<CommitId>,
    /// The newer version.
    pub to: CommitId,
    /// What differs, by path.
    pub changes: Vec<Differs>,
}

/// A path that differs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Differs {
    /// Path in the vault.
    pub path: String,
    /// `added`, `changed` or `removed`.
    pub change: &'static str,
    /// Bytes that were there.
    pub old_size: Option<u64>,
    /// Bytes that are there.
    pub new_size: Option<u64>,
    /// Several values stand side by side now.
    pub conflict: bool,
}

/// `polykey vault prune`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pruning {
    /// The vault, as it was named.
    pub vault: String,
    /// The version that is kept: what it builds on is let go of. `null` when no version is as old as that.
    pub keep: Option<CommitId>,
    /// Versions whose contents are let go of, by this and earlier prunes.
    pub versions: u64,
    /// It was so before.
    pub unchanged: bool,
    /// Bytes that came free on this device at once; the rest goes later.
    pub freed: u64,
}

/// One peer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Where it is dialled.
    pub addresses: Vec<String>,
    /// `configured`, `cluster`, `sibling` or `member`.
    pub origin: String,
    /// A connection is open.
    pub connected: bool,
    /// Two processes with its identity were connected at once.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cloned: bool,
    /// Remote address of the open connection.
    pub address: Option<String>,
    /// When it was last connected.
    pub seen: Option<Timestamp>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
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

/// `polykey share`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The vault, as it was named.
    pub vault: String,
    /// Who may use it now.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// When that ends.
    pub expires: Option<Timestamp>,
    /// What a cluster may hand to its pods.
    pub caveat: Option<api::Caveat>,
    /// The signed operation.
    pub grant: Option<OpId>,
    /// A connection is open, so the vault is on its way.
    pub connected: bool,
    /// It was so before.
    pub unchanged: bool,
    /// Nothing was written.
    pub dry_run: bool,
}

/// `polykey unshare`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The vault, as it was named.
    pub vault: String,
    /// Who may not read anything written from now on.
    pub node: NodeId,
    /// What it could read until now: rotate these.
    pub rotate: Vec<String>,
    /// Nothing was written.
    pub dry_run: bool,
}

/// `polykey version`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SoftwareVersion {
    /// Version of this program.
    pub software_version: String,
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

impl From<api::Vault> for Vault {
    fn from(v: api::Vault) -> Self {
        Vault {
            id: v.id,
            name: v.name,
            role: v.role,
            state: v.state,
            doubles: v.doubles,
            held_back: v.held_back,
            fresh: v.fresh_ms.and_then(from_millis),
            version: v.version,
            changed: v.committed_ms.and_then(from_millis),
            by: v.author.map(|id| By { id }),
            owners: v.owners,
            members: v.members,
        }
    }
}

impl From<api::Member> for Member {
    fn from(m: api::Member) -> Self {
        Member {
            node: m.node,
            role: m.role,
            expires: m.expires.and_then(from_seconds),
            caveat: m.caveat,
            this_node: m.this_node,
            connected: m.connected,
            siblings: m.siblings,
            under: m.under,
        }
    }
}

impl From<api::Version> for Version {
    fn from(v: api::Version) -> Self {
        Version {
            version: v.version,
            changed: from_millis(v.committed_ms),
            by: By { id: v.author },
            changes: v.changes,
            gone: v.gone,
        }
    }
}

impl From<api::Peer> for Peer {
    fn from(p: api::Peer) -> Self {
        Peer {
            node: p.node,
            addresses: p.addresses,
            origin: p.origin,
            connected: p.connected,
            cloned: p.cloned,
            address: p.address,
            seen: p.seen_ms.and_then(from_millis),
            last_error: p.last_error,
        }
    }
}

impl Secret {
    /// One entry of a listing of the vault called `vault`.
    #[must_use]
    pub fn of(vault: &str, entry: api::Entry) -> Self {
        let path = entry.path;
        let reference = Reference {
            vault: Some(vault.to_owned()),
            path,
            field: None,
            version: None,
        };
        Secret {
            reference: reference.to_uri(vault),
            path: reference.path,
            size: entry.size,
            mode: format!("{:04o}", entry.mode),
            version: entry.version,
            changed: entry.changed_ms.and_then(from_millis),
            by: entry.by.map(|id| By { id }),
            conflict: entry.conflict,
        }
    }
}

impl Conflict {
    /// The values of one path of the vault called `vault`.
    #[must_use]
    pub fn all_of(vault: &str, conflict: api::Conflict) -> Vec<Conflict> {
        let path = conflict.path;
        let value = |(at, value): (usize, api::ConflictValue)| Conflict {
            reference: Reference {
                vault: Some(vault.to_owned()),
                path: path.clone(),
                field: None,
                version: value.version.map(|v| Revision::Id(v.to_string())),
            }
            .to_uri(vault),
            path: path.clone(),
            shown: at == 0,
            size: value.size,
            version: value.version,
            changed: value.changed_ms.and_then(from_millis),
            by: value.by.map(|id| By { id }),
        };
        conflict.values.into_iter().enumerate().map(value).collect()
    }
}

impl Diff {
    /// What differs in the vault called `vault`.
    #[must_use]
    pub fn of(vault: &str, diff: api::Diff) -> Diff {
        let differs = |d: api::Differs| Differs {
            path: d.path,
            change: match (d.old, d.new) {
                (None, _) => "added",
                (Some(_), None) => "removed",
                (Some(_), Some(_)) => "changed",
            },
            old_size: d.old,
            new_size: d.new,
            conflict: d.conflict,
        };
        Diff {
            vault: vault.to_owned(),
            from: diff.from,
            to: diff.to,
            changes: diff.changes.into_iter().map(differs).collect(),
        }
    }
}

impl SecretValue {
    /// A value for printing: as text when it is UTF-8, else in base64.
    #[must_use]
    pub fn of(reference: String, version: CommitId, bytes: &[u8]) -> Self {
        let (encoding, value) = match std::str::from_utf8(bytes) {
            Ok(text) => ("utf-8", text.to_owned()),
            Err(_) => (
                "base64",
                base64::engine::general_purpose::STANDARD.encode(bytes),
            ),
        };
        SecretValue {
            reference,
            version,
            encoding,
            value: Zeroizing::new(value),
        }
    }
}

fn text<S: Serializer>(value: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
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
