//! For tests: an issuer with keys of its own, and an HTTPS server that answers as an API server does. It stands in for Kubernetes, never for a part of ours.

use super::Config;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::dangerous;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
pub const AUDIENCE: &str = "polykey:6e1f7e0a-cluster";

/// An issuer with one ES256 key.
pub struct TestIssuer {
    key: EcdsaKeyPair,
    pub kid: String,
}

impl TestIssuer {
    pub fn new(kid: &str) -> TestIssuer {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random)
            .unwrap();
        TestIssuer {
            key,
            kid: kid.to_owned(),
        }
    }

    pub fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.kid,
               "x": base64url(&point[1..33]), "y": base64url(&point[33..])})
    }

    pub fn jwks(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "kid": self.kid})
    }

    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let sig = self
            .key
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", base64url(sig.as_ref()))
    }
}

/// `header.payload`, unsigned.
pub fn message(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64url(header.to_string().as_bytes()),
        base64url(claims.to_string().as_bytes())
    )
}

/// A token by an Ed25519 key, and the set with its public half.
pub fn ed25519_token(claims: &Value) -> (String, String) {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap();
    let message = message(&json!({"alg": "EdDSA", "kid": "ed"}), claims);
    let token = format!(
        "{message}.{}",
        base64url(key.sign(message.as_bytes()).as_ref())
    );
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": base64url(key.public_key().as_ref())});
    (token, json!({"keys": [jwk]}).to_string())
}

/// The claims of a projected token of a pod `pod` of `shop:app`, made at `now`.
pub fn claims(now: u64, pod: &str) -> Value {
    claims_of(now, pod, "shop", "app")
}

pub fn claims_of(now: u64, pod: &str, namespace: &str, account: &str) -> Value {
    json!({
        "aud": [AUDIENCE], "iss": ISSUER, "exp": now + 3600, "iat": now, "nbf": now, "jti": "1",
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "kubernetes.io": {
            "namespace": namespace,
            "serviceaccount": {"name": account, "uid": "sa-uid"},
            "pod": {"name": pod, "uid": format!("uid-of-{pod}")},
            "node": {"name": "worker-1", "uid": "node-uid"},
        },
    })
}

pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |w, (i, b)| w | (u32::from(*b) << (16 - 8 * i)));
        for digit in 0..=chunk.len() {
            out.push(char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    out
}

/// How the API server answers a `TokenReview`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Confirm,
    Deny,
    OtherAudience,
    OtherPod,
    Status(u16),
    Rubbish,
    Silence,
}

struct Behaviour {
    answer: Answer,
    keys: (u16, String),
    slow: Duration,
}

/// An API server with two paths.
pub struct ApiServer {
    pub address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    pub reviews: Arc<AtomicUsize>,
    pub key_fetches: Arc<AtomicUsize>,
    task: JoinHandle<()>,
    files: TempDir,
}

