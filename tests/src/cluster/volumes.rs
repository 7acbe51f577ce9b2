//! Volumes for claims. There is no provisioner, so they are made beforehand; `local` ones, since of `hostPath` the kubelet does not set the group.

use super::NODE;
use anyhow::Result;
use std::fs;
use std::path::Path;

/// How many volumes there are for PVCs.
const VOLUMES: usize = 8;
/// Size of a volume, in words of Kubernetes. Nothing holds anyone to it.
const VOLUME_SIZE: &str = "1Gi";

/// Makes the folders below `dir` and gives the manifest of the class and the volumes.
pub fn make(dir: &Path) -> Result<String> {
    let mut yaml = String::from(
        "apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: \"true\"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
",
    );
    for n in 0..VOLUMES {
        let path = dir.join(n.to_string());
        fs::create_dir_all(&path)?;
        yaml.push_str(&volume(n, &path));
    }
    Ok(yaml)
}

fn volume(n: usize, path: &Path) -> String {
    format!(
        "---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: local-{n}}}
spec:
  capacity: {{storage: {VOLUME_SIZE}}}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  persistentVolumeReclaimPolicy: Retain
  local: {{path: {}}}
  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{NODE}]}}]}}]}}}}
",
        path.display()
    )
}
