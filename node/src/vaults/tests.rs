use super::*;
use crate::store::testing::scratch_store;
use polykey_core::growing::Pull;
use polykey_core::tree::Edit;
use polykey_core::wire::Announce;
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A node without a network: what it tells and takes goes through the test's hands.
struct Node {
    _dir: TempDir,
    store: Arc<Store>,
    seed: u8,
    vaults: Arc<Vaults>,
}

impl Node {
    fn new(seed: u8) -> Node {
        let (dir, store) = scratch_store();
        let vaults = Vaults::open(store.clone(), RootKey::from_seed(&[seed; 32]), None).unwrap();
        Node {
            _dir: dir,
            store,
            seed,
            vaults,
        }
    }

    fn id(&self) -> NodeId {
        self.vaults.me()
    }

    /// The node after a restart of the process, as far as the vaults are concerned.
    fn reopen(&mut self) {
        self.vaults = Vaults::open(
            self.store.clone(),
            RootKey::from_seed(&[self.seed; 32]),
            None,
        )
        .unwrap();
    }

    async fn set(&self, vault: &VaultId, path: &str, value: &[u8]) -> CommitId {
        let edit = Edit::Put {
            path: path.into(),
            mode: 0o444,
            value: Zeroizing::new(value.to_vec()),
        };
        self.vaults
            .edit(vault, vec![edit], None)
            .await
            .unwrap()
            .version
    }

    fn get(&self, vault: &VaultId, path: &str) -> Result<Vec<u8>, VaultError> {
        self.vaults.get(vault, path, None).map(|g| g.value.to_vec())
    }
}

/// Tells `to` what `from` has until there is nothing more, pulling objects and asking for records as the sync does. Gives how many announcements it took.
async fn tell(from: &Node, to: &Node, vault: &VaultId) -> Result<usize, VaultError> {
    let heads = to.vaults.summary(vault).unwrap_or_default();
    let mut told = Told::new(&heads);
    for n in 0..1_000 {
        let announce = from.vaults.announce_for(vault, &mut told, usize::MAX)?;
        if announce.is_empty() {
            return Ok(n);
        }
        take(from, to, vault, announce).await?;
    }
    panic!("announcements without end");
}

async fn take(
    from: &Node,
    to: &Node,
    vault: &VaultId,
    mut announce: Announce,
) -> Result<(), VaultError> {
    let sender = from.id();
    let mut offer = Offer {
        heads: from.vaults.summary(vault).unwrap_or_default().heads,
        ..Offer::default()
    };
    for _ in 0..1_000 {
        let taken = to.vaults.receive_of(&sender, vault, announce, &offer, true);
        match taken.await? {
            Received::Done { .. } => return Ok(()),
            Received::NeedObjects(pulls) => {
                assert_asked_for_what_is_shown(to, vault, &offer, &pulls);
                for Pull { want, have } in pulls {
                    if !from.vaults.is_whole(vault, &want) {
                        offer.absent.insert(want);
                        continue;
                    }
                    for address in from.vaults.pull(vault, &have, &want)? {
                        let object = from.vaults.object(vault, &address)?.unwrap();
                        to.vaults.store_objects(vault, vec![object]).await?;
                    }
                }
                announce = Announce::default();
            }
            Received::NeedRecords { ops, commits } => {
                let (ops, commits) = from.vaults.records(vault, &ops, &commits)?;
                announce = Announce {
                    ops: ops.into_iter().map(Into::into).collect(),
                    commits: commits.into_iter().map(Into::into).collect(),
                    ..Announce::default()
                };
            }
        }
    }
    panic!("it asks for the same again and again");
}

/// A peer is asked for nothing that an owner let go of, and for nothing that it does not show.
fn assert_asked_for_what_is_shown(by: &Node, vault: &VaultId, offer: &Offer, pulls: &[Pull]) {
    let entry = by.vaults.entry(vault).unwrap();
    let inner = entry.read();
    let shows = inner.commits.reachable(&offer.heads);
    for pull in pulls {
        assert!(shows.contains(&pull.want), "{} is not shown", pull.want);
        assert!(!inner.prunable.contains(&pull.want), "it was let go of");
    }
}

