//! One open stream to each replica: its table of consumers, again after every change. The replica proves the id that its PolykeyNode names; the operator shows a
//! token whose audience is the nodes'. Read-only, and no secret is in a table.

use crate::controller::observe::NodeView;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use polykey_client::api::Consumers;
use polykey_client::error::{ApiError, Code};
use polykey_client::http::whole;
use polykey_client::tls::{self, Pins};
use polykey_core::ids::NodeId;
use rustls::ClientConfig;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A stream that says nothing for this long is opened anew: that is how a connection that died without a word is found. It costs one table.
const SILENCE: Duration = Duration::from_mins(1);
/// A replica that cannot be reached for this long counts as silent; shorter is a restart or a moved connection.
const GRACE: Duration = Duration::from_secs(10);
/// First wait after a failure.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest wait after a failure: a replica that returns is noticed within this.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// The longest line, in bytes: 10,000 PolykeyVaults at about 600 bytes and 20,000 pods at about 500, doubled.
const MAX_LINE: usize = 32 << 20;
/// The largest token file, in bytes: the nodes take none that is larger.
const MAX_TOKEN: usize = 16 << 10;

/// A replica to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Name of its PolykeyNode.
    pub name: String,
    /// The id that it must prove.
    pub node: NodeId,
    /// `host:port` of its TLS API.
    pub address: String,
}

/// The tables of all replicas.
pub struct Tables {
    token_file: PathBuf,
    /// Seed of the key that the operator shows in TLS: a node remembers which key a pod's token came with.
    seed: [u8; 32],
    known: Arc<Shared>,
    followers: BTreeMap<String, (Replica, JoinHandle<()>)>,
}

#[derive(Default)]
struct Shared {
    tables: Mutex<BTreeMap<String, Arc<Consumers>>>,
    changed: Notify,
}

impl Shared {
    fn put(&self, name: &str, table: Option<Consumers>) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = match table {
            Some(table) if tables.get(name).is_some_and(|known| **known == table) => false,
            Some(table) => {
                tables.insert(name.to_owned(), Arc::new(table));
                true
            }
            None => tables.remove(name).is_some(),
        };
        if differs {
            self.changed.notify_one();
        }
    }
}

impl Tables {
    /// No replica yet.
    #[must_use]
    pub fn new(token_file: PathBuf, seed: [u8; 32]) -> Tables {
        Tables {
            token_file,
            seed,
            known: Arc::default(),
            followers: BTreeMap::new(),
        }
    }

    /// From now on follow exactly these.
    pub fn follow(&mut self, replicas: Vec<Replica>) {
        let wanted: BTreeMap<String, Replica> =
            replicas.into_iter().map(|r| (r.name.clone(), r)).collect();
        self.followers.retain(|name, (replica, task)| {
            let keep = wanted.get(name) == Some(replica) && !task.is_finished();
            if !keep {
                task.abort();
                self.known.put(name, None);
            }
            keep
        });
        for (name, replica) in wanted {
            if !self.followers.contains_key(&name) {
                let follower = Follower {
                    replica: replica.clone(),
                    token_file: self.token_file.clone(),
                    seed: self.seed,
                    known: self.known.clone(),
                };
                self.followers
                    .insert(name, (replica, tokio::spawn(follower.run())));
            }
        }
    }

    /// Waits until a table changed.
    pub async fn changed(&self) {
        self.known.changed.notified().await;
    }

    /// The replicas named, each with its table if it answers.
    #[must_use]
    pub fn views(&self, names: impl Iterator<Item = String>) -> Vec<NodeView> {
        let tables = self
            .known
            .tables
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        names
            .map(|name| NodeView {
                table: tables.get(&name).cloned(),
                name,
            })
            .collect()
    }
}

struct Follower {
    replica: Replica,
    token_file: PathBuf,
    seed: [u8; 32],
    known: Arc<Shared>,
}

impl Follower {
    async fn run(self) {
        let mut wait = BACKOFF_MIN;
        let mut heard = Instant::now();
        let mut said = String::new();
        loop {
            let started = Instant::now();
            let ended = self.stream(&mut heard).await;
            if heard > started {
                wait = BACKOFF_MIN;
                said.clear();
            }
            if let Err(error) = ended {
                if heard.elapsed() >= GRACE {
                    self.known.put(&self.replica.name, None);
                }
                if said != error.message {
                    tracing::warn!(
                        node = self.replica.name,
                        error = error.message,
                        "no word from a node"
                    );
                    said = error.message;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF_MAX);
            }
        }
    }

