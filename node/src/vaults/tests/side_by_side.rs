//! Writers, owners and callers who do not wait for each other, and writers who do not follow the format.

#![allow(clippy::many_single_char_names, reason = "nodes of a test are a, b, c")]

use super::*;
use crate::vaults::secrets::Secrets;
use polykey_core::commit::SignedCommit;
use polykey_core::epoch::EpochSecret;
use polykey_core::ids::Tag;
use polykey_core::seal::{self, Kind};
use polykey_core::tree::Tree;
use std::collections::BTreeSet;

async fn exchange(nodes: &[&Node], vault: &VaultId) {
    // Twice around: what the last has reaches the first.
    for _ in 0..2 {
        for from in nodes {
            for to in nodes {
                if from.id() != to.id() {
                    tell(from, to, vault).await.unwrap();
                }
            }
        }
    }
}

/// A vault of the first node in which all are members of this role, and all have it.
async fn shared(nodes: &[&Node], role: Role) -> VaultId {
    let vault = nodes[0].vaults.create("app").await.unwrap();
    for node in &nodes[1..] {
        nodes[0]
            .vaults
            .grant(&vault, node.id(), role, None, None)
            .await
            .unwrap();
    }
    exchange(nodes, &vault).await;
    vault
}

async fn remove(node: &Node, vault: &VaultId, path: &str) -> Edited {
    node.vaults
        .edit(vault, vec![Edit::Remove { path: path.into() }], None)
        .await
        .unwrap()
}

fn state(node: &Node, vault: &VaultId) -> VaultState {
    node.vaults.summary_of(vault).unwrap().state
}

#[tokio::test]
async fn writes_side_by_side_are_all_in_the_next_version() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    a.set(&vault, "both", b"0").await;
    exchange(&[&a, &b], &vault).await;
    a.set(&vault, "x", b"from a").await;
    b.set(&vault, "y", b"from b").await;
    exchange(&[&a, &b], &vault).await;
    assert_eq!(
        (state(&a, &vault), state(&b, &vault)),
        (VaultState::Diverged, VaultState::Diverged)
    );
    assert_eq!(a.vaults.summary(&vault), b.vaults.summary(&vault));
    b.set(&vault, "z", b"after").await;
    tell(&b, &a, &vault).await.unwrap();
    b.reopen();
    for node in [&a, &b] {
        assert_eq!(state(node, &vault), VaultState::Ok);
        for (path, value) in [
            ("both", &b"0"[..]),
            ("x", b"from a"),
            ("y", b"from b"),
            ("z", b"after"),
        ] {
            assert_eq!(node.get(&vault, path).unwrap(), value, "{path}");
        }
    }
}

