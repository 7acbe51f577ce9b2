//! One watch, from its first frame to its last. Changes only mark a name as due; what is due is decided when the reader has taken what came before. So a slow reader
//! gets the newest version and nothing piles up.

use super::decision::{self, Serving};
use super::outgoing::{Holds, Outgoing, OutgoingError};
use super::{Opening, Place, Watches, unix_ms};
use crate::access::InForce;
use crate::metrics::WatchCounted;
use crate::vaults::Changed;
use crate::workload::{Again, Identity, Mode};
use bytes::Bytes;
use polykey_client::access::Rule;
use polykey_client::watch::{Frame, Named, NodeAddress, PING_SECONDS, Refusal};
use polykey_core::acl;
use polykey_core::ids::{CommitId, VaultId};
use polykey_core::view;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use zeroize::Zeroizing;

/// The longest watch. A sidecar then comes with a fresh token, and perhaps to another node.
const LONGEST: Duration = Duration::from_mins(55);
/// How long a watch may outlive its token while the API server does not answer: kubelets cannot renew tokens either then.
const OFFLINE_GRACE: Duration = Duration::from_hours(24);
/// How long until an API server that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_mins(1);
/// How long one frame may wait for its reader.
const PATIENCE: Duration = Duration::from_secs(30);

/// The reader is gone, or the watch has said its last word.
struct Over;

type Flow = ControlFlow<Over>;

/// Serves a watch to its end.
pub async fn run(
    place: Place,
    opening: Opening,
    frames: mpsc::Sender<Bytes>,
    told: mpsc::Receiver<String>,
) {
    let mut one = Stream::new(place, opening, frames);
    one.follow(told).await;
    for name in one.names.iter().filter(|n| n.counted) {
        one.watches().consumers.closed(&one.who, &name.text);
    }
}

struct Stream {
    place: Place,
    who: Identity,
    mode: Mode,
    token: Zeroizing<String>,
    names: Vec<Name>,
    have: Vec<Vec<CommitId>>,
    frames: mpsc::Sender<Bytes>,
    nodes: Vec<NodeAddress>,
    access: watch::Receiver<u64>,
    began: Instant,
    ends: Instant,
    leaving: bool,
    _counted: WatchCounted,
}

/// One name of the watch.
struct Name {
    text: String,
    /// Of the rule at the last look: which changes concern this name.
    vault: Option<VaultId>,
    due: bool,
    /// It has a row in the table of consumers. Only a name that a rule has gets one: others would be names that a pod made up.
    counted: bool,
    holds: Option<Holds>,
    last: Last,
}

/// The last word about a name.
#[derive(PartialEq, Eq)]
enum Last {
    Nothing,
    Served,
    Behind,
    Refused(String),
    Gone(String),
}

/// What a name is served now.
enum Outlook {
    Serve(Arc<InForce>, Box<Serving>),
    Refuse(Refusal),
    /// Suspended: who has a version keeps it.
    Hold(Refusal),
}

impl Stream {
    fn new(place: Place, opening: Opening, frames: mpsc::Sender<Bytes>) -> Stream {
        let watches = place.watches.clone();
        let who = opening.workload.identity;
        let began = Instant::now();
        let ends = began + length(who.expires, unix_ms() / 1_000);
        let mut access = watches.access.subscribe();
        access.mark_unchanged();
        Stream {
            mode: opening.workload.mode,
            token: opening.token,
            names: opening.names.into_iter().map(Name::new).collect(),
            have: opening.have,
            frames,
            nodes: Vec::new(),
            access,
            began,
            ends,
            leaving: false,
            _counted: watches.metrics.watch(),
            who,
            place,
        }
    }

    fn watches(&self) -> Arc<Watches> {
        self.place.watches.clone()
    }

