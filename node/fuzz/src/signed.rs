//! Signed things and the messages that carry them: operations, commits, wraps, frames between nodes.

use polykey_core::beat::{Beat, Beats, SignedBeat};
use polykey_core::commit::{Commit, Commits, SignedCommit};
use polykey_core::control::{self, Act, Body, By, Control, Op, Role, SignedOp, Target};
use polykey_core::enc;
use polykey_core::epoch::{self, EpochRecord, EpochSecret, Place, ShapeKey, WrapRecord};
use polykey_core::ids::{NodeId, OpId};
use polykey_core::keys::RootKey;
use polykey_core::sign::Signed;
use polykey_core::wire::{
    self, Call, Cloned, Get, Hello, Message, Need, ObjectsFrame, Pull, RecordsFrame, SignedStart,
    SyncFrame,
};
use zeroize::Zeroizing;

/// A control operation from a peer: what parses is canonical, survives its own checks, and only its author's signature counts.
pub fn signed_op(bytes: &[u8]) {
    if let Ok(op) = SignedOp::parse(bytes) {
        assert_eq!(op.bytes(), bytes);
        let _ = op.verify(&op.payload().author);
        let _ = op.payload().epoch().map(EpochRecord::id);
        let _ = Control::new(&op);
    }
}

/// A commit header from a peer.
pub fn commit(bytes: &[u8]) {
    if let Ok(commit) = SignedCommit::parse(bytes) {
        assert_eq!(commit.bytes(), bytes);
        let _ = commit.payload().tag();
        let _ = commit.verify(&commit.payload().author);
    }
}

/// A beat from a peer, and the same by an owner of the vault.
pub fn beat(bytes: &[u8]) {
    const NOW: u64 = 1_800_000_000_000;
    let Ok(beat) = SignedBeat::parse(bytes) else {
        return;
    };
    assert_eq!(beat.bytes(), bytes);
    let people = people();
    let control = begun(&people);
    let (vault, author) = (control.vault(), people[0].node_id());
    let mut beats = Beats::default();
    assert!(
        beats
            .take(beat.clone(), &vault, control.state(), NOW)
            .is_err()
    );
    let own = Beat {
        vault,
        author,
        ..*beat.payload()
    };
    let signed = SignedBeat::sign(own, &people[0]);
    if beats
        .take(signed, &vault, control.state(), NOW)
        .is_ok_and(|new| new)
    {
        assert_eq!(beats.of(&author), Some(own.time_ms));
    }
}

/// A wrap record from a peer, opened by a receiver for whom it may or may not be.
pub fn wrap(bytes: &[u8]) {
    if let Ok(record) = Signed::<WrapRecord>::parse(bytes) {
        assert_eq!(record.bytes(), bytes);
        let WrapRecord {
            vault,
            epoch,
            to,
            from,
            ..
        } = record.payload();
        let place = Place {
            vault,
            epoch,
            to,
            from,
        };
        let wrapped = record.payload().wrapped();
        assert!(epoch::unwrap(place, &wrapped, &RootKey::from_seed(&[1; 32]), &[0; 32]).is_err());
        let _ = record.verify(from);
    }
}

/// What a member sealed for another, opened: the commitments are those of the secrets that the bytes claim first, so that nothing but the form keeps them out.
pub fn wrap_plain(bytes: &[u8]) {
    let (shape, secret) = ([2; 32], [1; 32]);
    let commitment = |key: [u8; 32]| ShapeKey::new(Zeroizing::new(key)).commitment();
    let id = |secret: [u8; 32]| EpochSecret::new(Zeroizing::new(secret)).id();
    if let Ok((found, secrets)) = epoch::read_wrap(bytes, &id(secret), &commitment(shape)) {
        assert_eq!(found.expose(), &shape);
        assert_eq!(secrets[0].expose(), &secret);
        assert!(secrets.len() <= epoch::MAX_SEGMENTS);
    }
}

/// Four people; the first makes the vault.
fn people() -> [RootKey; 4] {
    [1, 2, 3, 4].map(|n| RootKey::from_seed(&[n; 32]))
}

