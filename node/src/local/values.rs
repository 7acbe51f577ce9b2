//! Values of secrets as raw bodies, `GET` and `PUT …/secret` on the Unix socket: streamed both ways, so that a file of 64 MiB costs the node about a batch of it in memory.

use super::guard::Admin;
use super::reply::{self, Failed};
use crate::vaults::Opened;
use axum::body::Body;
use axum::extract::{Path, Query, Request, rejection::QueryRejection};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use polykey_client::api::{CONFLICT_HEADER, EditReply, MAX_VALUE, VERSION_HEADER};
use polykey_client::error::{ApiError, Code};
use polykey_core::ids::CommitId;
use serde::Deserialize;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pieces of 64 KiB that are read ahead of the reader.
const READ_AHEAD: usize = 4;
/// Longest wait for the next part of a body. The command line has all of a value before it sends the first.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    path: String,
    version: Option<String>,
}

/// `GET /v1/vaults/{vault}/secret?path=&version=`
pub async fn read(
    admin: Admin,
    Path(given): Path<String>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Failed> {
    let Query(Wanted { path, version }) =
        query.map_err(|_| usage("this path takes `path` and `version`"))?;
    let vault = admin.vaults.resolve(&given)?;
    let Opened {
        mut value,
        version,
        conflict,
    } = admin.vaults.open_value(&vault, &path, version.as_deref())?;
    let size = value.size();
    // What cannot be read at all is an error and no body that breaks off.
    let first = value.next_piece()?.unwrap_or_default();
    let body = if value.left() == 0 {
        Body::from(first.to_vec())
    } else {
        let (pieces, mut ready) = mpsc::channel::<io::Result<Bytes>>(READ_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut next = Some(first);
            while let Some(piece) = next {
                if pieces
                    .blocking_send(Ok(Bytes::copy_from_slice(&piece)))
                    .is_err()
                {
                    return;
                }
                next = match value.next_piece() {
                    Ok(next) => next,
                    Err(e) => {
                        tracing::error!(error = &e as &dyn std::error::Error, "a value breaks off");
                        pieces.blocking_send(Err(io::ErrorKind::Other.into())).ok();
                        return;
                    }
                };
            }
        });
        Body::from_stream(futures::stream::poll_fn(move |cx| ready.poll_recv(cx)))
    };
    let mut response = reply::bytes(body, "application/octet-stream");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    if let Ok(version) = HeaderValue::from_str(&version.to_string()) {
        headers.insert(VERSION_HEADER, version);
    }
    if conflict {
        headers.insert(CONFLICT_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    path: String,
    mode: u32,
    expect: Option<String>,
}

/// `PUT /v1/vaults/{vault}/secret?path=&mode=&expect=`: the body is the value, and becomes one commit.
pub async fn write(
    admin: Admin,
    Path(given): Path<String>,
    query: Result<Query<Target>, QueryRejection>,
    request: Request,
) -> Result<Response, Failed> {
    let Query(Target { path, mode, expect }) =
        query.map_err(|_| usage("this path takes `path`, `mode` and `expect`"))?;
    let expect: Option<CommitId> = expect
        .map(|v| v.parse())
        .transpose()
        .map_err(|_| usage("`expect` is no version"))?;
    let vault = admin.vaults.resolve(&given)?;
    polykey_core::path::check(&path).map_err(|e| usage(&e.to_string()))?;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|size| size > MAX_VALUE) {
        return Err(too_large().into());
    }
    let mut value = admin.vaults.begin_file(&vault)?;
    let mut body = request.into_body();
    loop {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        match frame.map_err(|_| usage("the body came to a stop"))? {
            None => break,
            Some(Err(_)) => return Err(usage("the body broke off").into()),
            Some(Ok(frame)) => {
                if let Some(bytes) = frame.data_ref() {
                    value.write(bytes).await?;
                }
            }
        }
    }
    let edited = admin
        .vaults
        .put_file(&vault, path, mode, value, expect)
        .await?;
    Ok(reply::json(&EditReply {
        version: edited.version,
        changed: edited.changed,
    }))
}

fn too_large() -> ApiError {
    ApiError::new(
        Code::TooLarge,
        format!("a value has at most {MAX_VALUE} bytes, which is 64 MiB"),
    )
}

fn usage(why: &str) -> ApiError {
    ApiError::new(Code::Usage, why)
}
