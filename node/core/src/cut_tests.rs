//! Removals and commits that reach everybody in another order: two owners who remove writers and each other, writers who go on without having heard of it, one of them on two machines.

use super::*;
use crate::commit::CommitError;
use crate::control::{ControlError, Target};
use crate::ids::NodeId;
use crate::testing::{epoch, node};

/// What everybody must agree on in the end.
#[derive(Debug, PartialEq)]
struct End {
    heads: Vec<CommitId>,
    valid: BTreeMap<CommitId, bool>,
    members: Vec<NodeId>,
    shown: Shown,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Write(usize, usize),
    /// The first or the second owner removes somebody.
    Revoke(usize, u8),
    /// Somebody hears of all commits, and perhaps of all operations.
    Hear(usize, bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0..WRITERS.len(), 0..PATHS.len()).prop_map(|(at, path)| Event::Write(at, path)),
        2 => (0..2usize, 0..5u8).prop_map(|(by, target)| Event::Revoke(by, target)),
        3 => (0..WRITERS.len(), any::<bool>()).prop_map(|(at, ops)| Event::Hear(at, ops)),
    ]
}

/// A vault of the people 0 and 1 with the writers 2, 3 and 4, as each place has it.
struct Apart {
    world: World,
    ops: Vec<SignedOp>,
    logs: Vec<Control>,
}

impl Apart {
    fn new() -> Apart {
        let control = testing::vault([
            (1, Role::Owner),
            (2, Role::Writer),
            (3, Role::Writer),
            (4, Role::Writer),
        ]);
        Apart {
            logs: vec![control.clone(); WRITERS.len()],
            ops: control.ops().cloned().collect(),
            world: World {
                control,
                ..World::new()
            },
        }
    }

    fn after(events: &[Event]) -> Apart {
        let mut apart = Apart::new();
        for (n, event) in (0u8..).zip(events) {
            match *event {
                Event::Write(at, path) => apart.write(at, PATHS[path], n),
                Event::Revoke(by, target) => apart.revoke(by, target, n),
                Event::Hear(at, ops) => apart.hear(at, ops),
            }
        }
        apart
    }

    fn write(&mut self, at: usize, path: &str, value: u8) {
        self.world.control = self.logs[at].clone();
        let commits = self.world.places[at].clone();
        let edit = Edit::Put {
            path: path.to_owned(),
            mode: 0o400,
            value: Zeroizing::new(vec![value; 2]),
        };
        if let Some(signed) = self.world.commit(&commits, at, vec![edit]) {
            // Who knows of its own removal may write, and nobody counts it.
            let accepted = self.world.places[at].accept(&signed, &self.logs[at], NOW + 1_000);
            if accepted.is_ok() {
                self.world.all.push(signed);
            }
        }
    }

    fn revoke(&mut self, by: usize, target: u8, n: u8) {
        let (log, commits) = (&mut self.logs[by], &mut self.world.places[by]);
        let target = Target::Node(node(target));
        let owner = key(WRITERS[by]);
        let op = log.revoke(
            owner.node_id(),
            target,
            commits.heads(),
            Some(epoch(100 + n)),
        );
        let signed = op.map(|op| SignedOp::sign(op, owner));
        if let Some(op) = signed.ok().filter(|op| log.apply(op).is_ok()) {
            commits.judge(log);
            self.ops.push(op);
        }
    }

    fn hear(&mut self, at: usize, of_operations: bool) {
        let mut ops = if of_operations {
            self.ops.clone()
        } else {
            Vec::new()
        };
        let (log, commits) = (&mut self.logs[at], &mut self.world.places[at]);
        settle(log, commits, &mut ops, &mut self.world.all.clone());
    }

    /// What somebody has who hears of everything in this order.
    fn heard_in(&self, order: &[u32]) -> End {
        let mut control = Control::new(&self.ops[0]).unwrap();
        let mut commits = Commits::new();
        let ops = self.ops[1..].iter().map(Ok);
        let all = ops.chain(self.world.all.iter().map(Err));
        let mut events: Vec<_> = order.iter().cycle().zip(all).collect();
        events.sort_by_key(|(n, _)| **n);
        let (mut ops, mut waiting) = (vec![], vec![]);
        for (_, event) in events {
            match event {
                Ok(op) => ops.push(op.clone()),
                Err(commit) => waiting.push(commit.clone()),
            }
            settle(&mut control, &mut commits, &mut ops, &mut waiting);
        }
        assert!(ops.is_empty() && waiting.is_empty());
        check_by_the_words(&control, &commits);
        self.end(&control, &commits)
    }

