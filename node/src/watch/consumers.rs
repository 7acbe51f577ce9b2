//! Which pod holds which version of which rule, since when. A table in memory: sidecars repeat what they hold whenever they connect.
//!
//! Who a row is about comes from a verified token, never from what a sidecar writes.

use crate::workload::Identity;
use polykey_client::api::{Ack, Consumer};
use polykey_client::watch::Refusal;
use polykey_core::ids::CommitId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a row stays after its watch has closed: longer than a sidecar takes to reopen it.
pub const KEEP_CLOSED: Duration = Duration::from_mins(1);
/// How long a refusal stays after its watch has closed: a pod in a crash loop is still seen between two tries.
pub const KEEP_REFUSED: Duration = Duration::from_mins(10);
/// The most rows: ten thousand pods with four vaults each, at about 400 bytes.
const MAX_ROWS: usize = 40_000;
/// The longest text of a sidecar that is kept.
const MAX_TEXT: usize = 128;

/// The table.
pub struct Consumers {
    rows: Mutex<BTreeMap<Key, Row>>,
    changed: watch::Sender<u64>,
}

/// Namespace, name of the `PolykeyVault`, pod and its uid: the order in which rows are listed.
type Key = (String, String, String, String);

struct Row {
    consumer: Consumer,
    /// Open watches that ask for it.
    open: usize,
    /// When it is forgotten; `None` while a watch is open.
    forget: Option<Instant>,
    /// The version that was last sent.
    delivered: Option<CommitId>,
}

