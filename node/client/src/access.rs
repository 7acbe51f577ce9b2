//! The access set: which workload may read which vault, as the warden puts it into its node (`PUT /v1/access`, Unix socket only).
//!
//! A set is always the whole state, named by its hash, and swapped in one step. There are no deltas, so no deletion can be lost.

use polykey_core::ids::{CommitId, NodeId, VaultId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest body of `PUT /v1/access`, in bytes: 10,000 rules of about 300 bytes and room for a few long `delivery` values.
pub const MAX_ACCESS_BODY: usize = 8 << 20;
/// The most rules in one set: ten thousand PolykeyVaults, the size the operator is built for, doubled for `purpose: secret`.
pub const MAX_RULES: usize = 20_000;
/// The largest `delivery` of one rule, in bytes of JSON.
pub const MAX_DELIVERY: usize = 64 << 10;

/// The whole access state of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSet {
    /// Whose rules these are: `k8s:<cluster uid>`.
    pub source: String,
    /// The newest resourceVersion seen, by plural resource name. None may fall unless `restored` is set.
    pub revision: BTreeMap<String, String>,
    /// BLAKE3 over the sorted content ([`AccessSet::digest`]), 64 lower-case hex digits.
    pub set: String,
    /// Who may read what, sorted by id.
    pub rules: Vec<Rule>,
    /// The outside nodes whose vaults the namespaces may name, sorted by node.
    pub peers: Vec<Peer>,
    /// The other replicas of this cluster: addresses to dial, no rights.
    pub siblings: Vec<Sibling>,
    /// The API server's history went back (etcd restored from a backup): accept a lower revision, audit it and raise an alarm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
}

/// One PolykeyVault (or the operator's right to keep a core Secret in step), as an access rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `namespace/name#uid@generation`.
    pub id: String,
    /// Namespace of the PolykeyVault, and of every workload that it can admit.
    pub namespace: String,
    /// Name of the PolykeyVault: the directory of its files in a pod.
    pub name: String,
    /// The vault that it names.
    pub vault: VaultId,
    /// `namespace:serviceaccount` of each admitted ServiceAccount.
    pub subjects: Vec<String>,
    /// Paths that may be read: one ending in `/` is a directory, another one secret. Empty: the whole vault.
    pub paths: Vec<String>,
    /// Pin: serve exactly this version.
    pub version: Option<CommitId>,
    /// Only versions by one of these authors are served. Empty: any writer that the owner admitted.
    pub signers: Vec<NodeId>,
    /// Hold every pod at the version that it has.
    pub suspend: bool,
    /// What the rule is for.
    pub purpose: Purpose,
    /// How files are written and the app reloaded: opaque to the node, passed on to the sidecar.
    pub delivery: Delivery,
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Files in a pod.
    Mount,
    /// A core Secret that the operator keeps in step.
    Secret,
}

/// The fields of a PolykeyVault that concern the sidecar alone. Fields that no sidecar acts on yet are absent: the warden makes no rule for such an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Delivery {}

/// A PolykeyPeer in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The outside node.
    pub node: NodeId,
    /// `host:port` to dial; empty when the peer dials this cluster.
    pub addresses: Vec<String>,
    /// Namespaces that may use its vaults; `*` alone means all.
    pub namespaces: Vec<String>,
    /// Narrowed to these vaults; absent means any that it shares with this cluster.
    pub vaults: Option<Vec<VaultId>>,
    /// Unix seconds after which the peer counts as absent.
    pub expires: Option<u64>,
}

/// A fellow replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sibling {
    /// Its node id.
    pub node: NodeId,
    /// `host:port` of its QUIC endpoint.
    pub addresses: Vec<String>,
}

/// The node's answer to `PUT /v1/access`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessReply {
    /// Digest of the set now in force.
    pub applied: String,
    /// False when the set was already in force.
    pub changed: bool,
    /// Rules that this node cannot serve now, and why.
    pub refused: Vec<RefusedRule>,
}

/// A rule that a node cannot serve now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRule {
    /// [`Rule::id`].
    pub id: String,
    /// One of the frozen reasons, such as `NotGranted`.
    pub reason: String,
}

impl AccessSet {
    /// Sorts every list, so that equal states have equal bytes, and sets [`AccessSet::set`].
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.rules.sort();
        self.peers.sort();
        self.siblings.sort();
        self.set = self.digest();
        self
    }

    /// BLAKE3 of the JSON of rules, peers and siblings in their order, as hex. `source`, `revision` and `restored` are not part of it: a list that
    /// was read again and came out the same is the same set.
    ///
    /// # Panics
    /// Never: these types have no map keys or numbers that JSON lacks.
    #[must_use]
    pub fn digest(&self) -> String {
        let body = serde_json::to_vec(&(&self.source, &self.rules, &self.peers, &self.siblings))
            .expect("plain data is always JSON");
        blake3::hash(&body).to_hex().to_string()
    }
}
