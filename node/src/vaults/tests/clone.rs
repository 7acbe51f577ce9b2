//! A first copy of a vault that is cut off, again and again, and what a copy costs.

use super::*;
use polykey_core::ids::Address;
use std::collections::HashSet;

/// A vault with pages, blobs, a large file and a history, of which the second node shall have a copy.
async fn vault_to_copy() -> (Node, VaultId) {
    let a = Node::new(1);
    let vault = a.vaults.create("app").await.unwrap();
    let edits = (0..20u8)
        .map(|n| Edit::Put {
            path: format!("s/{n}"),
            mode: 0o444,
            value: Zeroizing::new(vec![n; 3_000]),
        })
        .collect();
    a.vaults.edit(&vault, edits, None).await.unwrap();
    let file: Vec<u8> = (0u64..).flat_map(u64::to_le_bytes).take(200_000).collect();
    a.set(&vault, "file", &file).await;
    for n in 0..3 {
        a.set(&vault, "s/7", &vec![100 + n; 70_000]).await;
    }
    (a, vault)
}

/// What is left to fetch at `to`, in the order in which a peer sends it, as the sync asks for it: by version first, by address once a part is here.
fn next_objects(from: &Node, to: &Node, vault: &VaultId, pulls: &[Pull]) -> Vec<Address> {
    match to.vaults.arriving(vault, &from.id()) {
        Some((wanted, true)) if !wanted.is_empty() => wanted,
        _ => pulls
            .iter()
            .flat_map(|p| from.vaults.pull(vault, &p.have, &p.want).unwrap())
            .collect(),
    }
}

/// Copies until `cut` objects have come in this life of `to`, or to the end. Gives the objects that came and whether it was the end.
pub(super) async fn copy(
    from: &Node,
    to: &Node,
    vault: &VaultId,
    cut: usize,
) -> (Vec<Address>, bool) {
    let told = |n: &Node| Told::new(&n.vaults.summary(vault).unwrap_or_default());
    let mut came = Vec::new();
    let mut known = told(to);
    loop {
        let announce = from.vaults.announce_for(vault, &mut known, 0).unwrap();
        if announce.is_empty() {
            return (came, true);
        }
        let mut next = announce;
        while let Received::NeedObjects(pulls) = to
            .vaults
            .receive(&from.id(), vault, std::mem::take(&mut next), true)
            .await
            .unwrap()
        {
            for address in next_objects(from, to, vault, &pulls) {
                if came.len() == cut {
                    return (came, false);
                }
                let object = from.vaults.object(vault, &address).unwrap().unwrap();
                let kept = to.vaults.store_objects(vault, vec![object]).await.unwrap();
                came.extend((kept > 0).then_some(address));
            }
        }
    }
}

/// The process is killed after every object, once in each place: what came is not asked for again, no version is shown before all of it is here, and the copy is the same.
#[tokio::test]
async fn clone_resumes() {
    let (a, vault) = vault_to_copy().await;
    let b = Node::new(2);
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    let (all, done) = copy(&a, &b, &vault, usize::MAX).await;
    assert!(done && all.len() > 25);
    let once: HashSet<Address> = all.iter().copied().collect();
    assert_eq!(
        once.len(),
        all.len(),
        "an uninterrupted copy takes each object once"
    );

    for cut in 0..all.len() {
        let mut c = Node::new(2);
        let (before, done) = copy(&a, &c, &vault, cut).await;
        assert!(!done && before.len() == cut);
        c.reopen();
        for head in c.vaults.summary(&vault).unwrap().heads {
            let whole = c.vaults.pull(&vault, &[], &head);
            assert!(whole.is_ok(), "a version that is shown is whole");
        }
        let (after, done) = copy(&a, &c, &vault, usize::MAX).await;
        assert!(done);
        let mut both: HashSet<Address> = before.iter().copied().collect();
        let twice = after.iter().filter(|x| !both.insert(**x)).count();
        assert_eq!(twice, 0, "cut at {cut}: what is here is not fetched again");
        assert_eq!(both, once, "cut at {cut}: the same objects");
        assert_eq!(c.vaults.summary(&vault), a.vaults.summary(&vault));
    }
}

