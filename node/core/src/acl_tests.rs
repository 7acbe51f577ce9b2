use super::*;
use crate::control::Role;
use crate::ids::OpId;
use proptest::prelude::*;

const OWNER: [u8; 32] = [1; 32];

/// Owned values behind a question, all of which allow.
struct World {
    vault: VaultId,
    subjects: Vec<String>,
    paths: Vec<String>,
    version: Option<CommitId>,
    signers: Vec<NodeId>,
    suspend: bool,
    workload: (String, String),
    peer: NodeId,
    peer_namespaces: Vec<String>,
    peer_vaults: Option<Vec<VaultId>>,
    peer_expires: Option<u64>,
    grants: Vec<Grant>,
    here: bool,
    head: Option<Version>,
    pinned: Option<Version>,
    now: u64,
}

fn grant(caveat: Option<Caveat>) -> Grant {
    Grant {
        under: None,
        id: OpId::from([9; 32]),
        role: Role::Reader,
        siblings: 0,
        expires: None,
        caveat,
    }
}

fn version(n: u8) -> Version {
    Version {
        id: [n; 32].into(),
        author: OWNER.into(),
    }
}

impl World {
    fn open() -> World {
        World {
            vault: [7; 32].into(),
            subjects: vec!["shop:app".into()],
            paths: vec![],
            version: None,
            signers: vec![],
            suspend: false,
            workload: ("shop".into(), "app".into()),
            peer: OWNER.into(),
            peer_namespaces: vec!["shop".into()],
            peer_vaults: None,
            peer_expires: None,
            grants: vec![grant(None)],
            here: true,
            head: Some(version(5)),
            pinned: None,
            now: 1_000,
        }
    }

    fn decide(&self) -> Result<Allowed, Denied> {
        let peers = [Peer {
            node: &self.peer,
            namespaces: &self.peer_namespaces,
            vaults: self.peer_vaults.as_deref(),
            expires: self.peer_expires,
        }];
        decide(&Question {
            rule: Rule {
                namespace: "shop",
                name: "app",
                vault: &self.vault,
                subjects: &self.subjects,
                paths: &self.paths,
                version: self.version.as_ref(),
                signers: &self.signers,
                suspend: self.suspend,
            },
            workload: Workload {
                namespace: &self.workload.0,
                service_account: &self.workload.1,
            },
            peers: &peers,
            cluster: "uid-1",
            vault: self.here.then(|| Standing {
                owners: vec![OWNER.into()],
                grants: self.grants.iter().collect(),
            }),
            head: self.head,
            pinned: self.pinned,
            now: self.now,
        })
    }

    fn with(change: impl FnOnce(&mut World)) -> Result<Allowed, Denied> {
        let mut world = World::open();
        change(&mut world);
        world.decide()
    }
}