/// A log with its Genesis alone, in which the first of four people owns the vault.
fn begun(people: &[RootKey; 4]) -> Control {
    let epoch = EpochRecord {
        commitment: [5; 32].into(),
        before: Vec::new(),
        wraps: Vec::new(),
    };
    let genesis = control::genesis(
        people[0].node_id(),
        [6; 32],
        [7; 32],
        Some(people[3].node_id()),
        epoch,
    );
    Control::new(&SignedOp::sign(genesis, &people[0])).expect("a Genesis")
}

/// A log of operations (the pieces of the input) that four people sign, in any order of rights: whatever stands in an id is read as one of the four, or as an operation
/// that is there.
pub fn control_log(bytes: &[u8]) {
    let people = people();
    let mut control = begun(&people);
    let mut known: Vec<OpId> = control.heads();
    for piece in super::pieces(bytes).take(48) {
        let Ok(op) = enc::decode::<Op>(piece) else {
            continue;
        };
        let signed = signed_by_one(op, &people, &control, &known);
        let Ok(again) = SignedOp::parse(signed.bytes()) else {
            continue;
        };
        if control.apply(&again).is_ok() {
            known.push(OpId::from(again.id()));
            assert!(control.contains(&again.id().into()));
        }
        assert!(!control.state().owners().is_empty(), "a vault has an owner");
        assert!(control.covers(&control.heads()));
    }
    let mut replayed = begun(&people);
    for op in control.ops().skip(1) {
        assert!(
            replayed.apply(op).is_ok(),
            "what was taken in is taken in again"
        );
    }
    assert_eq!(replayed.heads(), control.heads());
    assert_eq!(replayed.state().owners(), control.state().owners());
}

fn signed_by_one(mut op: Op, people: &[RootKey; 4], control: &Control, known: &[OpId]) -> SignedOp {
    let one = |id: &NodeId| &people[usize::from(id.as_bytes()[0] % 4)];
    let there = |id: &OpId| known[usize::from(id.as_bytes()[0]) % known.len()];
    let sorted = |ids: &mut Vec<OpId>| {
        *ids = ids.iter().map(there).collect();
        ids.sort_unstable();
        ids.dedup();
    };
    let author = match op.by {
        By::Node => one(&op.author),
        By::Recovery => &people[3],
    };
    op.author = match op.by {
        By::Node => author.node_id(),
        By::Recovery => people[0].node_id(),
    };
    op.vault = op.vault.map(|_| control.vault());
    sorted(&mut op.parents);
    if let Act::Known(body) = &mut op.act {
        match &mut **body {
            Body::Grant { node, .. } => *node = one(node).node_id(),
            Body::Join { grant, node, .. } => (*grant, *node) = (there(grant), one(node).node_id()),
            Body::Revoke { target, upto, .. } => {
                *target = match target {
                    Target::Node(node) => Target::Node(one(node).node_id()),
                    Target::Grant(grant) => Target::Grant(there(grant)),
                };
                sorted(upto);
            }
            Body::Replace { new, upto, .. } | Body::Reset { new, upto, .. } => {
                *new = one(new).node_id();
                sorted(upto);
            }
            _ => {}
        }
    }
    SignedOp::sign(op, author)
}