#[tokio::test]
async fn what_was_set_is_read_back_listed_and_logged_also_after_a_restart() {
    let mut a = Node::new(1);
    let vault = a.vaults.create("app").await.unwrap();
    assert!(matches!(
        a.get(&vault, "db/password"),
        Err(VaultError::NoSuch(_))
    ));
    let first = a.set(&vault, "db/password", b"one").await;
    a.set(&vault, "big", &vec![7; 65_535]).await;
    a.set(&vault, "db/password", b"two").await;
    for _ in 0..2 {
        assert_eq!(a.get(&vault, "db/password").unwrap(), b"two");
        assert_eq!(a.get(&vault, "big").unwrap().len(), 65_535);
        assert_eq!(
            a.vaults
                .get(&vault, "db/password", Some(&first.to_string()[..8]))
                .unwrap()
                .value
                .as_slice(),
            b"one"
        );
        assert_eq!(
            a.vaults
                .get(&vault, "db/password", Some("~2"))
                .unwrap()
                .version,
            first
        );
        let paths: Vec<String> = a
            .vaults
            .list_paths(&vault, "")
            .unwrap()
            .entries
            .into_iter()
            .map(|e| e.path)
            .collect();
        assert_eq!(paths, ["big", "db/password"]);
        let log = a.vaults.log(&vault, Some("db"), 10).unwrap();
        assert_eq!(
            log.iter().map(|v| v.changes.clone()).collect::<Vec<_>>(),
            [
                vec![("db/password".to_owned(), "changed")],
                vec![("db/password".to_owned(), "added")]
            ]
        );
        assert_eq!(a.vaults.resolve("app").unwrap(), vault);
        a.reopen();
    }
    let gone = a
        .vaults
        .edit(
            &vault,
            vec![
                Edit::Remove { path: "big".into() },
                Edit::Remove {
                    path: "db/password".into(),
                },
            ],
            None,
        )
        .await
        .unwrap();
    assert_eq!(gone.changed.len(), 2);
    a.reopen();
    assert!(a.vaults.list_paths(&vault, "").unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_write_that_expects_another_version_changes_nothing() {
    let a = Node::new(1);
    let vault = a.vaults.create("app").await.unwrap();
    let first = a.set(&vault, "x", b"1").await;
    a.set(&vault, "x", b"2").await;
    let edit = vec![Edit::Put {
        path: "x".into(),
        mode: 0o444,
        value: Zeroizing::new(b"3".to_vec()),
    }];
    assert!(matches!(
        a.vaults.edit(&vault, edit, Some(first)).await,
        Err(VaultError::Moved { .. })
    ));
    assert_eq!(a.get(&vault, "x").unwrap(), b"2");
}

#[tokio::test]
async fn a_vault_is_shared_with_a_node_that_was_never_met() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    for n in 0..30u8 {
        a.set(&vault, &format!("s/{n}"), &vec![n; 3_000]).await;
    }
    assert!(
        matches!(tell(&a, &b, &vault).await, Err(VaultError::NotFound)),
        "no grant yet"
    );
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    let announcements = tell(&a, &b, &vault).await.unwrap();
    assert!(announcements > 1, "more than fits into one");
    for _ in 0..2 {
        assert_eq!(b.get(&vault, "s/7").unwrap(), vec![7; 3_000]);
        assert_eq!(b.vaults.summary(&vault), a.vaults.summary(&vault));
        assert_eq!(
            b.vaults.log(&vault, None, 100).unwrap().len(),
            30,
            "the whole history came"
        );
        b.reopen();
    }
    assert!(matches!(
        b.vaults
            .edit(&vault, vec![Edit::Remove { path: "s/7".into() }], None)
            .await,
        Err(VaultError::Role { .. })
    ));
}

#[tokio::test]
async fn one_rotation_is_one_announcement_with_its_objects_inline() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    a.set(&vault, "x", b"1").await;
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    tell(&a, &b, &vault).await.unwrap();
    let mut told = Told::new(&b.vaults.summary(&vault).unwrap());
    a.vaults
        .announce_for(&vault, &mut told, usize::MAX)
        .unwrap();
    a.set(&vault, "x", b"2").await;
    let announce = a
        .vaults
        .announce_for(&vault, &mut told, usize::MAX)
        .unwrap();
    assert_eq!(
        (
            announce.ops.len(),
            announce.wraps.len(),
            announce.commits.len(),
            announce.objects.len()
        ),
        (0, 0, 1, 1)
    );
    assert_eq!(
        b.vaults
            .receive(&a.id(), &vault, announce, false)
            .await
            .unwrap(),
        Received::Done { changed: true }
    );
    assert_eq!(b.get(&vault, "x").unwrap(), b"2");
}

#[tokio::test]
async fn a_removed_member_opens_nothing_that_is_sealed_later() {
    let (a, b, c) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = a.vaults.create("app").await.unwrap();
    a.set(&vault, "x", b"old").await;
    for node in [&b, &c] {
        a.vaults
            .grant(&vault, node.id(), Role::Reader, None, None)
            .await
            .unwrap();
        tell(&a, node, &vault).await.unwrap();
    }
    assert_eq!(a.vaults.revoke(&vault, b.id()).await.unwrap().rotate, ["x"]);
    a.set(&vault, "x", b"new").await;
    assert!(
        !a.vaults.shared_with(&b.id()).contains(&vault),
        "it is not told any more"
    );
    tell(&a, &c, &vault).await.unwrap();
    assert_eq!(c.get(&vault, "x").unwrap(), b"new", "who stays reads on");
    // Even if somebody gives it the ciphertext.
    tell(&a, &b, &vault).await.unwrap();
    assert!(b.get(&vault, "x").is_err());
    let last = a.vaults.revoke(&vault, a.id()).await;
    assert!(
        matches!(last, Err(VaultError::Control(_))),
        "the last owner stays"
    );
}

