//! What a PolykeyVault's status should say. Pure: the object, what the nodes report and the time in; a status out. The same input gives the same status, and nothing
//! in it moves while nothing happens.

use crate::controller::conditions::{Conditions, time};
use crate::controller::observe::{Observed, Seen};
use crate::controller::reasons::{
    ALL_PODS_CURRENT, NO_NODES, NO_PODS, ROLLING, SUSPENDED, UNSUPPORTED, distance, frozen,
    is_refusal,
};
use crate::crd::status::Truth;
use crate::crd::vault::{BehindPod, Pods};
use crate::crd::{PolykeyVault, PolykeyVaultStatus};
use crate::warden::project::{rule_id, unservable};
use jiff::Timestamp;
use kube::ResourceExt;
use polykey_client::api::{Consumer, RuleState};
use polykey_core::ids::CommitId;

/// Pods that lag are named up to this many, as in the schema.
const MAX_BEHIND: usize = 10;
/// Hex digits of a short version.
const SHORT: usize = 12;

/// What stands in the way, or does not.
struct Answer {
    truth: Truth,
    reason: &'static str,
    message: String,
}

impl Answer {
    fn yes(reason: &'static str, message: impl Into<String>) -> Answer {
        Answer {
            truth: Truth::True,
            reason,
            message: message.into(),
        }
    }
    fn no(reason: &'static str, message: impl Into<String>) -> Answer {
        Answer {
            truth: Truth::False,
            reason,
            message: message.into(),
        }
    }
    fn unknown(reason: &'static str, message: impl Into<String>) -> Answer {
        Answer {
            truth: Truth::Unknown,
            reason,
            message: message.into(),
        }
    }
    fn same_unknown(&self) -> Answer {
        Answer::unknown(self.reason, self.message.clone())
    }
    fn holds(&self) -> bool {
        self.truth == Truth::True
    }
}

/// The version that the object is about, and what is known of it.
#[derive(Default)]
struct Version {
    id: Option<String>,
    author: Option<String>,
    owner: Option<String>,
    committed: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

/// The status that the object should have now.
#[must_use]
pub fn plan(object: &PolykeyVault, observed: &Observed<'_>, now: Timestamp) -> PolykeyVaultStatus {
    let seen = observed.seen(&object.namespace().unwrap_or_default(), &object.name_any());
    let before = object.status.clone().unwrap_or_default();
    let id = rule_id(object);
    let rules: Vec<_> = seen
        .rules
        .iter()
        .copied()
        .filter(|(_, rule)| rule.id == id)
        .collect();
    let access = access(object, observed, &rules);
    let version = version(&access, &rules, &before);
    let pods = pods(&seen, version.id.as_deref());
    let delivered = delivered(&access, &pods, version.id.as_deref());

    let mut conditions = Conditions::new(&before.conditions, object.metadata.generation, now);
    let ready = ready(&access, &delivered);
    conditions.set("Ready", ready.truth, ready.reason, &ready.message);
    conditions.set(
        "Authorized",
        access.authorized.truth,
        access.authorized.reason,
        &access.authorized.message,
    );
    conditions.set(
        "Available",
        access.available.truth,
        access.available.reason,
        &access.available.message,
    );
    conditions.set(
        "Delivered",
        delivered.truth,
        delivered.reason,
        &delivered.message,
    );
    let lagging = lagging(&access, &rules, observed, version.id.as_deref());
    conditions.set_if(
        lagging.is_some() || ready.reason == ROLLING,
        "Reconciling",
        ROLLING,
        lagging.as_deref().unwrap_or(&ready.message),
    );
    conditions.set_if(is_stalled(&access), "Stalled", ready.reason, &ready.message);
    let diverged = observed
        .vaults()
        .any(|v| v.state == "diverged" && v.id.to_string() == object.spec.vault);
    conditions.set_if(diverged, "Diverged", "Diverged", "versions that were written apart stand side by side. Pods get all of them together, and of several values of one path the newest. Anyone's next write joins them; `polykey vault conflicts` names the paths.");

    PolykeyVaultStatus {
        observed_generation: object.metadata.generation,
        conditions: conditions.finish(),
        short_version: version.id.as_deref().map(shortened),
        version: version.id,
        author: version.author,
        owner: version.owner,
        committed_at: version.committed,
        pods: Some(pods.status()),
    }
}

/// Whether the vault may be read and is there, and by whose word.
struct Access<'a> {
    authorized: Answer,
    available: Answer,
    served: Option<&'a RuleState>,
    held: Option<&'a RuleState>,
}

impl Access<'_> {
    fn stopped(authorized: Answer, available: Answer) -> Self {
        Access {
            authorized,
            available,
            served: None,
            held: None,
        }
    }
}

