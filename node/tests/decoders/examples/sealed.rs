//! Objects, trees, `identity.pk` and the audit.

use super::{Example, blob, id, key, person, pieces, vault};
use minicbor::Encoder;
use polykey_core::audit::{Chain, Kind as Happened, Outcome, SealedPath, Subject};
use polykey_core::enc;
use polykey_core::epoch::EpochSecret;
use polykey_core::ids::Address;
use polykey_core::row::RowKey;
use polykey_core::seal::{self, Kind};
use polykey_core::unlock::{self, Cost, Fresh, Unlocked};

pub fn sealed() -> Vec<Example> {
    let keys = EpochSecret::new(key(0x11)).object_keys();
    let (address, object) = blob(b"hello");
    let sealed = |kind, level, refs: &[Address]| {
        seal::seal(&keys, &vault(), kind, level, refs, b"hello")
            .expect("an object")
            .1
    };
    vec![
        ("object_header", "blob", object),
        ("object_header", "page", sealed(Kind::Page, 1, &[address])),
        (
            "object_header",
            "list",
            sealed(Kind::List, 0, &[id(1), id(2)]),
        ),
        ("object_header", "note", sealed(Kind::Note, 0, &[])),
    ]
}

/// What a value's entry says beside tag, kind and mode.
enum At<'a> {
    Inline(&'a [u8]),
    Ref(u16, u64),
    Directory,
}

fn leaf(entries: &[(&str, &[At<'_>])]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let all = e
        .array(2)
        .and_then(|e| e.u8(1))
        .and_then(|e| e.array(entries.len() as u64));
    all.expect("memory");
    for (path, variants) in entries {
        let entry = e
            .array(2)
            .and_then(|e| e.str(path))
            .and_then(|e| e.array(variants.len() as u64));
        entry.expect("memory");
        for (n, at) in (1u8..).zip(*variants) {
            let (kind, size) = match at {
                At::Inline(bytes) => (0, bytes.len() as u64),
                At::Ref(_, size) => (0, *size),
                At::Directory => (1, 0),
            };
            let value = e
                .array(5)
                .and_then(|e| e.bytes(&[n; 16]))
                .and_then(|e| e.u8(kind))
                .and_then(|e| e.u32(0o444))
                .and_then(|e| e.u64(size));
            value.expect("memory");
            match at {
                At::Inline(bytes) => e.bytes(bytes).map(drop),
                At::Ref(index, _) => e.u16(*index).map(drop),
                At::Directory => e.null().map(drop),
            }
            .expect("memory");
        }
    }
    e.into_writer()
}

fn inner(children: &[(&str, u16)]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let all = e
        .array(2)
        .and_then(|e| e.u8(1))
        .and_then(|e| e.array(children.len() as u64));
    all.expect("memory");
    for (last, index) in children {
        let child = e
            .array(2)
            .and_then(|e| e.str(last))
            .and_then(|e| e.u16(*index));
        child.expect("memory");
    }
    e.into_writer()
}

pub fn trees() -> Vec<Example> {
    let object = |level: u8, refs: &[u8], body: &[u8]| {
        [&[level, u8::try_from(refs.len()).expect("few")], refs, body].concat()
    };
    let small = leaf(&[
        ("a", &[At::Inline(b"one")]),
        ("a/b", &[At::Inline(b"two"), At::Inline(b"too")]),
        ("empty/", &[At::Directory]),
    ]);
    let large = leaf(&[("m/file", &[At::Ref(0, 200)])]);
    let chunked = leaf(&[("z", &[At::Ref(0, 65_540)])]);
    // Which of two refs comes first is a matter of their hashes, so one of the two roots is right.
    let forward = inner(&[("empty/", 0), ("m/file", 1)]);
    let backward = inner(&[("empty/", 1), ("m/file", 0)]);
    let two_levels = |root: &[u8]| {
        pieces(&[
            object(0, &[], &small),
            object(16, &[], &[7; 200]),
            object(0, &[1], &large),
            object(1, &[0, 2], root),
        ])
    };
    // A full chunk and one of five bytes.
    let list = |order: &[u8; 2]| {
        let body = [&[0x83, 0x01, 0x1a, 0x00, 0x01, 0x00, 0x04, 0x82][..], order].concat();
        pieces(&[
            object(19, &[], &[7]),
            object(16, &[], b"chunk"),
            object(17, &[0, 1], &body),
            object(0, &[2], &chunked),
        ])
    };
    vec![
        ("tree", "empty", pieces(&[object(0, &[], &leaf(&[]))])),
        ("tree", "leaf", pieces(&[object(0, &[], &small)])),
        ("tree", "forward", two_levels(&forward)),
        ("tree", "backward", two_levels(&backward)),
        ("tree", "list-forward", list(&[0, 1])),
        ("tree", "list-backward", list(&[1, 0])),
    ]
}

pub fn identities() -> Vec<Example> {
    let fresh = || Fresh {
        salt: [1; 16],
        nonce: [2; 24],
        inner: [3; 24],
    };
    let identity = || Unlocked::new(person(1), Some([4; 32]), key(5));
    let cost = Cost {
        memory_kib: 19 << 10,
        passes: 2,
        lanes: 1,
    };
    let sealed = |secret: &unlock::Secret<'_>| {
        unlock::seal(&identity(), secret, cost, &fresh()).expect("an identity")
    };
    vec![
        (
            "identity",
            "key_file",
            sealed(&unlock::Secret::KeyFile(&[5; 32])),
        ),
        (
            "identity",
            "passphrase",
            sealed(&unlock::Secret::Passphrase("correct horse battery staple")),
        ),
    ]
}

pub fn audits() -> Vec<Example> {
    let rows = RowKey::new(key(1));
    let subject = |path: Option<&str>| Subject {
        vault: path.map(|_| vault()),
        path: path.map(|p| SealedPath::new(&rows, &vault(), p, [3; 24])),
        detail: "web".to_owned(),
    };
    let mut chain = Chain::default();
    let refused = Outcome::Refused {
        reason: "NoRule".to_owned(),
        count: 3,
    };
    let happened = [
        (Happened::Unlock, None, Outcome::Done),
        (Happened::Read, Some("db/password"), refused),
        (Happened::Edit, Some("tls"), Outcome::Done),
    ];
    let entries: Vec<_> = happened
        .into_iter()
        .map(|(kind, path, outcome)| {
            let entry = chain.entry(1_000, kind, "local", subject(path), outcome);
            chain.take(&entry).expect("the next");
            entry
        })
        .collect();
    vec![
        (
            "audit",
            "entries",
            pieces(&entries.iter().map(enc::encode).collect::<Vec<_>>()),
        ),
        (
            "audit",
            "frames",
            entries
                .iter()
                .flat_map(|e| e.seal(&rows, 0, [4; 24]))
                .collect(),
        ),
    ]
}
