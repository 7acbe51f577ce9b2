//! `set`: the value of a secret, from a person, a pipe or a file. Never from an argument.

use super::args::Set;
use super::context::Context;
use super::session::{Session, quoted, reference, short_version, uri, usage};
use super::stop::Stop;
use polykey_client::api::{Edit, EditReply, Edits, MAX_VALUE, Put, Secret};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::Change;
use polykey_client::reference::{Revision, Scope, shown};
use polykey_core::ids::CommitId;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Values up to this size, in bytes, are written in a request with all that is changed; larger ones are sent as a body of their own.
const SMALL: usize = 64 << 10;

/// `polykey set`
pub async fn set(context: &Context, args: &Set) -> Result<(), Stop> {
    refuse_values(args)?;
    let target = Context::reference(&args.reference)?;
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
    let newline = value
        .strip_suffix(b"\n")
        .is_some_and(|line| !line.contains(&b'\n'));
    let targets = vec![uri(&vault, &target.path)];
    let put = Put {
        path: target.path,
        mode: args.mode,
        value: Secret(value),
    };
    let reply = if size > SMALL {
        let progress = context.output.progress("writing", size as u64);
        session.write(&vault, put, expect, progress).await
    } else {
        let edits = vec![Edit::Put(put)];
        session.edit(&vault, &Edits { expect, edits }).await
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Err(explain(&mut session, error, &scope).await.into()),
    };
    tell_set(context, &name, size, &reply);
    if newline && args.from.is_none() && !reply.changed.is_empty() {
        context
            .output
            .warn("the value ends with a newline, as it was given; --trim-newline leaves one away");
    }
    let change = changed("set", targets, &vault, &reply);
    context.output.one(&change, &name)
}

async fn explain(session: &mut Session, error: ApiError, scope: &Scope) -> ApiError {
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
        Err(error) => return Err(explain(session, error, scope).await.into()),
    };
    let exists = entries.entries.iter().any(|e| e.path == scope.path);
    let verb = if exists { "replace" } else { "add" };
    context.output.done(format_args!(
        "would {verb} {scope} ({}); nothing was written",
        bytes(size)
    ));
    let change = Change {
        action: "set",
        targets: vec![uri(vault, &scope.path)],
        changed: vec![uri(vault, &scope.path)],
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

/// Reads at most one byte more than a value may have, into a buffer that never moves: a small one, or, when that is full, one for the largest.
fn read_value(mut from: impl Read, name: &str) -> Result<Zeroizing<Vec<u8>>, Stop> {
    let failed = |e| Stop::failed(format!("cannot read {name}: {e}"));
    let mut value = Zeroizing::new(Vec::with_capacity(SMALL + 2));
    let mut start = from.by_ref().take(SMALL as u64 + 1);
    start.read_to_end(&mut value).map_err(failed)?;
    if value.len() <= SMALL {
        return Ok(value);
    }
    let most = usize::try_from(MAX_VALUE).unwrap_or(usize::MAX - 2);
    let mut large = Zeroizing::new(Vec::with_capacity(most + 2));
    large.extend_from_slice(&value);
    let rest = MAX_VALUE + 1 - value.len() as u64;
    from.take(rest).read_to_end(&mut large).map_err(failed)?;
    if large.len() > most {
        let error = ApiError::new(
            Code::TooLarge,
            format!("{name} has more than {MAX_VALUE} bytes; nothing was saved"),
        );
        return Err(error
            .hint("one secret holds at most 64 MiB; split it, or keep the file elsewhere and its key here")
            .into());
    }
    Ok(large)
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
        shown(&args.reference)
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
            format!("`{}` is no version", shown(given)),
            "give at least 6 hexadecimal digits of one",
        ));
    }
    let entries = match session.entries(vault, path).await {
        Ok(entries) => entries,
        Err(error) => {
            return Err(explain(
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
/// What a commit did.
pub fn changed(
    action: &'static str,
    targets: Vec<String>,
    vault: &str,
    reply: &EditReply,
) -> Change {
    let changed = reply.changed.iter().map(|path| uri(vault, path)).collect();
    Change {
        action,
        targets,
        changed,
        version: Some(reply.version),
        dry_run: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_to_its_limit_and_no_byte_further() {
        let at = |n: u64| read_value(std::io::repeat(7).take(n), "x");
        for size in [0, 1, SMALL as u64, SMALL as u64 + 1, MAX_VALUE] {
            assert_eq!(at(size).map(|v| v.len() as u64).ok(), Some(size));
        }
        assert!(matches!(at(MAX_VALUE + 1), Err(Stop::Error(e)) if e.code == Code::TooLarge));
    }
}
