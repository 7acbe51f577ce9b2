//! Talking with the agent: one method a request of the local API, and errors in the words of the person who typed the command.

use super::closest::closest;
use super::engine;
use super::place::Place;
use super::progress::Progress;
use super::stop::Stop;
use hyper::body::{Body, Incoming};
use hyper::{Method, Response};
use polykey_client::api::{
    CONFLICT_HEADER, Conflicts, Diff, EditReply, Edits, Entries, GrantReply, GrantRequest,
    KeyReply, KeyRequest, Log, MAX_VALUE, Members, PeerRequest, Peers, PruneReply, PruneRequest,
    Put, Recovery, RecoveryReply, RestoreRequest, RevokeReply, Status, VERSION_HEADER, Vault,
    VaultName, Vaults,
};
use polykey_client::error::{ApiError, Code};
use polykey_client::http::{Connection, Sending, json, parts, success, whole};
use polykey_client::reference::{MIN_PREFIX, Reference, Scope, shown, typed_vault, url_component};
use polykey_client::unix::connect;
use polykey_core::enc;
use polykey_core::ids::{CommitId, NodeId};
use polykey_core::unlock::MAX_KEY_FILE;
use serde_json::Value;
use zeroize::Zeroizing;

/// The longest request that holds what opens the identity, in bytes: a key file and what stands around it.
const KEY_BODY: usize = MAX_KEY_FILE + 64;
/// The longest request of a recovery, in bytes: 24 words of eight letters, a version, and what opens the identity.
const RECOVERY_BODY: usize = 512 + KEY_BODY;

const JSON: &str = "application/json";
const CBOR: &str = "application/cbor";

/// An open connection to the agent.
pub struct Session {
    connection: Connection,
}

/// A value that is on its way from the agent.
pub struct Reading {
    answer: Response<Incoming>,
    /// Its bytes.
    pub size: u64,
    /// The version.
    pub version: CommitId,
    /// Other values stand beside it.
    pub conflict: bool,
}

impl Reading {
    /// All of it.
    pub async fn whole(self) -> Result<Zeroizing<Vec<u8>>, ApiError> {
        let size = usize::try_from(self.size.min(MAX_VALUE)).unwrap_or(0);
        let mut all = Zeroizing::new(Vec::with_capacity(size));
        self.parts(|part| {
            all.extend_from_slice(part);
            Ok::<_, ApiError>(())
        })
        .await?;
        Ok(all)
    }

    /// Part by part.
    pub async fn parts<E: From<ApiError>>(
        self,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        parts(self.answer, MAX_VALUE, take).await
    }
}

impl Session {
    /// Connects to the agent of this place.
    pub async fn open(place: &Place) -> Result<Session, ApiError> {
        match connect(&place.socket()).await {
            Ok(connection) => Ok(Session { connection }),
            Err(error)
                if error.code == Code::Unreachable && !engine::has_identity(&place.node_path) =>
            {
                Err(no_identity(place))
            }
            Err(error) => Err(error),
        }
    }

    /// `GET /v1/status`
    pub async fn status(&mut self) -> Result<Status, ApiError> {
        self.connection.get("/v1/status").await
    }

    /// `POST /v1/stop`
    pub async fn stop(&mut self) -> Result<(), ApiError> {
        let answer = self
            .connection
            .send(Method::POST, "/v1/stop", JSON, Vec::new())
            .await?;
        whole(answer).await.map(drop)
    }

    /// `GET /v1/vaults`
    pub async fn vaults(&mut self) -> Result<Vec<Vault>, ApiError> {
        self.connection
            .get::<Vaults>("/v1/vaults")
            .await
            .map(|v| v.vaults)
    }

    /// `POST /v1/vaults`
    pub async fn create(&mut self, name: &str) -> Result<Vault, ApiError> {
        self.connection
            .call(
                Method::POST,
                "/v1/vaults",
                &VaultName {
                    name: name.to_owned(),
                },
            )
            .await
    }

    /// `POST /v1/vaults/{vault}/name`
    pub async fn rename(&mut self, vault: &str, name: &str) -> Result<(), ApiError> {
        let body = VaultName {
            name: name.to_owned(),
        };
        self.connection
            .call::<_, Value>(Method::POST, &path(vault, "name"), &body)
            .await
            .map(drop)
    }

    /// `GET /v1/vaults/{vault}/members`
    pub async fn members(&mut self, vault: &str) -> Result<Members, ApiError> {
        self.connection.get(&path(vault, "members")).await
    }

