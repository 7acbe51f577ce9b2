//! A small HTTPS client for the API server: one host, one certificate authority from a file, the pod's own token, a few connections kept open.
//!
//! It never follows a redirect, never looks at a proxy setting and never reads more than it was told to.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Connections kept open between requests: as many as an API server answers at its best rate.
const MAX_IDLE: usize = 8;
/// The largest CA file, in bytes: a bundle of a hundred certificates.
const MAX_CA_FILE: u64 = 256 << 10;

/// What failed. The difference that matters is between "nobody answers" and everything else: see [`HttpsError::unreachable`].
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// Not `https://host[:port]/path`.
    #[error("not a usable https address: {0}")]
    Address(String),
    /// A file that the node needs for itself.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The CA file holds no certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    /// TLS could not be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    /// The server's certificate is not by the CA in the file, or not for this host.
    #[error("the API server's certificate was refused")]
    Certificate(#[source] std::io::Error),
    /// No TCP connection, or it broke.
    #[error("cannot reach the API server")]
    Connect(#[source] std::io::Error),
    /// The exchange broke off.
    #[error("the exchange with the API server broke off")]
    Exchange(#[source] hyper::Error),
    /// The request could not be written.
    #[error("cannot write the request")]
    Request(#[source] hyper::http::Error),
    /// The answer is too long, or broke off.
    #[error("the answer of the API server broke off or is over its limit")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the API server did not answer in {0:?}")]
    Timeout(Duration),
}

impl HttpsError {
    /// True when the API server may be down, so that asking again later may help. A refused certificate or an unreadable file is a fault of the installation.
    #[must_use]
    pub fn unreachable(&self) -> bool {
        matches!(
            self,
            HttpsError::Connect(_)
                | HttpsError::Exchange(_)
                | HttpsError::Answer(_)
                | HttpsError::Timeout(_)
        )
    }
}

/// Where a request goes, and as whom.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://host[:port]/path`.
    pub url: String,
    /// PEM file of the certificate authority.
    pub ca_file: PathBuf,
    /// File with the bearer token of this node, read for every request: the kubelet renews it.
    pub token_file: PathBuf,
}

/// A client for one endpoint.
pub struct Https {
    endpoint: Endpoint,
    host: ServerName<'static>,
    authority: String,
    port: u16,
    path: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Https {
    /// Reads the address; nothing is opened yet.
    pub fn new(endpoint: Endpoint) -> Result<Https, HttpsError> {
        let bad = || HttpsError::Address(endpoint.url.clone());
        let uri: Uri = endpoint.url.parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("https") {
            return Err(bad());
        }
        let authority = uri.authority().ok_or_else(bad)?.as_str().to_owned();
        let bare = uri
            .host()
            .ok_or_else(bad)?
            .trim_start_matches('[')
            .trim_end_matches(']');
        let host = ServerName::try_from(bare.to_owned()).map_err(|_| bad())?;
        Ok(Https {
            host,
            authority,
            port: uri.port_u16().unwrap_or(443),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
            endpoint,
            idle: Mutex::new(Vec::new()),
        })
    }

    /// One request and the whole answer, of at most `limit` bytes, within `deadline`.
    pub async fn request(
        &self,
        method: Method,
        body: Bytes,
        limit: usize,
        deadline: Duration,
    ) -> Result<(StatusCode, Bytes), HttpsError> {
        tokio::time::timeout(deadline, self.exchange(method, body, limit))
            .await
            .unwrap_or(Err(HttpsError::Timeout(deadline)))
    }

    async fn exchange(
        &self,
        method: Method,
        body: Bytes,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), HttpsError> {
        let token = read_small(&self.endpoint.token_file, super::token::MAX_TOKEN as u64).await?;
        let token = std::str::from_utf8(&token).unwrap_or_default().trim();
        while let Some(mut kept) = self.take_idle() {
            // A kept connection may have been closed by the other end a moment ago; a new one then decides.
            let request = self.write(&method, body.clone(), token)?;
            if let Ok(answer) = kept.send_request(request).await {
                return self.read(kept, answer, limit).await;
            }
        }
        let mut fresh = self.connect().await?;
        let request = self.write(&method, body, token)?;
        let answer = fresh
            .send_request(request)
            .await
            .map_err(HttpsError::Exchange)?;
        self.read(fresh, answer, limit).await
    }

    fn write(
        &self,
        method: &Method,
        body: Bytes,
        token: &str,
    ) -> Result<Request<Full<Bytes>>, HttpsError> {
        let bearer = Zeroizing::new(format!("Bearer {token}"));
        let mut value = hyper::header::HeaderValue::from_str(&bearer)
            .map_err(|e| HttpsError::Request(e.into()))?;
        value.set_sensitive(true);
        Request::builder()
            .method(method.clone())
            .uri(&self.path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("accept", "application/json, application/jwk-set+json")
            .header("authorization", value)
            .body(Full::from(body))
            .map_err(HttpsError::Request)
    }

    async fn read(
        &self,
        sender: SendRequest<Full<Bytes>>,
        answer: hyper::Response<hyper::body::Incoming>,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), HttpsError> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), limit)
            .collect()
            .await
            .map_err(HttpsError::Answer)?;
        self.keep(sender);
        Ok((status, body.to_bytes()))
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(SendRequest::is_ready)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE && !sender.is_closed() {
            idle.push(sender);
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpsError> {
        // The CA is read again for each connection: it may be rotated while the node runs.
        let tls = tls_config(&self.endpoint.ca_file).await?;
        let address = match &self.host {
            ServerName::DnsName(name) => name.as_ref().to_owned(),
            ServerName::IpAddress(ip) => std::net::IpAddr::from(*ip).to_string(),
            _ => return Err(HttpsError::Address(self.endpoint.url.clone())),
        };
        let tcp = TcpStream::connect((address.as_str(), self.port))
            .await
            .map_err(HttpsError::Connect)?;
        tcp.set_nodelay(true).map_err(HttpsError::Connect)?;
        let stream = tokio_rustls::TlsConnector::from(tls)
            .connect(self.host.clone(), tcp)
            .await
            .map_err(handshake_failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(HttpsError::Exchange)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// A certificate that does not verify is a fault of the installation or an attack; a connection that breaks is an outage.
fn handshake_failed(e: std::io::Error) -> HttpsError {
    let refused = e
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some();
    if refused {
        HttpsError::Certificate(e)
    } else {
        HttpsError::Connect(e)
    }
}

async fn tls_config(ca_file: &Path) -> Result<Arc<ClientConfig>, HttpsError> {
    let pem = read_small(ca_file, MAX_CA_FILE).await?;
    let mut roots = RootCertStore::empty();
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(HttpsError::NoCertificate(ca_file.to_path_buf()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(HttpsError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Reads a file of at most `limit` bytes.
pub(super) async fn read_small(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, HttpsError> {
    let failed = |source| HttpsError::File {
        path: path.to_path_buf(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(failed(std::io::Error::other("the file is over its limit")));
    }
    Ok(bytes)
}
