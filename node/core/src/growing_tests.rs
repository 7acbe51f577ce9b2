use super::*;
use crate::commit::SignedCommit;
use crate::control::{Control, Role};
use crate::prune;
use crate::sign::Signed;
use crate::testing::{NOW, key, vault};
use proptest::prelude::*;
use proptest::sample::Index;

/// Owner and writers.
const AUTHORS: u8 = 4;
/// Who has trees.
const PEERS: usize = 3;

/// One version: by whom, on which earlier ones, and which peers have its tree.
#[derive(Clone, Debug)]
struct Made {
    by: u8,
    on: Vec<Index>,
    at: [bool; PEERS],
}

fn made() -> impl Strategy<Value = Made> {
    let on = prop::collection::vec(any::<Index>(), 1..4);
    let at = std::array::from_fn(|_| prop::bool::weighted(0.7));
    (0..AUTHORS, on, at).prop_map(|(by, on, at)| Made { by, on, at })
}

/// What exists: all versions, what owners let go of, and which peers have what.
struct World {
    control: Control,
    all: Vec<SignedCommit>,
    prunable: HashSet<CommitId>,
    peers: [HashSet<CommitId>; PEERS],
}

impl World {
    /// Each version builds on some of the four newest: histories are long and thin, with a few forks.
    fn of(history: &[Made], keep: Option<Index>) -> World {
        let mut writing = Writing::new();
        let mut peers: [HashSet<CommitId>; PEERS] = Default::default();
        for made in history {
            let newest = writing.commits.iter().rev().take(4);
            let newest: Vec<CommitId> = newest.map(|(id, _)| *id).collect();
            let on: Vec<CommitId> = match newest.as_slice() {
                [] => Vec::new(),
                some => made.on.iter().map(|at| *at.get(some)).collect(),
            };
            let id = writing.write(made.by, &on);
            for (peer, has) in peers.iter_mut().zip(made.at) {
                peer.extend(id.filter(|_| has));
            }
        }
        let keep = keep.map(|at| CommitId::from(at.get(&writing.all).id()));
        let prunable = prune::prunable(&writing.commits, keep.as_ref());
        for peer in &mut peers {
            peer.retain(|id| !prunable.contains(id));
        }
        World {
            prunable,
            peers,
            control: writing.control,
            all: writing.all,
        }
    }

    /// Versions that build on one another, of which everybody has all.
    fn thread(length: usize) -> World {
        let mut writing = Writing::new();
        for _ in 0..length {
            let heads = writing.commits.heads();
            writing.write(1, &heads).unwrap();
        }
        let all: HashSet<CommitId> = writing.commits.iter().map(|(id, _)| *id).collect();
        World {
            prunable: HashSet::new(),
            peers: std::array::from_fn(|_| all.clone()),
            control: writing.control,
            all: writing.all,
        }
    }

    fn lacks(&self, peer: usize) -> HashSet<CommitId> {
        let all = self.all.iter().map(|c| CommitId::from(c.id()));
        all.filter(|id| !self.peers[peer].contains(id)).collect()
    }

    /// The heads that a peer shows, of the versions that are in `commits`.
    fn shown_by(&self, peer: usize, commits: &Commits) -> Vec<CommitId> {
        Growing::of(commits, &self.lacks(peer), &self.prunable).heads()
    }
}

/// Where all versions are made.
struct Writing {
    control: Control,
    commits: Commits,
    all: Vec<SignedCommit>,
}

impl Writing {
    fn new() -> Writing {
        Writing {
            control: vault((1..AUTHORS).map(|n| (n, Role::Writer))),
            commits: Commits::new(),
            all: Vec::new(),
        }
    }

    /// A version on top of those of `on` that no other of them builds on; `None` where it would be a head too many.
    fn write(&mut self, by: u8, on: &[CommitId]) -> Option<CommitId> {
        let n = u8::try_from(self.all.len()).unwrap();
        let parents = self.commits.standing(on, |_| false);
        let (author, now) = (key(by), NOW + u64::from(n));
        let next = self.commits.next(
            &parents,
            author.node_id(),
            &self.control,
            [n; 32].into(),
            [n; 16],
            now,
        );
        let signed = Signed::sign(next, author);
        self.commits.accept(&signed, &self.control, now).ok()?;
        let id = signed.id().into();
        self.all.push(signed);
        Some(id)
    }
}

/// A node that learns of them.
struct Place<'w> {
    world: &'w World,
    commits: Commits,
    lean: HashSet<CommitId>,
    /// Whose trees are here.
    here: HashSet<CommitId>,
    /// What the peer that is asked has not got.
    absent: HashSet<CommitId>,
}

impl<'w> Place<'w> {
    fn new(world: &'w World) -> Place<'w> {
        Place {
            world,
            commits: Commits::new(),
            lean: HashSet::new(),
            here: HashSet::new(),
            absent: HashSet::new(),
        }
    }

    fn growing(&self) -> Growing<'_> {
        Growing::of(&self.commits, &self.lean, &self.world.prunable).without(&self.absent)
    }

    fn hear(&mut self, headers: &[SignedCommit]) {
        for signed in headers {
            self.commits
                .accept(signed, &self.world.control, NOW + 1_000)
                .unwrap();
            self.lean.insert(signed.id().into());
        }
    }

    /// What of these is here takes its place.
    fn complete(&mut self, versions: &[CommitId]) {
        for id in versions.iter().filter(|id| self.here.contains(*id)) {
            self.lean.remove(id);
        }
    }

    /// What is beyond what is shown, as far as it may become whole by now. Who has nothing yet begins with all heads of the peer.
    fn settle(&mut self, shows: &[CommitId]) {
        if self.shown().is_empty() {
            self.complete(&self.growing().beyond(shows));
        }
        for id in self.growing().beyond(&self.commits.heads()) {
            if self.growing().is_next(&id) {
                self.complete(&[id]);
            }
        }
    }