#[tokio::test]
async fn what_heads_show_together_is_read_listed_and_served_at_once_and_later_under_its_version() {
    let (mut a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    a.set(&vault, "both", b"0").await;
    exchange(&[&a, &b], &vault).await;
    let one = a.set(&vault, "x", b"from a").await;
    let mine = b.set(&vault, "x", b"from b").await;
    let other = b.set(&vault, "y", b"from b").await;
    exchange(&[&a, &b], &vault).await;
    let together = polykey_core::view::version(&{
        let mut heads = [one, other];
        heads.sort_unstable();
        heads
    });
    for node in [&a, &b] {
        assert_eq!(node.get(&vault, "both").unwrap(), b"0");
        assert_eq!(node.get(&vault, "y").unwrap(), b"from b");
        assert_eq!(node.vaults.summary_of(&vault).unwrap().version, together);
        let listing = node.vaults.list_paths(&vault, "").unwrap();
        assert_eq!(listing.version, together);
        let seen: Vec<(&str, bool)> = listing
            .entries
            .iter()
            .map(|e| (e.path.as_str(), e.conflict))
            .collect();
        assert_eq!(seen, [("both", false), ("x", true), ("y", false)]);
        let got = node.vaults.get(&vault, "x", None).unwrap();
        assert!(got.conflict && Some(got.version) == together);
        let conflicts = node.vaults.conflicts(&vault).unwrap();
        assert_eq!(conflicts.len(), 1);
        let versions: BTreeSet<_> = conflicts[0]
            .values
            .iter()
            .filter_map(|v| v.version)
            .collect();
        assert_eq!(versions, BTreeSet::from([one, mine]));
        for (version, value) in [(one, &b"from a"[..]), (mine, b"from b")] {
            let read = node
                .vaults
                .get(&vault, "x", Some(&version.to_string()))
                .unwrap();
            assert_eq!((read.value.as_slice(), read.conflict), (value, false));
        }
        // No one tree holds it, so workloads get it as plain files, with both signatures.
        let served = node.vaults.served(&vault, None).unwrap();
        assert_eq!(
            (Some(served.version), served.root, served.commits.len()),
            (together, None, 2)
        );
        let files = node.vaults.files(&vault, &served.view, &[]).unwrap();
        assert_eq!(files.len(), 3);
    }
    // Nobody made a version of it, and asking for what is there makes none either.
    assert_eq!(a.vaults.log(&vault, None, 9).unwrap().len(), 4);
    let unchanged = a
        .vaults
        .edit(
            &vault,
            vec![Edit::Remove {
                path: "none".into(),
            }],
            None,
        )
        .await
        .unwrap();
    assert!(unchanged.changed.is_empty() && Some(unchanged.version) == together);
    let edits = || {
        vec![Edit::Put {
            path: "z".into(),
            mode: 0o444,
            value: Zeroizing::new(b"1".to_vec()),
        }]
    };
    assert!(matches!(
        a.vaults.edit(&vault, edits(), Some(one)).await,
        Err(VaultError::Moved { .. })
    ));
    let edited = a.vaults.edit(&vault, edits(), together).await.unwrap();
    assert_eq!(edited.changed, ["z"]);
    a.reopen();
    let found = a
        .vaults
        .find_version(&vault, &together.unwrap().to_string()[..12])
        .unwrap();
    assert_eq!(
        Some(found),
        together,
        "it can be named after somebody built on it"
    );
    let then = a.vaults.served(&vault, together).unwrap();
    assert_eq!(a.vaults.files(&vault, &then.view, &[]).unwrap().len(), 3);
    assert_eq!(a.vaults.list_paths(&vault, "").unwrap().entries.len(), 4);
    let log = a.vaults.log(&vault, None, 1).unwrap();
    assert_eq!(
        log[0].changes,
        [("z".to_owned(), "added")],
        "and only what was written is its author's"
    );
}

#[tokio::test]
async fn writing_the_value_that_one_side_has_settles_a_conflict() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    for value in [&b"from a"[..], b"from b"] {
        a.set(&vault, "x", b"from a").await;
        b.set(&vault, "x", b"from b").await;
        exchange(&[&a, &b], &vault).await;
        assert_eq!(a.vaults.conflicts(&vault).unwrap().len(), 1);
        a.set(&vault, "x", value).await;
        exchange(&[&a, &b], &vault).await;
        assert_eq!(b.get(&vault, "x").unwrap(), value);
        assert!(b.vaults.conflicts(&vault).unwrap().is_empty());
        a.set(&vault, "x", b"0").await;
        exchange(&[&a, &b], &vault).await;
    }
}

#[tokio::test]
async fn two_values_of_one_path_stand_side_by_side_until_someone_writes_it() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    a.set(&vault, "x", b"from a").await;
    b.set(&vault, "x", &vec![7; 5_000]).await;
    exchange(&[&a, &b], &vault).await;
    a.set(&vault, "other", b"1").await;
    exchange(&[&a, &b], &vault).await;
    let conflict = |node: &Node| node.vaults.list_paths(&vault, "x").unwrap().entries[0].conflict;
    assert!(conflict(&a) && conflict(&b));
    assert_eq!(
        a.vaults.conflicts(&vault).unwrap().len(),
        1,
        "also when a version holds both"
    );
    assert_eq!(a.get(&vault, "x").unwrap(), b.get(&vault, "x").unwrap());
    b.set(&vault, "x", b"settled").await;
    exchange(&[&a, &b], &vault).await;
    assert!(!conflict(&a) && !conflict(&b));
    assert_eq!(a.get(&vault, "x").unwrap(), b"settled");
}

