//! The ground under the end-to-end tests: what they take for granted of the Kubernetes that they are given, held here by itself, so that a machine where it is otherwise says so at once.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use polykey_tests::cluster::Cluster;
use polykey_tests::wait::{until, wait_for};
use std::time::Duration;

/// How long a workload may take to be there.
const SOON: Duration = Duration::from_mins(1);
/// In a ConfigMap, so that etcd has it in plain bytes.
const PLANTED: &str = "planted-6f1c9a";

#[test]
fn e2e_the_cluster_of_the_tests_is_a_whole_kubernetes() -> Result<()> {
    let cluster = Cluster::up()?;
    cluster.apply(WORKLOADS)?;
    pods_run_restricted_and_resolve_names(&cluster)?;
    claims_are_bound_to_volumes_with_the_group_of_the_pod(&cluster)?;
    jobs_end_although_their_sidecar_does_not(&cluster)?;
    tokens_are_for_the_audience_that_the_pod_names(&cluster)?;
    policies_change_what_is_admitted(&cluster)?;
    what_is_stored_is_found_in_etcd(&cluster)?;
    clients_work(&cluster)?;
    let everything = [
        "namespace/ground",
        "mutatingadmissionpolicybinding/ground",
        "mutatingadmissionpolicy/ground",
    ];
    cluster.kubectl(&[&["delete", "--wait=false"], &everything[..]].concat())?;
    cluster.down()
}

fn pods_run_restricted_and_resolve_names(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&[
        "-n",
        "ground",
        "rollout",
        "status",
        "deployment/web",
        "--timeout=60s",
    ])?;
    let addresses = wait_for(SOON, "both pods in DNS", || {
        let found = in_web(cluster, &["resolve", "web.ground.svc.cluster.local"])?;
        ensure!(found.lines().count() == 2, "{found:?}");
        Ok(found)
    })?;
    let pods = cluster.kubectl(&[
        "-n",
        "ground",
        "get",
        "pods",
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[*].status.podIP}",
    ])?;
    for pod in pods.split(' ') {
        ensure!(
            addresses.lines().any(|a| a == pod),
            "{pod} is not in {addresses:?}"
        );
    }
    in_web(cluster, &["resolve", "kubernetes.default"]).map(drop)
}

fn claims_are_bound_to_volumes_with_the_group_of_the_pod(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&[
        "-n",
        "ground",
        "rollout",
        "status",
        "statefulset/db",
        "--timeout=60s",
    ])?;
    cluster.kubectl(&[
        "-n",
        "ground",
        "exec",
        "db-0",
        "--",
        "/app",
        "try-write",
        "/data/x",
    ])?;
    ensure!(
        cluster.is_foreign() || cluster.volume_files().iter().any(|f| f.ends_with("x")),
        "the file is not in a volume on this machine"
    );
    Ok(())
}

fn jobs_end_although_their_sidecar_does_not(cluster: &Cluster) -> Result<()> {
    cluster
        .kubectl(&[
            "-n",
            "ground",
            "wait",
            "job/once",
            "--for=condition=Complete",
            "--timeout=60s",
        ])
        .map(drop)
}

fn tokens_are_for_the_audience_that_the_pod_names(cluster: &Cluster) -> Result<()> {
    let token = in_web(cluster, &["cat", "/token/token"])?;
    let review = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["ground"]},
    });
    for (audience, expected) in [("ground", "true"), ("another", "")] {
        let mut review = review.clone();
        review["spec"]["audiences"] = serde_json::json!([audience]);
        let path = tempfile::NamedTempFile::new()?;
        std::fs::write(path.path(), review.to_string())?;
        let file = path.path().to_string_lossy().into_owned();
        let found = cluster.kubectl(&[
            "create",
            "-f",
            &file,
            "-o",
            "jsonpath={.status.authenticated}",
        ])?;
        ensure!(found == expected, "for {audience}: {found:?}");
    }
    Ok(())
}

fn policies_change_what_is_admitted(cluster: &Cluster) -> Result<()> {
    // A new policy is in force some moments after it was accepted.
    wait_for(SOON, "the policy in force", || {
        cluster.kubectl(&[
            "-n",
            "ground",
            "delete",
            "configmap",
            "planted",
            "--ignore-not-found",
        ])?;
        cluster.kubectl(&[
            "-n",
            "ground",
            "create",
            "configmap",
            "planted",
            &format!("--from-literal=value={PLANTED}"),
        ])?;
        let label = cluster.kubectl(&[
            "-n",
            "ground",
            "get",
            "configmap",
            "planted",
            "-o",
            "jsonpath={.metadata.labels.ground}",
        ])?;
        ensure!(label == "touched", "{label:?}");
        Ok(())
    })
}

/// Searching a dump for what must not be there means something only if what is there is found.
fn what_is_stored_is_found_in_etcd(cluster: &Cluster) -> Result<()> {
    if cluster.is_foreign() {
        return Ok(());
    }
    let dump = cluster.etcd_dump()?;
    ensure!(
        dump.windows(PLANTED.len()).any(|w| w == PLANTED.as_bytes()),
        "a stored value is not found in {} bytes",
        dump.len()
    );
    Ok(())
}

fn clients_work(cluster: &Cluster) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let nodes: Api<Node> = Api::all(cluster.client().await?);
        let found = until(SOON, "a node", async || {
            nodes.list(&ListParams::default()).await.ok()?.items.pop()
        })
        .await?;
        let name = found.metadata.name.context("a node has a name")?;
        ensure!(!cluster.node_ip()?.is_empty(), "{name} has no address");
        Ok(())
    })
}

fn in_web(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    cluster.kubectl(
        &[
            &["-n", "ground", "exec", "deployment/web", "--", "/app"],
            arguments,
        ]
        .concat(),
    )
}

const WORKLOADS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ground, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: ground}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: app:dev
        imagePullPolicy: IfNotPresent
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
        volumeMounts: [{name: token, mountPath: /token}, {name: memory, mountPath: /memory}]
      volumes:
      - {name: memory, emptyDir: {medium: Memory}}
      - name: token
        projected: {sources: [{serviceAccountToken: {audience: ground, expirationSeconds: 600, path: token}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ground}
spec: {clusterIP: None, selector: {app: web}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: ground}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      securityContext: {runAsNonRoot: true, fsGroup: 4242, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: app:dev
        imagePullPolicy: IfNotPresent
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: ground}
spec:
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 1
      initContainers:
      - name: sidecar
        restartPolicy: Always
        image: app:dev
        imagePullPolicy: IfNotPresent
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      containers:
      - name: app
        image: app:dev
        imagePullPolicy: IfNotPresent
        args: [sha256, /app]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: ground}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ground}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: 'Object{metadata: Object.metadata{labels: {"ground": "touched"}}}'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: ground}
spec: {policyName: ground}
"#;
