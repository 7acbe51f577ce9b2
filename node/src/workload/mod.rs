//! Who is a workload: a projected token of Kubernetes, believed by its signature (`token`), then by the API server's word (`review`).
//!
//! Nothing here knows what a workload may read. Any issuer of `OpenID` tokens works in the same way without a review address.

mod https;
mod issuer;
mod keys;
mod review;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod token;

pub use https::HttpsError;
pub use issuer::IssuerError;
pub use keys::{KeySet, KeysError};
pub use token::{Expected, Identity, MAX_LIFETIME, MAX_TOKEN, Reason, verify};

use crate::metrics::Metrics;
use crate::store::Store;
use https::Endpoint;
use issuer::Issuer;
use review::{Reviewer, Verdict};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a pod finds its own token and the CA of its API server.
const POD_FILES: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The one audience of our tokens: `polykey:<cluster uid>`.
    pub audience: String,
    /// The issuer; learned from this node's own token when absent.
    pub issuer: Option<String>,
    /// Where the issuer's keys are.
    pub jwks_url: String,
    /// Where tokens are reviewed; `None` leaves it at the signature.
    pub review_url: Option<String>,
    /// CA of both addresses.
    pub ca_file: PathBuf,
    /// This node's own token.
    pub token_file: PathBuf,
}

impl Config {
    /// The configuration of a pod with its API server at `host` (`$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT`).
    ///
    /// The keys are taken from the API server itself and not from the `jwks_uri` that it names: that may be an address outside the cluster's network.
    #[must_use]
    pub fn in_cluster(audience: String, host: &str) -> Config {
        Config {
            audience,
            issuer: None,
            jwks_url: format!("https://{host}/openid/v1/jwks"),
            review_url: Some(format!(
                "https://{host}/apis/authentication.k8s.io/v1/tokenreviews"
            )),
            ca_file: format!("{POD_FILES}/ca.crt").into(),
            token_file: format!("{POD_FILES}/token").into(),
        }
    }
}

/// What stands behind a workload's identity: the label `mode` of `polykey_workload_auth_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Signature and the API server's word.
    Review,
    /// The signature alone, since the API server does not answer.
    Offline,
    /// The signature alone, as configured.
    Jwks,
}

impl Mode {
    /// All, for metrics that start at zero.
    pub const ALL: [Mode; 3] = [Mode::Review, Mode::Offline, Mode::Jwks];

    /// The label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Mode::Review => "review",
            Mode::Offline => "offline",
            Mode::Jwks => "jwks",
        }
    }
}

/// A workload whose token is believed.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Who.
    pub identity: Identity,
    /// Why.
    pub mode: Mode,
}

/// What the API server says about a token that was believed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It is there, and stands behind the token.
    Confirmed,
    /// It is there, and does not.
    Refused,
    /// It does not answer.
    Unreachable,
}

/// What verifies tokens. Cheap to clone a handle of (`Arc`).
pub struct Workloads {
    config: Config,
    issuer: Issuer,
    reviewer: Option<Arc<Reviewer>>,
    metrics: Arc<Metrics>,
}

impl Workloads {
    /// Sets up, with the keys known from before; nothing is asked of anybody yet.
    pub fn open(
        config: Config,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Workloads>, IssuerError> {
        let endpoint = |url: &str| Endpoint {
            url: url.to_owned(),
            ca_file: config.ca_file.clone(),
            token_file: config.token_file.clone(),
        };
        let issuer = Issuer::open(endpoint(&config.jwks_url), config.issuer.clone(), store)?;
        let seconds = metrics.clone();
        let reviewer = config.review_url.as_deref().map(|url| {
            Reviewer::new(endpoint(url), config.audience.clone(), move |t| {
                seconds.token_review(t);
            })
        });
        let reviewer = reviewer.transpose().map_err(IssuerError::Fetch)?;
        Ok(Arc::new(Workloads {
            config,
            issuer,
            reviewer,
            metrics,
        }))
    }

    /// Keeps the issuer's name and keys fresh; ends never.
    pub async fn keep_fresh(&self) {
        self.issuer.keep_fresh().await;
    }

    /// True while the API server does not answer reviews.
    #[must_use]
    pub fn offline(&self) -> bool {
        self.reviewer.as_ref().is_some_and(|r| r.offline())
    }

    /// Asks the API server again about a token that was believed before. An open watch does so when its time is up, and now and then while it stands on a signature
    /// alone.
    pub async fn ask_again(&self, token: &str, identity: &Identity) -> Again {
        let Some(reviewer) = &self.reviewer else {
            return if self.issuer.reachable().await {
                Again::Confirmed
            } else {
                Again::Unreachable
            };
        };
        match reviewer.review(token, identity).await {
            Verdict::Confirmed => Again::Confirmed,
            Verdict::Unreachable | Verdict::Refused(Reason::Busy) => Again::Unreachable,
            Verdict::Refused(_) => Again::Refused,
        }
    }

    /// The one audience of our tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.config.audience
    }

    /// Who bears this token, or which step refused it. Counted.
    pub async fn authenticate(&self, token: &str) -> Result<Workload, Reason> {
        let outcome = self.believe(token).await;
        let mode = match &outcome {
            Ok(workload) => workload.mode,
            Err(_) => self.usual_mode(),
        };
        self.metrics
            .workload_auth(outcome.as_ref().err().copied(), mode);
        outcome
    }

    async fn believe(&self, token: &str) -> Result<Workload, Reason> {
        let issuer = self.issuer.name().await.map_err(|e| {
            tracing::error!(error = %review::chain(&e), "the issuer's name is not known");
            Reason::NoKeys
        })?;
        let wanted = token::peek(token, &issuer)?;
        let keys = self.issuer.keys_with(&wanted.key_id).await?;
        let expected = Expected {
            issuer: &issuer,
            audience: &self.config.audience,
            now: unix_now(),
        };
        let identity = token::verify(token, &keys, &expected)?;
        let mode = self.confirm(token, &identity).await?;
        Ok(Workload { identity, mode })
    }

    async fn confirm(&self, token: &str, identity: &Identity) -> Result<Mode, Reason> {
        let Some(reviewer) = &self.reviewer else {
            return Ok(Mode::Jwks);
        };
        match reviewer.review(token, identity).await {
            Verdict::Confirmed => Ok(Mode::Review),
            Verdict::Unreachable => Ok(Mode::Offline),
            Verdict::Refused(reason) => Err(reason),
        }
    }

    /// What an accepted token stands on while all is well.
    #[must_use]
    pub fn usual_mode(&self) -> Mode {
        if self.reviewer.is_some() {
            Mode::Review
        } else {
            Mode::Jwks
        }
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