#[tokio::test]
async fn a_file_that_arrives_while_a_member_is_removed_is_sealed_for_those_who_stay() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    let all: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(3 << 20).collect();
    for removed_meanwhile in [false, true] {
        let mut file = a.vaults.begin_file(&vault).unwrap();
        file.write(&all[..2 << 20]).await.unwrap();
        if removed_meanwhile {
            a.vaults.revoke(&vault, b.id()).await.unwrap();
        }
        file.write(&all[2 << 20..]).await.unwrap();
        let path = format!("file-{removed_meanwhile}");
        a.vaults
            .put_file(&vault, path.clone(), 0o444, file, None)
            .await
            .unwrap();
        assert!(a.get(&vault, &path).unwrap() == all);
    }
    // The one who was removed gets hold of all objects, as from a stolen disk.
    let (old, new) = {
        let epoch = |path: &str| {
            let entry = a.vaults.entry(&vault).unwrap();
            let inner = entry.read();
            let objects = a.vaults.objects(&entry);
            let tree = polykey_core::tree::Tree::new(
                &objects,
                &*inner.secrets,
                vault,
                inner.commits.get(&inner.heads[0]).unwrap().root,
            );
            let list = tree.get(path).unwrap()[0].object().unwrap();
            let closure =
                polykey_core::seal::header(&a.vaults.object(&vault, &list).unwrap().unwrap())
                    .unwrap();
            let chunks: BTreeSet<_> = closure
                .refs
                .iter()
                .map(|c| {
                    let chunk = a.vaults.object(&vault, c).unwrap().unwrap();
                    polykey_core::seal::header(&chunk).unwrap().epoch
                })
                .collect();
            assert_eq!(chunks, [closure.epoch].into(), "the chunks of {path}");
            closure.epoch
        };
        (epoch("file-false"), epoch("file-true"))
    };
    let live = a.vaults.control(&vault).unwrap().state().epochs.clone();
    assert_eq!(live, [new]);
    assert_ne!(
        old, new,
        "no chunk is left in what the removed one can open"
    );
}

#[tokio::test]
async fn a_mirror_carries_a_vault_that_it_cannot_read() {
    let (a, mirror, c) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = a.vaults.create("app").await.unwrap();
    a.set(&vault, "x", b"value").await;
    a.vaults
        .grant(&vault, mirror.id(), Role::Mirror, None, None)
        .await
        .unwrap();
    a.vaults
        .grant(&vault, c.id(), Role::Reader, None, None)
        .await
        .unwrap();
    tell(&a, &mirror, &vault).await.unwrap();
    assert!(matches!(
        mirror.get(&vault, "x"),
        Err(VaultError::Role { .. })
    ));
    tell(&mirror, &c, &vault).await.unwrap();
    assert_eq!(c.get(&vault, "x").unwrap(), b"value");
}

#[tokio::test]
async fn bytes_that_the_sender_could_have_checked_are_its_fault() {
    let (a, b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    a.set(&vault, "x", b"1").await;
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    let announce = a
        .vaults
        .announce_for(&vault, &mut Told::default(), usize::MAX)
        .unwrap();
    let spoil = |n: usize| {
        let mut bad = announce.clone();
        let list = match n {
            0 => &mut bad.ops,
            1 => &mut bad.wraps,
            _ => &mut bad.commits,
        };
        *list.last_mut().unwrap().last_mut().unwrap() ^= 1;
        bad
    };
    for n in 0..3 {
        let result = b.vaults.receive(&a.id(), &vault, spoil(n), true).await;
        assert!(
            matches!(result, Err(VaultError::Peer(_))),
            "{n}: {result:?}"
        );
    }
    take(&a, &b, &vault, announce).await.unwrap();
    assert_eq!(b.get(&vault, "x").unwrap(), b"1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(12), ..ProptestConfig::default() })]

    /// Any interleaving of writes, restarts and exchanges, direct or through a third node, comes to one state.
    #[test]
    fn exchange_converges(steps in proptest::collection::vec((0u8..6, 0u8..8, any::<u8>()), 1..30)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (a, mut b, mut c) = (Node::new(1), Node::new(2), Node::new(3));
            let vault = a.vaults.create("app").await.unwrap();
            for node in [&b, &c] { a.vaults.grant(&vault, node.id(), Role::Reader, None, None).await.unwrap(); }
            for (what, key, value) in steps {
                match what {
                    0 | 1 => drop(a.set(&vault, &format!("k/{key}"), &vec![value; usize::from(value) * 40]).await),
                    2 => drop(tell(&a, &b, &vault).await.unwrap()),
                    3 => if b.vaults.summary(&vault).is_some() { tell(&b, &c, &vault).await.unwrap(); },
                    4 => b.reopen(),
                    _ => c.reopen(),
                }
            }
            tell(&a, &b, &vault).await.unwrap();
            tell(&b, &c, &vault).await.unwrap();
            for node in [&b, &c] {
                assert_eq!(node.vaults.summary(&vault), a.vaults.summary(&vault));
                for entry in a.vaults.list_paths(&vault, "").unwrap().entries {
                    assert_eq!(node.get(&vault, &entry.path).unwrap(), a.get(&vault, &entry.path).unwrap());
                }
            }
        });
    }
}

mod clone;
mod collecting;
mod flood;
mod moving;
mod past;
mod side_by_side;
mod stuck;
mod war;
