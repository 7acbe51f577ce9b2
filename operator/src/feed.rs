//! All objects of one kind, kept in step with the API server: a list in pages, then a watch, forever.
//!
//! Unlike a reflector it knows the *list's* resourceVersion and every bookmark, so the warden can say how new its whole state is, and it lists again on request from
//! etcd and never from a cache. It keeps only what `trim` leaves of an object.

use futures::{StreamExt, pin_mut};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Objects a page of a list: what kubectl uses; 500 PolykeyVaults are about 1 MiB.
const PAGE: u32 = 500;
/// How long one watch may last, in seconds; then it is reopened where it ended.
const WATCH_SECONDS: u32 = 290;
/// Silence after which a watch counts as dead: its own end and a margin. The API server sends bookmarks about once a minute.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);
/// First wait after a failure; doubled each time.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait after a failure: an API server that returns is noticed within this.
const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// Namespace and name of an object.
pub type Key = (String, String);

/// What a feed knows now.
#[derive(Clone, Debug)]
pub struct State<K> {
    /// The objects.
    pub objects: BTreeMap<Key, Arc<K>>,
    /// The newest resourceVersion of the whole list.
    pub revision: String,
    /// Lists read to their end since the start. Zero: nothing is known yet.
    pub lists: u64,
    /// The watch is open.
    pub live: bool,
}

/// A handle on the objects of one kind.
pub struct Feed<K> {
    state: watch::Receiver<State<K>>,
    relist: Arc<Notify>,
}

impl<K> Clone for Feed<K> {
    fn clone(&self) -> Self {
        Feed {
            state: self.state.clone(),
            relist: self.relist.clone(),
        }
    }
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + PartialEq
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// Starts following the objects of `api`. `trim` drops what nobody reads, before an object is kept.
    #[must_use]
    pub fn start(api: Api<K>, trim: fn(&mut K)) -> Feed<K> {
        let empty = State {
            objects: BTreeMap::new(),
            revision: "0".into(),
            lists: 0,
            live: false,
        };
        let (sender, state) = watch::channel(empty);
        let relist = Arc::new(Notify::new());
        tokio::spawn(
            Follower {
                api,
                trim,
                sender,
                relist: relist.clone(),
            }
            .run(),
        );
        Feed { state, relist }
    }

    /// What is known now. Do not hold it across an await.
    #[must_use]
    pub fn now(&self) -> watch::Ref<'_, State<K>> {
        self.state.borrow()
    }

    /// What is known now, and from here on only later changes wake [`Feed::changed`].
    pub fn latest(&mut self) -> watch::Ref<'_, State<K>> {
        self.state.borrow_and_update()
    }

    /// Waits for a change of objects, revision or liveness.
    pub async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            // The follower never ends by itself: only at the end of the program.
            futures::future::pending::<()>().await;
        }
    }

    /// Asks for a list from etcd and waits until it is there.
    pub async fn list_again(&mut self) {
        let before = self.now().lists;
        self.relist.notify_one();
        while self.latest().lists <= before {
            self.changed().await;
        }
    }
}

/// How a step ended.
enum Ended {
    /// The list is complete.
    Listed,
    /// The watch came to its time: open another where it ended.
    Reopen,
    /// Somebody asked for a list.
    Asked,
    /// The watch broke or its revision is no more.
    Broken,
}

struct Follower<K> {
    api: Api<K>,
    trim: fn(&mut K),
    sender: watch::Sender<State<K>>,
    relist: Arc<Notify>,
}