/// Commits (the pieces of the input) of four people of whom two may write: ids are read as those of commits that are there.
pub fn commit_graph(bytes: &[u8]) {
    let people = people();
    let mut control = begun(&people);
    let grant = Op {
        version: 1,
        vault: Some(control.vault()),
        author: people[0].node_id(),
        by: By::Node,
        parents: control.heads(),
        act: Act::Known(Box::new(Body::Grant {
            node: people[1].node_id(),
            role: Role::Writer,
            siblings: 0,
            expires: None,
            caveat: None,
        })),
    };
    control
        .apply(&SignedOp::sign(grant, &people[0]))
        .expect("an owner's grant");
    let ops: Vec<OpId> = control.ops().map(|op| op.id().into()).collect();
    let (mut commits, mut known) = (Commits::new(), Vec::new());
    for piece in super::pieces(bytes).take(64) {
        let Ok(mut commit) = enc::decode::<Commit>(piece) else {
            continue;
        };
        let author = &people[usize::from(commit.author.as_bytes()[0] % 4)];
        commit.vault = control.vault();
        commit.author = author.node_id();
        commit.parents = commit
            .parents
            .iter()
            .filter_map(|id| known.get(usize::from(id.as_bytes()[0])).copied())
            .collect();
        commit.parents.sort_unstable();
        commit.parents.dedup();
        commit.control = commit
            .control
            .iter()
            .map(|id| ops[usize::from(id.as_bytes()[0]) % ops.len()])
            .collect();
        commit.control.sort_unstable();
        commit.control.dedup();
        // The numbers that a fuzzer would have to guess.
        let newest = commit
            .parents
            .iter()
            .filter_map(|id| commits.get(id))
            .map(|h| h.time_ms)
            .max();
        commit.time_ms = (commit.time_ms % 1_000_000).max(newest.map_or(0, |t| t + 1));
        let seqs = commits
            .reachable(&commit.parents)
            .into_iter()
            .filter_map(|id| commits.get(&id).cloned());
        let own = seqs
            .filter(|h| h.author == commit.author)
            .map(|h| h.seq)
            .max();
        commit.seq = own.unwrap_or(0) + 1;
        let signed = SignedCommit::sign(commit, author);
        if commits.accept(&signed, &control, 2_000_000).is_ok()
            && !known.contains(&signed.id().into())
        {
            known.push(signed.id().into());
        }
    }
    assert_eq!(commits.len(), known.len());
    let heads = commits.heads();
    assert!(heads.iter().all(|id| commits.contains(id)));
    assert!(
        heads
            .iter()
            .all(|a| heads.iter().all(|b| a == b || !commits.descends(a, b))),
        "no head builds on another"
    );
    assert_eq!(heads.is_empty(), known.is_empty());
    for theirs in &known {
        let reached = commits.reachable(&[*theirs]);
        let others = commits.iter().map(|(id, _)| *id);
        let others: Vec<_> = others.filter(|id| !reached.contains(id)).collect();
        assert_eq!(commits.beyond(&[*theirs]), others, "what a peer lacks");
    }
    commits.judge(&control);
    assert_eq!(commits.heads(), heads, "judged anew, the same");
}

/// A start that a node shows of itself, or another of it.
pub fn start(bytes: &[u8]) {
    let node = RootKey::from_seed(&[1; 32]).node_id();
    if let Ok(start) = SignedStart::read(bytes, &node) {
        assert_eq!((start.bytes(), start.payload().node), (bytes, node));
    }
    if let Ok(start) = SignedStart::parse(bytes) {
        let again = SignedStart::sign(*start.payload(), &RootKey::from_seed(&[1; 32]));
        let said = start.payload();
        assert_eq!(
            SignedStart::read(again.bytes(), &node).is_ok(),
            said.version == 1 && said.node == node
        );
    }
}

/// A stream's first byte and frame from a peer: every message that may follow that byte. What is read is written the same.
pub fn wire(bytes: &[u8]) {
    let Some((&first, body)) = bytes.split_first() else {
        return;
    };
    match Call::from_byte(first) {
        Some(Call::Hello) => same::<Hello>(body),
        Some(Call::Sync) => same::<SyncFrame>(body),
        Some(Call::Pull) => same::<Pull>(body),
        Some(Call::Get) => same::<Get>(body),
        Some(Call::Need) => same::<Need>(body),
        Some(Call::Cloned) => same::<Cloned>(body),
        None if first & 1 == 0 => same::<ObjectsFrame>(body),
        None => same::<RecordsFrame>(body),
    }
}

fn same<M: Message>(body: &[u8]) {
    if let Ok(message) = wire::read::<M>(body) {
        assert_eq!(
            &wire::frame(&message).expect("it fitted a frame")[4..],
            body
        );
    }
}
