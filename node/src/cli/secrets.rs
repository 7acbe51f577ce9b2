//! `get`, `set`, `rm`: the values of secrets, to and from people, pipes and files.

use super::args::{Get, Rm, Set};
use super::context::Context;
use super::files;
use super::output::put_bytes;
use super::revision;
use super::session::{Session, quoted, reference, short_version, usage};
use super::stop::Stop;
use polykey_client::api::{Edit, EditReply, Edits, Entry, Put, Secret};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::{Change, SecretValue};
use polykey_client::reference::{Reference, Revision, Scope};
use polykey_core::ids::CommitId;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest value in bytes: one sealed blob of the vault's format.
pub const MAX_VALUE: usize = 65_535;

/// `polykey get`
pub async fn get(context: &Context, args: &Get) -> Result<(), Stop> {
    let wanted = context.reference(&args.reference)?;
    let mut session = context.session().await?;
    let vault = session.vault(&wanted.vault).await?;
    let version =
        revision::resolve(&mut session, &vault, &wanted.path, wanted.version.as_ref()).await;
    let read = match version {
        Ok(version) => session.read(&vault, &wanted.path, version.as_deref()).await,
        Err(error) => Err(error),
    };
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            return Err(explain_read(&mut session, error, &wanted, &vault)
                .await
                .into());
        }
    };
    if let Some(file) = &args.to {
        files::write_private(file, &read.value)?;
        context.output.done(format_args!(
            "wrote {} ({} bytes, mode 0600)",
            file.display(),
            read.value.len()
        ));
        return Ok(());
    }
    if context.output.is_for_programs() {
        let version = Some(Revision::Id(read.version.to_string()));
        let reference = Reference {
            vault: Some(vault),
            path: wanted.path,
            field: None,
            version,
        }
        .to_uri("");
        return context
            .output
            .one(&SecretValue::of(reference, read.version, &read.value), "");
    }
    print_value(context, args, &read.value)
}

async fn explain_read(
    session: &mut Session,
    error: ApiError,
    wanted: &Wanted,
    vault: &str,
) -> ApiError {
    let scope = Scope {
        vault: Some(vault.to_owned()),
        path: wanted.path.clone(),
    };
    match (&wanted.version, error.code) {
        (Some(version), Code::NotFound) => ApiError::new(
            Code::NotFound,
            format!("{scope} is not there at version {version}, or not shared with you"),
        )
        .next(format!("polykey log {}", quoted(&scope.to_string()))),
        _ => session.explain(error, &scope).await,
    }
}

/// Exactly the bytes. On a terminal a newline follows, and bytes that would command it are not sent to it.
fn print_value(context: &Context, args: &Get, value: &[u8]) -> Result<(), Stop> {
    if !context.output.is_terminal() {
        return put_bytes(value);
    }
    if commands_a_terminal(value) {
        let error = ApiError::new(
            Code::Failed,
            "the value is no plain text, and could command the terminal; it was not printed",
        );
        return Err(error
            .next(format!("polykey get {} --to FILE", quoted(&args.reference)))
            .into());
    }
    put_bytes(value)?;
    if args.no_newline || value.ends_with(b"\n") {
        Ok(())
    } else {
        put_bytes(b"\n")
    }
}

fn commands_a_terminal(value: &[u8]) -> bool {
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    std::str::from_utf8(value).map_or(true, |text| text.chars().any(control))
}

/// `polykey set`
pub async fn set(context: &Context, args: &Set) -> Result<(), Stop> {
    refuse_values(args)?;
    let target = context.reference(&args.reference)?;
    if target.version.is_some() {
        return Err(usage(
            "a version cannot be written: write the newest",
            "versions never change; leave @VERSION away (%40 is the sign itself)",
        ));
    }
    let value = value_to_set(context, args)?;
    let mut session = context.session().await?;
    let vault = session.vault(&target.vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path: target.path.clone(),
    };
    let name = scope.to_string();
    let expect = match &args.if_version {
        Some(version) => Some(expected(&mut session, &vault, &target.path, version).await?),
        None => None,
    };
    let size = value.len();
    if args.dry.dry_run {
        return would_set(context, &mut session, &scope, size).await;
    }
    let newline = value.ends_with(b"\n") && value.iter().filter(|&&b| b == b'\n').count() == 1;
    let put = Put {
        path: target.path,
        mode: args.mode,
        value: Secret(value),
    };
    let reply = session
        .edit(
            &vault,
            &Edits {
                expect,
                edits: vec![Edit::Put(put)],
            },
        )
        .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Err(explain_write(&mut session, error, &scope).await.into()),
    };
    tell_set(context, &name, size, &reply);
    if newline && args.from.is_none() && !reply.changed.is_empty() {
        context
            .output
            .warn("the value ends with a newline, as it was given; --trim-newline leaves one away");
    }
    let change = change("set", vec![name.clone()], &vault, &reply);
    context.output.one(&change, &name)
}

