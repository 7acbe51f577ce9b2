//! `POST /v1/key`: another key for this node. Whoever asks shows what opens the identity; the answer goes out before the agent starts again with the new key.

use super::Services;
use super::admin::usage;
use super::guard::Admin;
use super::reply::{self, Failed};
use crate::agent::{Ask, Unlock};
use crate::identity::{self, IdentityError};
use axum::extract::Request;
use axum::response::Response;
use polykey_client::api::{self, KeyReply, KeyRequest};
use polykey_client::error::{ApiError, Code};
use polykey_core::enc;
use polykey_core::keys::RootKey;
use polykey_core::unlock::{MAX_KEY_FILE, UnlockError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The largest request, in bytes: a key file and what stands around it.
const MAX_REQUEST: usize = MAX_KEY_FILE + 64;
/// How long connected peers have to take in who has this node's place, before it goes. Whoever is slower hears it from another member, or from the new key.
const FAREWELL: Duration = Duration::from_secs(3);

/// Gives the node another key.
pub async fn rotate(admin: Admin, request: Request) -> Result<Response, Failed> {
    let body = reply::body(request, MAX_REQUEST).await?;
    let KeyRequest { unlock } =
        enc::decode(&body).map_err(|e| usage(&format!("the body is no `KeyRequest`: {e}")))?;
    let unlock = checked(&admin, unlock).await?;
    let services = Arc::clone(&admin);
    // To the end, whether or not the client waits for it: an agent whose key was replaced must start again.
    let work = tokio::spawn(async move {
        let new = draw()?;
        let moved = services.vaults.move_to(&new).await;
        let failed = moved.as_ref().err();
        services.record.key_changed(&new.node_id(), failed).await;
        Ok::<_, Failed>(go(&services, moved?, unlock).await)
    });
    let reply = work.await.map_err(|_| interrupted())??;
    Ok(reply::json(&reply))
}

/// Waits for peers to hear of it, then has the agent start again.
pub(super) async fn go(
    services: &Services,
    moved: crate::vaults::Moved,
    unlock: Unlock,
) -> KeyReply {
    let vaults: BTreeSet<_> = moved.vaults.iter().copied().collect();
    services.peers.heard_out(&vaults, FAREWELL).await;
    tracing::info!(new = %moved.new.short(), vaults = vaults.len(), "another key has this node's place");
    services.ask.send(Ask::Again(unlock)).await.ok();
    KeyReply {
        old: services.about.node,
        new: moved.new,
        vaults: moved.vaults,
    }
}

/// What was given, if it opens the identity: the start with the new key must not fail on it.
pub(super) async fn checked(
    services: &Arc<Services>,
    given: api::Unlock,
) -> Result<Unlock, Failed> {
    let unlock = match given {
        api::Unlock::Password(text) => {
            let text = std::str::from_utf8(&text.0).map_err(|_| usage("a password is text"))?;
            Unlock::Password(Zeroizing::new(text.to_owned()))
        }
        api::Unlock::KeyFile(bytes) => Unlock::KeyFile(Zeroizing::new(bytes.0.to_vec())),
    };
    let node_path = services.about.node_path.clone();
    let work = tokio::task::spawn_blocking(move || {
        identity::open(&node_path, &unlock.secret()).map(|identity| (identity.node_id(), unlock))
    });
    let (node, unlock) = work.await.map_err(|_| interrupted())??;
    if node != services.about.node {
        let error = ApiError::new(
            Code::Conflict,
            "the identity on the disk is not the one that this agent runs with",
        );
        return Err(error.hint("stop the agent and start it again").into());
    }
    Ok(unlock)
}

/// A key that nobody has seen.
pub(super) fn draw() -> Result<RootKey, Failed> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|_| ApiError::new(Code::Failed, "the operating system gave no randomness"))?;
    Ok(RootKey::from_seed(&seed))
}

pub(super) fn interrupted() -> Failed {
    ApiError::new(Code::Failed, "the change of the key was interrupted").into()
}

impl From<IdentityError> for Failed {
    fn from(e: IdentityError) -> Failed {
        let code = match &e {
            IdentityError::Unlock(UnlockError::Wrong) => Code::Locked,
            IdentityError::Unlock(UnlockError::Method { .. } | UnlockError::KeyFile) => Code::Usage,
            _ => Code::Failed,
        };
        let error = ApiError::new(code, super::errors::chain(&e));
        Failed(match code {
            Code::Locked => error.hint("nothing was changed, and nothing is wiped by trying"),
            _ => error,
        })
    }
}
