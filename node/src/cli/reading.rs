//! `get`: the value of a secret, to a pipe, a person, a file or a program.

use super::args::Get;
use super::context::{Context, Wanted};
use super::files::PrivateFile;
use super::output::put_bytes;
use super::revision;
use super::session::{Reading, Session, quoted, reference};
use super::stop::Stop;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::SecretValue;
use polykey_client::reference::{Reference, Revision, Scope, typed_vault};
use std::path::Path;

/// `polykey get`
pub async fn get(context: &Context, args: &Get) -> Result<(), Stop> {
    let wanted = Context::reference(&args.reference)?;
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
        Err(error) => return Err(explain(&mut session, error, &wanted, &vault).await.into()),
    };
    let version = read.version;
    if read.conflict {
        let name = reference(&vault, &wanted.path);
        context.output.warn(format_args!(
            "{name} has several values, written apart; this is the newest. See them: polykey vault conflicts {}",
            quoted(&typed_vault(&vault))
        ));
    }
    if let Some(file) = &args.to {
        return to_file(context, file, read).await;
    }
    if context.output.is_for_programs() {
        let reference = Reference {
            vault: Some(vault),
            path: wanted.path,
            field: None,
            version: Some(Revision::Id(version.to_string())),
        }
        .to_uri("");
        let value = read.whole().await?;
        return context
            .output
            .one(&SecretValue::of(reference, version, &value), "");
    }
    if context.output.is_terminal() {
        return print_value(args, &read.whole().await?);
    }
    read.parts(put_bytes).await
}

async fn to_file(context: &Context, file: &Path, read: Reading) -> Result<(), Stop> {
    let mut out = PrivateFile::begin(file)?;
    let mut progress = context.output.progress("reading", read.size);
    let mut size = 0;
    let parts = read.parts(|part| {
        size += part.len() as u64;
        progress.at(size);
        out.write(part)
    });
    parts.await?;
    drop(progress);
    out.finish()?;
    context.output.done(format_args!(
        "wrote {} ({size} bytes, mode 0600)",
        file.display()
    ));
    Ok(())
}

async fn explain(session: &mut Session, error: ApiError, wanted: &Wanted, vault: &str) -> ApiError {
    let scope = Scope {
        vault: Some(vault.to_owned()),
        path: wanted.path.clone(),
    };
    let error = match &wanted.version {
        Some(version @ Revision::Id(_)) if error.code == Code::NotFound => {
            let read = match session.read(vault, &wanted.path, None).await {
                Ok(read) => read.parts(|_| Ok::<_, ApiError>(())).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(()) => no_version(&scope, version),
                Err(_) => error,
            }
        }
        _ => error,
    };
    session.explain(error, &scope).await
}

fn no_version(scope: &Scope, version: &Revision) -> ApiError {
    let message = format!("{scope} has no version {version}, or it is not shared with you");
    ApiError::new(Code::NotFound, message)
        .next(format!("polykey log {}", quoted(&scope.to_string())))
}

/// On a terminal a newline follows, and bytes that would command it are not sent to it.
fn print_value(args: &Get, value: &[u8]) -> Result<(), Stop> {
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
}
