use super::*;
use crate::epoch::ShapeKey;
use crate::ids::{EpochId, Tag};
use crate::tree::{Edit, empty};
use proptest::prelude::*;
use std::collections::HashMap;

const VAULT: [u8; 32] = [0x22; 32];
const CHUNK: usize = MAX_BLOB;

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

struct One(ObjectKeys);

impl Keyring for One {
    fn keys(&self, epoch: &EpochId) -> Option<&ObjectKeys> {
        (*epoch == self.0.epoch()).then_some(&self.0)
    }
}

fn keys() -> ObjectKeys {
    ObjectKeys::new(
        EpochId::from([1; 16]),
        Zeroizing::new([1; 32]),
        Zeroizing::new([2; 32]),
    )
}

/// Bytes whose chunks all differ.
fn bytes(size: usize) -> Vec<u8> {
    (0u64..)
        .flat_map(u64::to_le_bytes)
        .take(size)
        .collect::<Vec<u8>>()
}

fn edit(memory: &mut Memory, root: Address, edit: Edit) -> Result<Address, TreeError> {
    let ring = One(keys());
    let shape = ShapeKey::new(Zeroizing::new([3; 32]));
    let tree = Tree::new(&*memory, &ring, VAULT.into(), root);
    let edited = tree.edit(vec![edit], Tag::from([7; 16]), &shape, &keys())?;
    memory.0.extend(edited.objects);
    Ok(edited.root)
}

fn new_vault() -> (Memory, Address) {
    let (root, object) = empty(&keys(), &VAULT.into()).unwrap();
    (Memory([(root, object)].into()), root)
}

fn put(value: Vec<u8>) -> Edit {
    Edit::Put {
        path: "file".into(),
        mode: 0o444,
        value: Zeroizing::new(value),
    }
}

/// The one value of the vault.
fn value(memory: &Memory, root: Address) -> Result<Zeroizing<Vec<u8>>, TreeError> {
    let ring = One(keys());
    let tree = Tree::new(memory, &ring, VAULT.into(), root);
    let variants = tree.get("file")?;
    assert_eq!(
        matches!(variants[0].content, Content::List(_)),
        variants[0].size > CHUNK as u64
    );
    tree.check(&variants[0])?;
    tree.read(&variants[0])
}

#[test]
fn files_of_every_size_to_64_mib_come_back_and_one_byte_more_is_refused() {
    let most = usize::try_from(MAX_FILE).unwrap();
    let all = bytes(most + 1);
    for size in [CHUNK, CHUNK + 1, 1 << 20, most - 1, most] {
        let (mut memory, root) = new_vault();
        let root = edit(&mut memory, root, put(all[..size].to_vec())).unwrap();
        assert!(
            *value(&memory, root).unwrap() == all[..size],
            "{size} bytes"
        );
        let again = edit(&mut memory, root, put(all[..size].to_vec())).unwrap();
        assert_eq!(again, root, "the same {size} bytes again change nothing");
    }
    let (mut memory, root) = new_vault();
    assert!(
        matches!(edit(&mut memory, root, put(all)), Err(TreeError::TooLarge(n)) if n == MAX_FILE + 1)
    );
}

#[test]
fn equal_chunks_are_one_object_and_one_changed_chunk_is_one_new_one() {
    let (mut memory, root) = new_vault();
    let root = edit(&mut memory, root, put(vec![0; 100 * CHUNK])).unwrap();
    let before = memory.0.len();
    assert!(
        before <= 4,
        "two pages, a list and one chunk are {before} objects"
    );
    let mut changed = vec![0; 100 * CHUNK];
    changed[50 * CHUNK] = 1;
    let root = edit(&mut memory, root, put(changed.clone())).unwrap();
    assert_eq!(
        memory.0.len(),
        before + 3,
        "a page, a list and a chunk are new"
    );
    assert!(*value(&memory, root).unwrap() == changed);
}

#[test]
fn a_file_that_was_sealed_chunk_by_chunk_is_the_same_as_one_that_was_written_at_once() {
    let all = bytes(3 * CHUNK + 17);
    let (mut memory, root) = new_vault();
    let mut chunks = Chunks::default();
    for chunk in all.chunks(CHUNK) {
        let (address, object) = chunks.seal_next(&keys(), &VAULT.into(), chunk).unwrap();
        memory.0.insert(address, object);
    }
    let (list, object) = chunks.seal_list(&keys(), &VAULT.into()).unwrap();
    memory.0.insert(list, object);
    let file = |size| Edit::File {
        path: "file".into(),
        mode: 0o444,
        size,
        list,
    };
    let stored = edit(&mut memory, root, file(chunks.size())).unwrap();
    assert!(*value(&memory, stored).unwrap() == all);
    assert_eq!(edit(&mut memory, root, put(all)).unwrap(), stored);
    let lie = edit(&mut memory, root, file(chunks.size() + 1));
    assert!(matches!(lie, Err(TreeError::Malformed(_))));
    assert!(
        matches!(
            chunks.seal_next(&keys(), &VAULT.into(), b"more"),
            Err(TreeError::Malformed(_))
        ),
        "nothing follows a short chunk"
    );
}

