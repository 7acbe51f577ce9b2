//! TLS 1.3 for workloads and the operator. The node proves its id with a self-made Ed25519 leaf; a client may show a leaf of its own, of any key, and proves that
//! it holds it. Nobody is anybody by TLS alone: who a client is, its token says.

use super::serve::{all_closed, serve, stopped};
use crate::metrics::Metrics;
use axum::{Extension, Router};
use polykey_client::tls::{leaf, node_of};
use polykey_core::ids::NodeId;
use rustix::net::sockopt;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections at once: two for each of two thousand pods. With about 50 KiB each that is the memory that this port may cost.
pub const MAX_CONNECTIONS: usize = 4_096;
/// Handshakes at once. One costs a signature (50 µs) and half a round trip.
const MAX_HANDSHAKES: usize = 512;
/// Time for a handshake.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Time after which the kernel gives up a connection whose other end acknowledges nothing.
const GONE_MS: u32 = 30_000;
/// Wait after a failed accept, which is mostly a lack of file descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The node's key gave no certificate.
    #[error("cannot make a certificate of the node's key")]
    Leaf(#[source] rcgen::Error),
    /// TLS did not take it.
    #[error("cannot set up TLS")]
    Tls(#[source] Error),
}

/// What is known of a connection before its first request.
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// The key that the client showed and holds.
    pub client: Option<NodeId>,
    /// Where it is.
    pub from: IpAddr,
}

/// The TLS of a node, from the seed of its key.
pub fn config(seed: &[u8; 32]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let own = leaf(seed).map_err(TlsError::Leaf)?;
    let verifier = Arc::new(AnyEd25519::new(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![own.certificate], own.key)
        .map_err(TlsError::Tls)?;
    // No resumption: a connection is as new as its token.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Accepts until `stop` says true. Each connection's requests carry its [`Conn`].
pub async fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    app: Router,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a TLS connection");
                tokio::time::sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let places = (
            room.clone().try_acquire_owned(),
            handshakes.clone().try_acquire_owned(),
        );
        let (Ok(place), Ok(turn)) = places else {
            metrics.connection_refused("limit");
            continue;
        };
        let (acceptor, app, metrics, stop) =
            (acceptor.clone(), app.clone(), metrics.clone(), stop.clone());
        tokio::spawn(async move {
            let came = handshake(&acceptor, tcp, from).await;
            drop(turn);
            match came {
                Some((stream, conn)) => serve(stream, app.layer(Extension(conn)), stop).await,
                None => metrics.connection_refused("handshake"),
            }
            drop(place);
        });
    }
    drop(listener);
    all_closed(&room, MAX_CONNECTIONS).await;
}

async fn handshake(
    acceptor: &tokio_rustls::TlsAcceptor,
    tcp: TcpStream,
    from: SocketAddr,
) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, Conn)> {
    tcp.set_nodelay(true).ok()?;
    sockopt::set_tcp_user_timeout(&tcp, GONE_MS).ok()?;
    sockopt::set_socket_keepalive(&tcp, true).ok()?;
    let handshake = tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(tcp));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            tracing::debug!(%from, error = %e, "a TLS handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%from, "a TLS handshake took too long");
            return None;
        }
    };
    let client = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|all| all.first())
        .and_then(node_of);
    let from = from.ip().to_canonical();
    Some((stream, Conn { client, from }))
}

/// Takes no leaf, or one of any Ed25519 key that the client holds.
#[derive(Debug)]
struct AnyEd25519 {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyEd25519 {
    fn new(provider: &CryptoProvider) -> AnyEd25519 {
        AnyEd25519 {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AnyEd25519 {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if more.is_empty() && node_of(leaf).is_some() {
            return Ok(ClientCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        ))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
