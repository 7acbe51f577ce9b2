//! `PolykeyPeer`: an outside node that this cluster talks to, and the namespaces that may use its vaults. Honoured only in the namespace of the installation.

#![allow(
    clippy::duplicated_attributes,
    reason = "two columns of one type are no mistake, and the lint looks below `printcolumn`"
)]
#![allow(
    dead_code,
    reason = "KubeSchema derives a twin of each struct for its schema alone, and nothing reads the twin's `unknown`"
)]

use crate::crd::status::{Condition, MAX_CONDITIONS};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the object asks for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "polykey.io",
    version = "v1alpha1",
    kind = "PolykeyPeer",
    namespaced,
    shortname = "pkp",
    category = "polykey",
    status = "PolykeyPeerStatus",
    derive = "PartialEq",
    doc = "PolykeyPeer is an outside node this cluster talks to. Honoured only in the namespace Polykey is installed in.",
    selectable = ".spec.nodeId",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Vaults", type_ = "integer", json_path = ".status.vaults"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".spec.namespaces"),
    printcolumn(name = "Seen", type_ = "date", json_path = ".status.lastSeen"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".spec.nodeId",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PolykeyPeerSpec {
    /// The node's id, from `polykey status`.
    #[schemars(length(max = 53), regex(pattern = r"^v[0-9a-v]{52}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("nodeId is immutable: make another PolykeyPeer"))]
    pub node_id: String,
    /// host:port to dial. Absent: the peer dials us (a laptop).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Option<Vec<Address>>,
    #[allow(
        clippy::doc_link_with_quotes,
        reason = "it is JSON, shown by kubectl explain"
    )]
    /// Namespaces that may use vaults owned by this peer. ["*"]: all. Absent or empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(
            length(max = 63),
            regex(pattern = r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("!('*' in self) || self.size() == 1").message("* stands alone"))]
    pub namespaces: Option<Vec<String>>,
    /// Narrow to these vaults. Absent: any that it shares with this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(max = 45), regex(pattern = r"^z[1-9A-HJ-NP-Za-km-z]{32,44}$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub vaults: Option<Vec<String>>,
    /// After this the peer counts as absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// Fields of a newer schema. They may be restrictions, so a peer that has any is not honoured.
    #[serde(flatten, skip_serializing)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// `host:port`, not of this machine or link.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[schemars(inline, extend("maxLength" = 260, "x-kubernetes-validations" = [
    {"rule": r"self.matches('^([a-zA-Z0-9.-]+|\\[[0-9a-fA-F:]+\\]):[0-9]{1,5}$')", "message": "an address is host:port; put IPv6 in brackets"},
    {"rule": "!self.startsWith('169.254.') && !self.startsWith('127.') && !self.startsWith('localhost') && !self.startsWith('[fe80') && !self.startsWith('[::1]')", "message": "loopback and link-local addresses are never dialled"}
]))]
pub struct Address(pub String);

/// What is observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolykeyPeerStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; present only while true: Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// when it was last connected; written when a connection ends, not while it lasts
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
    /// Where it was connected from last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 260))]
    pub address: Option<String>,
    /// How many vaults of this cluster it owns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vaults: Option<i32>,
}
