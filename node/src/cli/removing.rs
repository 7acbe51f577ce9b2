//! `rm`: what is removed from the newest version; older ones keep it.

use super::args::Rm;
use super::context::Context;
use super::session::{Session, quoted, reference, short_version, uri};
use super::stop::Stop;
use super::writing::changed;
use polykey_client::api::{Edit, EditReply, Edits, Entry};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::Change;
use polykey_client::reference::Scope;
use polykey_core::ids::CommitId;

/// `polykey rm`
pub async fn rm(context: &Context, args: &Rm) -> Result<(), Stop> {
    let targets = args
        .references
        .iter()
        .map(|text| Context::scope(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut session = context.session().await?;
    for (vault, paths) in by_vault(targets) {
        remove(context, &mut session, args, &vault, &paths).await?;
    }
    Ok(())
}

/// One commit a vault, in the order in which the vaults were named.
fn by_vault(targets: Vec<(String, String)>) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (vault, path) in targets {
        match groups.iter_mut().find(|(v, _)| *v == vault) {
            Some((_, paths)) => paths.push(path),
            None => groups.push((vault, vec![path])),
        }
    }
    groups
}

async fn remove(
    context: &Context,
    session: &mut Session,
    args: &Rm,
    vault: &str,
    paths: &[String],
) -> Result<(), Stop> {
    let vault = session.vault(vault).await?;
    let scope = |path: &str| Scope {
        vault: Some(vault.clone()),
        path: path.to_owned(),
    };
    let entries = match session.entries(&vault, "").await {
        Ok(entries) => entries,
        Err(error) => return Err(session.explain(error, &scope("")).await.into()),
    };
    let mut doomed = Vec::new();
    for path in paths {
        match below(&entries.entries, path, args.recursive) {
            Doomed::Secrets(found) => doomed.extend(found),
            Doomed::Folder => return Err(is_folder(&scope(path))),
            Doomed::Nothing => {
                let missing = ApiError::new(Code::NotFound, "");
                return Err(session.explain(missing, &scope(path)).await.into());
            }
        }
    }
    doomed.sort_unstable();
    doomed.dedup();
    let names: Vec<String> = doomed.iter().map(|path| reference(&vault, path)).collect();
    let uris: Vec<String> = doomed.iter().map(|path| uri(&vault, path)).collect();
    if args.dry.dry_run {
        context.output.done(format_args!(
            "would remove {}; nothing was written",
            names.join(", ")
        ));
        let change = Change {
            action: "rm",
            targets: uris.clone(),
            changed: uris,
            version: entries.version,
            dry_run: true,
        };
        return context.output.one(&change, &names.join("\n"));
    }
    if args.recursive {
        confirm(context, args, &names)?;
    }
    let edits = doomed.into_iter().map(Edit::Remove).collect();
    let reply = session
        .edit(
            &vault,
            &Edits {
                expect: None,
                edits,
            },
        )
        .await?;
    tell_removed(context, &names, &vault, entries.version, &reply);
    let change = changed("rm", uris, &vault, &reply);
    context.output.one(&change, &names.join("\n"))
}

enum Doomed {
    Secrets(Vec<String>),
    Folder,
    Nothing,
}

fn below(entries: &[Entry], path: &str, recursive: bool) -> Doomed {
    let inside = |e: &&Entry| {
        path.is_empty()
            || e.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let is_secret = entries.iter().any(|e| e.path == path);
    let folder: Vec<String> = entries
        .iter()
        .filter(inside)
        .map(|e| e.path.clone())
        .collect();
    match (is_secret, recursive, folder.is_empty()) {
        (false, _, true) => Doomed::Nothing,
        (false, false, false) => Doomed::Folder,
        (true, false, _) => Doomed::Secrets(vec![path.to_owned()]),
        (is_secret, true, _) => Doomed::Secrets(
            folder
                .into_iter()
                .chain(is_secret.then(|| path.to_owned()))
                .collect(),
        ),
    }
}

fn is_folder(scope: &Scope) -> Stop {
    let error = Stop::usage(format!("{scope} is a folder; nothing was removed"));
    Stop::Error(
        error
            .hint("-r removes everything below it")
            .next(format!("polykey rm -r {}", quoted(&scope.to_string()))),
    )
}

fn confirm(context: &Context, args: &Rm, names: &[String]) -> Result<(), Stop> {
    if args.yes {
        return Ok(());
    }
    let Some(mut terminal) = context.terminal() else {
        let count = names.len();
        let error = Stop::usage(format!(
            "{count} secrets would be removed, and there is no terminal to ask at"
        ));
        return Err(Stop::Error(
            error.hint("--yes removes them without a question"),
        ));
    };
    let more = if names.len() > 1 { ", …" } else { "" };
    let first = names.first().map_or("", String::as_str);
    let question = format!("Remove {} secrets ({first}{more})?", names.len());
    if terminal.confirm(&question, false)? {
        Ok(())
    } else {
        Err(Stop::Cancelled)
    }
}

fn tell_removed(
    context: &Context,
    names: &[String],
    vault: &str,
    before: Option<CommitId>,
    reply: &EditReply,
) {
    let version = short_version(&reply.version);
    if let ([name], Some(before)) = (names, before) {
        let old = format!("{name}@{}", short_version(&before));
        let undo = format!(
            "polykey get {} | polykey set {}",
            quoted(&old),
            quoted(name)
        );
        return context.output.done(format_args!(
            "removed {name}   version {version}   undo: {undo}"
        ));
    }
    let (count, log) = (
        reply.changed.len(),
        format!("polykey log {}", quoted(vault)),
    );
    context.output.done(format_args!(
        "removed {count} secrets   version {version}   older versions keep them: {log}"
    ));
}
