//! `share`, `unshare` and `peer …`: who may use a vault, and who may connect.

use super::args::{self, Share, Unshare};
use super::context::Context;
use super::output::{Table, put};
use super::session::{Session, quoted, reference, uri, usage};
use super::stop::Stop;
use super::vaults::{limits, settle};
use jiff::Timestamp;
use polykey_client::api::{Caveat, GrantReply, GrantRequest, PeerRequest};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::{Change, Grant, Peer, Revocation, from_seconds};
use polykey_client::reference::{Scope, shown};
use polykey_core::ids::NodeId;

/// The port of a peer's QUIC endpoint when an address names none.
const PORT: u16 = 1314;
/// Characters of a node id in a command that is offered: unique among any number of nodes that a person knows.
const TYPED_ID: usize = 12;

/// `polykey share`
pub async fn share(context: &Context, args: &Share) -> Result<(), Stop> {
    let expires = match &args.expires {
        Some(text) => Some(expiry(text, Timestamp::now().as_second())?),
        None => None,
    };
    let mut session = context.session().await?;
    let (vault, scope) = settle(&mut session, &args.vault).await?;
    let node = known_node(&mut session, &args.who).await?;
    let request = GrantRequest {
        node,
        role: role(args).to_owned(),
        expires,
        caveat: caveat(args),
        siblings: args.siblings,
    };
    let reply = if args.dry.dry_run {
        if let Err(error) = session.members(&vault).await {
            return Err(session.explain(error, &scope).await.into());
        }
        None
    } else {
        match session.grant(&vault, &request).await {
            Ok(reply) => Some(reply),
            Err(error) => return Err(session.explain(error, &scope).await.into()),
        }
    };
    tell_shared(context, &scope, &request, reply.as_ref());
    context
        .output
        .one(&grant(vault, request, reply), &node.to_string())
}

fn role(args: &Share) -> &'static str {
    match (args.owner, args.write, args.mirror) {
        (true, ..) => "owner",
        (_, true, _) => "writer",
        (.., true) => "mirror",
        _ => "reader",
    }
}

fn caveat(args: &Share) -> Option<Caveat> {
    let caveat = Caveat {
        cluster: args.cluster.clone(),
        namespaces: args.namespace.clone(),
        service_accounts: args.service_account.clone(),
        paths: args.path.clone(),
    };
    (caveat != Caveat::default()).then_some(caveat)
}

fn tell_shared(
    context: &Context,
    scope: &Scope,
    request: &GrantRequest,
    reply: Option<&GrantReply>,
) {
    let node = request.node.short();
    let can = match request.role.as_str() {
        "owner" => "read, write and share",
        "writer" => "read and write",
        "mirror" => "carry, but not read,",
        _ => "read",
    };
    let until = request
        .expires
        .and_then(from_seconds)
        .map(|at| format!(" until {at}"))
        .unwrap_or_default();
    let pods = request
        .caveat
        .as_ref()
        .map(|c| format!("; for pods: {}", limits(c)))
        .unwrap_or_default();
    let more = match request.siblings {
        0 => String::new(),
        n => format!("; it may bring in {n} more of its own"),
    };
    let Some(reply) = reply else {
        return context.output.done(format_args!(
            "would let {node} {can} {scope}{until}{pods}{more}; nothing was written"
        ));
    };
    let way = match (reply.unchanged, reply.connected) {
        (true, _) => "it could before; nothing was written",
        (false, true) => "it is connected, so the vault is on its way",
        (false, false) => "granted; not connected yet: it gets the vault when it connects",
    };
    let back = format!(
        "polykey unshare {} {}",
        quoted(&scope.to_string()),
        typed(&request.node)
    );
    context.output.done(format_args!(
        "{node} can {can} {scope}{until}{pods}{more}\n  {way}   Take back: {back}"
    ));
}

fn grant(vault: String, request: GrantRequest, reply: Option<GrantReply>) -> Grant {
    Grant {
        vault,
        node: request.node,
        role: request.role,
        expires: request.expires.and_then(from_seconds),
        caveat: request.caveat,
        connected: reply.as_ref().is_some_and(|r| r.connected),
        unchanged: reply.as_ref().is_some_and(|r| r.unchanged),
        dry_run: reply.is_none(),
        grant: reply.map(|r| r.grant),
    }
}

