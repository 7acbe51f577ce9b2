//! Several writers of one vault over real QUIC: together, apart, and together again. No machine makes a version of it.

use crate::node::{Apart, Node, eventually};
use crate::vault_on;
use polykey_core::control::Role;
use polykey_core::ids::VaultId;

/// A node and laptops that write one vault with it. It dials them, so that a laptop that runs elsewhere finds nobody by itself.
async fn shared(laptops: u8) -> (Node, Vec<Node>, VaultId) {
    let hub = Node::start(1).await;
    let vault = vault_on(&hub).await;
    let mut all = Vec::new();
    for n in 0..laptops {
        let laptop = Node::start(n + 2).await;
        laptop.knows(&hub).await;
        hub.dials(&laptop).await;
        hub.share(&vault, &laptop, Role::Writer).await;
        all.push(laptop);
    }
    for laptop in &all {
        laptop.has(&vault, "db/password", b"first").await;
    }
    (hub, all, vault)
}

/// The laptops leave for where they reach nobody.
async fn apart(laptops: Vec<Node>) -> Vec<Apart> {
    let mut apart = Vec::new();
    for laptop in laptops {
        apart.push(laptop.stop().await.start_apart().await);
    }
    apart
}

/// They come back.
async fn home(apart: Vec<Apart>) -> Vec<Node> {
    let mut laptops = Vec::new();
    for laptop in apart {
        laptops.push(laptop.stop().await.start().await);
    }
    laptops
}

fn versions(node: &Node, vault: &VaultId) -> usize {
    node.vaults.log(vault, None, 1_000).map_or(0, |l| l.len())
}

fn heads(node: &Node, vault: &VaultId) -> usize {
    node.vaults.summary(vault).map_or(0, |h| h.heads.len())
}

/// Paths, and whether several values stand at them.
fn contents(node: &Node, vault: &VaultId) -> Vec<(String, bool)> {
    let listing = node.vaults.list_paths(vault, "").unwrap();
    listing
        .entries
        .into_iter()
        .map(|e| (e.path, e.conflict))
        .collect()
}

/// Everyone has the same heads, that many.
async fn together<'n>(
    nodes: impl IntoIterator<Item = &'n Node> + Clone,
    vault: &VaultId,
    count: usize,
) {
    eventually("all have the same heads", || {
        let mut all = nodes.clone().into_iter().map(|n| n.vaults.summary(vault));
        let first = all.next().flatten();
        first.as_ref().is_some_and(|f| f.heads.len() == count) && all.all(|s| s == first)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_laptops_and_a_third_node_write_together_and_apart_and_come_to_one_contents() {
    let (hub, laptops, vault) = shared(2).await;
    for (writer, path) in [(&laptops[0], "a"), (&laptops[1], "b"), (&hub, "c")] {
        writer.set(&vault, path, b"together").await;
        for node in laptops.iter().chain([&hub]) {
            node.has(&vault, path, b"together").await;
        }
    }
    let before = versions(&hub, &vault);
    let apart = apart(laptops).await;
    hub.set(&vault, "x", b"hub").await;
    for (n, laptop) in apart.iter().enumerate() {
        laptop
            .set(&vault, "x", format!("laptop {n}").as_bytes())
            .await;
        laptop.set(&vault, &format!("own/{n}"), b"1").await;
    }
    let laptops = home(apart).await;
    let all = || laptops.iter().chain([&hub]);
    together(all(), &vault, 3).await;
    for node in all() {
        assert_eq!(
            versions(node, &vault),
            before + 5,
            "what people wrote, and nothing else"
        );
        let paths = contents(node, &vault);
        assert_eq!(paths, contents(&hub, &vault));
        let several: Vec<&str> = paths
            .iter()
            .filter(|(_, c)| *c)
            .map(|(p, _)| p.as_str())
            .collect();
        assert_eq!(several, ["x"]);
        assert_eq!(paths.len(), 7);
        let conflicts = node.vaults.conflicts(&vault).unwrap();
        assert_eq!(conflicts[0].values.len(), 3);
        assert_eq!(
            node.get(&vault, "x"),
            hub.get(&vault, "x"),
            "all show the same one"
        );
    }
    laptops[0].set(&vault, "x", b"settled").await;
    together(all(), &vault, 1).await;
    for node in all() {
        assert_eq!(node.get(&vault, "x").unwrap(), b"settled");
        assert!(node.vaults.conflicts(&vault).unwrap().is_empty());
        assert_eq!(versions(node, &vault), before + 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_storm() {
    let (hub, laptops, vault) = shared(9).await;
    let before = versions(&hub, &vault);
    let apart = apart(laptops).await;
    hub.set(&vault, "x", b"hub").await;
    for (n, laptop) in apart.iter().enumerate() {
        laptop
            .set(&vault, "x", format!("laptop {n}").as_bytes())
            .await;
    }
    let laptops = home(apart).await;
    let all = || laptops.iter().chain([&hub]);
    together(all(), &vault, 10).await;
    // One more write has gone around: whatever a machine would have made of the ten would be here by now.
    hub.set(&vault, "end", b"1").await;
    together(all(), &vault, 1).await;
    for node in all() {
        assert_eq!(versions(node, &vault), before + 11);
        assert_eq!(heads(node, &vault), 1);
        assert_eq!(node.vaults.conflicts(&vault).unwrap()[0].values.len(), 10);
    }
}
