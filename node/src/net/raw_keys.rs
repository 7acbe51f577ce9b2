//! TLS 1.3 in which each end is its raw Ed25519 public key (RFC 7250): no certificates, no names, no resumption, no early data.
//!
//! A handshake proves who is there. Whether that node is welcome is never decided here.

use polykey_core::ids::NodeId;
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The protocol and its version, agreed in the handshake.
const ALPN: &[u8] = b"polykey/1";
/// PKCS#8 v1 before the 32 bytes of an Ed25519 seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// `SubjectPublicKeyInfo` before the 32 bytes of an Ed25519 public key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What a node offers to those who dial it.
pub(super) fn server(seed: &[u8; 32]) -> Result<ServerConfig, Error> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(AnyNode::new(&provider))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key(seed)?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// What a node offers to those it dials.
pub(super) fn client(seed: &[u8; 32]) -> Result<ClientConfig, Error> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(AnyNode::new(&provider))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key(seed)?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The node whose key this is, if it is one Ed25519 key in the one encoding it has.
pub(super) fn node_id(spki: &[u8]) -> Option<NodeId> {
    let key: [u8; 32] = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    Some(NodeId::from(key))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn key(seed: &[u8; 32]) -> Result<Arc<CertifiedKey>, Error> {
    let der = Zeroizing::new([&PKCS8_PREFIX[..], seed].concat());
    let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&der[..]))?;
    let spki = key
        .public_key()
        .ok_or_else(|| Error::General("the key has no public half".into()))?;
    let spki = CertificateDer::from(spki.to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![spki], key)))
}

/// Accepts every node that proves to hold its key.
#[derive(Debug)]
struct AnyNode(WebPkiSupportedAlgorithms);

impl AnyNode {
    fn new(provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(AnyNode(provider.signature_verification_algorithms))
    }

    fn signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signature, &self.0)
    }
}

fn one_key(spki: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
    match node_id(spki) {
        Some(_) if more.is_empty() => Ok(()),
        _ => Err(Error::General("not one Ed25519 key".into())),
    }
}

fn only_tls13() -> Error {
    Error::General("TLS 1.3 only".into())
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        spki: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        one_key(spki, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, spki, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        spki: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        one_key(spki, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, spki, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
