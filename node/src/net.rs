//! QUIC between nodes: endpoints, connections and framed streams. The only file that names quinn.
//!
//! Both ends prove their node id in the handshake ([`raw_keys`]). Who is welcome, and what the bytes of a frame mean, is decided above. Every stream is
//! one call: its first byte is the call's number, then frames of `u32 big-endian length ‖ body` in both directions.

mod raw_keys;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use polykey_core::ids::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ConnectionError, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, ReadError,
    ReadExactError, RecvStream, SendStream, TransportConfig, VarInt, WriteError,
};
use ring::hmac;
use rustix::net::sockopt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Longest handshake in either direction. Three round trips of a satellite link are two seconds.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// A connection that carries nothing sends this often, so that its end is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// A peer that is silent for two and a half keep-alives is gone: noticed within 14 seconds of its last word.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections that a node accepts, whoever they are from. Each may cost a receive window ([`CONNECTION_WINDOW`]) at worst, 20 KiB at rest.
pub const MAX_CONNECTIONS: usize = 1024;
/// From this many on, a newcomer must first show that it can receive at its address (a QUIC Retry).
const RETRY_FROM: usize = 128;
/// Handshakes that wait for their turn; more are refused.
const MAX_INCOMING: usize = 256;
/// Bytes kept for handshakes that wait: a few datagrams each.
const INCOMING_BUFFER: u64 = 16 << 10;
/// Streams that stay open for the vaults that two nodes share: one each.
pub const MAX_SUBSCRIPTIONS: usize = 1024;
/// Calls in progress that a peer may have open beside its subscriptions; more of them wait.
pub const MAX_CALLS: usize = 64;
/// A stream that nobody reads holds at most this much.
const STREAM_WINDOW: u32 = 1 << 20;
/// All unread streams of a connection together hold at most this much.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes sent and not yet acknowledged on one connection.
const SEND_WINDOW: u64 = 4 << 20;
/// Asked of the kernel for each socket; it grants what `net.core.?mem_max` allows. Fewer packets are lost in a clone.
const SOCKET_BUFFER: usize = 4 << 20;
/// Memory for a frame grows in these steps as bytes arrive, whatever its length claims.
const FRAME_STEP: usize = 16 << 10;
/// Longest time from the length of a frame to its last byte: the largest frame over 150 kbit/s.
const FRAME_DEADLINE: Duration = Duration::from_mins(1);
/// Bytes before the body of a frame.
const LENGTH: usize = 4;

/// Why one end closed a connection: the QUIC application error code, and its meaning for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Close {
    /// The node stops, or needs the connection no more.
    Bye = 0,
    /// The node at the other end is not known here: not a peer, no member of a shared vault.
    UnknownNode = 1,
    /// There is another connection between these two nodes, and that one stays.
    Duplicate = 2,
    /// Bytes that are no message: truncated, not canonical, or of an unknown call.
    Malformed = 3,
    /// A frame over its limit.
    TooLarge = 4,
    /// Things that are not what their hash or signature says, too often.
    Misbehaved = 5,
    /// No hello in time, or a hello without a version that both speak.
    NoHello = 6,
}

impl Close {
    const ALL: [Close; 7] = [
        Close::Bye,
        Close::UnknownNode,
        Close::Duplicate,
        Close::Malformed,
        Close::TooLarge,
        Close::Misbehaved,
        Close::NoHello,
    ];

    /// The reason sent with the code.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Close::Bye => "closed",
            Close::UnknownNode => "this node does not know you",
            Close::Duplicate => "another connection stays",
            Close::Malformed => "not a message",
            Close::TooLarge => "frame over its limit",
            Close::Misbehaved => "content does not match its hash or signature",
            Close::NoHello => "no hello",
        }
    }

    fn from_code(code: VarInt) -> Option<Close> {
        Close::ALL
            .into_iter()
            .find(|c| u64::from(*c as u32) == code.into_inner())
    }
}

