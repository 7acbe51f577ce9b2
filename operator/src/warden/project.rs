//! From the objects of the cluster to the access set of this node. Pure: objects in, set out; the same objects in any order give the same bytes.
//!
//! An object that cannot be served as a whole makes no rule at all: a field that is not understood may be a restriction. So do objects that are being deleted.

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault, PolykeyVaultSpec};
use kube::{Resource, ResourceExt};
use polykey_client::access::{AccessSet, Delivery, Peer, Purpose, Rule, Sibling};
use polykey_core::ids::{CommitId, IdError, NodeId, VaultId};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Port of a node's QUIC endpoint in its pod.
pub const QUIC_PORT: u16 = 1314;

/// Which node this is.
#[derive(Clone, Debug)]
pub struct Own {
    /// UID of the kube-system namespace.
    pub cluster_uid: String,
    /// Namespace of the installation: the only one whose PolykeyPeers count.
    pub namespace: String,
    /// Name of this pod, and so of its PolykeyNode.
    pub pod_name: String,
    /// Name of the headless Service.
    pub peers_domain: String,
}

impl Own {
    /// `host:port` of a replica, by the headless name that it has while it is not ready too.
    #[must_use]
    pub fn address(&self, pod_name: &str, port: u16) -> String {
        format!("{pod_name}.{}:{port}", self.peers_domain)
    }
}

/// The newest revision of each resource that rules come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Of PolykeyVaults.
    pub vaults: String,
    /// Of PolykeyPeers.
    pub peers: String,
}

/// Makes the access set.
pub fn project<'a>(
    vaults: impl IntoIterator<Item = &'a PolykeyVault>,
    peers: impl IntoIterator<Item = &'a PolykeyPeer>,
    nodes: impl IntoIterator<Item = &'a PolykeyNode>,
    own: &Own,
    revision: &Revision,
) -> AccessSet {
    AccessSet {
        source: format!("k8s:{}", own.cluster_uid),
        revision: BTreeMap::from([
            ("polykeyvaults".to_owned(), revision.vaults.clone()),
            ("polykeypeers".to_owned(), revision.peers.clone()),
        ]),
        set: String::new(),
        rules: vaults.into_iter().filter_map(rule).collect(),
        peers: peers.into_iter().filter_map(|p| peer(p, own)).collect(),
        siblings: nodes.into_iter().filter_map(|n| sibling(n, own)).collect(),
        restored: false,
    }
    .sealed()
}

/// What makes a PolykeyVault impossible to serve by this version, if anything: one sentence.
#[must_use]
pub fn unservable(spec: &PolykeyVaultSpec) -> Option<String> {
    let fields = spec.unsupported();
    if !fields.is_empty() {
        let (names, verb) = (
            fields.join(", "),
            if fields.len() == 1 { "is" } else { "are" },
        );
        return Some(format!(
            "{names} {verb} not supported by this version; nothing is served, since ignoring a field could lift a restriction. Remove it, or upgrade Polykey."
        ));
    }
    ids(spec).err().map(|e| format!("{e}. Nothing is served."))
}

struct Ids {
    vault: VaultId,
    version: Option<CommitId>,
    signers: Vec<NodeId>,
}

/// The schema checks the alphabet and the length of an id; whether it stands for 32 bytes is known only here.
fn ids(spec: &PolykeyVaultSpec) -> Result<Ids, IdError> {
    Ok(Ids {
        vault: spec.vault.parse()?,
        version: spec
            .version
            .as_deref()
            .map(CommitId::from_str)
            .transpose()?,
        signers: spec
            .signers
            .iter()
            .flatten()
            .map(|s| s.parse())
            .collect::<Result<_, _>>()?,
    })
}

/// The id of the rule that a PolykeyVault makes: a new generation is a new rule.
#[must_use]
pub fn rule_id(vault: &PolykeyVault) -> String {
    let meta = vault.meta();
    let (namespace, name) = (
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default(),
    );
    format!(
        "{namespace}/{name}#{}@{}",
        meta.uid.as_deref().unwrap_or_default(),
        meta.generation.unwrap_or_default()
    )
}

fn rule(object: &PolykeyVault) -> Option<Rule> {
    let spec = &object.spec;
    if leaving(object) || unservable(spec).is_some() {
        return None;
    }
    let ids = ids(spec).ok()?;
    let namespace = object.namespace()?;
    Some(Rule {
        id: rule_id(object),
        name: object.name_any(),
        vault: ids.vault,
        subjects: sorted(
            spec.service_accounts
                .iter()
                .map(|account| format!("{namespace}:{account}"))
                .collect(),
        ),
        namespace,
        paths: Vec::new(),
        version: ids.version,
        signers: sorted(ids.signers),
        suspend: spec.suspend.unwrap_or(false),
        purpose: Purpose::Mount,
        delivery: Delivery::default(),
    })
}

fn peer(object: &PolykeyPeer, own: &Own) -> Option<Peer> {
    let spec = &object.spec;
    if leaving(object)
        || object.namespace().as_deref() != Some(&own.namespace)
        || !spec.unknown.is_empty()
    {
        return None;
    }
    let vaults = spec.vaults.as_ref().map(|vaults| {
        vaults
            .iter()
            .map(|v| v.parse())
            .collect::<Result<Vec<VaultId>, _>>()
    });
    Some(Peer {
        node: spec.node_id.parse().ok()?,
        addresses: sorted(
            spec.addresses
                .iter()
                .flatten()
                .map(|a| a.0.clone())
                .collect(),
        ),
        namespaces: sorted(spec.namespaces.clone().unwrap_or_default()),
        vaults: vaults.transpose().ok()?.map(sorted),
        // A time before 1970 is in the past all the same.
        expires: spec
            .expires
            .as_ref()
            .map(|t| u64::try_from(t.0.as_second()).unwrap_or(0)),
    })
}

fn sibling(object: &PolykeyNode, own: &Own) -> Option<Sibling> {
    let name = object.name_any();
    if leaving(object)
        || name == own.pod_name
        || object.namespace().as_deref() != Some(&own.namespace)
    {
        return None;
    }
    let node = object.status.as_ref()?.node_id.parse().ok()?;
    Some(Sibling {
        node,
        addresses: vec![own.address(&name, QUIC_PORT)],
    })
}

fn leaving<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
