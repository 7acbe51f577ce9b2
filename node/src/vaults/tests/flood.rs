//! A writer who writes faster than a node takes: the others are served meanwhile, and in the end everything is there.

use super::*;
use polykey_core::commit::SignedCommit;
use polykey_core::control::Role;
use std::time::Duration;

/// More than is taken at once.
const FLOOD: u16 = 1_700;

/// An owner, a writer who floods, and another writer; all have the vault and one version of it.
async fn three() -> ([Node; 3], VaultId) {
    let nodes = [Node::new(1), Node::new(2), Node::new(3)];
    let vault = nodes[0].vaults.create("app").await.unwrap();
    for writer in &nodes[1..] {
        let grant = nodes[0]
            .vaults
            .grant(&vault, writer.id(), Role::Writer, None, None);
        grant.await.unwrap();
    }
    nodes[0].set(&vault, "first", b"1").await;
    for writer in &nodes[1..] {
        tell(&nodes[0], writer, &vault).await.unwrap();
    }
    (nodes, vault)
}

/// Versions by the second node on each other, with no change, in no time; they are in its store.
async fn flood(node: &Node, vault: &VaultId) -> Vec<SignedCommit> {
    let (mut commits, control, root) = {
        let entry = node.vaults.entry(vault).unwrap();
        let inner = entry.read();
        let root = inner.commits.get(&inner.heads[0]).unwrap().root;
        (inner.commits.clone(), inner.control.clone(), root)
    };
    let key = RootKey::from_seed(&[2; 32]);
    let mut next = |n: u16| {
        let mut nonce = [0; 16];
        nonce[..2].copy_from_slice(&n.to_be_bytes());
        let commit = commits.next(
            &commits.heads(),
            key.node_id(),
            &control,
            root,
            nonce,
            now_ms(),
        );
        let signed = SignedCommit::sign(commit, &key);
        commits.restore(&signed, &control).unwrap();
        signed
    };
    let all: Vec<SignedCommit> = (0..FLOOD).map(&mut next).collect();
    say(node, node, vault, &all).await;
    assert_eq!(count(node, vault), usize::from(FLOOD) + 1);
    all
}

/// Announces these versions, without a word about others.
async fn say(from: &Node, to: &Node, vault: &VaultId, commits: &[SignedCommit]) {
    for some in commits.chunks(polykey_core::wire::MAX_RECORDS) {
        let announce = Announce {
            commits: some.iter().map(|c| c.bytes().to_vec().into()).collect(),
            ..Announce::default()
        };
        let heard = to.vaults.receive(&from.id(), vault, announce, false).await;
        assert!(
            matches!(heard, Ok(Received::Done { .. })),
            "nobody is asked for what waits: {heard:?}"
        );
    }
}

fn count(node: &Node, vault: &VaultId) -> usize {
    node.vaults.entry(vault).unwrap().read().commits.len()
}

fn held_back(node: &Node, vault: &VaultId) -> Vec<NodeId> {
    node.vaults.summary_of(vault).unwrap().held_back
}

fn later(node: &Node, vault: &VaultId, seconds: u64) {
    let entry = node.vaults.entry(vault).unwrap();
    entry.write().pace.later(Duration::from_secs(seconds));
}

#[tokio::test]
async fn who_floods_is_held_back_while_others_are_served_and_nothing_is_lost() {
    let ([owner, flooder, honest], vault) = three().await;
    let all = flood(&flooder, &vault).await;
    for _ in 0..2 {
        say(&flooder, &owner, &vault, &all).await;
    }
    let taken = count(&owner, &vault);
    assert!((1_200..1_500).contains(&taken), "{taken}");
    assert_eq!(held_back(&owner, &vault), [flooder.id()]);

    // Whoever did not hear of the flood, and the owner itself.
    honest.set(&vault, "db/password", b"honest").await;
    tell(&honest, &owner, &vault).await.unwrap();
    assert_eq!(owner.get(&vault, "db/password").unwrap(), b"honest");
    let last = owner.set(&vault, "db/user", b"owner").await;
    assert_eq!(owner.vaults.summary(&vault).unwrap().heads, [last]);

    // Who took it all before, and wrote on top of it.
    later(&honest, &vault, 60);
    tell(&flooder, &honest, &vault).await.unwrap();
    later(&honest, &vault, 60);
    tell(&flooder, &honest, &vault).await.unwrap();
    honest.set(&vault, "on/top", b"later").await;
    tell(&honest, &owner, &vault).await.unwrap();
    assert!(
        owner.get(&vault, "on/top").is_err(),
        "it waits for what it builds on"
    );

    later(&owner, &vault, 60);
    tell(&honest, &owner, &vault).await.unwrap();
    assert_eq!(owner.get(&vault, "on/top").unwrap(), b"later");
    assert_eq!(owner.get(&vault, "db/password").unwrap(), b"honest");
    assert!(count(&owner, &vault) > usize::from(FLOOD) + 3);
    tell(&owner, &honest, &vault).await.unwrap();
    assert_eq!(owner.vaults.summary(&vault), honest.vaults.summary(&vault));
    later(&owner, &vault, 600);
    assert!(held_back(&owner, &vault).is_empty());
}

#[tokio::test]
async fn a_long_history_is_taken_at_once_by_who_clones_it_and_its_author_never_waits_at_home() {
    let ([owner, flooder, _], vault) = three().await;
    flood(&flooder, &vault).await;
    let late = Node::new(4);
    owner
        .vaults
        .grant(&vault, late.id(), Role::Reader, None, None)
        .await
        .unwrap();
    tell(&owner, &flooder, &vault).await.unwrap();
    tell(&flooder, &late, &vault).await.unwrap();
    assert_eq!(late.vaults.summary(&vault), flooder.vaults.summary(&vault));
    assert!(held_back(&late, &vault).is_empty());
    assert!(held_back(&flooder, &vault).is_empty());
}
