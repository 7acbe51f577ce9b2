//! What a rule is served now: the access set in force and this node's copy of the vault, put to `polykey_core::acl`.

use crate::access::InForce;
use crate::vaults::{Served, VaultError, Vaults};
use polykey_client::access::Rule;
use polykey_client::api::RuleState;
use polykey_core::acl::{self, Allowed, Denied, Question, Standing, Version, Workload};
use polykey_core::ids::NodeId;

/// What may be served, and the version with what proves it.
pub struct Serving {
    /// What may be read.
    pub allowed: Allowed,
    /// The version.
    pub served: Served,
}

/// Decides whether `workload` is served under `rule`, at `now` (unix seconds).
pub fn decide(
    vaults: &Vaults,
    set: &InForce,
    rule: &Rule,
    workload: Workload<'_>,
    now: u64,
) -> Result<Serving, Denied> {
    let control = vaults.control(&rule.vault);
    let standing = control
        .as_deref()
        .map(|c| Standing::of(c, &vaults.me(), now));
    let owners = standing.as_ref().map_or(&[][..], |s| &s.owners);
    let peers: Vec<acl::Peer<'_>> = set
        .peers(now)
        .filter(|p| owners.contains(&p.node))
        .map(|p| acl::Peer {
            node: &p.node,
            namespaces: &p.namespaces,
            vaults: p.vaults.as_deref(),
            expires: p.expires,
        })
        .collect();
    let served = match &standing {
        Some(_) => served(vaults, rule),
        None => None,
    };
    let version = served.as_ref().map(|s| Version {
        id: s.version,
        author: judged(rule, s),
    });
    let allowed = acl::decide(&Question {
        rule: question_rule(rule),
        workload,
        peers: &peers,
        cluster: set.cluster(),
        vault: standing,
        head: version.filter(|_| rule.version.is_none()),
        pinned: version.filter(|_| rule.version.is_some()),
        now,
    })?;
    match served {
        Some(served) if served.version == allowed.version => Ok(Serving { allowed, served }),
        _ => unreachable!("a version is allowed only when it was offered"),
    }
}

/// The head, or the pin: a workload never reads another version.
fn served(vaults: &Vaults, rule: &Rule) -> Option<Served> {
    match vaults.served(&rule.vault, rule.version) {
        Ok(served) => Some(served),
        Err(VaultError::NotFound | VaultError::Pending | VaultError::NoSuch(_)) => None,
        Err(e) => {
            tracing::error!(vault = %rule.vault.short(), error = &e as &dyn std::error::Error, "a vault cannot be served");
            None
        }
    }
}

/// The author that a rule's signers are asked about: of several heads one who is none of them, if there is one.
fn judged(rule: &Rule, served: &Served) -> NodeId {
    let stranger = served.authors.iter().find(|a| !rule.signers.contains(a));
    *stranger.unwrap_or(&served.author)
}

fn question_rule(rule: &Rule) -> acl::Rule<'_> {
    acl::Rule {
        namespace: &rule.namespace,
        name: &rule.name,
        vault: &rule.vault,
        subjects: &rule.subjects,
        paths: &rule.paths,
        version: rule.version.as_ref(),
        signers: &rule.signers,
        suspend: rule.suspend,
    }
}

/// How a rule stands for the `ServiceAccounts` that it lists: served when any of them is.
#[must_use]
pub fn state(vaults: &Vaults, set: &InForce, rule: &Rule, now: u64) -> RuleState {
    let mut refusal = None;
    let listed = rule.subjects.iter().filter_map(|s| s.split_once(':'));
    for (namespace, service_account) in listed {
        let workload = Workload {
            namespace,
            service_account,
        };
        match decide(vaults, set, rule, workload, now) {
            Ok(serving) => return stands(vaults, rule, Some(&serving.served), None),
            Err(denied) => refusal = refusal.or(Some(denied)),
        }
    }
    let held = refusal
        .as_ref()
        .is_some_and(|d| d.reason == acl::Reason::Suspended);
    let version = if held { served(vaults, rule) } else { None };
    stands(vaults, rule, version.as_ref(), refusal.as_ref())
}

fn stands(
    vaults: &Vaults,
    rule: &Rule,
    served: Option<&Served>,
    refusal: Option<&Denied>,
) -> RuleState {
    let owner = vaults
        .control(&rule.vault)
        .and_then(|c| c.state().owners().first().copied());
    let listed_nobody = served.is_none() && refusal.is_none();
    RuleState {
        namespace: rule.namespace.clone(),
        name: rule.name.clone(),
        id: rule.id.clone(),
        version: served.map(|s| s.version),
        author: served.map(|s| s.author),
        committed_ms: served.map(|s| s.committed_ms),
        owner,
        reason: match refusal {
            Some(denied) => Some(denied.reason.as_str().to_owned()),
            None => listed_nobody.then(|| "ServiceAccountNotListed".to_owned()),
        },
        message: match refusal {
            Some(denied) => Some(denied.to_string()),
            None => listed_nobody.then(|| "the rule lists no ServiceAccount".to_owned()),
        },
    }
}
