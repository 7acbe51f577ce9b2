//! The JSON of the local API: requests and answers of the Unix socket (`/v1/status`, vaults, secrets, grants, peers), and the two read-only lists that the
//! operator gets over TLS (`/v1/vaults`, `/v1/consumers`).
//!
//! Fields are only ever added. Secret values are never in JSON here: they travel as the raw body of `GET` and `PUT …/secret` and as CBOR in [`Edits`].

use minicbor::{Decode, Encode};
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Header of `GET …/secret` that names the version whose content the body is.
pub const VERSION_HEADER: &str = "polykey-version";
/// Header of `GET …/secret`, `true` when other values stand beside this one, the newest.
pub const CONFLICT_HEADER: &str = "polykey-conflict";
/// The largest body of a change ([`Edits`]) in bytes: 64 values of 64 KiB, a safe bound for one commit by hand.
pub const MAX_EDITS_BODY: usize = 5 << 20;

/// The largest value in bytes, 64 MiB: the body of `PUT …/secret`, and of `GET …/secret`.
pub const MAX_VALUE: u64 = polykey_core::tree::MAX_FILE;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// Version of the program.
    pub software_version: String,
    /// Where the store is.
    pub node_path: String,
    /// How the identity was unlocked: `passphrase` or `keyfile`.
    pub unlock_method: String,
    /// Starts of this store, counted since it was made.
    pub boot: u64,
    /// UDP address of the QUIC endpoint.
    pub listen: Option<String>,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Digest of the access set in force; absent on a laptop and before the first set.
    pub access_set: Option<String>,
    /// Seconds since the access set was last confirmed.
    pub access_age_seconds: Option<u64>,
    /// Open watches of workloads.
    pub consumers: u32,
    /// Bytes of the store.
    #[serde(default)]
    pub store_bytes: u64,
    /// When what no version needs was last collected, unix milliseconds; absent until the first time since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected_ms: Option<u64>,
    /// Whether it is the only one of its identity, and knows its own past.
    #[serde(default, skip_serializing_if = "Standing::is_quiet")]
    pub standing: Standing,
    /// Vaults, as `GET /v1/vaults`.
    pub vaults: Vec<Vault>,
    /// Peers, as `GET /v1/peers`.
    pub peers: Vec<Peer>,
}

/// One vault of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// Its id.
    pub id: VaultId,
    /// The name that this node's person gave it; local to the node. Absent over TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `mirror`, `reader`, `writer` or `owner`: what this node may do.
    pub role: String,
    /// The newest version; absent while nothing was committed or nothing arrived yet.
    pub version: Option<CommitId>,
    /// Who committed it.
    pub author: Option<NodeId>,
    /// When its author committed it, unix milliseconds.
    pub committed_ms: Option<u64>,
    /// Live owners.
    pub owners: Vec<NodeId>,
    /// Live members.
    pub members: u32,
    /// `ok`, `pending` (granted, contents not here yet), `diverged`, `cloned` (see `doubles`), `needs-upgrade` or `broken`.
    pub state: String,
    /// Pairs of versions that prove that two processes wrote with one identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubles: Vec<Double>,
    /// Authors who write faster than this node takes: what is beyond waits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<NodeId>,
    /// When an owner last gave its word, by a beat or a commit, unix milliseconds by its clock; absent where this node is an owner itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_ms: Option<u64>,
}

/// Two versions with one number by one author.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Double {
    /// Who wrote both.
    pub author: NodeId,
    /// The two.
    pub versions: [CommitId; 2],
}

/// What a node knows of other processes with its identity, and of its own past.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Another one goes on, and this one writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yielded: Option<OtherProcess>,
    /// There is another one, and this one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubled: Option<OtherProcess>,
    /// The peer that had seen a later state of this store than it was started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_by: Option<NodeId>,
}

impl Standing {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        *self == Standing::default()
    }
}

/// Another process with this node's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherProcess {
    /// Which start of the store it was.
    pub boot: u64,
    /// The peer that is or was connected to it.
    pub told_by: NodeId,
    /// When this node learned of it, unix milliseconds.
    pub at_ms: u64,
}

/// `GET /v1/vaults`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vaults {
    /// All of them, by name, then id.
    pub vaults: Vec<Vault>,
}

