//! Bodies in and out: what comes is bounded in size and time before it is parsed; what goes is JSON, and an error is an `ApiError`.

use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use polykey_client::error::{ApiError, Code};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Time for the body of a request: the largest one over 1 MB/s.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A handler's error, on its way out.
#[derive(Debug)]
pub struct Failed(pub ApiError);

impl From<ApiError> for Failed {
    fn from(e: ApiError) -> Failed {
        Failed(e)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(&self.0);
        *response.status_mut() = status;
        response
    }
}

/// A value as JSON.
pub fn json<T: Serialize>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => bytes(body, "application/json"),
        Err(e) => {
            tracing::error!(error = %e, "an answer is no JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Bytes of a kind. Never to be kept by anybody in between.
pub fn bytes(body: impl Into<Body>, kind: &'static str) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The whole body of a request, of at most `limit` bytes.
pub async fn body(request: Request<Body>, limit: usize) -> Result<Bytes, Failed> {
    let too_large = || {
        ApiError::new(
            Code::TooLarge,
            format!("the body has over {limit} bytes, which is the most"),
        )
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|l| l > limit) {
        return Err(too_large().into());
    }
    let collected = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(BODY_DEADLINE, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(too_large().into()),
        Ok(Err(_)) => Err(ApiError::new(Code::Usage, "the body broke off").into()),
        Err(_) => Err(ApiError::new(
            Code::Usage,
            format!("the body took over {} s", BODY_DEADLINE.as_secs()),
        )
        .into()),
    }
}

/// The body of a request as JSON, of at most `limit` bytes.
pub async fn parse<T: DeserializeOwned>(request: Request<Body>, limit: usize) -> Result<T, Failed> {
    let body = body(request, limit).await?;
    serde_json::from_slice(&body).map_err(|e| {
        ApiError::new(
            Code::Usage,
            format!("the body is not what this path takes: {e}"),
        )
        .into()
    })
}

/// Answers a path that there is not.
pub async fn no_such_path(request: Request<Body>) -> Failed {
    let path: String = request.uri().path().chars().take(200).collect();
    let method = request.method().clone();
    ApiError::new(Code::NotFound, format!("there is no {method} {path} here")).into()
}