fn access<'a>(
    object: &PolykeyVault,
    observed: &Observed<'_>,
    rules: &[(&str, &'a RuleState)],
) -> Access<'a> {
    if let Some(message) = unservable(&object.spec) {
        return Access::stopped(
            Answer::unknown(UNSUPPORTED, &message),
            Answer::no(UNSUPPORTED, message),
        );
    }
    if observed.replicas() == 0 {
        let message = "there is no Polykey node in this cluster: is the StatefulSet running?";
        return Access::stopped(
            Answer::unknown(NO_NODES, message),
            Answer::no(NO_NODES, message),
        );
    }
    if observed.answering() == 0 {
        let message = "no Polykey node answers the operator, so nothing is known. Pods keep the files that they have.";
        return Access::stopped(
            Answer::unknown(NO_NODES, message),
            Answer::unknown(NO_NODES, message),
        );
    }
    if let Some(served) = most_advanced(rules) {
        let authorized = Answer::yes(
            "Granted",
            "the vault is shared with this cluster, a PolykeyPeer admits this namespace, and ServiceAccounts are listed",
        );
        let available = Answer::yes(
            "Served",
            format!(
                "{} of {} nodes serve it",
                serving(rules),
                observed.replicas()
            ),
        );
        return Access {
            authorized,
            available,
            served: Some(served),
            held: None,
        };
    }
    if let Some((reason, rule)) = furthest_refusal(rules) {
        return refused(reason, rule);
    }
    let message = "the nodes do not have this generation of the rule yet";
    Access::stopped(
        Answer::unknown(ROLLING, message),
        Answer::unknown(ROLLING, message),
    )
}

fn refused<'a>(reason: &'static str, rule: &'a RuleState) -> Access<'a> {
    let message = rule
        .message
        .clone()
        .unwrap_or_else(|| format!("the nodes refuse it: {reason}"));
    if is_refusal(reason) {
        return Access::stopped(Answer::no(reason, &message), Answer::no(reason, message));
    }
    let authorized = Answer::yes(
        "Granted",
        "the vault is shared with this cluster, a PolykeyPeer admits this namespace, and ServiceAccounts are listed",
    );
    let message = if reason == SUSPENDED {
        "spec.suspend is set: pods keep the version that they have, and a pod that has none gets none".into()
    } else {
        message
    };
    Access {
        authorized,
        available: Answer::no(reason, message),
        served: None,
        held: (reason == SUSPENDED).then_some(rule),
    }
}

fn is_served(rule: &RuleState) -> bool {
    rule.version.is_some() && rule.reason.is_none()
}

fn serving(rules: &[(&str, &RuleState)]) -> usize {
    rules.iter().filter(|(_, rule)| is_served(rule)).count()
}

/// While replicas differ, the newest version that one of them serves is what the status is about.
fn most_advanced<'a>(rules: &[(&str, &'a RuleState)]) -> Option<&'a RuleState> {
    rules
        .iter()
        .map(|(_, rule)| *rule)
        .filter(|rule| is_served(rule))
        .max_by_key(|rule| (rule.committed_ms, rule.version))
}

/// Of several refusals the one that came furthest says what to do next.
fn furthest_refusal<'a>(rules: &[(&str, &'a RuleState)]) -> Option<(&'static str, &'a RuleState)> {
    let refusals = rules.iter().filter_map(|(_, rule)| {
        Some((
            frozen(rule.reason.as_deref()?).unwrap_or("VaultNotFound"),
            *rule,
        ))
    });
    refusals.max_by_key(|(reason, _)| distance(reason))
}

fn version(
    access: &Access<'_>,
    rules: &[(&str, &RuleState)],
    before: &PolykeyVaultStatus,
) -> Version {
    if let Some(rule) = access
        .served
        .or(access.held)
        .filter(|rule| rule.version.is_some())
    {
        return Version {
            id: rule.version.map(|v| v.to_string()),
            author: rule.author.map(|a| a.to_string()),
            owner: rule.owner.map(|o| o.to_string()),
            committed: rule.committed_ms.and_then(time),
        };
    }
    let keeps = [NO_NODES, ROLLING, SUSPENDED].contains(&access.available.reason);
    if keeps {
        return Version {
            id: before.version.clone(),
            author: before.author.clone(),
            owner: before.owner.clone(),
            committed: before.committed_at.clone(),
        };
    }
    let owner = rules
        .iter()
        .find_map(|(_, rule)| rule.owner)
        .map(|o| o.to_string());
    Version {
        owner,
        ..Version::default()
    }
}

/// The pods that ask, split by whether they hold the version.
struct Asking<'a> {
    current: usize,
    behind: Vec<&'a Consumer>,
}

fn pods<'a>(seen: &Seen<'a>, version: Option<&str>) -> Asking<'a> {
    let version: Option<CommitId> = version.and_then(|v| v.parse().ok());
    let holds = |row: &Consumer| {
        ["written", "reloaded"].contains(&row.state.as_str())
            && version.is_some()
            && row.version == version
    };
    let (current, mut behind): (Vec<_>, Vec<_>) =
        seen.pods.iter().copied().partition(|row| holds(row));
    behind.sort_by(|a, b| (a.since_ms, &a.pod).cmp(&(b.since_ms, &b.pod)));
    Asking {
        current: current.len(),
        behind,
    }
}