/// What failed on the network.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The node's key is unusable for TLS.
    #[error("the node's key does not work for TLS")]
    Key(#[source] rustls::Error),
    /// TLS and QUIC do not fit together: cannot happen with the suites of the provider in use.
    #[error("TLS offers no suite for QUIC")]
    Suite,
    /// No UDP socket.
    #[error("cannot listen on UDP {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The address cannot be dialled.
    #[error("cannot dial {address}: {reason}")]
    Dial {
        /// Where.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("no answer within {} s", HANDSHAKE_DEADLINE.as_secs())]
    Deadline,
    /// The other end is no node.
    #[error("the other end showed no node key")]
    NoIdentity,
    /// The other end closed the connection, and said why.
    #[error("closed by the peer: {}", .0.text())]
    Closed(Close),
    /// The connection ended without a reason of ours.
    #[error("connection lost: {0}")]
    Lost(String),
    /// This end closed the connection.
    #[error("closed here")]
    ClosedHere,
    /// A stream was given up by the other end.
    #[error("the peer gave up the call")]
    Reset,
    /// A stream ended within a frame.
    #[error("a frame was cut short")]
    Truncated,
    /// A frame longer than its message may be.
    #[error("a frame of {length} bytes, the limit is {limit}")]
    TooLarge {
        /// What it claims.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A frame that does not arrive.
    #[error("a frame took over {} s", FRAME_DEADLINE.as_secs())]
    Slow,
}

/// The node's own UDP socket for those who dial it, and what it needs to dial others.
pub struct Net {
    endpoint: quinn::Endpoint,
    dialling: quinn::ClientConfig,
}

impl Net {
    /// Listens on `address`. `[::]` means both families, and IPv4 alone where the machine has no IPv6. `seed` is the node's private key.
    pub fn bind(seed: &[u8; 32], address: SocketAddr) -> Result<Net, NetError> {
        let tls = raw_keys::server(seed).map_err(NetError::Key)?;
        let tls = QuicServerConfig::try_from(tls).map_err(|_| NetError::Suite)?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        server
            .transport_config(transport())
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BUFFER)
            .incoming_buffer_size_total(INCOMING_BUFFER * MAX_INCOMING as u64);

        let tls = raw_keys::client(seed).map_err(NetError::Key)?;
        let tls = QuicClientConfig::try_from(tls).map_err(|_| NetError::Suite)?;
        let mut dialling = quinn::ClientConfig::new(Arc::new(tls));
        dialling.transport_config(transport());

        let bind = |source| NetError::Bind { address, source };
        let socket = listening_socket(address).map_err(bind)?;
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint =
            quinn::Endpoint::new(lasting(seed), Some(server), socket, runtime).map_err(bind)?;
        Ok(Net { endpoint, dialling })
    }

    /// Where this node listens.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// The next node that knocks; `None` once [`Net::close`] was called.
    pub async fn accept(&self) -> Option<Knock> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let open = self.endpoint.open_connections();
            if open >= MAX_CONNECTIONS {
                incoming.refuse();
            } else if open >= RETRY_FROM && !incoming.remote_address_validated() {
                if let Err(refused) = incoming.retry() {
                    refused.into_incoming().refuse();
                }
            } else {
                return Some(Knock(incoming, self.endpoint.clone()));
            }
        }
    }

    /// Dials from a socket of its own. The new source port makes a load balancer in between choose anew, and an old path that it remembers cannot
    /// swallow the attempt.
    pub async fn dial(&self, address: SocketAddr) -> Result<Connection, NetError> {
        let from: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let bind = |source| NetError::Bind {
            address: from,
            source,
        };
        let socket = UdpSocket::bind(from).map_err(bind)?;
        roomy(&socket);
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint =
            quinn::Endpoint::new(EndpointConfig::default(), None, socket, runtime).map_err(bind)?;
        // Raw keys have no names, so this one is only there because the interface wants one that parses.
        let connecting = endpoint
            .connect_with(self.dialling.clone(), address, "node.invalid")
            .map_err(|e| NetError::Dial {
                address,
                reason: e.to_string(),
            })?;
        let quic = tokio::time::timeout(HANDSHAKE_DEADLINE, connecting)
            .await
            .map_err(|_| NetError::Deadline)?
            .map_err(lost)?;
        Connection::new(quic, endpoint, true)
    }

    /// Closes every accepted connection and the socket. Resolves when the other ends were told, or after a second.
    pub async fn close(&self) {
        self.endpoint
            .close(code(Close::Bye), Close::Bye.text().as_bytes());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }
}

