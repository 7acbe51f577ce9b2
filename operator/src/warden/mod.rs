//! The warden: the companion of each node. It watches who may read what and puts the whole of it into its own node, and it writes what its node reports into the one PolykeyNode that is its own.
//!
//! It never decides what may be read: the node does, from what it is given here.

mod project;
mod report;

pub use project::{project, rule_id};
pub use report::{report, status_of};

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault};
use crate::feed::Feed;
use crate::settings::WardenSettings;
use anyhow::Context;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use polykey_client::access::{AccessReply, AccessSet, MAX_ACCESS_BODY};
use polykey_client::api::Status;
use polykey_client::error::{ApiError, Code};
use polykey_client::unix;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

/// Changes that come together are sent together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// At most five sets a second.
const PAUSE: Duration = Duration::from_millis(200);
/// A set that did not change is sent again this often: the node's age of its rules is the age of this.
const CONFIRM: Duration = Duration::from_secs(15);
/// After a failure.
const RETRY: Duration = Duration::from_millis(500);
/// How often the node is asked how it is.
const REPORT: Duration = Duration::from_secs(1);
/// Field manager of what the warden writes.
const MANAGER: &str = "polykey-warden";

/// Everything that the warden follows.
struct Feeds {
    vaults: Feed<PolykeyVault>,
    peers: Feed<PolykeyPeer>,
    nodes: Feed<PolykeyNode>,
    changed: Arc<Notify>,
}

/// Runs until SIGTERM.
///
/// # Errors
/// When the cluster's API cannot be used at all.
pub async fn run(settings: WardenSettings) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot use the API server")?;
    let namespace = &settings.place.pod_namespace;
    let changed = Arc::new(Notify::new());
    let nodes = Api::<PolykeyNode>::namespaced(client.clone(), namespace);
    let feeds = Feeds {
        vaults: Feed::start(Api::all(client.clone()), changed.clone()),
        peers: Feed::start(Api::namespaced(client.clone(), namespace), changed.clone()),
        nodes: Feed::start(nodes.clone(), changed.clone()),
        changed,
    };
    feeds.vaults.ready().await;
    feeds.peers.ready().await;
    feeds.nodes.ready().await;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = keep_rules(&settings, &feeds) => {}
        () = keep_report(&settings, &feeds, &nodes) => {}
        _ = terminate.recv() => info!("stopped by SIGTERM"),
    }
    Ok(())
}

/// Puts the access set into the node whenever it changes, and now and then when it does not.
async fn keep_rules(settings: &WardenSettings, feeds: &Feeds) {
    let mut confirmed = false;
    let mut sent = String::new();
    loop {
        if !confirmed {
            confirmed = confirm(feeds).await;
        }
        let set = observed(settings, feeds);
        match put(settings, &set).await {
            Ok(reply) => {
                if set.set != sent {
                    info!(rules = set.rules.len(), peers = set.peers.len(), set = &set.set[..12], changed = reply.changed, "the node has the access rules");
                    sent.clone_from(&set.set);
                }
                tokio::time::sleep(PAUSE).await;
                tokio::select! {
                    () = feeds.changed.notified() => tokio::time::sleep(DEBOUNCE).await,
                    () = tokio::time::sleep(CONFIRM) => {}
                }
            }
            // The node knows of a later state than this one: perhaps an old list, perhaps etcd came back from a backup.
            Err(e) if e.code == Code::Conflict => went_back(settings, feeds).await,
            Err(e) => {
                warn!(error = %e, "the node does not take the access rules; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn confirm(feeds: &Feeds) -> bool {
    let asked = tokio::try_join!(feeds.vaults.confirm(), feeds.peers.confirm());
    if let Err(e) = &asked {
        warn!(error = %e, "the API server does not say how far its objects have come; trying again");
        tokio::time::sleep(RETRY).await;
    }
    asked.is_ok()
}

/// Asks the API server once more. If its history really went back, the node is told so.
async fn went_back(settings: &WardenSettings, feeds: &Feeds) {
    if !confirm(feeds).await {
        return;
    }
    let mut set = observed(settings, feeds);
    match put(settings, &set).await {
        Err(e) if e.code == Code::Conflict => {
            warn!("the API server's history went back, as after a restored backup: the node is told to accept it");
            set.restored = true;
            if let Err(e) = put(settings, &set).await {
                warn!(error = %e, "the node does not take the restored rules");
                tokio::time::sleep(RETRY).await;
            }
        }
        _ => tokio::time::sleep(PAUSE).await,
    }
}

fn observed(settings: &WardenSettings, feeds: &Feeds) -> AccessSet {
    let (vaults, peers, nodes) = (feeds.vaults.store.state(), feeds.peers.store.state(), feeds.nodes.store.state());
    let mut set = project(&vaults, &peers, &nodes, &settings.place);
    set.revision = BTreeMap::from([("polykeyvaults".to_owned(), feeds.vaults.newest().to_string()), ("polykeypeers".to_owned(), feeds.peers.newest().to_string())]);
    set
}

async fn put(settings: &WardenSettings, set: &AccessSet) -> Result<AccessReply, ApiError> {
    let size = serde_json::to_vec(set).map_or(usize::MAX, |b| b.len());
    if size > MAX_ACCESS_BODY {
        return Err(ApiError::new(Code::TooLarge, format!("the access rules of this cluster are {size} bytes; the most is {MAX_ACCESS_BODY}")));
    }
    let mut connection = unix::connect(&settings.socket).await?;
    connection.call("PUT".parse().map_err(|_| ApiError::new(Code::Failed, "no method"))?, "/v1/access", set).await
}

/// Keeps the PolykeyNode of this pod as the node reports itself.
async fn keep_report(settings: &WardenSettings, feeds: &Feeds, nodes: &Api<PolykeyNode>) {
    let mut written = None;
    loop {
        let wait = Instant::now() + REPORT;
        match node_status(settings).await {
            Ok(status) => {
                let own = feeds.nodes.store.state().into_iter().find(|n| n.metadata.name.as_deref() == Some(&settings.place.pod_name));
                let wanted = status_of(&status, own.as_deref().and_then(|n| n.status.as_ref()), &settings.place);
                if own.is_none() || written.as_ref() != Some(&wanted) {
                    match write(settings, nodes, &wanted, own.is_none()).await {
                        Ok(()) => written = Some(wanted),
                        Err(e) => warn!(error = %e, "cannot write the PolykeyNode of this pod"),
                    }
                }
            }
            Err(e) => warn!(error = %e, "the node does not say how it is"),
        }
        tokio::time::sleep_until(wait).await;
    }
}

async fn node_status(settings: &WardenSettings) -> Result<Status, ApiError> {
    unix::connect(&settings.socket).await?.get("/v1/status").await
}

async fn write(settings: &WardenSettings, nodes: &Api<PolykeyNode>, status: &crate::crd::PolykeyNodeStatus, absent: bool) -> kube::Result<()> {
    let name = &settings.place.pod_name;
    if absent {
        match nodes.create(&PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }, &report::empty(name)).await {
            Ok(_) => {}
            Err(kube::Error::Api(e)) if e.code == 409 => {}
            Err(e) => return Err(e),
        }
    }
    nodes.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(report(name, status))).await.map(drop)
}
