//! One token, one client: the node remembers with which TLS key a pod's token came first. Pure but for the clock that is passed in.
//!
//! A second key from another address while the first client lives is a stolen token. A changed key from the same address is a restarted sidecar.

use polykey_core::ids::NodeId;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A client without an open watch that was seen within this time still lives.
pub const LIVES: Duration = Duration::from_mins(1);
/// Pods that are remembered: every pod of the largest cluster that this is built for.
const MAX_PODS: usize = 20_000;

/// The clients by pod uid.
#[derive(Default)]
pub struct Clients(HashMap<String, Client>);

struct Client {
    key: Option<NodeId>,
    from: IpAddr,
    seen: Instant,
    watches: usize,
}

impl Client {
    fn lives(&self, now: Instant) -> bool {
        self.watches > 0 || now.duration_since(self.seen) < LIVES
    }
}

/// Another client came with a pod's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// Where the first client is.
    pub first: IpAddr,
}

impl Clients {
    /// A request with the token of `pod` came over a connection with this key from this address.
    pub fn seen(
        &mut self,
        pod: &str,
        key: Option<NodeId>,
        from: IpAddr,
        now: Instant,
    ) -> Result<(), Reuse> {
        if let Some(client) = self.0.get_mut(pod) {
            let same = client.key.is_some() && client.key == key;
            if !same && client.from != from && client.lives(now) {
                return Err(Reuse { first: client.from });
            }
            client.key = key;
            client.from = from;
            client.seen = now;
            return Ok(());
        }
        if self.0.len() >= MAX_PODS {
            self.0.retain(|_, c| c.lives(now));
        }
        if self.0.len() < MAX_PODS {
            let client = Client {
                key,
                from,
                seen: now,
                watches: 0,
            };
            self.0.insert(pod.to_owned(), client);
        }
        Ok(())
    }

    /// A watch of `pod` was opened.
    pub fn opened(&mut self, pod: &str) {
        if let Some(client) = self.0.get_mut(pod) {
            client.watches += 1;
        }
    }

    /// A watch of `pod` is over.
    pub fn closed(&mut self, pod: &str, now: Instant) {
        if let Some(client) = self.0.get_mut(pod) {
            client.watches = client.watches.saturating_sub(1);
            client.seen = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[allow(clippy::unnecessary_wraps, reason = "clients may come without a key")]
    fn key(byte: u8) -> Option<NodeId> {
        Some(NodeId::from([byte; 32]))
    }

    #[test]
    fn the_first_client_of_a_token_keeps_it_while_it_lives() {
        let mut clients = Clients::default();
        let now = Instant::now();
        assert_eq!(clients.seen("pod", key(1), HERE, now), Ok(()));
        assert_eq!(
            clients.seen("pod", key(2), THERE, now),
            Err(Reuse { first: HERE })
        );
        assert_eq!(
            clients.seen("pod", None, THERE, now),
            Err(Reuse { first: HERE })
        );
        assert_eq!(clients.seen("other", key(2), THERE, now), Ok(()));
        clients.opened("pod");
        let later = now + LIVES * 10;
        assert_eq!(
            clients.seen("pod", key(2), THERE, later),
            Err(Reuse { first: HERE })
        );
        clients.closed("pod", later);
        assert_eq!(clients.seen("pod", key(2), THERE, later + LIVES), Ok(()));
        assert_eq!(
            clients.seen("pod", key(1), HERE, later + LIVES),
            Err(Reuse { first: THERE })
        );
    }

    #[test]
    fn the_same_key_may_come_from_anywhere_and_a_restart_may_change_it() {
        let mut clients = Clients::default();
        let now = Instant::now();
        assert_eq!(clients.seen("pod", key(1), HERE, now), Ok(()));
        assert_eq!(clients.seen("pod", key(1), THERE, now), Ok(()));
        assert_eq!(clients.seen("pod", key(2), THERE, now), Ok(()));
    }

    #[test]
    fn clients_without_a_key_are_told_apart_by_their_address() {
        let mut clients = Clients::default();
        let now = Instant::now();
        assert_eq!(clients.seen("pod", None, HERE, now), Ok(()));
        assert_eq!(clients.seen("pod", None, HERE, now), Ok(()));
        assert_eq!(
            clients.seen("pod", None, THERE, now),
            Err(Reuse { first: HERE })
        );
    }
}
