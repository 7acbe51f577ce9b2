//! The socket: what the command line and the warden do, and what malformed requests get. And the probes.

#![allow(
    clippy::too_many_lines,
    clippy::similar_names,
    reason = "a test reads as one story"
)]

use super::world::World;
use crate::agent::Ask;
use hyper::Method;
use polykey_client::access::AccessReply;
use polykey_client::api::{
    Edit, EditReply, Edits, Entries, GrantReply, GrantRequest, Log, Members, PeerRequest, Peers,
    Put, Secret, Status, VERSION_HEADER, Vault, VaultName, Vaults,
};
use polykey_client::error::{ApiError, Code};
use polykey_client::http::{Connection, json, whole};
use polykey_core::audit::Kind;
use polykey_core::enc;
use polykey_core::ids::NodeId;
use serde_json::Value;
use zeroize::Zeroizing;

async fn refused(
    connection: &mut Connection,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> (u16, ApiError) {
    let answer = connection
        .send(method, path, "application/json", body)
        .await
        .unwrap();
    (answer.status().as_u16(), whole(answer).await.unwrap_err())
}

fn put(path: &str, value: &[u8]) -> Edit {
    Edit::Put(Put {
        path: path.into(),
        mode: 0o444,
        value: Secret(Zeroizing::new(value.to_vec())),
    })
}

async fn edit(
    connection: &mut Connection,
    vault: &str,
    edits: Edits,
) -> Result<EditReply, ApiError> {
    let body = enc::encode(&edits);
    json(
        connection
            .send(
                Method::POST,
                &format!("/v1/vaults/{vault}/edits"),
                "application/cbor",
                body,
            )
            .await?,
    )
    .await
}

#[tokio::test]
async fn a_vault_is_made_written_read_listed_and_shared() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let made: Vault = admin
        .call(
            Method::POST,
            "/v1/vaults",
            &VaultName {
                name: "notes".into(),
            },
        )
        .await
        .unwrap();
    assert_eq!(
        (made.name.as_deref(), made.role.as_str(), made.version),
        (Some("notes"), "owner", None)
    );
    let value = vec![0, 159, 146, 150];
    let written = edit(
        &mut admin,
        "notes",
        Edits {
            expect: None,
            edits: vec![put("a b/ü", &value), put("empty", b"")],
        },
    )
    .await
    .unwrap();
    assert_eq!(written.changed.len(), 2);
    let path = "/v1/vaults/notes/secret?path=a%20b%2F%C3%BC";
    let answer = admin
        .send(Method::GET, path, "application/json", vec![])
        .await
        .unwrap();
    assert_eq!(
        answer.headers()[VERSION_HEADER].to_str().unwrap(),
        written.version.to_string()
    );
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(whole(answer).await.unwrap(), value);
    let entries: Entries = admin
        .get(&format!("/v1/vaults/{}/secrets?prefix=a", made.id))
        .await
        .unwrap();
    assert_eq!(
        entries
            .entries
            .iter()
            .map(|e| e.path.as_str())
            .collect::<Vec<_>>(),
        ["a b/ü"]
    );
    let log: Log = admin.get("/v1/vaults/notes/log?limit=5").await.unwrap();
    assert_eq!(log.versions.len(), 1);

    let friend = polykey_core::keys::RootKey::from_seed(&[5; 32]).node_id();
    let request = GrantRequest {
        siblings: 0,
        node: friend,
        role: "reader".into(),
        expires: None,
        caveat: None,
    };
    let granted: GrantReply = admin
        .call(Method::POST, "/v1/vaults/notes/grants", &request)
        .await
        .unwrap();
    assert!(!granted.unchanged && !granted.connected);
    let members: Members = admin.get("/v1/vaults/notes/members").await.unwrap();
    assert_eq!(members.members.len(), 2);
    let answer = admin
        .send(
            Method::DELETE,
            &format!("/v1/vaults/notes/members/{friend}"),
            "application/json",
            vec![],
        )
        .await
        .unwrap();
    assert!(answer.status().is_success());
    drop(whole(answer).await);
    assert_eq!(
        world.audited(|h| h.kind == Kind::Grant && h.actor == "local"),
        1
    );
    assert_eq!(world.audited(|h| h.kind == Kind::Revoke), 1);
    let renamed: Vault = admin
        .call(
            Method::POST,
            "/v1/vaults/notes/name",
            &VaultName {
                name: "more notes".into(),
            },
        )
        .await
        .unwrap();
    assert_eq!(renamed.id, made.id);
    let vaults: Vaults = admin.get("/v1/vaults").await.unwrap();
    assert_eq!(vaults.vaults.len(), 2);
    let status: Status = admin.get("/v1/status").await.unwrap();
    assert_eq!(
        (status.node_id, status.vaults.len()),
        (world.services.about.node, 2)
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_code() {
    let world = World::new().await;
    let mut admin = world.admin().await;
    let _: Vault = admin
        .call(
            Method::POST,
            "/v1/vaults",
            &VaultName {
                name: "notes".into(),
            },
        )
        .await
        .unwrap();
    let name = |n: &str| serde_json::to_vec(&VaultName { name: n.into() }).unwrap();
    for (method, path, body, code) in [
        (Method::POST, "/v1/vaults", name("notes"), Code::Conflict),
        (Method::POST, "/v1/vaults", name("a/b"), Code::Usage),
        (
            Method::POST,
            "/v1/vaults",
            b"{\"name\":\"x\",\"role\":\"owner\"}".to_vec(),
            Code::Usage,
        ),
        (Method::POST, "/v1/vaults", b"\xff".to_vec(), Code::Usage),
        (
            Method::GET,
            "/v1/vaults/none/secrets",
            vec![],
            Code::NotFound,
        ),
        (
            Method::GET,
            "/v1/vaults/notes/secret?path=x",
            vec![],
            Code::NotFound,
        ),
        (Method::GET, "/v1/vaults/notes/secret", vec![], Code::Usage),
        (
            Method::GET,
            "/v1/vaults/notes/log?limit=many",
            vec![],
            Code::Usage,
        ),
        (
            Method::POST,
            "/v1/vaults/notes/edits",
            b"\x82\xf6\x80\x00".to_vec(),
            Code::Usage,
        ),
        (
            Method::POST,
            "/v1/vaults/notes/grants",
            b"{}".to_vec(),
            Code::Usage,
        ),
        (
            Method::DELETE,
            "/v1/vaults/notes/members/vabc",
            vec![],
            Code::Usage,
        ),
        (Method::DELETE, "/v1/peers/vabc", vec![], Code::Usage),
        (Method::DELETE, "/v1/status", vec![], Code::NotFound),
        (Method::GET, "/v2/status", vec![], Code::NotFound),
        (Method::PUT, "/v1/access", b"{}".to_vec(), Code::Usage),
    ] {
        let (status, error) = refused(&mut admin, method.clone(), path, body).await;
        assert_eq!(
            (error.code, status),
            (code, code.status()),
            "{method} {path}: {error}"
        );
    }
    for path in ["/x", "x/", "x//y", "../x", "", &"x".repeat(513)] {
        let came = edit(
            &mut admin,
            "notes",
            Edits {
                expect: None,
                edits: vec![put(path, b"1")],
            },
        )
        .await;
        assert_eq!(came.unwrap_err().code, Code::Usage, "{path:?}");
    }
    let many = (0..10_001).map(|n| put(&format!("x/{n}"), b"1")).collect();
    let came = edit(
        &mut admin,
        "notes",
        Edits {
            expect: None,
            edits: many,
        },
    )
    .await;
    assert_eq!(came.unwrap_err().code, Code::TooLarge);
    let fits = vec![put("x", &vec![1; 4 << 20])];
    assert!(
        edit(
            &mut admin,
            "notes",
            Edits {
                expect: None,
                edits: fits
            }
        )
        .await
        .is_ok()
    );
    // The node is a reader of the laptop's vault.
    let vault = world.vault.to_string();
    let came = edit(
        &mut admin,
        &vault,
        Edits {
            expect: None,
            edits: vec![put("x", b"1")],
        },
    )
    .await;
    assert_eq!(came.unwrap_err().code, Code::Forbidden);
}

#[tokio::test]
async fn a_body_over_its_limit_is_refused_before_it_is_read() {
    let world = World::new().await;
    for (method, path, bytes) in [
        (Method::POST, "/v1/vaults", 300 << 10),
        (Method::POST, "/v1/vaults/app/grants", 300 << 10),
        (Method::PUT, "/v1/access", 9 << 20),
    ] {
        let mut admin = world.admin().await;
        let answer = admin
            .send(method, path, "application/json", vec![b' '; bytes])
            .await;
        // The node answers and closes; a client that is still writing may see only the latter.
        if let Ok(answer) = answer {
            let status = answer.status().as_u16();
            assert!(
                status == 413 || (status == 404 && path.ends_with("grants")),
                "{path}: {status}"
            );
        }
    }
    assert!(
        world
            .admin()
            .await
            .get::<Status>("/v1/status")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_warden_puts_a_set_and_learns_which_rules_cannot_be_served() {
    let mut world = World::new().await;
    assert_eq!(
        world.probe("/readyz").await,
        (503, "no access rules yet\n".to_owned())
    );
    assert_eq!(world.probe("/startupz").await.0, 200);
    assert_eq!(world.probe("/livez").await.0, 200);
    assert_eq!(world.probe("/other").await.0, 404);
    let mut missing = world.rule("missing");
    missing.vault = polykey_core::ids::VaultId::from([8; 32]);
    let set = world.access_set(vec![world.rule("app"), missing]);
    let mut admin = world.admin().await;
    let reply: AccessReply = admin.call(Method::PUT, "/v1/access", &set).await.unwrap();
    assert!(reply.changed);
    assert_eq!(reply.applied, set.set);
    let refused_rules: Vec<_> = reply
        .refused
        .iter()
        .map(|r| (r.id.as_str(), r.reason.as_str()))
        .collect();
    assert_eq!(refused_rules, [("shop/missing#uid@1", "VaultNotFound")]);
    let again: AccessReply = admin.call(Method::PUT, "/v1/access", &set).await.unwrap();
    assert!(!again.changed);
    assert_eq!(world.probe("/readyz").await.0, 200);
    let status: Status = admin.get("/v1/status").await.unwrap();
    assert_eq!(status.access_set, Some(set.set.clone()));
    let mut older = set.clone();
    older.revision = [("polykeyvaults".to_owned(), "1".to_owned())].into();
    let went_back = admin
        .call::<_, Value>(Method::PUT, "/v1/access", &older)
        .await
        .unwrap_err();
    assert_eq!(went_back.code, Code::Conflict);
    older.restored = true;
    assert!(
        admin
            .call::<_, Value>(Method::PUT, "/v1/access", &older)
            .await
            .is_ok()
    );
    assert_eq!(
        world.audited(|h| h.kind == Kind::Access && h.subject.detail.ends_with("restored")),
        1
    );
    let mut lies = set;
    lies.set = "0".repeat(64);
    let lied = admin
        .call::<_, Value>(Method::PUT, "/v1/access", &lies)
        .await
        .unwrap_err();
    assert_eq!(lied.code, Code::Usage);
    assert!(
        world
            .probe("/metrics")
            .await
            .1
            .contains("polykey_access_rules 2")
    );
}

#[tokio::test]
async fn peers_are_added_listed_and_removed_and_the_agent_is_asked_to_stop() {
    let mut world = World::new().await;
    let mut admin = world.admin().await;
    let node = NodeId::from([6; 32]);
    let request = PeerRequest {
        node,
        address: Some("127.0.0.1:9".into()),
    };
    let _: Value = admin
        .call(Method::POST, "/v1/peers", &request)
        .await
        .unwrap();
    let peers: Peers = admin.get("/v1/peers").await.unwrap();
    assert!(peers.peers.iter().any(|p| p.node == node && !p.connected));
    let remove = format!("/v1/peers/{node}");
    let answer = admin
        .send(Method::DELETE, &remove, "application/json", vec![])
        .await
        .unwrap();
    assert!(answer.status().is_success());
    drop(whole(answer).await);
    assert_eq!(
        refused(&mut admin, Method::DELETE, &remove, vec![]).await.0,
        404
    );
    let bad = PeerRequest {
        node,
        address: Some("nowhere:port".into()),
    };
    assert_eq!(
        admin
            .call::<_, Value>(Method::POST, "/v1/peers", &bad)
            .await
            .unwrap_err()
            .code,
        Code::Usage
    );
    let answer = admin
        .send(Method::POST, "/v1/stop", "application/json", vec![])
        .await
        .unwrap();
    assert!(answer.status().is_success());
    assert!(matches!(world.asked.recv().await, Some(Ask::Stop)));
}
