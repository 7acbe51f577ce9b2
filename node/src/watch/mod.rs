//! Watches of workloads: who holds one open is told of every new version of what it may read, and of nothing else.
//!
//! A watch never reads history: what it gets is the head, or the version that its rule pins. What it gets is decided anew whenever the vault, the access set or the
//! time could change the answer, and always by `polykey_core::acl`.

pub mod consumers;
mod decision;
mod nodes;
mod outgoing;
mod stream;

pub use decision::state as rule_state;
pub use nodes::Nodes;

use crate::access::Access;
use crate::metrics::Metrics;
use crate::record::Record;
use crate::vaults::Vaults;
use crate::workload::{Identity, Workload, Workloads};
use bytes::Bytes;
use consumers::Consumers;
use futures::Stream;
use polykey_client::api::Ack;
use polykey_client::error::{ApiError, Code};
use polykey_core::ids::CommitId;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

/// Versions that a watch may say it holds: one for each name.
pub const MAX_HAVE: usize = polykey_client::watch::MAX_NAMES;
/// Open watches of one pod: the one in use, and some that the node has not noticed to be dead.
const MAX_PER_POD: usize = 8;
/// Frames that wait for a slow reader. With the one being made, a watch costs two parts of a version at most.
const WAITING_FRAMES: usize = 1;
/// How often the table of consumers is cleared of what is due.
const SWEEP: Duration = Duration::from_secs(5);

/// A watch that a believed workload asks for.
pub struct Opening {
    /// Who.
    pub workload: Workload,
    /// Its token, to ask about it again.
    pub token: Zeroizing<String>,
    /// Names of `PolykeyVaults` in its namespace.
    pub names: Vec<String>,
    /// Versions that it holds, each as the commits that it is.
    pub have: Vec<Vec<CommitId>>,
}

/// The open watches and what they need.
pub struct Watches {
    vaults: Arc<Vaults>,
    access: Arc<Access>,
    workloads: Option<Arc<Workloads>>,
    record: Arc<Record>,
    metrics: Arc<Metrics>,
    nodes: Nodes,
    consumers: Consumers,
    open: Mutex<Open>,
    count: AtomicUsize,
    goodbye: watch::Sender<Option<Duration>>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// By pod uid: number of the watch, and how to tell it something.
    by_pod: HashMap<String, Vec<(u64, mpsc::Sender<String>)>>,
}

impl Watches {
    /// None are open yet.
    #[must_use]
    pub fn new(
        vaults: Arc<Vaults>,
        access: Arc<Access>,
        workloads: Option<Arc<Workloads>>,
        record: Arc<Record>,
        metrics: Arc<Metrics>,
        nodes: Nodes,
    ) -> Arc<Watches> {
        let watches = Arc::new(Watches {
            vaults,
            access,
            workloads,
            record,
            metrics,
            nodes,
            consumers: Consumers::default(),
            open: Mutex::default(),
            count: AtomicUsize::new(0),
            goodbye: watch::Sender::new(None),
        });
        let swept = Arc::downgrade(&watches);
        tokio::spawn(async move {
            while let Some(watches) = swept.upgrade() {
                watches.consumers.sweep();
                drop(watches);
                tokio::time::sleep(SWEEP).await;
            }
        });
        watches
    }

    /// The table of who holds what.
    #[must_use]
    pub fn consumers(&self) -> &Consumers {
        &self.consumers
    }

    /// Opens a watch. Its frames come until it ends or they are dropped.
    pub fn open(self: &Arc<Self>, opening: Opening) -> Result<Frames, ApiError> {
        if self.access.current().is_none() {
            return Err(ApiError::new(
                Code::NoAccessRules,
                "this node has no access rules yet: its warden has not spoken",
            ));
        }
        if self.goodbye.borrow().is_some() {
            return Err(ApiError::new(Code::Unreachable, "this node is stopping"));
        }
        let (tell, told) = mpsc::channel(2);
        let place = self.register(&opening.workload.identity, tell)?;
        let (frames, receiver) = mpsc::channel(WAITING_FRAMES);
        tokio::spawn(stream::run(place, opening, frames, told));
        Ok(Frames {
            receiver,
            finally: None,
        })
    }

