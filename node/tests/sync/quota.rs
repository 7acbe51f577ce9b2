//! A peer that brings more than it may: what is stored of its vaults stays under the limit, and everybody else is served.

use crate::node::{Node, eventually};
use polykey_core::control::Role;

const LIMIT: u64 = 6 << 20;
/// Values of this size, so that each is a file of its own.
const VALUE: usize = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_offers_more_than_its_quota_holds_the_quota_and_others_are_served() {
    let (greedy, other, cluster) = (
        Node::start(1).await,
        Node::start(2).await,
        Node::start(3).await,
    );
    cluster.vaults.quotas().limit(LIMIT);
    cluster.admit(&[&greedy, &other], &[]);
    greedy.dials(&cluster).await;
    other.dials(&cluster).await;
    let small = greedy.vaults.create("small").await.unwrap();
    greedy.set(&small, "a", b"first").await;
    greedy.share(&small, &cluster, Role::Reader).await;
    cluster.has(&small, "a", b"first").await;

    // Ten times what it may bring, in vaults of half the limit.
    let paths: Vec<String> = (0..50).map(|n| format!("files/{n}")).collect();
    for number in 0..20_u8 {
        let name = format!("big-{number}");
        let vault = greedy.vaults.create(&name).await.unwrap();
        // All of them differ: equal ones would be one object.
        let values = (0_u8..)
            .zip(&paths)
            .map(|(n, p)| (p.as_str(), [vec![n], vec![number; VALUE]].concat()));
        greedy.set_all(&vault, values).await;
        greedy.share(&vault, &cluster, Role::Reader).await;
    }
    eventually("nearly full", || {
        cluster.vaults.quotas().used(&greedy.id) > LIMIT - (3 << 20)
    })
    .await;

    // Meanwhile another peer's vault comes and is kept up to date, and what is here is read on.
    let vault = other.vaults.create("other").await.unwrap();
    other.set(&vault, "a", b"b").await;
    other.share(&vault, &cluster, Role::Reader).await;
    cluster.has(&vault, "a", b"b").await;
    for turn in 0..10_u8 {
        other.set(&vault, "a", &[turn]).await;
        cluster.has(&vault, "a", &[turn]).await;
        assert!(cluster.vaults.quotas().used(&greedy.id) <= LIMIT);
    }
    assert_eq!(cluster.get(&small, "a"), Some(b"first".to_vec()));
    assert!(cluster.peers.connected(&greedy.id), "nobody is at fault");

    // The count outlasts a restart, and so does the limit.
    let used = cluster.vaults.quotas().used(&greedy.id);
    let cluster = cluster.stop().await.start().await;
    let counted = cluster.vaults.quotas().used(&greedy.id);
    assert!(counted <= used && counted > used / 2, "{counted} of {used}");
    assert!(cluster.disk() < LIMIT + (4 << 20), "{}", cluster.disk());
}
