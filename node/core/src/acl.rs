//! May this workload read this vault, and which paths and version of it? One pure decision over borrowed values. It allows only what three people each
//! allowed: the vault's owner (shared with this cluster), the cluster's admin (a peer admits the namespace) and the namespace's admin (the
//! `ServiceAccount` is listed). It does not check tokens or signatures; who asks it has.

use crate::control::{Caveat, Control, Grant};
use crate::ids::{CommitId, NodeId, VaultId};
use crate::path;
use std::fmt;

/// A `PolykeyVault`, as a rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// Its namespace, and that of every workload it admits.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The vault.
    pub vault: &'a VaultId,
    /// `namespace:serviceaccount` of each that is admitted.
    pub subjects: &'a [String],
    /// What may be read: a path that ends in `/` is a directory, another one secret. Empty: the whole vault.
    pub paths: &'a [String],
    /// Only this version.
    pub version: Option<&'a CommitId>,
    /// Only versions by these authors. Empty: by any writer.
    pub signers: &'a [NodeId],
    /// Hold every pod at the version that it has.
    pub suspend: bool,
}

/// Who asks: from a verified token.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its `ServiceAccount`.
    pub service_account: &'a str,
}

/// A `PolykeyPeer` in force.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The outside node.
    pub node: &'a NodeId,
    /// Namespaces that may name its vaults; `*` stands for all.
    pub namespaces: &'a [String],
    /// Only these vaults of it; absent: any.
    pub vaults: Option<&'a [VaultId]>,
    /// Unix seconds from which it counts as absent.
    pub expires: Option<u64>,
}

/// What this node's copy of the vault says.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// The vault's owners.
    pub owners: Vec<NodeId>,
    /// The grants by which this node reads it now.
    pub grants: Vec<&'a Grant>,
}

impl<'a> Standing<'a> {
    /// What `control` says of `node` at `now`, in Unix seconds.
    #[must_use]
    pub fn of(control: &'a Control, node: &NodeId, now: u64) -> Standing<'a> {
        let state = control.state();
        Standing {
            owners: state.owners(),
            grants: state.reading_grants(node, now).collect(),
        }
    }
}

/// A version that this node could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: CommitId,
    /// Who made it.
    pub author: NodeId,
}

/// All that the decision looks at.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The rule under which the workload asks.
    pub rule: Rule<'a>,
    /// Who asks.
    pub workload: Workload<'a>,
    /// The peers in force.
    pub peers: &'a [Peer<'a>],
    /// Uid of this cluster; empty where there is none.
    pub cluster: &'a str,
    /// The vault, if this node has it.
    pub vault: Option<Standing<'a>>,
    /// The head that is served, if one has arrived whole.
    pub head: Option<Version>,
    /// The version that the rule pins, if it is a valid one and here. Looked at only when the rule has a pin.
    pub pinned: Option<Version>,
    /// Unix seconds.
    pub now: u64,
}

/// What may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// All of the vault: the workload may have the objects and their keys.
    pub whole_vault: bool,
    /// Otherwise: what of it. Never empty then.
    pub paths: Vec<String>,
    /// At this version and no other.
    pub version: CommitId,
}

impl Allowed {
    /// Whether `path` may be read.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        self.whole_vault || self.paths.iter().any(|rule| path::covers(rule, path))
    }
}

/// The first term that fails. The names are frozen: they are reasons of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The rule does not list the workload's `ServiceAccount`.
    ServiceAccountNotListed,
    /// This node does not have the vault, or no version of it yet.
    VaultNotFound,
    /// This node may not read the vault (any more).
    NotGranted,
    /// The owner's grant does not extend to this cluster, namespace, `ServiceAccount` or path.
    CaveatRefused,
    /// No peer that owns the vault admits the namespace.
    NamespaceNotAdmitted,
    /// The rule holds every pod at the version that it has; a new pod has none, so it gets none.
    Suspended,
    /// The pinned version is not here, or is not valid.
    PinMissing,
    /// The version's author is not among the rule's signers.
    SignerNotListed,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 8] = [
        Reason::ServiceAccountNotListed,
        Reason::VaultNotFound,
        Reason::NotGranted,
        Reason::CaveatRefused,
        Reason::NamespaceNotAdmitted,
        Reason::Suspended,
        Reason::PinMissing,
        Reason::SignerNotListed,
    ];

    /// The frozen name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::ServiceAccountNotListed => "ServiceAccountNotListed",
            Reason::VaultNotFound => "VaultNotFound",
            Reason::NotGranted => "NotGranted",
            Reason::CaveatRefused => "CaveatRefused",
            Reason::NamespaceNotAdmitted => "NamespaceNotAdmitted",
            Reason::Suspended => "Suspended",
            Reason::PinMissing => "PinMissing",
            Reason::SignerNotListed => "SignerNotListed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the three keys are there. For the namespace's admin: a stranger is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The owner shared the vault with this cluster, for this workload.
    pub shared: bool,
    /// The cluster's admin admits the namespace on a peer that owns the vault. Not known while the vault is not here.
    pub admitted: bool,
    /// The namespace's admin lists the `ServiceAccount`.
    pub listed: bool,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{explanation} ({})", keys_in_words(self))]
