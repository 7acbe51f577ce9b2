//! Polykey in a cluster as a cluster's admin installs it: the chart, a peer, and the nodes' ids.

use crate::cluster::Cluster;
use crate::laptop::Laptop;
use crate::tools::repository;
use crate::wait::wait_for;
use anyhow::{Result, ensure};
use std::time::Duration;

/// The install namespace.
pub const NAMESPACE: &str = "polykey-system";
/// Name of the release.
pub const RELEASE: &str = "polykey";

/// Installs the chart and waits until every node and the operator are ready.
///
/// # Errors
/// When Helm refuses, or something is not ready in three minutes.
pub fn install(cluster: &Cluster) -> Result<()> {
    namespace(cluster, NAMESPACE)?;
    let chart = repository().join("charts/polykey");
    cluster.helm(&[
        "upgrade",
        "--install",
        RELEASE,
        &chart.to_string_lossy(),
        "-n",
        NAMESPACE,
    ])?;
    for workload in ["deployment/polykey-operator", "statefulset/polykey"] {
        cluster.kubectl(&[
            "rollout",
            "status",
            workload,
            "-n",
            NAMESPACE,
            "--timeout=180s",
        ])?;
    }
    Ok(())
}

/// Makes a namespace that holds its pods to the restricted level.
///
/// # Errors
/// When the API server refuses.
pub fn namespace(cluster: &Cluster, name: &str) -> Result<()> {
    cluster
        .apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}\n"))
        .map(drop)
}

/// Ids of the cluster's nodes, by name of their pod, once all of them are known.
///
/// # Errors
/// When `replicas` are not known in a minute.
pub fn node_ids(cluster: &Cluster, replicas: usize) -> Result<Vec<String>> {
    wait_for(Duration::from_mins(1), "PolykeyNodes", || {
        let ids = cluster.kubectl(&[
            "get",
            "polykeynodes",
            "-n",
            NAMESPACE,
            "-o",
            "jsonpath={.items[*].status.nodeId}",
        ])?;
        let ids: Vec<String> = ids.split_whitespace().map(str::to_owned).collect();
        ensure!(ids.len() == replicas, "{} of {replicas}", ids.len());
        Ok(ids)
    })
}

/// The four lines by which a cluster's admin admits a laptop.
///
/// # Errors
/// When the API server refuses.
pub fn admit(cluster: &Cluster, name: &str, laptop: &Laptop, namespaces: &[&str]) -> Result<()> {
    let namespaces = namespaces.join(", ");
    cluster
        .apply(&format!(
            "apiVersion: polykey.io/v1alpha1\nkind: PolykeyPeer\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec: {{nodeId: {}, namespaces: [{namespaces}]}}\n",
            laptop.node_id
        ))
        .map(drop)
}

/// Tells a laptop where the cluster's nodes are: one address for all.
///
/// # Errors
/// When the Service has no port, or the laptop does not take a peer.
pub fn introduce(cluster: &Cluster, laptop: &Laptop, nodes: &[String]) -> Result<String> {
    let port = cluster.kubectl(&[
        "get",
        "service",
        "polykey-quic",
        "-n",
        NAMESPACE,
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ])?;
    let address = format!("{}:{port}", cluster.node_ip()?);
    for node in nodes {
        laptop.polykey(&["peer", "add", node, &address])?;
    }
    Ok(address)
}

/// A PolykeyVault with its two fields.
#[must_use]
pub fn polykey_vault(namespace: &str, name: &str, vault: &str, service_account: &str) -> String {
    format!(
        "apiVersion: polykey.io/v1alpha1\nkind: PolykeyVault\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  vault: {vault}\n  serviceAccounts: [{service_account}]\n"
    )
}

/// A pod template: the one label and the one annotation, and a container that waits.
#[must_use]
pub fn template(
    app: &str,
    service_account: &str,
    vaults: &str,
    arguments: &[&str],
    restart: &str,
) -> String {
    format!(
        "metadata: {{labels: {{app: {app}, polykey.io/inject: \"true\"}}, annotations: {{polykey.io/vaults: \"{vaults}\"}}}}
spec:
  serviceAccountName: {service_account}
  restartPolicy: {restart}
  terminationGracePeriodSeconds: 2
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: app
    image: app:dev
    imagePullPolicy: IfNotPresent
    args: {arguments:?}
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"
    )
}

/// A Deployment or StatefulSet of [`template`].
#[must_use]
pub fn workload(kind: &str, namespace: &str, app: &str, replicas: usize, template: &str) -> String {
    let service = if kind == "StatefulSet" {
        format!("  serviceName: {app}\n")
    } else {
        String::new()
    };
    let template = template.replace('\n', "\n    ");
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {app}, namespace: {namespace}}}\nspec:\n  replicas: {replicas}\n{service}  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    {template}\n"
    )
}