/// `polykey unshare`
pub async fn unshare(context: &Context, args: &Unshare) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let (vault, scope) = settle(&mut session, &args.vault).await?;
    let members = match session.members(&vault).await {
        Ok(members) => members.members,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    let node = Session::node(&args.who, members.iter().map(|m| m.node))?;
    if !members.iter().any(|m| m.node == node) {
        let error = ApiError::new(
            Code::NotFound,
            format!(
                "{} is no member of {scope}; nothing was changed",
                node.short()
            ),
        );
        return Err(error
            .next(format!(
                "polykey vault members {}",
                quoted(&scope.to_string())
            ))
            .into());
    }
    if args.dry.dry_run {
        context.output.done(format_args!(
            "would take {scope} back from {}; nothing was written",
            node.short()
        ));
        return context.output.one(
            &Revocation {
                vault,
                node,
                rotate: Vec::new(),
                dry_run: true,
            },
            &node.to_string(),
        );
    }
    let reply = match session.revoke(&vault, &node).await {
        Ok(reply) => reply,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    tell_unshared(context, &scope, &node, reply.rotate.len());
    if !reply.with.is_empty() {
        let with: Vec<String> = reply
            .with
            .iter()
            .map(polykey_core::ids::NodeId::short)
            .collect();
        context.output.say(format_args!(
            "  with it go the nodes that it had brought in: {}",
            with.join(", ")
        ));
    }
    let list = reply
        .rotate
        .iter()
        .map(|path| reference(&vault, path) + "\n");
    let list: String = list.collect();
    let rotate = reply.rotate.iter().map(|path| uri(&vault, path)).collect();
    let revocation = Revocation {
        vault,
        node,
        rotate,
        dry_run: false,
    };
    if context.output.is_for_programs() {
        context.output.one(&revocation, "")
    } else {
        put(&list)
    }
}

fn tell_unshared(context: &Context, scope: &Scope, node: &NodeId, rotate: usize) {
    context.output.done(format_args!(
        "{} reads nothing that is written to {scope} from now on",
        node.short()
    ));
    if rotate > 0 && !context.output.is_for_programs() {
        context
            .output
            .warn("what it could read until now it may have kept. Change these:");
    }
}

/// `peer …`
pub async fn peer(context: &Context, command: &args::Peer) -> Result<(), Stop> {
    match command {
        args::Peer::Add { node, address, dry } => {
            add(context, node, address.as_deref(), dry.dry_run).await
        }
        args::Peer::Ls => ls(context).await,
        args::Peer::Rm { node, dry } => rm(context, node, dry.dry_run).await,
    }
}

async fn add(
    context: &Context,
    given: &str,
    address: Option<&str>,
    dry_run: bool,
) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let node = known_node(&mut session, given).await?;
    let address = address.map(with_port).transpose()?;
    if !dry_run {
        session
            .add_peer(&PeerRequest {
                node,
                address: address.clone(),
            })
            .await?;
    }
    let short = node.short();
    match (&address, dry_run) {
        (Some(address), true) => context.output.done(format_args!(
            "would dial {short} at {address}; nothing was written"
        )),
        (None, true) => context.output.done(format_args!(
            "would let {short} connect; nothing was written"
        )),
        (Some(address), false) => context.output.done(format_args!(
            "{short} is dialled at {address}   undo: polykey peer rm {}",
            typed(&node)
        )),
        (None, false) => context.output.done(format_args!(
            "{short} may connect   undo: polykey peer rm {}",
            typed(&node)
        )),
    }
    let targets = vec![node.to_string()];
    context.output.one(
        &Change {
            action: "peer-add",
            changed: targets.clone(),
            targets,
            version: None,
            dry_run,
        },
        &node.to_string(),
    )
}

async fn ls(context: &Context) -> Result<(), Stop> {
    let peers = context.session().await?.peers().await?.peers;
    context.output.list(
        peers.into_iter().map(Peer::from).collect(),
        &PEERS,
        "no peer yet   polykey peer add NODE-ID host:1314",
    )
}

const PEERS: Table<Peer> = Table {
    columns: &["NODE", "ADDRESSES", "FROM", "STATE", "SEEN", "LAST ERROR"],
    row: |peer, view| {
        let addresses = if peer.addresses.is_empty() {
            "-".to_owned()
        } else {
            shown(&peer.addresses.join(","))
        };
        let state = if peer.connected {
            "connected"
        } else {
            "not connected"
        };
        let error = peer
            .last_error
            .as_deref()
            .filter(|_| !peer.connected)
            .map_or_else(|| "-".to_owned(), shown);
        vec![
            view.id(peer.node, || peer.node.short()),
            addresses,
            peer.origin.clone(),
            state.to_owned(),
            view.time(peer.seen),
            error,
        ]
    },
    name: |peer| peer.node.to_string(),
};