    /// A peer answers.
    fn pull(&mut self, peer: usize, pulls: &[Pull]) -> Result<(), TestCaseError> {
        prop_assert!(pulls.len() <= MAX_AHEAD);
        for (n, pull) in pulls.iter().enumerate() {
            prop_assert!(
                !self.world.prunable.contains(&pull.want),
                "nobody has it any more"
            );
            prop_assert!(!self.absent.contains(&pull.want), "it said so");
            let before: HashSet<CommitId> = pulls[..n].iter().map(|p| p.want).collect();
            for have in &pull.have {
                prop_assert!(self.growing().is_whole(have) || before.contains(have));
            }
            if self.world.peers[peer].contains(&pull.want) {
                prop_assert!(self.here.insert(pull.want), "each once");
            } else {
                self.absent.insert(pull.want);
            }
        }
        Ok(())
    }

    fn shown(&self) -> Vec<CommitId> {
        self.growing().heads()
    }

    /// Fetches what a peer shows, and then the past behind what is shown, looking at each step.
    fn fetch(&mut self, peer: usize) -> Result<(), TestCaseError> {
        let shows = self.world.shown_by(peer, &self.commits);
        loop {
            let before = self.shown();
            let beyond = self.growing().beyond(&shows);
            if before.is_empty() {
                prop_assert!(
                    beyond.iter().all(|id| shows.contains(id)),
                    "the newest first"
                );
            }
            let pulls = self.growing().pulls(&beyond);
            if pulls.is_empty() {
                break;
            }
            self.pull(peer, &pulls)?;
            self.settle(&shows);
            self.holds(&before)?;
        }
        let covers = self.commits.reachable(&self.shown());
        prop_assert!(shows.iter().all(|id| covers.contains(id)), "it is stuck");
        loop {
            let before = self.shown();
            let mut past = self.growing().past();
            past.retain(|id| !self.absent.contains(id));
            let dates = past.iter().map(|id| self.commits.get(id).unwrap().time_ms);
            prop_assert!(dates.is_sorted_by(|newer, older| newer >= older));
            let pulls = self.growing().pulls(&past);
            if pulls.is_empty() {
                break;
            }
            self.pull(peer, &pulls)?;
            let asked: Vec<CommitId> = pulls.iter().map(|p| p.want).collect();
            self.complete(&asked);
            self.holds(&before)?;
        }
        self.absent.clear();
        Ok(())
    }

    /// What is shown is whole, builds on nothing else that is shown, and has everything in it that was shown before.
    fn holds(&self, before: &[CommitId]) -> Result<(), TestCaseError> {
        let shown = self.shown();
        for id in &shown {
            prop_assert!(self.growing().is_whole(id));
            let mut others = shown.iter().filter(|o| *o != id);
            prop_assert!(!others.any(|o| self.commits.descends(o, id)));
        }
        let covers = self.commits.reachable(&shown);
        prop_assert!(before.iter().all(|id| covers.contains(id)), "it went back");
        Ok(())
    }
}

fn config() -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: given.and_then(|n| n.parse().ok()).unwrap_or(128),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever the history is, in however many parts it is heard of, and whichever trees each peer has: what any peer shows is shown here after it was asked, no tree comes twice, and
    /// what is shown never goes back. In the end everything is here that somebody has, as far as it is behind what is shown.
    #[test]
    fn growing_never_stuck(history in prop::collection::vec(made(), 1..40), keep in prop::option::of(any::<Index>()), parts in prop::collection::vec((any::<Index>(), 0..PEERS), 0..6)) {
        let world = World::of(&history, keep);
        let mut place = Place::new(&world);
        let mut cuts: Vec<(usize, usize)> = parts.iter().map(|(at, peer)| (at.index(world.all.len()), *peer)).collect();
        cuts.extend((0..PEERS).map(|peer| (world.all.len(), peer)));
        cuts.sort_unstable();
        let mut heard = 0;
        for (cut, peer) in cuts {
            let before = place.shown();
            place.hear(&world.all[heard..cut]);
            heard = cut;
            place.holds(&before)?;
            place.fetch(peer)?;
        }
        // Once more: what the last peer showed may have more behind it, of which another has the trees.
        for peer in 0..PEERS {
            place.fetch(peer)?;
        }
        for id in place.commits.reachable(&place.shown()) {
            let somebody = world.peers.iter().any(|has| has.contains(&id));
            prop_assert_eq!(place.growing().is_whole(&id), somebody);
        }
    }

    /// Who has everything already asks for nothing.
    #[test]
    fn growing_asks_for_nothing_that_is_here(history in prop::collection::vec(made(), 1..40)) {
        let world = World::of(&history, None);
        let mut place = Place::new(&world);
        place.hear(&world.all);
        place.lean.clear();
        let heads = place.commits.heads();
        prop_assert_eq!(&place.shown(), &heads);
        prop_assert!(place.growing().beyond(&heads).is_empty() && place.growing().past().is_empty());
    }
}

#[test]
fn several_versions_in_a_row_are_pulled_at_a_time_each_with_the_one_before_it() {
    let world = World::thread(20);
    let mut place = Place::new(&world);
    place.hear(&world.all[..1]);
    place.fetch(0).unwrap();
    place.hear(&world.all[1..]);
    let pulls = place
        .growing()
        .pulls(&place.growing().beyond(&place.commits.heads()));
    assert_eq!(pulls.len(), MAX_AHEAD);
    for (n, pull) in pulls.iter().enumerate() {
        assert_eq!(pull.want, world.all[n + 1].id().into());
        assert_eq!(pull.have, [CommitId::from(world.all[n].id())]);
    }
}
