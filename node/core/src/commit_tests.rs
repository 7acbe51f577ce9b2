use super::set::MAX_VOID;
use super::*;
use crate::control::{SignedOp, Target};
use crate::testing::{self, NOW, epoch, key, node};
use proptest::prelude::*;

/// A vault of node 0 with writers 1 and 2 and reader 3.
fn vault() -> Control {
    testing::vault([(1, Role::Writer), (2, Role::Writer), (3, Role::Reader)])
}

fn root(n: u8) -> Address {
    [n; 32].into()
}

/// Node `by` commits on what it has.
fn write(commits: &mut Commits, control: &Control, by: u8, n: u8) -> SignedCommit {
    let commit = commits.next(&commits.heads(), node(by), control, root(n), [n; 16], NOW);
    let signed = Signed::sign(commit, key(by));
    assert_eq!(
        commits.accept(&signed, control, NOW).unwrap(),
        Accepted::Counts
    );
    signed
}

fn id(signed: &SignedCommit) -> CommitId {
    signed.id().into()
}

/// The founder removes `target`, keeping what `cut` names.
fn remove(control: &mut Control, target: u8, cut: Vec<CommitId>) -> SignedOp {
    let op = control
        .revoke(
            node(0),
            Target::Node(node(target)),
            cut,
            Some(epoch(100 + target)),
        )
        .unwrap();
    let op = Signed::sign(op, key(0));
    control.apply(&op).unwrap();
    op
}

#[test]
fn versions_follow_each_other() {
    let control = vault();
    let mut commits = Commits::new();
    let tag = commits.next_tag(&commits.heads(), node(1), &control, [1; 16]);
    let a = write(&mut commits, &control, 1, 1);
    assert_eq!((a.payload().seq, a.payload().tag()), (1, tag));
    let b = write(&mut commits, &control, 2, 2);
    let c = write(&mut commits, &control, 1, 3);
    assert_eq!((b.payload().seq, c.payload().seq), (1, 2));
    assert!(c.payload().time_ms > b.payload().time_ms && b.payload().time_ms > a.payload().time_ms);
    assert_eq!(commits.heads(), [id(&c)]);
    assert_eq!(commits.by_tag(&tag), Some(&id(&a)));
    assert!(commits.descends(&id(&c), &id(&a)) && !commits.descends(&id(&a), &id(&c)));
    assert_eq!(commits.beyond(&[id(&a)]), [id(&b), id(&c)]);
    assert_eq!(commits.accept(&a, &control, NOW).unwrap(), Accepted::Known);
    assert!(vouch_alone(&c, &control).is_ok());
}

#[test]
fn each_rule_refuses_what_breaks_it() {
    let control = vault();
    let mut commits = Commits::new();
    let first = write(&mut commits, &control, 1, 1);
    let good = commits.next(&commits.heads(), node(1), &control, root(2), [2; 16], NOW);
    let mut refused = |by: u8, change: &dyn Fn(&mut Commit)| {
        let mut commit = good.clone();
        change(&mut commit);
        let error = commits
            .accept(&Signed::sign(commit, key(by)), &control, NOW)
            .unwrap_err();
        assert_eq!(commits.heads(), [id(&first)], "nothing changed");
        error
    };
    assert!(matches!(
        refused(1, &|c| c.version = 2),
        CommitError::Version(2)
    ));
    assert!(matches!(
        refused(1, &|c| c.vault = [1; 32].into()),
        CommitError::OtherVault
    ));
    assert!(matches!(refused(2, &|_| ()), CommitError::Signature(_)));
    assert!(matches!(
        refused(3, &|c| {
            c.author = node(3);
            c.seq = 1;
        }),
        CommitError::NotWriter(_)
    ));
    assert!(matches!(
        refused(9, &|c| {
            c.author = node(9);
            c.seq = 1;
        }),
        CommitError::NotWriter(_)
    ));
    assert!(matches!(
        refused(1, &|c| c.seq = 1),
        CommitError::Seq { found: 1, next: 2 }
    ));
    assert!(matches!(
        refused(1, &|c| c.seq = 9),
        CommitError::Seq { found: 9, next: 2 }
    ));
    assert!(matches!(
        refused(1, &|c| c.time_ms = first.payload().time_ms),
        CommitError::Time
    ));
    assert!(
        matches!(refused(1, &|c| c.time_ms = NOW + MAX_AHEAD_MS + 5), CommitError::Future { due_ms } if due_ms == NOW + 5)
    );
    assert!(
        matches!(refused(1, &|c| c.parents = vec![[9; 32].into()]), CommitError::MissingParents(p) if p == [CommitId::from([9; 32])])
    );
    assert!(matches!(
        refused(1, &|c| c.control = vec![[9; 32].into()]),
        CommitError::MissingOps(_)
    ));
    assert!(matches!(
        refused(1, &|c| c.control = vec![]),
        CommitError::Control
    ));
    let genesis = OpId::from(*control.vault().as_bytes());
    assert!(
        matches!(
            refused(1, &|c| c.control = vec![genesis]),
            CommitError::Control
        ),
        "it knows less than its parent"
    );
    let parent = id(&first);
    assert!(matches!(
        refused(1, &|c| c.parents = vec![parent, parent]),
        CommitError::Order
    ));
}

