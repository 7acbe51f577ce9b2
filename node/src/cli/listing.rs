//! `ls` and `log`: names and versions, never values.

use super::args::{Log, Ls};
use super::context::Context;
use super::output::{Table, View};
use super::session::{Session, reference, short_version};
use super::stop::Stop;
use super::vaults;
use polykey_client::api::{self, Entry};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::{Secret, Version};
use polykey_client::reference::{Scope, typed_path};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many changed paths are named in a line of a log.
const CHANGES_SHOWN: usize = 3;
/// How long `log -w` waits before it asks the agent again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// `polykey ls`
pub async fn ls(context: &Context, args: &Ls) -> Result<(), Stop> {
    let Some(text) = &args.scope else {
        return vaults::ls(context).await;
    };
    let (vault, path) = Context::scope(text)?;
    let mut session = context.session().await?;
    let vault = session.vault(&vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path,
    };
    let entries = match session.entries(&vault, &scope.path).await {
        Ok(entries) => entries.entries,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    let found: Vec<Entry> = entries
        .into_iter()
        .filter(|e| is_within(&e.path, &scope.path))
        .collect();
    if found.is_empty() && !scope.path.is_empty() {
        return Err(session
            .explain(ApiError::new(Code::NotFound, ""), &scope)
            .await
            .into());
    }
    let whole = args.recursive || context.output.is_for_programs();
    let rows = if whole {
        found.into_iter().map(|e| Row::secret(&vault, e)).collect()
    } else {
        one_level(&vault, &scope.path, found)
    };
    print(context, rows, &scope)
}

fn print(context: &Context, rows: Vec<Row>, scope: &Scope) -> Result<(), Stop> {
    if context.output.is_for_programs() {
        let secrets = rows.into_iter().filter_map(|row| row.secret).collect();
        return context.output.list(secrets, &SECRETS, "");
    }
    context.output.rows(
        &rows,
        &ROWS,
        &format!(
            "{scope} is empty   polykey set {}:NAME",
            scope.vault.as_deref().unwrap_or_default()
        ),
    )
}

fn is_within(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path == folder
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// A secret, or a folder that stands for those below it.
struct Row {
    name: String,
    below: usize,
    secret: Option<Secret>,
}

impl Row {
    fn secret(vault: &str, entry: Entry) -> Row {
        Row {
            name: reference(vault, &entry.path),
            below: 0,
            secret: Some(Secret::of(vault, entry)),
        }
    }
}

fn one_level(vault: &str, folder: &str, entries: Vec<Entry>) -> Vec<Row> {
    let start = if folder.is_empty() {
        0
    } else {
        folder.len() + 1
    };
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for entry in entries {
        let rest = entry.path.get(start..).unwrap_or_default();
        if let Some(slash) = rest.find('/') {
            let name = reference(vault, &entry.path[..start + slash]) + "/";
            let folder = Row {
                name: name.clone(),
                below: 0,
                secret: None,
            };
            rows.entry(name).or_insert(folder).below += 1;
        } else {
            let row = Row::secret(vault, entry);
            rows.insert(row.name.clone(), row);
        }
    }
    rows.into_values().collect()
}

const ROWS: Table<Row> = Table {
    columns: &["NAME", "SIZE", "CHANGED", "BY", "VERSION"],
    row: cells,
    name: |row| row.name.clone(),
};

const SECRETS: Table<Secret> = Table {
    columns: &[],
    row: |_, _| Vec::new(),
    name: |secret| secret.reference.clone(),
};

fn cells(row: &Row, view: View) -> Vec<String> {
    let dash = || "-".to_owned();
    let Some(secret) = &row.secret else {
        return vec![
            row.name.clone(),
            format!("{} below", row.below),
            dash(),
            dash(),
            dash(),
        ];
    };
    let conflict = if secret.conflict { " (conflict)" } else { "" };
    vec![
        format!("{}{conflict}", row.name),
        secret.size.to_string(),
        view.time(secret.changed),
        secret
            .by
            .as_ref()
            .map_or_else(dash, |by| view.id(by.id, || by.id.short())),
        secret
            .version
            .map_or_else(dash, |v| view.id(v, || short_version(&v))),
    ]
}

/// `polykey log`
pub async fn log(context: &Context, args: &Log) -> Result<(), Stop> {
    let (vault, path) = Context::scope(&args.scope)?;
    let mut session = context.session().await?;
    let vault = session.vault(&vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path,
    };
    let versions = match session.log(&vault, &scope.path, args.limit).await {
        Ok(log) => log.versions,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    if versions.is_empty() && !scope.path.is_empty() {
        return Err(not_in_log(&mut session, &scope).await.into());
    }
    if args.watch {
        return follow(context, &mut session, &scope, args.limit, versions).await;
    }
    let versions = versions.into_iter().map(Version::from).collect();
    context
        .output
        .list(versions, &VERSIONS, &format!("{scope} has no version yet"))
}

/// Prints versions as they come, the oldest first, until the reader or the agent goes.
async fn follow(
    context: &Context,
    session: &mut Session,
    scope: &Scope,
    limit: u32,
    mut versions: Vec<api::Version>,
) -> Result<(), Stop> {
    let vault = scope.vault.as_deref().unwrap_or_default();
    let mut told = BTreeSet::new();
    loop {
        versions.retain(|v| told.insert(v.version));
        versions.reverse();
        for version in versions {
            context.output.follow(&Version::from(version), &VERSIONS)?;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        versions = session.log(vault, &scope.path, limit).await?.versions;
    }
}

async fn not_in_log(session: &mut Session, scope: &Scope) -> ApiError {
    session
        .explain(ApiError::new(Code::NotFound, ""), scope)
        .await
}

const VERSIONS: Table<Version> = Table {
    columns: &["VERSION", "CHANGED", "BY", "WHAT"],
    row: |version, view| {
        let by = version.by.id;
        let whole = version.version;
        vec![
            view.id(whole, || short_version(&whole)),
            view.time(version.changed),
            view.id(by, || by.short()),
            what(version),
        ]
    },
    name: |version| version.version.to_string(),
};

fn what(version: &Version) -> String {
    let sign = |change: &str| match change {
        "added" => "+",
        "removed" => "-",
        _ => "~",
    };
    let shown = version.changes.iter().take(CHANGES_SHOWN);
    if let Some(gone) = &version.gone {
        return format!("({gone})");
    }
    let mut out: Vec<String> = shown
        .map(|c| format!("{}{}", sign(&c.change), typed_path(&c.path)))
        .collect();
    match version.changes.len() {
        0 => out.push("-".to_owned()),
        n if n > CHANGES_SHOWN => out.push(format!("and {} more", n - CHANGES_SHOWN)),
        _ => {}
    }
    out.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            path: path.to_owned(),
            size: 1,
            mode: 0o444,
            version: None,
            changed_ms: None,
            by: None,
            conflict: false,
        }
    }

    #[test]
    fn one_level_shows_secrets_and_folders_with_what_is_below() {
        let entries = ["db", "prod/a", "prod/b/c", "prod/b/d"].map(entry).to_vec();
        let names = |rows: Vec<Row>| {
            rows.into_iter()
                .map(|r| (r.name, r.below))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(one_level("app", "", entries.clone())),
            [("app:db".to_owned(), 0), ("app:prod/".to_owned(), 3)]
        );
        let prod = entries
            .into_iter()
            .filter(|e| is_within(&e.path, "prod"))
            .collect();
        assert_eq!(
            names(one_level("app", "prod", prod)),
            [("app:prod/a".to_owned(), 0), ("app:prod/b/".to_owned(), 2)]
        );
    }

    #[test]
    fn a_folder_holds_what_is_below_it_and_not_what_starts_like_it() {
        assert!(is_within("prod/db", "prod") && is_within("prod", "prod") && is_within("x", ""));
        assert!(!is_within("production", "prod"));
    }
}