/// Someone who dials this node and has proved nothing yet.
pub struct Knock(quinn::Incoming, quinn::Endpoint);

impl Knock {
    /// Where it comes from.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Waits for the proof, at most [`HANDSHAKE_DEADLINE`].
    pub async fn handshake(self) -> Result<Connection, NetError> {
        let quic = tokio::time::timeout(HANDSHAKE_DEADLINE, self.0)
            .await
            .map_err(|_| NetError::Deadline)?
            .map_err(lost)?;
        Connection::new(quic, self.1, false)
    }
}

/// A connection to a node that proved its id. Clones are the same connection.
#[derive(Clone)]
pub struct Connection {
    quic: quinn::Connection,
    endpoint: quinn::Endpoint,
    node: NodeId,
    dialled: bool,
}

impl Connection {
    fn new(
        quic: quinn::Connection,
        endpoint: quinn::Endpoint,
        dialled: bool,
    ) -> Result<Self, NetError> {
        let node = identity(&quic).ok_or(NetError::NoIdentity)?;
        Ok(Connection {
            quic,
            endpoint,
            node,
            dialled,
        })
    }

    /// Who is at the other end.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// This end dialled.
    #[must_use]
    pub fn dialled(&self) -> bool {
        self.dialled
    }

    /// Where the other end is now.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        let at = self.quic.remote_address();
        SocketAddr::new(at.ip().to_canonical(), at.port())
    }

    /// Opens a stream with its call number and first frame (its length included), in one packet if they fit. Waits while the other end has as many
    /// streams open as it takes.
    pub async fn call(&self, number: u8, frame: &[u8]) -> Result<Stream, NetError> {
        let (tx, rx) = self.quic.open_bi().await.map_err(lost)?;
        let mut stream = Stream {
            tx: Sender(tx),
            rx: Receiver(rx),
        };
        let mut bytes = Vec::with_capacity(1 + frame.len());
        bytes.push(number);
        bytes.extend(frame);
        stream.tx.send(bytes).await?;
        Ok(stream)
    }

    /// The next stream that the other end opens.
    pub async fn accept(&self) -> Result<Stream, NetError> {
        let (tx, rx) = self.quic.accept_bi().await.map_err(lost)?;
        Ok(Stream {
            tx: Sender(tx),
            rx: Receiver(rx),
        })
    }

    /// Closes at once and tells the other end why.
    pub fn close(&self, why: Close) {
        self.quic.close(code(why), why.text().as_bytes());
    }

    /// Resolves when the connection has ended, with the reason.
    pub async fn closed(&self) -> NetError {
        lost(self.quic.closed().await)
    }

    /// Why it has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<NetError> {
        self.quic.close_reason().map(lost)
    }

    /// Resolves when the close of a dialled connection is on its way, or after a second.
    pub async fn flushed(&self) {
        if self.dialled {
            let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
        }
    }
}

/// One call: frames in both directions.
pub struct Stream {
    /// Frames to the other end.
    pub tx: Sender,
    /// Frames from the other end.
    pub rx: Receiver,
}

/// The sending half of a stream.
pub struct Sender(SendStream);

impl Sender {
    /// Sends one frame, its length included. Nothing is copied, and nothing is held back to fill a packet.
    pub async fn send(&mut self, frame: Vec<u8>) -> Result<(), NetError> {
        self.0.write_chunk(Bytes::from(frame)).await.map_err(unsent)
    }

    /// No more frames in this direction.
    pub fn finish(&mut self) {
        // Fails only if the stream is closed already.
        let _ = self.0.finish();
    }

    /// Resolves when the other end has everything, or wants no more.
    pub async fn delivered(&mut self) {
        let _ = self.0.stopped().await;
    }
}

/// The receiving half of a stream.
pub struct Receiver(RecvStream);

impl Receiver {
    /// The call number that a stream starts with; `None` if the other end opened it for nothing.
    pub async fn number(&mut self) -> Result<Option<u8>, NetError> {
        let mut byte = [0];
        match self.0.read_exact(&mut byte).await {
            Ok(()) => Ok(Some(byte[0])),
            Err(ReadExactError::FinishedEarly(_)) => Ok(None),
            Err(ReadExactError::ReadError(e)) => Err(unread(e)),
        }
    }

