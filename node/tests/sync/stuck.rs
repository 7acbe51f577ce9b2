//! A version that came in part holds up nothing.

use crate::node::{Node, eventually};
use crate::vault_on;
use polykey_core::control::Role;

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_that_leaves_amid_a_large_version_holds_up_no_other() {
    let (laptop, cluster, other) = (
        Node::start(1).await,
        Node::start(2).await,
        Node::start(3).await,
    );
    cluster.admit(&[&laptop, &other], &[]);
    let vault = vault_on(&laptop).await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    laptop.share(&vault, &other, Role::Writer).await;
    laptop.dials(&cluster).await;
    other.dials(&cluster).await;
    other.has(&vault, "db/password", b"first").await;

    let apart = laptop.kill().start_apart().await;
    let large: Vec<u8> = (0_u64..)
        .flat_map(u64::to_le_bytes)
        .take(60 << 20)
        .collect();
    apart.set(&vault, "large", &large).await;
    let laptop = apart.stop().await.start().await;
    eventually("partly here", || {
        let arriving = cluster.vaults.arriving(&vault, &laptop.id);
        arriving.is_some_and(|(wanted, begun)| begun && !wanted.is_empty())
    })
    .await;
    let laptop = laptop.kill();

    let value = vec![2; 200_000];
    other.set(&vault, "other", &value).await;
    cluster.has(&vault, "other", &value).await;
    assert_eq!(cluster.get(&vault, "large"), None);
    let laptop = laptop.start().await;
    cluster.has(&vault, "large", &large).await;
    laptop.has(&vault, "other", &value).await;
}
