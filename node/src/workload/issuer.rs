//! The issuer of the cluster as this node knows it: its name, from the node's own token, and its keys, from the API server, kept in the store so that a node
//! starts with the API server down.

use super::https::{Endpoint, Https, HttpsError, read_small};
use super::keys::{KeySet, KeysError, MAX_KEY_SET};
use super::review::chain;
use super::token::{self, Reason};
use crate::store::{Batch, Store, StoreError, Table};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The least time between two fetches of the keys: a stranger's token with an invented key id costs one request a minute, whatever the stranger does.
pub const REFETCH: Duration = Duration::from_mins(1);
/// How often the keys are fetched without need: as the API server's `Cache-Control: max-age=3600` asks.
const REFRESH: Duration = Duration::from_hours(1);
/// Deadline of a fetch.
const DEADLINE: Duration = Duration::from_secs(5);
/// Waits between the first fetches, while there is no key at all.
const FIRST_WAITS: [u64; 6] = [1, 2, 4, 8, 16, 30];
/// Key of the one row in [`Table::Jwks`].
const ROW: &[u8] = b"keys";

/// Why the keys are not there.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The API server, or a file.
    #[error("cannot fetch the issuer's keys")]
    Fetch(#[source] HttpsError),
    /// The API server refuses to give them.
    #[error("the API server answered {0} when asked for the issuer's keys")]
    Status(StatusCode),
    /// What came is no key set.
    #[error("what the API server gave is no key set; the one before stays")]
    Keys(#[source] KeysError),
    /// The store.
    #[error("cannot keep the issuer's keys")]
    Store(#[source] StoreError),
    /// The node's own token does not name its issuer.
    #[error("{0} holds no token that names its issuer")]
    Unnamed(PathBuf),
}

/// The issuer: name and keys.
pub struct Issuer {
    https: Https,
    token_file: PathBuf,
    configured: Option<String>,
    learned: ArcSwapOption<String>,
    keys: ArcSwapOption<KeySet>,
    last_fetch: Mutex<Option<Instant>>,
    answered: AtomicBool,
    store: Arc<Store>,
}

impl Issuer {
    /// An issuer with the keys that the store has from before, if any.
    pub fn open(
        endpoint: Endpoint,
        configured: Option<String>,
        store: Arc<Store>,
    ) -> Result<Issuer, IssuerError> {
        let kept = store.get(Table::Jwks, ROW).map_err(IssuerError::Store)?;
        let keys = kept
            .and_then(|json| KeySet::parse(&json).ok())
            .map(Arc::new);
        Ok(Issuer {
            token_file: endpoint.token_file.clone(),
            https: Https::new(endpoint).map_err(IssuerError::Fetch)?,
            configured,
            learned: ArcSwapOption::empty(),
            keys: ArcSwapOption::new(keys),
            last_fetch: Mutex::new(None),
            answered: AtomicBool::new(true),
            store,
        })
    }

    /// The name, as configured or as in this node's own token.
    pub async fn name(&self) -> Result<Arc<String>, IssuerError> {
        if let Some(name) = &self.configured {
            return Ok(Arc::new(name.clone()));
        }
        if let Some(name) = self.learned.load_full() {
            return Ok(name);
        }
        self.learn().await
    }

    async fn learn(&self) -> Result<Arc<String>, IssuerError> {
        let token = read_small(&self.token_file, token::MAX_TOKEN as u64)
            .await
            .map_err(IssuerError::Fetch)?;
        let name = std::str::from_utf8(&token)
            .ok()
            .and_then(|t| token::issuer_of(t.trim()));
        let name = Arc::new(name.ok_or_else(|| IssuerError::Unnamed(self.token_file.clone()))?);
        self.learned.store(Some(name.clone()));
        Ok(name)
    }

    /// The keys, one of which has the id `wanted` if the issuer has such a key at all. May fetch them, at most once a minute.
    pub async fn keys_with(&self, wanted: &str) -> Result<Arc<KeySet>, Reason> {
        let known = self.keys.load_full();
        if let Some(keys) = known.filter(|k| k.get(wanted).is_some()) {
            return Ok(keys);
        }
        self.refetch().await;
        self.keys.load_full().ok_or(Reason::NoKeys)
    }

    /// Asks for the keys, at most once a minute, and says whether the last time that was done somebody answered.
    pub async fn reachable(&self) -> bool {
        self.refetch().await;
        self.answered.load(Ordering::Relaxed)
    }

    async fn refetch(&self) {
        let mut last = self.last_fetch.lock().await;
        if last.is_some_and(|at| at.elapsed() < REFETCH) {
            return;
        }
        *last = Some(Instant::now());
        self.fetch_and_report().await;
    }

    async fn fetch_and_report(&self) -> bool {
        let fetched = self.fetch().await;
        let silent = matches!(&fetched, Err(IssuerError::Fetch(e)) if e.unreachable());
        self.answered.store(!silent, Ordering::Relaxed);
        match fetched {
            Ok(count) => {
                tracing::debug!(count, "the issuer's keys are fetched");
                true
            }
            Err(e) => {
                tracing::warn!(error = %chain(&e), "the issuer's keys could not be fetched");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<usize, IssuerError> {
        let (status, json) = self
            .https
            .request(Method::GET, Bytes::new(), MAX_KEY_SET, DEADLINE)
            .await
            .map_err(IssuerError::Fetch)?;
        if !status.is_success() {
            return Err(IssuerError::Status(status));
        }
        let keys = KeySet::parse(&json).map_err(IssuerError::Keys)?;
        let count = keys.count();
        self.keys.store(Some(Arc::new(keys)));
        self.keep(&json).await?;
        Ok(count)
    }

    async fn keep(&self, json: &[u8]) -> Result<(), IssuerError> {
        let before = self
            .store
            .get(Table::Jwks, ROW)
            .map_err(IssuerError::Store)?;
        if before.is_some_and(|b| b.as_slice() == json) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.put(Table::Jwks, ROW, json.to_vec());
        self.store.commit(batch).await.map_err(IssuerError::Store)
    }

    /// Keeps name and keys fresh for as long as it is polled: soon after the start until it once worked, then every hour.
    pub async fn keep_fresh(&self) {
        let mut waits = FIRST_WAITS.into_iter().chain(std::iter::repeat(30));
        loop {
            if self.configured.is_none() {
                // Learned again: an API server may change its issuer's name, and new tokens of this node then have the new one.
                if let Err(e) = self.learn().await {
                    tracing::warn!(error = %chain(&e), "cannot learn the issuer's name");
                }
            }
            // The lock is held while the keys are fetched: who finds a fetch under way waits for its outcome.
            let mut last = self.last_fetch.lock().await;
            *last = Some(Instant::now());
            let fetched = self.fetch_and_report().await;
            drop(last);
            let wait = if fetched {
                REFRESH
            } else {
                Duration::from_secs(waits.next().unwrap_or(30))
            };
            tokio::time::sleep(wait).await;
        }
    }

    #[cfg(test)]
    pub(super) async fn fetch_now(&self) -> Result<usize, IssuerError> {
        self.fetch().await
    }

    #[cfg(test)]
    pub(super) async fn a_minute_passes(&self) {
        *self.last_fetch.lock().await = None;
    }
}