    /// The next frame of at most `limit` bytes; `None` when the other end has finished. Waits for a frame to begin as long as it takes.
    pub async fn frame(&mut self, limit: usize) -> Result<Option<Vec<u8>>, NetError> {
        let mut prefix = [0; LENGTH];
        match self.0.read_exact(&mut prefix).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(0)) => return Ok(None),
            Err(ReadExactError::FinishedEarly(_)) => return Err(NetError::Truncated),
            Err(ReadExactError::ReadError(e)) => return Err(unread(e)),
        }
        let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
        if length > limit {
            return Err(NetError::TooLarge { length, limit });
        }
        let body = self.body(length);
        tokio::time::timeout(FRAME_DEADLINE, body)
            .await
            .map_err(|_| NetError::Slow)?
            .map(Some)
    }

    async fn body(&mut self, length: usize) -> Result<Vec<u8>, NetError> {
        let mut body = Vec::with_capacity(length.min(FRAME_STEP));
        while body.len() < length {
            let chunk = self.0.read_chunk(length - body.len(), true);
            let chunk = chunk.await.map_err(unread)?.ok_or(NetError::Truncated)?;
            body.extend_from_slice(&chunk.bytes);
        }
        Ok(body)
    }
}

fn transport() -> Arc<TransportConfig> {
    let streams = u32::try_from(MAX_SUBSCRIPTIONS + MAX_CALLS).unwrap_or(u32::MAX);
    let idle = IdleTimeout::try_from(IDLE_TIMEOUT).ok();
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(idle);
    Arc::new(transport)
}

/// Reset key and connection ids outlast a restart, so a peer that still talks to the process before learns at once that it is gone (RFC 9000, section 10.3).
fn lasting(seed: &[u8; 32]) -> EndpointConfig {
    let seed = hmac::Key::new(hmac::HMAC_SHA256, seed);
    let reset = hmac::sign(&seed, b"polykey/1 quic reset");
    let reset = hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref());
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

/// Plain random ids. quinn's own are marked with a key of the process, and a restarted node would drop those of the process before in silence.
struct RandomIds;

/// Bytes of a connection id: quinn's own choice.
const ID_LENGTH: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_LENGTH];
        // Without randomness there is no TLS either; ids that collide only fail to connect.
        let _ = getrandom::fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn listening_socket(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = match address {
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => match both_families(address) {
            Err(e) if e == rustix::io::Errno::AFNOSUPPORT => {
                UdpSocket::bind((Ipv4Addr::UNSPECIFIED, v6.port()))?
            }
            socket => socket?,
        },
        _ => UdpSocket::bind(address)?,
    };
    roomy(&socket);
    Ok(socket)
}

fn both_families(address: SocketAddr) -> Result<UdpSocket, rustix::io::Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    let socket = socket_with(
        AddressFamily::INET6,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    sockopt::set_ipv6_v6only(&socket, false)?;
    bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

fn roomy(socket: &UdpSocket) {
    // The kernel grants less where it must; that costs speed alone.
    let _ = sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER);
}

fn identity(quic: &quinn::Connection) -> Option<NodeId> {
    let shown = quic.peer_identity()?;
    let keys = shown
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .ok()?;
    match keys.as_slice() {
        [spki] => raw_keys::node_id(spki),
        _ => None,
    }
}

fn code(why: Close) -> VarInt {
    VarInt::from_u32(why as u32)
}

fn lost(error: ConnectionError) -> NetError {
    match error {
        ConnectionError::ApplicationClosed(close) => Close::from_code(close.error_code)
            .map_or_else(
                || NetError::Lost(format!("code {}", close.error_code)),
                NetError::Closed,
            ),
        ConnectionError::LocallyClosed => NetError::ClosedHere,
        other => NetError::Lost(other.to_string()),
    }
}

fn unsent(error: WriteError) -> NetError {
    match error {
        WriteError::ConnectionLost(e) => lost(e),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            NetError::Reset
        }
    }
}

fn unread(error: ReadError) -> NetError {
    match error {
        ReadError::ConnectionLost(e) => lost(e),
        _ => NetError::Reset,
    }
}
