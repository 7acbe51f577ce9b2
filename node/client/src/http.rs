//! One HTTP/1.1 exchange over a stream that somebody else opened, with every body bounded.

use crate::error::{ApiError, Code};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// The largest answer that a client reads whole, in bytes: a listing of 100,000 secrets at about 300 bytes each, doubled. A consumer table of 10,000 pods is a tenth of it.
pub const MAX_ANSWER: usize = 64 << 20;

/// How much of a body is handed on at a time, in bytes.
const PART: usize = 64 << 10;

/// The body of a request. It is wiped once it is sent; a listener hears how far it is.
pub struct Sending {
    bytes: Zeroizing<Vec<u8>>,
    sent: usize,
    listener: Option<Box<dyn FnMut(u64) + Send>>,
}

impl Sending {
    /// A body that `listener` follows: it is given how many bytes were handed on.
    #[must_use]
    pub fn followed(bytes: Zeroizing<Vec<u8>>, listener: impl FnMut(u64) + Send + 'static) -> Self {
        Sending {
            bytes,
            sent: 0,
            listener: Some(Box::new(listener)),
        }
    }
}

impl From<Vec<u8>> for Sending {
    fn from(bytes: Vec<u8>) -> Sending {
        Sending {
            bytes: Zeroizing::new(bytes),
            sent: 0,
            listener: None,
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let left = &self.bytes[self.sent..];
        if left.is_empty() {
            return Poll::Ready(None);
        }
        let part = Bytes::copy_from_slice(&left[..left.len().min(PART)]);
        self.sent += part.len();
        let sent = self.sent as u64;
        if let Some(listener) = &mut self.listener {
            listener(sent);
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.bytes.len() - self.sent) as u64)
    }
}

/// A connection that answers requests one after another.
pub struct Connection {
    sender: SendRequest<Sending>,
    authorization: Option<String>,
}

impl Connection {
    /// Starts HTTP/1.1 on a stream. The connection is driven by a task of its own, which ends with it.
    pub async fn start<S>(stream: S, bearer: Option<&str>) -> Result<Connection, ApiError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(&e))?;
        tokio::spawn(driver);
        Ok(Connection {
            sender,
            authorization: bearer.map(|t| format!("Bearer {t}")),
        })
    }

    /// Sends a request and gives the answer's head; its body is still to be read.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        kind: &str,
        body: impl Into<Sending>,
    ) -> Result<Response<Incoming>, ApiError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "polykey")
            .header("content-type", kind);
        if let Some(a) = &self.authorization {
            request = request.header("authorization", a);
        }
        let request = request
            .body(body.into())
            .map_err(|e| ApiError::new(Code::Usage, format!("cannot ask for {path}: {e}")))?;
        self.sender.ready().await.map_err(|e| broken(&e))?;
        self.sender
            .send_request(request)
            .await
            .map_err(|e| broken(&e))
    }

    /// Sends a request without a body and reads a JSON answer.
    pub async fn get<A: DeserializeOwned>(&mut self, path: &str) -> Result<A, ApiError> {
        json(
            self.send(Method::GET, path, "application/json", Vec::new())
                .await?,
        )
        .await
    }

    /// Sends a JSON body and reads a JSON answer.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &Q,
    ) -> Result<A, ApiError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| ApiError::new(Code::Failed, format!("cannot write the request: {e}")))?;
        json(self.send(method, path, "application/json", body).await?).await
    }
}

/// Reads the whole body, at most [`MAX_ANSWER`]; an answer that is no success becomes the error that it carries.
pub async fn whole(answer: Response<Incoming>) -> Result<Bytes, ApiError> {
    let answer = success(answer).await?;
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    Ok(body.map_err(|e| broke_off(&e))?.to_bytes())
}

/// Reads the body part by part, at most `limit` bytes of it.
pub async fn parts<E: From<ApiError>>(
    answer: Response<Incoming>,
    limit: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut body, mut left) = (answer.into_body(), limit);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| broke_off(&e))?;
        let Some(part) = frame.data_ref() else {
            continue;
        };
        left = left
            .checked_sub(part.len() as u64)
            .ok_or_else(|| ApiError::new(Code::Failed, "the answer is longer than it may be"))?;
        take(part)?;
    }
    Ok(())
}

fn broke_off(e: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(Code::Unreachable, format!("the answer broke off: {e}"))
}

/// An answer that is no success becomes the error that it carries.
pub async fn success(answer: Response<Incoming>) -> Result<Response<Incoming>, ApiError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|e| broke_off(&e))?.to_bytes();
    Err(serde_json::from_slice(&body)
        .unwrap_or_else(|_| ApiError::new(Code::Failed, format!("the node answered {status}"))))
}

/// Reads the whole body as JSON.
pub async fn json<A: DeserializeOwned>(answer: Response<Incoming>) -> Result<A, ApiError> {
    let body = whole(answer).await?;
    let body = if body.is_empty() {
        Bytes::from_static(b"null")
    } else {
        body
    };
    serde_json::from_slice(&body).map_err(|e| {
        ApiError::new(
            Code::Failed,
            format!("the answer is not what this version expects: {e}"),
        )
        .hint("the agent may be of another version")
    })
}

fn broken(e: &hyper::Error) -> ApiError {
    ApiError::new(
        Code::Unreachable,
        format!("the connection to the node broke: {e}"),
    )
}
