//! `status`, and what `polykey` alone says about the state: one screen, and what a person should look at.

use super::args;
use super::context::Context;
use super::output::{ago, put, size, span};
use super::session::{quoted, short_version, vault_name};
use super::stop::Stop;
use super::vaults::summary;
use jiff::Timestamp;
use polykey_client::api;
use polykey_client::kinds::{Problem, Status, from_millis};
use polykey_client::reference::shown;
use polykey_core::ids::NodeId;
use std::fmt::Write;

/// Seconds after which unconfirmed access rules need a look: the warden confirms them every few seconds while the API server answers.
const ACCESS_AGE: u64 = 300;

/// `polykey status`
pub async fn run(context: &Context, args: &args::Status) -> Result<(), Stop> {
    let status = context.session().await?.status().await?;
    let problems = problems(&status);
    let found = !problems.is_empty();
    let text = screen(context, &status, &problems);
    let document = document(context, status, problems);
    let name = document.node_id.to_string();
    context.output.text(&document, &name, &text)?;
    if args.check && found {
        Err(Stop::Problems)
    } else {
        Ok(())
    }
}

/// The state in one line, for `polykey` alone.
pub async fn one_line(context: &Context) -> String {
    let mut session = match context.session().await {
        Ok(session) => session,
        Err(error) => {
            return error.to_string()
                + &error
                    .next
                    .first()
                    .map(|next| format!("   {next}"))
                    .unwrap_or_default();
        }
    };
    match session.status().await {
        Ok(status) => {
            let connected = status.peers.iter().filter(|p| p.connected).count();
            let (vaults, peers) = (status.vaults.len(), status.peers.len());
            let look = if problems(&status).is_empty() {
                ""
            } else {
                "   ! polykey status"
            };
            format!(
                "agent running as {}: {vaults} vaults, {connected} of {peers} peers connected{look}",
                status.node_id.short()
            )
        }
        Err(error) => error.to_string(),
    }
}

/// What is not as it should be. A peer that is away is not: devices come and go.
fn problems(status: &api::Status) -> Vec<Problem> {
    let vaults = status.vaults.iter();
    let vaults = vaults.flat_map(|v| vault_problem(v).into_iter().chain(held_problem(v)));
    let peers = status.peers.iter().filter_map(peer_problem);
    let standing = standing_problems(&status.standing);
    let all = standing.into_iter().chain(vaults).chain(peers);
    all.chain(access_problem(status)).collect()
}

/// What peers have told of other copies of this node, and of its own past.
fn standing_problems(standing: &api::Standing) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Some(other) = &standing.yielded {
        found.push(Problem {
            message: format!(
                "another copy of this node is connected to {} with a later start ({}) of its store; this one writes nothing. Stop the other for good, then start this one as the only one",
                other.told_by.short(),
                other.boot
            ),
            next: Some("polykey agent start --only-copy".to_owned()),
        });
    }
    if let Some(other) = &standing.doubled {
        found.push(Problem {
            message: format!(
                "another copy of this node (start {} of its store) was connected to {}; it writes nothing now. Find it and stop it; if it is not yours, remove this node from its vaults",
                other.boot,
                other.told_by.short()
            ),
            next: Some("polykey peer ls".to_owned()),
        });
    }
    if let (Some(peer), None) = (&standing.restored_by, &standing.yielded) {
        found.push(Problem {
            message: format!(
                "this store is older than what {} has seen of it: it was restored from a copy, and has fetched what it lacked",
                peer.short()
            ),
            next: None,
        });
    }
    found
}

fn vault_problem(vault: &api::Vault) -> Option<Problem> {
    let name = vault_name(vault);
    let (message, next) = match vault.state.as_str() {
        "ok" => return None,
        "pending" => (
            format!("{name} was shared with this device, and its contents have not arrived yet"),
            Some("polykey peer ls".to_owned()),
        ),
        "needs-upgrade" => (
            format!(
                "{name} uses something that this version does not know; its newest contents are not shown"
            ),
            Some("polykey version".to_owned()),
        ),
        "cloned" => (
            format!(
                "{name}: two copies of one node have written; both versions are kept: {}",
                doubles(&vault.doubles)
            ),
            Some(format!("polykey log {}", quoted(&name))),
        ),
        "diverged" => (
            format!(
                "{name} was written at several places at once; all of it is shown, and the next write joins it"
            ),
            Some(format!("polykey vault conflicts {}", quoted(&name))),
        ),
        "broken" => (
            format!(
                "the newest version of {name} was made wrong by its author; what it builds on is shown, and the next write heals it"
            ),
            Some(format!("polykey log {}", quoted(&name))),
        ),
        other => (
            format!("{name} is {}", shown(other)),
            Some(format!("polykey log {}", quoted(&name))),
        ),
    };
    Some(Problem { message, next })
}

/// Somebody writes faster than this node takes.
fn held_problem(vault: &api::Vault) -> Option<Problem> {
    if vault.held_back.is_empty() {
        return None;
    }
    let name = vault_name(vault);
    let authors: Vec<String> = vault.held_back.iter().map(NodeId::short).collect();
    Some(Problem {
        message: format!(
            "{name}: {} writes more than 20 versions a second; what is beyond waits. If that is no import, remove whoever does it",
            authors.join(", ")
        ),
        next: Some(format!("polykey vault members {}", quoted(&name))),
    })
}