fn caveat(change: impl FnOnce(&mut Caveat)) -> Vec<Grant> {
    let mut caveat = Caveat::default();
    change(&mut caveat);
    vec![grant(Some(caveat))]
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn all_three_keys_open_the_whole_vault_at_its_head() {
    let allowed = World::open().decide().unwrap();
    assert!(allowed.whole_vault && allowed.covers("any/path"));
    assert_eq!(allowed.version, version(5).id);
}

#[test]
fn each_term_refuses_by_its_frozen_name() {
    type Change = fn(&mut World);
    let table: [(Reason, Change); 22] = [
        (Reason::ServiceAccountNotListed, |w| w.subjects.clear()),
        (Reason::ServiceAccountNotListed, |w| {
            w.workload.1 = "other".into();
        }),
        (Reason::ServiceAccountNotListed, |w| {
            w.workload.0 = "evil".into();
        }),
        (Reason::ServiceAccountNotListed, |w| {
            w.workload.0 = "evil".into();
            w.subjects = vec!["evil:app".into()];
        }),
        (Reason::ServiceAccountNotListed, |w| {
            w.subjects = vec!["*".into(), "shop:*".into(), ":".into()];
        }),
        (Reason::VaultNotFound, |w| w.here = false),
        (Reason::VaultNotFound, |w| w.head = None),
        (Reason::NotGranted, |w| w.grants.clear()),
        (Reason::CaveatRefused, |w| {
            w.grants = caveat(|c| c.cluster = "uid-2".into());
        }),
        (Reason::CaveatRefused, |w| {
            w.grants = caveat(|c| c.namespaces = strings(&["blog"]));
        }),
        (Reason::CaveatRefused, |w| {
            w.grants = caveat(|c| c.service_accounts = strings(&["db"]));
        }),
        (Reason::CaveatRefused, |w| {
            w.paths = strings(&["prod/", "dev/"]);
            w.grants = caveat(|c| c.paths = strings(&["prod/"]));
        }),
        (Reason::NamespaceNotAdmitted, |w| w.peer = [2; 32].into()),
        (Reason::NamespaceNotAdmitted, |w| {
            w.peer_namespaces = strings(&["blog"]);
        }),
        (Reason::NamespaceNotAdmitted, |w| w.peer_namespaces.clear()),
        (Reason::NamespaceNotAdmitted, |w| {
            w.peer_vaults = Some(vec![[8; 32].into()]);
        }),
        (Reason::NamespaceNotAdmitted, |w| {
            w.peer_vaults = Some(vec![]);
        }),
        (Reason::NamespaceNotAdmitted, |w| {
            w.peer_expires = Some(1_000);
        }),
        (Reason::Suspended, |w| w.suspend = true),
        (Reason::PinMissing, |w| w.version = Some([6; 32].into())),
        (Reason::PinMissing, |w| {
            w.version = Some([6; 32].into());
            w.pinned = Some(version(5));
        }),
        (Reason::SignerNotListed, |w| {
            w.signers = vec![[2; 32].into()];
        }),
    ];
    for (n, (reason, change)) in table.into_iter().enumerate() {
        assert_eq!(World::with(change).unwrap_err().reason, reason, "row {n}");
    }
}

#[test]
fn a_pin_serves_that_version_and_no_head() {
    let allowed = World::with(|w| {
        w.version = Some([4; 32].into());
        w.pinned = Some(version(4));
    });
    assert_eq!(allowed.unwrap().version, version(4).id);
}

#[test]
fn a_suspension_hides_no_missing_key() {
    let denied = World::with(|w| {
        w.suspend = true;
        w.grants.clear();
    });
    assert_eq!(denied.unwrap_err().reason, Reason::NotGranted);
}

#[test]
fn the_message_lists_the_three_keys_and_which_is_missing() {
    let denied = World::with(|w| w.peer_namespaces.clear()).unwrap_err();
    assert_eq!(
        denied.keys,
        Keys {
            shared: true,
            admitted: false,
            listed: true
        }
    );
    let text = denied.to_string();
    assert!(
        text.contains("admits the namespace: MISSING")
            && text.contains("shared with this cluster: yes")
    );
    assert!(text.contains("spec.namespaces"), "the next step: {text}");
    let longest = World::with(|w| {
        w.workload = ("n".repeat(63), "s".repeat(253));
        w.subjects.clear();
    });
    assert!(
        longest.unwrap_err().to_string().len() <= 1_024,
        "fits a condition"
    );
}

#[test]
fn a_caveat_narrows_a_rule_over_the_whole_vault() {
    let allowed =
        World::with(|w| w.grants = caveat(|c| c.paths = strings(&["prod/", "one"]))).unwrap();
    assert!(!allowed.whole_vault && allowed.covers("prod/db") && allowed.covers("one"));
    assert!(!allowed.covers("two") && !allowed.covers("one/more"));
    let narrower = World::with(|w| {
        w.paths = strings(&["prod/"]);
        w.grants = caveat(|c| c.paths = strings(&["prod/db/"]));
    })
    .unwrap();
    assert!(narrower.covers("prod/db/password") && !narrower.covers("prod/web"));
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[ab]/?|[ab]/[ab]/?", 0..3)
}

proptest! {
    /// Checked against each key on its own, never against the code under test.
    #[test]
    fn nothing_outside_the_three_keys_is_ever_allowed(
        listed: bool, workload_ns in "shop|blog", sa in "app|db", rule_paths in paths(), caveat_paths in paths(),
        caveat_ns in proptest::collection::vec("shop|blog".prop_map(String::from), 0..2), cluster in "|uid-1|uid-2",
        admitted in proptest::collection::vec("shop|blog".prop_map(String::from), 0..3), owner_is_peer: bool,
        expires in proptest::option::of(999u64..1_002), granted: bool, has_caveat: bool, path in "[ab]|[ab]/[ab]|[ab]/[ab]/[ab]",
    ) {
        let mut world = World::open();
        world.subjects = if listed { vec!["shop:app".into(), "shop:db".into()] } else { vec!["shop:web".into()] };
        world.workload = (workload_ns.clone(), sa);
        world.paths.clone_from(&rule_paths);
        world.peer_namespaces.clone_from(&admitted);
        world.peer_expires = expires;
        if !owner_is_peer { world.peer = [2; 32].into(); }
        let limits = Caveat { cluster: cluster.clone(), namespaces: caveat_ns.clone(), service_accounts: vec![], paths: caveat_paths.clone() };
        world.grants = if granted { vec![grant(has_caveat.then_some(limits))] } else { vec![] };
        if let Ok(allowed) = world.decide() {
            prop_assert!(listed && workload_ns == "shop");
            prop_assert!(granted && owner_is_peer && admitted.contains(&"shop".to_owned()) && expires.is_none_or(|e| e > 1_000));
            if has_caveat {
                prop_assert!(cluster.is_empty() || cluster == "uid-1");
                prop_assert!(caveat_ns.is_empty() || caveat_ns.contains(&"shop".to_owned()));
            }
            let within = |list: &[String]| list.is_empty() || list.iter().any(|r| path == *r || (r.ends_with('/') && path.starts_with(r.as_str())));
            let both = within(&rule_paths) && (!has_caveat || within(&caveat_paths));
            prop_assert!(!allowed.covers(&path) || both, "{:?} {}", allowed, path);
            prop_assert!(allowed.whole_vault || !allowed.paths.is_empty());
            prop_assert!(allowed.covers(&path) || !both, "what all allow is allowed: {:?} {}", allowed, path);
        }
    }
}