#[test]
fn a_commit_dated_ahead_is_taken_when_it_is_due() {
    let control = vault();
    let mut commits = Commits::new();
    let mut ahead = commits.next(&commits.heads(), node(1), &control, root(1), [1; 16], NOW);
    ahead.time_ms = NOW + MAX_AHEAD_MS + 1;
    let ahead = Signed::sign(ahead, key(1));
    assert!(commits.accept(&ahead, &control, NOW).is_err());
    assert_eq!(
        commits.accept(&ahead, &control, NOW + 1).unwrap(),
        Accepted::Counts
    );
}

#[test]
fn a_lapsed_writer_is_refused_by_the_own_clock() {
    let mut control = vault();
    let expires = NOW / 1_000;
    let op = control.grant(node(0), node(4), Role::Writer, 0, Some(expires), None);
    control.apply(&Signed::sign(op, key(0))).unwrap();
    let mut commits = Commits::new();
    let commit = Signed::sign(
        commits.next(
            &commits.heads(),
            node(4),
            &control,
            root(1),
            [1; 16],
            NOW - 5_000,
        ),
        key(4),
    );
    assert!(matches!(
        commits.accept(&commit, &control, NOW),
        Err(CommitError::NotWriter(_))
    ));
    assert_eq!(
        commits.accept(&commit, &control, NOW - 1_000).unwrap(),
        Accepted::Counts
    );
    let mut again = Commits::new();
    assert_eq!(
        again.restore(&commit, &control).unwrap(),
        Accepted::Counts,
        "what was taken in stays"
    );
}

#[test]
fn two_writers_apart_leave_two_heads_until_one_builds_on_both() {
    let control = vault();
    let mut commits = Commits::new();
    write(&mut commits, &control, 0, 1);
    let mut apart = commits.clone();
    let mut early = commits.next(&commits.heads(), node(1), &control, root(2), [2; 16], NOW);
    early.time_ms = NOW + 10;
    let mut late = apart.next(&apart.heads(), node(2), &control, root(3), [3; 16], NOW);
    late.time_ms = NOW + 20;
    let (early, late) = (Signed::sign(early, key(1)), Signed::sign(late, key(2)));
    for (first, second) in [(&early, &late), (&late, &early)] {
        let mut commits = commits.clone();
        commits.accept(first, &control, NOW).unwrap();
        commits.accept(second, &control, NOW).unwrap();
        assert_eq!(commits.heads().len(), 2);
        let next = write(&mut commits, &control, 1, 4);
        assert_eq!((next.payload().parents.len(), next.payload().seq), (2, 2));
        assert_eq!(commits.heads(), [id(&next)]);
    }
    apart.accept(&early, &control, NOW).unwrap();
}

#[test]
fn what_a_removed_writer_signs_outside_the_cut_is_void_and_honest_work_on_it_stays() {
    let mut control = vault();
    let mut commits = Commits::new();
    let kept = write(&mut commits, &control, 1, 1);
    let mut thief = commits.clone();
    let ignorant = control.clone();
    remove(&mut control, 1, vec![id(&kept)]);
    assert!(!commits.judge(&control), "what it did before stays");
    let stolen = Signed::sign(
        thief.next(&thief.heads(), node(1), &ignorant, root(2), [2; 16], NOW),
        key(1),
    );
    thief.accept(&stolen, &ignorant, NOW).unwrap();
    assert_eq!(
        commits.accept(&stolen, &control, NOW).unwrap(),
        Accepted::Void
    );
    assert_eq!(commits.heads(), [id(&kept)]);
    assert!(matches!(
        vouch_alone(&stolen, &control),
        Err(CommitError::NotWriter(_))
    ));
    assert!(vouch_alone(&kept, &control).is_ok());
    // Node 2 had not heard of the removal.
    let honest = Signed::sign(
        thief.next(&thief.heads(), node(2), &ignorant, root(3), [3; 16], NOW),
        key(2),
    );
    assert_eq!(
        commits.accept(&honest, &control, NOW).unwrap(),
        Accepted::Counts
    );
    assert_eq!(commits.heads(), [id(&honest)]);
    thief.accept(&honest, &ignorant, NOW).unwrap();
    thief.judge(&control);
    assert_eq!(thief.heads(), commits.heads());
}

