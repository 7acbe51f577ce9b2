//! The controller: it reads objects and nodes, and writes status. It cannot change a spec, and no vault opens for it.

mod nodes;
pub mod plan;

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault};
use crate::feed::Feed;
use crate::metrics::Metrics;
use crate::settings::OperatorSettings;
use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource, ResourceExt};
use nodes::Reports;
use plan::{Replica, node_conditions, peer_status, vault_status};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};

/// Changes that come together make one round.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// At least this long between two rounds.
const PAUSE: Duration = Duration::from_millis(900);
/// A round without a change: repairs what somebody else overwrote.
const RESYNC: Duration = Duration::from_secs(600);
/// Field manager of status.
const MANAGER: &str = "polykey-operator";
/// Bytes of the key that unlocks the nodes.
const UNLOCK_BYTES: usize = 32;

struct Controller {
    client: Client,
    settings: Arc<OperatorSettings>,
    vaults: Feed<PolykeyVault>,
    peers: Feed<PolykeyPeer>,
    nodes: Feed<PolykeyNode>,
    reports: Reports,
    changed: Arc<Notify>,
    metrics: Arc<Metrics>,
    recorder: Recorder,
    /// Status that was written and is not in the cache yet, by kind and place.
    written: HashMap<String, serde_json::Value>,
}

/// Runs until SIGTERM.
///
/// # Errors
/// When the cluster's API cannot be used at all.
pub async fn run(settings: OperatorSettings) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("cannot use the API server")?;
    let metrics = Metrics::new();
    crate::metrics::serve(settings.probe_listen, metrics.clone()).await?;
    let settings = Arc::new(settings);
    if settings.make_unlock_secret {
        make_unlock_secret(&client, &settings).await?;
    }
    let changed = Arc::new(Notify::new());
    let namespace = &settings.place.pod_namespace;
    let mut controller = Controller {
        vaults: Feed::start(Api::all(client.clone()), changed.clone()),
        peers: Feed::start(Api::namespaced(client.clone(), namespace), changed.clone()),
        nodes: Feed::start(Api::namespaced(client.clone(), namespace), changed.clone()),
        reports: Reports::new(changed.clone()),
        recorder: Recorder::new(client.clone(), Reporter { controller: "polykey-operator".into(), instance: Some(settings.place.pod_name.clone()) }),
        written: HashMap::new(),
        client,
        settings,
        changed,
        metrics,
    };
    controller.vaults.ready().await;
    controller.peers.ready().await;
    controller.nodes.ready().await;
    controller.metrics.set_ready();
    tokio::spawn(nodes::follow(controller.settings.clone(), controller.nodes.store.clone(), controller.reports.clone()));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        controller.round().await;
        tokio::select! {
            () = controller.wait() => {}
            _ = terminate.recv() => break,
        }
    }
    info!("stopped by SIGTERM");
    Ok(())
}

/// Makes the key file of the nodes once. It is never read: a Secret that is there already is right.
async fn make_unlock_secret(client: &Client, settings: &OperatorSettings) -> anyhow::Result<()> {
    let mut key = vec![0; UNLOCK_BYTES];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let labels = BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), "polykey".to_owned()), ("app.kubernetes.io/instance".to_owned(), settings.place.release.clone())]);
    let secret = Secret {
        metadata: ObjectMeta { name: Some(format!("{}-unlock", settings.place.release)), labels: Some(labels), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("key".to_owned(), ByteString(key))])),
        immutable: Some(true),
        ..Secret::default()
    };
    let secrets = Api::<Secret>::namespaced(client.clone(), &settings.place.pod_namespace);
    match secrets.create(&PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }, &secret).await {
        Ok(_) => info!("made the Secret that unlocks the nodes"),
        Err(kube::Error::Api(e)) if e.code == 409 => {}
        Err(e) => return Err(e).context("cannot make the Secret that unlocks the nodes"),
    }
    Ok(())
}