    fn end(&self, control: &Control, commits: &Commits) -> End {
        let heads = commits.heads();
        End {
            valid: commits.iter().map(|(id, h)| (*id, h.valid)).collect(),
            members: control.state().members.keys().copied().collect(),
            shown: self.world.shown(commits, &heads),
            heads,
        }
    }
}

/// The rule, as it is written down: a removed author's commits count where each removal keeps them, and none that was made knowing of one; all others' count. The heads are those
/// that count and on which nothing builds that counts.
fn check_by_the_words(control: &Control, commits: &Commits) {
    for (id, header) in commits.iter() {
        let removals = control.removals(&header.author);
        let counts = removals.iter().all(|(removal, cut)| {
            !control.reaches(&header.control, &[*removal])
                && cut.iter().any(|kept| commits.descends(kept, id))
        });
        assert_eq!(header.valid, counts, "{id}");
    }
    let counts = || commits.iter().filter(|(_, h)| h.valid).map(|(id, _)| *id);
    let covered = |id: &CommitId| counts().any(|on| on != *id && commits.descends(&on, id));
    let mut heads: Vec<CommitId> = counts().filter(|id| !covered(id)).collect();
    heads.sort_unstable();
    assert_eq!(commits.heads(), heads);
}

/// Takes in what is due, again and again, as a node does.
fn settle(
    control: &mut Control,
    commits: &mut Commits,
    ops: &mut Vec<SignedOp>,
    waiting: &mut Vec<SignedCommit>,
) {
    loop {
        let before = (ops.len(), waiting.len());
        ops.retain(|op| matches!(control.apply(op), Err(ControlError::MissingParents(_))));
        if ops.len() < before.0 {
            commits.judge(control);
        }
        waiting.retain(|c| {
            matches!(
                commits.accept(c, control, NOW + 60_000),
                Err(CommitError::MissingOps(_) | CommitError::MissingParents(_))
            )
        });
        if (ops.len(), waiting.len()) == before {
            return;
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whoever hears of everything has the same heads, the same commits that count, the same members and the same contents: in any order, and whatever was heard and written before.
    #[test]
    fn commit_cut_converges(events in proptest::collection::vec(event(), 1..28), orders in proptest::collection::vec(proptest::collection::vec(any::<u32>(), 48), 4)) {
        let mut apart = Apart::after(&events);
        let ends: Vec<End> = orders.iter().map(|order| apart.heard_in(order)).collect();
        for end in &ends[1..] {
            prop_assert_eq!(end, &ends[0]);
        }
        for at in 0..WRITERS.len() {
            apart.hear(at, true);
            prop_assert_eq!(&apart.end(&apart.logs[at], &apart.world.places[at]), &ends[0], "place {}", at);
        }
    }
}

/// Of two removals and four commits, every one of the orders there is.
#[test]
fn every_order_of_two_removals_and_four_commits_ends_the_same() {
    let events = [
        Event::Write(2, 0),
        Event::Hear(0, true),
        Event::Hear(4, true),
        Event::Revoke(0, 2),
        Event::Write(2, 1),
        Event::Revoke(1, 3),
        Event::Write(4, 2),
        Event::Hear(5, false),
        Event::Write(5, 3),
    ];
    let apart = Apart::after(&events);
    let made = apart.ops.len() - 1 + apart.world.all.len();
    assert_eq!((apart.ops.len(), apart.world.all.len()), (7, 4));
    let mut ends = Vec::new();
    // The grants come first; six things are left to put in order.
    let mut order = [0, 1, 2, 3, 4, 5];
    permutations(&mut order, 0, &mut |order| {
        let mut all = vec![0; made - 6];
        all.extend(order.iter().map(|n| n + 1));
        ends.push(apart.heard_in(&all));
    });
    assert_eq!(ends.len(), 720);
    assert!(ends.iter().all(|end| *end == ends[0]));
    let counts = ends[0].valid.values().filter(|valid| **valid).count();
    assert_eq!(counts, 2, "what was kept, and the honest one on top of all");
}

fn permutations(of: &mut [u32; 6], from: usize, each: &mut impl FnMut(&[u32; 6])) {
    if from == of.len() {
        return each(of);
    }
    for at in from..of.len() {
        of.swap(from, at);
        permutations(of, from + 1, each);
        of.swap(from, at);
    }
}
