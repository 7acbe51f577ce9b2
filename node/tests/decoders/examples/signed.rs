//! Operations, commits, wraps, and the messages that carry them.

use super::{Example, blob, id, key, node, person, pieces, vault};
use minicbor::bytes::ByteArray;
use polykey_core::beat::{Beat, SignedBeat, hash_of_commits, hash_of_ops};
use polykey_core::commit::{Commit, SignedCommit};
use polykey_core::control::{self, Act, Body, By, Caveat, Op, Role, SignedOp, Target};
use polykey_core::enc;
use polykey_core::epoch::{self, EpochRecord, EpochSecret, Place, ShapeKey, WrapRecord};
use polykey_core::ids::{CommitId, OpId};
use polykey_core::seal::{self, Kind};
use polykey_core::sign::Signed;
use polykey_core::wire::{
    self, Announce, Cloned, Get, Hello, Message, Need, ObjectsFrame, Pull, RecordsFrame, Refused,
    Seen, SignedStart, Sync, SyncFrame,
};

fn record(n: u8, before: &[u8]) -> EpochRecord {
    let secret = |n| EpochSecret::new(key(n));
    let (new, shape) = (secret(n), ShapeKey::new(key(0x44)));
    let (epoch, to, from) = (new.id(), node(2), node(1));
    let place = Place {
        vault: &vault(),
        epoch: &epoch,
        to: &to,
        from: &from,
    };
    let boxed = |(at, n): (usize, &u8)| epoch::Boxed {
        epoch: secret(*n).id(),
        sealed: new
            .box_before(u8::try_from(at).expect("few"), &secret(*n))
            .into(),
    };
    let mut before: Vec<_> = before.iter().enumerate().map(boxed).collect();
    before.sort_by_key(|b| b.epoch);
    let wraps = vec![epoch::wrap(place, &shape, &[&new], &key(9)).expect("a wrap")];
    EpochRecord {
        commitment: new.commitment().into(),
        before,
        wraps,
    }
}

fn op(by: By, author: u8, parents: &[u8], body: Body) -> Op {
    let genesis = matches!(body, Body::Genesis { .. });
    Op {
        version: 1,
        vault: (!genesis).then(vault),
        author: id(author),
        by,
        parents: parents.iter().map(|n| id(*n)).collect(),
        act: Act::Known(Box::new(body)),
    }
}

/// Bodies of operations, which stand both signed and in logs.
struct Bodies {
    limited: Body,
    join: Body,
    replace: Body,
    reset: Body,
}

fn bodies() -> Bodies {
    let caveat = Caveat {
        cluster: "0a1b".to_owned(),
        namespaces: vec!["shop".to_owned()],
        service_accounts: vec!["web".to_owned()],
        paths: vec!["db/".to_owned(), "tls".to_owned()],
    };
    Bodies {
        limited: Body::Grant {
            node: id(2),
            role: Role::Reader,
            siblings: 3,
            expires: Some(1_800_000_000),
            caveat: Some(caveat),
        },
        join: Body::Join {
            grant: id(1),
            node: id(3),
            link: vec![7; 20].into(),
        },
        replace: Body::Replace {
            new: id(3),
            proof: [8; 64].into(),
            upto: vec![id(0)],
            cut: Vec::new(),
            epoch: Some(record(4, &[1])),
        },
        reset: Body::Reset {
            upto: vec![id(0)],
            cut: Vec::new(),
            new: id(2),
            proof: [8; 64].into(),
            epoch: record(5, &[1, 2]),
        },
    }
}

fn remove(target: Target, epoch: Option<EpochRecord>) -> Body {
    Body::Revoke {
        target,
        upto: vec![id(0)],
        cut: vec![id(5)],
        epoch,
    }
}

