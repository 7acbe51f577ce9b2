//! `POST /v1/vaults/{vault}/recovery`: the maker's words take a vault back, or give themselves up. They come as canonical CBOR, are wiped after use and never written.

use super::admin::usage;
use super::guard::Admin;
use super::reply::{self, Failed};
use crate::vaults::Until;
use axum::extract::{Path, Request};
use axum::response::Response;
use polykey_client::api::{Before, Recovery, RecoveryReply};
use polykey_core::enc;
use polykey_core::keys::Words;

/// The largest request, in bytes: 24 words need 215, and as much again for the rest.
const MAX_RECOVERY: usize = 1 << 10;

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
        }
    } else {
        let recovered = admin.vaults.recover(&vault, &words, until).await;
        admin
            .record
            .recovered(&vault, "recover", recovered.as_ref().err())
            .await;
        let recovered = recovered?;
        RecoveryReply {
            operation: recovered.reset,
            replaced: recovered.replaced,
            undone: u32::try_from(recovered.undone).unwrap_or(u32::MAX),
            members: u32::try_from(recovered.members).unwrap_or(u32::MAX),
        }
    };
    Ok(reply::json(&reply))
}