    async fn follow(&mut self, mut told: mpsc::Receiver<String>) {
        let watches = self.watches();
        let mut changed = watches.vaults.subscribe();
        let mut goodbye = watches.goodbye.subscribe();
        let mut ping = tokio::time::interval(Duration::from_secs(PING_SECONDS));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let mut asking: Option<Pin<Box<dyn Future<Output = Again> + Send>>> = None;
        let gone = self.frames.clone();
        loop {
            if self.settle().await.is_break() {
                return;
            }
            let flow = tokio::select! {
                () = gone.closed() => return,
                change = changed.recv() => {
                    self.mark(change.ok());
                    while let Ok(more) = changed.try_recv() {
                        self.mark(Some(more));
                    }
                    Flow::Continue(())
                }
                _ = self.access.changed() => {
                    self.mark(None);
                    Flow::Continue(())
                }
                Some(message) = told.recv() => self.warn(message).await,
                spread = async { goodbye.wait_for(Option::is_some).await.ok().and_then(|s| *s) }, if !self.leaving => {
                    self.leave(spread);
                    Flow::Continue(())
                }
                _ = ping.tick() => {
                    // Grants, peers and caveats end by the clock too.
                    self.mark(None);
                    if asking.is_none() && self.mode == Mode::Offline && !watches.offline() {
                        asking = Some(self.ask());
                    }
                    self.send(&Frame::Ping).await
                }
                () = tokio::time::sleep_until(self.ends), if asking.is_none() => {
                    if self.leaving {
                        self.bye("the node is stopping").await
                    } else {
                        asking = Some(self.ask());
                        Flow::Continue(())
                    }
                }
                again = async { asking.as_mut().expect("polled only when there is one").await }, if asking.is_some() => {
                    asking = None;
                    self.answered(again).await
                }
            };
            if flow.is_break() {
                return;
            }
        }
    }

    /// A change of one vault makes its names due; one that is not known makes all.
    fn mark(&mut self, change: Option<Changed>) {
        for name in &mut self.names {
            name.due |= change.is_none_or(|c| name.vault.is_none_or(|v| v == c.vault));
        }
    }

    /// The node stops: this watch has its own moment for that.
    fn leave(&mut self, spread: Option<Duration>) {
        self.leaving = true;
        let moment = spread.unwrap_or_default().mul_f64(random());
        self.ends = self.ends.min(Instant::now() + moment);
    }

    fn ask(&self) -> Pin<Box<dyn Future<Output = Again> + Send>> {
        let workloads = self.place.watches.workloads.clone();
        let (token, who) = (self.token.clone(), self.who.clone());
        Box::pin(async move {
            match workloads {
                Some(workloads) => workloads.ask_again(&token, &who).await,
                None => Again::Refused,
            }
        })
    }

    async fn answered(&mut self, again: Again) -> Flow {
        let over = Instant::now() >= self.ends;
        match again {
            Again::Refused => self.bye("the token is no longer good").await,
            Again::Confirmed if over => self.bye("time for a fresh token").await,
            Again::Unreachable if over && self.began.elapsed() >= OFFLINE_GRACE => {
                self.bye("the API server has not answered for too long")
                    .await
            }
            Again::Unreachable if over => {
                self.mode = Mode::Offline;
                self.ends = Instant::now() + ASK_AGAIN.mul_f64(1.0 + random() / 2.0);
                Flow::Continue(())
            }
            Again::Confirmed => {
                self.mode = Mode::Review;
                Flow::Continue(())
            }
            Again::Unreachable => Flow::Continue(()),
        }
    }

    /// Tells what is due, until nothing is.
    async fn settle(&mut self) -> Flow {
        self.tell_nodes().await?;
        while let Some(at) = self.names.iter().position(|n| n.due) {
            self.names[at].due = false;
            self.tell(at).await?;
        }
        Flow::Continue(())
    }

    async fn tell_nodes(&mut self) -> Flow {
        let watches = self.watches();
        let Some(set) = watches.access.current() else {
            return Flow::Continue(());
        };
        let nodes = watches.nodes.list(&set);
        if nodes == self.nodes {
            return Flow::Continue(());
        }
        self.nodes.clone_from(&nodes);
        self.send(&Frame::Nodes(nodes)).await
    }

    async fn tell(&mut self, at: usize) -> Flow {
        match self.outlook(at) {
            Outlook::Serve(set, serving) => self.serve(at, &set, &serving).await,
            Outlook::Refuse(refusal) => self.refuse(at, refusal).await,
            Outlook::Hold(refusal) => self.hold(at, refusal).await,
        }
    }

    fn outlook(&mut self, at: usize) -> Outlook {
        let watches = self.watches();
        let name = &mut self.names[at];
        let Some(set) = watches.access.current() else {
            return Outlook::Refuse(refusal(
                name,
                "NotGranted",
                "there are no access rules".into(),
            ));
        };
        let Some(rule) = set.mount(&self.who.namespace, &name.text) else {
            name.vault = None;
            let message = format!(
                "there is no PolykeyVault {}/{} here: it does not exist, or this node has not heard of it yet",
                self.who.namespace, name.text
            );
            return Outlook::Refuse(refusal(name, "VaultNotFound", message));
        };
        name.vault = Some(rule.vault);
        if !name.counted {
            name.counted = true;
            watches.consumers.opened(&self.who, &name.text);
        }
        let workload = acl::Workload {
            namespace: &self.who.namespace,
            service_account: &self.who.service_account,
        };
        match decision::decide(&watches.vaults, &set, rule, workload, unix_ms() / 1_000) {
            Ok(serving) => Outlook::Serve(set, Box::new(serving)),
            Err(denied) => {
                let said = refusal(name, denied.reason.as_str(), denied.to_string());
                if denied.reason == acl::Reason::Suspended {
                    Outlook::Hold(said)
                } else {
                    Outlook::Refuse(said)
                }
            }
        }
    }

