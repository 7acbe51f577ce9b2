//! `PolykeyVault`: lets pods of its namespace read one vault. Doc comments here are the descriptions that `kubectl explain` shows.

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
    kind = "PolykeyVault",
    namespaced,
    shortname = "pkv",
    category = "polykey",
    status = "PolykeyVaultStatus",
    derive = "PartialEq",
    doc = "PolykeyVault lets pods in its namespace read a Polykey vault.",
    selectable = ".spec.vault",
    selectable = ".spec.secret.name",
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label of at most 63 characters: it becomes a directory and a label value"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.shortVersion", description = "first 12 hex of the version being served"),
    printcolumn(name = "Committed", type_ = "date", json_path = ".status.committedAt", description = "when its author made that version"),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.pods.summary", description = "pods holding that version / pods that ask for it, refused ones included"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Vault", type_ = "string", json_path = ".spec.vault", priority = 1),
    printcolumn(name = "Author", type_ = "string", json_path = ".status.author", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.whenStale) && self.whenStale == 'Fail') || has(self.maxAge)")
    .message("whenStale: Fail needs maxAge").field_path(".maxAge"))]
#[x_kube(validation = Rule::new("!has(self.reload) || !self.reload.exists(r, has(r.rollout)) || self.reload.filter(r, has(r.rollout)).size() <= 1")
    .message("at most one rollout").field_path(".reload"))]
pub struct PolykeyVaultSpec {
    /// Id of the vault: z and base58btc of its 32 bytes. Its owner is part of the id, so it cannot be swapped for another's.
    #[schemars(length(max = 45), regex(pattern = r"^z[1-9A-HJ-NP-Za-km-z]{32,44}$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("vault is immutable: make another PolykeyVault"))]
    pub vault: String,
    /// ServiceAccounts of this namespace whose pods may read it.
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub service_accounts: Vec<String>,
    /// Pin: serve exactly this version (its full id, 64 hex). Absent: follow the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub version: Option<String>,
    /// Only versions committed by one of these nodes are served. Absent: any writer the owner admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        inner(length(max = 53), regex(pattern = r"^v[0-9a-v]{52}$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub signers: Option<Vec<String>>,
    /// What becomes which file. Absent: every secret, at its own path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[x_kube(validation = Rule::new("self.all(f, self.exists_one(g, (has(g.to) ? g.to : g.from) == (has(f.to) ? f.to : f.from)))")
        .message("two entries write the same file"))]
    pub files: Option<Vec<FileRule>>,
    /// What to do after the files of a new version are in place. Absent: nothing; the app watches its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub reload: Option<Vec<Reload>>,
    /// Also keep a core Secret in step. This puts the values into etcd; absent means none is ever written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<CoreSecret>,
    /// A version not confirmed as the newest for this long is stale. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("maxAge is at least 1m"))]
    pub max_age: Option<String>,
    /// Serve (default): say so, keep serving. Fail: sidecar not ready, files stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_stale: Option<WhenStale>,
    /// Hold every pod at the version it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Fields of a newer schema. They may be restrictions, so an object that has any gets no rule.
    #[serde(flatten, skip_serializing)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

impl PolykeyVaultSpec {
    /// Fields that are set and that no part of this version acts on. Not empty: nothing may be served, since a field may be a restriction.
    #[must_use]
    pub fn unsupported(&self) -> Vec<String> {
        let built = [
            ("files", self.files.is_some()),
            ("reload", self.reload.is_some()),
            ("secret", self.secret.is_some()),
            ("maxAge", self.max_age.is_some()),
            ("whenStale", self.when_stale.is_some()),
        ];
        let known = built
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| (*name).to_owned());
        known.chain(self.unknown.keys().cloned()).collect()
    }
}

/// One entry of `files`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(validation = Rule::new("!(has(self.as) && has(self.template))").message("as and template exclude each other"))]
#[x_kube(validation = Rule::new("!has(self.as) || self.as == 'Raw' || has(self.to)").message("as other than Raw writes one file: name it with to"))]
#[x_kube(validation = Rule::new("!has(self.template) || has(self.to)").message("template writes one file: name it with to"))]
#[x_kube(validation = Rule::new("!(self.from.endsWith('/') && has(self.to) && !has(self.template) && (!has(self.as) || self.as == 'Raw')) || self.to.endsWith('/')")
    .message("a directory goes to a directory: end to with /, or say as"))]
#[x_kube(validation = Rule::new("!(!self.from.endsWith('/') && has(self.to) && self.to.endsWith('/'))")
    .message("a single secret goes to a file: to must not end with /"))]
