//! What an access set must be before a node takes it: within its limits, well-formed, what its digest says, and not older than the one in force. Pure.

use polykey_client::access::{AccessSet, MAX_DELIVERY, MAX_RULES, Peer, Purpose, Rule, Sibling};
use polykey_core::path;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

/// `ServiceAccounts` of one rule, as in the schema of `PolykeyVault`.
pub const MAX_SUBJECTS: usize = 64;
/// Paths of one rule: the files of a `PolykeyVault`, as in its schema.
pub const MAX_PATHS: usize = 64;
/// Signers of one rule, as in the schema of `PolykeyVault`.
pub const MAX_SIGNERS: usize = 16;
/// Outside nodes of a cluster: every laptop and server that shares with it, by a wide margin.
pub const MAX_PEERS: usize = 4_096;
/// Replicas of a cluster beside this one.
pub const MAX_SIBLINGS: usize = 256;
/// Addresses of one node, with room over the 8 of the schema.
pub const MAX_ADDRESSES: usize = 16;
/// Namespaces of one peer, as in the schema of `PolykeyPeer`.
pub const MAX_NAMESPACES: usize = 16;
/// Vaults that one peer is narrowed to.
pub const MAX_VAULTS: usize = 1_024;
/// Resources whose revision is kept. Two are known.
const MAX_RESOURCES: usize = 16;
/// Digits of a revision: etcd's are 63-bit numbers; others have been longer.
const MAX_DIGITS: usize = 64;

/// Why a set is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Rules of another cluster.
    #[error("these are rules of {got}; this node belongs to {ours}")]
    Source {
        /// Whose they are.
        got: String,
        /// Whose they should be.
        ours: String,
    },
    /// `set` is not the hash of the contents.
    #[error("the set's digest is {is}, not {says} as it says")]
    Digest {
        /// What `set` says.
        says: String,
        /// What it is.
        is: String,
    },
    /// Too many of something.
    #[error("{what}: {count}, the most is {most}")]
    TooMany {
        /// Of what, and where.
        what: String,
        /// How many came.
        count: usize,
        /// How many may.
        most: usize,
    },
    /// A rule that no warden makes.
    #[error("rule {id}: {why}")]
    Rule {
        /// Which.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// A peer or sibling that no warden makes.
    #[error("node {node}: {why}")]
    Node {
        /// Which.
        node: String,
        /// What is wrong with it.
        why: String,
    },
    /// A revision that is no number.
    #[error("the revision of {0} is no number")]
    Revision(String),
    /// Older than the set in force.
    #[error("{resource} went back: {got} after {have}")]
    WentBack {
        /// Of which resource.
        resource: String,
        /// The revision that came.
        got: String,
        /// The revision in force.
        have: String,
    },
}

/// Checks a set by itself. `cluster` is whose rules this node takes, when it knows.
pub fn check(set: &AccessSet, cluster: Option<&str>) -> Result<(), SetError> {
    if let Some(ours) = cluster.filter(|c| *c != set.source) {
        return Err(SetError::Source {
            got: set.source.chars().take(100).collect(),
            ours: ours.to_owned(),
        });
    }
    at_most("rules", set.rules.len(), MAX_RULES)?;
    at_most("peers", set.peers.len(), MAX_PEERS)?;
    at_most("siblings", set.siblings.len(), MAX_SIBLINGS)?;
    check_revisions(&set.revision)?;
    check_rules(&set.rules)?;
    set.peers.iter().try_for_each(check_peer)?;
    set.siblings.iter().try_for_each(check_sibling)?;
    let is = set.digest();
    if is != set.set {
        return Err(SetError::Digest {
            says: set.set.chars().take(64).collect(),
            is,
        });
    }
    Ok(())
}

/// Checks that no resource went back from `have` to `got`. A resource that is missing went back too.
pub fn not_older(
    have: &BTreeMap<String, String>,
    got: &BTreeMap<String, String>,
) -> Result<(), SetError> {
    for (resource, old) in have {
        let new = got.get(resource).map_or("0", String::as_str);
        if compare(new, old) == Ordering::Less {
            return Err(SetError::WentBack {
                resource: resource.clone(),
                got: new.to_owned(),
                have: old.clone(),
            });
        }
    }
    Ok(())
}

/// Compares two decimal numbers of any length.
fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), SetError> {
    if count <= most {
        return Ok(());
    }
    Err(SetError::TooMany {
        what: what.to_owned(),
        count,
        most,
    })
}