/// `POST /v1/vaults`, and `POST /v1/vaults/{vault}/name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultName {
    /// The name to give.
    pub name: String,
}

/// One member of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// Unix seconds after which it is none.
    pub expires: Option<u64>,
    /// What the owner lets a cluster hand to its pods.
    pub caveat: Option<Caveat>,
    /// True for this node itself.
    pub this_node: bool,
    /// A connection to it is open.
    pub connected: bool,
    /// How many other nodes of its gestalt it may bring in.
    #[serde(default)]
    pub siblings: u8,
    /// The grant of the fellow node that brought it in.
    #[serde(default)]
    pub under: Option<OpId>,
}

/// `GET /v1/vaults/{vault}/members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// All live members.
    pub members: Vec<Member>,
    /// A reader left without an owner at hand, and an owner has yet to start a new epoch.
    #[serde(default)]
    pub rotation_pending: bool,
}

/// What an owner lets a cluster hand to its pods; each empty list means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caveat {
    /// UID of the cluster's kube-system namespace.
    pub cluster: Option<String>,
    /// Namespaces.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// ServiceAccounts.
    #[serde(default)]
    pub service_accounts: Vec<String>,
    /// Paths in the vault.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// `POST /v1/vaults/{vault}/grants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantRequest {
    /// Who gets access.
    pub node: NodeId,
    /// `mirror`, `reader`, `writer` or `owner`.
    pub role: String,
    /// Unix seconds after which the grant ends by itself.
    #[serde(default)]
    pub expires: Option<u64>,
    /// What a cluster may hand to its pods.
    #[serde(default)]
    pub caveat: Option<Caveat>,
    /// How many other nodes of its gestalt it may bring in.
    #[serde(default)]
    pub siblings: u8,
}

/// Answer to a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantReply {
    /// The control operation.
    pub grant: OpId,
    /// The member has a connection now, so the vault is on its way.
    pub connected: bool,
    /// The same grant was live before; nothing was written.
    pub unchanged: bool,
}

/// Answer to `DELETE /v1/vaults/{vault}/members/{node}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeReply {
    /// Secrets that the removed node could read: rotate these.
    pub rotate: Vec<String>,
    /// Nodes that it had brought in, and that went with it.
    #[serde(default)]
    pub with: Vec<NodeId>,
}

/// `POST /v1/vaults/{vault}/recovery`, canonical CBOR. Not printable: it holds the words.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Recovery {
    /// The 24 words of who made the vault, as text.
    #[n(0)]
    pub words: Secret,
    /// Up to when the vault is believed; all of it when absent.
    #[n(1)]
    pub before: Option<Before>,
    /// Give the words up instead.
    #[n(2)]
    pub resign: bool,
    /// What opens the node's identity: needed where the node has the very key that is to lose the vault, and so gets another.
    #[n(3)]
    pub unlock: Option<Unlock>,
}

/// What opens the identity of a node. Not printable.
#[derive(Encode, Decode)]
pub enum Unlock {
    /// The password, as text.
    #[n(0)]
    Password(#[n(0)] Secret),
    /// The content of the key file.
    #[n(1)]
    KeyFile(#[n(0)] Secret),
}

/// `POST /v1/key`, canonical CBOR: gives the node another key. It starts again by itself then. Not printable.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct KeyRequest {
    /// What opens the identity, before and after.
    #[n(0)]
    pub unlock: Unlock,
}

/// Answer to [`KeyRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyReply {
    /// The node's id until now.
    pub old: NodeId,
    /// Its id from now on.
    pub new: NodeId,
    /// Vaults in which the new id has the old one's place.
    pub vaults: Vec<VaultId>,
}

/// A moment in the life of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Before {
    /// What a version builds on, but not it.
    #[n(0)]
    Version(#[n(0)] CommitId),
    /// Versions dated before, in unix milliseconds.
    #[n(1)]
    Time(#[n(0)] u64),
}

/// Answer to [`Recovery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryReply {
    /// The control operation.
    pub operation: OpId,
    /// Node ids that the maker had: no members any more.
    pub replaced: Vec<NodeId>,
    /// Changes of membership by others that fell out.
    pub undone: u32,
    /// Live members now.
    pub members: u32,
    /// The node got another key for this, and starts again by itself.
    #[serde(default)]
    pub key: Option<KeyReply>,
}

