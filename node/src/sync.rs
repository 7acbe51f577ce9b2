//! Sync: for every vault that two connected nodes share, one stream on which each tells the other what is new, and calls for what does not fit there.
//!
//! No key is used here. What arrives is judged by [`crate::vaults`], and a node gets a vault only while the vault's own control log says so.

mod faults;
mod fetch;
mod pace;
mod serve;
mod subscription;

use crate::net::{Close, Connection, MAX_CALLS, MAX_SUBSCRIPTIONS, NetError, Receiver, Stream};
use crate::peers::known::Known;
use crate::vaults::{VaultError, Vaults};
use faults::Faults;
use pace::Pace;
use polykey_core::ids::{NodeId, VaultId};
use polykey_core::wire::{self, Call, Message, SignedStart, WireError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subscription::{Ended, Signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Pulls and gets that a node has open at one peer, and answers for one peer, at a time; more of them wait.
pub const MAX_PULLS: usize = 8;
/// Requests for records that a node has open at one peer: together with the pulls well under what the peer takes.
const MAX_NEEDS: usize = 16;
/// Vaults that a peer may be bringing at a time; it offers the others again. Each may hold one frame.
const MAX_GUESTS: usize = 64;
/// The longest first frame of a stream: a get with all its addresses is 35 KiB.
const MAX_FIRST: usize = 64 << 10;
/// Longest time from the opening of a stream to its first frame.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A vault that the peer did not want is offered again after this, doubled up to [`OFFER_LONGEST`]: the peer's admin may not have admitted it yet.
const OFFER_FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two offers of a vault.
const OFFER_LONGEST: Duration = Duration::from_secs(30);

/// What failed while talking with a peer.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The connection or stream.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Bytes that are no message: the peer's fault, the connection ends.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A stream that does not begin as one.
    #[error("a stream that begins with no call")]
    NoCall,
    /// A stream that ended where a message was due.
    #[error("the peer ended the call early")]
    EndedEarly,
    /// The peer refused.
    #[error("refused: {0:?}")]
    Refused(wire::Refused),
    /// Whoever introduced the vault has no room left here.
    #[error("the vault has reached its limit here")]
    Full,
    /// The vault is not, or no longer, shared with the peer.
    #[error("the vault is not shared with this peer")]
    NotShared,
    /// Content that is not what its hash or signature says: the peer could have known.
    #[error("{0}")]
    Fault(String),
    /// This node could not do its part.
    #[error("{0}")]
    Here(String),
}

/// Everything that the conversations with all peers have in common.
pub struct Syncing {
    me: NodeId,
    vaults: Arc<Vaults>,
    known: Arc<RwLock<Known>>,
    faults: Mutex<Faults>,
    pace: Mutex<Pace>,
    /// Open subscriptions of each vault.
    subscribed: Mutex<BTreeMap<VaultId, usize>>,
    /// Refusals of a vault by a peer that somebody waits for.
    awaited: Mutex<BTreeSet<(NodeId, VaultId)>>,
}

/// The conversation on one connection.
struct Session {
    syncing: Arc<Syncing>,
    connection: Connection,
    peer: NodeId,
    start: SignedStart,
    slots: Mutex<BTreeMap<VaultId, Slot>>,
    next: std::sync::atomic::AtomicU64,
    /// Look at all vaults again.
    again: Notify,
    /// Our own pulls and gets.
    pulls: Semaphore,
    /// Our own requests for records.
    needs: Semaphore,
    /// The peer's pulls and gets.
    served_pulls: Semaphore,
    /// The peer's calls of any kind beside its subscriptions.
    calls: Semaphore,
    /// Vaults that the peer is bringing.
    guests: Semaphore,
}

/// Where a vault stands in a session.
enum Slot {
    /// A subscription is open.
    Open {
        number: u64,
        ours: bool,
        signal: Arc<Signal>,
        task: Option<tokio::task::AbortHandle>,
    },
    /// The peer did not want it, or it failed: offer it again then.
    Waiting { until: Instant, wait: Duration },
}

impl Syncing {
    pub(crate) fn new(me: NodeId, vaults: Arc<Vaults>, known: Arc<RwLock<Known>>) -> Arc<Syncing> {
        Arc::new(Syncing {
            me,
            vaults,
            known,
            faults: Mutex::default(),
            pace: Mutex::default(),
            subscribed: Mutex::default(),
            awaited: Mutex::default(),
        })
    }

    /// Whether this peer sent so many false things lately that it is not talked to.
    pub(crate) fn over_faults(&self, peer: &NodeId) -> bool {
        locked(&self.faults).over(peer, Instant::now().into_std())
    }

    /// Talks until the connection ends.
    pub(crate) async fn run(self: Arc<Self>, connection: &Connection, start: &SignedStart) {
        let session = Arc::new(Session {
            peer: connection.node(),
            connection: connection.clone(),
            start: start.clone(),
            slots: Mutex::default(),
            next: 0.into(),
            again: Notify::new(),
            pulls: Semaphore::new(MAX_PULLS),
            needs: Semaphore::new(MAX_NEEDS),
            served_pulls: Semaphore::new(MAX_PULLS),
            calls: Semaphore::new(MAX_CALLS),
            guests: Semaphore::new(MAX_GUESTS),
            syncing: self,
        });
        session.run().await;
    }

    /// Waits from now on for these peers to refuse these vaults.
    pub(crate) fn await_refusals(&self, of: BTreeSet<(NodeId, VaultId)>) {
        *locked(&self.awaited) = of;
    }

    /// Whether one of them has not refused yet, and is `connected`.
    pub(crate) fn awaits_refusals(&self, connected: impl Fn(&NodeId) -> bool) -> bool {
        let mut awaited = locked(&self.awaited);
        awaited.retain(|(peer, _)| connected(peer));
        !awaited.is_empty()
    }

    /// Signs beats of the vaults to which somebody subscribes, where one is due.
    pub(crate) fn beat(&self) {
        let subscribed: Vec<VaultId> = locked(&self.subscribed).keys().copied().collect();
        for vault in subscribed {
            self.vaults.beat(&vault);
        }
    }

    /// Waits until `peer` may ask or tell `count` more things.
    async fn paced(&self, peer: NodeId, count: usize) {
        let now = Instant::now().into_std();
        let wait = locked(&self.pace).take(peer, count, now);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn admits(&self, sender: &NodeId, vault: &VaultId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.admits(sender, vault, now())
    }

    fn shares(&self, vault: &VaultId, peer: &NodeId) -> bool {
        self.vaults.is_shared_with(vault, peer)
    }
}

impl Session {
    async fn run(self: Arc<Self>) {
        let mut changed = self.syncing.vaults.subscribe();
        let mut beats = self.syncing.vaults.subscribe_beats();
        let mut tasks = JoinSet::new();
        self.look_at_all(&mut tasks);
        loop {
            let next_offer = self.next_offer();
            tokio::select! {
                stream = self.connection.accept() => match stream {
                    Ok(stream) => { tasks.spawn(self.clone().answer(stream)); }
                    Err(_) => return,
                },
                change = changed.recv() => match change {
                    Ok(change) => self.look_at(change.vault, &mut tasks),
                    Err(RecvError::Lagged(_)) => self.look_at_all(&mut tasks),
                    Err(RecvError::Closed) => return,
                },
                beat = beats.recv() => self.pass_on_beats(beat.ok()),
                () = self.again.notified() => self.look_at_all(&mut tasks),
                () = sleep_until(next_offer) => self.look_at_all(&mut tasks),
                _ = tasks.join_next(), if !tasks.is_empty() => {}
            }
        }
    }

    /// Wakes the subscription of a vault with a newer beat; all of them when some were missed.
    fn pass_on_beats(&self, vault: Option<VaultId>) {
        let slots = locked(&self.slots);
        let concerned = slots
            .iter()
            .filter(|(id, _)| vault.is_none_or(|v| v == **id));
        for (_, slot) in concerned {
            if let Slot::Open { signal, .. } = slot {
                signal.beaten();
            }
        }
    }

    fn look_at_all(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let open: Vec<VaultId> = locked(&self.slots).keys().copied().collect();
        let shared = self.syncing.vaults.shared_with(&self.peer);
        for vault in shared.iter().chain(&open) {
            self.look_at(*vault, tasks);
        }
    }

    /// Wakes the subscription of a vault, or opens one if the peer should have it.
    fn look_at(self: &Arc<Self>, vault: VaultId, tasks: &mut JoinSet<()>) {
        let mut slots = locked(&self.slots);
        match slots.get(&vault) {
            Some(Slot::Open { signal, .. }) => return signal.changed(),
            Some(Slot::Waiting { until, .. }) if Instant::now() < *until => return,
            _ => {}
        }
        if !self.syncing.shares(&vault, &self.peer) {
            slots.remove(&vault);
            return;
        }
        if slots.len() >= MAX_SUBSCRIPTIONS && !slots.contains_key(&vault) {
            tracing::warn!(peer = %self.peer.short(), "more shared vaults than a connection carries");
            return;
        }
        let wait = match slots.get(&vault) {
            Some(Slot::Waiting { wait, .. }) => *wait,
            _ => Duration::ZERO,
        };
        let (number, signal) = self.occupy(&mut slots, vault, true);
        let session = self.clone();
        let task = tasks.spawn(async move {
            let ended = subscription::offer(&session, vault, &signal).await;
            session.ended(vault, number, wait, &ended);
        });
        set_task(&mut slots, &vault, task);
    }

    /// Answers one stream that the peer opened. Bytes that are no message end the connection.
    async fn answer(self: Arc<Self>, stream: Stream) {
        if let Err(error) = self.answered(stream).await {
            self.judge(&error);
        }
    }

    async fn answered(self: &Arc<Self>, mut stream: Stream) -> Result<(), SyncError> {
        let number = tokio::time::timeout(CALL_DEADLINE, stream.rx.number()).await;
        let number = number.map_err(|_| NetError::Slow)??;
        let call = number.and_then(Call::from_byte).ok_or(SyncError::NoCall)?;
        if call == Call::Sync {
            return self.subscribed(stream).await;
        }
        let _turn = self.calls.acquire().await;
        self.syncing.paced(self.peer, 1).await;
        match call {
            Call::Hello => self.looks_again(stream).await,
            Call::Pull => serve::pull(self, stream).await,
            Call::Get => serve::get(self, stream).await,
            Call::Need => serve::need(self, stream).await,
            Call::Cloned => self.cloned(stream).await,
            Call::Sync => Ok(()),
        }
    }

    /// The peer said hello again: it may accept now what it refused before.
    async fn looks_again(&self, mut stream: Stream) -> Result<(), SyncError> {
        first::<wire::Hello>(&mut stream.rx).await?;
        let mine = wire::frame(&wire::Hello::new(&self.start, None))?;
        stream.tx.send(mine).await?;
        stream.tx.finish();
        locked(&self.slots).retain(|_, slot| matches!(slot, Slot::Open { .. }));
        self.again.notify_one();
        Ok(())
    }

    /// The peer shows the start of another process with this node's identity.
    async fn cloned(&self, mut stream: Stream) -> Result<(), SyncError> {
        let word: wire::Cloned = first(&mut stream.rx).await?;
        let standing = self.syncing.vaults.standing();
        let shown = standing
            .shown_double(&self.start, &word.start, word.older, self.peer)
            .await;
        match shown {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(SyncError::Fault(
                "a start that this node did not sign".to_owned(),
            )),
            Err(error) => Err(SyncError::Here(error.to_string())),
        }
    }

    /// The peer opened a subscription.
    async fn subscribed(self: &Arc<Self>, mut stream: Stream) -> Result<(), SyncError> {
        let wire::SyncFrame::Sync(theirs) = first(&mut stream.rx).await? else {
            return Err(SyncError::NoCall);
        };
        let vault = theirs.vault;
        let member = self.syncing.shares(&vault, &self.peer);
        if !member && !self.syncing.admits(&self.peer, &vault) {
            return subscription::refuse(&mut stream.tx, wire::Refused::NotFound).await;
        }
        let guest = self.guests.try_acquire();
        if !member && guest.is_err() {
            return subscription::refuse(&mut stream.tx, wire::Refused::Busy).await;
        }
        let guest = guest.ok().filter(|_| !member);
        let Some((number, signal)) = self.take_place(vault) else {
            return subscription::refuse(&mut stream.tx, wire::Refused::Busy).await;
        };
        let ended = subscription::accept(self, theirs, guest, stream, &signal).await;
        self.ended(vault, number, Duration::ZERO, &ended);
        Ok(())
    }

    /// Of two subscriptions to one vault the one that the lower id opened stays; of two by the peer, the later.
    fn take_place(self: &Arc<Self>, vault: VaultId) -> Option<(u64, Arc<Signal>)> {
        let mut slots = locked(&self.slots);
        let full = slots.len() >= MAX_SUBSCRIPTIONS;
        match slots.get(&vault) {
            Some(Slot::Open { ours: true, .. }) if self.syncing.me < self.peer => return None,
            Some(Slot::Open { signal, task, .. }) => {
                signal.end();
                if let Some(task) = task {
                    task.abort();
                }
            }
            None if full => return None,
            _ => {}
        }
        Some(self.occupy(&mut slots, vault, false))
    }

    fn occupy(
        &self,
        slots: &mut BTreeMap<VaultId, Slot>,
        vault: VaultId,
        ours: bool,
    ) -> (u64, Arc<Signal>) {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let signal = Arc::new(Signal::default());
        let slot = Slot::Open {
            number,
            ours,
            signal: signal.clone(),
            task: None,
        };
        slots.insert(vault, slot);
        (number, signal)
    }

    fn ended(&self, vault: VaultId, number: u64, wait: Duration, ended: &Result<Ended, SyncError>) {
        if let Ok(Ended::Refused(wire::Refused::NotFound)) = ended {
            locked(&self.syncing.awaited).remove(&(self.peer, vault));
        }
        let wait = match ended {
            Ok(Ended::Finished) => OFFER_FIRST,
            Ok(Ended::Refused(why)) => {
                tracing::debug!(peer = %self.peer.short(), vault = %vault.short(), ?why, "vault not wanted");
                (wait * 2).clamp(OFFER_FIRST, OFFER_LONGEST)
            }
            Err(error) => {
                self.judge(error);
                tracing::debug!(peer = %self.peer.short(), vault = %vault.short(), %error, "subscription ended");
                (wait * 2).clamp(OFFER_FIRST, OFFER_LONGEST)
            }
        };
        let mut slots = locked(&self.slots);
        match slots.get(&vault) {
            Some(Slot::Open { number: open, .. }) if *open == number => {}
            _ => return,
        }
        let until = Instant::now() + wait;
        slots.insert(vault, Slot::Waiting { until, wait });
        drop(slots);
        // The loop must see the new time.
        self.again.notify_one();
    }

    fn next_offer(&self) -> Option<Instant> {
        let slots = locked(&self.slots);
        let waiting = slots.values().filter_map(|slot| match slot {
            Slot::Waiting { until, .. } => Some(*until),
            Slot::Open { .. } => None,
        });
        waiting.min()
    }

    /// Ends the connection for what the peer could have checked itself: bytes that are no message at once, false content when it is too much.
    fn judge(&self, error: &SyncError) {
        let close = match error {
            SyncError::Wire(WireError::TooLong(_)) | SyncError::Net(NetError::TooLarge { .. }) => {
                Close::TooLarge
            }
            SyncError::Wire(_) | SyncError::NoCall | SyncError::Net(NetError::Truncated) => {
                Close::Malformed
            }
            SyncError::Fault(_) => {
                let over = locked(&self.syncing.faults).add(self.peer, Instant::now().into_std());
                tracing::warn!(peer = %self.peer.short(), %error, "false content from a peer");
                if !over {
                    return;
                }
                Close::Misbehaved
            }
            _ => return,
        };
        tracing::warn!(peer = %self.peer.short(), %error, "connection closed");
        self.connection.close(close);
    }
}

/// The first frame of a stream, which must come soon.
async fn first<M: Message>(rx: &mut Receiver) -> Result<M, SyncError> {
    let frame = tokio::time::timeout(CALL_DEADLINE, rx.frame(MAX_FIRST));
    let frame = frame.await.map_err(|_| NetError::Slow)??;
    Ok(wire::read(&frame.ok_or(SyncError::EndedEarly)?)?)
}

/// The next frame of a stream; `None` when the peer has finished.
async fn next<M: Message>(rx: &mut Receiver) -> Result<Option<M>, SyncError> {
    match rx.frame(wire::MAX_FRAME).await? {
        Some(body) => Ok(Some(wire::read(&body)?)),
        None => Ok(None),
    }
}

fn set_task(
    slots: &mut BTreeMap<VaultId, Slot>,
    vault: &VaultId,
    handle: tokio::task::AbortHandle,
) {
    if let Some(Slot::Open { task, .. }) = slots.get_mut(vault) {
        *task = Some(handle);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

/// Whose fault an error is.
fn blame(error: VaultError) -> SyncError {
    match error {
        VaultError::NotFound => SyncError::NotShared,
        VaultError::Peer(why) => SyncError::Fault(why),
        VaultError::Quota(_) => SyncError::Full,
        other => here(&other),
    }
}

/// An error of this node's own, with its causes.
fn here(error: &VaultError) -> SyncError {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    SyncError::Here(text)
}
