//! An issuer of workload tokens where no Kubernetes is: an Ed25519 key of its own, its key set over HTTPS, and tokens in the shape of a pod's projected token.
//! It stands in for the API server, never for a part of Polykey.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// What tokens name as their issuer. Nobody dials it: the node is told where the keys are.
pub const ISSUER: &str = "https://issuer.invalid";
/// Uid of the cluster that there is not.
pub const CLUSTER: &str = "no-cluster";
const KEY_ID: &str = "one";
/// The key of the issuer: it guards nothing but a test's own node.
const SEED: [u8; 32] = [0x15; 32];
/// Seconds that a token lives: a node refuses what lives much longer than an hour.
const LIFETIME: u64 = 3_600;
/// A client that says nothing for this long is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running issuer. Its server lives as long as the process.
pub struct Issuer {
    key: SigningKey,
    address: SocketAddr,
    files: TempDir,
}

impl Issuer {
    /// Starts the server.
    ///
    /// # Errors
    /// When the certificate cannot be made or no port is free.
    pub fn start() -> Result<Issuer> {
        let key = SigningKey::from_bytes(&SEED);
        let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        let files = tempfile::Builder::new()
            .prefix("polykey-issuer-")
            .tempdir()?;
        std::fs::write(files.path().join("ca.crt"), own.cert.pem())?;
        let private = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let tls =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![own.cert.der().clone()], private.into())?;
        let listener = TcpListener::bind("127.0.0.1:0").context("no port for the issuer")?;
        let issuer = Issuer {
            key,
            address: listener.local_addr()?,
            files,
        };
        std::fs::write(
            issuer.files.path().join("token"),
            issuer.token("polykey", "polykey", "polykey-0")?,
        )?;
        let (keys, tls) = (issuer.keys(), Arc::new(tls));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A broken request is the client's to report.
                answer(stream, &tls, &keys).ok();
            }
        });
        Ok(issuer)
    }

    /// The options of `polykey agent start` that make a node believe this issuer.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let file = |name: &str| self.files.path().join(name).display().to_string();
        let audience = format!("polykey:{CLUSTER}");
        let keys = format!("https://{}/keys", self.address);
        let (ca, token) = (file("ca.crt"), file("token"));
        [
            ["--audience", &audience],
            ["--issuer", ISSUER],
            ["--jwks-url", &keys],
            ["--review", "off"],
            ["--kube-ca-file", &ca],
            ["--kube-token-file", &token],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }

    /// A token of a pod, an hour long from now.
    ///
    /// # Errors
    /// When the clock stands before 1970.
    pub fn token(&self, namespace: &str, account: &str, pod: &str) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let header = json!({"alg": "EdDSA", "kid": KEY_ID, "typ": "JWT"});
        let claims = json!({
            "aud": [format!("polykey:{CLUSTER}")], "iss": ISSUER, "iat": now, "nbf": now, "exp": now + LIFETIME,
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": account, "uid": "account-uid"},
                "pod": {"name": pod, "uid": format!("uid-of-{pod}")},
            },
        });
        let message = format!(
            "{}.{}",
            encode(header.to_string()),
            encode(claims.to_string())
        );
        let signature = self.key.sign(message.as_bytes());
        Ok(format!("{message}.{}", encode(signature.to_bytes())))
    }

    fn keys(&self) -> String {
        let public = encode(self.key.verifying_key().to_bytes());
        json!({"keys": [{"kty": "OKP", "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "kid": KEY_ID, "x": public}]}).to_string()
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Answers one request with the key set, whatever it asks for.
fn answer(stream: TcpStream, tls: &Arc<ServerConfig>, keys: &str) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(tls.clone())?, stream);
    let (mut request, mut part) = (Vec::new(), [0; 1_024]);
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = stream.read(&mut part)?;
        anyhow::ensure!(read > 0 && request.len() < 64 << 10, "no request");
        request.extend_from_slice(&part[..read]);
    }
    let length = keys.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/jwk-set+json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{keys}"
    )?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}
