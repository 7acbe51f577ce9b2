//! The warden: the second container of a node pod. It puts the cluster's access rules into the node beside it, over their Unix socket, and reports that node in
//! its own PolykeyNode.
//!
//! It writes nothing else anywhere, and there is one a node, so there is no leader and nothing to fence. A broken-in operator can open no vault: rules come from
//! the API server straight to here.

pub mod node_status;
pub mod project;
mod push;
mod report;

use crate::crd::{PolykeyNode, PolykeyNodeStatus, PolykeyPeer, PolykeyVault};
use crate::feed::Feed;
use crate::settings::WardenSettings;
use kube::{Api, Client, Resource};
use project::Own;

/// Why the warden cannot run.
#[derive(Debug, thiserror::Error)]
pub enum WardenError {
    /// No API server is configured.
    #[error("cannot find the API server")]
    Client(#[source] Box<kube::Error>),
    /// The signal handler cannot be set.
    #[error("cannot listen for SIGTERM")]
    Signal(#[source] std::io::Error),
}

/// Runs until SIGTERM.
pub async fn run(settings: WardenSettings) -> Result<(), WardenError> {
    let client = Client::try_default()
        .await
        .map_err(|e| WardenError::Client(Box::new(e)))?;
    let place = &settings.place;
    let own = Own {
        cluster_uid: place.cluster_uid.clone(),
        namespace: place.pod_namespace.clone(),
        pod_name: place.pod_name.clone(),
        peers_domain: place.peers_domain.clone(),
    };
    let vaults = Feed::start(Api::<PolykeyVault>::all(client.clone()), trim_vault);
    let peers = Feed::start(
        Api::<PolykeyPeer>::namespaced(client.clone(), &own.namespace),
        trim_peer,
    );
    let nodes_api = Api::<PolykeyNode>::namespaced(client, &own.namespace);
    let nodes = Feed::start(nodes_api.clone(), trim_node);
    let (rules, applied) = push::Pusher::new(
        settings.socket.clone(),
        own.clone(),
        vaults,
        peers,
        nodes.clone(),
    );
    let reporter = report::Reporter::new(
        settings.socket,
        own,
        place.pod_uid.clone(),
        nodes_api,
        applied,
    );
    tokio::select! {
        () = rules.run() => Ok(()),
        () = reporter.run(nodes) => Ok(()),
        ended = crate::signal::terminated() => ended.map_err(WardenError::Signal),
    }
}

/// Only spec and identity make a rule; all else would wake the warden for nothing and fill its memory.
fn trim_vault(object: &mut PolykeyVault) {
    trim_meta(object);
    object.status = None;
}

fn trim_peer(object: &mut PolykeyPeer) {
    trim_meta(object);
    object.status = None;
}

/// Only the id of a sibling makes an address to dial; its counts and conditions change all the time.
fn trim_node(object: &mut PolykeyNode) {
    trim_meta(object);
    if let Some(status) = &mut object.status {
        let node_id = std::mem::take(&mut status.node_id);
        *status = PolykeyNodeStatus {
            node_id,
            ..PolykeyNodeStatus::default()
        };
    }
}

fn trim_meta<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.annotations = None;
    meta.labels = None;
    meta.owner_references = None;
    meta.resource_version = None;
}
