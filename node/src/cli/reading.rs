//! `get`: the value of a secret, to a pipe, a person, a file or a program.

use super::args::Get;
use super::context::{Context, Wanted};
use super::files;
use super::output::put_bytes;
use super::revision;
use super::session::{Session, quoted};
use super::stop::Stop;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::SecretValue;
use polykey_client::reference::{Reference, Revision, Scope};

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

async fn explain(session: &mut Session, error: ApiError, wanted: &Wanted, vault: &str) -> ApiError {
    let scope = Scope {
        vault: Some(vault.to_owned()),
        path: wanted.path.clone(),
    };
    let error = match &wanted.version {
        Some(version @ Revision::Id(_)) if error.code == Code::NotFound => {
            match session.read(vault, &wanted.path, None).await {
                Ok(_) => no_version(&scope, version),
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
