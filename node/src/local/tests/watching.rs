//! What a pod with a good token sees of a vault that it may read, while versions come and the node changes.

use super::sidecar::{Sidecar, change, files, following, kind, next, nodes, snapshot, watching};
use super::world::World;
use polykey_client::watch::{Body, Frame, MAX_FRAME};
use std::collections::BTreeMap;
use std::time::Duration;

#[tokio::test]
async fn a_pod_gets_its_nodes_then_all_of_the_version_then_each_change() {
    let world = World::admitting().await;
    let mut watch = world.watch("app").await;
    let Some(Frame::Nodes(known)) = watch.next().await else {
        panic!("Nodes first")
    };
    assert_eq!(known[0].node, world.services.about.node);
    assert_eq!(known[0].address, "polykey-0.polykey-peers.polykey.svc:1315");
    let mut sidecar = Sidecar::default();
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"first");

    let large = vec![7; 5_000];
    world
        .rotate(&[("db/password", b"second"), ("tls/key", &large)])
        .await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("db/password"), b"second");
    // The same value at another path is the same sealed object: a pod keeps no values, so it must come again.
    let version = world.rotate(&[("tls/copy", &large)]).await;
    sidecar.take(&mut watch).await;
    assert_eq!(sidecar.file("tls/copy"), large);
    assert_eq!(sidecar.version, Some(version));
    world.remove("tls/copy").await;
    world.sync().await;
    sidecar.take(&mut watch).await;
    assert!(!sidecar.files.contains_key("tls/copy"));
    assert!(watch.is_quiet().await);
}

#[tokio::test]
async fn a_rule_with_paths_gives_those_files_and_nothing_else() {
    let mut world = World::new().await;
    world
        .rotate(&[
            ("prod/a", b"1"),
            ("prod/b", b"2"),
            ("dev/a", b"3"),
            ("one", b"4"),
            ("one-more", b"5"),
        ])
        .await;
    let mut rule = world.rule("app");
    rule.paths = vec!["prod/".into(), "one".into()];
    world.rules(vec![rule]).await;
    let mut watch = watching(&world, "app").await;
    let content = snapshot(&mut watch).await;
    let (put, removed) = files(content.body);
    let expected = [("one", b"4"), ("prod/a", b"1"), ("prod/b", b"2")];
    assert_eq!(
        put,
        expected.map(|(p, v)| (p.to_owned(), v.to_vec())).into()
    );
    assert!(removed.is_empty());

    world.set(&[("prod/a", b"9"), ("dev/a", b"8")]).await;
    world.remove("prod/b").await;
    world.sync().await;
    let mut all = BTreeMap::new();
    let mut gone = Vec::new();
    while gone.is_empty() {
        let content = change(&mut watch).await;
        let (put, removed) = files(content.body);
        all.extend(put);
        gone.extend(removed);
    }
    assert_eq!(all, [("prod/a".to_owned(), b"9".to_vec())].into());
    assert_eq!(gone, ["prod/b"]);
}

#[tokio::test]
async fn a_large_file_comes_whole_with_and_without_paths_in_the_rule() {
    let mut world = World::new().await;
    let large: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(3 << 20).collect();
    world
        .rotate(&[("a", b"1"), ("large", &large), ("z", &large[..70_000])])
        .await;
    let mut rule = world.rule("parts");
    rule.paths = vec!["large".into(), "z".into()];
    world.rules(vec![world.rule("app"), rule]).await;

    let (_watch, sidecar) = following(&world).await;
    assert!(sidecar.file("large") == large && sidecar.file("z") == &large[..70_000]);

    let mut watch = watching(&world, "parts").await;
    let mut joined: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut frames = 0;
    let mut rest = None;
    loop {
        let (body, more) = match watch.next().await.unwrap() {
            Frame::Snapshot(content) => (content.body, content.more),
            Frame::Part(part) => (part.body, part.more),
            other => panic!("{}", kind(&other)),
        };
        let Body::Files(files) = body else {
            panic!("plain files")
        };
        frames += 1;
        for piece in files.put {
            let file = joined.entry(piece.path).or_default();
            file.extend_from_slice(&piece.value.0);
            rest = piece.rest;
        }
        if !more {
            break;
        }
    }
    assert!(frames >= 3, "no frame holds much more than a part");
    assert_eq!(rest, None);
    assert_eq!(joined.keys().collect::<Vec<_>>(), ["large", "z"]);
    assert!(joined["large"] == large && joined["z"] == large[..70_000]);
    // Another path changes: what is large is not sent again.
    world.rotate(&[("z", b"now small")]).await;
    let content = change(&mut watch).await;
    let (put, _) = files(content.body);
    assert_eq!(put, [("z".to_owned(), b"now small".to_vec())].into());
}

