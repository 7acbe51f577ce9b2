//! The routes on the Unix socket, for the command line and the warden. Every handler takes an `Admin` first.

use super::errors::{self, role_of, role_word};
use super::guard::{Admin, SocketDoor};
use super::recovery;
use super::reply::{self, Failed};
use super::{history, key, table, values, workloads};
use crate::agent::Ask;
use crate::vaults::Terms;
use axum::Router;
use axum::extract::{Path, Query, RawQuery, Request};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use polykey_client::access::{AccessReply, AccessSet, MAX_ACCESS_BODY, RefusedRule};
use polykey_client::api::{
    self, EditReply, Edits, Entries, Entry, GrantReply, GrantRequest, MAX_EDITS_BODY, Members,
    PeerRequest, Peers, RevokeReply, Status, VaultName, Vaults,
};
use polykey_client::error::{ApiError, Code};
use polykey_core::control::Caveat;
use polykey_core::enc;
use polykey_core::ids::NodeId;
use polykey_core::tree::Edit;
use serde::Deserialize;
use serde_json::json;

/// The largest JSON of a small request, in bytes: a grant with a long caveat.
pub(super) const MAX_SMALL: usize = 256 << 10;
/// The most changes in one commit.
const MAX_EDITS: usize = 10_000;

/// All routes.
pub fn router(door: SocketDoor) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/vaults", get(vaults).post(create))
        .route("/v1/vaults/{vault}/name", post(rename))
        .route("/v1/vaults/{vault}/members", get(members))
        .route("/v1/vaults/{vault}/members/{node}", delete(revoke))
        .route("/v1/vaults/{vault}/grants", post(grant))
        .route("/v1/vaults/{vault}/recovery", post(recovery::recover))
        .route("/v1/vaults/{vault}/secrets", get(secrets))
        .route(
            "/v1/vaults/{vault}/secret",
            get(values::read).put(values::write),
        )
        .route("/v1/vaults/{vault}/edits", post(edit))
        .route("/v1/vaults/{vault}/log", get(history::log))
        .route("/v1/vaults/{vault}/conflicts", get(history::conflicts))
        .route("/v1/vaults/{vault}/diff", get(history::diff))
        .route("/v1/vaults/{vault}/prune", post(history::prune))
        .route("/v1/vaults/{vault}/restore", post(history::restore))
        .route("/v1/peers", get(peers).post(add_peer))
        .route("/v1/peers/{node}", delete(remove_peer))
        .route("/v1/access", put(put_access))
        .route("/v1/consumers", get(consumers))
        .route("/v1/key", post(key::rotate))
        .route("/v1/stop", post(stop))
        .fallback(reply::no_such_path)
        .method_not_allowed_fallback(reply::no_such_path)
        .with_state(door)
}

async fn status(admin: Admin) -> Response {
    let about = &admin.about;
    let (store_bytes, collected_ms) = admin.vaults.store_size().unwrap_or_default();
    reply::json(&Status {
        node_id: about.node,
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        node_path: about.node_path.display().to_string(),
        unlock_method: about.unlock_method.to_owned(),
        boot: about.boot,
        listen: admin.peers.local_addr().map(|a| a.to_string()),
        uptime_seconds: about.since.elapsed().as_secs(),
        access_set: admin.access.current().map(|c| c.set().set.clone()),
        access_age_seconds: admin.access.age().map(|a| a.as_secs()),
        consumers: admin.metrics.open_watches(),
        store_bytes,
        collected_ms,
        standing: errors::standing(&admin.vaults.standing().report()),
        vaults: admin.vaults.list().iter().map(errors::vault).collect(),
        peers: admin.peers.list(),
    })
}

async fn vaults(admin: Admin) -> Response {
    let vaults = admin.vaults.list().iter().map(errors::vault).collect();
    reply::json(&Vaults { vaults })
}

async fn create(admin: Admin, request: Request) -> Result<Response, Failed> {
    let VaultName { name } = reply::parse(request, MAX_SMALL).await?;
    let id = admin.vaults.create(&name).await?;
    Ok(reply::json(&errors::vault(&admin.vaults.summary_of(&id)?)))
}

async fn rename(
    admin: Admin,
    Path(given): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let VaultName { name } = reply::parse(request, MAX_SMALL).await?;
    admin.vaults.rename(&vault, &name).await?;
    Ok(reply::json(&errors::vault(
        &admin.vaults.summary_of(&vault)?,
    )))
}

async fn members(admin: Admin, Path(given): Path<String>) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let list = admin.vaults.members(&vault)?;
    let members = list
        .members
        .into_iter()
        .map(|m| api::Member {
            this_node: m.node == admin.about.node,
            connected: admin.peers.connected(&m.node),
            node: m.node,
            role: role_word(m.role).to_owned(),
            expires: m.expires,
            caveat: m.caveat.map(|c| api::Caveat {
                cluster: (!c.cluster.is_empty()).then_some(c.cluster),
                namespaces: c.namespaces,
                service_accounts: c.service_accounts,
                paths: c.paths,
            }),
            siblings: m.siblings,
            under: m.under,
        })
        .collect();
    Ok(reply::json(&Members {
        members,
        rotation_pending: list.rotation_pending,
    }))
}