#[tokio::test]
async fn a_write_beats_a_removal_beside_it_and_nothing_overwritten_comes_back() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    for path in ["kept", "gone", "old"] {
        a.set(&vault, path, b"before").await;
    }
    exchange(&[&a, &b], &vault).await;
    remove(&a, &vault, "kept").await;
    remove(&a, &vault, "gone").await;
    b.set(&vault, "kept", b"written").await;
    b.set(&vault, "old", b"new").await;
    exchange(&[&a, &b], &vault).await;
    a.set(&vault, "other", b"1").await;
    let paths: Vec<String> = a
        .vaults
        .list_paths(&vault, "")
        .unwrap()
        .entries
        .into_iter()
        .map(|e| e.path)
        .collect();
    assert_eq!(paths, ["kept", "old", "other"]);
    assert_eq!(a.get(&vault, "kept").unwrap(), b"written");
    assert_eq!(a.get(&vault, "old").unwrap(), b"new");
}

#[tokio::test]
async fn a_member_who_is_granted_beside_a_rotation_gets_the_new_key_too() {
    let (a, b, c, d) = (Node::new(1), Node::new(2), Node::new(3), Node::new(4));
    let vault = shared(&[&a, &b, &d], Role::Owner).await;
    a.set(&vault, "x", b"1").await;
    exchange(&[&a, &b], &vault).await;
    a.vaults
        .grant(&vault, c.id(), Role::Reader, None, None)
        .await
        .unwrap();
    b.vaults.revoke(&vault, d.id()).await.unwrap();
    exchange(&[&a, &b], &vault).await;
    b.set(&vault, "x", b"2").await;
    tell(&b, &a, &vault).await.unwrap();
    tell(&a, &c, &vault).await.unwrap();
    assert_eq!(c.get(&vault, "x").unwrap(), b"2");
}

#[tokio::test]
async fn what_is_written_while_two_epochs_live_is_read_by_who_stays_and_by_nobody_removed() {
    let (mut a, b, c, d) = (Node::new(1), Node::new(2), Node::new(3), Node::new(4));
    let vault = shared(&[&a, &b, &c, &d], Role::Owner).await;
    a.set(&vault, "x", b"0").await;
    exchange(&[&a, &b, &c, &d], &vault).await;
    a.vaults.revoke(&vault, c.id()).await.unwrap();
    b.vaults.revoke(&vault, d.id()).await.unwrap();
    exchange(&[&a, &b], &vault).await;
    let before = a.vaults.summary(&vault).unwrap().heads;
    let written = a.set(&vault, "x", b"1").await;
    exchange(&[&a, &b], &vault).await;
    for node in [&a, &b] {
        assert_eq!(node.vaults.control(&vault).unwrap().state().epochs.len(), 2);
        assert_eq!(node.get(&vault, "x").unwrap(), b"1");
    }
    // Whoever was removed has the key of one of the two epochs, that of the other's removal. It opens nothing of what was written.
    let control = a.vaults.control(&vault).unwrap();
    let objects = a.vaults.pull(&vault, &before, &written).unwrap();
    assert!(!objects.is_empty());
    for (seed, stays) in [(1, true), (2, true), (3, false), (4, false)] {
        let key = RootKey::from_seed(&[seed; 32]);
        let (_, found) = Secrets::default().found(&control, &[].iter(), &key);
        let live = &control.state().epochs;
        let of_live = found.iter().filter(|s| live.contains(&s.id())).count();
        assert_eq!(of_live, if stays { 2 } else { 1 }, "{seed}");
        for address in &objects {
            let object = a.vaults.object(&vault, address).unwrap().unwrap();
            let opens = |s: &EpochSecret| seal::open(&s.object_keys(), &vault, &object).is_ok();
            assert_eq!(found.iter().any(opens), stays, "{seed}");
        }
    }
    // Each removed one gets all there is, as from a careless mirror.
    for removed in [&c, &d] {
        let _ = tell(&a, removed, &vault).await;
        assert!(removed.get(&vault, "x").is_err() || removed.get(&vault, "x").unwrap() == b"0");
    }
    // The next epoch follows both; one who joins later reads what was written between.
    let e = Node::new(5);
    b.vaults
        .grant(&vault, e.id(), Role::Owner, None, None)
        .await
        .unwrap();
    let f = Node::new(6);
    b.vaults
        .grant(&vault, f.id(), Role::Reader, None, None)
        .await
        .unwrap();
    b.vaults.revoke(&vault, f.id()).await.unwrap();
    exchange(&[&b, &a, &e], &vault).await;
    a.reopen();
    for node in [&a, &b, &e] {
        assert_eq!(node.vaults.control(&vault).unwrap().state().epochs.len(), 1);
        assert_eq!(node.get(&vault, "x").unwrap(), b"1");
    }
}

