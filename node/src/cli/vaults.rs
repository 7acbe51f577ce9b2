//! `vault …`: make, list and name vaults, and see who has them.

use super::args;
use super::context::Context;
use super::output::Table;
use super::recovery;
use super::session::{Session, quoted, short_version, vault_name};
use super::status::doubles;
use super::stop::Stop;
use polykey_client::api::Caveat;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::{Change, Member, Vault};
use polykey_client::reference::{Scope, shown, typed_vault};
use polykey_core::ids::VaultId;
use std::cmp::Reverse;

/// Characters of a vault id in a command that is offered.
const TYPED_ID: usize = 12;

/// Carries out one of them.
pub async fn run(context: &Context, command: &args::Vault) -> Result<(), Stop> {
    match command {
        args::Vault::Create { name, dry } => create(context, name, dry.dry_run).await,
        args::Vault::Ls => ls(context).await,
        args::Vault::Members { vault } => members(context, vault).await,
        args::Vault::Recover(args) => recovery::recover(context, args).await,
        args::Vault::Resign(args) => recovery::resign(context, args).await,
        prune @ args::Vault::Prune { .. } => super::pruning::prune(context, prune).await,
        args::Vault::Conflicts { vault } => super::history::conflicts(context, vault).await,
        args::Vault::Rename { vault, name, dry } => rename(context, vault, name, dry.dry_run).await,
    }
}

async fn create(context: &Context, name: &str, dry_run: bool) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let vaults = session.vaults().await?;
    if vaults.iter().any(|v| v.name.as_deref() == Some(name)) {
        let error = ApiError::new(
            Code::Conflict,
            format!(
                "a vault {} is there already; nothing was changed",
                shown(name)
            ),
        );
        return Err(error
            .next(format!("polykey ls {}", quoted(&typed_vault(name))))
            .into());
    }
    let shown_name = typed_vault(name);
    if dry_run {
        context.output.done(format_args!(
            "would make vault {shown_name}; nothing was written"
        ));
        let change = Change {
            action: "create",
            targets: vec![name.to_owned()],
            changed: vec![name.to_owned()],
            version: None,
            dry_run,
        };
        return context.output.one(&change, &shown_name);
    }
    let vault = session.create(name).await?;
    context.output.done(format_args!(
        "vault {shown_name} ({})   Next: polykey set {}",
        vault.id.short(),
        quoted(&format!("{shown_name}:NAME"))
    ));
    context.output.one(&Vault::from(vault), &shown_name)
}

/// `polykey vault ls`, and `polykey ls` without an argument.
pub async fn ls(context: &Context) -> Result<(), Stop> {
    let vaults = context.session().await?.vaults().await?;
    let vaults: Vec<Vault> = vaults.into_iter().map(Vault::from).collect();
    let unnamed = vaults
        .iter()
        .find(|v| v.name.is_none())
        .map(|v| v.id.to_string());
    let cloned: Vec<String> = vaults
        .iter()
        .filter(|v| !v.doubles.is_empty())
        .map(|v| format!("{}: {}", name(v), doubles(&v.doubles)))
        .collect();
    context
        .output
        .list(vaults, &VAULTS, "no vault yet   polykey vault create NAME")?;
    if !context.output.is_for_programs() {
        for line in cloned {
            context.output.say(format_args!(
                "! two copies of one node have written in {line}; both are kept"
            ));
        }
    }
    if let Some(id) =
        unnamed.filter(|_| context.output.is_terminal() && !context.output.is_for_programs())
    {
        let command = format!("polykey vault rename {} NAME", &id[..TYPED_ID]);
        context.output.say(format_args!(
            "! a shared vault comes without its name; give it one: {command}"
        ));
    }
    Ok(())
}

const VAULTS: Table<Vault> = Table {
    columns: &[
        "NAME", "ROLE", "VERSION", "CHANGED", "MEMBERS", "STATE", "ID",
    ],
    row: |vault, view| {
        let version = vault
            .version
            .map_or_else(|| "-".to_owned(), |v| view.id(v, || short_version(&v)));
        let state = if vault.version.is_none() && vault.state == "ok" {
            "empty".to_owned()
        } else {
            vault.state.clone()
        };
        vec![
            name(vault),
            vault.role.clone(),
            version,
            view.time(vault.changed),
            vault.members.to_string(),
            state,
            view.id(vault.id, || vault.id.short()),
        ]
    },
    name,
};

fn name(vault: &Vault) -> String {
    vault
        .name
        .as_deref()
        .map_or_else(|| vault.id.to_string(), typed_vault)
}

