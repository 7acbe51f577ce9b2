//! HTTP/1.1 on one accepted stream, with every limit that a hostile client meets: time for a head, its size, the number of its fields, time to take an answer.

use super::stall::Unstalled;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};

/// Time for the head of a request, from the moment that the connection waits for one; so also how long an idle connection is kept.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Bytes that are buffered of a request. A head with the longest token has 9 KiB; 64 ids of versions are 4 KiB.
const MAX_HEAD: usize = 32 << 10;
/// Header fields of a request. Ours send five.
const MAX_FIELDS: usize = 32;
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_secs(30);
/// How long a request in progress may go on after the stop.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves one connection to its end, or until `stop` says true: then the request in progress is the last.
pub async fn serve<S>(stream: S, app: Router, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(
            TokioIo::new(Unstalled::new(stream, STALL)),
            TowerToHyperService::new(app),
        );
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_WORDS, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "a connection of the local API broke");
    }
}

/// Waits until `stop` says true, or nobody is left who could say it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|s| *s).await.ok();
}

/// Waits until the connections whose places are in `room` are closed, for as long as their last requests may take.
pub async fn all_closed(room: &Semaphore, places: usize) {
    let all = u32::try_from(places).unwrap_or(u32::MAX);
    tokio::time::timeout(LAST_WORDS * 2, room.acquire_many(all))
        .await
        .ok();
}
