//! What `-o json` prints, kind by kind. Programs of others read these documents: a field may be added to a snapshot here, and none may go or change.

use insta::assert_json_snapshot;
use polykey_client::api::{self, Caveat, PathChange};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::{
    Agent, Change, Conflict, Diff, Document, Failure, Grant, Identity, Item, KeyChange, Kind, List,
    Member, Peer, Problem, Pruning, Revocation, Secret, SecretValue, SoftwareVersion, Status,
    Vault, Version, from_seconds,
};
use polykey_core::ids::{CommitId, NodeId, OpId, VaultId};

const MOMENT_MS: u64 = 1_795_511_523_120;

fn node() -> NodeId {
    NodeId::from([0x11; 32])
}

fn vault_id() -> VaultId {
    VaultId::from([0x22; 32])
}

fn version() -> CommitId {
    CommitId::from([0x3f; 32])
}

fn list<T: Item>(item: T) -> List<T> {
    List { items: vec![item] }
}

fn document<T: Kind>(body: &T) -> serde_json::Value {
    serde_json::to_value(Document::of(body)).expect("a document is JSON")
}

fn vault() -> Vault {
    Vault::from(api::Vault {
        id: vault_id(),
        name: Some("app".to_owned()),
        role: "owner".to_owned(),
        version: Some(version()),
        author: Some(node()),
        committed_ms: Some(MOMENT_MS),
        owners: vec![node()],
        members: 2,
        state: "ok".to_owned(),
        doubles: vec![],
        held_back: vec![],
        fresh_ms: None,
    })
}

fn peer() -> Peer {
    Peer::from(api::Peer {
        node: node(),
        addresses: vec!["10.0.4.7:30131".to_owned()],
        origin: "configured".to_owned(),
        connected: false,
        cloned: false,
        address: None,
        seen_ms: Some(MOMENT_MS),
        last_error: Some("timed out".to_owned()),
    })
}

fn caveat() -> Caveat {
    Caveat {
        cluster: None,
        namespaces: vec!["shop".to_owned()],
        service_accounts: vec!["app".to_owned()],
        paths: vec![],
    }
}

#[test]
fn an_identity_is_a_document() {
    assert_json_snapshot!(document(&Identity {
        node_id: Some(node()),
        node_path: "/home/ana/.local/share/polykey".to_owned(),
        created: true,
        restored: false,
        recovery_code_file: None,
    }));
}

#[test]
fn an_agent_is_a_document() {
    let socket = "/run/user/1000/polykey/3c41d09ab7e2.sock".to_owned();
    let listen = Some("[::]:1314".to_owned());
    assert_json_snapshot!(document(&Agent {
        running: true,
        socket,
        node_id: Some(node()),
        listen
    }));
}

#[test]
fn a_status_is_a_document() {
    assert_json_snapshot!(document(&Status {
        node_id: node(),
        software_version: "0.1.0".to_owned(),
        node_path: "/home/ana/.local/share/polykey".to_owned(),
        socket: "/run/user/1000/polykey/3c41d09ab7e2.sock".to_owned(),
        unlock_method: "passphrase".to_owned(),
        listen: Some("[::]:1314".to_owned()),
        boot: 3,
        uptime_seconds: 60,
        store_bytes: 1_300_000,
        collected: None,
        access_set: None,
        access_age_seconds: None,
        consumers: 0,
        vaults: vec![vault()],
        peers: vec![peer()],
        standing: api::Standing::default(),
        problems: vec![Problem {
            message: "app is pending".to_owned(),
            next: Some("polykey peer ls".to_owned())
        }],
    }));
}

#[test]
fn a_vault_list_is_a_document() {
    assert_json_snapshot!(document(&list(vault())));
}

#[test]
fn a_member_list_is_a_document() {
    assert_json_snapshot!(document(&list(Member::from(api::Member {
        node: node(),
        role: "reader".to_owned(),
        expires: Some(MOMENT_MS / 1_000),
        caveat: Some(caveat()),
        this_node: false,
        connected: true,
        siblings: 2,
        under: None,
    }))));
}

#[test]
fn a_secret_list_is_a_document() {
    assert_json_snapshot!(document(&list(Secret::of(
        "my vault",
        api::Entry {
            path: "prod/db?#1".to_owned(),
            size: 12,
            mode: 0o444,
            version: Some(version()),
            changed_ms: Some(MOMENT_MS),
            by: Some(node()),
            conflict: false,
        }
    ))));
}

