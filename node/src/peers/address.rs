//! Addresses of peers as people and clusters write them, and which of the IP addresses behind them may be dialled. Pure: resolving is done elsewhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The port of a node when an address names none.
pub const DEFAULT_PORT: u16 = 1314;
/// Longest host: a full DNS name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;

/// `host:port`, where host is a DNS name, an IPv4 address, or an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    host: String,
    port: u16,
}

/// Why a text is no address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither a name nor an IP address.
    #[error("not an address: write HOST, HOST:PORT or [IPV6]:PORT")]
    Form,
    /// Port 0, or none that fits 16 bits.
    #[error("not a port: 1 to 65535")]
    Port,
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(PeerAddress {
                host: ip.to_string(),
                port: DEFAULT_PORT,
            });
        }
        let (host, port) = split(text)?;
        let port = port.map_or(Ok(DEFAULT_PORT), port_number)?;
        Ok(PeerAddress { host, port })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl PeerAddress {
    /// Name or bare IP address, and port, to be resolved.
    #[must_use]
    pub fn target(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

fn split(text: &str) -> Result<(String, Option<&str>), AddressError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, after) = rest.split_once(']').ok_or(AddressError::Form)?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| AddressError::Form)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((ip.to_string(), Some(port))),
            None if after.is_empty() => Ok((ip.to_string(), None)),
            None => Err(AddressError::Form),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if is_name(host) {
        Ok((host.to_ascii_lowercase(), port))
    } else {
        Err(AddressError::Form)
    }
}

/// Letters, digits, `-`, `_` and single dots: DNS names and IPv4 addresses.
fn is_name(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let relative = host.strip_suffix('.').unwrap_or(host);
    relative.len() <= MAX_HOST && relative.split('.').all(label)
}

fn port_number(text: &str) -> Result<u16, AddressError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if port != 0 && digits => Ok(port),
        _ => Err(AddressError::Port),
    }
}

/// Who wrote an address down, which decides how far it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A person on this machine.
    Person,
    /// An object in a cluster: whoever wrote it must not make this node talk to itself or to its machine's own services.
    Cluster,
}

/// Whether `address` may be dialled. Link-local addresses (cloud metadata among them) never are; loopback only for a person.
#[must_use]
pub fn may_dial(address: &SocketAddr, origin: Origin) -> bool {
    match address.ip().to_canonical() {
        ip if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 => false,
        ip if ip.is_loopback() => origin == Origin::Person,
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, shown) in [
            ("node.example.com", "node.example.com:1314"),
            ("Node.example.com:4000", "node.example.com:4000"),
            ("10.0.0.7:30314", "10.0.0.7:30314"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
            ("[2001:db8::1]", "[2001:db8::1]:1314"),
            ("2001:db8::1", "[2001:db8::1]:1314"),
            (
                "polykey-peers.polykey.svc.",
                "polykey-peers.polykey.svc.:1314",
            ),
        ] {
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":1",
            "a b:1",
            "a..b:1",
            "[::1",
            "[::1]x",
            "[x]:1",
            "ex/ample:1",
            "é:1",
        ] {
            assert_eq!(
                text.parse::<PeerAddress>(),
                Err(AddressError::Form),
                "{text}"
            );
        }
        for text in ["a:", "a:0", "a:65536", "a:b:c", "a:+1", "a:x"] {
            assert_eq!(
                text.parse::<PeerAddress>(),
                Err(AddressError::Port),
                "{text}"
            );
        }
    }

    #[test]
    fn a_cluster_cannot_point_a_node_at_its_own_machine() {
        let loopback = [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ];
        for text in loopback {
            let at = text.parse().unwrap();
            assert!(may_dial(&at, Origin::Person) && !may_dial(&at, Origin::Cluster));
        }
        let never = [
            "169.254.169.254:80",
            "[fe80::1]:1",
            "[::ffff:169.254.1.1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "255.255.255.255:1",
            "10.0.0.1:0",
        ];
        for text in never {
            let at = text.parse().unwrap();
            assert!(
                !may_dial(&at, Origin::Person) && !may_dial(&at, Origin::Cluster),
                "{text}"
            );
        }
        for text in [
            "10.0.0.1:1",
            "[fd00::1]:1",
            "[2001:db8::1]:1",
            "192.0.2.1:1",
        ] {
            assert!(may_dial(&text.parse().unwrap(), Origin::Cluster), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_shown_form_reads_back(text in "[a-zA-Z0-9.:\\[\\]_-]{0,40}") {
            if let Ok(address) = text.parse::<PeerAddress>() {
                prop_assert_eq!(address.to_string().parse::<PeerAddress>().unwrap(), address);
            }
        }
    }
}
