//! The routes over TLS: a workload's watch and its acknowledgements; the operator's two lists. Every handler takes a `Caller` or an `Operator` first.

use super::errors;
use super::guard::{Caller, Operator, TlsDoor};
use super::reply::{self, Failed};
use super::table;
use crate::watch::{MAX_HAVE, Opening};
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request};
use axum::response::Response;
use axum::routing::{get, post};
use polykey_client::api::{Ack, Vaults};
use polykey_client::error::{ApiError, Code};
use polykey_client::watch::MAX_HAVE_HEADS;
use polykey_client::watch::MAX_NAMES;
use polykey_core::ids::CommitId;
use std::collections::BTreeSet;

/// The largest acknowledgement, in bytes.
const MAX_ACK: usize = 4 << 10;

/// All routes.
pub fn router(door: TlsDoor) -> Router {
    Router::new()
        .route("/v1/watch", get(watch))
        .route("/v1/ack", post(acknowledge))
        .route("/v1/consumers", get(consumers))
        .route("/v1/vaults", get(vaults))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_path)
        .with_state(door)
}

async fn watch(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let (names, have) = asked(query.as_deref().unwrap_or_default())?;
    let services = caller.services().clone();
    let pod = caller.workload.identity.pod_uid.clone();
    let opening = Opening {
        workload: caller.workload,
        token: caller.token,
        names,
        have,
    };
    let frames = services.watches.open(opening)?;
    services.clients().opened(&pod);
    let stream = frames.finally(move || {
        services.clients().closed(&pod, std::time::Instant::now());
    });
    Ok(reply::bytes(
        Body::from_stream(stream),
        "application/vnd.polykey.frames",
    ))
}

/// `names=a,b&have=<64 hex>,…`. A version of several heads is these, joined by dots.
fn asked(query: &str) -> Result<(Vec<String>, Vec<Vec<CommitId>>), ApiError> {
    let usage = |why: String| ApiError::new(Code::Usage, why);
    let (mut names, mut have) = (BTreeSet::new(), BTreeSet::new());
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        match pair.split_once('=') {
            Some(("names", list)) => {
                names.extend(
                    list.split(',')
                        .filter(|n| !n.is_empty())
                        .take(MAX_NAMES + 1),
                );
            }
            Some(("have", list)) => {
                for version in list.split(',').filter(|v| !v.is_empty()).take(MAX_HAVE + 1) {
                    have.insert(
                        heads(version).ok_or_else(|| {
                            usage("`have` takes versions of 64 hex digits".into())
                        })?,
                    );
                }
            }
            _ => return Err(usage("a watch takes `names` and `have`".into())),
        }
    }
    if names.is_empty() || names.len() > MAX_NAMES {
        return Err(usage(format!("a watch takes 1 to {MAX_NAMES} names")));
    }
    if have.len() > MAX_HAVE {
        return Err(usage(format!("a watch takes at most {MAX_HAVE} versions")));
    }
    if let Some(bad) = names.iter().find(|n| !is_name(n)) {
        let shown: String = bad.chars().take(64).collect();
        return Err(usage(format!("{shown:?} is no name of a PolykeyVault")));
    }
    Ok((
        names.into_iter().map(str::to_owned).collect(),
        have.into_iter().collect(),
    ))
}

/// The commits of a version, ascending.
fn heads(version: &str) -> Option<Vec<CommitId>> {
    let ids = version.split('.').take(MAX_HAVE_HEADS + 1);
    let heads: BTreeSet<CommitId> = ids.map(str::parse).collect::<Result<_, _>>().ok()?;
    (heads.len() <= MAX_HAVE_HEADS).then(|| heads.into_iter().collect())
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

async fn acknowledge(caller: Caller, request: Request) -> Result<Response, Failed> {
    let ack: Ack = reply::parse(request, MAX_ACK).await?;
    if !matches!(ack.state.as_str(), "written" | "reloaded" | "failed") || !is_name(&ack.name) {
        return Err(ApiError::new(Code::Usage, "not an acknowledgement").into());
    }
    let watches = &caller.services().watches;
    watches.acknowledged(&caller.workload.identity, &ack)?;
    Ok(reply::json(&serde_json::json!({})))
}

async fn consumers(operator: Operator, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    consumers_of(&operator, query.as_deref())
}

/// The table, once or as a stream of lines. Also served on the socket.
pub fn consumers_of(
    services: &std::sync::Arc<super::Services>,
    query: Option<&str>,
) -> Result<Response, Failed> {
    match query.unwrap_or_default() {
        "" => Ok(reply::json(&table::now(services))),
        "watch" | "watch=1" | "watch=true" => Ok(reply::bytes(
            Body::from_stream(table::lines(services.clone())),
            "application/x-ndjson",
        )),
        _ => Err(ApiError::new(Code::Usage, "this path takes `watch=1` or nothing").into()),
    }
}

async fn vaults(operator: Operator) -> Response {
    let vaults = operator
        .vaults
        .list()
        .iter()
        .map(errors::vault_without_name)
        .collect();
    reply::json(&Vaults { vaults })
}
