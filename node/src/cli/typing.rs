//! From the arguments of the process to a command; mistakes in the form of every other error, with the nearest word.

use super::args::{Cli, Color, Format};
use super::closest::closest;
use super::output::Paint;
use super::stop::Stop;
use super::wants_documents;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use polykey_client::error::{ApiError, Code};
use std::io::{IsTerminal, Write};

/// Secrets that may not be in the environment, and how to give them.
const REFUSED: [(&str, &str); 2] = [
    ("PK_PASSWORD", "--password-file FILE or PK_PASSWORD_FILE"),
    ("PK_RECOVERY_CODE", "--recovery-code-file FILE"),
];

/// Reads the arguments, or tells what is wrong with them (or the help that they ask for) and gives the exit status.
pub fn parse() -> Result<Cli, u8> {
    let arguments: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    Cli::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => help(&error),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Code::Usage.exit()
        }
        _ => {
            let format = wants_documents(&arguments).unwrap_or(Format::Table);
            Stop::Error(mistake(&error, &arguments)).report(format, Paint::stderr(Color::Auto))
        }
    })
}

/// A closed pipe is no error here either.
fn help(error: &clap::Error) -> u8 {
    let text = if std::io::stdout().is_terminal() {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    0
}

/// A mistake of typing. What was typed is repeated only where it is a name or an option, never where it could be a secret.
fn mistake(error: &clap::Error, arguments: &[String]) -> ApiError {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    let mut message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if error.kind() == ErrorKind::MissingRequiredArgument {
        message = format!("missing: {}", listed(error.get(ContextKind::InvalidArg)));
    }
    let near = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg];
    let near = near.iter().find_map(|kind| nearest(error.get(*kind)));
    let (command, inner) = command_of(arguments);
    let near = near.or_else(|| {
        let typed = listed(error.get(ContextKind::InvalidSubcommand));
        closest(&typed, inner.iter().map(String::as_str))
            .into_iter()
            .next()
    });
    let values = listed(error.get(ContextKind::ValidValue));
    let usage = Stop::usage(message);
    let usage = match (near, values.is_empty()) {
        (_, false) => usage.hint(format!("possible: {values}")),
        (Some(near), true) => usage.hint(format!("did you mean {near}?")),
        (None, true) => usage,
    };
    usage.next(format!("{command} --help"))
}

fn listed(value: Option<&ContextValue>) -> String {
    match value {
        Some(ContextValue::String(one)) => one.clone(),
        Some(ContextValue::Strings(many)) => many.join(", "),
        _ => String::new(),
    }
}

/// The best suggestion: clap puts it last.
fn nearest(value: Option<&ContextValue>) -> Option<String> {
    match value? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(many) => many.last().cloned(),
        _ => None,
    }
}

/// The command that was typed, as far as it is one, and the commands below it.
fn command_of(arguments: &[String]) -> (String, Vec<String>) {
    let tree = Cli::command();
    let (mut at, mut words) = (&tree, vec!["polykey"]);
    for argument in arguments.iter().skip(1) {
        if let Some(inner) = at.find_subcommand(argument) {
            at = inner;
            words.push(inner.get_name());
        }
    }
    let inner = at.get_subcommands().map(|c| c.get_name().to_owned());
    (words.join(" "), inner.collect())
}

/// A password in the environment is seen by every program that is started from there, and by `ps e`.
pub fn refuse_secrets_in_environment() -> Result<(), Stop> {
    for (name, instead) in REFUSED {
        if std::env::var_os(name).is_some() {
            let error = Stop::usage(format!("{name} is set, and is not read; nothing was done"));
            let error =
                error.hint("other programs of yours can see the environment, and logs keep it");
            return Err(Stop::Error(
                error.next(format!("unset {name}, and use {instead}")),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: &[&str]) -> ApiError {
        match Cli::try_parse_from(arguments) {
            Ok(_) => panic!("{arguments:?} was read"),
            Err(error) => mistake(
                &error,
                &arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>(),
            ),
        }
    }

    #[test]
    fn the_command_tree_has_no_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_word_and_the_help_of_its_command() {
        let wrong = error(&["polykey", "statsu"]);
        assert_eq!(wrong.hint.as_deref(), Some("did you mean status?"));
        let wrong = error(&["polykey", "gte", "app:x"]);
        assert_eq!(wrong.hint.as_deref(), Some("did you mean get?"));
        let wrong = error(&["polykey", "vault", "creat", "x"]);
        assert_eq!(wrong.hint.as_deref(), Some("did you mean create?"));
        assert_eq!(wrong.next, ["polykey vault --help"]);
        let wrong = error(&["polykey", "get", "app:x", "--no-newlin"]);
        assert_eq!(wrong.hint.as_deref(), Some("did you mean --no-newline?"));
        let wrong = error(&["polykey", "get"]);
        assert_eq!(wrong.message, "missing: <REF>");
        assert_eq!(wrong.next, ["polykey get --help"]);
        let wrong = error(&["polykey", "ls", "-o", "xml"]);
        assert_eq!(
            wrong.hint.as_deref(),
            Some("possible: table, wide, json, jsonl, yaml, name")
        );
        assert_eq!(wrong.next, ["polykey ls --help"]);
    }

    #[test]
    fn documents_are_asked_for_in_each_spelling() {
        let wants =
            |text: &str| wants_documents(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(wants("polykey ls -o json"), Some(Format::Json));
        assert_eq!(wants("polykey ls -ojsonl"), Some(Format::Jsonl));
        assert_eq!(wants("polykey ls --output=yaml"), Some(Format::Yaml));
        assert_eq!(wants("polykey --json ls"), Some(Format::Json));
        assert_eq!(wants("polykey ls -o table"), None);
    }
}
