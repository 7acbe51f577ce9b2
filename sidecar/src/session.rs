//! One watch: the connection to a node from its first byte to its end, and what each frame does to the vaults that it carries.
//!
//! It never decides where to connect next (`follow` does) and never judges contents (`verify` does).

use crate::follow::Shared;
use crate::vault::{Applied, Vault};
use anyhow::Context;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use polykey_client::api::Ack;
use polykey_client::error::{ApiError, Code};
use polykey_client::http::{self, Connection};
use polykey_client::tls;
use polykey_client::watch::{Frame, Refusal, SILENCE_SECONDS};
use polykey_core::ids::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};
use zeroize::Zeroizing;

/// The largest token file that is read, in bytes: a node refuses longer tokens.
const MAX_TOKEN: u64 = 16 << 10;

/// How a watch ended.
#[derive(Debug)]
pub enum End {
    /// The node asked for it: read the token again and reopen.
    Bye,
    /// This node does not have these vaults, another may.
    Elsewhere(Vec<String>),
    /// No byte for too long, a broken connection, or something that no honest node sends.
    Lost(ApiError),
}

/// How long a watch stays with a node that lacks a vault when no other node is left to ask: the vault may arrive there any moment.
const PATIENCE: Duration = Duration::from_secs(15);

/// Opens a watch at `address` for all `vaults` and follows it to its end. With `last` there is no other node to ask for a vault that this one lacks.
pub async fn watch(
    shared: &Shared,
    address: &str,
    last: bool,
    vaults: &mut BTreeMap<String, Vault>,
) -> End {
    match open(shared, address, vaults).await {
        Ok((node, body)) => {
            info!(%address, node = %node.short(), vaults = vaults.len(), "watching");
            let acks = Acks {
                shared,
                node,
                address,
                name: None,
                connection: None,
            };
            Session {
                shared,
                node,
                vaults,
                acks,
                last,
                leave: None,
            }
            .run(body)
            .await
        }
        Err(e) => End::Lost(e),
    }
}

async fn open(
    shared: &Shared,
    address: &str,
    vaults: &BTreeMap<String, Vault>,
) -> Result<(NodeId, Incoming), ApiError> {
    let (node, mut connection) = connect(shared, address).await?;
    let answer = connection
        .send(
            Method::GET,
            &watch_path(vaults),
            "application/json",
            Vec::new(),
        )
        .await?;
    if answer.status().is_success() {
        return Ok((node, answer.into_body()));
    }
    match http::whole(answer).await {
        Err(e) => Err(e),
        Ok(_) => Err(ApiError::new(
            Code::Failed,
            "the node answered the watch with nothing",
        )),
    }
}

async fn connect(shared: &Shared, address: &str) -> Result<(NodeId, Connection), ApiError> {
    let token =
        read_token(shared).map_err(|e| ApiError::new(Code::Unauthorized, format!("{e:#}")))?;
    tls::connect(address, shared.tls.clone(), Some(token.trim())).await
}

fn read_token(shared: &Shared) -> anyhow::Result<Zeroizing<String>> {
    use std::io::Read;
    let mut token = Zeroizing::new(String::new());
    let file = std::fs::File::open(&shared.token_file)
        .with_context(|| format!("cannot open {}", shared.token_file.display()))?;
    file.take(MAX_TOKEN)
        .read_to_string(&mut token)
        .context("cannot read the token")?;
    Ok(token)
}

fn watch_path(vaults: &BTreeMap<String, Vault>) -> String {
    let mut path = String::from("/v1/watch?names=");
    path.push_str(
        &vaults
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(","),
    );
    let have: Vec<String> = vaults.values().filter_map(Vault::held_text).collect();
    if !have.is_empty() {
        let _ = write!(path, "&have={}", have.join(","));
    }
    path
}

struct Session<'s> {
    shared: &'s Shared,
    node: NodeId,
    vaults: &'s mut BTreeMap<String, Vault>,
    acks: Acks<'s>,
    last: bool,
    /// When to give up waiting for vaults that this node lacks, and which they are.
    leave: Option<(Instant, Vec<String>)>,
}

