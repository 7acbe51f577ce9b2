//! Two processes with one identity: how this node finds out that both live, and tells both.
//!
//! The newcomer is served at once, since it is nearly always the same node after a restart. The older connection stands beside it until it has had its chance
//! to answer. If it does, both are told, and both go on being served: what either has written is to reach the others.

use super::connections::Live;
use super::hello::{framed, say_hello};
use super::{Peers, locked, now_ms};
use crate::net::{Connection, NetError};
use polykey_core::wire::{self, Call, Cloned, Double, SignedStart};
use std::sync::Arc;
use std::time::Duration;

/// How long the older connection has to answer.
const PING: Duration = Duration::from_secs(2);

/// Asks over the older connection whether its process lives.
pub(super) async fn settle(peers: Arc<Peers>, old: Live, new: Live) {
    let node = old.connection.node();
    let hello = peers.hello_to(&node);
    let answer = tokio::time::timeout(PING, say_hello(&old.connection, &hello)).await;
    let lives = matches!(&answer, Ok(Ok(hello)) if hello.start[..] == *old.start.bytes());
    if !lives {
        locked(&peers.table).end_beside(&node, old.number);
        return;
    }
    let Some(double) = wire::double(old.start.payload(), new.start.payload(), true) else {
        return;
    };
    tracing::error!(peer = %node.short(), old = old.start.payload().boot, new = new.start.payload().boot, "two processes with the identity of this peer are connected; both are told");
    if double == Double::Stays {
        locked(&peers.table).put_first(&node, old.number);
    }
    locked(&peers.table).past_of(node).cloned_ms = Some(now_ms());
    let (to_old, to_new) = (word(&new.start, true), word(&old.start, false));
    let told = tokio::join!(
        tell(&old.connection, &to_old),
        tell(&new.connection, &to_new)
    );
    for result in [told.0, told.1] {
        if let Err(error) = result {
            tracing::debug!(peer = %node.short(), %error, "one of two was not told");
        }
    }
}

fn word(start: &SignedStart, older: bool) -> Cloned {
    Cloned {
        start: start.bytes().to_vec().into(),
        older,
    }
}

async fn tell(connection: &Connection, word: &Cloned) -> Result<(), NetError> {
    let mut stream = connection.call(Call::Cloned as u8, &framed(word)).await?;
    stream.tx.finish();
    stream.tx.delivered().await;
    Ok(())
}
