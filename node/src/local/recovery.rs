//! `POST /v1/vaults/{vault}/recovery`: the maker's words take a vault back, or give themselves up. They come as canonical CBOR, are wiped after use and never written.

use super::admin::usage;
use super::guard::Admin;
use super::reply::{self, Failed};
use super::{Services, key};
use crate::agent::Unlock;
use crate::vaults::{Recovered, Until, VaultError};
use axum::extract::{Path, Request};
use axum::response::Response;
use polykey_client::api::{Before, KeyReply, Recovery, RecoveryReply};
use polykey_core::enc;
use polykey_core::ids::VaultId;
use polykey_core::keys::Words;
use polykey_core::unlock::MAX_KEY_FILE;
use std::sync::Arc;

/// The largest request, in bytes: 24 words need 215, and as much again for the rest; then what opens the identity.
const MAX_RECOVERY: usize = (1 << 10) + MAX_KEY_FILE;

/// Recovers or resigns.
pub async fn recover(
    admin: Admin,
    Path(given): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let body = reply::body(request, MAX_RECOVERY).await?;
    let asked: Recovery =
        enc::decode(&body).map_err(|e| usage(&format!("the body is no `Recovery`: {e}")))?;
    let words = std::str::from_utf8(&asked.words.0)
        .ok()
        .and_then(|text| Words::parse(text).ok())
        .ok_or_else(|| usage("these are no 24 words"))?;
    let until = match asked.before {
        Some(Before::Version(version)) => Until::Version(version),
        Some(Before::Time(ms)) => Until::Time(ms),
        None => Until::Now,
    };
    let reply = if asked.resign {
        let resigned = admin.vaults.resign(&vault, &words).await;
        admin
            .record
            .recovered(&vault, "resign", resigned.as_ref().err())
            .await;
        RecoveryReply {
            operation: resigned?,
            replaced: Vec::new(),
            undone: 0,
            members: admin.vaults.summary_of(&vault)?.members,
            key: None,
        }
    } else {
        let recovered = admin.vaults.recover(&vault, &words, until).await;
        match (recovered, asked.unlock) {
            (Err(VaultError::SameKey), Some(unlock)) => {
                let unlock = key::checked(&admin, unlock).await?;
                with_another_key(Arc::clone(&admin), vault, words, until, unlock).await?
            }
            (recovered, _) => {
                admin
                    .record
                    .recovered(&vault, "recover", recovered.as_ref().err())
                    .await;
                answer(recovered?, None)
            }
        }
    };
    Ok(reply::json(&reply))
}

/// On a node that has the very key that is to lose the vault: it gets another with it.
async fn with_another_key(
    services: Arc<Services>,
    vault: VaultId,
    words: Words,
    until: Until,
    unlock: Unlock,
) -> Result<RecoveryReply, Failed> {
    // To the end, whether or not the client waits for it: an agent whose key was replaced must start again.
    let work = tokio::spawn(async move {
        let new = key::draw()?;
        let done = services.vaults.recover_as(&vault, &words, until, &new);
        let done = done.await;
        let failed = done.as_ref().err();
        services.record.recovered(&vault, "recover", failed).await;
        services.record.key_changed(&new.node_id(), failed).await;
        let (recovered, moved) = done?;
        let key = key::go(&services, moved, unlock).await;
        Ok(answer(recovered, Some(key)))
    });
    work.await.map_err(|_| key::interrupted())?
}

fn answer(recovered: Recovered, key: Option<KeyReply>) -> RecoveryReply {
    RecoveryReply {
        operation: recovered.reset,
        replaced: recovered.replaced,
        undone: u32::try_from(recovered.undone).unwrap_or(u32::MAX),
        members: u32::try_from(recovered.members).unwrap_or(u32::MAX),
        key,
    }
}
