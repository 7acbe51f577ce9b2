//! The hello that opens a connection: who is let in, whether a dial was worth it, and what both learn of each other's past before anything else is said.

use super::{Peers, locked};
use crate::net::{Close, Connection, HANDSHAKE_DEADLINE, Knock, NetError, Stream};
use polykey_core::ids::NodeId;
use polykey_core::wire::{self, SignedStart};
use std::sync::Arc;

/// A hello is 210 bytes with all the versions it may name.
const MAX_HELLO: usize = 256;

/// What came of a dial that was answered.
pub(super) enum Greeting {
    /// There is a new connection.
    Connected,
    /// This one is connected already, or is about to be.
    Again(NodeId),
    /// A node that is not known here.
    Stranger(NodeId),
    /// The address leads back here.
    Myself,
}

impl Peers {
    /// What this node says to `node`.
    pub(super) fn hello_to(&self, node: &NodeId) -> wire::Hello {
        wire::Hello::new(&self.start, locked(&self.seen).of(node))
    }

    /// Takes in a node that dialled, if it is known and says hello in time.
    pub(super) async fn admit(self: Arc<Self>, knock: Knock) {
        let from = knock.remote();
        match self.admitted(knock).await {
            Ok(node) => tracing::info!(peer = %node.short(), %from, "peer connected"),
            Err(error) => tracing::debug!(%from, %error, "connection not taken"),
        }
    }

    async fn admitted(self: &Arc<Self>, knock: Knock) -> Result<NodeId, NetError> {
        let connection = knock.handshake().await?;
        let node = connection.node();
        if node == self.me || !self.knows(&node) {
            return Err(turned_away(&connection, Close::UnknownNode));
        }
        if self.syncing.over_faults(&node) {
            return Err(turned_away(&connection, Close::Misbehaved));
        }
        let heard = tokio::time::timeout(HANDSHAKE_DEADLINE, hear_hello(&connection)).await;
        let Ok(Ok((hello, mut stream))) = heard else {
            return Err(turned_away(&connection, Close::NoHello));
        };
        let Ok(start) = SignedStart::read(&hello.start, &node) else {
            return Err(turned_away(&connection, Close::NoHello));
        };
        let answer = self.hello_to(&node);
        self.hear(&start, hello.seen).await;
        if !self.register(&connection, start) {
            return Err(turned_away(&connection, Close::Duplicate));
        }
        stream.tx.send(framed(&answer)).await?;
        stream.tx.finish();
        Ok(node)
    }

    /// Says hello on a connection that this node dialled, if it needs one to whoever answered.
    pub(super) async fn greet(
        self: &Arc<Self>,
        connection: Connection,
    ) -> Result<Greeting, NetError> {
        let node = connection.node();
        if node == self.me {
            connection.close(Close::Bye);
            return Ok(Greeting::Myself);
        }
        if !self.knows(&node) {
            connection.close(Close::UnknownNode);
            return Ok(Greeting::Stranger(node));
        }
        if !locked(&self.table).reserve(&self.me, &node) {
            connection.close(Close::Duplicate);
            return Ok(Greeting::Again(node));
        }
        let _reserved = Reserved(self, node);
        let mine = self.hello_to(&node);
        let answer = tokio::time::timeout(HANDSHAKE_DEADLINE, say_hello(&connection, &mine));
        let hello = match answer.await {
            Ok(Ok(hello)) => hello,
            Ok(Err(NetError::Closed(Close::Duplicate))) => return Ok(Greeting::Again(node)),
            Ok(Err(error)) => {
                connection.close(Close::NoHello);
                return Err(error);
            }
            Err(_) => return Err(turned_away(&connection, Close::NoHello)),
        };
        let Ok(start) = SignedStart::read(&hello.start, &node) else {
            return Err(turned_away(&connection, Close::NoHello));
        };
        self.hear(&start, hello.seen).await;
        if !self.register(&connection, start) {
            connection.close(Close::Duplicate);
            return Ok(Greeting::Again(node));
        }
        tracing::info!(peer = %node.short(), at = %connection.remote(), "peer connected");
        Ok(Greeting::Connected)
    }

    /// Takes in what a hello says of both stores' past. It is on the disk before anything else is said on the connection.
    async fn hear(&self, start: &SignedStart, seen: Option<wire::Seen>) {
        let node = start.payload().node;
        if let Some(seen) = seen {
            let shared = self.vaults.shared_with(&node);
            let standing = self.vaults.standing();
            if let Err(error) = standing.remembered(&self.start, &seen, node, &shared).await {
                tracing::error!(%error, "what a peer remembers of this store could not be written");
            }
        }
        let noted = locked(&self.seen).note(start.payload());
        if let Some(batch) = noted
            && let Err(error) = self.store.commit(batch).await
        {
            tracing::error!(%error, "the start of a peer could not be written");
        }
    }
}

/// A hello on its way to a node.
struct Reserved<'a>(&'a Peers, NodeId);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        locked(&self.0.table).release(&self.1);
    }
}

/// Says hello and hears the answer.
pub(super) async fn say_hello(
    connection: &Connection,
    mine: &wire::Hello,
) -> Result<wire::Hello, NetError> {
    let hello = wire::Call::Hello as u8;
    let mut stream = connection.call(hello, &framed(mine)).await?;
    stream.tx.finish();
    let frame = stream.rx.frame(MAX_HELLO).await?;
    frame.as_deref().and_then(understood).ok_or(NetError::Reset)
}

/// Hears the first hello of a node that dialled.
async fn hear_hello(connection: &Connection) -> Result<(wire::Hello, Stream), NetError> {
    let mut stream = connection.accept().await?;
    if stream.rx.number().await? != Some(wire::Call::Hello as u8) {
        return Err(NetError::Reset);
    }
    let frame = stream.rx.frame(MAX_HELLO).await?;
    let hello = frame.as_deref().and_then(understood);
    Ok((hello.ok_or(NetError::Reset)?, stream))
}

fn understood(frame: &[u8]) -> Option<wire::Hello> {
    let hello: wire::Hello = wire::read(frame).ok()?;
    hello.versions.contains(&wire::VERSION).then_some(hello)
}

pub(super) fn framed<M: wire::Message>(message: &M) -> Vec<u8> {
    // What goes through here has some two hundred bytes.
    wire::frame(message).unwrap_or_default()
}

fn turned_away(connection: &Connection, why: Close) -> NetError {
    connection.close(why);
    NetError::ClosedHere
}