#[tokio::test]
async fn a_grant_that_has_expired_is_removed_by_an_owner() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    a.vaults
        .grant(&vault, b.id(), Role::Reader, Some(1), None)
        .await
        .unwrap();
    let later = Some(now_ms() / 1_000 + 3_600);
    a.vaults
        .grant(&vault, b.id(), Role::Mirror, later, None)
        .await
        .unwrap();
    let ops = || a.vaults.control(&vault).unwrap().len();
    let before = ops();
    a.vaults.end_expired().await.unwrap();
    assert_eq!(ops(), before + 1);
    a.vaults.end_expired().await.unwrap();
    assert_eq!(ops(), before + 1, "once is enough");
    let members: Vec<_> = a
        .vaults
        .members(&vault)
        .unwrap()
        .members
        .into_iter()
        .map(|m| (m.node, m.role))
        .collect();
    assert!(members.contains(&(b.id(), Role::Mirror)) && members.len() == 2);
}

/// A version that `author` made without following the format: `make` gives its root and new objects.
pub(super) fn forged(
    author: &Node,
    vault: &VaultId,
    make: impl FnOnce(&Inner, &VaultObjects<'_>) -> (polykey_core::ids::Address, Vec<Vec<u8>>),
) -> Announce {
    let entry = author.vaults.entry(vault).unwrap();
    let inner = entry.read();
    let objects = author.vaults.objects(&entry);
    let (root, new) = make(&inner, &objects);
    let commit = inner.commits.next(
        &inner.heads,
        author.id(),
        &inner.control,
        root,
        [9; 16],
        now_ms(),
    );
    let signed = SignedCommit::sign(commit, &author.vaults.key);
    Announce {
        commits: vec![signed.bytes().to_vec().into()],
        objects: new.into_iter().map(Into::into).collect(),
        ..Announce::default()
    }
}

use super::super::entry::{Inner, VaultObjects};

/// A version by a writer who gives a value of its own the tag of the one that it takes the place of.
pub(super) fn passed_off_as_anothers(writer: &Node, vault: &VaultId) -> Announce {
    forged(writer, vault, |inner, objects| {
        let tree = Tree::new(
            objects,
            &*inner.secrets,
            *vault,
            inner.commits.get(&inner.heads[0]).unwrap().root,
        );
        let tag: Tag = tree.get("x").unwrap()[0].tag;
        let keys = inner.secrets.writing(&inner.control).unwrap();
        let edits = vec![Edit::Put {
            path: "x".into(),
            mode: 0o444,
            value: Zeroizing::new(b"forged".to_vec()),
        }];
        let edited = tree
            .edit(edits, tag, inner.secrets.shape().unwrap(), &keys)
            .unwrap();
        (
            edited.root,
            edited.objects.into_iter().map(|(_, o)| o).collect(),
        )
    })
}

#[tokio::test]
async fn a_writer_who_passes_a_value_off_as_anothers_or_breaks_the_tree_harms_only_itself() {
    let (mut a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    a.set(&vault, "x", b"honest").await;
    exchange(&[&a, &b], &vault).await;
    let stolen_tag = passed_off_as_anothers(&b, &vault);
    let no_page = forged(&b, &vault, |inner, _| {
        let keys = inner.secrets.writing(&inner.control).unwrap();
        let (root, object) = seal::seal(&keys, &vault, Kind::Page, 0, &[], b"no page").unwrap();
        (root, vec![object])
    });
    let no_key = forged(&b, &vault, |_, _| {
        let keys = polykey_core::epoch::EpochSecret::new(Zeroizing::new([8; 32])).object_keys();
        let own = seal::ObjectKeys::from_bytes(
            a.vaults.control(&vault).unwrap().state().epochs[0],
            &keys.to_bytes(),
        )
        .unwrap();
        let (root, object) = seal::seal(&own, &vault, Kind::Page, 0, &[], b"\x82\x01\x80").unwrap();
        (root, vec![object])
    });
    for (what, announce) in [
        ("a stolen tag", stolen_tag),
        ("no page", no_page),
        ("a page that does not open", no_key),
    ] {
        let received = a
            .vaults
            .receive(&b.id(), &vault, announce, false)
            .await
            .unwrap();
        // It counts as a version, or what is built on it would count for nothing; it shows nothing, and what it builds on stands.
        assert_eq!(received, Received::Done { changed: true }, "{what}");
        assert_eq!(a.get(&vault, "x").unwrap(), b"honest", "{what}");
        assert_eq!(state(&a, &vault), VaultState::Broken, "{what}");
        a.reopen();
        assert_eq!(state(&a, &vault), VaultState::Broken, "{what}");
        assert_eq!(
            a.vaults.log(&vault, None, 9).unwrap()[0].gone,
            Some("broken")
        );
    }
    a.set(&vault, "x", b"goes on").await;
    assert_eq!(
        state(&a, &vault),
        VaultState::Cloned,
        "the next write heals the contents; that one author gave one number to several versions is still said"
    );
    tell(&a, &b, &vault).await.unwrap();
    assert_eq!(b.get(&vault, "x").unwrap(), b"goes on");
    b.set(&vault, "y", b"one again").await;
    tell(&b, &a, &vault).await.unwrap();
    assert_eq!(state(&a, &vault), VaultState::Ok);
}

#[tokio::test]
async fn objects_that_belong_to_nothing_are_not_kept() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    let keys = polykey_core::epoch::EpochSecret::new(Zeroizing::new([8; 32])).object_keys();
    let (address, junk) = seal::seal(&keys, &vault, Kind::Blob, 0, &[], b"junk").unwrap();
    let mut told = Told::new(&b.vaults.summary(&vault).unwrap());
    a.set(&vault, "x", b"1").await;
    let mut announce = a
        .vaults
        .announce_for(&vault, &mut told, usize::MAX)
        .unwrap();
    announce.objects.push(junk.clone().into());
    take(&a, &b, &vault, announce).await.unwrap();
    assert_eq!(b.vaults.store_objects(&vault, vec![junk]).await.unwrap(), 0);
    assert_eq!(b.get(&vault, "x").unwrap(), b"1");
    assert!(b.vaults.object(&vault, &address).unwrap().is_none());
}

#[tokio::test]
async fn a_fault_late_in_an_announcement_costs_nothing_of_what_came_before_it() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    let mut told = Told::new(&b.vaults.summary(&vault).unwrap());
    a.set(&vault, "x", b"1").await;
    a.set(&vault, "x", b"2").await;
    let mut announce = a
        .vaults
        .announce_for(&vault, &mut told, usize::MAX)
        .unwrap();
    *announce.commits[1].last_mut().unwrap() ^= 1;
    let result = b.vaults.receive(&a.id(), &vault, announce, false).await;
    assert!(matches!(result, Err(VaultError::Peer(_))), "{result:?}");
    assert_eq!(b.get(&vault, "x").unwrap(), b"1");
    tell(&a, &b, &vault).await.unwrap();
    b.reopen();
    assert_eq!(b.get(&vault, "x").unwrap(), b"2");
}