/// Reads a file whose list somebody else made of two chunks: refs, size, order, and the size in the entry.
fn read_made(chunks: [&[u8]; 2], size: u64, order: Vec<u16>, entry: u64) -> Result<u64, TreeError> {
    let mut memory = Memory::default();
    let mut refs: Vec<Address> = Vec::new();
    for chunk in chunks {
        let (address, object) =
            seal::seal(&keys(), &VAULT.into(), Kind::Blob, 0, &[], chunk).unwrap();
        memory.0.insert(address, object);
        refs.push(address);
    }
    // The order is in terms of the chunks as they were given.
    let given = refs.clone();
    refs.sort_unstable();
    let order = order.into_iter().map(|at| {
        given
            .get(usize::from(at))
            .and_then(|a| refs.binary_search(a).ok())
            .map_or(at, |i| u16::try_from(i).unwrap())
    });
    let body = enc::encode(&Body {
        version: 1,
        size,
        order: order.collect(),
    });
    let (list, object) = seal::seal(&keys(), &VAULT.into(), Kind::List, 0, &refs, &body).unwrap();
    memory.0.insert(list, object);
    let ring = One(keys());
    let tree = Tree::new(&memory, &ring, VAULT.into(), list);
    let variant = Variant {
        tag: Tag::from([7; 16]),
        mode: 0o444,
        size: entry,
        content: Content::List(list),
    };
    let read = tree.read(&variant).map(|all| all.len() as u64);
    // Padding hides a few bytes of the last chunk from who only looks.
    let hidden = size == CHUNK as u64 + 8;
    assert!(
        hidden || read.is_ok() == tree.check(&variant).is_ok(),
        "who looks and who reads agree"
    );
    read
}

#[test]
fn a_list_that_lies_is_refused() {
    let (full, short) = (bytes(CHUNK), b"the end".to_vec());
    let made = |size, order: &[u16], entry| {
        read_made([&full, &short], size, order.to_vec(), entry).map_err(|e| match e {
            TreeError::Malformed(what) => what,
            other => panic!("{other}"),
        })
    };
    let (one, two) = (CHUNK as u64 + 7, 2 * CHUNK as u64 + 7);
    assert_eq!(made(one, &[0, 1], one), Ok(one));
    assert_eq!(
        made(two, &[0, 0, 1], two),
        Ok(two),
        "a chunk that stands twice in a file"
    );
    for (what, size, order, entry) in [
        ("an index out of range", one, &[0u16, 2][..], one),
        ("an index far out of range", one, &[0, u16::MAX], one),
        ("a ref that is not used", two, &[0, 0, 0], two),
        (
            "a duplicate in the place of another chunk",
            one,
            &[0, 0],
            one,
        ),
        ("the short chunk first", one, &[1, 0], one),
        ("too few chunks", two, &[0, 1], two),
        ("too many chunks", one, &[0, 0, 1], one),
        ("a size that the entry does not say", one, &[0, 1], one + 1),
        ("a size that the chunks have not", one + 1, &[0, 1], one + 1),
        ("no chunks", 0, &[], 0),
        ("a list of what fits into a blob", 7, &[1], 7),
        (
            "a file over the largest",
            MAX_FILE + 1,
            &[0, 1],
            MAX_FILE + 1,
        ),
        ("a file of all bytes there are", u64::MAX, &[0, 1], u64::MAX),
    ] {
        assert!(made(size, order, entry).is_err(), "{what}");
    }
}

#[test]
fn a_list_of_lists_and_a_list_of_pages_are_refused() {
    let mut memory = Memory::default();
    let size = CHUNK as u64 + 1;
    let body = enc::encode(&Body {
        version: 1,
        size,
        order: vec![0, 0],
    });
    for kind in [Kind::List, Kind::Page] {
        let (inner, object) =
            seal::seal(&keys(), &VAULT.into(), kind, 0, &[], &bytes(CHUNK)).unwrap();
        memory.0.insert(inner, object);
        let (list, object) =
            seal::seal(&keys(), &VAULT.into(), Kind::List, 0, &[inner], &body).unwrap();
        memory.0.insert(list, object);
        let ring = One(keys());
        let tree = Tree::new(&memory, &ring, VAULT.into(), list);
        let variant = Variant {
            tag: Tag::from([7; 16]),
            mode: 0o444,
            size,
            content: Content::List(list),
        };
        assert!(matches!(tree.read(&variant), Err(TreeError::Malformed(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(128), ..ProptestConfig::default() })]

    #[test]
    fn list_roundtrip(size in CHUNK + 1..6 * CHUNK, period in 1usize..3 * CHUNK) {
        let all: Vec<u8> = bytes(period).into_iter().cycle().take(size).collect();
        let mut objects = HashMap::new();
        let list = seal_whole(&keys(), &VAULT.into(), &all, |a, o| drop(objects.insert(a, o))).unwrap();
        let header = seal::header(&objects[&list]).unwrap();
        let (_, body) = seal::open(&keys(), &VAULT.into(), &objects[&list]).unwrap();
        let order = read_list(&header, &body, size as u64).unwrap();
        let opened = order.iter().flat_map(|a| open_chunk(&keys(), &VAULT.into(), &objects[a]).unwrap().to_vec());
        prop_assert!(opened.eq(all));
    }

    #[test]
    fn no_bytes_make_a_list_panic_or_claim_what_it_is_not(body in proptest::collection::vec(any::<u8>(), 0..300), start in any::<bool>(), n in 0u8..4, size: u64) {
        let body = if start { [&[0x83, 0x01][..], &body].concat() } else { body };
        let header = Header { kind: Kind::List, level: 0, epoch: EpochId::from([1; 16]), refs: (0..n).map(|i| Address::from([i; 32])).collect() };
        if let Ok(order) = read_list(&header, &body, size) {
            prop_assert!(order.len() as u64 == chunks_of(size) && size <= MAX_FILE);
        }
    }
}
