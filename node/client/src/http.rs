//! One HTTP/1.1 exchange over a stream that somebody else opened, with every body bounded.

use crate::error::{ApiError, Code};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

/// The largest answer that a client reads whole, in bytes: a consumer table of 10,000 pods at about 500 bytes each, doubled.
pub const MAX_ANSWER: usize = 10 << 20;

/// A connection that answers requests one after another.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
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
        body: Vec<u8>,
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
            .body(Full::from(body))
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
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body
        .map_err(|e| ApiError::new(Code::Unreachable, format!("the answer broke off: {e}")))?
        .to_bytes();
    if status.is_success() {
        return Ok(body);
    }
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
