//! What a node has accepted it never goes back from, whatever it hears and however often it starts; and clocks that are a day off.

use super::*;
use crate::store::Table;
use crate::vaults::rows::{self, FloorRow};
use polykey_core::commit::{Commit, SignedCommit};
use polykey_core::control::Role;

/// A day, in milliseconds.
const DAY: u64 = 24 * 3_600 * 1_000;

fn floor(node: &Node, vault: &VaultId) -> Option<FloorRow> {
    let row = node.store.get(Table::Floor, vault.as_bytes()).unwrap();
    row.map(|row| rows::read_floor(&row).unwrap())
}

/// Whether a node that stands at `now` has all that it had when it stood at `before`.
fn covers(node: &Node, vault: &VaultId, now: &FloorRow, before: &FloorRow) -> bool {
    let entry = node.vaults.entry(vault).unwrap();
    let inner = entry.read();
    let heads = |head: &CommitId| {
        now.heads
            .iter()
            .any(|newer| inner.commits.descends(newer, head))
    };
    let kept = before.heads.iter().all(heads);
    kept && now.seq >= before.seq
        && inner.control.covers(&before.control)
        && inner.control.heads() == now.control
        && inner.heads == now.heads
}

fn cases() -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok();
    let cases = given.and_then(|n| n.parse().ok()).unwrap_or(16);
    ProptestConfig::with_cases(cases)
}

proptest! {
    #![proptest_config(cases())]

    /// The floor of two writers, through writes, grants, removals of nobody's work, exchanges in any order, and restarts.
    #[test]
    fn floor_never_goes_back(steps in proptest::collection::vec((0_usize..2, 0_u8..6), 1..25)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut nodes = [Node::new(1), Node::new(2)];
            let vault = nodes[0].vaults.create("app").await.unwrap();
            let writer = nodes[1].id();
            nodes[0].vaults.grant(&vault, writer, Role::Writer, None, None).await.unwrap();
            tell(&nodes[0], &nodes[1], &vault).await.unwrap();
            let mut before: Vec<Option<FloorRow>> = vec![None, None];
            for (n, (at, what)) in (0_u8..).zip(steps) {
                match what {
                    0 | 1 => drop(nodes[at].set(&vault, &format!("k/{at}"), &[n]).await),
                    2 => nodes[at].reopen(),
                    3 if at == 0 => {
                        let member = RootKey::from_seed(&[100 + n; 32]).node_id();
                        nodes[0].vaults.grant(&vault, member, Role::Reader, None, None).await.unwrap();
                    }
                    _ => drop(tell(&nodes[at], &nodes[1 - at], &vault).await.unwrap()),
                }
                for (node, before) in nodes.iter().zip(&mut before) {
                    let now = floor(node, &vault).unwrap();
                    if let Some(before) = before {
                        assert!(covers(node, &vault, &now, before));
                    }
                    *before = Some(now);
                }
            }
        });
    }
}

#[tokio::test]
async fn a_store_with_less_than_its_floor_says_is_not_opened() {
    let node = Node::new(1);
    let vault = node.vaults.create("app").await.unwrap();
    let version = node.set(&vault, "a", b"1").await;
    let newest = node.set(&vault, "a", b"2").await;
    let open = || Vaults::open(node.store.clone(), RootKey::from_seed(&[1; 32]), None);
    let mut batch = Batch::default();
    batch.remove(Table::Commit, &rows::pair(&vault, newest.as_bytes()));
    node.store.commit(batch).await.unwrap();
    assert!(matches!(open(), Err(VaultError::Row(_))));
    // With the floor of that time it is an older store, which peers will notice.
    let mut batch = Batch::default();
    let older = FloorRow {
        heads: vec![version],
        seq: 1,
        ..floor(&node, &vault).unwrap()
    };
    rows::put_floor(&mut batch, &vault, &older);
    node.store.commit(batch).await.unwrap();
    assert!(open().is_ok());
}

/// A version by `writer` on top of what `node` holds, with no change, dated as given.
fn dated(node: &Node, writer: u8, vault: &VaultId, time_ms: u64) -> SignedCommit {
    let entry = node.vaults.entry(vault).unwrap();
    let inner = entry.read();
    let key = RootKey::from_seed(&[writer; 32]);
    let head = inner.heads[0];
    let root = inner.commits.get(&head).unwrap().root;
    let commit = Commit {
        version: 1,
        vault: *vault,
        author: key.node_id(),
        seq: 1,
        nonce: [writer; 16].into(),
        parents: vec![head],
        control: inner.control.heads(),
        root,
        time_ms,
        note: Vec::new().into(),
    };
    SignedCommit::sign(commit, &key)
}

async fn hear(node: &Node, vault: &VaultId, from: NodeId, commit: &SignedCommit) -> Received {
    let announce = Announce {
        commits: vec![commit.bytes().to_vec().into()],
        ..Announce::default()
    };
    let heard = node.vaults.receive(&from, vault, announce, false).await;
    heard.expect("whoever passes it on is not to blame")
}

#[tokio::test]
async fn a_clock_that_is_a_day_ahead_makes_its_versions_wait_and_holds_up_nobody_else() {
    let (a, ahead, behind) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = a.vaults.create("app").await.unwrap();
    for writer in [ahead.id(), behind.id()] {
        a.vaults
            .grant(&vault, writer, Role::Writer, None, None)
            .await
            .unwrap();
    }
    let first = a.set(&vault, "a", b"1").await;
    let early = dated(&a, 2, &vault, now_ms() + DAY);
    for _ in 0..200 {
        hear(&a, &vault, ahead.id(), &early).await;
    }
    let heads = |node: &Node| node.vaults.summary(&vault).unwrap().heads;
    assert_eq!(heads(&a), [first]);
    assert!(a.vaults.entry(&vault).unwrap().read().arriving.early.len() <= 64);

    // A clock that is a day behind dates its version just after what it builds on.
    let committed = a.vaults.summary_of(&vault).unwrap().committed_ms.unwrap();
    let late = dated(&a, 3, &vault, committed + 1);
    hear(&a, &vault, behind.id(), &late).await;
    assert_eq!(heads(&a), [CommitId::from(late.id())]);
    let next = a.set(&vault, "a", b"2").await;
    assert_eq!(heads(&a), [next]);
    let now = a.vaults.summary_of(&vault).unwrap().committed_ms.unwrap();
    assert!(now < now_ms() + DAY / 2, "nobody's clock is pulled ahead");
}
