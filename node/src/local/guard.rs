//! Who asks. A handler reaches the node's services through one of three values only, each of which is made by checking who is at the other end:
//! [`Admin`] on the Unix socket, [`Caller`] and [`Operator`] over TLS. The state that routes carry shows nothing by itself.

use super::Services;
use super::reply::Failed;
use super::tls::Conn;
use crate::workload::{Identity, Mode, Reason, Workload};
use axum::Extension;
use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use polykey_client::error::{ApiError, Code};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;
use zeroize::Zeroizing;

/// The state of the routes on the Unix socket: the door, not the house.
#[derive(Clone)]
pub struct SocketDoor(Arc<Services>);

/// The state of the routes over TLS.
#[derive(Clone)]
pub struct TlsDoor(Arc<Services>);

impl SocketDoor {
    /// For connections whose uid was checked when they were accepted (`unix`).
    pub fn new(services: Arc<Services>) -> SocketDoor {
        SocketDoor(services)
    }
}

impl TlsDoor {
    /// For connections of anybody.
    pub fn new(services: Arc<Services>) -> TlsDoor {
        TlsDoor(services)
    }
}

/// The user who runs the agent, or the warden: the other end of a connection to the socket.
pub struct Admin(Arc<Services>);

impl Deref for Admin {
    type Target = Arc<Services>;
    fn deref(&self) -> &Arc<Services> {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin
where
    SocketDoor: FromRef<S>,
{
    type Rejection = Failed;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Admin, Failed> {
        Ok(Admin(SocketDoor::from_ref(state).0))
    }
}

/// A workload with a token that was believed.
pub struct Caller {
    services: Arc<Services>,
    /// Who.
    pub workload: Workload,
    /// The token, for asking about it again while a watch is open.
    pub token: Zeroizing<String>,
}

impl Caller {
    /// The node's services, for this workload.
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    TlsDoor: FromRef<S>,
{
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Caller, Failed> {
        let services = TlsDoor::from_ref(state).0;
        let Extension(conn) = Extension::<Conn>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(Code::Failed, "a connection without an address"))?;
        authenticate(services, parts, conn).await
    }
}

/// The operator's `ServiceAccount`, from a pod.
pub struct Operator(Arc<Services>);

impl Deref for Operator {
    type Target = Arc<Services>;
    fn deref(&self) -> &Arc<Services> {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Operator
where
    TlsDoor: FromRef<S>,
{
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Operator, Failed> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let subject = caller.workload.identity.subject();
        if caller.services.about.operator.as_deref() == Some(subject.as_str()) {
            return Ok(Operator(caller.services));
        }
        tracing::warn!(%subject, "a workload asked for what only the operator may read");
        // The same answer as for a path that there is not.
        Err(ApiError::new(
            Code::NotFound,
            format!("there is no {} {} here", parts.method, parts.uri.path()),
        )
        .into())
    }
}

async fn authenticate(
    services: Arc<Services>,
    parts: &Parts,
    conn: Conn,
) -> Result<Caller, Failed> {
    let believed = match (bearer(parts), &services.workloads) {
        (Err(reason), _) => Err(counted(&services, reason)),
        (Ok(_), None) => Err(counted(&services, Reason::Off)),
        (Ok(token), Some(workloads)) => workloads.authenticate(&token).await.map(|w| (w, token)),
    };
    let (workload, token) = match believed {
        Ok(believed) => believed,
        Err(reason) => {
            tracing::info!(%reason, from = %conn.from, "a token was refused");
            services.record.token_refused(reason, None);
            return Err(outward(reason).into());
        }
    };
    let seen = services.clients().seen(
        &workload.identity.pod_uid,
        conn.client,
        conn.from,
        Instant::now(),
    );
    if seen.is_err() {
        counted(&services, Reason::Reuse);
        services
            .record
            .token_refused(Reason::Reuse, Some(&workload.identity));
        tell_both(&services, &workload.identity, &conn);
        return Err(reused().into());
    }
    Ok(Caller {
        services,
        workload,
        token,
    })
}

fn counted(services: &Services, reason: Reason) -> Reason {
    let mode = match &services.workloads {
        Some(w) => w.usual_mode(),
        None => Mode::Jwks,
    };
    services.metrics.workload_auth(Some(reason), mode);
    reason
}

fn bearer(parts: &Parts) -> Result<Zeroizing<String>, Reason> {
    let mut all = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (all.next(), all.next()) else {
        return Err(Reason::Missing);
    };
    let text = one.to_str().map_err(|_| Reason::Malformed)?;
    let token = text.strip_prefix("Bearer ").ok_or(Reason::Missing)?;
    Ok(Zeroizing::new(token.to_owned()))
}

/// What the other end is told. A refused token is a refused token: which step refused it helps an attacker only. What is this node's own fault says so.
fn outward(reason: Reason) -> ApiError {
    match reason {
        Reason::ReviewForbidden => ApiError::new(
            Code::ReviewForbidden,
            "this node may not review tokens: its installation is at fault",
        ),
        Reason::NoKeys => ApiError::new(
            Code::Unreachable,
            "this node does not know the issuer's keys yet",
        ),
        Reason::Busy => ApiError::new(Code::Unreachable, "this node reviews too many tokens"),
        _ => ApiError::new(Code::Unauthorized, "the token was refused"),
    }
}

fn reused() -> ApiError {
    ApiError::new(
        Code::Unauthorized,
        "TokenReuse: another client at another address uses this pod's token",
    )
}

/// The second client gets its answer; the first is told on its watch, and the pod's rows say it.
fn tell_both(services: &Services, who: &Identity, conn: &Conn) {
    tracing::warn!(pod = %who.pod, namespace = %who.namespace, from = %conn.from, "a pod's token came with another key from another address");
    let message = format!("a client at {} came with this pod's token", conn.from);
    services.watches.consumers().token_reused(who, &message);
    services.watches.token_reused(&who.pod_uid, &message);
}
