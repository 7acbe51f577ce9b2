//! Dialling one address until every node that is said to stand there has a connection, and again whenever one has lost it.

use super::Peers;
use super::address::{PeerAddress, may_dial};
use super::backoff::Backoff;
use super::hello::Greeting;
use super::known::Place;
use crate::net::{Close, NetError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection that lasted this long ends a series of failures; a shorter one counts as one more.
const STEADY: Duration = Duration::from_secs(10);
/// Longest wait for a resolver.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// Most IP addresses of one name that are tried: a headless Service over as many replicas.
const MAX_RESOLVED: usize = 16;
/// The next IP address of a name is tried when the one before has not answered for this long (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Runs until nobody is said to stand at `address` any more.
pub(super) async fn keep_connected(peers: Arc<Peers>, address: PeerAddress) {
    let mut lists = peers.lists.subscribe();
    let mut links = peers.links.subscribe();
    let mut backoff = Backoff::default();
    let mut connected_at: Option<Instant> = None;
    loop {
        lists.borrow_and_update();
        links.borrow_and_update();
        let Some(place) = peers.place(&address) else {
            return;
        };
        if peers.missing(&place).is_empty() {
            tokio::select! {
                _ = lists.changed() => {}
                _ = links.changed() => {}
            }
            continue;
        }
        if connected_at.take_if(|at| at.elapsed() >= STEADY).is_some() {
            backoff.reset();
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next(jitter())) => {}
            _ = lists.changed() => {
                backoff.reset();
                continue;
            }
        }
        let outcome = attempt(&peers, &address, &place).await;
        backoff.unknown = outcome.unknown;
        if outcome.connected {
            connected_at = Some(Instant::now());
        }
        let still = peers.missing(&place);
        if let (Some(why), false) = (outcome.why, still.is_empty()) {
            tracing::debug!(%address, %why, "peer not reached");
            peers.note_failure(&still, &format!("{address}: {why}"));
        }
    }
}

#[derive(Default)]
struct Outcome {
    connected: bool,
    unknown: bool,
    why: Option<String>,
}

async fn attempt(peers: &Arc<Peers>, address: &PeerAddress, place: &Place) -> Outcome {
    let candidates = match resolve(address, place).await {
        Ok(candidates) => candidates,
        Err(why) => {
            return Outcome {
                why: Some(why),
                ..Outcome::default()
            };
        }
    };
    let mut dials: FuturesUnordered<_> = candidates
        .iter()
        .zip(0_u32..)
        .map(|(at, turn)| async move {
            tokio::time::sleep(STAGGER * turn).await;
            if peers.missing(place).is_empty() {
                return None;
            }
            Some(one_dial(peers, *at).await)
        })
        .collect();
    let mut outcome = Outcome::default();
    while let Some(dialled) = dials.next().await {
        match dialled {
            None => {}
            Some(Ok(Greeting::Connected)) => outcome.connected = true,
            Some(Ok(Greeting::Again(node))) => {
                let why = format!("{} answered, which is connected already", node.short());
                outcome.why.get_or_insert(why);
            }
            Some(Ok(Greeting::Stranger(node))) => {
                outcome.why = Some(format!("another node answered: {node}"));
            }
            Some(Ok(Greeting::Myself)) => {
                outcome.why = Some("that is this node itself".to_owned());
            }
            Some(Err(error)) => {
                outcome.unknown |= matches!(error, NetError::Closed(Close::UnknownNode));
                outcome.why = Some(error.to_string());
            }
        }
    }
    outcome
}

async fn one_dial(peers: &Arc<Peers>, at: SocketAddr) -> Result<Greeting, NetError> {
    let connection = peers.net.dial(at).await?;
    peers.greet(connection).await
}

async fn resolve(address: &PeerAddress, place: &Place) -> Result<Vec<SocketAddr>, String> {
    let lookup = tokio::net::lookup_host(address.target());
    let found = tokio::time::timeout(RESOLVE_DEADLINE, lookup)
        .await
        .map_err(|_| "the name did not resolve in time".to_owned())?
        .map_err(|e| format!("the name does not resolve: {e}"))?;
    let mut candidates: Vec<SocketAddr> = Vec::new();
    for at in found.filter(|at| may_dial(at, place.origin)) {
        if !candidates.contains(&at) && candidates.len() < MAX_RESOLVED {
            candidates.push(at);
        }
    }
    if candidates.is_empty() {
        return Err("no address there that may be dialled".to_owned());
    }
    Ok(candidates)
}

fn jitter() -> u16 {
    let mut bytes = [0; 2];
    // Without randomness nodes return in step, no worse.
    let _ = getrandom::fill(&mut bytes);
    u16::from_be_bytes(bytes)
}
