use super::*;
use crate::commit::{Accepted, SignedCommit};
use crate::control::{Control, Role, SignedOp};
use crate::epoch::ShapeKey;
use crate::ids::{EpochId, Tag};
use crate::prune::{self, Marking};
use crate::seal::ObjectKeys;
use crate::sign::Signed;
use crate::testing::{self, NOW, key};
use crate::tree;
use proptest::prelude::*;
use std::collections::{BTreeSet, HashSet};

/// Who writes at each place: the third and the fourth are one identity on two machines; the last two write only where the log changes under the writers.
const WRITERS: [u8; 6] = [0, 1, 2, 2, 3, 4];
const PATHS: [&str; 4] = ["a", "a/b", "m", "z"];

fn shape() -> ShapeKey {
    ShapeKey::new(Zeroizing::new([0x44; 32]))
}

struct Keys(ObjectKeys);

impl Keyring for Keys {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        (*epoch == self.0.epoch()).then_some(&self.0)
    }
}

#[derive(Default)]
struct Memory(HashMap<Address, Vec<u8>>);

impl Objects for Memory {
    fn object(
        &self,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.get(address).cloned())
    }
}

/// Places that write one vault, and what each has heard of.
struct World {
    control: Control,
    objects: Memory,
    keys: Keys,
    places: Vec<Commits>,
    /// In an order in which parents come first.
    all: Vec<SignedCommit>,
    done: Vec<Done>,
}

/// What somebody did to a path.
struct Done {
    commit: CommitId,
    path: &'static str,
    /// Else it removed the path.
    wrote: Option<Tag>,
    /// The commits that its author built on.
    saw: HashSet<CommitId>,
}