#[test]
fn a_fresh_copy_takes_in_a_long_history_of_a_removed_writer() {
    let mut control = vault();
    let mut commits = Commits::new();
    let mut all = Vec::new();
    for n in 0..=MAX_VOID {
        all.push(write(
            &mut commits,
            &control,
            1,
            u8::try_from(n % 251).unwrap(),
        ));
    }
    all.push(write(&mut commits, &control, 2, 252));
    remove(&mut control, 1, commits.heads());
    let mut fresh = Commits::new();
    for commit in &all {
        fresh.accept(commit, &control, NOW + 10_000).unwrap();
    }
    assert_eq!(fresh.heads(), commits.heads());
    assert!(fresh.iter().all(|(_, h)| h.valid));
    // But a flood beside the cut ends.
    let ignorant = vault();
    let mut refused = 0;
    for n in 0..MAX_VOID + 10 {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        let flood = Commits::new().next(&[], node(1), &ignorant, root(1), nonce, NOW);
        refused += u32::from(
            fresh
                .accept(&Signed::sign(flood, key(1)), &control, NOW)
                .is_err(),
        );
    }
    assert_eq!(refused, 10);
}

#[test]
fn one_author_does_not_get_ever_more_heads() {
    let control = vault();
    let mut commits = Commits::new();
    for n in 0..=8u8 {
        let commit = Commits::new().next(&[], node(1), &control, root(n), [n; 16], NOW);
        let accepted = commits.accept(&Signed::sign(commit, key(1)), &control, NOW);
        assert_eq!(accepted.is_ok(), usize::from(n) < MAX_AUTHOR_HEADS, "{n}");
    }
}

#[test]
fn encodings_are_those_of_the_formats_reference() {
    let commit = Commit {
        version: 1,
        vault: [2; 32].into(),
        author: [3; 32].into(),
        seq: 5,
        nonce: [4; 16].into(),
        parents: vec![],
        control: vec![[6; 32].into()],
        root: [7; 32].into(),
        time_ms: 1,
        note: vec![].into(),
    };
    let expected = [
        &[0x8a, 0x01, 0x58, 0x20][..],
        &[2; 32],
        &[0x58, 0x20],
        &[3; 32],
        &[0x05, 0x50],
        &[4; 16],
        &[0x80, 0x81, 0x58, 0x20],
        &[6; 32],
        &[0x58, 0x20],
        &[7; 32],
        &[0x01, 0x40],
    ]
    .concat();
    assert_eq!(crate::enc::encode(&commit), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96), ..ProptestConfig::default() })]

    /// What a peer lacks is found by walking back from the heads, and is what a walk over everything finds.
    #[test]
    fn beyond_is_all_but_what_theirs_build_on(steps in proptest::collection::vec((0..3usize, any::<bool>()), 1..24), theirs in proptest::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let control = vault();
        let mut replicas = vec![Commits::new(); 3];
        let mut all: Vec<SignedCommit> = Vec::new();
        for (n, (who, hears)) in (0u8..).zip(steps) {
            if hears {
                for commit in &all {
                    replicas[who].accept(commit, &control, NOW).ok();
                }
            }
            let by = u8::try_from(who).unwrap();
            let commit = replicas[who].next(&replicas[who].heads(), node(by), &control, root(n), [n; 16], NOW);
            let signed = Signed::sign(commit, key(by));
            if replicas[who].accept(&signed, &control, NOW).is_ok() {
                all.push(signed);
            }
        }
        for commits in &replicas {
            if commits.is_empty() {
                continue;
            }
            let mut theirs: Vec<CommitId> = theirs.iter().map(|i| commits.order[i.index(commits.len())]).collect();
            theirs.push([9; 32].into());
            let known = commits.reachable(&theirs);
            let expected: Vec<CommitId> = commits.order.iter().filter(|id| !known.contains(id)).copied().collect();
            prop_assert_eq!(commits.beyond(&theirs), expected);
        }
    }

    #[test]
    fn no_bytes_make_a_commit_panic(at: prop::sample::Index, flip: u8, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let control = vault();
        let mut commits = Commits::new();
        let mut near = Signed::sign(commits.next(&commits.heads(), node(1), &control, root(1), [1; 16], NOW), key(1)).bytes().to_vec();
        let at = at.index(near.len());
        near[at] ^= flip;
        for bytes in [&bytes, &near] {
            if let Ok(commit) = SignedCommit::parse(bytes) {
                prop_assert_eq!(commits.accept(&commit, &control, NOW).is_ok(), flip == 0);
            }
        }
    }
}
