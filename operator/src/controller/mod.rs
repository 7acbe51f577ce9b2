//! The controller: watches specs and nodes, plans, and writes status. It opens no vault, writes no spec and reads no Secret.
//!
//! Observe, plan, apply: every pass reads what is known, asks the pure functions what each status should be, and writes those that differ, when they are due.

pub mod apply;
pub mod conditions;
pub mod consumers;
pub mod notes;
pub mod observe;
pub mod pace;
pub mod plan;
pub mod plan_others;
pub mod reasons;
mod turn;
pub mod unlock;

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault};
use crate::feed::Feed;
use crate::metrics::{self, Metrics, MetricsError};
use crate::settings::OperatorSettings;
use apply::Applier;
use consumers::Tables;
use kube::api::ListParams;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client, Resource};

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// No API server is configured.
    #[error("cannot find the API server")]
    Client(#[source] Box<kube::Error>),
    /// No metrics, no probes.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The probes' server ended.
    #[error("probes and metrics ended")]
    Probes(#[source] std::io::Error),
    /// The signal handler cannot be set.
    #[error("cannot listen for SIGTERM")]
    Signal(#[source] std::io::Error),
    /// No key for TLS.
    #[error("the system gives no random bytes")]
    Random(getrandom::Error),
}

/// Runs until SIGTERM.
pub async fn run(settings: OperatorSettings) -> Result<(), ControllerError> {
    let metrics = Metrics::new()?;
    let listener = metrics::listen(settings.probe_listen).await?;
    let probes = tokio::spawn(metrics::serve(listener, metrics.clone()));
    let client = Client::try_default()
        .await
        .map_err(|e| ControllerError::Client(Box::new(e)))?;
    let place = &settings.place;
    if settings.make_unlock_secret {
        tokio::spawn(unlock::ensure(
            client.clone(),
            place.pod_namespace.clone(),
            place.release.clone(),
        ));
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(ControllerError::Random)?;
    let reporter = Reporter {
        controller: "polykey-operator".into(),
        instance: Some(place.pod_name.clone()),
    };
    let recorder = Recorder::new(client.clone(), reporter);
    let controller = turn::Controller::new(
        turn::Feeds {
            vaults: Feed::start(Api::<PolykeyVault>::all(client.clone()), trim),
            peers: Feed::start(peers(&client, &place.pod_namespace).await, trim),
            nodes: Feed::start(
                Api::<PolykeyNode>::namespaced(client.clone(), &place.pod_namespace),
                trim,
            ),
        },
        Tables::new(settings.node_token_file.clone(), seed),
        Applier::new(client, recorder, metrics.clone()),
        metrics,
        place.clone(),
    );
    tokio::select! {
        () = controller.run() => Ok(()),
        ended = probes => match ended {
            Ok(Err(e)) => Err(ControllerError::Probes(e)),
            _ => Err(ControllerError::Probes(std::io::Error::other("the server task ended"))),
        },
        ended = crate::signal::terminated() => ended.map_err(ControllerError::Signal),
    }
}

/// PolykeyPeers of the whole cluster where the operator may see them, so that one in the wrong namespace is told so; else those of the installation.
async fn peers(client: &Client, namespace: &str) -> Api<PolykeyPeer> {
    let all = Api::<PolykeyPeer>::all(client.clone());
    match all.list(&ListParams::default().limit(1)).await {
        Ok(_) => all,
        Err(_) => Api::namespaced(client.clone(), namespace),
    }
}

/// What people attach to objects is not ours to keep in memory.
fn trim<K: Resource>(object: &mut K) {
    let meta = object.meta_mut();
    meta.annotations = None;
    meta.labels = None;
    meta.owner_references = None;
}