async fn members(context: &Context, vault: &str) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let (vault, scope) = settle(&mut session, vault).await?;
    let list = match session.members(&vault).await {
        Ok(list) => list,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    if list.rotation_pending {
        context.output.warn(
            "a reader has left and knows the key still in use: an owner's agent starts a new one when it runs",
        );
    }
    let mut members: Vec<Member> = list.members.into_iter().map(Member::from).collect();
    members.sort_by_key(|m| (Reverse(rank(&m.role)), m.node));
    context.output.list(members, &MEMBERS, "no member")
}

/// What a role may do, more being higher.
fn rank(role: &str) -> usize {
    let roles = ["mirror", "reader", "writer", "owner"];
    roles.iter().position(|r| *r == role).unwrap_or_default()
}

const MEMBERS: Table<Member> = Table {
    columns: &[
        "NODE",
        "ROLE",
        "EXPIRES",
        "FOR PODS OF",
        "CONNECTION",
        "SIBLINGS",
    ],
    row: |member, view| {
        let connection = match (member.this_node, member.connected) {
            (true, _) => "this node",
            (false, true) => "connected",
            (false, false) => "away",
        };
        let siblings = match (member.siblings, member.under) {
            (_, Some(_)) => "brought in".to_owned(),
            (0, None) => "-".to_owned(),
            (n, None) => format!("up to {n}"),
        };
        let limits = member
            .caveat
            .as_ref()
            .map_or_else(|| "-".to_owned(), limits);
        vec![
            view.id(member.node, || member.node.short()),
            member.role.clone(),
            view.until(member.expires),
            limits,
            connection.to_owned(),
            siblings,
        ]
    },
    name: |member| member.node.to_string(),
};

/// What a caveat allows, in one cell.
pub fn limits(caveat: &Caveat) -> String {
    let part = |name: &str, list: &[String]| {
        (!list.is_empty()).then(|| format!("{name} {}", list.join(",")))
    };
    let cluster = caveat.cluster.as_ref().map(|uid| format!("cluster {uid}"));
    let parts = [
        cluster,
        part("namespace", &caveat.namespaces),
        part("account", &caveat.service_accounts),
        part("path", &caveat.paths),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    shown(if text.is_empty() { "-" } else { &text })
}

async fn rename(context: &Context, vault: &str, new: &str, dry_run: bool) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let (vault, scope) = settle(&mut session, vault).await?;
    let change = |changed| Change {
        action: "rename",
        targets: vec![vault.clone()],
        changed,
        version: None,
        dry_run,
    };
    let new_name = typed_vault(new);
    if dry_run {
        if !session
            .vaults()
            .await?
            .iter()
            .any(|v| v.name.as_deref() == Some(&vault) || v.id.to_string() == vault)
        {
            return Err(session
                .explain(ApiError::new(Code::NotFound, ""), &scope)
                .await
                .into());
        }
        context.output.done(format_args!(
            "would call {scope} {new_name}; nothing was written"
        ));
        return context.output.one(&change(vec![new.to_owned()]), &new_name);
    }
    if let Err(error) = session.rename(&vault, new).await {
        return Err(session.explain(error, &scope).await.into());
    }
    let undo = match vault.parse::<VaultId>() {
        Ok(_) => String::new(),
        Err(_) => format!(
            "   undo: polykey vault rename {} {}",
            quoted(&new_name),
            quoted(&scope.to_string())
        ),
    };
    context.output.done(format_args!(
        "{scope} is called {new_name} on this device{undo}"
    ));
    context.output.one(&change(vec![new.to_owned()]), &new_name)
}

/// The vault as the agent takes it, and as errors name it.
pub async fn settle(session: &mut Session, given: &str) -> Result<(String, Scope), Stop> {
    let given = match Scope::parse(given) {
        Ok(Scope {
            vault: Some(vault),
            path,
        }) if path.is_empty() => vault,
        _ => given.to_owned(),
    };
    let vault = session.vault(&given).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path: String::new(),
    };
    Ok((vault, scope))
}

/// One line of a status about a vault.
pub fn summary(vault: &polykey_client::api::Vault) -> [String; 4] {
    let version = vault
        .version
        .map_or_else(|| "empty".to_owned(), |v| short_version(&v));
    let members = if vault.members == 1 {
        "1 member".to_owned()
    } else {
        format!("{} members", vault.members)
    };
    [vault_name(vault), vault.role.clone(), version, members]
}
