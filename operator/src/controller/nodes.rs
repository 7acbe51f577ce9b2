//! What the nodes report: one stream of `/v1/consumers` a replica, over TLS pinned to the id in its PolykeyNode.

use super::plan::Replica;
use crate::crd::PolykeyNode;
use crate::settings::OperatorSettings;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kube::runtime::reflector::Store;
use polykey_client::api::Consumers;
use polykey_client::error::{ApiError, Code};
use polykey_client::http;
use polykey_client::tls::{self, Pins};
use polykey_core::ids::NodeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// TCP port of the nodes' API.
const API_PORT: u16 = 1315;
/// The longest line: the table of 10,000 pods and their rules.
const MAX_LINE: usize = 32 << 20;
/// Silence after which a stream is opened again. A node repeats its table at least this often.
const SILENCE: Duration = Duration::from_secs(60);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// The last report of each replica.
#[derive(Clone)]
pub struct Reports {
    replicas: Arc<Mutex<BTreeMap<String, Replica>>>,
    changed: Arc<Notify>,
}

impl Reports {
    /// No report yet; `changed` is signalled with each.
    #[must_use]
    pub fn new(changed: Arc<Notify>) -> Reports {
        Reports { replicas: Arc::default(), changed }
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Replica> {
        self.locked().clone()
    }

    fn set(&self, name: &str, report: Option<Consumers>) {
        self.locked().insert(name.to_owned(), Replica { report });
        self.changed.notify_one();
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one stream for each PolykeyNode that has an id, and ends those of nodes that are gone or have another id.
pub async fn follow(settings: Arc<OperatorSettings>, nodes: Store<PolykeyNode>, reports: Reports) {
    let mut streams: BTreeMap<(String, NodeId), JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted: BTreeMap<(String, NodeId), ()> = nodes.state().iter().filter_map(|n| Some(((n.metadata.name.clone()?, n.status.as_ref()?.node_id.parse().ok()?), ()))).collect();
        streams.retain(|key, task| {
            let stays = wanted.contains_key(key);
            if !stays {
                task.abort();
                reports.locked().remove(&key.0);
            }
            stays
        });
        for key in wanted.into_keys() {
            let (settings, reports) = (settings.clone(), reports.clone());
            streams.entry(key.clone()).or_insert_with(|| tokio::spawn(follow_one(settings, key.0, key.1, reports)));
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_one(settings: Arc<OperatorSettings>, name: String, id: NodeId, reports: Reports) {
    let mut said = false;
    loop {
        let ended = stream(&settings, &name, id, &reports).await;
        reports.set(&name, None);
        // The same failure again and again is said once.
        if !std::mem::replace(&mut said, true) {
            warn!(node = name, error = %ended, "a node does not report; trying again");
        }
        if reports.locked().get(&name).is_some_and(|r| r.report.is_some()) {
            said = false;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Follows one stream to its end, which is always an error of some kind.
async fn stream(settings: &OperatorSettings, name: &str, id: NodeId, reports: &Reports) -> ApiError {
    let mut body = match open(settings, name, id).await {
        Ok(body) => body,
        Err(e) => return e,
    };
    info!(node = name, "a node reports");
    let mut buffer = Vec::new();
    loop {
        match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Ok(Some(Err(e))) => return ApiError::new(Code::Unreachable, format!("the stream broke: {e}")),
            Ok(None) => return ApiError::new(Code::Unreachable, "the node ended the stream"),
            Err(_) => return ApiError::new(Code::Unreachable, "the node is silent"),
        }
        while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            if line.len() > 1 {
                match serde_json::from_slice(&line) {
                    Ok(report) => reports.set(name, Some(report)),
                    Err(e) => return ApiError::new(Code::Failed, format!("a report that this version cannot read: {e}")),
                }
            }
        }
        if buffer.len() > MAX_LINE {
            return ApiError::new(Code::TooLarge, "a report that is too large");
        }
    }
}

async fn open(settings: &OperatorSettings, name: &str, id: NodeId) -> Result<Incoming, ApiError> {
    let token = tokio::fs::read_to_string(&settings.node_token_file).await.map_err(|e| ApiError::new(Code::Unauthorized, format!("cannot read the token for nodes: {e}")))?;
    let config = tls::client_config(Pins::new([id]), None).map_err(|e| ApiError::new(Code::Failed, e.to_string()))?;
    let address = format!("{name}.{}:{API_PORT}", settings.place.peers_domain);
    let (_, mut connection) = tls::connect(&address, config, Some(token.trim())).await?;
    let answer = connection.send(hyper::Method::GET, "/v1/consumers?watch=1", "application/json", Vec::new()).await?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    match http::whole(answer).await {
        Err(e) => Err(e),
        Ok(_) => Err(ApiError::new(Code::Failed, "the node answered with nothing")),
    }
}