/// The same while every single object is its own life of the process.
#[tokio::test]
async fn a_clone_comes_to_its_end_though_the_process_dies_after_every_few_objects() {
    let (a, vault) = vault_to_copy().await;
    let mut b = Node::new(2);
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    let mut lives = 0;
    while !copy(&a, &b, &vault, 7).await.1 {
        b.reopen();
        lives += 1;
        assert!(lives < 200, "it never completes");
    }
    assert!(lives >= 3);
    assert_eq!(b.get(&vault, "s/7").unwrap(), vec![102; 70_000]);
    assert_eq!(b.vaults.summary(&vault), a.vaults.summary(&vault));
}

/// A change of one secret brings the pages on its path, the value, and nothing else.
#[tokio::test]
async fn pull_diff_is_minimal() {
    let (a, vault) = vault_to_copy().await;
    let before = a.vaults.summary(&vault).unwrap().heads;
    let had: HashSet<Address> = a
        .vaults
        .pull(&vault, &[], &before[0])
        .unwrap()
        .into_iter()
        .collect();
    let after = a.set(&vault, "s/11", &vec![200; 3_000]).await;
    let pulled = a.vaults.pull(&vault, &before, &after).unwrap();
    let needed: Vec<Address> = a
        .vaults
        .pull(&vault, &[], &after)
        .unwrap()
        .into_iter()
        .filter(|x| !had.contains(x))
        .collect();
    assert!(needed.iter().all(|x| pulled.contains(x)));
    assert!(
        pulled.len() <= needed.len() + 1,
        "{} pulled, {} needed",
        pulled.len(),
        needed.len()
    );
    let unknown = polykey_core::ids::CommitId::from([9; 32]);
    let all = a.vaults.pull(&vault, &[unknown], &after).unwrap();
    assert!(all.len() > 25, "what is not known counts as empty");
}

/// Tells `to` all that `from` has but for objects, as to one who has nothing yet. Gives what it asks for in the end.
pub(super) async fn headers(from: &Node, to: &Node, vault: &VaultId) -> Vec<Pull> {
    let (mut told, mut pulls) = (Told::default(), Vec::new());
    loop {
        let announce = from.vaults.announce_for(vault, &mut told, 0).unwrap();
        if announce.is_empty() {
            return pulls;
        }
        let taken = to.vaults.receive(&from.id(), vault, announce, true).await;
        if let Received::NeedObjects(wanted) = taken.unwrap() {
            pulls = wanted;
        }
        assert_eq!(to.vaults.summary(vault).unwrap().heads, []);
    }
}

/// Fetches some versions. Gives what came.
pub(super) async fn fetch(from: &Node, to: &Node, vault: &VaultId, pulls: &[Pull]) -> Vec<Address> {
    let mut came = Vec::new();
    for pull in pulls {
        for address in from.vaults.pull(vault, &pull.have, &pull.want).unwrap() {
            let object = from.vaults.object(vault, &address).unwrap().unwrap();
            let kept = to.vaults.store_objects(vault, vec![object]).await.unwrap();
            came.extend((kept > 0).then_some(address));
        }
    }
    to.vaults.receive_past(&from.id(), vault).await.unwrap();
    came
}

