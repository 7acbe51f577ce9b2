//! `TokenReview`: does the API server still stand behind a token that verifies? It knows what a signature cannot: that the pod or the `ServiceAccount` is gone.
//!
//! One question a token however many ask at once, a positive answer kept for a minute, a negative one not at all, a bounded number of questions in flight.

use super::https::{Endpoint, Https, HttpsError};
use super::token::{Identity, Reason};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

/// How long "yes" is believed.
pub const KEEP_POSITIVE: Duration = Duration::from_mins(1);
/// The most questions at once: what an API server answers in about 50 ms.
pub const MAX_IN_FLIGHT: usize = 32;
/// When an answer counts as not given.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// How long a question may wait for its turn: a thousand pods that reconnect at once are reviewed in two seconds.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The most answers that are kept: every pod of the largest cluster that this is built for. Each is about 100 bytes.
const MAX_KEPT: usize = 20_000;
/// The largest answer, in bytes: the token comes back in it, with a few hundred bytes about its user.
const MAX_ANSWER: usize = 64 << 10;

/// What came of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The API server stands behind the token.
    Confirmed,
    /// It does not; final.
    Refused(Reason),
    /// Nobody answers: the token stands on its signature until somebody does.
    Unreachable,
}

/// Asks the API server about tokens.
pub struct Reviewer {
    https: Https,
    audience: String,
    turns: Semaphore,
    tokens: Mutex<HashMap<TokenHash, Review>>,
    silent: Mutex<Silence>,
    observe: Box<dyn Fn(Duration) + Send + Sync>,
}

/// Whether the API server was there when it was last asked.
#[derive(Default)]
struct Silence {
    /// The last answer was none.
    now: bool,
    /// When the last question without an answer ended.
    last: Option<Instant>,
}

/// SHA-256 of a token: the token itself is never kept.
type TokenHash = [u8; 32];

enum Review {
    Asking(watch::Receiver<Option<Verdict>>),
    Confirmed(Instant),
}

impl Reviewer {
    /// A reviewer of tokens for `audience`. `observe` is told how long each answer took.
    pub fn new(
        endpoint: Endpoint,
        audience: String,
        observe: impl Fn(Duration) + Send + Sync + 'static,
    ) -> Result<Arc<Reviewer>, HttpsError> {
        Ok(Arc::new(Reviewer {
            https: Https::new(endpoint)?,
            audience,
            turns: Semaphore::new(MAX_IN_FLIGHT),
            tokens: Mutex::new(HashMap::new()),
            silent: Mutex::default(),
            observe: Box::new(observe),
        }))
    }

    /// What the API server says of a token that verified as `identity`.
    pub async fn review(self: &Arc<Self>, token: &str, identity: &Identity) -> Verdict {
        let hash = hash(token);
        let mut answer = match self.join(hash, token, identity) {
            Err(known) => return known,
            Ok(answer) => answer,
        };
        let verdict = match answer.wait_for(Option::is_some).await {
            Ok(verdict) => *verdict,
            Err(_) => None,
        };
        verdict.unwrap_or(Verdict::Refused(Reason::Busy))
    }