    fn register(
        self: &Arc<Self>,
        who: &Identity,
        tell: mpsc::Sender<String>,
    ) -> Result<Place, ApiError> {
        let mut open = self.opened();
        let number = open.next;
        open.next += 1;
        let of_pod = open.by_pod.entry(who.pod_uid.clone()).or_default();
        if of_pod.len() >= MAX_PER_POD {
            return Err(ApiError::new(
                Code::TooLarge,
                format!("this pod has {MAX_PER_POD} watches open, which is the most"),
            ));
        }
        of_pod.push((number, tell));
        drop(open);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Place {
            watches: self.clone(),
            pod_uid: who.pod_uid.clone(),
            number,
        })
    }

    fn offline(&self) -> bool {
        self.workloads.as_ref().is_some_and(|w| w.offline())
    }

    fn opened(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the open watches of a pod that another client uses its token.
    pub fn token_reused(&self, pod_uid: &str, message: &str) {
        for (_, tell) in self.opened().by_pod.get(pod_uid).into_iter().flatten() {
            // A watch that has not read the last word yet needs no second.
            tell.try_send(message.to_owned()).ok();
        }
    }

    /// A sidecar says what it holds.
    pub fn acknowledged(&self, who: &Identity, ack: &Ack) -> Result<(), ApiError> {
        let set = self.access.current();
        let rule = set
            .as_ref()
            .and_then(|s| s.mount(&who.namespace, &ack.name));
        let Some(rule) = rule else {
            return Err(ApiError::new(
                Code::NotFound,
                format!(
                    "there is no PolykeyVault {}/{} here",
                    who.namespace, ack.name
                ),
            ));
        };
        let now = unix_ms();
        if self.consumers.acknowledged(who, ack, now) {
            let committed = ack
                .version
                .and_then(|v| self.vaults.served(&rule.vault, Some(v)).ok())
                .map(|s| s.committed_ms);
            if let Some(committed) = committed {
                let took = Duration::from_millis(now.saturating_sub(committed));
                self.metrics.commit_to_ack(took);
            }
        }
        Ok(())
    }

    /// For streams that are no watches and end with them.
    #[must_use]
    pub fn goodbye(&self) -> Goodbye {
        Goodbye(self.goodbye.subscribe())
    }

    /// Says goodbye to every watch, each at a moment of its own within `spread`, and waits until all are over.
    pub async fn say_goodbye(&self, spread: Duration) {
        self.goodbye.send_replace(Some(spread));
        let all_over = async {
            while self.count.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(spread + Duration::from_secs(1), all_over)
            .await
            .ok();
    }
}

/// Told when the node stops.
pub struct Goodbye(watch::Receiver<Option<Duration>>);

impl Goodbye {
    /// Waits for it.
    pub async fn said(&mut self) {
        self.0.wait_for(Option::is_some).await.ok();
    }
}

/// One open watch's place among all; given back when dropped.
struct Place {
    watches: Arc<Watches>,
    pod_uid: String,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.watches.opened();
        if let Some(of_pod) = open.by_pod.get_mut(&self.pod_uid) {
            of_pod.retain(|(n, _)| *n != self.number);
            if of_pod.is_empty() {
                open.by_pod.remove(&self.pod_uid);
            }
        }
        drop(open);
        self.watches.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The frames of a watch. Dropping them ends it.
pub struct Frames {
    receiver: mpsc::Receiver<Bytes>,
    finally: Option<Box<dyn FnOnce() + Send>>,
}

impl Frames {
    /// Does something when the watch is over.
    #[must_use]
    pub fn finally(mut self, act: impl FnOnce() + Send + 'static) -> Frames {
        self.finally = Some(Box::new(act));
        self
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|f| f.map(Ok))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if let Some(act) = self.finally.take() {
            act();
        }
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
