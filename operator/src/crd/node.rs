//! `PolykeyNode`: one replica, written by its own warden only. It has no spec.

#![allow(
    clippy::duplicated_attributes,
    reason = "two columns of one type are no mistake, and the lint looks below `printcolumn`"
)]

use crate::crd::status::{Condition, MAX_CONDITIONS};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The most former ids that are kept.
pub const MAX_PREVIOUS: usize = 8;

/// Nothing: a replica is not asked for, it reports.
#[derive(
    CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq,
)]
#[kube(
    group = "polykey.io",
    version = "v1alpha1",
    kind = "PolykeyNode",
    namespaced,
    no_spec,
    shortname = "pkn",
    category = "polykey",
    status = "PolykeyNodeStatus",
    derive = "PartialEq",
    doc = "PolykeyNode is one replica, written by that replica only. It has no spec.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Peers", type_ = "integer", json_path = ".status.peers"),
    printcolumn(name = "Vaults", type_ = "integer", json_path = ".status.vaults"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.consumers"),
    printcolumn(
        name = "Software",
        type_ = "string",
        json_path = ".status.softwareVersion"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Node",
        type_ = "string",
        json_path = ".status.nodeId",
        priority = 1
    )
)]
pub struct PolykeyNodeSpec {}

/// What the replica says of itself, and the operator's conditions.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolykeyNodeStatus {
    /// Its node id.
    #[schemars(length(max = 53), regex(pattern = r"^v[0-9a-v]{52}$"))]
    pub node_id: String,
    /// Ids that earlier stores of this replica had, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_PREVIOUS), inner(length(max = 53), regex(pattern = r"^v[0-9a-v]{52}$")))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub previous_node_ids: Vec<String>,
    /// UID of the pod that wrote this.
    #[serde(rename = "podUID")]
    #[schemars(length(max = 64))]
    pub pod_uid: String,
    /// host:port of its QUIC endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 260)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Vec<String>,
    /// Version of the node's program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub software_version: Option<String>,
    /// hash of the access set in force
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub access_revision: Option<String>,
    /// Open connections to other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<i32>,
    /// Vaults that it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vaults: Option<i32>,
    /// Pods that watch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumers: Option<i32>,
    /// Set by the operator: Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