impl Default for Consumers {
    fn default() -> Consumers {
        Consumers {
            rows: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Consumers {
    /// Told after every change.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All rows that are not to be forgotten, by namespace, name and pod.
    #[must_use]
    pub fn list(&self) -> Vec<Consumer> {
        let mut rows = self.rows();
        forget(&mut rows, Instant::now());
        rows.values().map(|r| r.consumer.clone()).collect()
    }

    /// Forgets what is due and says when it did: a watcher of the table is told.
    pub fn sweep(&self) {
        let forgot = {
            let mut rows = self.rows();
            let before = rows.len();
            forget(&mut rows, Instant::now());
            rows.len() != before
        };
        if forgot {
            self.tell();
        }
    }

    /// A watch of `who` asks for `name`.
    pub fn opened(&self, who: &Identity, name: &str) {
        self.change(who, name, |row| {
            row.open += 1;
            row.forget = None;
        });
    }

    /// A watch that asked for `name` is over.
    pub fn closed(&self, who: &Identity, name: &str) {
        self.change(who, name, |row| {
            row.open = row.open.saturating_sub(1);
            row.forget = (row.open == 0).then(|| Instant::now() + keep(&row.consumer));
        });
    }

    /// `who` may not read it now.
    pub fn refused(&self, who: &Identity, refusal: &Refusal) {
        self.change(who, &refusal.name, |row| {
            "refused".clone_into(&mut row.consumer.state);
            row.consumer.reason = Some(refusal.reason.clone());
            row.consumer.message = Some(refusal.message.clone());
        });
    }

    /// A version goes to `who`, who has yet to acknowledge it. True when it is the first time that this version does.
    pub fn delivering(&self, who: &Identity, name: &str, version: CommitId) -> bool {
        let mut first = false;
        self.change(who, name, |row| {
            first = row.delivered != Some(version);
            row.delivered = Some(version);
            if row.consumer.state == "refused" {
                "connecting".clone_into(&mut row.consumer.state);
                row.consumer.reason = None;
                row.consumer.message = None;
            }
        });
        first
    }

    /// Another client came with the token of `who`.
    pub fn token_reused(&self, who: &Identity, message: &str) {
        let mut rows = self.rows();
        let mut any = false;
        for row in rows
            .values_mut()
            .filter(|r| r.consumer.pod_uid == who.pod_uid)
        {
            row.consumer.reason = Some("TokenReuse".to_owned());
            row.consumer.message = Some(message.to_owned());
            any = true;
        }
        drop(rows);
        if any {
            self.tell();
        }
    }

    /// `who` says what it holds. Gives true when the version is new for that row.
    pub fn acknowledged(&self, who: &Identity, ack: &Ack, now_ms: u64) -> bool {
        let mut new = false;
        self.change(who, &ack.name, |row| {
            let held = &mut row.consumer;
            new = ack.state != "failed" && held.version != ack.version;
            if new || held.state != ack.state {
                held.since_ms = now_ms;
            }
            if ack.state != "failed" {
                held.version = ack.version;
            }
            held.state.clone_from(&ack.state);
            held.reason = ack.reason.as_deref().map(cut);
            held.message = None;
            held.provenance = ack.provenance.as_deref().map(cut);
            if row.open == 0 {
                row.forget = Some(Instant::now() + KEEP_CLOSED);
            }
        });
        new
    }

    fn change(&self, who: &Identity, name: &str, act: impl FnOnce(&mut Row)) {
        let mut rows = self.rows();
        let key = (
            who.namespace.clone(),
            name.to_owned(),
            who.pod.clone(),
            who.pod_uid.clone(),
        );
        let fresh = !rows.contains_key(&key);
        if fresh && rows.len() >= MAX_ROWS {
            forget(&mut rows, Instant::now());
            if rows.len() >= MAX_ROWS {
                return;
            }
        }
        let row = rows.entry(key).or_insert_with(|| Row::new(who, name));
        let before = row.consumer.clone();
        act(row);
        let changed = fresh || row.consumer != before;
        drop(rows);
        if changed {
            self.tell();
        }
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn new(who: &Identity, name: &str) -> Row {
        Row {
            consumer: Consumer {
                namespace: who.namespace.clone(),
                name: name.to_owned(),
                pod: who.pod.clone(),
                pod_uid: who.pod_uid.clone(),
                service_account: who.service_account.clone(),
                kubernetes_node: who.kubernetes_node.clone(),
                state: "connecting".to_owned(),
                version: None,
                reason: None,
                message: None,
                provenance: None,
                since_ms: super::unix_ms(),
            },
            open: 0,
            forget: Some(Instant::now() + KEEP_CLOSED),
            delivered: None,
        }
    }
}

fn keep(consumer: &Consumer) -> Duration {
    if consumer.state == "refused" {
        KEEP_REFUSED
    } else {
        KEEP_CLOSED
    }
}

fn forget(rows: &mut BTreeMap<Key, Row>, now: Instant) {
    rows.retain(|_, row| row.forget.is_none_or(|at| now < at));
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Identity {
        Identity {
            namespace: "shop".into(),
            service_account: "app".into(),
            pod: name.into(),
            pod_uid: format!("uid-{name}"),
            kubernetes_node: None,
            expires: 0,
        }
    }

    fn ack(version: u8, state: &str) -> Ack {
        Ack {
            name: "app".into(),
            version: Some(CommitId::from([version; 32])),
            state: state.into(),
            reason: None,
            provenance: Some("content".into()),
        }
    }

    fn refusal() -> Refusal {
        Refusal {
            name: "app".into(),
            reason: "NotGranted".into(),
            message: "why".into(),
        }
    }

    #[test]
    fn since_is_the_first_acknowledgement_of_a_version() {
        let table = Consumers::default();
        table.opened(&pod("a"), "app");
        assert!(table.acknowledged(&pod("a"), &ack(1, "written"), 100));
        assert!(!table.acknowledged(&pod("a"), &ack(1, "written"), 200));
        assert_eq!(table.list()[0].since_ms, 100);
        assert!(table.acknowledged(&pod("a"), &ack(2, "written"), 300));
        assert_eq!(table.list()[0].since_ms, 300);
        assert_eq!(table.list().len(), 1);
    }

    #[test]
    fn a_failure_keeps_the_version_that_is_in_the_files() {
        let table = Consumers::default();
        table.acknowledged(&pod("a"), &ack(1, "written"), 100);
        assert!(!table.acknowledged(&pod("a"), &ack(2, "failed"), 200));
        let row = &table.list()[0];
        assert_eq!(row.version, Some(CommitId::from([1; 32])));
        assert_eq!(row.state, "failed");
    }

    #[test]
    fn a_refusal_counts_and_ends_when_something_is_delivered() {
        let table = Consumers::default();
        table.opened(&pod("a"), "app");
        table.refused(&pod("a"), &refusal());
        assert_eq!(table.list()[0].reason.as_deref(), Some("NotGranted"));
        assert!(table.delivering(&pod("a"), "app", CommitId::from([1; 32])));
        assert!(!table.delivering(&pod("a"), "app", CommitId::from([1; 32])));
        assert_eq!(table.list()[0].state, "connecting");
        assert_eq!(table.list()[0].reason, None);
    }

    #[test]
    fn a_row_lives_while_a_watch_is_open_and_a_while_longer() {
        let table = Consumers::default();
        let due = |t: &Consumers| t.rows().values().next().unwrap().forget;
        table.opened(&pod("a"), "app");
        table.opened(&pod("a"), "app");
        table.closed(&pod("a"), "app");
        assert_eq!(due(&table), None);
        table.closed(&pod("a"), "app");
        let left = due(&table).unwrap() - Instant::now();
        assert!(left <= KEEP_CLOSED && left > KEEP_CLOSED / 2);
        table.refused(&pod("a"), &refusal());
        table.opened(&pod("a"), "app");
        table.closed(&pod("a"), "app");
        assert!(due(&table).unwrap() - Instant::now() > KEEP_REFUSED / 2);
        let mut rows = table.rows();
        forget(&mut rows, Instant::now() + KEEP_REFUSED + KEEP_CLOSED);
        assert!(rows.is_empty());
    }

    #[test]
    fn watchers_are_told_of_changes_and_of_nothing_else() {
        let table = Consumers::default();
        let told = table.subscribe();
        table.acknowledged(&pod("a"), &ack(1, "written"), 100);
        table.delivering(&pod("a"), "app", CommitId::from([1; 32]));
        let before = *told.borrow();
        table.acknowledged(&pod("a"), &ack(1, "written"), 200);
        assert_eq!(*told.borrow(), before);
        table.acknowledged(&pod("a"), &ack(1, "reloaded"), 300);
        assert_eq!(*told.borrow(), before + 1);
    }

    #[test]
    fn texts_of_a_sidecar_are_cut_and_cleaned() {
        let table = Consumers::default();
        let mut long = ack(1, "failed");
        long.reason = Some("a\n\u{7}b".repeat(100));
        table.acknowledged(&pod("a"), &long, 1);
        let reason = table.list()[0].reason.clone().unwrap();
        assert!(reason.starts_with("abab") && reason.chars().count() == MAX_TEXT);
    }
}
