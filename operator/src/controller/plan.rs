//! What the status of an object must say, given what the nodes report: pure.

use crate::crd::status::{Condition, MAX_MESSAGE, Truth, find};
use crate::crd::vault::{BehindPod, Pods};
use crate::crd::{PolykeyPeer, PolykeyPeerStatus, PolykeyVault, PolykeyVaultStatus};
use crate::warden::rule_id;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use polykey_client::api::{Consumer, Consumers, RuleState};
use std::collections::BTreeMap;

/// The most pods that are named as behind.
const MAX_BEHIND: usize = 10;

/// What is known of one replica.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// Its last report; `None` while it does not answer.
    pub report: Option<Consumers>,
}

/// What is said of a vault before it becomes conditions.
struct Finding {
    ready: Verdict,
    authorized: Verdict,
    available: Verdict,
    delivered: Verdict,
    rolling: bool,
    stalled: bool,
}

#[derive(Clone)]
struct Verdict {
    status: Truth,
    reason: String,
    message: String,
}

fn verdict(status: impl Into<Truth>, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { status: status.into(), reason: reason.to_owned(), message: message.into().chars().take(MAX_MESSAGE).collect() }
}

/// The status of a PolykeyVault.
#[must_use]
pub fn vault_status(vault: &PolykeyVault, replicas: &BTreeMap<String, Replica>, now: Timestamp) -> PolykeyVaultStatus {
    let id = rule_id(vault);
    let (namespace, name) = (vault.metadata.namespace.as_deref().unwrap_or_default(), vault.metadata.name.as_deref().unwrap_or_default());
    let reports: Vec<&Consumers> = replicas.values().filter_map(|r| r.report.as_ref()).collect();
    let states: Vec<&RuleState> = reports.iter().flat_map(|r| &r.rules).filter(|s| s.namespace == namespace && s.name == name).collect();
    let current: Vec<&RuleState> = states.iter().filter(|s| s.id == id).copied().collect();
    let served = current.iter().filter(|s| s.version.is_some() && s.reason.is_none()).max_by_key(|s| (s.committed_ms, s.version)).copied();
    let pods = pods(namespace, name, &reports);
    let unsupported = vault.spec.unsupported();
    let finding = if unsupported.is_empty() { find_out(&reports, &current, served, &pods) } else { not_supported(&unsupported) };
    let old = vault.status.as_ref().map_or(&[][..], |s| &s.conditions);
    PolykeyVaultStatus {
        observed_generation: vault.metadata.generation,
        conditions: conditions(finding, old, vault.metadata.generation, now),
        version: served.and_then(|s| s.version).map(|v| v.to_string()),
        short_version: served.and_then(|s| s.version).map(|v| v.short()),
        author: served.and_then(|s| s.author).map(|a| a.to_string()),
        owner: current.iter().find_map(|s| s.owner).map(|o| o.to_string()),
        committed_at: served.and_then(|s| time(s.committed_ms?)),
        pods: Some(summary(&pods, served)),
    }
}

fn not_supported(fields: &[String]) -> Finding {
    let says = format!("this version of Polykey does not act on {}; nothing is served, since the field may be a restriction. Remove it, or upgrade", fields.join(", "));
    let no = verdict(Truth::Unknown, "Unsupported", "see Ready");
    Finding { ready: verdict(false, "Unsupported", says), authorized: no.clone(), available: no.clone(), delivered: no, rolling: false, stalled: true }
}