#[tokio::test]
async fn a_version_dated_in_the_future_waits_and_harms_nobody() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = shared(&[&a, &b], Role::Writer).await;
    a.set(&vault, "x", b"1").await;
    exchange(&[&a, &b], &vault).await;
    let entry = a.vaults.entry(&vault).unwrap();
    let commit = {
        let inner = entry.read();
        inner.commits.next(
            &inner.heads,
            a.id(),
            &inner.control,
            inner.commits.get(&inner.heads[0]).unwrap().root,
            [9; 16],
            now_ms() + 3_600_000,
        )
    };
    let signed = SignedCommit::sign(commit, &a.vaults.key);
    let announce = Announce {
        commits: vec![signed.bytes().to_vec().into()],
        ..Announce::default()
    };
    for _ in 0..3 {
        assert_eq!(
            b.vaults
                .receive(&a.id(), &vault, announce.clone(), false)
                .await
                .unwrap(),
            Received::Done { changed: false }
        );
    }
    assert_eq!(
        b.vaults.entry(&vault).unwrap().read().arriving.early.len(),
        1
    );
    b.set(&vault, "x", b"2").await;
    assert_eq!(b.get(&vault, "x").unwrap(), b"2");
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_memory_and_disk_at_one() {
    let mut a = Node::new(1);
    let vault = a.vaults.create("app").await.unwrap();
    for n in 0..20u8 {
        let edits = vec![Edit::Put {
            path: "x".into(),
            mode: 0o444,
            value: Zeroizing::new(vec![n]),
        }];
        tokio::select! {
            biased;
            _ = a.vaults.edit(&vault, edits, None) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    let last = a.set(&vault, "x", b"last").await;
    assert_eq!(
        a.vaults.log(&vault, None, 100).unwrap().len() as u64,
        a.vaults.entry(&vault).unwrap().read().own_seq
    );
    a.reopen();
    assert_eq!(state(&a, &vault), VaultState::Ok);
    assert_eq!(a.vaults.summary_of(&vault).unwrap().version, Some(last));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(16), ..ProptestConfig::default() })]

    /// Whatever three writers do, in whatever order they hear of it: they come to one state, and no write vanishes that nobody who had seen it replaced or removed.
    #[test]
    fn view_no_acked_write_vanishes(steps in proptest::collection::vec((0usize..3, 0u8..5, 0u8..4), 1..30)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let nodes = [Node::new(1), Node::new(2), Node::new(3)];
            let all = [&nodes[0], &nodes[1], &nodes[2]];
            let vault = shared(&all, Role::Writer).await;
            // Version, path, and whether it wrote (or removed).
            let mut done: Vec<(CommitId, String, bool)> = Vec::new();
            for (at, what, key) in steps {
                let (node, path) = (&nodes[at], format!("k/{key}"));
                match what {
                    0 | 1 => done.push((node.set(&vault, &path, &[u8::try_from(done.len()).unwrap(), what]).await, path, true)),
                    2 if node.get(&vault, &path).is_ok() => done.push((remove(node, &vault, &path).await.version, path, false)),
                    _ => tell(node, &nodes[(at + usize::from(what)) % 3], &vault).await.map(drop).unwrap(),
                }
            }
            exchange(&all, &vault).await;
            nodes[1].set(&vault, "end", b"1").await;
            exchange(&all, &vault).await;
            let entry = nodes[0].vaults.entry(&vault).unwrap();
            let replaced = |by: &(CommitId, String, bool), it: &(CommitId, String, bool)| by.0 != it.0 && by.1 == it.1 && entry.read().commits.descends(&by.0, &it.0);
            for node in all {
                assert_eq!(node.vaults.summary(&vault), nodes[0].vaults.summary(&vault));
                let listing = node.vaults.list_paths(&vault, "k/").unwrap();
                for key in 0..4 {
                    let path = format!("k/{key}");
                    let standing: Vec<CommitId> = done.iter().filter(|w| w.1 == path && w.2 && !done.iter().any(|d| replaced(d, w))).map(|w| w.0).collect();
                    let shown = listing.entries.iter().find(|e| e.path == path);
                    assert_eq!(shown.is_none(), standing.is_empty(), "{path}: {standing:?}");
                    if let Some(shown) = shown {
                        assert!(standing.contains(&shown.version.unwrap()), "{path}");
                        assert_eq!(shown.conflict, standing.len() > 1, "{path}: {standing:?}");
                    }
                }
            }
        });
    }
}

