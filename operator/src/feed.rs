//! Objects of one kind as the API server has them: a cache that follows its watch, and a signal when anything changed.

use futures::TryStreamExt;
use kube::api::ListParams;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector as reflect};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// A followed kind.
pub struct Feed<K: Resource<DynamicType = ()> + 'static>
where
    K::DynamicType: Hash + Eq,
{
    /// The objects, once [`Feed::ready`] has returned.
    pub store: Store<K>,
    api: Api<K>,
    newest: Arc<AtomicU64>,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Follows `api` in a task of its own until the process ends, and signals `changed` after each change.
    pub fn start(api: Api<K>, changed: Arc<Notify>) -> Feed<K> {
        let (store, writer) = reflector::store();
        let newest = Arc::new(AtomicU64::new(0));
        let seen = newest.clone();
        let stream = watcher(api.clone(), watcher::Config::default().page_size(500)).default_backoff().modify(|o| o.managed_fields_mut().clear());
        let follow = reflect(writer, stream).try_for_each(move |event| {
            if let Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) = &event {
                note(&seen, object.resource_version());
            }
            changed.notify_one();
            futures::future::ready(Ok(()))
        });
        tokio::spawn(async move {
            // The stream retries by itself and never ends with an error that a restart would mend.
            let ended = follow.await;
            tracing::error!(?ended, "a watch ended");
        });
        Feed { store, api, newest }
    }

    /// Returns when the first list is complete.
    pub async fn ready(&self) {
        self.store.wait_until_ready().await.ok();
    }

    /// The newest resourceVersion of this kind that was seen.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Asks the API server itself, not a cache of it, how far this kind has come.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn confirm(&self) -> kube::Result<()> {
        // Without a resourceVersion the answer is read by quorum.
        let list = self.api.list_metadata(&ListParams::default().limit(1)).await?;
        self.newest.store(0, Ordering::Relaxed);
        note(&self.newest, list.metadata.resource_version);
        Ok(())
    }
}

fn note(newest: &AtomicU64, version: Option<String>) {
    if let Some(version) = version.and_then(|v| v.parse().ok()) {
        newest.fetch_max(version, Ordering::Relaxed);
    }
}