impl Session<'_> {
    async fn run(mut self, mut body: Incoming) -> End {
        let mut buffer = Vec::new();
        loop {
            loop {
                match Frame::split(&mut buffer) {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if let Some(end) = self.take(frame).await {
                            return end;
                        }
                    }
                    Err(e) => {
                        return End::Lost(ApiError::new(
                            Code::Failed,
                            format!("node {} sent {e}", self.node.short()),
                        ));
                    }
                }
            }
            let silence = Instant::now() + Duration::from_secs(SILENCE_SECONDS);
            let deadline = self
                .leave
                .as_ref()
                .map_or(silence, |(at, _)| silence.min(*at));
            match tokio::time::timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(part))) => {
                    if let Ok(data) = part.into_data() {
                        buffer.extend_from_slice(&data);
                    }
                }
                Ok(Some(Err(e))) => {
                    return End::Lost(ApiError::new(
                        Code::Unreachable,
                        format!("the watch broke: {e}"),
                    ));
                }
                Ok(None) => {
                    return End::Lost(ApiError::new(
                        Code::Unreachable,
                        "the node closed the watch",
                    ));
                }
                Err(_) if deadline < silence => {
                    return End::Elsewhere(
                        self.leave
                            .take()
                            .map(|(_, names)| names)
                            .unwrap_or_default(),
                    );
                }
                Err(_) => {
                    return End::Lost(ApiError::new(
                        Code::Unreachable,
                        format!("no sign of life for {SILENCE_SECONDS} s"),
                    ));
                }
            }
        }
    }

    /// What one frame does; an end when the watch is over.
    async fn take(&mut self, frame: Frame) -> Option<End> {
        match frame {
            Frame::Ping => None,
            Frame::Nodes(nodes) => {
                let own = nodes.iter().find(|n| n.node == self.node);
                self.acks.name = own.map(|n| n.address.clone()).filter(|a| !a.is_empty());
                self.shared.learn_nodes(nodes);
                None
            }
            Frame::Snapshot(content) => {
                let name = content.name.clone();
                self.with(&name, |vault| vault.begin(content, true)).await
            }
            Frame::Change(content) => {
                let name = content.name.clone();
                self.with(&name, |vault| vault.begin(content, false)).await
            }
            Frame::Part(part) => {
                let name = part.name.clone();
                self.with(&name, |vault| vault.part(part)).await
            }
            Frame::Current(named) => self.with(&named.name, Vault::current).await,
            Frame::Behind(named) => Some(End::Elsewhere(vec![named.name])),
            Frame::Refused(refusal) => self.refused(refusal),
            Frame::Gone(refusal) => {
                warn!(
                    vault = refusal.name,
                    reason = refusal.reason,
                    "access was taken back; the files stay: rotate what they hold"
                );
                if let Some(vault) = self.vaults.get_mut(&refusal.name) {
                    vault.revoked(&refusal.reason);
                }
                None
            }
            Frame::Bye(reason) => {
                info!(reason, "the node ends the watch");
                Some(End::Bye)
            }
        }
    }

    /// Lets a vault take something, and tells the node what came of it.
    async fn with(&mut self, name: &str, act: impl FnOnce(&mut Vault) -> Applied) -> Option<End> {
        let Some(vault) = self.vaults.get_mut(name) else {
            return Some(End::Lost(ApiError::new(
                Code::Failed,
                format!(
                    "node {} sent {name:?}, which was not asked for",
                    self.node.short()
                ),
            )));
        };
        if let Some((_, waiting)) = &mut self.leave {
            waiting.retain(|n| n != name);
        }
        self.leave.take_if(|(_, waiting)| waiting.is_empty());
        match act(vault) {
            Applied::More => None,
            Applied::Written(ack) => {
                self.acks.send(&ack).await;
                None
            }
            Applied::Unusable(ack) => {
                warn!(
                    vault = name,
                    reason = ack.reason,
                    "the version was not written; the old files stay"
                );
                self.acks.send(&ack).await;
                None
            }
            Applied::Untrusted(ack, why) => {
                warn!(vault = name, node = %self.node.short(), reason = ack.reason, %why, "this node's version is not to be trusted");
                self.acks.send(&ack).await;
                Some(End::Lost(ApiError::new(Code::Failed, why)))
            }
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Option<End> {
        let elsewhere = matches!(refusal.reason.as_str(), "NotGranted" | "VaultNotFound");
        info!(
            vault = refusal.name,
            reason = refusal.reason,
            message = refusal.message,
            "refused"
        );
        if !elsewhere {
            return None;
        }
        if !self.last {
            return Some(End::Elsewhere(vec![refusal.name]));
        }
        self.leave
            .get_or_insert_with(|| (Instant::now() + PATIENCE, Vec::new()))
            .1
            .push(refusal.name);
        None
    }
}

/// How often the address of the watch is tried for an acknowledgement: behind a Service it leads to any of a few nodes.
const ACK_TRIES: usize = 4;

/// Tells the node of the watch what the pod holds, over a connection of its own: the watch occupies the first. What cannot be told now is repeated at the next connection.
struct Acks<'s> {
    shared: &'s Shared,
    /// The node of the watch: its table counts while the watch is open, another's forgets.
    node: NodeId,
    address: &'s str,
    /// Its own name, once it is known.
    name: Option<String>,
    connection: Option<Connection>,
}

impl Acks<'_> {
    async fn connect(&self) -> Option<Connection> {
        let again = std::iter::repeat_n(self.address, ACK_TRIES);
        for address in self.name.as_deref().into_iter().chain(again) {
            match connect(self.shared, address).await {
                Ok((node, connection)) if node == self.node => return Some(connection),
                _ => {}
            }
        }
        None
    }

    async fn send(&mut self, ack: &Ack) {
        for _ in 0..2 {
            if self.connection.is_none() {
                self.connection = self.connect().await;
            }
            let Some(connection) = &mut self.connection else {
                return;
            };
            match connection
                .call::<_, serde_json::Value>(Method::POST, "/v1/ack", ack)
                .await
            {
                Ok(_) => return,
                Err(e) => {
                    self.connection = None;
                    if e.code != Code::Unreachable {
                        warn!(error = %e, "the node did not take what this pod holds");
                        return;
                    }
                }
            }
        }
    }
}