#[tokio::test]
async fn more_versions_side_by_side_than_one_can_build_on_come_together_in_two_steps() {
    let nodes: Vec<Node> = (1..=18).map(Node::new).collect();
    let all: Vec<&Node> = nodes.iter().collect();
    let vault = shared(&all, Role::Writer).await;
    for (n, node) in (0u8..).zip(&nodes) {
        node.set(&vault, "x", &[n]).await;
        node.set(&vault, &format!("own/{n}"), &[n]).await;
    }
    for node in &nodes[1..] {
        tell(node, &nodes[0], &vault).await.unwrap();
    }
    let heads = |node: &Node| node.vaults.summary(&vault).unwrap().heads.len();
    assert_eq!(heads(&nodes[0]), 18);
    nodes[0].set(&vault, "y", b"1").await;
    assert_eq!(heads(&nodes[0]), 3);
    assert_eq!(
        nodes[0].vaults.conflicts(&vault).unwrap()[0].values.len(),
        18
    );
    nodes[0].set(&vault, "x", b"settled").await;
    assert_eq!(heads(&nodes[0]), 1);
    tell(&nodes[0], &nodes[1], &vault).await.unwrap();
    for node in &nodes[..2] {
        assert_eq!(node.get(&vault, "x").unwrap(), b"settled");
        assert!(node.vaults.conflicts(&vault).unwrap().is_empty());
        for n in 0..18u8 {
            assert_eq!(node.get(&vault, &format!("own/{n}")).unwrap(), [n]);
        }
    }
}
