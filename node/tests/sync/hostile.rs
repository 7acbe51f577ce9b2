//! A known node that does not play by the rules.

use crate::node::{Node, eventually, seed};
use polykey::net::{Close, Connection, Net, NetError, Stream};
use polykey_core::commit::{Commit, SignedCommit};
use polykey_core::control::{Role, SignedOp};
use polykey_core::ids::{Address, CommitId, NodeId, OpId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::wire::{self, Call, Message, ObjectsFrame, RecordsFrame, Refused, SyncFrame};
use std::net::Ipv4Addr;
use std::panic::Location;
use std::time::Duration;

pub const STRANGER: u8 = 66;

/// A connection that said hello as it should, from a peer that `node` knows.
async fn connect(node: &Node) -> (Connection, Net) {
    let net = Net::bind(&seed(STRANGER), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let connection = net.dial(node.socket()).await.unwrap();
    let start = wire::SignedStart::of(&RootKey::from_seed(&seed(STRANGER)), [7; 16], 1);
    let hello = wire::Hello::new(&start, None);
    let mut stream = ask(&connection, Call::Hello, &hello).await;
    assert!(stream.rx.frame(1_000).await.unwrap().is_some());
    (connection, net)
}

pub async fn ask<M: Message>(connection: &Connection, call: Call, message: &M) -> Stream {
    let frame = wire::frame(message).unwrap();
    let mut stream = connection.call(call as u8, &frame).await.unwrap();
    if call != Call::Sync {
        stream.tx.finish();
    }
    stream
}

/// What comes, if it comes in time.
#[track_caller]
pub fn soon<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let (patience, from) = (Duration::from_secs(20), Location::caller());
    async move {
        let done = tokio::time::timeout(patience, what).await;
        done.unwrap_or_else(|_| panic!("not in time: {from}"))
    }
}

/// Everything that comes back, to the last byte.
async fn answer(mut stream: Stream) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(frame) = soon(stream.rx.frame(wire::MAX_FRAME)).await.unwrap() {
        frames.push(frame);
    }
    frames
}

pub async fn known_stranger(node: &Node) {
    node.peers.add(stranger_id(), None).await.unwrap();
}

pub fn stranger_id() -> NodeId {
    RootKey::from_seed(&seed(STRANGER)).node_id()
}

