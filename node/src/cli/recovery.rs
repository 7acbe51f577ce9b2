//! `vault recover` and `vault resign`: what only the words of a vault's maker can do. The words are asked for at the terminal or read from a file; they are never an argument.

use super::args::{Recover, Resign};
use super::context::Context;
use super::files::read_secret;
use super::key;
use super::session::{Session, quoted, usage};
use super::stop::Stop;
use super::vaults::settle;
use jiff::Timestamp;
use polykey_client::api::{Before, Recovery, Secret};
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::Change;
use polykey_client::reference::shown;
use polykey_core::keys::Words;
use std::path::Path;
use zeroize::Zeroizing;

/// Digits of a version that may stand for all 64.
const SHORTEST_VERSION: usize = 6;
/// Versions among which a short one is looked for.
const VERSIONS: u32 = 1_000;

/// `polykey vault recover`
pub async fn recover(context: &Context, args: &Recover) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let (vault, scope) = settle(&mut session, &args.vault).await?;
    if let Err(error) = session.members(&vault).await {
        return Err(not_here(error).into());
    }
    let before = match &args.before {
        Some(text) => Some(moment(&mut session, &vault, text).await?),
        None => None,
    };
    if args.dry.dry_run {
        context.output.done(format_args!(
            "would take {scope} back for this device; nothing was written"
        ));
        return done(context, "recover", &vault, true);
    }
    let words = words(context, args.recovery_code_file.as_deref())?;
    let mut request = Recovery {
        words,
        before,
        resign: false,
        unlock: None,
    };
    let mut reply = session.recover(&vault, &request).await;
    if matches!(&reply, Err(error) if error.code == Code::Locked) {
        context.output.warn("this device has the very key that is to lose the vault, and the thief has it too: it gets another, for which its own password or key file is needed");
        let method = session.status().await?.unlock_method;
        request.unlock = Some(key::unlock(context, &args.opens, &method, "vault recover")?);
        reply = session.recover(&vault, &request).await;
    }
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Err(session.explain(error, &scope).await.into()),
    };
    if let Some(changed) = &reply.key {
        key::wait_until_back(context, &changed.new).await?;
    }
    let replaced: Vec<String> = reply
        .replaced
        .iter()
        .map(polykey_core::ids::NodeId::short)
        .collect();
    context.output.done(format_args!(
        "{scope} is this device's again, in the place of {}; members now: {}",
        replaced.join(", "),
        reply.members
    ));
    if let Some(changed) = &reply.key {
        context.output.done(format_args!(
            "this device is {} now, in the place of {}, whose key the thief has",
            changed.new.short(),
            changed.old.short()
        ));
        key::tell_others(context, &changed.old, &changed.new);
    }
    if reply.undone > 0 {
        context.output.warn(format_args!(
            "{} changes of membership by others came after that and fell out. Look: polykey vault members {}",
            reply.undone,
            quoted(&scope.to_string())
        ));
    }
    context
        .output
        .warn("what the old key could read it may have kept: change the secrets that matter");
    done(context, "recover", &vault, false)
}

/// `polykey vault resign`
pub async fn resign(context: &Context, args: &Resign) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let (vault, scope) = settle(&mut session, &args.vault).await?;
    if args.dry.dry_run {
        context.output.done(format_args!(
            "would give up the words of {scope} for good; nothing was written"
        ));
        return done(context, "resign", &vault, true);
    }
    if !args.yes {
        let Some(mut terminal) = context.terminal() else {
            let error = Stop::usage("this is for good, and there is no terminal to ask at");
            return Err(Stop::Error(error.hint("--yes does it without a question")));
        };
        let question = format!(
            "Nobody can ever take {scope} back with these words again. Give them up for good?"
        );
        if !terminal.confirm(&question, false)? {
            return Err(Stop::Cancelled);
        }
    }
    let words = words(context, args.recovery_code_file.as_deref())?;
    let request = Recovery {
        words,
        before: None,
        resign: true,
        unlock: None,
    };
    if let Err(error) = session.recover(&vault, &request).await {
        return Err(session.explain(error, &scope).await.into());
    }
    context.output.done(format_args!(
        "the words of who made {scope} are given up for good; its owners alone decide now"
    ));
    done(context, "resign", &vault, false)
}

/// What cannot be recovered here may be recovered elsewhere.
fn not_here(error: ApiError) -> ApiError {
    if error.code != Code::NotFound {
        return error;
    }
    error
        .hint("a vault is taken back on a device that has it. A new machine gets it from any member or mirror under the id that its words restore, unless that id was removed, by the thief or by `polykey key rotate`: then do this on a device that still has the vault; the words are the same")
        .next("polykey peer add NODE-ID ADDRESS")
}

fn done(context: &Context, action: &'static str, vault: &str, dry_run: bool) -> Result<(), Stop> {
    let change = Change {
        action,
        targets: vec![vault.to_owned()],
        changed: vec![vault.to_owned()],
        version: None,
        dry_run,
    };
    context.output.one(&change, vault)
}

/// The words, checked here so that a typo is named before anything is asked of the agent.
fn words(context: &Context, file: Option<&Path>) -> Result<Secret, Stop> {
    let text = match (file, context.terminal()) {
        (Some(file), _) => read_secret(file, "recovery code")?,
        (None, Some(mut terminal)) => {
            terminal.hidden("The 24 words of the device that made the vault: ")?
        }
        (None, None) => {
            let error = Stop::usage("there is no terminal to ask for the 24 words at");
            return Err(Stop::Error(
                error.hint("--recovery-code-file FILE reads them from a file"),
            ));
        }
    };
    let words = Words::parse(&text).map_err(|error| {
        let error = Stop::usage(format!(
            "that is no recovery code: {error}; nothing was changed"
        ));
        Stop::Error(error.hint("24 words of the list, in their order, between spaces or newlines"))
    })?;
    Ok(Secret(Zeroizing::new(words.as_str().as_bytes().to_vec())))
}

/// A version, by at least six of its digits, or a time.
async fn moment(session: &mut Session, vault: &str, text: &str) -> Result<Before, Stop> {
    if let Ok(version) = text.parse() {
        return Ok(Before::Version(version));
    }
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex && text.len() >= SHORTEST_VERSION {
        let log = session.log(vault, "", VERSIONS).await?;
        let mut found = log
            .versions
            .iter()
            .filter(|v| v.version.to_string().starts_with(text));
        return match (found.next(), found.next()) {
            (Some(one), None) => Ok(Before::Version(one.version)),
            (Some(_), Some(_)) => Err(usage(
                format!("several versions begin with {text}"),
                "type more of it; polykey log shows them",
            )),
            (None, _) => Err(usage(
                format!("no version begins with {text}"),
                "polykey log shows the versions",
            )),
        };
    }
    let at: Option<Timestamp> = text.parse().ok();
    let ms = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    ms.map(Before::Time).ok_or_else(|| {
        usage(
            format!("`{}` is neither a version nor a time", shown(text)),
            "the first digits of a version, or a time such as 2026-05-12T09:00:00Z",
        )
    })
}
