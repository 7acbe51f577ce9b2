use super::*;
use crate::ids::Tag;
use crate::seal::{Kind, ObjectKeys};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const VAULT: [u8; 32] = [0x22; 32];

/// Objects in memory, with a count of what was read.
#[derive(Default)]
struct Memory {
    objects: RefCell<HashMap<Address, Vec<u8>>>,
    reads: RefCell<usize>,
}

impl Objects for Memory {
    fn object(
        &self,
        address: &Address,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        *self.reads.borrow_mut() += 1;
        Ok(self.objects.borrow().get(address).cloned())
    }
}

struct Ring(HashMap<EpochId, ObjectKeys>);

impl Keyring for Ring {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        self.0.get(epoch)
    }
}

fn keys(n: u8) -> ObjectKeys {
    ObjectKeys::new(
        EpochId::from([n; 16]),
        Zeroizing::new([n; 32]),
        Zeroizing::new([n ^ 0x5a; 32]),
    )
}

fn shape() -> ShapeKey {
    ShapeKey::new(Zeroizing::new([0x44; 32]))
}

/// A vault being written.
struct Vault {
    memory: Memory,
    ring: Ring,
    root: Address,
    commits: u8,
}

impl Vault {
    fn new() -> Vault {
        let ring = Ring((1..4).map(|n| (EpochId::from([n; 16]), keys(n))).collect());
        let (root, object) = empty(&keys(1), &VAULT.into()).unwrap();
        let memory = Memory::default();
        memory.objects.borrow_mut().insert(root, object);
        Vault {
            memory,
            ring,
            root,
            commits: 0,
        }
    }