    /// `POST /v1/vaults/{vault}/grants`
    pub async fn grant(
        &mut self,
        vault: &str,
        request: &GrantRequest,
    ) -> Result<GrantReply, ApiError> {
        self.connection
            .call(Method::POST, &path(vault, "grants"), request)
            .await
    }

    /// `DELETE /v1/vaults/{vault}/members/{node}`
    pub async fn revoke(&mut self, vault: &str, node: &NodeId) -> Result<RevokeReply, ApiError> {
        let path = path(vault, &format!("members/{node}"));
        json(
            self.connection
                .send(Method::DELETE, &path, JSON, Vec::new())
                .await?,
        )
        .await
    }

    /// `POST /v1/key`
    pub async fn change_key(&mut self, request: &KeyRequest) -> Result<KeyReply, ApiError> {
        let mut body = enc::encode_secret(request, KEY_BODY);
        let body = std::mem::take(&mut *body);
        json(
            self.connection
                .send(Method::POST, "/v1/key", CBOR, body)
                .await?,
        )
        .await
    }

    /// `POST /v1/vaults/{vault}/recovery`
    pub async fn recover(
        &mut self,
        vault: &str,
        request: &Recovery,
    ) -> Result<RecoveryReply, ApiError> {
        let mut body = enc::encode_secret(request, RECOVERY_BODY);
        let body = std::mem::take(&mut *body);
        json(
            self.connection
                .send(Method::POST, &path(vault, "recovery"), CBOR, body)
                .await?,
        )
        .await
    }

    /// `GET /v1/vaults/{vault}/secrets?prefix=`
    pub async fn entries(&mut self, vault: &str, prefix: &str) -> Result<Entries, ApiError> {
        self.connection
            .get(&format!(
                "{}?prefix={}",
                path(vault, "secrets"),
                url_component(prefix)
            ))
            .await
    }

    /// `GET /v1/vaults/{vault}/secret?path=&version=`
    pub async fn read(
        &mut self,
        vault: &str,
        secret: &str,
        version: Option<&str>,
    ) -> Result<Reading, ApiError> {
        let version = version
            .map(|v| format!("&version={}", url_component(v)))
            .unwrap_or_default();
        let path = format!(
            "{}?path={}{version}",
            path(vault, "secret"),
            url_component(secret)
        );
        let answer = self
            .connection
            .send(Method::GET, &path, JSON, Vec::new())
            .await?;
        let answer = success(answer).await?;
        let version = answer
            .headers()
            .get(VERSION_HEADER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok());
        let version = version.ok_or_else(|| {
            ApiError::new(Code::Failed, "the agent did not say which version it gave")
        })?;
        let size = answer.body().size_hint().lower();
        let conflict = answer.headers().contains_key(CONFLICT_HEADER);
        Ok(Reading {
            answer,
            size,
            version,
            conflict,
        })
    }

    /// `PUT /v1/vaults/{vault}/secret?path=&mode=&expect=`, for a value that is too large for [`Edits`].
    pub async fn write(
        &mut self,
        vault: &str,
        put: Put,
        expect: Option<CommitId>,
        progress: Progress,
    ) -> Result<EditReply, ApiError> {
        let expect = expect.map(|v| format!("&expect={v}")).unwrap_or_default();
        let path = format!(
            "{}?path={}&mode={}{expect}",
            path(vault, "secret"),
            url_component(&put.path),
            put.mode
        );
        let mut progress = progress;
        let body = Sending::followed(put.value.0, move |sent| progress.at(sent));
        json(
            self.connection
                .send(Method::PUT, &path, "application/octet-stream", body)
                .await?,
        )
        .await
    }

    /// `POST /v1/vaults/{vault}/edits`
    pub async fn edit(&mut self, vault: &str, edits: &Edits) -> Result<EditReply, ApiError> {
        let body = minicbor::to_vec(edits)
            .map_err(|e| ApiError::new(Code::Failed, format!("cannot write the request: {e}")))?;
        json(
            self.connection
                .send(Method::POST, &path(vault, "edits"), CBOR, body)
                .await?,
        )
        .await
    }

    /// `GET /v1/vaults/{vault}/log?path=&limit=`
    pub async fn log(&mut self, vault: &str, secret: &str, limit: u32) -> Result<Log, ApiError> {
        let filter = if secret.is_empty() {
            String::new()
        } else {
            format!("&path={}", url_component(secret))
        };
        self.connection
            .get(&format!("{}?limit={limit}{filter}", path(vault, "log")))
            .await
    }

