//! `vault prune`: lets go of what old versions held.

use super::args;
use super::context::Context;
use super::output::size;
use super::session::{quoted, short_version};
use super::sharing;
use super::stop::Stop;
use jiff::Timestamp;
use polykey_client::api::PruneRequest;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::Pruning;
use polykey_client::reference::{Scope, typed_vault};

/// `polykey vault prune`
pub async fn prune(context: &Context, command: &args::Vault) -> Result<(), Stop> {
    let args::Vault::Prune {
        vault,
        keep,
        older,
        yes,
        dry,
    } = command
    else {
        return Ok(());
    };
    let mut session = context.session().await?;
    let vault = session.vault(vault).await?;
    let scope = Scope {
        vault: Some(vault.clone()),
        path: String::new(),
    };
    let before_ms = match older {
        Some(text) => Some(older_than(text)?),
        None => None,
    };
    let request = PruneRequest {
        keep: keep.clone(),
        before_ms,
        dry_run: dry.dry_run,
    };
    let name = typed_vault(&vault);
    if !dry.dry_run {
        confirm(context, *yes, &name)?;
    }
    let reply = match session.prune(&vault, &request).await {
        Ok(reply) => reply,
        Err(error) if error.code == Code::NotFound && !error.next.is_empty() => {
            return Err(error.into());
        }
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    let short = reply.keep.as_ref().map(short_version);
    let count = match reply.versions {
        1 => "1 version".to_owned(),
        n => format!("{n} versions"),
    };
    let said = match short {
        None => format!("nothing in {name} is as old as that; nothing was written"),
        Some(short) if dry.dry_run => {
            format!("would let go of the contents of {count} before {short}; nothing was written")
        }
        Some(short) if reply.unchanged => {
            format!("{name} was pruned to {short} before; nothing was written")
        }
        Some(short) => format!(
            "let go of the contents of {count} before {short}   {} freed; what is younger than an hour, and other devices, follow",
            size(reply.freed)
        ),
    };
    context.output.done(said);
    let document = Pruning {
        vault,
        keep: reply.keep,
        versions: reply.versions,
        unchanged: reply.unchanged,
        freed: reply.freed,
    };
    context.output.one(&document, &name)
}

fn older_than(text: &str) -> Result<u64, Stop> {
    let now = Timestamp::now().as_second();
    let until = sharing::expiry(text, now)?;
    let age = until.saturating_sub(u64::try_from(now).unwrap_or(0));
    let cut = u64::try_from(now).unwrap_or(0).saturating_sub(age);
    Ok(cut.saturating_mul(1_000))
}

fn confirm(context: &Context, yes: bool, name: &str) -> Result<(), Stop> {
    if yes {
        return Ok(());
    }
    let Some(mut terminal) = context.terminal() else {
        let error = ApiError::new(
            Code::Usage,
            format!(
                "old versions of {name} would lose their contents, and there is no terminal to ask at"
            ),
        );
        return Err(error
            .hint("--yes does it without a question; it cannot be undone")
            .next(format!("polykey vault prune {} -n", quoted(name)))
            .into());
    };
    let question = format!("Let go of what old versions of {name} held, for good and everywhere?");
    if terminal.confirm(&question, false)? {
        Ok(())
    } else {
        Err(Stop::Cancelled)
    }
}