async fn rm(context: &Context, given: &str, dry_run: bool) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let peers = session.peers().await?.peers;
    let node = Session::node(given, peers.iter().map(|p| p.node))?;
    if !peers.iter().any(|p| p.node == node) {
        let error = ApiError::new(
            Code::NotFound,
            format!("{} is no peer; nothing was changed", node.short()),
        );
        return Err(error.next("polykey peer ls").into());
    }
    if dry_run {
        context.output.done(format_args!(
            "would forget peer {}; nothing was written",
            node.short()
        ));
    } else {
        session.remove_peer(&node).await?;
        context.output.done(format_args!(
            "{} is dialled no longer; what was shared with it stays so",
            node.short()
        ));
    }
    let targets = vec![node.to_string()];
    context.output.one(
        &Change {
            action: "peer-rm",
            changed: targets.clone(),
            targets,
            version: None,
            dry_run,
        },
        &node.to_string(),
    )
}

/// A whole node id costs no request; a prefix is looked up among the peers.
async fn known_node(session: &mut Session, given: &str) -> Result<NodeId, Stop> {
    if let Ok(node) = given.parse() {
        return Ok(node);
    }
    let peers = session.peers().await?.peers;
    Ok(Session::node(given, peers.into_iter().map(|p| p.node))?)
}

fn typed(node: &NodeId) -> String {
    node.to_string()[..TYPED_ID].to_owned()
}

/// `host`, `host:port`, `[v6]:port`, `[v6]` or a bare IPv6 address, with the port that may be missing.
fn with_port(address: &str) -> Result<String, Stop> {
    let wrong = || {
        usage(
            format!("`{}` is no address", shown(address)),
            "an address is host:port, for example laptop.example:1314 or [2001:db8::1]:1314",
        )
    };
    if address.is_empty()
        || address.chars().any(|c| c.is_whitespace() || c.is_control())
        || address.contains("//")
    {
        return Err(wrong());
    }
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{address}]:{PORT}"));
    }
    if address.ends_with(']') || !address.contains(':') {
        return Ok(format!("{address}:{PORT}"));
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host_fits =
        !host.is_empty() && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')));
    if port == 0 || !host_fits {
        Err(wrong())
    } else {
        Ok(address.to_owned())
    }
}

/// When a grant of this length ends, in unix seconds.
pub fn expiry(text: &str, now: i64) -> Result<u64, Stop> {
    let wrong = || {
        usage(
            format!("`{}` is no length of time", shown(text)),
            "write a number and m, h, d or w: 90m, 12h, 30d, 2w",
        )
    };
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let seconds = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
    let end = now + i64::from(number) * seconds;
    from_seconds(u64::try_from(end).map_err(|_| wrong())?).ok_or_else(wrong)?;
    u64::try_from(end).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_port_that_is_missing_and_nonsense_is_refused() {
        let fits = [
            ("host", "host:1314"),
            ("host:9", "host:9"),
            ("10.0.0.1", "10.0.0.1:1314"),
            ("::1", "[::1]:1314"),
            ("[::1]", "[::1]:1314"),
            ("[::1]:9", "[::1]:9"),
        ];
        for (given, wanted) in fits {
            assert_eq!(with_port(given).ok().as_deref(), Some(wanted), "{given}");
        }
        for given in [
            "",
            "host:",
            "host:0",
            "host:70000",
            "host:x",
            "a b:1",
            "https://host:1",
            ":1314",
            "a:b:1",
        ] {
            assert!(with_port(given).is_err(), "{given}");
        }
    }

    #[test]
    fn a_length_of_time_has_a_number_and_a_unit() {
        let at = |text: &str| expiry(text, 1_000).ok();
        assert_eq!(
            [at("1m"), at("2h"), at("30d"), at("1w")],
            [Some(1_060), Some(8_200), Some(2_593_000), Some(605_800)]
        );
        assert!(
            [
                "",
                "d",
                "0d",
                "-1d",
                "1",
                "1y",
                "1é",
                "99999999999d",
                "4294967295w"
            ]
            .iter()
            .all(|text| at(text).is_none())
        );
    }
}
