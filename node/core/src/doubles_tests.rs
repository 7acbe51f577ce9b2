use super::*;
use crate::commit::SignedCommit;
use crate::control::{Control, Role};
use crate::sign::Signed;
use crate::testing::{self, NOW, key, node};
use proptest::prelude::*;
use std::collections::HashSet;

/// A vault of node 0 in which node 1 writes too.
fn control() -> Control {
    testing::vault([(1, Role::Writer)])
}

/// One process: what it holds, and what it found.
#[derive(Default)]
struct Process {
    commits: Commits,
    signed: Vec<SignedCommit>,
    doubles: Doubles,
}

impl Process {
    fn take(&mut self, signed: &SignedCommit, control: &Control) {
        let id = signed.id().into();
        if !self.commits.contains(&id) && self.commits.accept(signed, control, NOW).is_ok() {
            self.signed.push(signed.clone());
            self.doubles.note(&self.commits, &id);
        }
    }

    fn write(&mut self, author: u8, nonce: u8, control: &Control) {
        let next = self.commits.next(
            &self.commits.heads(),
            node(author),
            control,
            [nonce; 32].into(),
            [nonce; 16],
            NOW,
        );
        self.take(&Signed::sign(next, key(author)), control);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64), ..ProptestConfig::default() })]

    /// Processes 0 and 1 have one identity, process 2 has its own.
    #[test]
    fn two_processes_that_wrote_apart_with_one_identity_are_found_by_whoever_holds_both(
        steps in proptest::collection::vec((0_usize..3, 0_usize..3, any::<bool>()), 1..25),
    ) {
        let control = control();
        let mut all = [Process::default(), Process::default(), Process::default()];
        for (nonce, (at, from, writes)) in (0_u8..).zip(steps) {
            if writes {
                all[at].write(u8::from(at == 2), nonce, &control);
            } else {
                for signed in all[from].signed.clone() {
                    all[at].take(&signed, &control);
                }
            }
        }
        for process in &all {
            let mut numbers = HashSet::new();
            let twice = process.commits.iter().filter(|(_, h)| !numbers.insert((h.author, h.seq))).count();
            prop_assert_eq!(process.doubles.found.len(), twice.min(MAX_DOUBLES));
            prop_assert_eq!(Doubles::of(&process.commits).found.len(), twice.min(MAX_DOUBLES));
            for double in &process.doubles.found {
                prop_assert_eq!(double.author, node(0), "a node that runs once is never found");
                let [one, other] = double.commits;
                prop_assert!(one != other && !process.commits.descends(&one, &other) && !process.commits.descends(&other, &one));
            }
        }
    }
}

#[test]
fn a_pair_is_settled_when_its_author_builds_on_both_or_is_removed() {
    let control = control();
    let (mut one, mut other) = (Process::default(), Process::default());
    one.write(0, 1, &control);
    other.write(0, 2, &control);
    let theirs = other.signed.clone();
    one.take(&theirs[0], &control);
    let open = |p: &Process| p.doubles.open(&p.commits, |_| true).len();
    assert_eq!(open(&one), 1);
    assert!(one.doubles.open(&one.commits, |_| false).is_empty());
    one.write(1, 3, &control);
    assert_eq!(open(&one), 1, "another writer does not know");
    one.write(0, 4, &control);
    assert_eq!(open(&one), 0);
}