impl<K> Follower<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + Debug
        + PartialEq
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    async fn run(self) {
        let mut wait = BACKOFF_MIN;
        let mut listed = false;
        let mut failure = None;
        loop {
            let step = if listed {
                self.follow(&mut wait).await
            } else {
                self.list().await.map(|()| Ended::Listed)
            };
            // Whatever broke, the next thing is a list from etcd: a watch that is taken up at the old revision would wait for ever, and in silence, on a
            // server whose history went back.
            listed = matches!(step, Ok(Ended::Listed | Ended::Reopen));
            match step {
                Ok(Ended::Listed) => failure = None,
                Ok(Ended::Reopen | Ended::Asked) => {}
                Ok(Ended::Broken) => self.rest(&mut wait).await,
                Err(error) => {
                    let text = error.to_string();
                    if failure.as_ref() != Some(&text) {
                        tracing::warn!(kind = %K::kind(&()), error = text, "the API server does not answer as it should; trying on");
                    }
                    failure = Some(text);
                    self.rest(&mut wait).await;
                }
            }
        }
    }

    /// Says that the watch is down, and waits longer each time.
    async fn rest(&self, wait: &mut Duration) {
        self.sender
            .send_if_modified(|state| std::mem::replace(&mut state.live, false));
        tokio::select! {
            () = tokio::time::sleep(*wait) => {}
            () = self.relist.notified() => {}
        }
        *wait = (*wait * 2).min(BACKOFF_MAX);
    }

    /// Reads the whole list with no resourceVersion, which the API server answers as etcd is now.
    async fn list(&self) -> Result<(), kube::Error> {
        let mut objects = BTreeMap::new();
        let mut params = ListParams::default().limit(PAGE);
        let revision = loop {
            let page = self.api.list(&params).await?;
            objects.extend(page.items.into_iter().map(|o| self.keep(o)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = ListParams::default().limit(PAGE).continue_token(&token),
                None => break page.metadata.resource_version.unwrap_or_default(),
            }
        };
        self.sender.send_modify(|state| {
            state.objects = objects;
            state.revision = revision;
            state.lists += 1;
        });
        Ok(())
    }

    async fn follow(&self, wait: &mut Duration) -> Result<Ended, kube::Error> {
        let revision = self.sender.borrow().revision.clone();
        let params = WatchParams {
            timeout: Some(WATCH_SECONDS),
            bookmarks: true,
            ..WatchParams::default()
        };
        let opened = Instant::now();
        let stream = self.api.watch(&params, &revision).await?;
        pin_mut!(stream);
        self.sender
            .send_if_modified(|state| !std::mem::replace(&mut state.live, true));
        loop {
            let event = tokio::select! {
                event = tokio::time::timeout(SILENCE, stream.next()) => event,
                () = self.relist.notified() => return Ok(Ended::Asked),
            };
            let Ok(event) = event else {
                return Ok(Ended::Broken);
            };
            let Some(event) = event else {
                return Ok(ended(opened.elapsed()));
            };
            let event = event?;
            *wait = BACKOFF_MIN;
            // A server whose history went back (etcd restored) is behind what it told before.
            if revision_of(&event).is_some_and(|revision| self.is_behind(&revision)) {
                return Ok(Ended::Broken);
            }
            match event {
                WatchEvent::Added(o) | WatchEvent::Modified(o) => self.apply(o),
                WatchEvent::Deleted(o) => self.delete(&o),
                WatchEvent::Bookmark(b) => self.reached(b.metadata.resource_version),
                WatchEvent::Error(status) if status.code == 410 => return Ok(Ended::Broken),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
    }

    fn keep(&self, mut object: K) -> (Key, Arc<K>) {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        object.managed_fields_mut().clear();
        (self.trim)(&mut object);
        (key, Arc::new(object))
    }

    fn apply(&self, object: K) {
        let revision = object.resource_version();
        let (key, object) = self.keep(object);
        self.sender.send_if_modified(|state| {
            advance(&mut state.revision, revision);
            let same = state
                .objects
                .get(&key)
                .is_some_and(|known| *known == object);
            if !same {
                state.objects.insert(key, object);
            }
            !same
        });
    }

    fn delete(&self, object: &K) {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        self.sender.send_if_modified(|state| {
            advance(&mut state.revision, object.resource_version());
            state.objects.remove(&key).is_some()
        });
    }

    fn is_behind(&self, revision: &str) -> bool {
        compare(revision, &self.sender.borrow().revision) == Ordering::Less
    }

    /// Nothing changed up to here: worth telling, since it confirms the state.
    fn reached(&self, revision: String) {
        self.sender
            .send_modify(|state| advance(&mut state.revision, Some(revision)));
    }
}

/// A server ends a watch at the time that was asked for; an earlier end is a broken connection, which looks the same.
fn ended(after: Duration) -> Ended {
    if after + Duration::from_secs(1) >= Duration::from_secs(u64::from(WATCH_SECONDS)) {
        Ended::Reopen
    } else {
        Ended::Broken
    }
}

fn revision_of<K: Resource>(event: &WatchEvent<K>) -> Option<String> {
    match event {
        WatchEvent::Added(o) | WatchEvent::Modified(o) | WatchEvent::Deleted(o) => {
            o.resource_version()
        }
        WatchEvent::Bookmark(b) => Some(b.metadata.resource_version.clone()),
        WatchEvent::Error(_) => None,
    }
}

fn advance(have: &mut String, got: Option<String>) {
    if let Some(got) = got.filter(|got| compare(got, have) == Ordering::Greater) {
        *have = got;
    }
}

/// Compares two resourceVersions of one resource: decimal numbers of any length (as apimachinery's `CompareResourceVersion`).
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_compare_as_numbers_of_any_length() {
        assert_eq!(compare("99", "100"), Ordering::Less);
        assert_eq!(compare("100", "0100"), Ordering::Equal);
        assert_eq!(
            compare("18446744073709551617", "18446744073709551616"),
            Ordering::Greater
        );
        let mut have = "100".to_owned();
        advance(&mut have, Some("99".into()));
        assert_eq!(have, "100");
        advance(&mut have, Some("101".into()));
        assert_eq!(have, "101");
        advance(&mut have, None);
        assert_eq!(have, "101");
    }
}
