//! Pinned TLS 1.3 to a node: it proves its node id by a self-made Ed25519 X.509 leaf, and the client accepts exactly the ids that it was told. There is no CA.
//!
//! The client may show a leaf of its own in the same way; a node remembers which key a pod's token came with.

use crate::error::{ApiError, Code};
use crate::http::Connection;
use polykey_core::ids::NodeId;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Deadline for name lookup, TCP and TLS together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// DER of an Ed25519 `SubjectPublicKeyInfo` up to the 32 bytes of the key (RFC 8410, section 4).
pub const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// DER of an Ed25519 PKCS#8 v1 private key up to the 32 bytes of the seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The node ids that a client accepts. Shared and replaceable: the cluster's nodes change while a sidecar lives.
pub struct Pins(RwLock<BTreeSet<NodeId>>);

impl Pins {
    /// Accept exactly these.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Arc<Pins> {
        Arc::new(Pins(RwLock::new(nodes.into_iter().collect())))
    }

    /// From now on accept exactly these.
    pub fn replace(&self, nodes: impl IntoIterator<Item = NodeId>) {
        *self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = nodes.into_iter().collect();
    }

    /// The accepted ids.
    #[must_use]
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn accepts(&self, node: &NodeId) -> bool {
        self.0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .contains(node)
    }
}

/// A certificate made from an Ed25519 seed, and its key.
pub struct Leaf {
    /// The self-signed certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key, PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

/// Makes the self-signed X.509 leaf of an Ed25519 seed. Nothing in it but the key is ever looked at.
///
/// # Errors
/// When rcgen refuses the seed, which it does for none.
pub fn leaf(seed: &[u8; 32]) -> Result<Leaf, rcgen::Error> {
    let der = Zeroizing::new([&PKCS8_PREFIX[..], seed].concat());
    let pkcs8 = PrivatePkcs8KeyDer::from(der.as_slice());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519)?;
    let certificate = CertificateParams::new(vec!["node.invalid".into()])?.self_signed(&key)?;
    Ok(Leaf {
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::Pkcs8(pkcs8.clone_key()),
    })
}

/// The Ed25519 key inside an X.509 leaf, as the node id that it stands for; `None` for any other kind of key or a malformed certificate.
#[must_use]
pub fn node_of(leaf: &CertificateDer<'_>) -> Option<NodeId> {
    let spki = ParsedCertificate::try_from(leaf)
        .ok()?
        .subject_public_key_info();
    let key = spki.as_ref().strip_prefix(&SPKI_PREFIX[..])?;
    Some(NodeId::from(<[u8; 32]>::try_from(key).ok()?))
}

/// The TLS configuration of a client that accepts `pins` and, when it has a key of its own, shows it.
///
/// # Errors
/// When rustls refuses the client's own leaf.
///
/// # Panics
/// Never: the ring provider has TLS 1.3.
pub fn client_config(pins: Arc<Pins>, own: Option<Leaf>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(PinnedNode::new(pins, &provider));
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        Some(leaf) => config.with_client_auth_cert(vec![leaf.certificate], leaf.key)?,
        None => config.with_no_client_auth(),
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Opens a connection to the node at `address` (`host:port`) and says which of the pinned ids answered.
///
/// # Errors
/// `Unreachable` with the step that failed: name, TCP, or the proof of the node id.
pub async fn connect(
    address: &str,
    config: Arc<ClientConfig>,
    bearer: Option<&str>,
) -> Result<(NodeId, Connection), ApiError> {
    let dial = async {
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|e| unreachable(address, &e))?;
        tcp.set_nodelay(true)
            .map_err(|e| unreachable(address, &e))?;
        let name = ServerName::try_from("node.invalid").map_err(|e| unreachable(address, &e))?;
        let tls = tokio_rustls::TlsConnector::from(config)
            .connect(name, tcp)
            .await;
        let tls = tls.map_err(|e| handshake(address, &e))?;
        let node = tls
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|c| c.first())
            .and_then(node_of);
        let node = node.ok_or_else(|| {
            ApiError::new(Code::Unreachable, format!("{address} showed no node id"))
        })?;
        Ok((node, Connection::start(tls, bearer).await?))
    };
    tokio::time::timeout(CONNECT_TIMEOUT, dial)
        .await
        .unwrap_or_else(|_| {
            Err(ApiError::new(
                Code::Unreachable,
                format!(
                    "{address} did not answer in {} s",
                    CONNECT_TIMEOUT.as_secs()
                ),
            ))
        })
}

/// A node that is none of the pinned ones is another thing than one that does not answer: `NotFound`.
fn handshake(address: &str, e: &std::io::Error) -> ApiError {
    let stranger = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    match e.get_ref().and_then(|e| e.downcast_ref::<Error>()) {
        Some(e) if *e == stranger => ApiError::new(
            Code::NotFound,
            format!("the node at {address} is none of those that this program was told to trust"),
        ),
        _ => unreachable(address, e),
    }
}

fn unreachable(address: &str, e: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(
        Code::Unreachable,
        format!("cannot reach the node at {address}: {e}"),
    )
}

/// Accepts a leaf whose key is one of the pins, signed with by its holder.
#[derive(Debug)]
struct PinnedNode {
    pins: PinsRef,
    algorithms: WebPkiSupportedAlgorithms,
}

/// [`Pins`] with the `Debug` that rustls asks of a verifier.
struct PinsRef(Arc<Pins>);

impl std::fmt::Debug for PinsRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pins", self.0.nodes().len())
    }
}

impl PinnedNode {
    fn new(pins: Arc<Pins>, provider: &CryptoProvider) -> PinnedNode {
        PinnedNode {
            pins: PinsRef(pins),
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for PinnedNode {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match node_of(leaf) {
            Some(node) if more.is_empty() && self.pins.0.accepts(&node) => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        }
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