#[tokio::test]
async fn a_watch_takes_up_where_the_one_before_ended() {
    let world = World::admitting().await;
    let first = world.version();
    let token = world.pod_token();
    let mut watch = world
        .watch_as(&token, &format!("names=app&have={first}"))
        .await
        .unwrap();
    nodes(&mut watch).await;
    assert_eq!(next(&mut watch).await, "Current app");
    world.rotate(&[("x", b"1")]).await;
    let change = change(&mut watch).await;
    assert!(
        !change.control.is_empty(),
        "the control log is not known to have been sent"
    );
    drop(watch);

    let mut older = world
        .watch_as(&token, &format!("names=app&have={first}"))
        .await
        .unwrap();
    nodes(&mut older).await;
    Sidecar::default().take(&mut older).await;

    let ahead = world.set(&[("x", b"2")]).await;
    let mut behind = world
        .watch_as(&token, &format!("names=app&have={ahead}"))
        .await
        .unwrap();
    nodes(&mut behind).await;
    assert_eq!(next(&mut behind).await, "Behind app");
    world.sync().await;
    assert_eq!(next(&mut behind).await, "Current app");
}

#[tokio::test]
async fn a_pin_serves_that_version_and_says_so() {
    let mut world = World::admitting().await;
    let first = world.version();
    world.rotate(&[("db/password", b"second")]).await;
    let (mut watch, sidecar) = following(&world).await;
    assert_eq!(sidecar.file("db/password"), b"second");
    let mut pinned = world.rule("app");
    pinned.version = Some(first);
    world.rules(vec![pinned]).await;
    let content = change(&mut watch).await;
    assert!(content.pinned && content.version == first);
    world.rotate(&[("db/password", b"third")]).await;
    assert!(watch.is_quiet().await);
}

#[tokio::test]
async fn a_reader_that_sleeps_through_changes_gets_the_newest_and_not_all() {
    let world = World::admitting().await;
    let (mut watch, mut sidecar) = following(&world).await;
    // Each version is larger than what the buffers between node and pod take, so the node waits for its reader.
    let mut last = sidecar.version.unwrap();
    for round in 0..12u8 {
        let values: Vec<(String, Vec<u8>)> = (0..64u8)
            .map(|n| (format!("big/{n}"), vec![round ^ n; 60_000]))
            .collect();
        let values: Vec<(&str, &[u8])> = values
            .iter()
            .map(|(p, v)| (p.as_str(), v.as_slice()))
            .collect();
        last = world.rotate(&values).await;
    }
    let mut versions = 0;
    while sidecar.version != Some(last) {
        sidecar.take(&mut watch).await;
        versions += 1;
    }
    assert!(versions < 12, "{versions} versions");
    assert_eq!(sidecar.file("big/5")[0], 0b1011 ^ 0b0101);
}

#[tokio::test]
async fn a_large_vault_comes_in_parts_within_the_limit() {
    let world = World::admitting().await;
    let mut value = vec![0; 60_000];
    for n in 0..100u8 {
        value[0] = n;
        world.set(&[(&format!("big/{n}"), &value)]).await;
    }
    world.sync().await;
    let mut watch = watching(&world, "app").await;
    let content = snapshot(&mut watch).await;
    assert!(content.more);
    let mut parts = 1;
    let mut more = content.more;
    while more {
        let frame = watch.next().await.unwrap();
        assert!(frame.to_bytes().len() <= MAX_FRAME);
        let Frame::Part(part) = frame else {
            panic!("a part")
        };
        more = part.more;
        parts += 1;
    }
    assert!(parts >= 6, "{parts} parts");
}

#[tokio::test]
async fn a_stopping_node_says_goodbye() {
    let mut world = World::admitting().await;
    let mut watch = watching(&world, "app").await;
    assert_eq!(next(&mut watch).await, "Snapshot");
    assert_eq!(world.probe("/readyz").await.0, 200);
    let stopping = tokio::spawn(
        world
            .servers
            .take()
            .unwrap()
            .stop_within(Duration::from_millis(200)),
    );
    assert_eq!(next(&mut watch).await, "Bye");
    assert!(watch.next().await.is_none());
    stopping.await.unwrap();
    assert_eq!(world.probe("/readyz").await, (503, "stopping\n".to_owned()));
    assert!(!world.socket.exists());
}
