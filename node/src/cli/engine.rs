//! The seam to the engine: the only file of the command line that touches an identity or a store.

use super::args::{AgentStart, Review, Workloads};
use super::context::Context;
use super::stop::Stop;
use crate::agent::{self, AgentError, Unlock};
use crate::identity::{self, Identity, IdentityError};
use crate::local::SocketError;
use crate::store::{Store, StoreError};
use crate::successor::SuccessorError;
use crate::vaults::Vaults;
use crate::workload;
use polykey_client::error::{ApiError, Code};
use polykey_core::ids::NodeId;
use polykey_core::keys::Words;
use polykey_core::unlock::{Secret, UnlockError};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// Whether there is an identity.
pub fn has_identity(node_path: &Path) -> bool {
    identity::exists(node_path).unwrap_or(false)
}

/// Makes the identity of these words.
pub fn create(node_path: &Path, words: &Words, password: &str) -> Result<Identity, Stop> {
    identity::create(node_path, words, password).map_err(|e| told(&e))
}

/// Gives the identity that is there another password, if the words are its own.
pub fn reset_password(node_path: &Path, words: &Words, password: &str) -> Result<NodeId, Stop> {
    identity::restore(node_path, words, password)
        .map(|i| i.node_id())
        .map_err(|e| told(&e))
}

/// The node of the identity that the password opens.
pub fn node_id(node_path: &Path, password: &str) -> Result<NodeId, Stop> {
    identity::open(node_path, &Secret::Passphrase(password))
        .map(|i| i.node_id())
        .map_err(|e| told(&e))
}

/// Makes a vault in the store of a new identity, with no agent.
pub async fn first_vault(node_path: &Path, identity: Identity, name: &str) -> Result<(), Stop> {
    let failed = |e: &dyn Error| {
        Stop::failed(format!(
            "the identity is made, but its first vault is not: {}",
            chain(e)
        ))
    };
    let store =
        Store::open(&identity::store_dir(node_path), identity.rows).map_err(|e| failed(&e))?;
    let vaults = Vaults::open(store, identity.root, identity.recovery).map_err(|e| failed(&e))?;
    vaults.create(name).await.map(drop).map_err(|e| failed(&e))
}

/// Content of a key file.
pub fn read_key_file(file: &Path) -> Result<Zeroizing<Vec<u8>>, Stop> {
    identity::read_key_file(file).map_err(|e| told(&e))
}

/// Serves until it is told to stop.
pub fn serve(context: &Context, args: &AgentStart, unlock: Unlock) -> Result<(), Stop> {
    let config = config(context, args, unlock)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::failed(format!("cannot start: {e}")))?;
    runtime
        .block_on(agent::serve(config, |agent| {
            super::agent::tell_running(context, agent);
        }))
        .map_err(|e| match e {
            AgentError::Identity(e) | AgentError::Successor(SuccessorError::Identity(e)) => told(&e),
            AgentError::Socket(SocketError::Taken(_))
            | AgentError::Store(StoreError::InUse { .. }) => {
                ApiError::new(Code::Conflict, chain(&e)).into()
            }
            AgentError::Store(StoreError::OtherPod { .. }) => {
                ApiError::new(Code::Conflict, chain(&e))
                    .hint("a copy of a volume has the identity of its first node; an empty volume gets one of its own. If the StatefulSet was renamed and the other pod is gone for good, start with --move-store (POLYKEY_MOVE_STORE=yes)")
                    .into()
            }
            e => Stop::failed(chain(&e)),
        })
}

fn config(context: &Context, args: &AgentStart, unlock: Unlock) -> Result<agent::Config, Stop> {
    let of_pod = &args.workloads;
    Ok(agent::Config {
        node_path: context.place.node_path.clone(),
        socket: context.place.socket(),
        unlock,
        init: args.init,
        listen: args.listen,
        api_listen: args.api_listen,
        probe_listen: args.probe_listen,
        workloads: of_pod
            .audience
            .as_ref()
            .map(|audience| workloads(of_pod, audience))
            .transpose()?,
        operator: of_pod.operator_subject.clone(),
        pod_name: of_pod.pod_name.clone(),
        move_here: of_pod.move_store,
        only_copy: args.only_copy,
        spare: Duration::from_millis(args.spare_ms),
        author_rate: args.author_rate,
        peers_domain: of_pod.peers_domain.clone(),
    })
}

/// The API server of the pod, with what was given instead.
fn workloads(given: &Workloads, audience: &str) -> Result<workload::Config, Stop> {
    let host = api_server();
    if host.is_none() && given.jwks_url.is_none() {
        return Err(ApiError::new(
            Code::Usage,
            "--audience needs --jwks-url outside a cluster: nothing says where the issuer's keys are",
        )
        .into());
    }
    let mut config =
        workload::Config::in_cluster(audience.to_owned(), &host.clone().unwrap_or_default());
    if host.is_none() {
        config.review_url = None;
    }
    config.issuer.clone_from(&given.issuer);
    if let Some(url) = &given.jwks_url {
        config.jwks_url.clone_from(url);
    }
    if given.review_url.is_some() {
        config.review_url.clone_from(&given.review_url);
    }
    if given.review == Some(Review::Off) {
        config.review_url = None;
    }
    if let Some(file) = &given.kube_ca_file {
        config.ca_file.clone_from(file);
    }
    if let Some(file) = &given.kube_token_file {
        config.token_file.clone_from(file);
    }
    Ok(config)
}

/// `host:port` of the API server, as every container of a pod is told.
fn api_server() -> Option<String> {
    let host = std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let port = std::env::var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|_| "443".to_owned());
    Some(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

/// An error of the identity in the words of this command line.
fn told(error: &IdentityError) -> Stop {
    let said = ApiError::new(Code::Failed, chain(error));
    let said = match error {
        IdentityError::Exists(_) => ApiError { code: Code::Conflict, ..said },
        IdentityError::Missing(_) => ApiError { code: Code::NotFound, ..said }.next("polykey init"),
        IdentityError::Unlock(UnlockError::Wrong) => ApiError { code: Code::Locked, ..said }
            .hint("nothing is wiped by trying. A forgotten password is replaced with the 24 words; nobody else can")
            .next("polykey init --recovery-code-file FILE"),
        IdentityError::Unlock(UnlockError::OtherIdentity) => ApiError { code: Code::Conflict, ..said }
            .hint("words restore an identity where there is none, and replace the password of their own. After `polykey key rotate` they do neither for this device: they take vaults back")
            .next("polykey --node-path OTHER init --recovery-code-file FILE"),
        IdentityError::Unlock(UnlockError::Method { .. } | UnlockError::KeyFile) => ApiError { code: Code::Usage, ..said },
        _ => said,
    };
    said.into()
}

/// What happened, and each cause below it.
pub fn chain(error: &dyn Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        out = format!("{out}: {inner}");
        cause = inner.source();
    }
    out
}
