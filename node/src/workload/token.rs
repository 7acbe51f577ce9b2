//! The rule by which a workload's token is believed, as a function of the token, the issuer's keys and the time. No network, no clock: whether the pod still
//! exists is asked afterwards, of the API server (`review`).
//!
//! Every step refuses with its own [`Reason`], for metrics and the log. Outwards all of them are one and the same answer.

use super::keys::KeySet;
use jsonwebtoken::{Algorithm, Header, Validation, dangerous};
use serde::Deserialize;
use std::fmt;

/// The longest token, in bytes. A projected token of Kubernetes has about 1,050; names and uids of the longest kind make it 2,500.
pub const MAX_TOKEN: usize = 8 << 10;
/// The longest time between `iat` and `exp` of a token, in seconds: the 3,600 that sidecars ask for, and room for a clock that ticks in between. A token made by
/// hand for days is refused.
pub const MAX_LIFETIME: u64 = 3_700;
/// How far two clocks may be apart, in seconds.
pub const SKEW: u64 = 30;

/// What issuers sign with. Never `none`, never a shared secret.
const ALLOWED: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Why a token was refused: the label `reason` of `polykey_workload_auth_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No `Authorization: Bearer` header, or more than one.
    Missing,
    /// Over [`MAX_TOKEN`].
    TooLarge,
    /// Not three parts of base64url, or not the JSON that it must be.
    Malformed,
    /// An algorithm that is not allowed: `none`, a shared secret, or one that no issuer uses.
    Algorithm,
    /// The header has no `kid`.
    NoKeyId,
    /// Another issuer.
    Issuer,
    /// The issuer has no key of this id.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// Not exactly one audience, ours.
    Audience,
    /// `exp` is past.
    Expired,
    /// `nbf` or `iat` is ahead.
    NotYet,
    /// Valid for longer than [`MAX_LIFETIME`].
    Lifetime,
    /// Not bound to a pod.
    NotPodBound,
    /// `sub` is not the `ServiceAccount` of the other claims.
    Subject,
    /// The API server does not know the token (any more): its pod or `ServiceAccount` is gone.
    ReviewDenied,
    /// The API server vouches for another audience.
    ReviewAudience,
    /// The API server vouches for another pod.
    ReviewPod,
    /// The API server does not let this node review tokens. A fault of the installation, answered with 503.
    ReviewForbidden,
    /// More reviews wait than this node makes at once. Answered with 503.
    Busy,
    /// No keys of the issuer are known yet. Answered with 503.
    NoKeys,
    /// This node takes no workloads: it has no audience.
    Off,
    /// The same token came with another client key, from another address.
    Reuse,
}

impl Reason {
    /// All, for metrics that start at zero.
    pub const ALL: [Reason; 22] = [
        Reason::Missing,
        Reason::TooLarge,
        Reason::Malformed,
        Reason::Algorithm,
        Reason::NoKeyId,
        Reason::Issuer,
        Reason::UnknownKey,
        Reason::Signature,
        Reason::Audience,
        Reason::Expired,
        Reason::NotYet,
        Reason::Lifetime,
        Reason::NotPodBound,
        Reason::Subject,
        Reason::ReviewDenied,
        Reason::ReviewAudience,
        Reason::ReviewPod,
        Reason::ReviewForbidden,
        Reason::Busy,
        Reason::NoKeys,
        Reason::Off,
        Reason::Reuse,
    ];

    /// The label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::TooLarge => "too_large",
            Reason::Malformed => "malformed",
            Reason::Algorithm => "algorithm",
            Reason::NoKeyId => "no_key_id",
            Reason::Issuer => "issuer",
            Reason::UnknownKey => "unknown_key",
            Reason::Signature => "signature",
            Reason::Audience => "audience",
            Reason::Expired => "expired",
            Reason::NotYet => "not_yet",
            Reason::Lifetime => "lifetime",
            Reason::NotPodBound => "not_pod_bound",
            Reason::Subject => "subject",
            Reason::ReviewDenied => "review_denied",
            Reason::ReviewAudience => "review_audience",
            Reason::ReviewPod => "review_pod",
            Reason::ReviewForbidden => "review_forbidden",
            Reason::Busy => "busy",
            Reason::NoKeys => "no_keys",
            Reason::Off => "off",
            Reason::Reuse => "reuse",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Who a token says its bearer is, once it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of the pod.
    pub namespace: String,
    /// Its `ServiceAccount`.
    pub service_account: String,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
    /// The Kubernetes node that it runs on, when the token says so.
    pub kubernetes_node: Option<String>,
    /// When the token ends, unix seconds.
    pub expires: u64,
}

impl Identity {
    /// `namespace:serviceaccount`, as rules name it.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("{}:{}", self.namespace, self.service_account)
    }
}

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The issuer of the cluster.
    pub issuer: &'a str,
    /// The one audience.
    pub audience: &'a str,
    /// Unix seconds.
    pub now: u64,
}

/// What can be read of a token before it is believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Which key signed it, as it says.
    pub key_id: String,
    algorithm: Algorithm,
}

/// Reads which key a token asks for, and refuses what no key could help: oversized, malformed, of a forbidden algorithm or of another issuer. So rubbish makes
/// nobody fetch keys.
pub fn peek(token: &str, issuer: &str) -> Result<Peeked, Reason> {
    if token.len() > MAX_TOKEN {
        return Err(Reason::TooLarge);
    }
    let head = header(token)?;
    if head.crit.is_some() {
        return Err(Reason::Malformed);
    }
    let key_id = head.kid.filter(|k| !k.is_empty()).ok_or(Reason::NoKeyId)?;
    let says: Issuer = dangerous::insecure_decode_claims(token).map_err(|_| Reason::Malformed)?;
    if says.iss != issuer {
        return Err(Reason::Issuer);
    }
    Ok(Peeked {
        key_id,
        algorithm: head.alg,
    })
}

/// The issuer that a token names, unverified. For this node's own token only, which the kubelet put into its file.
#[must_use]
pub fn issuer_of(token: &str) -> Option<String> {
    let says: Issuer = dangerous::insecure_decode_claims(token).ok()?;
    Some(says.iss)
}

/// Believes a token or says which step refused it.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Identity, Reason> {
    let peeked = peek(token, expected.issuer)?;
    let key = keys.get(&peeked.key_id).ok_or(Reason::UnknownKey)?;
    let claims = signed_claims(token, key, peeked.algorithm)?;
    check_audience(&claims, expected.audience)?;
    check_times(&claims, expected.now)?;
    identity(claims)
}

/// The header of a token with an algorithm that is allowed. Its `jku`, `jwk`, `x5u` and `x5c` are never looked at: a token does not bring its own key.
fn header(token: &str) -> Result<Header, Reason> {
    match jsonwebtoken::decode_header(token) {
        Ok(head) if ALLOWED.contains(&head.alg) => Ok(head),
        Ok(_) => Err(Reason::Algorithm),
        Err(_) if names_unknown_algorithm(token) => Err(Reason::Algorithm),
        Err(_) => Err(Reason::Malformed),
    }
}

/// True when a header is JSON whose `alg` is a text that jsonwebtoken has no name for, such as `none`.
fn names_unknown_algorithm(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Any {
        #[serde(rename = "alg")]
        _alg: String,
    }
    let Some((header, _)) = token.split_once('.') else {
        return false;
    };
    // A payload is decoded in the same way as a header, so a header is read by putting it into a payload's place (`e30` is `{}`).
    dangerous::insecure_decode_claims::<Any>(format!("e30.{header}.")).is_ok()
}

fn signed_claims(
    token: &str,
    key: &jsonwebtoken::DecodingKey,
    algorithm: Algorithm,
) -> Result<Claims, Reason> {
    super::keys::install_verifier();
    let mut signature_only = Validation::new(algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    jsonwebtoken::decode::<Claims>(token, key, &signature_only)
        .map(|data| data.claims)
        .map_err(|e| match e.kind() {
            jsonwebtoken::errors::ErrorKind::Json(_) => Reason::Malformed,
            _ => Reason::Signature,
        })
}

fn check_audience(claims: &Claims, ours: &str) -> Result<(), Reason> {
    match claims.aud.as_slice() {
        [one] if one == ours => Ok(()),
        _ => Err(Reason::Audience),
    }
}

fn check_times(claims: &Claims, now: u64) -> Result<(), Reason> {
    if claims.exp.saturating_add(SKEW) <= now {
        return Err(Reason::Expired);
    }
    if claims.iat.max(claims.nbf.unwrap_or(0)) > now.saturating_add(SKEW) {
        return Err(Reason::NotYet);
    }
    if claims.exp.saturating_sub(claims.iat) > MAX_LIFETIME {
        return Err(Reason::Lifetime);
    }
    Ok(())
}

fn identity(claims: Claims) -> Result<Identity, Reason> {
    let kubernetes = claims.kubernetes.ok_or(Reason::NotPodBound)?;
    let pod = kubernetes
        .pod
        .filter(|p| !p.name.is_empty() && !p.uid.is_empty())
        .ok_or(Reason::NotPodBound)?;
    let account = kubernetes.serviceaccount.ok_or(Reason::Subject)?;
    let subject = format!(
        "system:serviceaccount:{}:{}",
        kubernetes.namespace, account.name
    );
    if claims.sub != subject || kubernetes.namespace.is_empty() || account.name.is_empty() {
        return Err(Reason::Subject);
    }
    Ok(Identity {
        namespace: kubernetes.namespace,
        service_account: account.name,
        pod: pod.name,
        pod_uid: pod.uid,
        kubernetes_node: kubernetes.node.map(|n| n.name),
        expires: claims.exp,
    })
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// The claims of a projected token.
#[derive(Deserialize)]
struct Claims {
    #[serde(deserialize_with = "one_or_many")]
    aud: Vec<String>,
    exp: u64,
    iat: u64,
    #[serde(default)]
    nbf: Option<u64>,
    sub: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Option<Named>,
    pod: Option<Named>,
    node: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    uid: String,
}

/// RFC 7519 lets `aud` be one text or a list of them.
fn one_or_many<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(d)? {
        Audience::One(a) => vec![a],
        Audience::Many(all) => all,
    })
}