/// The contents, for comparing: the values of each path by tag.
type Shown = BTreeMap<String, Vec<(Tag, Vec<u8>)>>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize, usize),
    Remove(usize, usize),
    /// The second hears of all that the first has.
    Tell(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    (0..8u8, 0..4usize, 0..4usize).prop_map(|(what, a, b)| match what {
        0..=3 => Step::Write(a, b),
        4 => Step::Remove(a, b),
        _ => Step::Tell(a, b),
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..24)
}

impl World {
    fn new() -> World {
        let keys = ObjectKeys::new(
            EpochId::from([1; 16]),
            Zeroizing::new([1; 32]),
            Zeroizing::new([2; 32]),
        );
        World {
            control: testing::vault([(1, Role::Writer), (2, Role::Writer)]),
            objects: Memory::default(),
            keys: Keys(keys),
            places: vec![Commits::new(); WRITERS.len()],
            all: Vec::new(),
            done: Vec::new(),
        }
    }

    fn after(steps: &[Step]) -> World {
        let mut world = World::new();
        for (n, step) in (0u8..).zip(steps) {
            match *step {
                Step::Write(at, path) => world.write(at, PATHS[path], Some(n)),
                Step::Remove(at, path) => world.write(at, PATHS[path], None),
                Step::Tell(from, to) => world.tell(from, to),
            }
        }
        world
    }

    fn view(&self, commits: &Commits, heads: &[CommitId]) -> Option<View> {
        View::of(
            commits,
            heads,
            &self.objects,
            &self.keys,
            self.control.vault(),
        )
        .unwrap()
    }

    fn shown(&self, commits: &Commits, heads: &[CommitId]) -> Shown {
        let Some(view) = self.view(commits, heads) else {
            return Shown::new();
        };
        let contents = view.open(&self.objects, &self.keys, self.control.vault());
        let value = |v: &Variant| (v.tag, contents.read(v).unwrap().to_vec());
        contents
            .range("")
            .unwrap()
            .into_iter()
            .map(|(path, values)| {
                assert!(
                    values.is_sorted_by(|a, b| a.tag < b.tag),
                    "by tag, one of each"
                );
                let got = contents.get(&path).unwrap();
                assert!(same(&got, &values), "one path and a listing say the same");
                (path, values.iter().map(value).collect())
            })
            .collect()
    }

    /// The signed commit of `edits` over the heads of `commits`, whose author is that of the place `at`.
    fn commit(&mut self, commits: &Commits, at: usize, edits: Vec<Edit>) -> Option<SignedCommit> {
        let author = key(WRITERS[at]);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.all.len().to_be_bytes());
        nonce[15] = u8::try_from(at).unwrap();
        let tag = commits.next_tag(&commits.heads(), author.node_id(), &self.control, nonce);
        let vault = self.control.vault();
        let (root, mut all) = if let Some(view) = self.view(commits, &commits.heads()) {
            (view.root(), view.edits(commits))
        } else {
            let (root, object) = tree::empty(&self.keys.0, &vault).unwrap();
            self.objects.0.insert(root, object);
            (root, Vec::new())
        };
        let before = all.len();
        all.extend(edits);
        let edited = Tree::new(&self.objects, &self.keys, vault, root)
            .edit(all, tag, &shape(), &self.keys.0)
            .unwrap();
        if edited.changed.is_empty() && before == 0 && commits.heads().len() < 2 {
            return None;
        }
        self.objects.0.extend(edited.objects);
        let now = NOW + self.all.len() as u64;
        let commit = commits.next(
            &commits.heads(),
            author.node_id(),
            &self.control,
            edited.root,
            nonce,
            now,
        );
        Some(Signed::sign(commit, author))
    }

    fn write(&mut self, at: usize, path: &'static str, value: Option<u8>) {
        let edit = match value {
            Some(n) => Edit::Put {
                path: path.to_owned(),
                mode: 0o400,
                // Some in the page, some in an object of their own.
                value: Zeroizing::new(vec![n; 1 + usize::from(n % 3) * 100]),
            },
            None => Edit::Remove {
                path: path.to_owned(),
            },
        };
        let commits = self.places[at].clone();
        let saw = commits.reachable(&commits.heads());
        let Some(signed) = self.commit(&commits, at, vec![edit]) else {
            return;
        };
        self.check(&commits, &signed).unwrap();
        self.done.push(Done {
            commit: signed.id().into(),
            path,
            wrote: value.map(|_| signed.payload().tag()),
            saw,
        });
        self.take(at, &signed);
        self.all.push(signed);
    }

    fn check(&self, commits: &Commits, signed: &SignedCommit) -> Result<(), TreeError> {
        let commit = signed.payload();
        let written = (commit.root, commit.tag());
        check_writes(
            commits,
            commit.vault,
            written,
            &commit.parents,
            &self.objects,
            &self.keys,
        )
    }

    fn take(&mut self, at: usize, signed: &SignedCommit) {
        let accepted = self.places[at].accept(signed, &self.control, NOW + 1_000);
        assert!(
            matches!(accepted, Ok(Accepted::Counts | Accepted::Known)),
            "{accepted:?}"
        );
    }

    fn tell(&mut self, from: usize, to: usize) {
        for at in 0..self.all.len() {
            let id = CommitId::from(self.all[at].id());
            if self.places[from].contains(&id) && !self.places[to].contains(&id) {
                let signed = self.all[at].clone();
                self.take(to, &signed);
            }
        }
    }

    /// Commits that were made, and no others, taken in in this order: children whose parents are not there come again.
    fn replica(&self, order: &[u32], which: &HashSet<CommitId>) -> Commits {
        let mut waiting: Vec<(u32, &SignedCommit)> = order
            .iter()
            .copied()
            .cycle()
            .zip(self.all.iter().filter(|c| which.contains(&c.id().into())))
            .collect();
        waiting.sort_by_key(|(n, _)| *n);
        let mut commits = Commits::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|(_, c)| commits.accept(c, &self.control, NOW + 1_000).is_err());
            assert!(waiting.len() < before);
        }
        commits
    }

    fn everything(&self) -> HashSet<CommitId> {
        self.all.iter().map(|c| c.id().into()).collect()
    }

    /// What stands, by the rule in words: written, and by nobody who had seen it overwritten or removed.
    fn standing(&self, within: &HashSet<CommitId>) -> BTreeSet<(&'static str, Tag)> {
        let here = || self.done.iter().filter(|d| within.contains(&d.commit));
        here()
            .filter(|e| !here().any(|d| d.path == e.path && d.saw.contains(&e.commit)))
            .filter_map(|e| Some((e.path, e.wrote?)))
            .collect()
    }
}

