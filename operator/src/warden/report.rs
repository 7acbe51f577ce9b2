//! Keeps this replica's PolykeyNode in step with what its node says, and writes only when that changed.

use crate::crd::node::PolykeyNodeSpec;
use crate::crd::{PolykeyNode, PolykeyNodeStatus};
use crate::feed::Feed;
use crate::warden::node_status::{node_status, urgent, without_conditions};
use crate::warden::project::Own;
use crate::warden::push::Applied;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use polykey_client::api::Status;
use polykey_client::error::ApiError;
use polykey_client::unix;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the node is asked; one request over a Unix socket.
const POLL: Duration = Duration::from_secs(2);
/// Counts alone are written at most this often.
const COUNTS_EVERY: Duration = Duration::from_secs(10);
/// A write of ours is seen by our own watch within this; an object missing for longer was deleted.
const ECHO: Duration = Duration::from_secs(5);
/// Deadline of one request to the API server.
const DEADLINE: Duration = Duration::from_secs(15);
/// Field manager of the warden.
const MANAGER: &str = "polykey-warden";

/// Why the PolykeyNode is not up to date.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error("the node does not say how it is: {0}")]
    Node(ApiError),
    #[error("cannot read the PolykeyNode")]
    Read(#[source] kube::Error),
    #[error("cannot create the PolykeyNode")]
    Create(#[source] kube::Error),
    #[error("cannot write the PolykeyNode's status")]
    Write(#[source] kube::Error),
    #[error("the API server did not answer in time")]
    Deadline,
}

/// Asks the node and writes its PolykeyNode.
pub struct Reporter {
    socket: PathBuf,
    own: Own,
    pod_uid: String,
    api: Api<PolykeyNode>,
    applied: Arc<Applied>,
    /// The status as last read or written; `None`: to be read.
    written: Option<Written>,
}

struct Written {
    status: Option<PolykeyNodeStatus>,
    at: Instant,
}

impl Reporter {
    /// A reporter for the node at `socket`.
    #[must_use]
    pub fn new(
        socket: PathBuf,
        own: Own,
        pod_uid: String,
        api: Api<PolykeyNode>,
        applied: Arc<Applied>,
    ) -> Reporter {
        Reporter {
            socket,
            own,
            pod_uid,
            api,
            applied,
            written: None,
        }
    }

    /// Runs for ever.
    pub async fn run(mut self, nodes: Feed<PolykeyNode>) {
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_error = String::new();
        loop {
            tick.tick().await;
            self.forget_if_deleted(&nodes);
            let step = tokio::time::timeout(DEADLINE, self.step())
                .await
                .unwrap_or(Err(ReportError::Deadline));
            let error = step.err().map(|e| chain(&e)).unwrap_or_default();
            if error != last_error && !error.is_empty() {
                tracing::warn!(error, "this node's PolykeyNode is not up to date");
            }
            last_error = error;
        }
    }

    fn forget_if_deleted(&mut self, nodes: &Feed<PolykeyNode>) {
        let key = (self.own.namespace.clone(), self.own.pod_name.clone());
        let missing = {
            let state = nodes.now();
            state.live && !state.objects.contains_key(&key)
        };
        if missing && self.written.as_ref().is_some_and(|w| w.at.elapsed() > ECHO) {
            self.written = None;
        }
    }

    async fn step(&mut self) -> Result<(), ReportError> {
        let status = self.ask().await.map_err(ReportError::Node)?;
        self.applied.node_says(status.access_set.as_deref());
        let written = match self.written.take() {
            Some(written) => written,
            None => self.read().await?,
        };
        let now = node_status(&status, written.status.as_ref(), &self.own, &self.pod_uid);
        let same = written.status.as_ref() == Some(&now);
        let due = urgent(written.status.as_ref(), &now) || written.at.elapsed() >= COUNTS_EVERY;
        self.written = if !same && due {
            Some(self.write(now).await?)
        } else {
            Some(written)
        };
        Ok(())
    }

    async fn ask(&self) -> Result<Status, ApiError> {
        unix::connect(&self.socket).await?.get("/v1/status").await
    }

    async fn read(&self) -> Result<Written, ReportError> {
        let found = self
            .api
            .get_opt(&self.own.pod_name)
            .await
            .map_err(ReportError::Read)?;
        if found.is_none() {
            let object = PolykeyNode::new(&self.own.pod_name, PolykeyNodeSpec {});
            self.api
                .create(&PostParams::default(), &object)
                .await
                .map_err(ReportError::Create)?;
        }
        let status = found.and_then(|n| n.status).map(|s| without_conditions(&s));
        Ok(Written {
            status,
            at: Instant::now(),
        })
    }

    async fn write(&self, status: PolykeyNodeStatus) -> Result<Written, ReportError> {
        let body =
            json!({"apiVersion": "polykey.io/v1alpha1", "kind": "PolykeyNode", "status": status});
        let params = PatchParams::apply(MANAGER).force();
        self.api
            .patch_status(&self.own.pod_name, &params, &Patch::Apply(&body))
            .await
            .map_err(ReportError::Write)?;
        Ok(Written {
            status: Some(status),
            at: Instant::now(),
        })
    }
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