impl Asking<'_> {
    fn total(&self) -> usize {
        self.current + self.behind.len()
    }

    fn summary(&self) -> String {
        format!("{}/{}", self.current, self.total())
    }

    fn status(&self) -> Pods {
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Pods {
            total: Some(count(self.total())),
            current: Some(count(self.current)),
            summary: Some(self.summary()),
            behind: self
                .behind
                .iter()
                .take(MAX_BEHIND)
                .map(|row| behind(row))
                .collect(),
        }
    }

    fn names(&self) -> String {
        let mut names: Vec<&str> = self
            .behind
            .iter()
            .take(MAX_BEHIND)
            .map(|row| row.pod.as_str())
            .collect();
        if self.behind.len() > names.len() {
            names.push("…");
        }
        names.join(", ")
    }

    /// The first pod that cannot have it, and why.
    fn trouble(&self) -> Option<(&'static str, String)> {
        let row = self
            .behind
            .iter()
            .find(|row| ["refused", "failed"].contains(&row.state.as_str()))?;
        let reason = row
            .reason
            .as_deref()
            .and_then(frozen)
            .unwrap_or(if row.state == "refused" {
                "NotGranted"
            } else {
                "PathUnusable"
            });
        let message = row
            .message
            .as_deref()
            .filter(|_| row.state == "refused")
            .unwrap_or(reason);
        Some((
            reason,
            format!(
                "{} of {} pods hold it; pod {}: {message}",
                self.current,
                self.total(),
                row.pod
            ),
        ))
    }
}

fn behind(row: &Consumer) -> BehindPod {
    BehindPod {
        name: Some(row.pod.chars().take(253).collect()),
        short_version: row.version.map(|v| shortened(&v.to_string())),
        since: time(row.since_ms),
    }
}

fn delivered(access: &Access<'_>, pods: &Asking<'_>, version: Option<&str>) -> Answer {
    if access.available.reason == NO_NODES || access.available.reason == ROLLING {
        return access.available.same_unknown();
    }
    if let Some((reason, message)) = pods.trouble() {
        return Answer::no(reason, message);
    }
    if !access.available.holds() && access.held.is_none() {
        return if pods.total() == 0 {
            access.available.same_unknown()
        } else {
            Answer::no(access.available.reason, access.available.message.clone())
        };
    }
    let short = version.map(shortened).unwrap_or_default();
    match pods.total() {
        0 => Answer::yes(NO_PODS, "no pod asks for it"),
        total if pods.current == total => Answer::yes(
            ALL_PODS_CURRENT,
            format!("{total} of {total} pods hold version {short}"),
        ),
        total => Answer::no(
            ROLLING,
            format!(
                "{} of {total} pods hold version {short}; waiting for {}",
                pods.current,
                pods.names()
            ),
        ),
    }
}

/// The first thing that stands in the way.
fn ready(access: &Access<'_>, delivered: &Answer) -> Answer {
    let first = [&access.authorized, &access.available, delivered]
        .into_iter()
        .find(|a| a.truth == Truth::False);
    let first = first.or_else(|| {
        [&access.authorized, &access.available, delivered]
            .into_iter()
            .find(|a| !a.holds())
    });
    let decisive = first.unwrap_or(delivered);
    Answer {
        truth: decisive.truth,
        reason: decisive.reason,
        message: decisive.message.clone(),
    }
}

/// What a replica lacks while another serves: a fresh pod may be sent on, and a loss of the serving ones would be felt.
fn lagging(
    access: &Access<'_>,
    rules: &[(&str, &RuleState)],
    observed: &Observed<'_>,
    version: Option<&str>,
) -> Option<String> {
    access.served?;
    let newest = |rule: &RuleState| {
        rule.reason.is_none() && rule.version.map(|v| v.to_string()).as_deref() == version
    };
    let lacking: Vec<String> = rules
        .iter()
        .filter(|(_, rule)| !newest(rule))
        .map(|(node, rule)| {
            format!(
                "{node} ({})",
                rule.reason
                    .as_deref()
                    .and_then(frozen)
                    .unwrap_or("an older version")
            )
        })
        .collect();
    if !lacking.is_empty() {
        return Some(format!("not on every node yet: {}", lacking.join(", ")));
    }
    let silent = observed.replicas().saturating_sub(rules.len());
    (silent > 0).then(|| {
        format!(
            "{silent} of {} nodes do not answer or do not have the rule yet",
            observed.replicas()
        )
    })
}

/// Somebody has to act: waiting does not help.
fn is_stalled(access: &Access<'_>) -> bool {
    let stuck =
        |a: &Answer| a.truth == Truth::False && ![SUSPENDED, NO_NODES, ROLLING].contains(&a.reason);
    stuck(&access.authorized) || stuck(&access.available)
}

fn shortened(version: &str) -> String {
    version.chars().take(SHORT).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