fn check_revisions(revision: &BTreeMap<String, String>) -> Result<(), SetError> {
    at_most("resources in `revision`", revision.len(), MAX_RESOURCES)?;
    for (resource, number) in revision {
        let digits = !number.is_empty()
            && number.len() <= MAX_DIGITS
            && number.bytes().all(|b| b.is_ascii_digit());
        if !digits || resource.len() > 63 {
            return Err(SetError::Revision(resource.chars().take(63).collect()));
        }
    }
    Ok(())
}

fn check_rules(rules: &[Rule]) -> Result<(), SetError> {
    let mut ids = HashSet::new();
    let mut names = HashSet::new();
    for rule in rules {
        check_rule(rule).map_err(|why| bad_rule(rule, why))?;
        if !ids.insert(&rule.id) {
            return Err(bad_rule(rule, "there are two of this id".into()));
        }
        if !names.insert((&rule.namespace, &rule.name, rule.purpose == Purpose::Secret)) {
            let why = format!("{}/{} has two", rule.namespace, rule.name);
            return Err(bad_rule(rule, why));
        }
    }
    Ok(())
}

fn bad_rule(rule: &Rule, why: String) -> SetError {
    SetError::Rule {
        id: rule.id.chars().take(200).collect(),
        why,
    }
}

fn check_rule(rule: &Rule) -> Result<(), String> {
    if rule.id.is_empty() || rule.id.len() > 512 {
        return Err("its id has no or over 512 bytes".into());
    }
    if !is_label(&rule.namespace) || !is_label(&rule.name) {
        return Err("namespace or name is no DNS label".into());
    }
    few("subjects", rule.subjects.len(), MAX_SUBJECTS)?;
    few("paths", rule.paths.len(), MAX_PATHS)?;
    few("signers", rule.signers.len(), MAX_SIGNERS)?;
    rule.subjects
        .iter()
        .try_for_each(|s| check_subject(rule, s))?;
    for rule_path in &rule.paths {
        let bare = rule_path.strip_suffix('/').unwrap_or(rule_path);
        path::check(bare).map_err(|e| format!("path {rule_path:?}: {e}"))?;
    }
    let delivery = serde_json::to_vec(&rule.delivery).map_err(|e| e.to_string())?;
    if delivery.len() > MAX_DELIVERY {
        return Err(format!(
            "its delivery has {} bytes, the most is {MAX_DELIVERY}",
            delivery.len()
        ));
    }
    Ok(())
}

fn few(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count > most {
        return Err(format!("it has {count} {what}, the most is {most}"));
    }
    Ok(())
}

/// A pod reads rules of its own namespace only; the operator, which keeps core Secrets in step, lives in another.
fn check_subject(rule: &Rule, subject: &str) -> Result<(), String> {
    let (namespace, account) = subject
        .split_once(':')
        .ok_or_else(|| format!("subject {subject:?} is not namespace:serviceaccount"))?;
    if !is_label(namespace) || !is_subdomain(account) {
        return Err(format!("subject {subject:?} has no valid names"));
    }
    if rule.purpose == Purpose::Mount && namespace != rule.namespace {
        return Err(format!("subject {subject:?} is of another namespace"));
    }
    Ok(())
}

fn check_peer(peer: &Peer) -> Result<(), SetError> {
    let bad = |why: String| SetError::Node {
        node: peer.node.to_string(),
        why,
    };
    few("namespaces", peer.namespaces.len(), MAX_NAMESPACES).map_err(bad)?;
    few(
        "vaults",
        peer.vaults.as_ref().map_or(0, Vec::len),
        MAX_VAULTS,
    )
    .map_err(bad)?;
    let all = peer.namespaces.len() == 1 && peer.namespaces[0] == "*";
    if !all && !peer.namespaces.iter().all(|n| is_label(n)) {
        return Err(bad("its namespaces are not names, nor `*` alone".into()));
    }
    check_addresses(&peer.addresses).map_err(bad)
}

fn check_sibling(sibling: &Sibling) -> Result<(), SetError> {
    check_addresses(&sibling.addresses).map_err(|why| SetError::Node {
        node: sibling.node.to_string(),
        why,
    })
}

fn check_addresses(addresses: &[String]) -> Result<(), String> {
    few("addresses", addresses.len(), MAX_ADDRESSES)?;
    let good = |a: &String| {
        a.len() <= 260
            && a.rsplit_once(':').is_some_and(|(host, port)| {
                port.parse::<u16>().is_ok_and(|p| p != 0)
                    && !host.is_empty()
                    && host.bytes().all(|b| b.is_ascii_graphic())
            })
    };
    match addresses.iter().find(|a| !good(a)) {
        Some(bad) => Err(format!("address {bad:?} is not host:port")),
        None => Ok(()),
    }
}

/// RFC 1123: at most 63 of `a-z0-9-`, not at an edge `-`.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