    /// The answer that is kept, or the one that somebody is asking for already, or a new question. It is asked by a task of its own, so that a caller who goes away
    /// takes nobody's answer along.
    fn join(
        self: &Arc<Self>,
        hash: TokenHash,
        token: &str,
        identity: &Identity,
    ) -> Result<watch::Receiver<Option<Verdict>>, Verdict> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        match tokens.get(&hash) {
            Some(Review::Confirmed(at)) if at.elapsed() < KEEP_POSITIVE => {
                return Err(Verdict::Confirmed);
            }
            Some(Review::Asking(answer)) => return Ok(answer.clone()),
            _ => {}
        }
        if tokens.len() >= MAX_KEPT {
            tokens.retain(|_, r| match r {
                Review::Asking(_) => true,
                Review::Confirmed(at) => at.elapsed() < KEEP_POSITIVE,
            });
            if tokens.len() >= MAX_KEPT {
                return Err(Verdict::Refused(Reason::Busy));
            }
        }
        let (tell, answer) = watch::channel(None);
        tokens.insert(hash, Review::Asking(answer.clone()));
        let (me, token, identity) = (
            self.clone(),
            Zeroizing::new(token.to_owned()),
            identity.clone(),
        );
        tokio::spawn(async move {
            let verdict = me.ask_in_turn(&token, &identity).await;
            me.settle(hash, verdict);
            tell.send_replace(Some(verdict));
        });
        Ok(answer)
    }

    fn settle(&self, hash: TokenHash, verdict: Verdict) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if verdict == Verdict::Confirmed {
            tokens.insert(hash, Review::Confirmed(Instant::now()));
        } else {
            tokens.remove(&hash);
        }
    }

    /// True while the API server does not answer.
    #[must_use]
    pub fn offline(&self) -> bool {
        self.silence().now
    }

    fn silence(&self) -> std::sync::MutexGuard<'_, Silence> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_in_turn(&self, token: &str, identity: &Identity) -> Verdict {
        let asked = Instant::now();
        let Ok(Ok(_turn)) = tokio::time::timeout(MAX_WAIT, self.turns.acquire()).await else {
            return Verdict::Refused(Reason::Busy);
        };
        if self.silence().last.is_some_and(|at| at >= asked) {
            // Somebody waited in vain while this one waited for its turn: a thousand questions do not each wait for the same silence.
            return Verdict::Unreachable;
        }
        let verdict = self.ask(token, identity).await;
        let mut silence = self.silence();
        silence.now = verdict == Verdict::Unreachable;
        if silence.now {
            silence.last = Some(Instant::now());
        }
        verdict
    }

    async fn ask(&self, token: &str, identity: &Identity) -> Verdict {
        let start = Instant::now();
        let answer = self
            .https
            .request(
                Method::POST,
                question(token, &self.audience),
                MAX_ANSWER,
                DEADLINE,
            )
            .await;
        (self.observe)(start.elapsed());
        match answer {
            Ok((status, body)) => judge(status, &body, &self.audience, identity),
            Err(e) if e.unreachable() => {
                tracing::warn!(error = %chain(&e), "cannot review a token; it stands on its signature");
                Verdict::Unreachable
            }
            Err(e) => {
                tracing::error!(error = %chain(&e), "this node cannot review tokens");
                Verdict::Refused(Reason::ReviewForbidden)
            }
        }
    }
}

fn question(token: &str, audience: &str) -> Bytes {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    });
    Bytes::from(review.to_string())
}

/// What an answer means. The only downgrade is "the API server cannot answer now"; everything that this node got wrong is refused.
fn judge(status: StatusCode, body: &[u8], audience: &str, identity: &Identity) -> Verdict {
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Verdict::Unreachable;
    }
    if !status.is_success() {
        tracing::error!(%status, "the API server does not let this node review tokens");
        return Verdict::Refused(Reason::ReviewForbidden);
    }
    let Ok(Answer {
        status: Some(answer),
    }) = serde_json::from_slice::<Answer>(body)
    else {
        tracing::error!("the answer to a TokenReview is none");
        return Verdict::Refused(Reason::ReviewForbidden);
    };
    judge_status(&answer, audience, identity)
}

fn judge_status(answer: &Status, audience: &str, identity: &Identity) -> Verdict {
    if !answer.authenticated {
        return Verdict::Refused(Reason::ReviewDenied);
    }
    if !answer.audiences.iter().any(|a| a == audience) {
        return Verdict::Refused(Reason::ReviewAudience);
    }
    let user = answer.user.as_ref();
    let uid = user.and_then(|u| u.extra.get("authentication.kubernetes.io/pod-uid"));
    let name = format!(
        "system:serviceaccount:{}:{}",
        identity.namespace, identity.service_account
    );
    match (user, uid.map(Vec::as_slice)) {
        (Some(user), Some([uid])) if *uid == identity.pod_uid && user.username == name => {
            Verdict::Confirmed
        }
        _ => Verdict::Refused(Reason::ReviewPod),
    }
}

fn hash(token: &str) -> TokenHash {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// An error with all its sources, on one line.
pub(super) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        text.push_str(": ");
        text.push_str(&s.to_string());
        source = s.source();
    }
    text
}

#[derive(Deserialize)]
struct Answer {
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    authenticated: bool,
    #[serde(default)]
    audiences: Vec<String>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: HashMap<String, Vec<String>>,
}