    /// `GET /v1/vaults/{vault}/conflicts`
    pub async fn conflicts(&mut self, vault: &str) -> Result<Conflicts, ApiError> {
        self.connection.get(&path(vault, "conflicts")).await
    }

    /// `GET /v1/vaults/{vault}/diff?path=&from=&to=`
    pub async fn diff(
        &mut self,
        vault: &str,
        below: &str,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Diff, ApiError> {
        let version = |name: &str, version: Option<&str>| {
            version
                .map(|v| format!("&{name}={}", url_component(v)))
                .unwrap_or_default()
        };
        let query = format!(
            "diff?path={}{}{}",
            url_component(below),
            version("from", from),
            version("to", to)
        );
        self.connection.get(&path(vault, &query)).await
    }

    /// `POST /v1/vaults/{vault}/prune`
    pub async fn prune(
        &mut self,
        vault: &str,
        request: &PruneRequest,
    ) -> Result<PruneReply, ApiError> {
        self.connection
            .call(Method::POST, &path(vault, "prune"), request)
            .await
    }

    /// `POST /v1/vaults/{vault}/restore`
    pub async fn restore(
        &mut self,
        vault: &str,
        request: &RestoreRequest,
    ) -> Result<EditReply, ApiError> {
        self.connection
            .call(Method::POST, &path(vault, "restore"), request)
            .await
    }

    /// `GET /v1/peers`
    pub async fn peers(&mut self) -> Result<Peers, ApiError> {
        self.connection.get("/v1/peers").await
    }

    /// `POST /v1/peers`
    pub async fn add_peer(&mut self, request: &PeerRequest) -> Result<(), ApiError> {
        self.connection
            .call::<_, Value>(Method::POST, "/v1/peers", request)
            .await
            .map(drop)
    }

    /// `DELETE /v1/peers/{node}`
    pub async fn remove_peer(&mut self, node: &NodeId) -> Result<(), ApiError> {
        let answer = self
            .connection
            .send(
                Method::DELETE,
                &format!("/v1/peers/{node}"),
                JSON,
                Vec::new(),
            )
            .await?;
        whole(answer).await.map(drop)
    }

    /// The vault that a person means: a name, a whole id, or a unique prefix of one. Costs a request only for a prefix.
    pub async fn vault(&mut self, given: &str) -> Result<String, ApiError> {
        let is_prefix = given.starts_with('z')
            && given.len() >= MIN_PREFIX
            && given.parse::<polykey_core::ids::VaultId>().is_err();
        if !is_prefix {
            return Ok(given.to_owned());
        }
        let vaults = self.vaults().await?;
        if vaults.iter().any(|v| v.name.as_deref() == Some(given)) {
            return Ok(given.to_owned());
        }
        let fits: Vec<String> = vaults
            .iter()
            .map(|v| v.id.to_string())
            .filter(|id| id.starts_with(given))
            .collect();
        match fits.as_slice() {
            [] => Ok(given.to_owned()),
            [id] => Ok(id.clone()),
            several => Err(ambiguous(given, several)),
        }
    }

    /// The node that a person means: a whole id, or a unique prefix among `known`.
    pub fn node(given: &str, known: impl IntoIterator<Item = NodeId>) -> Result<NodeId, ApiError> {
        if let Ok(node) = given.parse() {
            return Ok(node);
        }
        let mut fits: Vec<NodeId> = known
            .into_iter()
            .filter(|n| n.to_string().starts_with(given))
            .collect();
        fits.sort_unstable();
        fits.dedup();
        match fits.as_slice() {
            [node] if given.len() >= MIN_PREFIX => Ok(*node),
            [_, _, ..] if given.len() >= MIN_PREFIX => Err(ambiguous(
                given,
                &fits.iter().map(NodeId::to_string).collect::<Vec<_>>(),
            )),
            _ => Err(not_a_node(given)),
        }
    }

    /// An error that offers a command is explained already.
    ///
    /// The error of a request about `scope` as its author should read it: what is not there gets the names nearest to it.
    pub async fn explain(&mut self, error: ApiError, scope: &Scope) -> ApiError {
        if error.code != Code::NotFound || !error.next.is_empty() || error.hint.is_some() {
            return error;
        }
        let name = scope.vault.clone().unwrap_or_default();
        let Ok(vaults) = self.vaults().await else {
            return error;
        };
        let is_there = |v: &Vault| v.name.as_deref() == Some(&name) || v.id.to_string() == name;
        if !vaults.iter().any(is_there) {
            return no_vault(&name, &vaults);
        }
        let pending = vaults.iter().any(|v| is_there(v) && v.state == "pending");
        if scope.path.is_empty() {
            return error;
        }
        let entries = self.entries(&name, "").await.unwrap_or_default();
        let near = closest(
            &scope.path,
            with_folders(entries.entries.iter().map(|e| e.path.as_str())),
        );
        no_path(scope, &name, &near, pending)
    }
}

/// Each path, and each folder above it.
fn with_folders<'a>(paths: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    paths.flat_map(|path| {
        path.match_indices('/')
            .map(|(at, _)| &path[..at])
            .chain([path])
    })
}