impl ApiServer {
    pub async fn start(issuer: &TestIssuer) -> ApiServer {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("ca.crt"), pem(made.cert.der())).unwrap();
        let own = issuer.token(&claims_of(0, "polykey-0", "polykey", "polykey"));
        std::fs::write(files.path().join("token"), own).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into(),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behaviour = Arc::new(Mutex::new(Behaviour {
            answer: Answer::Confirm,
            keys: (200, issuer.jwks()),
            slow: Duration::ZERO,
        }));
        let (reviews, key_fetches) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(
            listener,
            tokio_rustls::TlsAcceptor::from(Arc::new(tls)),
            (behaviour.clone(), reviews.clone(), key_fetches.clone()),
        ));
        ApiServer {
            address,
            behaviour,
            reviews,
            key_fetches,
            task,
            files,
        }
    }

    pub fn config(&self) -> Config {
        let mut config = Config::in_cluster(AUDIENCE.to_owned(), &self.address.to_string());
        config.ca_file = self.files.path().join("ca.crt");
        config.token_file = self.files.path().join("token");
        config
    }

    /// A CA file that has nothing to do with this server.
    pub fn foreign_ca(&self) -> PathBuf {
        let path = self.files.path().join("foreign.crt");
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&path, pem(made.cert.der())).unwrap();
        path
    }

    pub fn answers(&self, answer: Answer) {
        self.behaviour.lock().unwrap().answer = answer;
    }

    /// Each review takes this long.
    pub fn slow(&self, by: Duration) {
        self.behaviour.lock().unwrap().slow = by;
    }

    pub fn has_keys(&self, status: u16, body: &str) {
        self.behaviour.lock().unwrap().keys = (status, body.to_owned());
    }

    pub fn reviews(&self) -> usize {
        self.reviews.load(Ordering::SeqCst)
    }

    pub fn key_fetches(&self) -> usize {
        self.key_fetches.load(Ordering::SeqCst)
    }

    /// Nobody listens any more.
    pub async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pem(der: &[u8]) -> String {
    // Base64 with the standard alphabet and padding.
    let body = base64url(der).replace('-', "+").replace('_', "/");
    let padded = format!("{body}{}", &"==="[..(4 - body.len() % 4) % 4]);
    let lines: Vec<_> = padded
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

type Shared = (Arc<Mutex<Behaviour>>, Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn serve(listener: TcpListener, tls: tokio_rustls::TlsAcceptor, shared: Shared) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, shared) = (tls.clone(), shared.clone());
        open.spawn(async move {
            let Ok(stream) = tls.accept(tcp).await else {
                return;
            };
            let service = hyper::service::service_fn(move |r| answer(r, shared.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    (behaviour, reviews, key_fetches): Shared,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    assert!(
        request.headers()["authorization"]
            .as_bytes()
            .starts_with(b"Bearer e")
    );
    let reply = |status: u16, body: String| {
        let mut r = Response::new(Full::from(body));
        *r.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(r)
    };
    if request.uri().path() == "/openid/v1/jwks" {
        key_fetches.fetch_add(1, Ordering::SeqCst);
        let (status, keys) = behaviour.lock().unwrap().keys.clone();
        return reply(status, keys);
    }
    assert_eq!(
        request.uri().path(),
        "/apis/authentication.k8s.io/v1/tokenreviews"
    );
    reviews.fetch_add(1, Ordering::SeqCst);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let (answer, slow) = {
        let b = behaviour.lock().unwrap();
        (b.answer, b.slow)
    };
    if !slow.is_zero() {
        tokio::time::sleep(slow).await;
    }
    match answer {
        Answer::Silence => std::future::pending().await,
        Answer::Status(status) => reply(status, "{}".to_owned()),
        Answer::Rubbish => reply(201, "<html>".to_owned()),
        Answer::Deny => reply(
            201,
            json!({"status": {"error": "token is not known"}}).to_string(),
        ),
        Answer::Confirm | Answer::OtherAudience | Answer::OtherPod => {
            reply(201, confirmed(&asked, answer).to_string())
        }
    }
}

fn confirmed(asked: &Value, answer: Answer) -> Value {
    let token = asked["spec"]["token"].as_str().unwrap();
    let claims: Value = dangerous::insecure_decode_claims(token).unwrap();
    let audiences = if answer == Answer::OtherAudience {
        json!(["https://kubernetes.default.svc"])
    } else {
        asked["spec"]["audiences"].clone()
    };
    let uid = if answer == Answer::OtherPod {
        json!("another")
    } else {
        claims["kubernetes.io"]["pod"]["uid"].clone()
    };
    json!({"status": {
        "authenticated": true, "audiences": audiences,
        "user": {"username": claims["sub"], "uid": "sa-uid", "groups": ["system:serviceaccounts"],
                 "extra": {"authentication.kubernetes.io/pod-uid": [uid]}},
    }})
}
