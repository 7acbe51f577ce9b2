//! Writes what was planned: status by server-side apply, at most so many a second, and the events of a transition.

use crate::controller::notes;
use crate::crd::{
    Condition, PolykeyNode, PolykeyPeer, PolykeyPeerStatus, PolykeyVault, PolykeyVaultStatus,
};
use crate::metrics::Metrics;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::{Event, Recorder};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Field manager of the controller.
const MANAGER: &str = "polykey-operator";
/// Time between two writes: at most 250 a second, above the 167 that 10,000 objects in a minute need; an API server on two cores takes about 180.
const SPACING: Duration = Duration::from_millis(4);
/// Writes under way at once.
const IN_FLIGHT: usize = 8;
/// Deadline of one write.
const DEADLINE: Duration = Duration::from_secs(15);

/// Why a status was not written. The next pass tries again.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error("{0}")]
    Refused(#[source] kube::Error),
    #[error("no answer in time")]
    Deadline,
}

/// One status to write.
pub enum Write {
    /// A PolykeyVault's.
    Vault(Arc<PolykeyVault>, Box<PolykeyVaultStatus>),
    /// A PolykeyPeer's.
    Peer(Arc<PolykeyPeer>, Box<PolykeyPeerStatus>),
    /// A PolykeyNode's conditions: the rest is its warden's.
    Node(Arc<PolykeyNode>, Vec<Condition>),
}

/// What the API server has after a write.
pub enum Written {
    /// The object with its new resourceVersion.
    Vault(Arc<PolykeyVault>),
    /// The same for a peer.
    Peer(Arc<PolykeyPeer>),
    /// The same for a node.
    Node(Arc<PolykeyNode>),
}

/// Writes to the API server.
pub struct Applier {
    client: Client,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    bucket: Mutex<Interval>,
}

impl Applier {
    /// A writer with a full bucket.
    #[must_use]
    pub fn new(client: Client, recorder: Recorder, metrics: Arc<Metrics>) -> Applier {
        let mut bucket = interval(SPACING);
        bucket.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Applier {
            client,
            recorder,
            metrics,
            bucket: Mutex::new(bucket),
        }
    }

    /// Writes all of them and says what is there now, for those that were taken.
    pub async fn apply(&self, writes: Vec<Write>) -> Vec<Written> {
        futures::stream::iter(writes)
            .map(|write| self.one(write))
            .buffer_unordered(IN_FLIGHT)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    async fn one(&self, write: Write) -> Option<Written> {
        self.bucket.lock().await.tick().await;
        match write {
            Write::Vault(object, status) => {
                let taken = self.patch(&*object, json!(status)).await?;
                self.tell(&*object, notes::of_vault(object.status.as_ref(), &status))
                    .await;
                Some(Written::Vault(Arc::new(taken)))
            }
            Write::Peer(object, status) => self
                .patch(&*object, json!(status))
                .await
                .map(|o| Written::Peer(Arc::new(o))),
            Write::Node(object, conditions) => self
                .patch(&*object, json!({"conditions": conditions}))
                .await
                .map(|o| Written::Node(Arc::new(o))),
        }
    }

    async fn patch<K>(&self, object: &K, status: Value) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let api = Api::<K>::namespaced(self.client.clone(), &namespace);
        let body =
            json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": status});
        let params = PatchParams::apply(MANAGER).force();
        let patched = tokio::time::timeout(
            DEADLINE,
            api.patch_status(&name, &params, &Patch::Apply(&body)),
        )
        .await;
        let result = patched
            .map_err(|_| ApplyError::Deadline)
            .and_then(|r| r.map_err(ApplyError::Refused));
        match result {
            Ok(mut taken) => {
                self.metrics.status_writes.with_label_values(&["ok"]).inc();
                taken.managed_fields_mut().clear();
                Some(taken)
            }
            // Deleted a moment ago: there is nothing to say any more.
            Err(ApplyError::Refused(kube::Error::Api(status))) if status.is_not_found() => None,
            Err(error) => {
                self.metrics
                    .status_writes
                    .with_label_values(&["error"])
                    .inc();
                tracing::warn!(kind = %K::kind(&()), namespace, name, error = error.to_string(), "status not written; it is tried again");
                None
            }
        }
    }

    /// Publishes events. They are a courtesy: a failure is logged and nothing waits for it.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, events: Vec<Event>) {
        let regarding: ObjectReference = object.object_ref(&());
        for event in events {
            let published =
                tokio::time::timeout(DEADLINE, self.recorder.publish(&event, &regarding)).await;
            if let Ok(Err(error)) = published {
                tracing::warn!(
                    reason = event.reason,
                    error = error.to_string(),
                    "event not published"
                );
            }
        }
    }
}
