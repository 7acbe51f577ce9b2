//! `diff`, `restore` and `vault conflicts`: what versions differ in, and the way back to one.

use super::args::{Diff, Restore};
use super::context::Context;
use super::output::{Table, put};
use super::revision;
use super::session::{Session, quoted, reference, short_version, uri, usage};
use super::stop::Stop;
use super::writing::changed;
use polykey_client::api::RestoreRequest;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::{self, Change, Conflict, Differs};
use polykey_client::reference::{Revision, Scope, shown, typed_path, typed_vault};
use polykey_core::ids::CommitId;
use zeroize::Zeroizing;

/// `polykey diff`. Ends with 7 when something differs.
pub async fn diff(context: &Context, args: &Diff) -> Result<(), Stop> {
    if args.reveal && context.output.is_for_programs() {
        return Err(usage(
            "values are not in this document",
            "read each with `polykey get REF@VERSION -o json`",
        ));
    }
    let (vault, path) = Context::scope(&args.scope)?;
    let mut session = context.session().await?;
    let vault = session.vault(&vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path,
    };
    let found = match between(&mut session, &vault, &scope.path, args).await {
        Ok(found) => found,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    let differs = !found.changes.is_empty();
    if context.output.is_for_programs() {
        context.output.one(&found, "")?;
    } else {
        for change in &found.changes {
            let value = if args.reveal {
                hunks(&mut session, &vault, change, found.from, found.to).await?
            } else {
                Zeroizing::new(String::new())
            };
            put(&format!("{}\n", line(&vault, change)))?;
            put(&value)?;
        }
        if !differs {
            context
                .output
                .done(format_args!("nothing differs in {scope}"));
        }
    }
    if differs { Err(Stop::Problems) } else { Ok(()) }
}

/// Without versions: the last change of the vault, or of the path.
async fn between(
    session: &mut Session,
    vault: &str,
    path: &str,
    args: &Diff,
) -> Result<kinds::Diff, ApiError> {
    let (mut from, mut to) = (None, None);
    for (text, place) in [(&args.from, &mut from), (&args.to, &mut to)] {
        if let Some(text) = text {
            let wanted = Revision::parse(text.strip_prefix('@').unwrap_or(text))
                .ok_or_else(|| no_version(text))?;
            *place = revision::resolve(session, vault, path, Some(&wanted)).await?;
        }
    }
    if args.from.is_none() && !path.is_empty() {
        let log = session.log(vault, path, 2).await?;
        let newest = log
            .versions
            .first()
            .ok_or_else(|| ApiError::new(Code::NotFound, ""))?;
        to = Some(newest.version.to_string());
        from = log.versions.get(1).map(|v| v.version.to_string());
    }
    let found = session
        .diff(vault, path, from.as_deref(), to.as_deref())
        .await?;
    Ok(kinds::Diff::of(vault, found))
}

fn no_version(text: &str) -> ApiError {
    Stop::usage(format!("`{}` is no version", shown(text))).hint(
        "give at least 6 hexadecimal digits of one, ~1 for the one before, or a time such as 2026-11-20T09:00",
    )
}

fn line(vault: &str, change: &Differs) -> String {
    let name = reference(vault, &change.path);
    let sign = match change.change {
        "added" => '+',
        "removed" => '-',
        _ => '~',
    };
    let size = match (change.old_size, change.new_size) {
        (Some(old), Some(new)) if old != new => format!("{old} to {new} bytes"),
        (_, Some(size)) | (Some(size), None) => format!("{size} bytes"),
        (None, None) => String::new(),
    };
    let conflict = if change.conflict { "  (conflict)" } else { "" };
    format!("{sign} {name}  {size}{conflict}")
}

/// The lines that differ, with those around them left away.
async fn hunks(
    session: &mut Session,
    vault: &str,
    change: &Differs,
    from: Option<CommitId>,
    to: CommitId,
) -> Result<Zeroizing<String>, Stop> {
    let mut sides = Vec::new();
    for (version, there) in [
        (from, change.old_size.is_some()),
        (Some(to), change.new_size.is_some()),
    ] {
        let value = match version.filter(|_| there) {
            Some(version) => {
                let version = version.to_string();
                let read = session.read(vault, &change.path, Some(&version)).await?;
                read.whole().await?
            }
            None => Zeroizing::new(Vec::new()),
        };
        sides.push(value);
    }
    Ok(compare(&sides[0], &sides[1]))
}

fn compare(old: &[u8], new: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        out.push_str("  (no text)\n");
        return out;
    };
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let head = same(&mut old.iter().zip(&new));
    let (old, new) = (&old[head..], &new[head..]);
    let tail = same(&mut old.iter().rev().zip(new.iter().rev()));
    for (sign, lines) in [
        ('-', &old[..old.len() - tail]),
        ('+', &new[..new.len() - tail]),
    ] {
        for line in lines {
            out.push_str("  ");
            out.push(sign);
            out.push(' ');
            out.push_str(&shown(line));
            out.push('\n');
        }
    }
    out
}