    async fn serve(&mut self, at: usize, set: &InForce, serving: &Serving) -> Flow {
        let Some(rule) = set.mount(&self.who.namespace, &self.names[at].text) else {
            return Flow::Continue(());
        };
        if matches!(self.names[at].last, Last::Nothing | Last::Behind)
            && let Some(flow) = self.resume(at, rule, serving).await
        {
            return flow;
        }
        let holds = self.names[at].holds.as_ref();
        if self.names[at].last == Last::Served && holds.is_some_and(|h| h.is_current(rule, serving))
        {
            return Flow::Continue(());
        }
        let made = Outgoing::new(&self.place.watches.vaults, rule, serving, holds);
        match made {
            Ok(outgoing) => {
                self.deliver(at, rule, outgoing, serving.served.version)
                    .await
            }
            Err(e) => self.fail(at, &e).await,
        }
    }

    /// Takes up from what the watcher held before this watch. `Some` when that is all there is to say.
    async fn resume(&mut self, at: usize, rule: &Rule, serving: &Serving) -> Option<Flow> {
        let watches = self.watches();
        let Some(version) = self.held_before(at) else {
            if !self.holds_unknown() {
                return None;
            }
            if self.names[at].last == Last::Behind {
                return Some(Flow::Continue(()));
            }
            self.names[at].last = Last::Behind;
            let name = self.names[at].text.clone();
            return Some(self.send(&Frame::Behind(Named { name })).await);
        };
        if version != serving.served.version {
            return None;
        }
        match Holds::from_before(&watches.vaults, rule, serving) {
            Ok(holds) => self.names[at].holds = Some(holds),
            Err(e) => return Some(self.fail(at, &e.into()).await),
        }
        self.names[at].last = Last::Served;
        let name = self.names[at].text.clone();
        watches.consumers.delivering(&self.who, &name, version);
        Some(self.send(&Frame::Current(Named { name })).await)
    }

    /// True when the watcher holds a version that none of its vaults has here: this node has less than the watcher has seen.
    fn holds_unknown(&self) -> bool {
        let watches = &self.place.watches;
        let set = watches.access.current();
        let vaults: Vec<VaultId> = set
            .iter()
            .flat_map(|set| {
                let rule = |n: &Name| set.mount(&self.who.namespace, &n.text).map(|r| r.vault);
                self.names.iter().filter_map(rule)
            })
            .collect();
        let known = |heads: &Vec<CommitId>| {
            vaults
                .iter()
                .any(|vault| watches.vaults.has_commits(vault, heads))
        };
        self.have.iter().any(|heads| !known(heads))
    }