pub fn operations() -> Vec<Example> {
    let genesis = control::genesis(node(1), [6; 32], [7; 32], Some(node(4)), record(1, &[]));
    let (by_node, by_words) = (By::Node, By::Recovery);
    let signed = |op: Op| SignedOp::sign(op, &person(1)).bytes().to_vec();
    let named = |name, body, by| ("signed_op", name, signed(op(by, 0, &[3], body)));
    let (a_node, a_grant) = (Target::Node(id(1)), Target::Grant(id(1)));
    let Bodies {
        limited,
        join,
        replace,
        reset,
    } = bodies();
    let newer = {
        let mut bytes = enc::encode(&op(by_node, 0, &[1], Body::Resign {}));
        // `[9]`, the body of Resign, becomes `[10, 0]`.
        bytes.truncate(bytes.len() - 2);
        [bytes, vec![0x82, 0x0a, 0x00], vec![0; 64]].concat()
    };
    vec![
        ("signed_op", "genesis", signed(genesis)),
        ("signed_op", "newer", newer),
        named("grant", limited, by_node),
        named("join", join, by_node),
        named("revoke", remove(a_node, Some(record(2, &[1]))), by_node),
        named("revoke-grant", remove(a_grant, None), by_node),
        named("replace", replace, by_node),
        named(
            "rotate",
            Body::Rotate {
                epoch: record(3, &[1, 2]),
            },
            by_node,
        ),
        named("prune", Body::Prune { keep: id(5) }, by_node),
        named("format", Body::Format { min: 2 }, by_node),
        named("reset", reset, by_words),
        named("resign", Body::Resign {}, by_words),
    ]
}

pub fn logs() -> Vec<Example> {
    let grant = |to: u8, role, siblings| Body::Grant {
        node: id(to),
        role,
        siblings,
        expires: None,
        caveat: None,
    };
    let log = |ops: &[Op]| pieces(&ops.iter().map(enc::encode).collect::<Vec<_>>());
    let by_node = |author, parents: &[u8], body| op(By::Node, author, parents, body);
    let rotated = |n| Some(record(n, &[1]));
    let Bodies {
        limited,
        join,
        replace,
        reset,
    } = bodies();
    let line = [
        by_node(0, &[0], grant(1, Role::Owner, 0)),
        by_node(1, &[1], grant(2, Role::Writer, 2)),
        by_node(0, &[2], remove(Target::Node(id(2)), rotated(2))),
    ];
    let two_owners = [
        by_node(0, &[0], grant(1, Role::Owner, 0)),
        by_node(0, &[1], remove(Target::Node(id(1)), rotated(2))),
        by_node(1, &[1], remove(Target::Node(id(0)), rotated(3))),
    ];
    let all_kinds = [
        by_node(0, &[0], limited),
        by_node(2, &[1], join),
        by_node(
            0,
            &[2],
            Body::Rotate {
                epoch: record(3, &[1]),
            },
        ),
        by_node(0, &[3], replace),
        op(By::Recovery, 0, &[1], reset),
        op(By::Recovery, 0, &[0], Body::Resign {}),
    ];
    vec![
        ("control_log", "line", log(&line)),
        ("control_log", "two-owners", log(&two_owners)),
        ("control_log", "all-kinds", log(&all_kinds)),
    ]
}

pub fn a_commit(author: u8, seq: u64, parents: &[u8], note: Vec<u8>) -> Commit {
    Commit {
        version: 1,
        vault: vault(),
        author: id(author),
        seq,
        nonce: [0x55; 16].into(),
        parents: parents.iter().map(|n| id(*n)).collect(),
        control: vec![id(1)],
        root: id(3),
        time_ms: 500_000,
        note: note.into(),
    }
}

pub fn commits_and_wraps() -> Vec<Example> {
    let signed = |commit| SignedCommit::sign(commit, &person(1)).bytes().to_vec();
    let note = seal::seal(
        &EpochSecret::new(key(1)).object_keys(),
        &vault(),
        Kind::Note,
        0,
        &[],
        b"rotated",
    )
    .expect("a note")
    .1;
    let graph = |all: &[Commit]| pieces(&all.iter().map(enc::encode).collect::<Vec<_>>());
    let epoch = EpochSecret::new(key(1)).id();
    let wrapped = record(1, &[]).wraps.remove(0);
    let wrap = WrapRecord {
        version: 1,
        vault: vault(),
        epoch,
        to: node(2),
        from: node(1),
        enc: wrapped.enc,
        sealed: wrapped.sealed,
    };
    vec![
        ("commit", "first", signed(a_commit(1, 1, &[], Vec::new()))),
        (
            "commit",
            "merge-with-note",
            signed(a_commit(1, 7, &[4, 5], note)),
        ),
        (
            "commit_graph",
            "line",
            graph(&[
                a_commit(0, 1, &[], Vec::new()),
                a_commit(0, 2, &[0], Vec::new()),
                a_commit(1, 1, &[1], Vec::new()),
            ]),
        ),
        (
            "commit_graph",
            "heads",
            graph(&[
                a_commit(0, 1, &[], Vec::new()),
                a_commit(0, 2, &[0], Vec::new()),
                a_commit(1, 1, &[0], Vec::new()),
                a_commit(1, 2, &[1, 2], Vec::new()),
            ]),
        ),
        (
            "wrap",
            "record",
            Signed::sign(wrap, &person(1)).bytes().to_vec(),
        ),
        ("wrap_plain", "one", opened(&[1])),
        ("wrap_plain", "with-history", opened(&[1, 3, 4])),
    ]
}