impl Controller {
    async fn wait(&self) {
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            () = self.changed.notified() => tokio::time::sleep(DEBOUNCE).await,
            () = tokio::time::sleep(RESYNC) => {}
        }
    }

    /// Observe, plan, apply.
    async fn round(&mut self) {
        let (replicas, now) = (self.reports.snapshot(), Timestamp::now());
        let vaults = self.vaults.store.state();
        let mut planned = Vec::with_capacity(vaults.len());
        for vault in &vaults {
            let status = vault_status(vault, &replicas, now);
            self.announce(vault, &status).await;
            let old = vault.status.as_ref().map(|s| json!(s));
            let namespace = vault.namespace().unwrap_or_default();
            self.apply(Api::<PolykeyVault>::namespaced(self.client.clone(), &namespace), &vault.name_any(), old, json!(status)).await;
            planned.push(status);
        }
        self.metrics.vaults(&planned);
        let namespace = self.settings.place.pod_namespace.clone();
        for peer in self.peers.store.state() {
            let status = peer_status(&peer, &replicas, now);
            let old = peer.status.as_ref().map(|s| json!(s));
            self.apply(Api::<PolykeyPeer>::namespaced(self.client.clone(), &namespace), &peer.name_any(), old, json!(status)).await;
        }
        for node in self.nodes.store.state() {
            let Some(status) = &node.status else { continue };
            let name = node.name_any();
            let answers = replicas.get(&name).is_some_and(|r: &Replica| r.report.is_some());
            let conditions = node_conditions(answers, status.access_revision.as_deref(), &status.conditions, now);
            let old = Some(json!({"conditions": status.conditions}));
            self.apply(Api::<PolykeyNode>::namespaced(self.client.clone(), &namespace), &name, old, json!({"conditions": conditions})).await;
        }
    }

    /// Writes a status unless it is what the object has, or what was written last.
    async fn apply<K>(&mut self, api: Api<K>, name: &str, old: Option<serde_json::Value>, new: serde_json::Value)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
    {
        let key = format!("{}/{}", api.resource_url(), name);
        if old.as_ref() == Some(&new) {
            self.written.remove(&key);
            return;
        }
        if self.written.get(&key) == Some(&new) {
            return;
        }
        let body = json!({"apiVersion": "polykey.io/v1alpha1", "kind": K::kind(&()), "metadata": {"name": name}, "status": new});
        let result = api.patch_status(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&body)).await;
        self.metrics.status_write(result.is_ok());
        match result {
            Ok(_) => drop(self.written.insert(key, new)),
            // Deleted meanwhile: nothing to say any more.
            Err(kube::Error::Api(e)) if e.code == 404 => drop(self.written.remove(&key)),
            Err(e) => warn!(object = key, error = %e, "cannot write a status; trying again"),
        }
    }

    /// Events, on transitions alone.
    async fn announce(&self, vault: &PolykeyVault, new: &crate::crd::PolykeyVaultStatus) {
        let status = |s: &crate::crd::PolykeyVaultStatus, t: &str| crate::crd::status::find(&s.conditions, t).map(|c| (c.status, c.reason.clone(), c.message.clone()));
        let old = vault.status.clone().unwrap_or_default();
        let delivered = status(new, "Delivered").filter(|(s, r, _)| s.as_str() == "True" && r == "AllPodsCurrent");
        let before = status(&old, "Delivered").filter(|(s, r, _)| s.as_str() == "True" && r == "AllPodsCurrent");
        let fresh = delivered.is_some() && (before.is_none() || old.version != new.version);
        let lost = status(&old, "Authorized").is_some_and(|(s, ..)| s.as_str() == "True").then(|| status(new, "Authorized")).flatten().filter(|(s, ..)| s.as_str() == "False");
        let event = if let Some((_, reason, message)) = lost {
            Some((EventType::Warning, "AccessRevoked", format!("{reason}: {message}")))
        } else if fresh {
            Some((EventType::Normal, "VersionDelivered", format!("version {} is in {} pods", new.short_version.as_deref().unwrap_or_default(), new.pods.as_ref().and_then(|p| p.summary.as_deref()).unwrap_or_default())))
        } else {
            None
        };
        if let Some((type_, reason, note)) = event {
            let event = Event { type_, reason: reason.into(), note: Some(note.chars().take(1_000).collect()), action: "Deliver".into(), secondary: None };
            if let Err(e) = self.recorder.publish(&event, &vault.object_ref(&())).await {
                warn!(error = %e, "cannot write an event");
            }
        }
    }
}
