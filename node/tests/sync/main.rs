//! Two and three real nodes in one process: real stores in temporary directories, real QUIC over loopback.

mod balancer;
mod beats;
mod clones;
mod converge;
mod hostile;
mod keys;
mod malformed;
mod mutate;
mod node;
mod owners;
mod quota;
mod relay;
mod removed;
mod stuck;
mod writers;

use node::{Node, eventually, seed};
use polykey_core::control::Role;
use polykey_core::ids::VaultId;
use std::time::Duration;

/// A vault `app` on `owner` with one secret.
async fn vault_on(owner: &Node) -> VaultId {
    let vault = owner.vaults.create("app").await.unwrap();
    owner.set(&vault, "db/password", b"first").await;
    vault
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_arrives_at_a_connected_node_when_it_is_shared_and_edits_follow() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let vault = vault_on(&laptop).await;
    eventually("connected", || laptop.peers.connected(&cluster.id)).await;
    assert!(cluster.vaults.list().is_empty());

    laptop.share(&vault, &cluster, Role::Reader).await;
    cluster.has(&vault, "db/password", b"first").await;
    for turn in 0..20_u8 {
        laptop.set(&vault, "db/password", &[turn; 40]).await;
        cluster.has(&vault, "db/password", &[turn; 40]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_was_shared_before_arrives_when_the_node_connects() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    cluster.has(&vault, "db/password", b"first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_arrives_whole_and_a_changed_chunk_costs_no_second_copy() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    let mut file: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(5 << 20).collect();
    laptop.set(&vault, "file", &file).await;
    cluster.has(&vault, "file", &file).await;
    file[3 << 20] ^= 1;
    laptop.set(&vault, "file", &file).await;
    cluster.has(&vault, "file", &file).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_too_large_to_announce_are_pulled_and_changes_cost_no_second_clone() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let vault = laptop.vaults.create("app").await.unwrap();
    let value = |n: usize| vec![u8::try_from(n).unwrap(); 60_000];
    let paths: Vec<String> = (0..40).map(|n| format!("files/{n}")).collect();
    laptop
        .set_all(
            &vault,
            paths
                .iter()
                .enumerate()
                .map(|(n, p)| (p.as_str(), value(n))),
        )
        .await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    for (n, path) in paths.iter().enumerate() {
        cluster.has(&vault, path, &value(n)).await;
    }
    laptop.set(&vault, "files/7", &value(77)).await;
    cluster.has(&vault, "files/7", &value(77)).await;
    cluster.has(&vault, "files/8", &value(8)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_vaults_that_are_shared_at_once_all_arrive() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    let (first, second) = (vec![1; 48_000], vec![2; 48_000]);
    let mut vaults = Vec::new();
    for n in 0..100 {
        let vault = laptop.vaults.create(&format!("v{n}")).await.unwrap();
        laptop.set(&vault, "a", &first).await;
        laptop.share(&vault, &cluster, Role::Reader).await;
        vaults.push(vault);
    }
    laptop.dials(&cluster).await;
    for vault in &vaults {
        cluster.has(vault, "a", &first).await;
    }
    for vault in &vaults {
        laptop.set(vault, "a", &second).await;
    }
    for vault in &vaults {
        cluster.has(vault, "a", &second).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_breaks_off_goes_on_from_what_is_there() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    let vault = laptop.vaults.create("app").await.unwrap();
    let paths: Vec<String> = (0..600).map(|n| format!("files/{n}")).collect();
    let value = |n: usize| vec![u8::try_from(n % 251).unwrap(); 65_000];
    for part in paths.chunks(60) {
        let values = part.iter().enumerate();
        laptop
            .set_all(&vault, values.map(|(n, p)| (p.as_str(), value(n))))
            .await;
    }
    laptop.share(&vault, &cluster, Role::Reader).await;
    laptop.dials(&cluster).await;
    eventually("partly here", || {
        let arriving = cluster.vaults.arriving(&vault, &laptop.id);
        arriving.is_some_and(|(wanted, begun)| begun && !wanted.is_empty())
    })
    .await;
    let laptop = laptop.kill().start().await;
    cluster.has(&vault, "files/599", &value(59)).await;
    let held = cluster.vaults.summary(&vault);
    assert_eq!(held, laptop.vaults.summary(&vault));
    for (n, path) in paths.iter().enumerate() {
        assert_eq!(cluster.get(&vault, path), Some(value(n % 60)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_catches_up() {
    let laptop = Node::start(1).await;
    let mut cluster = Node::start(2).await;
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    cluster.has(&vault, "db/password", b"first").await;

    let stopped = cluster.stop().await;
    eventually("noticed", || !laptop.peers.connected(&stopped.id)).await;
    for turn in 0..5_u8 {
        laptop.set(&vault, "db/password", &[turn; 9]).await;
    }
    cluster = stopped.start().await;
    cluster.admit(&[&laptop], &[]);
    cluster.has(&vault, "db/password", &[4; 9]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_node_is_told_that_it_is_unknown_and_comes_in_once_it_is_known() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    laptop.dials(&cluster).await;
    eventually("refused", || {
        let peers = laptop.peers.list();
        let error = peers[0].last_error.clone().unwrap_or_default();
        !peers[0].connected && error.contains("does not know you")
    })
    .await;
    assert!(cluster.peers.list().is_empty() && cluster.vaults.list().is_empty());
    cluster.admit(&[&laptop], &[]);
    cluster.has(&vault, "db/password", b"first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_waits_until_the_cluster_admits_it() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit_vaults(&laptop, &[VaultId::from([9; 32])]);
    laptop.dials(&cluster).await;
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    eventually("connected", || laptop.peers.connected(&cluster.id)).await;
    // A vault that is admitted goes the same way later, so the first had its chance.
    let other = laptop.vaults.create("other").await.unwrap();
    laptop.set(&other, "a", b"b").await;
    cluster.admit_vaults(&laptop, &[other]);
    laptop.share(&other, &cluster, Role::Reader).await;
    cluster.has(&other, "a", b"b").await;
    assert!(cluster.vaults.summary(&vault).is_none());

    cluster.admit_vaults(&laptop, &[other, vault]);
    cluster.has(&vault, "db/password", b"first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_pass_through_a_node_in_the_middle() {
    let (a, b, c) = (
        Node::start(1).await,
        Node::start(2).await,
        Node::start(3).await,
    );
    b.admit(&[&a], &[&c]);
    c.admit(&[], &[&b]);
    a.dials(&b).await;
    c.dials(&b).await;
    let vault = vault_on(&a).await;
    a.share(&vault, &b, Role::Reader).await;
    a.share(&vault, &c, Role::Reader).await;
    c.has(&vault, "db/password", b"first").await;
    a.set(&vault, "db/password", b"second").await;
    c.has(&vault, "db/password", b"second").await;
    assert!(!a.peers.connected(&c.id) && !c.peers.connected(&a.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_down_catches_up_from_the_other_while_the_laptop_is_away() {
    let (laptop, first) = (Node::start(1).await, Node::start(2).await);
    let second = Node::start(3).await;
    first.admit(&[&laptop], &[&second]);
    second.admit(&[&laptop], &[&first]);
    laptop.dials(&first).await;
    let vault = vault_on(&laptop).await;
    let second = second.stop().await;
    laptop.share_id(&vault, second.id, Role::Reader).await;
    laptop.share(&vault, &first, Role::Reader).await;
    laptop.set(&vault, "db/password", b"second").await;
    first.has(&vault, "db/password", b"second").await;
    laptop.stop().await;

    let second = second.start().await;
    second.admit(&[], &[&first]);
    second.dials(&first).await;
    second.has(&vault, "db/password", b"second").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_node_gets_nothing_more_while_the_others_do() {
    let (laptop, kept, removed) = (
        Node::start(1).await,
        Node::start(2).await,
        Node::start(3).await,
    );
    for node in [&kept, &removed] {
        node.admit(&[&laptop], &[]);
        laptop.dials(node).await;
    }
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &kept, Role::Reader).await;
    laptop.share(&vault, &removed, Role::Reader).await;
    removed.has(&vault, "db/password", b"first").await;

    laptop.vaults.revoke(&vault, removed.id).await.unwrap();
    laptop.set(&vault, "db/password", b"second").await;
    kept.has(&vault, "db/password", b"second").await;
    // Another vault goes to the removed node afterwards, on the same connection.
    let other = laptop.vaults.create("other").await.unwrap();
    laptop.set(&other, "a", b"b").await;
    laptop.share(&other, &removed, Role::Reader).await;
    removed.has(&other, "a", b"b").await;
    assert_eq!(removed.get(&vault, "db/password"), Some(b"first".to_vec()));
    let theirs = removed.vaults.summary(&vault).unwrap();
    assert_ne!(Some(theirs), laptop.vaults.summary(&vault));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_changed_a_vault_apart_from_each_other_come_to_hold_the_same() {
    let (one, other) = (Node::start(1).await, Node::start(2).await);
    other.knows(&one).await;
    one.dials(&other).await;
    let vault = vault_on(&one).await;
    one.share(&vault, &other, Role::Writer).await;
    other.has(&vault, "db/password", b"first").await;
    let stopped = other.stop().await;
    one.set(&vault, "from/one", b"1").await;
    let apart = stopped.start_apart().await;
    apart.set(&vault, "from/other", b"2").await;
    let other = apart.stop().await.start().await;
    eventually("the same heads", || {
        let held = other.vaults.summary(&vault);
        held.as_ref().is_some_and(|h| h.heads.len() == 2) && held == one.vaults.summary(&vault)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_left_when_both_dial_at_once() {
    for round in 0..12_u8 {
        let (one, other) = (Node::start(20 + round).await, Node::start(60 + round).await);
        tokio::join!(one.dials(&other), other.dials(&one));
        eventually("both connected", || {
            one.peers.connected(&other.id) && other.peers.connected(&one.id)
        })
        .await;
        let vault = vault_on(&one).await;
        one.share(&vault, &other, Role::Reader).await;
        other.has(&vault, "db/password", b"first").await;
        // It is the same for both: who dialled sees the other's listening address, who was dialled does not.
        eventually("settled", || {
            let at = |node: &Node| node.peers.list()[0].address.clone().unwrap_or_default();
            (at(&one) == other.address()) != (at(&other) == one.address())
        })
        .await;
        assert_eq!((one.peers.connections(), other.peers.connections()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_reaches_every_replica_behind_one_address() {
    let laptop = Node::start(1).await;
    let replicas = [Node::start(2).await, Node::start(3).await];
    let balancer = balancer::start(replicas.iter().map(Node::socket).collect()).await;
    for replica in &replicas {
        replica.admit(&[&laptop], &[]);
        let address = balancer.to_string();
        laptop.peers.add(replica.id, Some(&address)).await.unwrap();
    }
    eventually("both connected", || {
        replicas.iter().all(|r| laptop.peers.connected(&r.id))
    })
    .await;
    let vault = vault_on(&laptop).await;
    for replica in &replicas {
        laptop.share(&vault, replica, Role::Reader).await;
        replica.has(&vault, "db/password", b"first").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_cannot_send_a_node_to_loopback() {
    let (one, other) = (Node::start(1).await, Node::start(2).await);
    one.admit_at(&other, &other.address());
    eventually("refused", || {
        let error = one.peers.list()[0].last_error.clone();
        error.is_some_and(|e| e.contains("may be dialled"))
    })
    .await;
    assert_eq!(one.peers.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_peers_outlast_a_restart_and_go_when_they_are_removed() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let laptop = laptop.stop().await.start().await;
    eventually("connected", || laptop.peers.connected(&cluster.id)).await;
    assert_eq!(laptop.peers.list()[0].addresses, [cluster.address()]);
    assert!(laptop.peers.remove(&cluster.id).await.unwrap());
    assert!(!laptop.peers.remove(&cluster.id).await.unwrap());
    eventually("gone", || laptop.peers.list().is_empty()).await;
    let laptop = laptop.stop().await.start().await;
    assert!(laptop.peers.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_is_noticed_and_a_name_is_resolved_at_each_dial() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    let name = format!("localhost:{}", cluster.socket().port());
    laptop.peers.add(cluster.id, Some(&name)).await.unwrap();
    eventually("connected", || laptop.peers.connected(&cluster.id)).await;
    let started = std::time::Instant::now();
    let dead = cluster.kill();
    node::within(Duration::from_secs(16), "noticed", || {
        !laptop.peers.connected(&dead.id)
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(16));
    assert_ne!(seed(1), seed(2));
}
