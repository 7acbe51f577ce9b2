//! What a pod sees while rules, grants and caveats change: who may read what, and since when no more.

use super::sidecar::{files, following, next, nodes, snapshot, watching};
use super::world::{World, eventually};
use crate::record::Happened;
use polykey_core::audit::{Kind, Outcome};
use polykey_core::control::{Caveat, Role};
use polykey_core::ids::CommitId;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_first_delivery_is_audited_and_another_is_not() {
    let world = World::admitting().await;
    let read = |h: &Happened| {
        h.kind == Kind::Read && h.outcome == Outcome::Done && h.actor == "shop/app/app-0"
    };
    for _ in 0..2 {
        let mut watch = watching(&world, "app").await;
        assert_eq!(next(&mut watch).await, "Snapshot");
    }
    eventually(async || (world.audited(read) == 1).then_some(())).await;
    world.rotate(&[("a", b"1")]).await;
    let mut watch = watching(&world, "app").await;
    assert_eq!(next(&mut watch).await, "Snapshot");
    eventually(async || (world.audited(read) == 2).then_some(())).await;
}

#[tokio::test]
async fn a_caveat_of_the_owner_limits_what_a_rule_for_the_whole_vault_gives() {
    let mut world = World::new().await;
    let me = world.services.about.node;
    world.rotate(&[("prod/a", b"1"), ("dev/a", b"3")]).await;
    world.laptop.revoke(&world.vault, me).await.unwrap();
    let caveat = |namespace: &str| Caveat {
        cluster: String::new(),
        namespaces: vec![namespace.into()],
        service_accounts: vec![],
        paths: vec!["prod/".into()],
    };
    world
        .laptop
        .grant(&world.vault, me, Role::Reader, None, Some(caveat("shop")))
        .await
        .unwrap();
    world.sync().await;
    world.rules(vec![world.rule("app")]).await;
    let mut watch = watching(&world, "app").await;
    let content = snapshot(&mut watch).await;
    assert_eq!(
        files(content.body).0.into_keys().collect::<Vec<_>>(),
        ["prod/a"]
    );
}

#[tokio::test]
async fn each_missing_key_is_named() {
    let mut world = World::new().await;
    let mut unlisted = world.rule("unlisted");
    unlisted.subjects = vec!["shop:other".into()];
    let mut unknown = world.rule("unknown");
    unknown.vault = polykey_core::ids::VaultId::from([9; 32]);
    let mut pinned = world.rule("pinned");
    pinned.version = Some(CommitId::from([3; 32]));
    let mut signed = world.rule("signed");
    signed.signers = vec![world.services.about.node];
    let mut held = world.rule("held");
    held.suspend = true;
    world
        .rules(vec![unlisted, unknown, pinned, signed, held])
        .await;
    let mut watch = watching(&world, "unlisted,unknown,pinned,signed,held,none").await;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(next(&mut watch).await);
    }
    told.sort();
    assert_eq!(
        told,
        [
            "Refused held Suspended",
            "Refused none VaultNotFound",
            "Refused pinned PinMissing",
            "Refused signed SignerNotListed",
            "Refused unknown VaultNotFound",
            "Refused unlisted ServiceAccountNotListed",
        ]
    );
    assert!(watch.is_quiet().await, "each is said once");
    let rows = world.services.watches.consumers().list();
    let refused: Vec<_> = rows
        .iter()
        .map(|r| (r.name.as_str(), r.state.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            ("held", "refused"),
            ("pinned", "refused"),
            ("signed", "refused"),
            ("unknown", "refused"),
            ("unlisted", "refused")
        ],
        "a name that no rule has gets no row"
    );
    // The third key: no peer admits the namespace.
    let mut set = world.access_set(vec![world.rule("app")]);
    set.peers[0].namespaces = vec!["other".into()];
    let _: serde_json::Value = world
        .admin()
        .await
        .call(hyper::Method::PUT, "/v1/access", &set.sealed())
        .await
        .unwrap();
    let mut watch = watching(&world, "app").await;
    assert_eq!(next(&mut watch).await, "Refused app NamespaceNotAdmitted");
}

#[tokio::test]
async fn another_namespace_does_not_see_the_rule() {
    let world = World::admitting().await;
    let token = world.token("other", "app", "app-0");
    let mut watch = world.watch_as(&token, "names=app").await.unwrap();
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Refused app VaultNotFound");
}

#[tokio::test]
async fn access_that_is_taken_back_ends_at_once_and_may_come_again() {
    let mut world = World::admitting().await;
    let (mut watch, mut sidecar) = following(&world).await;
    let mut other = world.rule("app");
    other.subjects = vec!["shop:other".into()];
    world.rules(vec![other]).await;
    let put = Instant::now();
    assert_eq!(next(&mut watch).await, "Gone app ServiceAccountNotListed");
    assert!(
        put.elapsed() < Duration::from_millis(200),
        "{:?}",
        put.elapsed()
    );
    world.rotate(&[("db/password", b"not for you")]).await;
    assert!(watch.is_quiet().await);
    world.rules(vec![world.rule("app")]).await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"not for you");
    world.rules(vec![]).await;
    assert_eq!(next(&mut watch).await, "Gone app Deleted");
}

#[tokio::test]
async fn a_vault_that_is_unshared_is_gone_for_pods_too() {
    let world = World::admitting().await;
    let mut watch = watching(&world, "app").await;
    assert_eq!(next(&mut watch).await, "Snapshot");
    world
        .laptop
        .revoke(&world.vault, world.services.about.node)
        .await
        .unwrap();
    world.sync().await;
    assert_eq!(next(&mut watch).await, "Gone app NotGranted");
    let mut again = watching(&world, "app").await;
    assert_eq!(next(&mut again).await, "Refused app NotGranted");
}

#[tokio::test]
async fn a_suspended_rule_holds_pods_at_what_they_have() {
    let mut world = World::admitting().await;
    let first = world.version();
    let (mut running, mut sidecar) = following(&world).await;
    let mut held = world.rule("app");
    held.suspend = true;
    world.rules(vec![held]).await;
    world.rotate(&[("db/password", b"second")]).await;
    assert!(running.is_quiet().await);
    let token = world.token("shop", "app", "app-1");
    let mut fresh = world.watch_as(&token, "names=app").await.unwrap();
    nodes(&mut fresh).await;
    assert_eq!(next(&mut fresh).await, "Refused app Suspended");
    let token = world.token("shop", "app", "app-2");
    let mut resumed = world
        .watch_as(&token, &format!("names=app&have={first}"))
        .await
        .unwrap();
    nodes(&mut resumed).await;
    assert_eq!(next(&mut resumed).await, "Current app");
    world.rules(vec![world.rule("app")]).await;
    sidecar.take(&mut running).await;
    assert_eq!(sidecar.file("db/password"), b"second");
    assert_eq!(next(&mut resumed).await, "Snapshot");
    assert_eq!(next(&mut fresh).await, "Snapshot");
}

#[tokio::test]
async fn before_the_first_set_a_watch_is_told_to_come_again() {
    let world = World::new().await;
    let refused = world
        .watch_as(&world.pod_token(), "names=app")
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code, polykey_client::error::Code::NoAccessRules);
}