/// What stands in a wrap with these secrets.
fn opened(secrets: &[u8]) -> Vec<u8> {
    let segment = |n: &u8| {
        let secret = EpochSecret::new(key(*n));
        (secret.id(), ByteArray::from([*n; 32]))
    };
    let segments: Vec<_> = secrets.iter().map(segment).collect();
    enc::encode(&(ByteArray::from([2; 32]), segments))
}

fn message<M: Message>(first: u8, message: &M) -> Vec<u8> {
    [
        &[first][..],
        &wire::frame(message).expect("a small message")[4..],
    ]
    .concat()
}

pub fn beats() -> Vec<Example> {
    let beat = Beat {
        version: 1,
        vault: vault(),
        author: node(1),
        time_ms: 1_800_000_000_000,
        control: hash_of_ops(&[id(1)]).into(),
        heads: hash_of_commits(&[id(3)]).into(),
    };
    let beat = SignedBeat::sign(beat, &person(1)).bytes().to_vec();
    let beats = SyncFrame::Beats(vec![beat.clone().into()]);
    vec![
        ("beat", "of-an-owner", beat),
        ("wire", "beats", message(1, &beats)),
    ]
}

pub fn messages() -> Vec<Example> {
    let sync = Sync {
        vault: vault(),
        control_heads: vec![id(1), id(2)],
        heads: vec![id(3)],
    };
    let signed = SignedCommit::sign(a_commit(1, 1, &[], Vec::new()), &person(1))
        .bytes()
        .to_vec();
    let object = blob(b"hello").1;
    let announce = Announce {
        ops: vec![vec![1; 70].into()],
        wraps: Vec::new(),
        commits: vec![signed.clone().into()],
        objects: vec![object.clone().into()],
    };
    let start = SignedStart::of(&person(1), [4; 16], 7);
    let seen = Seen {
        instance: [5; 16].into(),
        boot: 6,
    };
    let cloned = Cloned {
        start: start.bytes().to_vec().into(),
        older: true,
    };
    let records = RecordsFrame::Records {
        ops: vec![vec![1; 70].into()],
        commits: vec![signed.into()],
    };
    vec![
        ("start", "of-a-node", start.bytes().to_vec()),
        ("wire", "hello", message(0, &Hello::new(&start, Some(seen)))),
        ("wire", "cloned", message(5, &cloned)),
        ("wire", "sync", message(1, &SyncFrame::Sync(sync))),
        (
            "wire",
            "announce",
            message(1, &SyncFrame::Announce(announce)),
        ),
        (
            "wire",
            "refused",
            message(1, &SyncFrame::Refused(Refused::NotFound)),
        ),
        (
            "wire",
            "pull",
            message(
                2,
                &Pull {
                    vault: vault(),
                    have: vec![id(1)],
                    want: id(2),
                    budget: 1 << 20,
                },
            ),
        ),
        (
            "wire",
            "get",
            message(
                3,
                &Get {
                    vault: vault(),
                    addresses: vec![id(2), id(1)],
                },
            ),
        ),
        (
            "wire",
            "need",
            message(
                4,
                &Need {
                    vault: vault(),
                    ops: vec![id::<OpId>(1)],
                    commits: vec![id::<CommitId>(2)],
                },
            ),
        ),
        (
            "wire",
            "objects",
            message(6, &ObjectsFrame::Objects(vec![object.into()])),
        ),
        ("wire", "objects-end", message(6, &ObjectsFrame::End)),
        ("wire", "records", message(7, &records)),
        (
            "wire",
            "records-refused",
            message(7, &RecordsFrame::Refused(Refused::Busy)),
        ),
    ]
}