pub struct Denied {
    /// The first term that fails.
    pub reason: Reason,
    /// Which keys are there.
    pub keys: Keys,
    explanation: String,
}

fn keys_in_words(denied: &Denied) -> String {
    let say = |there: bool| if there { "yes" } else { "MISSING" };
    let admitted = match denied.reason {
        Reason::VaultNotFound if !denied.keys.admitted => "not known yet",
        _ => say(denied.keys.admitted),
    };
    format!(
        "three keys are needed: the vault is shared with this cluster: {}; a PolykeyPeer admits the namespace: {admitted}; \
         the PolykeyVault lists the ServiceAccount: {}",
        say(denied.keys.shared),
        say(denied.keys.listed),
    )
}

/// Decides.
///
/// # Errors
/// The first term that fails, in the order of [`Reason::ALL`].
pub fn decide(question: &Question<'_>) -> Result<Allowed, Denied> {
    let keys = Keys {
        shared: !admitting(question).is_empty(),
        admitted: namespace_admitted(question),
        listed: listed(question),
    };
    judge(question, keys).map_err(|reason| Denied {
        reason,
        keys,
        explanation: explain(question, reason),
    })
}

fn judge(question: &Question<'_>, keys: Keys) -> Result<Allowed, Reason> {
    if !keys.listed {
        return Err(Reason::ServiceAccountNotListed);
    }
    let standing = question.vault.as_ref().ok_or(Reason::VaultNotFound)?;
    if standing.grants.is_empty() {
        return Err(Reason::NotGranted);
    }
    let scope = scope(question.rule.paths, &admitting(question)).ok_or(Reason::CaveatRefused)?;
    if !keys.admitted {
        return Err(Reason::NamespaceNotAdmitted);
    }
    if question.rule.suspend {
        return Err(Reason::Suspended);
    }
    let version = served(question)?;
    let signers = question.rule.signers;
    if !signers.is_empty() && !signers.contains(&version.author) {
        return Err(Reason::SignerNotListed);
    }
    let (whole_vault, paths) = match scope {
        Scope::Whole => (true, Vec::new()),
        Scope::Paths(paths) => (false, paths),
    };
    Ok(Allowed {
        whole_vault,
        paths,
        version: version.id,
    })
}

fn listed(question: &Question<'_>) -> bool {
    let Workload {
        namespace,
        service_account,
    } = question.workload;
    let is_subject = |subject: &String| {
        subject
            .split_once(':')
            .is_some_and(|(ns, account)| ns == namespace && account == service_account)
    };
    namespace == question.rule.namespace && question.rule.subjects.iter().any(is_subject)
}

/// Whether a peer that owns the vault admits the rule's namespace.
fn namespace_admitted(question: &Question<'_>) -> bool {
    let Some(standing) = &question.vault else {
        return false;
    };
    question.peers.iter().any(|peer| {
        standing.owners.contains(peer.node)
            && peer.expires.is_none_or(|expires| question.now < expires)
            && peer
                .vaults
                .is_none_or(|vaults| vaults.contains(question.rule.vault))
            && peer
                .namespaces
                .iter()
                .any(|n| n == "*" || n == question.rule.namespace)
    })
}

