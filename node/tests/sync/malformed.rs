//! Every message, malformed in every field and every byte: read, and over real QUIC against a node that goes on serving.

use crate::hostile::{STRANGER, above_the_stranger, ask, known_stranger, soon, stranger_id};
use crate::mutate::{by_byte, by_field};
use crate::node::{Node, seed};
use polykey::net::{Close, Connection, Net, NetError};
use polykey_core::commit::{Commit, SignedCommit};
use polykey_core::control::Role;
use polykey_core::ids::{Address, CommitId, VaultId};
use polykey_core::keys::RootKey;
use polykey_core::wire::{
    self, Announce, Call, Cloned, Get, Hello, Message, Need, ObjectsFrame, Pull, RecordsFrame,
    Refused, Seen, SignedStart, SyncFrame,
};
use std::net::Ipv4Addr;

fn key() -> RootKey {
    RootKey::from_seed(&seed(STRANGER))
}

fn start() -> SignedStart {
    SignedStart::of(&key(), [7; 16], 300)
}

fn hello() -> Hello {
    let seen = Seen {
        instance: [3; 16].into(),
        boot: 70_000,
    };
    Hello::new(&start(), Some(seen))
}

fn cloned() -> Cloned {
    Cloned {
        start: start().bytes().to_vec().into(),
        older: true,
    }
}

fn ids<T: From<[u8; 32]>>(first: u8) -> Vec<T> {
    [first, first + 1].map(|n| T::from([n; 32])).into()
}

fn sync(vault: VaultId) -> SyncFrame {
    SyncFrame::Sync(wire::Sync {
        vault,
        control_heads: ids(1),
        heads: ids(5),
    })
}

fn beats() -> SyncFrame {
    SyncFrame::Beats(vec![vec![7; 90].into(), vec![8; 3].into()])
}

fn announce() -> SyncFrame {
    let some = |n: u8| vec![vec![n; 70].into(), vec![n; 3].into()];
    SyncFrame::Announce(Announce {
        ops: some(1),
        wraps: some(2),
        commits: some(3),
        objects: some(4),
    })
}

fn pull(vault: VaultId) -> Pull {
    Pull {
        vault,
        have: ids(1),
        want: CommitId::from([9; 32]),
        budget: 1 << 20,
    }
}

fn get(vault: VaultId) -> Get {
    Get {
        vault,
        addresses: ids(1),
    }
}

fn need(vault: VaultId) -> Need {
    Need {
        vault,
        ops: ids(1),
        commits: ids(3),
    }
}

fn objects() -> ObjectsFrame {
    ObjectsFrame::Objects(vec![vec![5; 80].into(), vec![6; 4].into()])
}

fn records() -> RecordsFrame {
    RecordsFrame::Records {
        ops: vec![vec![5; 80].into()],
        commits: vec![vec![6; 90].into()],
    }
}

fn body<M: Message>(message: &M) -> Vec<u8> {
    wire::frame(message).unwrap()[4..].to_vec()
}

/// A body with its length before it.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

/// Whatever is done to a message, it is refused or is another message in its one encoding.
fn is_read_or_refused<M: Message>(message: &M) {
    let whole = body(message);
    let mut other = 0;
    let changed = by_field(&whole);
    let all = changed.len();
    for changed in changed.into_iter().chain(by_byte(&whole)) {
        if let Ok(read) = wire::read::<M>(&changed) {
            assert_eq!(body(&read), changed, "{}: a second encoding", M::NAME);
            other += 1;
        }
    }
    assert!(all > 30 || whole.len() < 4, "{}: {all} changes", M::NAME);
    assert!(other < all + whole.len() * 8, "something is refused");
}

#[test]
fn every_message_that_is_malformed_in_a_field_or_a_byte_is_refused_or_another_message() {
    let vault = VaultId::from([2; 32]);
    is_read_or_refused(&hello());
    is_read_or_refused(&cloned());
    is_read_or_refused(&sync(vault));
    is_read_or_refused(&announce());
    is_read_or_refused(&beats());
    is_read_or_refused(&SyncFrame::Refused(Refused::Busy));
    is_read_or_refused(&pull(vault));
    is_read_or_refused(&get(vault));
    is_read_or_refused(&need(vault));
    is_read_or_refused(&objects());
    is_read_or_refused(&ObjectsFrame::End);
    is_read_or_refused(&records());
    is_read_or_refused(&RecordsFrame::Refused(Refused::NotFound));
}

/// The stranger's end of a connection.
struct Line<'n> {
    node: &'n Node,
    net: Net,
    vault: VaultId,
}