async fn explain_write(session: &mut Session, error: ApiError, scope: &Scope) -> ApiError {
    let vault_only = Scope {
        vault: scope.vault.clone(),
        path: String::new(),
    };
    session.explain(error, &vault_only).await
}

fn tell_set(context: &Context, name: &str, size: usize, reply: &EditReply) {
    let version = short_version(&reply.version);
    if reply.changed.is_empty() {
        context.output.done(format_args!(
            "{name} already has this value; nothing was written"
        ));
    } else {
        context.output.done(format_args!(
            "wrote {name} ({})   version {version}   earlier ones: polykey log {}",
            bytes(size),
            quoted(name)
        ));
    }
}

async fn would_set(
    context: &Context,
    session: &mut Session,
    scope: &Scope,
    size: usize,
) -> Result<(), Stop> {
    let vault = scope.vault.as_deref().unwrap_or_default();
    let entries = match session.entries(vault, &scope.path).await {
        Ok(entries) => entries,
        Err(error) => return Err(explain_write(session, error, scope).await.into()),
    };
    let exists = entries.entries.iter().any(|e| e.path == scope.path);
    let verb = if exists { "replace" } else { "add" };
    context.output.done(format_args!(
        "would {verb} {scope} ({}); nothing was written",
        bytes(size)
    ));
    let change = Change {
        action: "set",
        targets: vec![scope.to_string()],
        changed: vec![scope.to_string()],
        version: entries.version,
        dry_run: true,
    };
    context.output.one(&change, &scope.to_string())
}

fn bytes(size: usize) -> String {
    if size == 1 {
        "1 byte".to_owned()
    } else {
        format!("{size} bytes")
    }
}

/// A value on the command line is in the shell's history and in everybody's `ps`. It is refused without being repeated.
fn refuse_values(args: &Set) -> Result<(), Stop> {
    if args.values.is_empty() {
        return Ok(());
    }
    let reference = quoted(&args.reference);
    let error = Stop::usage("a secret was given as an argument; nothing was saved")
        .hint("your shell history and `ps` can show it, so better take another value")
        .next(format!("polykey set {reference}      and type it"))
        .next(format!("… | polykey set {reference}"))
        .next(format!("polykey set {reference} --from FILE"));
    Err(Stop::Error(error))
}

fn value_to_set(context: &Context, args: &Set) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let mut value = match &args.from {
        Some(file) if file == Path::new("-") => {
            read_value(std::io::stdin().lock(), "standard input")?
        }
        Some(file) => read_value(open(file)?, &file.display().to_string())?,
        None if stdin_has_a_value() => {
            refuse_empty(read_value(std::io::stdin().lock(), "standard input")?)?
        }
        None => typed_value(context, args)?,
    };
    if args.trim_newline && value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(value)
}

/// Whether standard input is a pipe, a socket or a file: not a terminal, and not `/dev/null`, which cron and `ssh -n` give to programs that shall read nothing.
fn stdin_has_a_value() -> bool {
    let stdin = std::io::stdin();
    let is_device =
        || std::fs::metadata("/dev/stdin").is_ok_and(|m| m.file_type().is_char_device());
    !stdin.is_terminal() && !is_device()
}

/// An empty pipe is far more often a command that failed than a value.
fn refuse_empty(value: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Stop> {
    if value.is_empty() {
        return Err(usage(
            "nothing came through the pipe; nothing was saved",
            "an empty value is stored by --from - or --from /dev/null",
        ));
    }
    Ok(value)
}

fn open(file: &Path) -> Result<File, Stop> {
    File::open(file).map_err(|e| Stop::failed(format!("cannot read {}: {e}", file.display())))
}

/// Reads at most one byte more than a value may have, into a buffer that never moves.
fn read_value(from: impl Read, name: &str) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let limit = MAX_VALUE + 1;
    let mut value = Zeroizing::new(Vec::with_capacity(limit + 1));
    from.take(limit as u64)
        .read_to_end(&mut value)
        .map_err(|e| Stop::failed(format!("cannot read {name}: {e}")))?;
    if value.len() > MAX_VALUE {
        let error = ApiError::new(
            Code::TooLarge,
            format!("{name} has more than {MAX_VALUE} bytes; nothing was saved"),
        );
        return Err(error.hint("one secret holds at most 64 KiB less one byte; split it, or keep the file elsewhere and its key here").into());
    }
    Ok(value)
}