/// The pairs of versions that prove it.
pub fn doubles(doubles: &[api::Double]) -> String {
    let pair = |double: &api::Double| {
        let [one, other] = &double.versions;
        format!(
            "{} and {} by {}",
            short_version(one),
            short_version(other),
            double.author.short()
        )
    };
    doubles.iter().map(pair).collect::<Vec<_>>().join(", ")
}

fn peer_problem(peer: &api::Peer) -> Option<Problem> {
    if peer.cloned {
        return Some(Problem {
            message: format!(
                "two copies of {} were connected at once; the one with the older store writes nothing now",
                peer.node.short()
            ),
            next: Some("polykey peer ls".to_owned()),
        });
    }
    let error = peer
        .last_error
        .as_ref()
        .filter(|_| !peer.connected && peer.origin == "configured")?;
    let message = format!("{} is not connected: {}", peer.node.short(), shown(error));
    Some(Problem {
        message,
        next: Some("polykey peer ls".to_owned()),
    })
}

fn access_problem(status: &api::Status) -> Option<Problem> {
    let age = status.access_age_seconds.filter(|age| *age > ACCESS_AGE)?;
    let age = span(i64::try_from(age).unwrap_or(i64::MAX));
    Some(Problem {
        message: format!("the cluster's access rules were not confirmed for {age}"),
        next: None,
    })
}

fn screen(context: &Context, status: &api::Status, problems: &[Problem]) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        let _ = writeln!(out, "{}", format!("{label:<9}{text}").trim_end());
    };
    let up = span(i64::try_from(status.uptime_seconds).unwrap_or(i64::MAX));
    let unlocked = if status.unlock_method == "keyfile" {
        "key file"
    } else {
        "password"
    };
    line("node", &status.node_id.to_string());
    line(
        "store",
        &format!(
            "{}   {}   unlocked by {unlocked}",
            shown(&status.node_path),
            size(status.store_bytes)
        ),
    );
    line(
        "agent",
        &format!(
            "polykey {}, up {up}, start {}",
            status.software_version, status.boot
        ),
    );
    line(
        "listens",
        &status
            .listen
            .as_ref()
            .map_or_else(|| "for no peer".to_owned(), |l| format!("{l} (UDP)")),
    );
    if let Some(set) = &status.access_set {
        let age = status.access_age_seconds.unwrap_or_default();
        line(
            "access",
            &format!(
                "rules {} confirmed {age} s ago, {} pods connected",
                set.get(..12).unwrap_or(set),
                status.consumers
            ),
        );
    }
    labelled(
        "vaults",
        "none yet   polykey vault create NAME",
        status.vaults.iter().map(vault_line),
        &mut line,
    );
    labelled(
        "peers",
        "none yet   polykey peer add NODE-ID host:1314",
        status.peers.iter().map(peer_line),
        &mut line,
    );
    let paint = context.output.paint();
    for problem in problems {
        let next = problem
            .next
            .as_ref()
            .map(|next| format!("   {next}"))
            .unwrap_or_default();
        let _ = writeln!(out, "{} {}{next}", paint.warning("!"), problem.message);
    }
    out
}

fn labelled(
    label: &str,
    none: &str,
    lines: impl Iterator<Item = String>,
    line: &mut impl FnMut(&str, &str),
) {
    let mut label = Some(label);
    for text in lines {
        line(label.take().unwrap_or_default(), &text);
    }
    if let Some(label) = label {
        line(label, none);
    }
}

fn vault_line(vault: &api::Vault) -> String {
    let [name, role, version, members] = summary(vault);
    let changed = vault
        .committed_ms
        .and_then(from_millis)
        .map(|at| ago(Timestamp::now(), at))
        .unwrap_or_default();
    let mut state = if vault.state == "ok" {
        changed
    } else {
        shown(&vault.state)
    };
    if let Some(at) = vault.fresh_ms.and_then(from_millis) {
        let _ = write!(state, "; an owner was heard {}", ago(Timestamp::now(), at));
    }
    format!("{name:<16}  {role:<6}  {version:<12}  {members:<10}  {state}")
}

fn peer_line(peer: &api::Peer) -> String {
    let node = peer.node.short();
    let addresses = shown(&peer.addresses.join(", "));
    match (&peer.address, peer.connected) {
        (Some(address), true) => format!("{node}  connected at {}", shown(address)),
        (None, true) => format!("{node}  connected"),
        _ if peer.addresses.is_empty() => {
            format!("{node}  not connected; it has to dial this device")
        }
        _ => format!("{node}  not connected; dialled at {addresses}"),
    }
}

fn document(context: &Context, status: api::Status, problems: Vec<Problem>) -> Status {
    Status {
        node_id: status.node_id,
        software_version: status.software_version,
        node_path: status.node_path,
        socket: context.place.socket().display().to_string(),
        unlock_method: status.unlock_method,
        listen: status.listen,
        boot: status.boot,
        uptime_seconds: status.uptime_seconds,
        store_bytes: status.store_bytes,
        collected: status.collected_ms.and_then(from_millis),
        access_set: status.access_set,
        access_age_seconds: status.access_age_seconds,
        consumers: status.consumers,
        vaults: status.vaults.into_iter().map(Into::into).collect(),
        peers: status.peers.into_iter().map(Into::into).collect(),
        standing: status.standing,
        problems,
    }
}

/// `polykey` alone: examples, and the state.
pub async fn overview(context: &Context) -> Result<(), Stop> {
    let state = one_line(context).await;
    put(&format!(
        "{}\n\nState: {state}\nAll commands: polykey --help\n",
        args::EXAMPLES
    ))
}