    fn tree(&self) -> Tree<'_, Memory, Ring> {
        Tree::new(&self.memory, &self.ring, VAULT.into(), self.root)
    }

    /// One commit; gives how many pages it made.
    fn edit(&mut self, edits: Vec<Edit>, epoch: u8) -> usize {
        self.commits = self.commits.wrapping_add(1);
        let edited = self
            .tree()
            .edit(edits, Tag::from([7; 16]), &shape(), &keys(epoch))
            .unwrap();
        let pages = edited
            .objects
            .iter()
            .filter(|(_, o)| seal::header(o).unwrap().kind == Kind::Page)
            .count();
        self.memory.objects.borrow_mut().extend(edited.objects);
        self.root = edited.root;
        pages
    }

    fn map(&self) -> BTreeMap<String, Vec<u8>> {
        let tree = self.tree();
        tree.range("")
            .unwrap()
            .into_iter()
            .map(|(path, v)| (path, tree.read(&v[0]).unwrap().to_vec()))
            .collect()
    }

    /// The pages as plain keys, whatever sealed them.
    fn shape_of(&self) -> Vec<(u8, Vec<String>)> {
        fn walk(
            tree: &Tree<'_, Memory, Ring>,
            address: &Address,
            out: &mut Vec<(u8, Vec<String>)>,
        ) {
            let page = tree.page(address, &Expected::ROOT).unwrap();
            out.push((
                page.level,
                page.entries.iter().map(|e| e.key.clone()).collect(),
            ));
            for e in &page.entries {
                if let Value::Child(c) = e.value {
                    walk(tree, &c, out);
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.tree(), &self.root, &mut out);
        out
    }

    /// Every object below the root.
    fn closure(&self) -> BTreeSet<Address> {
        difference(&self.memory, &[], &self.root)
            .unwrap()
            .into_iter()
            .collect()
    }
}

fn put(path: &str, value: &[u8]) -> Edit {
    Edit::Put {
        path: path.into(),
        mode: 0o444,
        value: Zeroizing::new(value.to_vec()),
    }
}

fn remove(path: &str) -> Edit {
    Edit::Remove { path: path.into() }
}

fn number(n: usize) -> String {
    format!("service-{:03}/secret-{n:06}", n % 97)
}

fn filled(n: usize) -> Vault {
    let mut v = Vault::new();
    v.edit(
        (0..n)
            .map(|i| put(&number(i), format!("value {i}").as_bytes()))
            .collect(),
        1,
    );
    v
}

#[test]
fn the_empty_tree_is_the_one_of_the_formats_reference() {
    let secret = crate::epoch::EpochSecret::new(Zeroizing::new([0x11; 32]));
    let (address, _) = empty(&secret.object_keys(), &VAULT.into()).unwrap();
    assert_eq!(
        address.to_string(),
        "b0acf9d3cc6187b1df35efa65aed7b6b4b013aa77912aa7fba354712f3722658"
    );
}

#[test]
fn tree_edit_cost() {
    let mut v = filled(20_000);
    let height = v.shape_of().iter().map(|(l, _)| *l).max().unwrap();
    let (mut total, mut worst) = (0, 0);
    for i in 0..200 {
        let pages = v.edit(vec![put(&number(i * 97 + 13), b"changed")], 1);
        total += pages;
        worst = worst.max(pages);
    }
    assert!(
        worst <= usize::from(height) + 3,
        "{worst} pages for one edit at height {height}"
    );
    assert!(
        total <= 200 * (usize::from(height) + 2),
        "{total} pages for 200 edits"
    );
    let before = *v.memory.reads.borrow();
    v.edit(vec![put(&number(500), b"once more")], 1);
    let reads = *v.memory.reads.borrow() - before;
    assert!(reads <= 64, "{reads} objects read for one edit of 20,000");
}

#[test]
fn tree_adversarial_run_bounded() {
    // A member who knows the shape key inserts only keys that never close a page.
    let mut v = filled(500);
    let never: Vec<String> = (0..)
        .map(|i| format!("m/{i:07}"))
        .filter(|k| shape().z(k.as_bytes()) < 3)
        .take(3_000)
        .collect();
    v.edit(never.iter().map(|k| put(k, b"x")).collect(), 1);
    let first = format!("m/{:07}", 0).replace("0000000", "");
    let pages = v.edit(vec![put(&format!("{first}!"), b"in front")], 1);
    assert!(pages <= 3_000 / MAX_ENTRIES + 20, "{pages} pages rewritten");
    assert_eq!(v.map().len(), 500 + 3_000 + 1);
}

#[test]
fn an_edit_that_changes_nothing_makes_nothing() {
    let v = filled(50);
    let same = v
        .tree()
        .edit(
            vec![put(&number(3), b"value 3"), remove("not there")],
            Tag::from([9; 16]),
            &shape(),
            &keys(2),
        )
        .unwrap();
    assert_eq!(
        (same.root, same.objects.len(), same.changed.len()),
        (v.root, 0, 0)
    );
}

#[test]
fn values_of_other_trees_stand_side_by_side_until_the_path_is_written() {
    let mut vault = Vault::new();
    let variant = |n: u8| Variant {
        tag: Tag::from([n; 16]),
        mode: 0o444,
        size: 1,
        content: Content::Inline(Zeroizing::new(vec![n])),
    };
    let keep = |list: &[u8]| Edit::Keep {
        path: "x".into(),
        variants: list.iter().map(|n| variant(*n)).collect(),
    };
    vault.edit(vec![keep(&[2, 1]), put("y", b"1")], 1);
    let tags: Vec<Tag> = vault
        .tree()
        .get("x")
        .unwrap()
        .iter()
        .map(|v| v.tag)
        .collect();
    assert_eq!(tags, [Tag::from([1; 16]), Tag::from([2; 16])], "by tag");
    let root = vault.root;
    vault.edit(vec![keep(&[1, 2])], 2);
    assert_eq!(vault.root, root, "the same values are no change");
    for wrong in [
        keep(&[1, 1]),
        keep(&(0..=u8::try_from(MAX_VARIANTS).unwrap()).collect::<Vec<_>>()),
    ] {
        assert!(matches!(
            vault
                .tree()
                .edit(vec![wrong], Tag::from([7; 16]), &shape(), &keys(1)),
            Err(TreeError::Malformed(_))
        ));
    }
    vault.edit(vec![keep(&[1, 2]), put("x", b"settled")], 1);
    assert_eq!(
        vault.tree().get("x").unwrap().len(),
        1,
        "the last edit of a path counts"
    );
    vault.edit(vec![keep(&[])], 1);
    assert!(vault.tree().get("x").unwrap().is_empty(), "none removes it");
}

#[test]
fn values_stand_inline_up_to_128_bytes_and_in_a_blob_up_to_64_kib() {
    let mut v = Vault::new();
    for size in [0usize, 1, 128, 129, 65_535] {
        v.edit(vec![put("a", &vec![5; size])], 1);
        assert_eq!(v.map()["a"].len(), size);
    }
    let tree = v.tree();
    assert!(matches!(
        tree.edit(
            vec![put("a/../b", b"")],
            Tag::from([1; 16]),
            &shape(),
            &keys(1)
        ),
        Err(TreeError::Path(_))
    ));
}

#[test]
fn a_lost_or_changed_object_is_an_error_and_never_other_data() {
    let v = filled(300);
    for address in v.closure() {
        let kept = v.memory.objects.borrow_mut().remove(&address).unwrap();
        assert!(v.tree().range("").is_err(), "{address} is gone");
        assert_eq!(missing(&v.memory, &[], &v.root).unwrap(), [address]);
        let mut changed = kept.clone();
        *changed.last_mut().unwrap() ^= 1;
        v.memory.objects.borrow_mut().insert(address, changed);
        assert!(v.tree().range("").is_err(), "{address} is changed");
        v.memory.objects.borrow_mut().insert(address, kept);
    }
}

fn any_edits() -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
    proptest::collection::vec((0u16..400, proptest::option::of(any::<u8>())), 1..120)
}

/// Values of all kinds: some inline, some in a blob, few in chunks.
fn value(n: u8) -> Vec<u8> {
    let size = match n {
        0..200 => usize::from(n) % 90,
        200..253 => 300,
        _ => 66_000,
    };
    vec![n; size]
}

fn edits(list: &[(u16, Option<u8>)]) -> Vec<Edit> {
    list.iter()
        .map(|(k, v)| {
            v.map_or_else(
                || remove(&number(usize::from(*k))),
                |v| put(&number(usize::from(*k)), &value(v)),
            )
        })
        .collect()
}