pub struct FileRule {
    /// Path in the vault; ending in / means everything below.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self == '/' || (!self.startsWith('/') && !self.contains('//') && self.split('/').all(s, s != '.' && s != '..'))")
        .message("from is a relative path without . or .. or empty parts"))]
    pub from: String,
    /// Path below the vault's directory in the pod. Absent: same as from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.contains('//') && self.split('/').all(s, s != '.' && !s.startsWith('..'))")
        .message("to is a relative path; no part may be . or start with .."))]
    pub to: Option<String>,
    /// File mode. Default 0444, as near as can be to a Secret volume's 0644. 0440 needs the pod's fsGroup, 0400 the sidecar's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self in [256, 288, 292, 384, 416, 420]")
        .message("mode is one of 0400 0440 0444 0600 0640 0644, written in octal (0440, not 440)"))]
    pub mode: Option<i32>,
    /// Raw: bytes as they are. The others gather everything below from into one file.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// Text with {{ }} over the secrets below from. No network, environment, clock or file access.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub template: Option<String>,
}

/// How several secrets become one file.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "a documented variant would become a schema of its own instead of one enum"
)]
pub enum Form {
    Raw,
    Dotenv,
    Json,
    Yaml,
    Properties,
}

/// One way to tell an app of a new version.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Reload {
    /// Needs shareProcessNamespace and one user id for sidecar and app (no CAP_KILL is asked for).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<ReloadSignal>,
    /// To 127.0.0.1 only: there is no host to name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<ReloadHttp>,
    /// Restart all containers in place (Kubernetes 1.36+; skips preStop). At most once per minInterval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_pod: Option<ReloadRestart>,
    /// The operator starts a rolling restart. Off unless the chart's operator.rollouts is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<ReloadRollout>,
}

/// A signal to a process.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ReloadSignal {
    /// name of the executable, as in /proc/PID/exe
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[^/\s]+$"))]
    pub process: String,
    /// Which signal.
    #[serde(default)]
    pub name: Signal,
}

/// The signals that may be sent.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
#[allow(
    missing_docs,
    reason = "a documented variant would become a schema of its own instead of one enum"
)]
pub enum Signal {
    #[default]
    Hup,
    Usr1,
    Usr2,
    Term,
    Int,
    Quit,
    Winch,
}

/// A request to the app.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
pub struct ReloadHttp {
    /// Port on 127.0.0.1.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Path and query.
    #[serde(default = "root_path")]
    #[schemars(length(max = 256), regex(pattern = r"^/[!-~]*$"))]
    pub path: String,
    /// HTTP method.
    #[serde(default)]
    pub method: Method,
}

fn root_path() -> String {
    "/".into()
}

/// The methods that may be used.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
#[allow(
    missing_docs,
    reason = "a documented variant would become a schema of its own instead of one enum"
)]
pub enum Method {
    Get,
    #[default]
    Post,
    Put,
}

/// A restart of the pod's containers in place.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReloadRestart {
    /// Shortest time between two.
    #[serde(default = "five_minutes")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(h|m|s))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("minInterval is at least 1m"))]
    pub min_interval: String,
}

fn five_minutes() -> String {
    "5m".into()
}

/// A rolling restart of a workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ReloadRollout {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Shortest time between two.
    #[serde(default = "ten_minutes")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(h|m|s))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("minInterval is at least 1m"))]
    pub min_interval: String,
}

fn ten_minutes() -> String {
    "10m".into()
}

/// The workloads that may be restarted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "a documented variant would become a schema of its own instead of one enum"
)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// A core Secret to keep in step.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CoreSecret {
    /// Its name, in this namespace.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message("secret.name is immutable: remove secret first, then set it anew"))]
    pub name: String,
    /// Its type.
    #[serde(rename = "type", default = "opaque")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])")
        .message("this Secret type would mint a credential"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("type is immutable, as in core/v1"))]
    pub type_: String,
}

fn opaque() -> String {
    "Opaque".into()
}

/// What a stale version does.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "a documented variant would become a schema of its own instead of one enum"
)]
pub enum WhenStale {
    Serve,
    Fail,
}

/// What is observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PolykeyVaultStatus {
    /// The generation of the spec that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Authorized, Available, Delivered; present only while true: Reconciling, Stalled, Diverged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_CONDITIONS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The version being served.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// Its first 12 hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub short_version: Option<String>,
    /// The node that committed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub author: Option<String>,
    /// A node that owns the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub owner: Option<String>,
    /// When its author committed that version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed_at: Option<Time>,
    /// The pods that ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
}

/// Pods that ask for a vault.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// All of them, refused ones included.
    pub total: Option<i32>,
    /// Those that hold the version being served.
    pub current: Option<i32>,
    /// Both, as current/total.
    #[schemars(length(max = 32))]
    pub summary: Option<String>,
    /// up to ten pods that lag, oldest first; all of them: kubectl polykey where
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub behind: Vec<BehindPod>,
}

/// A pod that lags.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BehindPod {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// The version that it holds; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    pub short_version: Option<String>,
    /// Since when it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}