/// One secret in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// Bytes of its value.
    pub size: u64,
    /// File mode, for example `0o444`.
    pub mode: u32,
    /// The version that wrote it, if its commit is known here.
    pub version: Option<CommitId>,
    /// When that version was committed, unix milliseconds.
    pub changed_ms: Option<u64>,
    /// Who committed it.
    pub by: Option<NodeId>,
    /// More than one concurrent value: the newest is shown.
    pub conflict: bool,
}

/// `GET /v1/vaults/{vault}/secrets?prefix=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// The version listed.
    pub version: Option<CommitId>,
    /// In order of path.
    pub entries: Vec<Entry>,
}

/// One version in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its id.
    pub version: CommitId,
    /// Who committed it.
    pub author: NodeId,
    /// When, by its author's clock, unix milliseconds.
    pub committed_ms: u64,
    /// Paths written or removed, when the versions before it are here.
    pub changes: Vec<PathChange>,
    /// Why its contents cannot be read: `broken` by its author, or `pruned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// What a version did to one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// The path.
    pub path: String,
    /// `added`, `changed` or `removed`.
    pub change: String,
}

/// `GET /v1/vaults/{vault}/log?path=&limit=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Newest first.
    pub versions: Vec<Version>,
}

/// A path of which several values stand side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The path.
    pub path: String,
    /// Newest first: the first is the one that is shown.
    pub values: Vec<ConflictValue>,
}

/// One of several values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictValue {
    /// The version that wrote it, in which it can be read.
    pub version: Option<CommitId>,
    /// Who wrote it.
    pub by: Option<NodeId>,
    /// When, by its author's clock, unix milliseconds.
    pub changed_ms: Option<u64>,
    /// Bytes of the value.
    pub size: u64,
}

/// `GET /v1/vaults/{vault}/conflicts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflicts {
    /// By path.
    pub conflicts: Vec<Conflict>,
}

/// A path that differs between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// The path.
    pub path: String,
    /// Bytes that were there; absent when nothing was.
    pub old: Option<u64>,
    /// Bytes that are there; absent when nothing is.
    pub new: Option<u64>,
    /// Several values stand side by side now.
    pub conflict: bool,
}

/// `GET /v1/vaults/{vault}/diff?path=&from=&to=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The older version; absent when nothing was before.
    pub from: Option<CommitId>,
    /// The newer one.
    pub to: CommitId,
    /// By path.
    pub changes: Vec<Differs>,
}

/// `POST /v1/vaults/{vault}/prune`: lets everyone drop the contents of all versions that one builds on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// Which version is kept; without this and `before_ms` the newest.
    #[serde(default)]
    pub keep: Option<String>,
    /// Keep the newest that is older than this, unix milliseconds.
    #[serde(default)]
    pub before_ms: Option<u64>,
    /// Only say what would be let go of.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to [`PruneRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReply {
    /// The version that is kept; `None` when no version is as old as was asked.
    pub keep: Option<CommitId>,
    /// Versions whose contents are let go of, by this and earlier prunes.
    pub versions: u64,
    /// It was so before.
    pub unchanged: bool,
    /// Bytes that came free on this node at once; what is younger than an hour goes later.
    pub freed: u64,
}

/// `POST /v1/vaults/{vault}/restore`: what is at and below a path becomes what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The path.
    pub path: String,
    /// In which version, or its prefix.
    pub version: String,
}

/// `POST /v1/vaults/{vault}/edits`, canonical CBOR: one commit. Not printable: it holds values.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Edits {
    /// Refuse with `Conflict` unless the vault is at this version.
    #[n(0)]
    pub expect: Option<CommitId>,
    /// Applied in order as one commit.
    #[n(1)]
    pub edits: Vec<Edit>,
}