impl Line<'_> {
    async fn connect(&self) -> Connection {
        let connection = self.net.dial(self.node.socket()).await.unwrap();
        let mut stream = ask(&connection, Call::Hello, &Hello::new(&start(), None)).await;
        assert!(soon(stream.rx.frame(1_000)).await.unwrap().is_some());
        connection
    }

    /// These bytes as the first frame of a call.
    async fn call(&self, call: Call, body: &[u8]) {
        let connection = self.connect().await;
        let mut stream = connection.call(call as u8, &framed(body)).await.unwrap();
        stream.tx.finish();
        ends(&connection, call, body).await;
    }

    /// These bytes on a subscription that began as it should.
    async fn say(&self, body: &[u8]) {
        let connection = self.connect().await;
        let mut stream = ask(&connection, Call::Sync, &sync(self.vault)).await;
        let _ = stream.tx.send(framed(body)).await;
        ends(&connection, Call::Sync, body).await;
    }

    /// These bytes as the answer to what the node asks: records of a version that it does not know, then its objects.
    async fn answer(&self, asked: Call, commit: &SignedCommit, body: &[u8]) {
        let connection = self.connect().await;
        let held = SyncFrame::Sync(wire::Sync {
            vault: self.vault,
            control_heads: Vec::new(),
            heads: match asked {
                Call::Need => vec![commit.id().into()],
                _ => Vec::new(),
            },
        });
        let mut subscription = ask(&connection, Call::Sync, &held).await;
        if asked != Call::Need {
            let announce = SyncFrame::Announce(Announce {
                commits: vec![commit.bytes().to_vec().into()],
                ..Announce::default()
            });
            let frame = wire::frame(&announce).unwrap();
            subscription.tx.send(frame).await.unwrap();
        }
        loop {
            let mut stream = soon(connection.accept()).await.unwrap();
            if soon(stream.rx.number()).await.unwrap() == Some(asked as u8) {
                let _ = stream.tx.send(framed(body)).await;
                stream.tx.finish();
                return ends(&connection, asked, body).await;
            }
        }
    }
}

/// The node closes the connection, and says why.
async fn ends(connection: &Connection, call: Call, body: &[u8]) {
    let closed = soon(connection.closed()).await;
    assert!(
        matches!(
            closed,
            NetError::Closed(Close::Malformed | Close::TooLarge | Close::NoHello)
        ),
        "{call:?} {body:02x?}: {closed}"
    );
}

/// Those that are refused when they are read; one in `step` of the changed bytes, all of the changed fields.
fn refused<M: Message>(message: &M, step: usize) -> Vec<Vec<u8>> {
    let whole = body(message);
    let bytes = by_byte(&whole).into_iter().step_by(step);
    let all = by_field(&whole).into_iter().chain(bytes);
    all.filter(|changed| wire::read::<M>(changed).is_err())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_message_of_any_kind_ends_its_connection_and_the_node_goes_on() {
    let (node, friend) = (above_the_stranger().await, Node::start(90).await);
    known_stranger(&node).await;
    node.knows(&friend).await;
    friend.dials(&node).await;
    let vault = node.vaults.create("app").await.unwrap();
    node.set(&vault, "a", b"b").await;
    node.share_id(&vault, stranger_id(), Role::Writer).await;
    node.share(&vault, &friend, Role::Reader).await;
    friend.has(&vault, "a", b"b").await;
    let held = node.vaults.summary(&vault).unwrap();
    // Its tree is nowhere, so the node asks for it.
    let commit = Commit {
        version: 1,
        vault,
        author: stranger_id(),
        seq: 1,
        nonce: [1; 16].into(),
        parents: held.heads.clone(),
        control: held.control_heads.clone(),
        root: Address::from([5; 32]),
        time_ms: node.vaults.log(&vault, None, 1).unwrap()[0].committed_ms + 1,
        note: Vec::new().into(),
    };
    let commit = SignedCommit::sign(commit, &key());

    let net = Net::bind(&seed(STRANGER), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let line = Line {
        node: &node,
        net,
        vault,
    };
    let step = 97;
    for body in refused(&hello(), step) {
        let connection = line.net.dial(node.socket()).await.unwrap();
        let call = Call::Hello as u8;
        if let Ok(mut stream) = connection.call(call, &framed(&body)).await {
            stream.tx.finish();
        }
        ends(&connection, Call::Hello, &body).await;
    }
    let calls = [
        (Call::Hello, refused(&hello(), step * 4)),
        (Call::Cloned, refused(&cloned(), step)),
        (Call::Sync, refused(&sync(vault), step)),
        (Call::Pull, refused(&pull(vault), step)),
        (Call::Get, refused(&get(vault), step)),
        (Call::Need, refused(&need(vault), step)),
    ];
    for (call, bodies) in calls {
        assert!(bodies.len() > 20, "{call:?}");
        for body in bodies {
            line.call(call, &body).await;
        }
    }
    for body in refused(&announce(), step) {
        line.say(&body).await;
    }
    for body in refused(&beats(), step) {
        line.say(&body).await;
    }
    for body in refused(&records(), step) {
        line.answer(Call::Need, &commit, &body).await;
    }
    for body in refused(&objects(), step) {
        line.answer(Call::Pull, &commit, &body).await;
    }
    node.set(&vault, "a", b"still").await;
    friend.has(&vault, "a", b"still").await;
    assert!(node.peers.connected(&friend.id));
}