    async fn deliver(
        &mut self,
        at: usize,
        rule: &Rule,
        mut outgoing: Outgoing,
        version: CommitId,
    ) -> Flow {
        let watches = self.watches();
        let name = self.names[at].text.clone();
        let first = watches.consumers.delivering(&self.who, &name, version);
        if first {
            watches.record.delivered(&self.who, &rule.vault, version);
        }
        let mut begun = false;
        loop {
            let frame = match outgoing.next(&watches.vaults) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(e) => return self.fail(at, &e).await,
            };
            self.send(&frame).await?;
            if begun && self.withdrawn(at) {
                // The rest of a large version is not sent once the answer has become no.
                self.names[at].holds = None;
                self.names[at].last = Last::Served;
                self.names[at].due = true;
                return Flow::Continue(());
            }
            begun = true;
        }
        let name = &mut self.names[at];
        name.holds = Some(outgoing.sent());
        name.last = Last::Served;
        Flow::Continue(())
    }

    /// While a version of several parts is on its way: has access been taken back?
    fn withdrawn(&mut self, at: usize) -> bool {
        matches!(self.outlook(at), Outlook::Refuse(_))
    }

    async fn refuse(&mut self, at: usize, mut refusal: Refusal) -> Flow {
        let watches = self.watches();
        let had = match &self.names[at].last {
            Last::Served | Last::Behind => true,
            Last::Nothing => self.held_before(at).is_some(),
            Last::Refused(_) | Last::Gone(_) => false,
        };
        if had && self.names[at].vault.is_none() {
            "Deleted".clone_into(&mut refusal.reason);
        }
        let said = match &self.names[at].last {
            Last::Refused(reason) => *reason == refusal.reason,
            Last::Gone(reason) => *reason == refusal.reason || self.names[at].vault.is_none(),
            _ => false,
        };
        if said {
            return Flow::Continue(());
        }
        if self.names[at].counted {
            watches.consumers.refused(&self.who, &refusal);
        }
        let vault = self.names[at].vault;
        watches.record.refused(&self.who, vault, &refusal).await;
        self.names[at].holds = None;
        let gone = had || matches!(self.names[at].last, Last::Gone(_));
        if gone {
            self.names[at].last = Last::Gone(refusal.reason.clone());
            self.send(&Frame::Gone(refusal)).await
        } else {
            self.names[at].last = Last::Refused(refusal.reason.clone());
            self.send(&Frame::Refused(refusal)).await
        }
    }

    /// The version that the watcher holds of a name from before this watch, if this node knows it.
    fn held_before(&self, at: usize) -> Option<CommitId> {
        let vault = self.names[at].vault?;
        let known = |heads: &&Vec<CommitId>| self.place.watches.vaults.has_commits(&vault, heads);
        self.have.iter().find(known).and_then(|h| view::version(h))
    }

    /// Suspended: a pod that has a version keeps it and hears nothing; one that has none is refused.
    async fn hold(&mut self, at: usize, refusal: Refusal) -> Flow {
        if matches!(self.names[at].last, Last::Served | Last::Behind) {
            return Flow::Continue(());
        }
        if self.names[at].last != Last::Nothing {
            return self.refuse(at, refusal).await;
        }
        let name = self.names[at].text.clone();
        if let Some(version) = self.held_before(at) {
            // Without `holds`: the version after the suspension is sent whole.
            self.names[at].last = Last::Served;
            let watches = self.watches();
            watches.consumers.delivering(&self.who, &name, version);
            return self.send(&Frame::Current(Named { name })).await;
        }
        if self.holds_unknown() {
            self.names[at].last = Last::Behind;
            return self.send(&Frame::Behind(Named { name })).await;
        }
        self.refuse(at, refusal).await
    }

    /// A version that cannot be read is not served; the watcher keeps what it has and is told.
    async fn fail(&mut self, at: usize, e: &OutgoingError) -> Flow {
        tracing::error!(error = e as &dyn std::error::Error, name = %self.names[at].text, "a version cannot be served");
        let message =
            "this node cannot read the version that it should serve: see its log".to_owned();
        let refusal = refusal(&self.names[at], "VaultNotFound", message);
        self.refuse(at, refusal).await
    }

    async fn warn(&mut self, message: String) -> Flow {
        self.send(&Frame::Refused(Refusal {
            name: String::new(),
            reason: "TokenReuse".to_owned(),
            message,
        }))
        .await
    }

    async fn bye(&mut self, why: &str) -> Flow {
        self.send(&Frame::Bye(why.to_owned())).await?;
        Flow::Break(Over)
    }

    async fn send(&mut self, frame: &Frame) -> Flow {
        let bytes = Bytes::from(frame.to_bytes());
        match self.frames.send_timeout(bytes, PATIENCE).await {
            Ok(()) => Flow::Continue(()),
            Err(_) => Flow::Break(Over),
        }
    }
}

impl Name {
    fn new(name: String) -> Name {
        Name {
            text: name,
            vault: None,
            due: true,
            counted: false,
            holds: None,
            last: Last::Nothing,
        }
    }
}

fn refusal(name: &Name, reason: &str, message: String) -> Refusal {
    Refusal {
        name: name.text.clone(),
        reason: reason.to_owned(),
        message,
    }
}

/// How long a watch lasts: until its token ends or [`LONGEST`], less up to a tenth, so that those who came together do not go together.
fn length(expires: u64, now: u64) -> Duration {
    let left = Duration::from_secs(expires.saturating_sub(now)).min(LONGEST);
    left.mul_f64(1.0 - random() / 10.0)
}

/// A number from 0 to 1. Not secret.
fn random() -> f64 {
    let bits = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_ends_before_its_token_and_within_the_hour() {
        for _ in 0..100 {
            let short = length(1_000 + 600, 1_000);
            assert!(short <= Duration::from_mins(10) && short >= Duration::from_mins(9));
            let long = length(1_000 + 3_600, 1_000);
            assert!(long <= LONGEST && long >= LONGEST.mul_f64(0.9));
        }
        assert_eq!(length(10, 20), Duration::ZERO);
    }
}