fn path(vault: &str, rest: &str) -> String {
    format!("/v1/vaults/{}/{rest}", url_component(vault))
}

fn no_identity(place: &Place) -> ApiError {
    let at = place.node_path.display();
    ApiError::new(
        Code::Unreachable,
        format!("there is no identity in {at} yet, and no agent that runs"),
    )
    .hint("an identity is made once a device, or restored from its 24 words")
    .next("polykey init")
}

fn no_vault(name: &str, vaults: &[Vault]) -> ApiError {
    let near = closest(name, vaults.iter().filter_map(|v| v.name.as_deref()));
    let error = ApiError::new(
        Code::NotFound,
        format!("vault {} is not there, or not shared with you", shown(name)),
    );
    let error = if near.is_empty() {
        error
    } else {
        error.hint(format!("closest: {}", near.join(", ")))
    };
    error
        .next("polykey ls")
        .next(format!("polykey vault create {}", quoted(name)))
}

fn no_path(scope: &Scope, vault: &str, near: &[String], pending: bool) -> ApiError {
    let error = ApiError::new(
        Code::NotFound,
        format!("{scope} is not there, or not shared with you"),
    );
    let folder = scope
        .path
        .rsplit_once('/')
        .map_or(String::new(), |(folder, _)| folder.to_owned());
    let list = Scope {
        vault: Some(vault.to_owned()),
        path: folder,
    };
    let references = near
        .iter()
        .map(|path| reference(vault, path))
        .collect::<Vec<_>>();
    let error = match (pending, references.is_empty()) {
        (true, _) => error
            .hint("the vault was shared with this device, and its contents have not arrived yet"),
        (false, true) => error,
        (false, false) => error.hint(format!("closest: {}", references.join(", "))),
    };
    error.next(format!("polykey ls {}", quoted(&list.to_string())))
}

/// A reference as people type it.
pub fn reference(vault: &str, path: &str) -> String {
    Reference {
        vault: Some(vault.to_owned()),
        path: path.to_owned(),
        field: None,
        version: None,
    }
    .to_string()
}

/// A reference as files and programs hold it.
pub fn uri(vault: &str, path: &str) -> String {
    let path = path.to_owned();
    Reference {
        vault: Some(vault.to_owned()),
        path,
        field: None,
        version: None,
    }
    .to_uri(vault)
}

/// An argument for a shell: in quotes when it needs them.
pub fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,~#".contains(c);
    let safe =
        !argument.is_empty() && argument.chars().all(plain) && !argument.starts_with(['~', '#']);
    if safe {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

fn ambiguous(given: &str, several: &[String]) -> ApiError {
    ApiError::new(Code::Usage, format!("{} fits several", shown(given))).hint(several.join(", "))
}

fn not_a_node(given: &str) -> ApiError {
    ApiError::new(Code::Usage, format!("{} is no node id", shown(given)))
        .hint("a node id is v and 52 more characters; a prefix of 6 or more of a known one is enough. The other device prints its own with `polykey status`")
        .next("polykey peer ls")
}

/// The vault's name in messages.
pub fn vault_name(vault: &Vault) -> String {
    vault
        .name
        .as_deref()
        .map_or_else(|| vault.id.short(), typed_vault)
}

/// Which version a reply names, for people: its first 12 digits.
pub fn short_version(version: &CommitId) -> String {
    version.to_string()[..12].to_owned()
}

/// A usage error as a stop.
pub fn usage(message: impl Into<String>, hint: &str) -> Stop {
    Stop::Error(Stop::usage(message).hint(hint))
}