/// `polykey restore`
pub async fn restore(context: &Context, args: &Restore) -> Result<(), Stop> {
    let wanted = Context::reference(&args.reference)?;
    let Some(version) = &wanted.version else {
        return Err(usage(
            "which version?",
            "write REF@VERSION: `polykey log REF` lists them, @~1 is the one before",
        ));
    };
    let mut session = context.session().await?;
    let vault = session.vault(&wanted.vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path: wanted.path.clone(),
    };
    let targets = vec![uri(&vault, &wanted.path)];
    let found = revision::resolve(&mut session, &vault, &wanted.path, Some(version)).await;
    let version = match found {
        Ok(Some(version)) => version,
        Ok(None) => return Err(usage("that is the newest version", "name an older one")),
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    if args.dry.dry_run {
        return would_restore(context, &mut session, &scope, &version).await;
    }
    let before = session.entries(&vault, &wanted.path).await?.version;
    let request = RestoreRequest {
        path: wanted.path.clone(),
        version: version.clone(),
    };
    let reply = match session.restore(&vault, &request).await {
        Ok(reply) => reply,
        Err(error) => return Err(not_then(&mut session, error, &scope, &version).await.into()),
    };
    let short: String = version.chars().take(12).collect();
    if reply.changed.is_empty() {
        context.output.done(format_args!(
            "{scope} is what it was in {short}; nothing was written"
        ));
    } else {
        let undo = before.map_or_else(String::new, |v| {
            let name = format!("{scope}@{}", short_version(&v));
            format!("   undo: polykey restore {}", quoted(&name))
        });
        context.output.done(format_args!(
            "version {} = {scope} as of {short}{undo}",
            short_version(&reply.version)
        ));
    }
    let change = changed("restore", targets, &vault, &reply);
    context.output.one(&change, &scope.to_string())
}

async fn would_restore(
    context: &Context,
    session: &mut Session,
    scope: &Scope,
    version: &str,
) -> Result<(), Stop> {
    let vault = scope.vault.as_deref().unwrap_or_default();
    let found = match session.diff(vault, &scope.path, Some(version), None).await {
        Ok(found) => found,
        Err(error) => return Err(not_then(session, error, scope, version).await.into()),
    };
    let changed: Vec<String> = found.changes.iter().map(|c| uri(vault, &c.path)).collect();
    context.output.done(format_args!(
        "would change {} in {scope} back; nothing was written",
        match changed.len() {
            1 => "1 secret".to_owned(),
            n => format!("{n} secrets"),
        }
    ));
    let change = Change {
        action: "restore",
        targets: vec![uri(vault, &scope.path)],
        changed,
        version: Some(found.to),
        dry_run: true,
    };
    context.output.one(&change, &scope.to_string())
}

/// The path may be there now and not have been there then.
async fn not_then(
    session: &mut Session,
    error: ApiError,
    scope: &Scope,
    version: &str,
) -> ApiError {
    let vault = scope.vault.as_deref().unwrap_or_default();
    let short: String = version.chars().take(12).collect();
    if error.code == Code::NotFound && session.read(vault, &scope.path, None).await.is_ok() {
        let message = format!("{scope} was not there in {short}, or that version is not here");
        return ApiError::new(Code::NotFound, message)
            .next(format!("polykey log {}", quoted(&scope.to_string())));
    }
    session.explain(error, scope).await
}

/// `polykey vault conflicts`
pub async fn conflicts(context: &Context, vault: &str) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let vault = session.vault(vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path: String::new(),
    };
    let found = match session.conflicts(&vault).await {
        Ok(found) => found.conflicts,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    let settle = found.first().map(|c| reference(&vault, &c.path));
    let values = found
        .into_iter()
        .flat_map(|c| Conflict::all_of(&vault, c))
        .collect();
    let name = typed_vault(&vault);
    context.output.list(
        values,
        &CONFLICTS,
        &format!("every secret of {name} has one value"),
    )?;
    if let Some(name) =
        settle.filter(|_| context.output.is_terminal() && !context.output.is_for_programs())
    {
        context.output.say(format_args!(
            "  read one: polykey get {0}@VERSION   take it: polykey restore {0}@VERSION   or write: polykey set {0}",
            quoted(&name)
        ));
    }
    Ok(())
}

const CONFLICTS: Table<Conflict> = Table {
    columns: &["PATH", "VERSION", "CHANGED", "BY", "SIZE", "SHOWN"],
    row: |value, view| {
        let dash = || "-".to_owned();
        vec![
            typed_path(&value.path),
            value
                .version
                .map_or_else(dash, |v| view.id(v, || short_version(&v))),
            view.time(value.changed),
            value
                .by
                .as_ref()
                .map_or_else(dash, |by| view.id(by.id, || by.id.short())),
            value.size.to_string(),
            if value.shown { "newest" } else { "-" }.to_owned(),
        ]
    },
    name: |value| value.reference.clone(),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_differ_are_shown() {
        assert_eq!(
            compare(b"a\nb\nc\n", b"a\nx\ny\nc\n").as_str(),
            "  - b\n  + x\n  + y\n"
        );
        assert_eq!(compare(b"", b"new").as_str(), "  + new\n");
        assert_eq!(compare(b"a\na\n", b"a\n").as_str(), "  - a\n");
        assert_eq!(compare(b"same", b"same").as_str(), "");
        assert_eq!(compare(b"\xff", b"x").as_str(), "  (no text)\n");
        assert!(
            !compare(b"", b"\x1b[2J").contains('\x1b'),
            "nothing commands the terminal"
        );
    }
}