async fn grant(
    admin: Admin,
    Path(given): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let asked: GrantRequest = reply::parse(request, MAX_SMALL).await?;
    let role = role_of(&asked.role)?;
    let caveat = asked.caveat.map(|c| Caveat {
        cluster: c.cluster.unwrap_or_default(),
        namespaces: c.namespaces,
        service_accounts: c.service_accounts,
        paths: c.paths,
    });
    let granted = admin
        .vaults
        .grant_on(
            &vault,
            asked.node,
            Terms {
                role,
                siblings: asked.siblings,
                expires: asked.expires,
                caveat,
            },
        )
        .await;
    admin
        .record
        .granted(&vault, &asked.node, &asked.role, granted.as_ref().err())
        .await;
    let granted = granted?;
    Ok(reply::json(&GrantReply {
        grant: granted.grant,
        connected: admin.peers.connected(&asked.node),
        unchanged: granted.unchanged,
    }))
}

async fn revoke(
    admin: Admin,
    Path((given, node)): Path<(String, String)>,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let node = parse_node(&node)?;
    let revoked = admin.vaults.revoke(&vault, node).await;
    admin
        .record
        .revoked(&vault, &node, revoked.as_ref().err())
        .await;
    let revoked = revoked?;
    Ok(reply::json(&RevokeReply {
        rotate: revoked.rotate,
        with: revoked.with,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Prefix {
    #[serde(default)]
    prefix: String,
}

async fn secrets(
    admin: Admin,
    Path(given): Path<String>,
    query: Result<Query<Prefix>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failed> {
    let Query(Prefix { prefix }) = query.map_err(|_| usage("this path takes `prefix`"))?;
    let vault = admin.vaults.resolve(&given)?;
    let listing = admin.vaults.list_paths(&vault, &prefix)?;
    let entries = listing
        .entries
        .into_iter()
        .map(|e| Entry {
            path: e.path,
            size: e.size,
            mode: e.mode,
            version: e.version,
            changed_ms: e.changed_ms,
            by: e.by,
            conflict: e.conflict,
        })
        .collect();
    Ok(reply::json(&Entries {
        version: listing.version,
        entries,
    }))
}

async fn edit(
    admin: Admin,
    Path(given): Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let vault = admin.vaults.resolve(&given)?;
    let body = reply::body(request, MAX_EDITS_BODY).await?;
    let Edits { expect, edits } =
        enc::decode(&body).map_err(|e| usage(&format!("the body is no canonical `Edits`: {e}")))?;
    if edits.len() > MAX_EDITS {
        return Err(ApiError::new(
            Code::TooLarge,
            format!("a commit has at most {MAX_EDITS} changes"),
        )
        .into());
    }
    let edits = edits
        .into_iter()
        .map(|e| match e {
            api::Edit::Put(put) => Edit::Put {
                path: put.path,
                mode: put.mode,
                value: put.value.0,
            },
            api::Edit::Remove(path) => Edit::Remove { path },
        })
        .collect();
    let edited = admin.vaults.edit(&vault, edits, expect).await?;
    Ok(reply::json(&EditReply {
        version: edited.version,
        changed: edited.changed,
    }))
}

async fn peers(admin: Admin) -> Response {
    reply::json(&Peers {
        peers: admin.peers.list(),
    })
}

async fn add_peer(admin: Admin, request: Request) -> Result<Response, Failed> {
    let asked: PeerRequest = reply::parse(request, MAX_SMALL).await?;
    admin
        .peers
        .add(asked.node, asked.address.as_deref())
        .await?;
    admin.record.peer(&asked.node, "added").await;
    Ok(reply::json(&json!({})))
}

async fn remove_peer(admin: Admin, Path(node): Path<String>) -> Result<Response, Failed> {
    let node = parse_node(&node)?;
    if !admin.peers.remove(&node).await? {
        return Err(ApiError::new(
            Code::NotFound,
            format!("{node} is not among the configured peers"),
        )
        .next("polykey peer ls")
        .into());
    }
    admin.record.peer(&node, "removed").await;
    Ok(reply::json(&json!({})))
}

async fn put_access(admin: Admin, request: Request) -> Result<Response, Failed> {
    let set: AccessSet = reply::parse(request, MAX_ACCESS_BODY).await?;
    let digest = set.set.clone();
    let put = admin.access.put(set).await?;
    if put.changed {
        admin
            .peers
            .set_access(&admin.access.peers(), &admin.access.siblings());
    }
    if put.changed || put.restored {
        admin.record.rules(&digest, put.restored).await;
    }
    let refused = table::rules(&admin)
        .into_iter()
        .filter_map(|r| r.reason.map(|reason| RefusedRule { id: r.id, reason }))
        .collect();
    Ok(reply::json(&AccessReply {
        applied: digest,
        changed: put.changed,
        refused,
    }))
}

async fn consumers(admin: Admin, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    workloads::consumers_of(&admin, query.as_deref())
}

async fn stop(admin: Admin) -> Response {
    tracing::info!("asked to stop");
    admin.ask.try_send(Ask::Stop).ok();
    reply::json(&json!({}))
}

fn parse_node(text: &str) -> Result<NodeId, ApiError> {
    text.parse().map_err(|e| usage(&format!("{e}")))
}

pub(super) fn usage(why: &str) -> ApiError {
    ApiError::new(Code::Usage, why)
}