    /// Reads tables until the stream ends.
    async fn stream(&self, heard: &mut Instant) -> Result<(), ApiError> {
        let token = read_token(&self.token_file)?;
        let (_, mut node) =
            tls::connect(&self.replica.address, self.config()?, Some(&token)).await?;
        let asked = node.send(
            Method::GET,
            "/v1/consumers?watch",
            "application/json",
            Vec::new(),
        );
        let answer = tokio::time::timeout(SILENCE, asked)
            .await
            .map_err(|_| silent())??;
        if !answer.status().is_success() {
            whole(answer).await?;
            return Err(ApiError::new(
                Code::Failed,
                "the node answered without a table",
            ));
        }
        let mut lines = Lines {
            body: answer.into_body(),
            buffer: Vec::new(),
        };
        while let Some(line) = lines.next().await? {
            if !line.is_empty() {
                self.known.put(&self.replica.name, Some(table(&line)?));
            }
            *heard = Instant::now();
        }
        // A node ends a stream when the token is about to expire, and when it stops.
        Err(ApiError::new(
            Code::Unreachable,
            "the node ended the stream",
        ))
    }

    fn config(&self) -> Result<Arc<ClientConfig>, ApiError> {
        let broken = |e: &dyn std::fmt::Display| {
            ApiError::new(
                Code::Failed,
                format!("cannot make the operator's TLS key: {e}"),
            )
        };
        let leaf = tls::leaf(&self.seed).map_err(|e| broken(&e))?;
        tls::client_config(Pins::new([self.replica.node]), Some(leaf)).map_err(|e| broken(&e))
    }
}

fn table(line: &[u8]) -> Result<Consumers, ApiError> {
    serde_json::from_slice(line).map_err(|e| {
        ApiError::new(
            Code::Failed,
            format!("the node's table is not what this version expects: {e}"),
        )
    })
}

fn silent() -> ApiError {
    ApiError::new(
        Code::Unreachable,
        format!("the node said nothing for {} s", SILENCE.as_secs()),
    )
}

fn read_token(path: &Path) -> Result<String, ApiError> {
    let failed = |why: &dyn std::fmt::Display| {
        ApiError::new(
            Code::Failed,
            format!("cannot read the token {}: {why}", path.display()),
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| failed(&e))?;
    if text.len() > MAX_TOKEN {
        return Err(failed(&"it is too large"));
    }
    Ok(text.trim().to_owned())
}

/// Lines of a body, each at most [`MAX_LINE`] long.
struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        loop {
            if let Some(line) = take_line(&mut self.buffer) {
                return Ok(Some(line));
            }
            let Some(data) = self.read().await? else {
                return Ok(None);
            };
            if self.buffer.len() + data.len() > MAX_LINE {
                return Err(ApiError::new(
                    Code::TooLarge,
                    "the node's table is too large",
                ));
            }
            self.buffer.extend_from_slice(&data);
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let frame = tokio::time::timeout(SILENCE, self.body.frame())
                .await
                .map_err(|_| silent())?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|e| {
                ApiError::new(Code::Unreachable, format!("the stream broke off: {e}"))
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }
}

/// Splits the first line off the buffer, without its end.
fn take_line(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|b| *b == b'\n')?;
    let mut line: Vec<u8> = buffer.drain(..=end).collect();
    line.pop();
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_wherever_the_bytes_are_cut() {
        let mut buffer = b"{\"a\":1}\n\n{\"b\"".to_vec();
        assert_eq!(take_line(&mut buffer).as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(take_line(&mut buffer).as_deref(), Some(&b""[..]));
        assert_eq!(take_line(&mut buffer), None);
        buffer.extend_from_slice(b":2}\n");
        assert_eq!(take_line(&mut buffer).as_deref(), Some(&b"{\"b\":2}"[..]));
    }

    #[test]
    fn a_replica_whose_table_is_equal_wakes_nobody() {
        let shared = Shared::default();
        shared.put("n0", Some(Consumers::default()));
        let first = shared.tables.lock().expect("tables")["n0"].clone();
        shared.put("n0", Some(Consumers::default()));
        let second = shared.tables.lock().expect("tables")["n0"].clone();
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn a_token_is_read_without_its_line_end_and_an_endless_file_is_refused() {
        let dir =
            std::env::temp_dir().join(format!("polykey-operator-token-{}", std::process::id()));
        std::fs::write(&dir, "abc\n").expect("write");
        assert_eq!(read_token(&dir).expect("a token"), "abc");
        std::fs::write(&dir, "a".repeat(MAX_TOKEN + 1)).expect("write");
        assert!(read_token(&dir).is_err());
        std::fs::remove_file(&dir).expect("remove");
    }
}