fn find_out(reports: &[&Consumers], current: &[&RuleState], served: Option<&RuleState>, pods: &[&Consumer]) -> Finding {
    if reports.is_empty() {
        let no = verdict(Truth::Unknown, "NoNodes", "no Polykey node answers");
        return Finding { ready: verdict(false, "NoNodes", "no Polykey node answers: kubectl get polykeynodes -A"), authorized: no.clone(), available: no.clone(), delivered: no, rolling: false, stalled: false };
    }
    let Some(served) = served else { return nothing_served(current, pods) };
    let held = |p: &&&Consumer| p.version == served.version && matches!(p.state.as_str(), "written" | "reloaded");
    let have = pods.iter().filter(held).count();
    let elsewhere = current.iter().any(|s| s.version != served.version);
    let trouble = pods.iter().find(|p| p.reason.is_some() && matches!(p.state.as_str(), "refused" | "failed"));
    let delivered = match trouble {
        Some(pod) => {
            let reason = pod.reason.clone().unwrap_or_default();
            let why = pod.message.clone().unwrap_or_else(|| format!("the sidecar reports {reason}"));
            verdict(false, &reason, format!("pod {}: {why}", pod.pod))
        }
        None if pods.is_empty() => verdict(true, "NoPods", "no pod asks for it"),
        None if have == pods.len() => verdict(true, "AllPodsCurrent", format!("{have} of {} pods have it", pods.len())),
        None => verdict(false, "Rolling", format!("{have} of {} pods have it", pods.len())),
    };
    let rolling = delivered.reason == "Rolling" || elsewhere;
    let ready = match delivered.status {
        Truth::True if elsewhere => verdict(true, "Rolling", "a node does not have the newest version yet"),
        _ => delivered.clone(),
    };
    Finding {
        ready,
        authorized: verdict(true, "Granted", "owner, cluster admin and namespace admin all allow it"),
        available: verdict(true, "Served", "a node serves it"),
        delivered,
        rolling,
        stalled: false,
    }
}

/// No node serves it: the reason that most of them give, and that of the furthest check.
fn nothing_served(current: &[&RuleState], pods: &[&Consumer]) -> Finding {
    // One node may lack the vault while another already has it and refuses for a better reason.
    let order = |reason: &str| match reason {
        "VaultNotFound" => 0,
        "NotGranted" => 1,
        _ => 2,
    };
    let state = current.iter().filter(|s| s.reason.is_some()).max_by_key(|s| order(s.reason.as_deref().unwrap_or_default()));
    let (reason, message) = match state {
        Some(s) => (s.reason.clone().unwrap_or_default(), s.message.clone().unwrap_or_default()),
        None => ("Rolling".to_owned(), "no node has this rule yet".to_owned()),
    };
    let keys = ["VaultNotFound", "NotGranted", "NamespaceNotAdmitted", "ServiceAccountNotListed", "CaveatRefused"];
    let authorized = if keys.contains(&reason.as_str()) {
        verdict(false, &reason, message.clone())
    } else if state.is_none() {
        verdict(Truth::Unknown, &reason, message.clone())
    } else {
        verdict(true, "Granted", "owner, cluster admin and namespace admin all allow it")
    };
    let delivered = if pods.is_empty() { verdict(Truth::Unknown, &reason, "no pod asks for it") } else { verdict(false, &reason, format!("{} pods ask for it", pods.len())) };
    Finding { ready: verdict(false, &reason, message.clone()), authorized, available: verdict(false, &reason, message), delivered, rolling: state.is_none(), stalled: false }
}

/// The pods that ask for a vault, each once: a pod that moved from one node to another has a row at both for a while, and the one with files tells the truth.
fn pods<'r>(namespace: &str, name: &str, reports: &[&'r Consumers]) -> Vec<&'r Consumer> {
    let mut by_pod: BTreeMap<&str, &Consumer> = BTreeMap::new();
    let rank = |c: &Consumer| (matches!(c.state.as_str(), "written" | "reloaded"), c.since_ms);
    for row in reports.iter().flat_map(|r| &r.consumers).filter(|c| c.namespace == namespace && c.name == name) {
        let known = by_pod.entry(&row.pod_uid).or_insert(row);
        if rank(row) > rank(known) {
            *known = row;
        }
    }
    by_pod.into_values().collect()
}

fn summary(pods: &[&Consumer], served: Option<&RuleState>) -> Pods {
    let current = |p: &Consumer| served.is_some() && p.version == served.and_then(|s| s.version) && matches!(p.state.as_str(), "written" | "reloaded");
    let have = pods.iter().filter(|p| current(p)).count();
    let mut late: Vec<&&Consumer> = pods.iter().filter(|p| !current(p)).collect();
    late.sort_by_key(|p| (p.since_ms, &p.pod));
    let count = |n: usize| Some(i32::try_from(n).unwrap_or(i32::MAX));
    Pods {
        total: count(pods.len()),
        current: count(have),
        summary: Some(format!("{have}/{}", pods.len())),
        behind: late
            .into_iter()
            .take(MAX_BEHIND)
            .map(|p| BehindPod { name: Some(p.pod.clone()), short_version: p.version.map(|v| v.short()), since: time(p.since_ms) })
            .collect(),
    }
}