/// One change of a path.
#[derive(Encode, Decode)]
pub enum Edit {
    /// Write a value.
    #[n(0)]
    Put(#[n(0)] Put),
    /// Remove one secret, or everything below a path that ends in `/`.
    #[n(1)]
    Remove(#[n(0)] String),
}

/// A value to write.
#[derive(Encode, Decode)]
#[cbor(array)]
pub struct Put {
    /// Where.
    #[n(0)]
    pub path: String,
    /// File mode in pods.
    #[n(1)]
    pub mode: u32,
    /// What.
    #[n(2)]
    pub value: Secret,
}

/// Bytes that are wiped when dropped and are never shown.
pub struct Secret(pub Zeroizing<Vec<u8>>);

impl<C> Encode<C> for Secret {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Secret(Zeroizing::new(d.bytes()?.to_vec())))
    }
}

/// Answer to [`Edits`] and [`RestoreRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditReply {
    /// The version now at the head.
    pub version: CommitId,
    /// Paths that changed. Empty: nothing differed and no version was made.
    pub changed: Vec<String>,
}

/// One configured or connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// `host:port` dialled for it.
    pub addresses: Vec<String>,
    /// `configured`, `cluster` (a PolykeyPeer), `sibling` or `member`.
    pub origin: String,
    /// A connection is open.
    pub connected: bool,
    /// Two processes with its identity were connected at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cloned: bool,
    /// Remote address of the open connection.
    pub address: Option<String>,
    /// When it was last connected, unix milliseconds.
    pub seen_ms: Option<u64>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// `GET /v1/peers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peers {
    /// By node id.
    pub peers: Vec<Peer>,
}

/// `POST /v1/peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRequest {
    /// The node.
    pub node: NodeId,
    /// `host:port` to dial; absent when it dials this node.
    #[serde(default)]
    pub address: Option<String>,
}

/// What one workload holds of one rule. Kept in memory by the node, keyed by pod uid and rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumer {
    /// Namespace of rule and pod.
    pub namespace: String,
    /// Name of the PolykeyVault.
    pub name: String,
    /// Pod, from its verified token.
    pub pod: String,
    /// Pod UID, from its verified token.
    pub pod_uid: String,
    /// Its ServiceAccount.
    pub service_account: String,
    /// The Kubernetes node that it runs on, when the token says so.
    pub kubernetes_node: Option<String>,
    /// `connecting`, `written`, `reloaded`, `failed` or `refused`.
    pub state: String,
    /// The version that it has in its files.
    pub version: Option<CommitId>,
    /// Why it was refused or failed, one of the frozen reasons.
    pub reason: Option<String>,
    /// A sentence for the namespace's admin.
    pub message: Option<String>,
    /// `content` (checked up to the signed root) or `commit` (contents are the node's word).
    pub provenance: Option<String>,
    /// The node's clock at the first acknowledgement of that version, unix milliseconds.
    pub since_ms: u64,
}

/// `GET /v1/consumers`. With `?watch` it is a stream of these, one JSON document a line: first the whole table, then each whole table after a change, at most one a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumers {
    /// By namespace, name and pod.
    pub consumers: Vec<Consumer>,
    /// What each rule would be served now, or why nothing.
    #[serde(default)]
    pub rules: Vec<RuleState>,
    /// The vaults of this node, without names.
    #[serde(default)]
    pub vaults: Vec<Vault>,
    /// Peers of this node.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// What a node would serve for one rule now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleState {
    /// Namespace of the PolykeyVault.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// [`crate::access::Rule::id`].
    pub id: String,
    /// The version that it serves.
    pub version: Option<CommitId>,
    /// Author of that version.
    pub author: Option<NodeId>,
    /// When it was committed, unix milliseconds.
    pub committed_ms: Option<u64>,
    /// An owner of the vault.
    pub owner: Option<NodeId>,
    /// Why nothing is served: one of the frozen reasons.
    pub reason: Option<String>,
    /// A sentence for the namespace's admin: the three keys, and which is missing.
    pub message: Option<String>,
}

/// `POST /v1/ack` of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Name of the PolykeyVault in the workload's namespace.
    pub name: String,
    /// The version in the files.
    pub version: Option<CommitId>,
    /// `written`, `reloaded` or `failed`.
    pub state: String,
    /// Why it failed.
    #[serde(default)]
    pub reason: Option<String>,
    /// `content` or `commit`.
    #[serde(default)]
    pub provenance: Option<String>,
}