fn cases(default: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: asked.and_then(|n| n.parse().ok()).unwrap_or(default),
        ..ProptestConfig::default()
    }
}

fn order() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(any::<u32>(), 24)
}

proptest! {
    #![proptest_config(cases(64))]

    /// At every place, at every moment: what was written and not replaced by someone who had seen it is shown.
    #[test]
    fn view_no_acked_write_vanishes(steps in steps()) {
        let world = World::after(&steps);
        for commits in &world.places {
            let shown = world.shown(commits, &commits.heads());
            for (path, tag) in world.standing(&commits.reachable(&commits.heads())) {
                let values = shown.get(path).map_or(&[][..], Vec::as_slice);
                prop_assert!(values.iter().any(|(t, _)| *t == tag), "{path} lost a write");
            }
        }
    }

    /// Nothing else is shown: what was overwritten or removed does not come back.
    #[test]
    fn view_no_zombie(steps in steps()) {
        let world = World::after(&steps);
        for commits in &world.places {
            let standing = world.standing(&commits.reachable(&commits.heads()));
            for (path, values) in world.shown(commits, &commits.heads()) {
                for (tag, _) in values {
                    prop_assert!(standing.iter().any(|(p, t)| *p == path && *t == tag), "{path} came back");
                }
            }
        }
    }

    /// Whoever hears of the same commits, in whatever order, sees the same under the same version.
    #[test]
    fn view_order_free(steps in steps(), order in order(), other in order()) {
        let world = World::after(&steps);
        let (a, b) = (world.replica(&order, &world.everything()), world.replica(&other, &world.everything()));
        prop_assert_eq!(a.heads(), b.heads());
        prop_assert_eq!(world.shown(&a, &a.heads()), world.shown(&b, &b.heads()));
        let mut backwards = a.heads();
        backwards.reverse();
        prop_assert_eq!(world.shown(&a, &a.heads()), world.shown(&a, &backwards));
        let version = |heads: &[CommitId]| world.view(&a, heads).map(|v| v.version());
        prop_assert_eq!(version(&a.heads()), version(&backwards));
        for (_, values) in world.shown(&a, &[]) { prop_assert!(values.is_empty()); }
    }

    /// A commit over some of the heads that only says what they say together changes nothing of what all say together.
    #[test]
    fn view_fold_invariant(steps in steps(), order in order(), chosen: u8) {
        let mut world = World::after(&steps);
        let mut commits = world.replica(&order, &world.everything());
        let before = world.shown(&commits, &commits.heads());
        let heads = commits.heads();
        let some: Vec<CommitId> = heads.iter().enumerate().filter(|(n, _)| chosen >> (n % 8) & 1 == 1).map(|(_, h)| *h).collect();
        // Of one head there is no part.
        if some.len() < 2 { return Ok(()); }
        let part = world.replica(&order, &commits.reachable(&some));
        prop_assert_eq!(part.heads(), some.clone());
        let fold = world.commit(&part, 0, Vec::new()).unwrap();
        world.check(&commits, &fold).unwrap();
        commits.accept(&fold, &world.control, NOW + 1_000).unwrap();
        prop_assert_eq!(commits.heads().len(), heads.len() - some.len() + 1);
        prop_assert_eq!(world.shown(&commits, &commits.heads()), before);
    }

    /// Two machines with one identity and one number count as two: both writes stand.
    #[test]
    fn view_survives_cloned_identity(steps in steps(), path in 0..4usize, other in 0..4usize, order in order()) {
        let mut world = World::after(&steps);
        // The backup is restored: both places have the same, and both write.
        world.tell(2, 3);
        world.tell(3, 2);
        world.write(2, PATHS[path], Some(201));
        world.write(3, PATHS[other], Some(202));
        let [.., a, b] = world.all.as_slice() else { unreachable!("two were written") };
        prop_assert_eq!((a.payload().author, a.payload().seq), (b.payload().author, b.payload().seq));
        let (a, b) = (a.payload().tag(), b.payload().tag());
        let both = world.replica(&order, &world.everything());
        let shown = world.shown(&both, &both.heads());
        prop_assert!(shown[PATHS[path]].iter().any(|(t, _)| *t == a));
        prop_assert!(shown[PATHS[other]].iter().any(|(t, _)| *t == b));
    }

    /// Who writes another's tag, or brings back what the heads together do not show, is found out on top of what was known.
    #[test]
    fn view_reader_finds_forged_tags(steps in steps(), order in order(), back in any::<prop::sample::Index>()) {
        let mut world = World::after(&steps);
        let commits = world.replica(&order, &world.everything());
        let standing = world.standing(&world.everything());
        let gone: Vec<(&'static str, Tag)> = world.done.iter().filter_map(|d| Some((d.path, d.wrote?))).filter(|e| !standing.contains(e)).collect();
        if gone.is_empty() { return Ok(()); }
        let (path, tag) = gone[back.index(gone.len())];
        let variants = vec![Variant { tag, mode: 0o400, size: 1, content: tree::Content::Inline(Zeroizing::new(vec![1])) }];
        let forged = world.commit(&commits, 1, vec![Edit::Keep { path: path.to_owned(), variants }]).unwrap();
        prop_assert!(matches!(world.check(&commits, &forged), Err(TreeError::Malformed(_))));
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever is written while the walk is under way, and wherever a prune is: every version that is kept stays whole, and of the rest nothing stays.
    #[test]
    fn gc_never_drops_reachable(before in steps(), during in steps(), at in any::<prop::sample::Index>(), pin in any::<prop::sample::Index>(), slice in 1..9usize) {
        let mut world = World::after(&before);
        prop_assert!(collect(&mut world, &during, at, pin, slice).is_ok());
    }

    /// The walk never asks for a key: objects of other vaults' keys, or none that open at all, are walked the same.
    #[test]
    fn gc_needs_no_keys(before in steps()) {
        let world = World::after(&before);
        let mut marking = Marking::default();
        for place in &world.places {
            for (id, root) in prune::roots(place, |_| false) { marking.need(id, root); }
        }
        while marking.step(&world.objects, 3).unwrap() {}
        // The world's keys are not in this: `Marking` is given objects and nothing else. Of every version all is found.
        for signed in &world.all {
            for address in tree::difference(&world.objects, &[], &signed.payload().root).unwrap() {
                prop_assert!(marking.needs(&address));
            }
        }
    }
}

/// One collection at the place 0, which hears of `during` when its walk has begun.
fn collect(
    world: &mut World,
    during: &[Step],
    at: prop::sample::Index,
    pin: prop::sample::Index,
    slice: usize,
) -> Result<(), TestCaseError> {
    for from in 1..4 {
        world.tell(from, 0);
    }
    if world.all.is_empty() {
        return Ok(());
    }
    let garbage = Address::from([0xee; 32]);
    world.objects.0.insert(garbage, Vec::new());
    let keep = CommitId::from(world.all[at.index(world.all.len())].id());
    let pins = HashSet::from([CommitId::from(world.all[pin.index(world.all.len())].id())]);
    let mut marking = Marking::default();
    let need = |world: &World, marking: &mut Marking| {
        let prunable = prune::prunable(&world.places[0], [&keep]);
        let gone = |id: &CommitId| prunable.contains(id) && !pins.contains(id);
        for (id, root) in prune::roots(&world.places[0], gone) {
            marking.need(id, root);
        }
        prunable
    };
    need(world, &mut marking);
    for (n, step) in (100u8..).zip(during) {
        marking.step(&world.objects, slice).unwrap();
        match *step {
            Step::Write(at, path) => world.write(at, PATHS[path], Some(n)),
            Step::Remove(at, path) => world.write(at, PATHS[path], None),
            Step::Tell(from, to) => world.tell(from, to),
        }
    }
    for from in 1..4 {
        world.tell(from, 0);
    }
    // What came since is walked before anything is dropped.
    let prunable = need(world, &mut marking);
    while marking.step(&world.objects, slice).unwrap() {}
    let all: Vec<Address> = world.objects.0.keys().copied().collect();
    for address in all.into_iter().filter(|a| !marking.needs(a)) {
        world.objects.0.remove(&address);
    }
    prop_assert!(!world.objects.0.contains_key(&garbage));
    let commits = world.places[0].clone();
    for (id, header) in commits.iter() {
        let whole = tree::difference(&world.objects, &[], &header.root).is_ok();
        prop_assert!(whole || (prunable.contains(id) && !pins.contains(id)));
    }
    prop_assert!(
        prunable
            .iter()
            .all(|p| commits.descends(&keep, p) && *p != keep)
    );
    prop_assert!(commits.heads().iter().all(|h| !prunable.contains(h)));
    // All that stands is read.
    let shown = world.shown(&commits, &commits.heads());
    let standing = world.standing(&commits.reachable(&commits.heads()));
    prop_assert_eq!(shown.values().map(Vec::len).sum::<usize>(), standing.len());
    Ok(())
}

#[test]
fn the_version_of_several_heads_is_that_of_the_formats_reference() {
    let heads = [CommitId::from([1; 32]), CommitId::from([2; 32])];
    assert_eq!(version(&[]), None);
    assert_eq!(version(&heads[..1]), Some(heads[0]));
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"polykey/1 view\0");
    hasher.update(&[1; 32]);
    hasher.update(&[2; 32]);
    let expected = CommitId::from(*hasher.finalize().as_bytes());
    assert_eq!(version(&heads), Some(expected));
}

#[test]
fn a_change_between_two_views_is_what_a_person_would_see() {
    let mut world = World::new();
    world.write(0, "a", Some(1));
    world.write(0, "m", Some(2));
    world.tell(0, 1);
    let before = world.places[0].clone();
    world.write(0, "a", Some(3));
    world.write(1, "a", Some(4));
    world.write(1, "m", None);
    world.tell(1, 0);
    let after = world.places[0].clone();
    let (old, new) = (
        world.view(&before, &before.heads()).unwrap(),
        world.view(&after, &after.heads()).unwrap(),
    );
    let vault = world.control.vault();
    let changes = new
        .open(&world.objects, &world.keys, vault)
        .changes_since(&old.open(&world.objects, &world.keys, vault))
        .unwrap();
    let shape: Vec<(String, usize, usize)> = changes
        .into_iter()
        .map(|c| (c.path, c.old.len(), c.new.len()))
        .collect();
    assert_eq!(shape, [("a".to_owned(), 1, 2), ("m".to_owned(), 1, 0)]);
    let back = old
        .open(&world.objects, &world.keys, vault)
        .changes_since(&new.open(&world.objects, &world.keys, vault))
        .unwrap();
    assert_eq!(back.len(), 2);
    let same = new
        .open(&world.objects, &world.keys, vault)
        .changes_since(&new.open(&world.objects, &world.keys, vault))
        .unwrap();
    assert!(same.is_empty());
}

#[path = "cut_tests.rs"]
mod cut;