fn conditions(f: Finding, old: &[Condition], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let mut all = vec![("Ready", f.ready.clone()), ("Authorized", f.authorized), ("Available", f.available), ("Delivered", f.delivered)];
    if f.rolling {
        all.push(("Reconciling", verdict(true, &f.ready.reason, f.ready.message.clone())));
    }
    if f.stalled {
        all.push(("Stalled", verdict(true, &f.ready.reason, f.ready.message)));
    }
    all.into_iter().map(|(type_, v)| condition(type_, v, old, generation, now)).collect()
}

/// A condition keeps its time while its status stays.
fn condition(type_: &str, v: Verdict, old: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
    let since = find(old, type_).filter(|c| c.status == v.status).map_or_else(|| Time(whole_seconds(now)), |c| c.last_transition_time.clone());
    Condition { type_: type_.to_owned(), status: v.status, observed_generation: generation, last_transition_time: since, reason: v.reason, message: v.message }
}

/// The status of a PolykeyPeer.
#[must_use]
pub fn peer_status(peer: &PolykeyPeer, replicas: &BTreeMap<String, Replica>, now: Timestamp) -> PolykeyPeerStatus {
    let reports: Vec<&Consumers> = replicas.values().filter_map(|r| r.report.as_ref()).collect();
    let node = peer.spec.node_id.as_str();
    let rows: Vec<_> = reports.iter().flat_map(|r| &r.peers).filter(|p| p.node.to_string() == node).collect();
    let connected = rows.iter().find(|p| p.connected);
    let owned: std::collections::BTreeSet<_> = reports.iter().flat_map(|r| &r.vaults).filter(|v| v.owners.iter().any(|o| o.to_string() == node)).map(|v| v.id).collect();
    let old = peer.status.as_ref();
    let expired = peer.spec.expires.as_ref().is_some_and(|t| t.0 <= now);
    let last_error = rows.iter().find_map(|p| p.last_error.clone());
    let ready = if !peer.spec.unknown.is_empty() {
        verdict(false, "Unsupported", "a field that this version does not know: the peer is not honoured")
    } else if expired {
        verdict(false, "Expired", "spec.expires has passed")
    } else if reports.is_empty() {
        verdict(Truth::Unknown, "NoNodes", "no Polykey node answers")
    } else if connected.is_some() {
        verdict(true, "Connected", "a node of this cluster is connected to it")
    } else {
        verdict(false, "PeerUnreachable", last_error.unwrap_or_else(|| "it is not connected: a laptop that sleeps is no fault; its vaults are served from the cluster's nodes".to_owned()))
    };
    let seen = rows.iter().filter_map(|p| p.seen_ms).max().and_then(time);
    PolykeyPeerStatus {
        observed_generation: peer.metadata.generation,
        conditions: vec![condition("Ready", ready, old.map_or(&[][..], |s| &s.conditions), peer.metadata.generation, now)],
        // While it is connected the time stands still: a status is no heartbeat.
        last_seen: if connected.is_some() { old.and_then(|s| s.last_seen.clone()) } else { seen.or_else(|| old.and_then(|s| s.last_seen.clone())) },
        address: connected.and_then(|p| p.address.clone()).or_else(|| old.and_then(|s| s.address.clone())),
        vaults: i32::try_from(owned.len()).ok(),
    }
}

/// The operator's condition on a PolykeyNode.
#[must_use]
pub fn node_conditions(answers: bool, access: Option<&str>, old: &[Condition], now: Timestamp) -> Vec<Condition> {
    let ready = match (answers, access) {
        (true, Some(_)) => verdict(true, "Answering", "it serves workloads"),
        (true, None) => verdict(false, "NoAccessRules", "its warden has not given it the access rules yet"),
        (false, _) => verdict(false, "NotAnswering", "it does not answer the operator"),
    };
    vec![condition("Ready", ready, old, None, now)]
}

fn time(ms: u64) -> Option<Time> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok().map(|t| Time(whole_seconds(t)))
}

/// The API server keeps whole seconds: a fraction would look like a change at each comparison.
fn whole_seconds(t: Timestamp) -> Timestamp {
    Timestamp::from_second(t.as_second()).unwrap_or(t)
}

#[cfg(test)]
mod tests;