#[test]
fn a_secret_value_is_text_or_base64() {
    let reference = "pk://app/db".to_owned();
    assert_json_snapshot!(
        "text",
        document(&SecretValue::of(reference.clone(), version(), b"s3cret\n"))
    );
    assert_json_snapshot!(
        "bytes",
        document(&SecretValue::of(reference, version(), &[0xff, 0]))
    );
}

#[test]
fn a_version_list_is_a_document() {
    assert_json_snapshot!(document(&list(Version::from(api::Version {
        version: version(),
        author: node(),
        committed_ms: MOMENT_MS,
        gone: None,
        changes: vec![PathChange {
            path: "prod/db".to_owned(),
            change: "added".to_owned()
        }],
    }))));
}

#[test]
fn a_peer_list_is_a_document() {
    assert_json_snapshot!(document(&list(peer())));
}

#[test]
fn a_change_is_a_document() {
    let names = vec!["app:prod/db".to_owned()];
    assert_json_snapshot!(document(&Change {
        action: "set",
        targets: names.clone(),
        changed: names,
        version: Some(version()),
        dry_run: false,
    }));
}

#[test]
fn a_grant_and_a_revocation_are_documents() {
    assert_json_snapshot!(
        "grant",
        document(&Grant {
            vault: "app".to_owned(),
            node: node(),
            role: "reader".to_owned(),
            expires: from_seconds(MOMENT_MS / 1_000),
            caveat: Some(caveat()),
            grant: Some(OpId::from([0x44; 32])),
            connected: false,
            unchanged: false,
            dry_run: false,
        })
    );
    let rotate = vec!["app:prod/db".to_owned()];
    assert_json_snapshot!(
        "revocation",
        document(&Revocation {
            vault: "app".to_owned(),
            node: node(),
            rotate,
            dry_run: false
        })
    );
}

#[test]
fn a_change_of_the_key_is_a_document() {
    assert_json_snapshot!(document(&KeyChange {
        old_id: node(),
        new_id: Some(NodeId::from([0x12; 32])),
        vaults: vec![vault_id()],
        peers: vec![NodeId::from([0x13; 32])],
        dry_run: false,
    }));
}

#[test]
fn the_version_of_the_program_is_a_document() {
    assert_json_snapshot!(document(&SoftwareVersion {
        software_version: "0.1.0".to_owned()
    }));
}

#[test]
fn an_error_is_a_document_with_its_exit_status() {
    let error = ApiError::new(
        Code::NotFound,
        "app:prod/bd is not there, or not shared with you",
    );
    let error = error
        .hint("closest: app:prod/db")
        .next("polykey ls app:prod");
    assert_json_snapshot!(serde_json::to_value(Failure::of(&error, 3)).expect("JSON"));
}

#[test]
fn a_document_starts_with_its_version_and_its_kind() {
    let text = serde_json::to_string(&Document::of(&list(peer()))).expect("JSON");
    assert!(
        text.starts_with(r#"{"apiVersion":"cli.polykey.io/v1","kind":"PeerList","items":["#),
        "{text}"
    );
}

#[test]
fn a_time_that_no_calendar_has_is_left_out() {
    assert_eq!(from_seconds(u64::MAX), None);
    assert_eq!(from_seconds(i64::MAX as u64), None);
}

#[test]
fn a_conflict_list_is_a_document() {
    let standing = |size| api::ConflictValue {
        version: Some(version()),
        by: Some(node()),
        changed_ms: Some(MOMENT_MS),
        size,
    };
    let conflict = api::Conflict {
        path: "prod/db".to_owned(),
        values: vec![standing(8), standing(9)],
    };
    let items = Conflict::all_of("app", conflict);
    assert_json_snapshot!(document(&List { items }));
}

#[test]
fn a_diff_is_a_document() {
    let differs = |path: &str, old, new| api::Differs {
        path: path.to_owned(),
        old,
        new,
        conflict: false,
    };
    assert_json_snapshot!(document(&Diff::of(
        "app",
        api::Diff {
            from: Some(CommitId::from([0x2e; 32])),
            to: version(),
            changes: vec![
                differs("a", None, Some(3)),
                differs("b", Some(3), Some(4)),
                differs("c", Some(3), None),
            ],
        }
    )));
}

#[test]
fn a_pruning_is_a_document() {
    assert_json_snapshot!(document(&Pruning {
        vault: "app".to_owned(),
        keep: Some(version()),
        versions: 40,
        unchanged: false,
        freed: 1 << 20,
    }));
}