#[tokio::test]
async fn the_newest_is_read_before_the_past_is_here_and_each_object_comes_once() {
    let (a, mut b) = (Node::new(1), Node::new(2));
    let vault = a.vaults.create("app").await.unwrap();
    let mut versions = Vec::new();
    for n in 0..40u8 {
        a.set(&vault, &format!("s/{n}"), &[n]).await;
        versions.push(a.set(&vault, "x", &vec![n; 3_000]).await);
    }
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    let pulls = headers(&a, &b, &vault).await;
    let newest = versions[39];
    let want: Vec<CommitId> = pulls.iter().map(|p| p.want).collect();
    assert_eq!(want, [newest]);
    let mut came = fetch(&a, &b, &vault, &pulls).await;
    assert_eq!(b.get(&vault, "x").unwrap(), vec![39; 3_000]);
    assert_eq!(b.vaults.summary(&vault), a.vaults.summary(&vault));
    let old = b.vaults.get(&vault, "x", Some(&versions[3].to_string()));
    assert!(matches!(old, Err(VaultError::Pending)));
    let log = b.vaults.log(&vault, None, 100).unwrap();
    assert_eq!((log.len(), log[79].gone), (80, Some("not here yet")));
    // Whoever comes next takes the newest from this one, which has no more itself.
    let c = Node::new(3);
    a.vaults
        .grant(&vault, c.id(), Role::Reader, None, None)
        .await
        .unwrap();
    tell(&a, &b, &vault).await.unwrap();
    let pulls = headers(&b, &c, &vault).await;
    fetch(&b, &c, &vault, &pulls).await;
    assert_eq!(c.get(&vault, "x").unwrap(), vec![39; 3_000]);

    let mut dates = Vec::new();
    loop {
        let pulls = b.vaults.past_to_pull(&vault, &HashSet::new()).unwrap();
        if pulls.is_empty() {
            break;
        }
        assert!(pulls.len() <= 8);
        dates.extend(pulls.iter().map(|p| p.want));
        came.extend(fetch(&a, &b, &vault, &pulls).await);
        if dates.len() == 16 {
            b.reopen();
        }
    }
    let order: Vec<CommitId> = log.iter().skip(1).map(|v| v.version).collect();
    assert_eq!(dates, order, "newest first, each once");
    let once: HashSet<&Address> = came.iter().collect();
    assert_eq!(once.len(), came.len(), "each object once");
    for node in [&a, &b] {
        for (n, version) in (0u8..).zip(&versions) {
            let old = node.vaults.get(&vault, "x", Some(&version.to_string()));
            assert_eq!(old.unwrap().value.as_slice(), vec![n; 3_000]);
        }
    }
}

/// Who takes the newest first cannot look at what it changed. It does when the past is here.
#[tokio::test]
async fn what_a_version_changed_is_looked_at_when_the_past_behind_it_comes() {
    let (a, w, m) = (Node::new(1), Node::new(2), Node::new(3));
    let vault = a.vaults.create("app").await.unwrap();
    for (node, role) in [(&w, Role::Writer), (&m, Role::Mirror)] {
        let granted = a.vaults.grant(&vault, node.id(), role, None, None);
        granted.await.unwrap();
    }
    a.set(&vault, "x", b"honest").await;
    for to in [&w, &m] {
        tell(&a, to, &vault).await.unwrap();
    }
    let announce = side_by_side::passed_off_as_anothers(&w, &vault);
    let taken = m.vaults.receive(&w.id(), &vault, announce, false).await;
    assert_eq!(taken.unwrap(), Received::Done { changed: true });
    let mut b = Node::new(4);
    a.vaults
        .grant(&vault, b.id(), Role::Reader, None, None)
        .await
        .unwrap();
    tell(&a, &m, &vault).await.unwrap();
    let pulls = headers(&m, &b, &vault).await;
    fetch(&m, &b, &vault, &pulls).await;
    assert_eq!(b.get(&vault, "x").unwrap(), b"forged");
    b.reopen();
    let pulls = b.vaults.past_to_pull(&vault, &HashSet::new()).unwrap();
    fetch(&m, &b, &vault, &pulls).await;
    assert_eq!(b.get(&vault, "x").unwrap(), b"honest");
    assert_eq!(
        b.vaults.summary_of(&vault).unwrap().state,
        VaultState::Broken
    );
}