fn typed_value(context: &Context, args: &Set) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let reference = quoted(&args.reference);
    let Some(mut terminal) = context.terminal() else {
        let error =
            Stop::usage("there is no value: nothing is piped, and there is no terminal to ask at");
        return Err(Stop::Error(
            error
                .next(format!("… | polykey set {reference}"))
                .next(format!("polykey set {reference} --from FILE")),
        ));
    };
    let value = terminal.hidden(&format!(
        "Value of {} (not shown): ",
        polykey_client::reference::shown(&args.reference)
    ))?;
    if value.is_empty() {
        return Err(usage(
            "nothing was typed; nothing was saved",
            "an empty value is stored by --from /dev/null",
        ));
    }
    if *terminal.hidden("The same again: ")? != *value {
        return Err(usage(
            "the two values differ; nothing was saved",
            "what is typed is not shown, so it is asked for twice",
        ));
    }
    Ok(Zeroizing::new(value.as_bytes().to_vec()))
}

/// The head of the vault, if `given` names it or the version that last wrote this secret; else the conflict.
async fn expected(
    session: &mut Session,
    vault: &str,
    path: &str,
    given: &str,
) -> Result<CommitId, Stop> {
    if !matches!(Revision::parse(given), Some(Revision::Id(_))) {
        return Err(usage(
            format!(
                "`{}` is no version",
                polykey_client::reference::shown(given)
            ),
            "give at least 6 hexadecimal digits of one",
        ));
    }
    let entries = match session.entries(vault, path).await {
        Ok(entries) => entries,
        Err(error) => {
            return Err(explain_write(
                session,
                error,
                &Scope {
                    vault: Some(vault.to_owned()),
                    path: path.to_owned(),
                },
            )
            .await
            .into());
        }
    };
    let written = entries
        .entries
        .iter()
        .find(|e| e.path == path)
        .and_then(|e| e.version);
    let fits =
        |version: &Option<CommitId>| version.is_some_and(|v| v.to_string().starts_with(given));
    match entries.version {
        Some(head) if fits(&entries.version) || fits(&written) => Ok(head),
        _ => Err(moved(vault, path, given, written.or(entries.version)).into()),
    }
}

fn moved(vault: &str, path: &str, given: &str, now: Option<CommitId>) -> ApiError {
    let name = reference(vault, path);
    let now = now.map_or_else(
        || "not there yet".to_owned(),
        |v| format!("at {}", short_version(&v)),
    );
    ApiError::new(
        Code::Conflict,
        format!("{name} is {now}, not at {given}; nothing was saved"),
    )
    .hint("somebody wrote it since")
    .next(format!("polykey log {}", quoted(&name)))
}

/// `polykey rm`
pub async fn rm(context: &Context, args: &Rm) -> Result<(), Stop> {
    let targets = args
        .references
        .iter()
        .map(|text| context.scope(text))
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
    if args.dry.dry_run {
        context.output.done(format_args!(
            "would remove {}; nothing was written",
            names.join(", ")
        ));
        let change = Change {
            action: "rm",
            targets: names.clone(),
            changed: names.clone(),
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
    let change = change("rm", names.clone(), &vault, &reply);
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
        return Err(usage(
            format!(
                "{} secrets would be removed, and there is no terminal to ask at",
                names.len()
            ),
            "--yes removes them without a question",
        ));
    };
    let question = format!(
        "Remove {} secrets ({})?",
        names.len(),
        names.first().map_or("", String::as_str)
    );
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
    match (names, before) {
        ([name], Some(before)) => {
            let old = format!("{name}@{}", short_version(&before));
            context.output.done(format_args!(
                "removed {name}   version {version}   undo: polykey get {} | polykey set {}",
                quoted(&old),
                quoted(name)
            ));
        }
        _ => {
            let count = reply.changed.len();
            context.output.done(format_args!("removed {count} secrets   version {version}   older versions keep them: polykey log {}", quoted(vault)));
        }
    }
}

fn change(action: &'static str, targets: Vec<String>, vault: &str, reply: &EditReply) -> Change {
    let changed = reply
        .changed
        .iter()
        .map(|path| reference(vault, path))
        .collect();
    Change {
        action,
        targets,
        changed,
        version: Some(reply.version),
        dry_run: false,
    }
}

/// A reference with its vault settled.
pub struct Wanted {
    /// Name, id or prefix of the vault.
    pub vault: String,
    /// Path with its field.
    pub path: String,
    /// Which version.
    pub version: Option<Revision>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_would_command_a_terminal_is_known() {
        assert!(!commands_a_terminal("päss\twörd\r\n".as_bytes()));
        assert!(commands_a_terminal(b"\x1b[2J"));
        assert!(commands_a_terminal(b"\xff\xfe"));
        assert!(commands_a_terminal("\u{9b}31m".as_bytes()));
    }

    #[test]
    fn a_value_is_read_to_its_limit_and_no_byte_further() {
        let at = |n: usize| read_value(std::io::repeat(7).take(n as u64), "x");
        assert_eq!(at(0).map(|v| v.len()).ok(), Some(0));
        assert_eq!(at(MAX_VALUE).map(|v| v.len()).ok(), Some(MAX_VALUE));
        assert!(matches!(at(MAX_VALUE + 1), Err(Stop::Error(e)) if e.code == Code::TooLarge));
    }
}