/// A node with a higher id than the stranger's: of two subscriptions to one vault that of the lower id stays.
pub async fn above_the_stranger() -> Node {
    let higher = |n: &u8| RootKey::from_seed(&seed(*n)).node_id() > stranger_id();
    Node::start((1..STRANGER).find(higher).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_end_the_connection_with_their_reason_and_nobody_else_s() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    known_stranger(&cluster).await;
    let vault = laptop.vaults.create("app").await.unwrap();
    laptop.share(&vault, &cluster, Role::Reader).await;
    eventually("shared", || cluster.vaults.summary(&vault).is_some()).await;

    let pull = wire::Pull {
        vault,
        have: Vec::new(),
        want: CommitId::from([1; 32]),
        budget: 1,
    };
    let whole = wire::frame(&pull).unwrap();
    let mut long_integer = whole.clone();
    // The budget as two bytes where one is the rule.
    long_integer.splice(whole.len() - 1.., [0x18, 1]);
    long_integer[3] += 1;
    let mut trailing = whole.clone();
    trailing.push(0);
    trailing[3] += 1;
    let cut = whole[..whole.len() - 5].to_vec();
    let cases: [(&str, u8, Vec<u8>, Close); 8] = [
        (
            "a call of another protocol",
            0x47,
            b"ET / HTTP/1.1\r\n".to_vec(),
            Close::Malformed,
        ),
        (
            "noise",
            Call::Get as u8,
            vec![0, 0, 0, 4, 1, 2, 3, 4],
            Close::Malformed,
        ),
        (
            "another call's message",
            Call::Get as u8,
            whole,
            Close::Malformed,
        ),
        (
            "a longer form of an integer",
            Call::Pull as u8,
            long_integer,
            Close::Malformed,
        ),
        (
            "a byte too many",
            Call::Pull as u8,
            trailing,
            Close::Malformed,
        ),
        ("a frame cut short", Call::Pull as u8, cut, Close::Malformed),
        (
            "a length of 4 GiB",
            Call::Sync as u8,
            vec![0xff; 4],
            Close::TooLarge,
        ),
        (
            "a length one over the limit",
            Call::Need as u8,
            vec![0, 0x10, 0, 1],
            Close::TooLarge,
        ),
    ];
    for (turn, (what, call, bytes, why)) in (1_u8..).zip(cases) {
        let (connection, _net) = connect(&cluster).await;
        let mut stream = connection.call(call, &bytes).await.unwrap();
        stream.tx.finish();
        let closed = soon(connection.closed()).await;
        assert!(
            matches!(closed, NetError::Closed(c) if c == why),
            "{what}: {closed}"
        );
        laptop.set(&vault, "a", &[turn]).await;
        cluster.has(&vault, "a", &[turn]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_is_there_and_one_that_is_not_are_refused_with_the_same_bytes() {
    let (laptop, cluster) = (Node::start(1).await, Node::start(2).await);
    cluster.admit(&[&laptop], &[]);
    laptop.dials(&cluster).await;
    let vault = laptop.vaults.create("app").await.unwrap();
    laptop.set(&vault, "a", b"b").await;
    laptop.share(&vault, &cluster, Role::Reader).await;
    cluster.has(&vault, "a", b"b").await;
    let head = cluster.vaults.summary(&vault).unwrap().heads[0];
    let root = cluster.vaults.root_of(&vault, &head).unwrap();

    // Known, but brings nothing: a sibling may bring vaults, a cluster peer only those that its entry names.
    let id = stranger_id();
    let nothing = Some(vec![VaultId::from([8; 32])]);
    cluster.admit_ids(&[(laptop.id, None), (id, nothing)]);
    let (connection, _net) = connect(&cluster).await;
    let mut answers = Vec::new();
    for vault in [vault, VaultId::from([4; 32])] {
        answers.push([
            answer(ask(&connection, Call::Sync, &sync(vault)).await).await,
            answer(ask(&connection, Call::Pull, &pull(vault, head)).await).await,
            answer(ask(&connection, Call::Get, &get(vault, root)).await).await,
            answer(ask(&connection, Call::Need, &need(vault, head)).await).await,
        ]);
    }
    assert_eq!(answers[0], answers[1]);
    let read = |frames: &Vec<Vec<u8>>| frames.concat();
    let [sync, pull, get, need] = &answers[0];
    let refused = Refused::NotFound;
    assert_eq!(
        wire::read::<SyncFrame>(&read(sync)).unwrap(),
        SyncFrame::Refused(refused)
    );
    for objects in [pull, get] {
        let frame = wire::read::<ObjectsFrame>(&read(objects)).unwrap();
        assert_eq!(frame, ObjectsFrame::Refused(refused));
    }
    let frame = wire::read::<RecordsFrame>(&read(need)).unwrap();
    assert_eq!(frame, RecordsFrame::Refused(refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_peer_cannot_find_out_which_vaults_are_there() {
    let node = Node::start(1).await;
    known_stranger(&node).await;
    let vault = node.vaults.create("app").await.unwrap();
    node.set(&vault, "a", b"b").await;
    let genesis: Vec<Vec<u8>> = {
        let control = node.vaults.control(&vault).unwrap();
        control.ops().map(|op| op.bytes().to_vec()).collect()
    };
    let (connection, _net) = connect(&node).await;
    let mut answers = Vec::new();
    for (vault, ops) in [
        (vault, genesis.clone()),
        (VaultId::from([4; 32]), Vec::new()),
    ] {
        let mut stream = ask(&connection, Call::Sync, &sync(vault)).await;
        let first = stream.rx.frame(wire::MAX_FRAME).await.unwrap().unwrap();
        let SyncFrame::Sync(said) = wire::read(&first).unwrap() else {
            panic!("not an answer");
        };
        let announce = wire::Announce {
            ops: ops.into_iter().map(Into::into).collect(),
            ..wire::Announce::default()
        };
        let frame = wire::frame(&SyncFrame::Announce(announce)).unwrap();
        stream.tx.send(frame).await.unwrap();
        answers.push((said.control_heads, said.heads, answer(stream).await));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].0.is_empty() && answers[0].1.is_empty());
    let last = wire::read::<SyncFrame>(&answers[0].2.concat()).unwrap();
    assert_eq!(last, SyncFrame::Refused(Refused::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_content_is_not_taken_and_too_much_of_it_ends_the_connection() {
    let (node, id) = (above_the_stranger().await, stranger_id());
    known_stranger(&node).await;
    let vault = node.vaults.create("app").await.unwrap();
    node.set(&vault, "a", b"b").await;
    node.share_id(&vault, id, Role::Reader).await;
    let before = node.vaults.summary(&vault);
    // In the name of the owner, with another key.
    let forged = {
        let control = node.vaults.control(&vault).unwrap();
        let grant = control.grant(node.id, id, Role::Owner, 0, None, None);
        SignedOp::sign(grant, &RootKey::from_seed(&seed(STRANGER)))
    };
    let (connection, _net) = connect(&node).await;
    for _ in 0..100 {
        let announce = wire::Announce {
            ops: vec![forged.bytes().to_vec().into()],
            ..wire::Announce::default()
        };
        let frame = wire::frame(&sync(vault)).unwrap();
        let Ok(mut stream) = connection.call(Call::Sync as u8, &frame).await else {
            break;
        };
        let frame = wire::frame(&SyncFrame::Announce(announce)).unwrap();
        if stream.tx.send(frame).await.is_err() {
            break;
        }
        while let Ok(Some(_)) = soon(stream.rx.frame(wire::MAX_FRAME)).await {}
    }
    let closed = connection.ended();
    let misbehaved = matches!(closed, Some(NetError::Closed(Close::Misbehaved)));
    assert!(misbehaved, "{closed:?}");
    assert_eq!(node.vaults.summary(&vault), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_a_version_of_its_own_is_asked_for_it_and_told_only_what_it_lacks() {
    let (node, id) = (above_the_stranger().await, stranger_id());
    known_stranger(&node).await;
    let vault = node.vaults.create("app").await.unwrap();
    let mut versions = Vec::new();
    for turn in 0..4_u8 {
        node.set(&vault, "a", &[turn]).await;
        versions.push(node.vaults.summary(&vault).unwrap().heads[0]);
    }
    node.share_id(&vault, id, Role::Writer).await;
    let control = node.vaults.summary(&vault).unwrap().control_heads;
    let key = RootKey::from_seed(&seed(STRANGER));
    let commit = Commit {
        version: 1,
        vault,
        author: id,
        seq: 1,
        nonce: [1; 16].into(),
        parents: vec![versions[2]],
        control: control.clone(),
        root: Address::from([5; 32]),
        time_ms: u64::MAX / 2,
        note: Vec::new().into(),
    };
    let commit = SignedCommit::sign(commit, &key);

    let (connection, _net) = connect(&node).await;
    let held = SyncFrame::Sync(wire::Sync {
        vault,
        control_heads: control,
        heads: vec![commit.id().into()],
    });
    let mut subscription = ask(&connection, Call::Sync, &held).await;
    let mut asked = loop {
        let mut stream = soon(connection.accept()).await.unwrap();
        if soon(stream.rx.number()).await.unwrap() == Some(Call::Need as u8) {
            break stream;
        }
    };
    let call = asked.rx.frame(wire::MAX_FRAME).await.unwrap().unwrap();
    let call: wire::Need = wire::read(&call).unwrap();
    assert_eq!(call.commits, [CommitId::from(commit.id())]);
    let records = RecordsFrame::Records {
        ops: Vec::new(),
        commits: vec![commit.bytes().to_vec().into()],
    };
    for frame in [records, RecordsFrame::End] {
        asked.tx.send(wire::frame(&frame).unwrap()).await.unwrap();
    }
    let announced = loop {
        let frame = soon(subscription.rx.frame(wire::MAX_FRAME)).await.unwrap();
        if let SyncFrame::Announce(announce) = wire::read(&frame.unwrap()).unwrap() {
            break announce;
        }
    };
    let commits = announced.commits.iter();
    let commits: Vec<CommitId> = commits
        .map(|c| SignedCommit::parse(c).unwrap().id().into())
        .collect();
    assert_eq!(commits, [versions[3]]);
    assert!(announced.ops.is_empty());
}

fn sync(vault: VaultId) -> SyncFrame {
    SyncFrame::Sync(wire::Sync {
        vault,
        control_heads: Vec::new(),
        heads: Vec::new(),
    })
}

fn pull(vault: VaultId, want: CommitId) -> wire::Pull {
    wire::Pull {
        vault,
        have: Vec::new(),
        want,
        budget: u64::MAX,
    }
}

fn get(vault: VaultId, address: Address) -> wire::Get {
    wire::Get {
        vault,
        addresses: vec![address],
    }
}

fn need(vault: VaultId, commit: CommitId) -> wire::Need {
    wire::Need {
        vault,
        ops: vec![OpId::from(*vault.as_bytes())],
        commits: vec![commit],
    }
}