/// The grants that extend to this cluster and workload.
fn admitting<'q>(question: &'q Question<'_>) -> Vec<&'q Grant> {
    let grants = question.vault.iter().flat_map(|s| &s.grants);
    grants
        .copied()
        .filter(|grant| {
            grant
                .caveat
                .as_ref()
                .is_none_or(|caveat| extends(caveat, question))
        })
        .collect()
}

fn extends(caveat: &Caveat, question: &Question<'_>) -> bool {
    let lists = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
    (caveat.cluster.is_empty() || caveat.cluster == question.cluster)
        && lists(&caveat.namespaces, question.workload.namespace)
        && lists(&caveat.service_accounts, question.workload.service_account)
}

/// What of a vault may be read.
enum Scope {
    Whole,
    Paths(Vec<String>),
}

/// What the rule names and some grant extends to. `None` when there is no grant, or a path of the rule is outside of all of them.
fn scope(rule: &[String], grants: &[&Grant]) -> Option<Scope> {
    let limits: Vec<&[String]> = grants
        .iter()
        .map(|g| g.caveat.as_ref().map_or(&[][..], |c| &c.paths))
        .collect();
    if limits.is_empty() {
        return None;
    }
    if limits.iter().any(|paths| paths.is_empty()) {
        return Some(if rule.is_empty() {
            Scope::Whole
        } else {
            Scope::Paths(rule.to_vec())
        });
    }
    let granted: Vec<&String> = limits.into_iter().flatten().collect();
    if rule.is_empty() {
        return Some(Scope::Paths(granted.into_iter().cloned().collect()));
    }
    let mut paths = Vec::new();
    for asked in rule {
        let before = paths.len();
        paths.extend(granted.iter().filter_map(|limit| both(asked, limit)));
        if paths.len() == before {
            return None;
        }
    }
    Some(Scope::Paths(paths))
}

/// The narrower of two rules of which one is within the other.
fn both(a: &str, b: &str) -> Option<String> {
    if path::within(a, b) {
        Some(a.to_owned())
    } else if path::within(b, a) {
        Some(b.to_owned())
    } else {
        None
    }
}

fn served(question: &Question<'_>) -> Result<Version, Reason> {
    match question.rule.version {
        None => question.head.ok_or(Reason::VaultNotFound),
        Some(pin) => question
            .pinned
            .filter(|version| version.id == *pin)
            .ok_or(Reason::PinMissing),
    }
}

fn explain(question: &Question<'_>, reason: Reason) -> String {
    let Rule {
        namespace,
        name,
        vault,
        ..
    } = question.rule;
    let Workload {
        namespace: from,
        service_account,
    } = question.workload;
    match reason {
        Reason::ServiceAccountNotListed => format!(
            "PolykeyVault {namespace}/{name} does not list ServiceAccount {service_account} of namespace {from}: add it to spec.serviceAccounts"
        ),
        Reason::VaultNotFound if question.vault.is_none() => format!(
            "vault {vault} is not here: its owner shares it with `polykey share`, and peer and node must reach each other"
        ),
        Reason::VaultNotFound => format!(
            "no version of vault {vault} is here whole yet: it is empty, or still on its way"
        ),
        Reason::NotGranted => format!(
            "this cluster may not read vault {vault}: its owner never shared it for reading, or the share was removed or has expired"
        ),
        Reason::CaveatRefused => format!(
            "the owner of vault {vault} shared it with limits that leave out ServiceAccount {service_account} of namespace {from}, this cluster, or a path of {namespace}/{name}"
        ),
        Reason::NamespaceNotAdmitted => {
            let owners = question.vault.iter().flat_map(|s| &s.owners).take(4);
            let owners: Vec<String> = owners.map(ToString::to_string).collect();
            format!(
                "no PolykeyPeer in force for an owner of vault {vault} ({}) admits namespace {namespace}: a cluster admin adds it to spec.namespaces",
                owners.join(", ")
            )
        }
        Reason::Suspended => format!(
            "PolykeyVault {namespace}/{name} is suspended: pods keep the version that they have, new pods get none until spec.suspend is removed"
        ),
        Reason::PinMissing => format!(
            "the version that PolykeyVault {namespace}/{name} pins is not a valid version of vault {vault} here"
        ),
        Reason::SignerNotListed => format!(
            "the version to be served was not made by one of spec.signers of PolykeyVault {namespace}/{name}"
        ),
    }
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