/// What stands where none of its kind may belongs to the tree, and nothing below it does: for who sends it and for who fetches it.
#[test]
fn an_object_in_the_wrong_place_has_nothing_below_it() {
    let memory = Memory::default();
    let make = |kind, level, refs: &[Address]| {
        let (address, object) =
            seal::seal(&keys(1), &VAULT.into(), kind, level, refs, b"any").unwrap();
        memory.objects.borrow_mut().insert(address, object);
        address
    };
    let leaf = make(Kind::Page, 0, &[]);
    let list = make(Kind::List, 0, &[leaf]);
    for misplaced in [make(Kind::Page, 3, &[leaf]), list] {
        let root = make(Kind::Page, 1, &[misplaced]);
        let belongs = difference(&memory, &[], &root).unwrap();
        assert_eq!(belongs, [root, misplaced]);
        assert!(missing(&memory, &[], &root).unwrap().is_empty());
    }
    let fits = make(Kind::Page, 1, &[leaf]);
    assert_eq!(difference(&memory, &[], &fits).unwrap(), [fits, leaf]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(64), ..ProptestConfig::default() })]

    #[test]
    fn tree_is_function_of_map(list in any_edits(), cuts in proptest::collection::vec(1usize..20, 1..12), epochs in proptest::collection::vec(1u8..4, 12)) {
        let mut expected = BTreeMap::new();
        for (k, v) in &list {
            match v { Some(v) => drop(expected.insert(number(usize::from(*k)), value(*v))), None => drop(expected.remove(&number(usize::from(*k)))) }
        }
        let mut batched = Vault::new();
        let (mut rest, mut n) = (&list[..], 0);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
            batched.edit(edits(now), epochs[n % 12]);
            (rest, n) = (later, n + 1);
        }
        let mut at_once = Vault::new();
        at_once.edit(expected.iter().rev().map(|(k, v)| put(k, v)).collect(), 1);
        prop_assert_eq!(&batched.map(), &expected);
        prop_assert_eq!(batched.shape_of(), at_once.shape_of());
    }

    #[test]
    fn tree_range_equals_btreemap(list in any_edits(), prefix in "(service-0[0-9]{0,2}(/secret-0{0,4})?)?") {
        let mut v = Vault::new();
        v.edit(edits(&list), 1);
        let all = v.map();
        let found: Vec<String> = v.tree().range(&prefix).unwrap().into_iter().map(|(p, _)| p).collect();
        let expected: Vec<String> = all.keys().filter(|p| p.starts_with(&prefix)).cloned().collect();
        prop_assert_eq!(found, expected);
        for (path, bytes) in &all {
            let tree = v.tree();
            let got = tree.get(path).unwrap();
            prop_assert_eq!(&tree.read(&got[0]).unwrap()[..], &bytes[..]);
        }
        prop_assert!(v.tree().get("service-0").unwrap().is_empty() && v.tree().get("zzz").unwrap().is_empty());
    }

    #[test]
    fn tree_diff_equals_map_diff(first in any_edits(), second in any_edits(), epoch in 1u8..3) {
        let mut v = Vault::new();
        v.edit(edits(&first), 1);
        let (before, old) = (v.root, v.map());
        v.edit(edits(&second), epoch);
        let new = v.map();
        let changes = v.tree().changes_since(&Tree::new(&v.memory, &v.ring, VAULT.into(), before)).unwrap();
        let found: BTreeSet<String> = changes.iter().map(|c| c.path.clone()).collect();
        let expected: BTreeSet<String> = old.keys().chain(new.keys()).filter(|k| old.get(*k) != new.get(*k)).cloned().collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn pull_diff_is_minimal(first in any_edits(), second in any_edits()) {
        let mut v = Vault::new();
        v.edit(edits(&first), 1);
        let (before, have) = (v.root, v.closure());
        v.edit(edits(&second), 2);
        let sent: BTreeSet<Address> = difference(&v.memory, &[before], &v.root).unwrap().into_iter().collect();
        let needed: BTreeSet<Address> = v.closure().difference(&have).copied().collect();
        prop_assert!(needed.is_subset(&sent), "what is needed is sent");
        // An object that both trees have at different heights is the only thing that may be sent twice.
        prop_assert!(sent.len() <= needed.len() + 1, "{} sent, {} needed", sent.len(), needed.len());
        prop_assert!(missing(&v.memory, &[before], &v.root).unwrap().is_empty());
    }

    #[test]
    fn tree_rejects_malformed(body in proptest::collection::vec(any::<u8>(), 0..300), level in 0u8..3, start in any::<bool>()) {
        let body = if start { [&[0x82, 0x01, 0x81][..], &body].concat() } else { body };
        let (root, object) = seal::seal(&keys(1), &VAULT.into(), Kind::Page, level, &[], &body).unwrap();
        let mut v = Vault::new();
        v.memory.objects.borrow_mut().insert(root, object);
        v.root = root;
        if let Ok(all) = v.tree().range("") { prop_assert!(all.len() <= MAX_ENTRIES); }
        let _ = v.tree().get("a");
    }
}
