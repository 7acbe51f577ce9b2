//! `init`: this device's identity, and its first vault. The words are shown to a person or written to a file of theirs; they are never printed.

use super::agent;
use super::args::Init;
use super::context::Context;
use super::engine;
use super::files::{create_private, read_secret};
use super::password;
use super::stop::Stop;
use super::terminal::Terminal;
use polykey_client::kinds::Identity;
use polykey_core::ids::NodeId;
use polykey_core::keys::Words;
use std::fmt::Write;
use std::path::Path;
use zeroize::Zeroizing;

/// The vault that a new identity starts with.
const FIRST_VAULT: &str = "personal";
/// Words a line when they are shown.
const COLUMNS: usize = 4;
/// How often a person may mistype the word that is asked for.
const TRIES: usize = 3;

/// `polykey init`
pub async fn run(context: &Context, args: &Init) -> Result<(), Stop> {
    if engine::has_identity(&context.place.node_path) {
        return already(context, args).await;
    }
    let restored = args
        .recovery_code_file
        .as_deref()
        .map(restore_words)
        .transpose()?;
    if restored.is_none() && args.recovery_code_to.is_none() && context.terminal().is_none() {
        return Err(words_need_a_place());
    }
    let password = password::choose(context, args.password_file.as_deref())?;
    let words = match &restored {
        Some(_) => None,
        None => Some(new_words(context, args)?),
    };
    let all = words
        .as_ref()
        .or(restored.as_ref())
        .map(|words| (words, restored.is_some()));
    let Some((words, is_restored)) = all else {
        return Ok(());
    };
    let identity = engine::create(&context.place.node_path, words, &password)?;
    let node = identity.node_id();
    if !is_restored {
        engine::first_vault(&context.place.node_path, identity, FIRST_VAULT).await?;
    }
    tell_made(context, &node, is_restored, args);
    let document = document(context, Some(node), args, is_restored);
    context.output.one(&document, &node.to_string())?;
    offer_agent(context, args, password).await
}

/// Nothing is changed, unless the words were given for another password.
async fn already(context: &Context, args: &Init) -> Result<(), Stop> {
    let at = context.place.node_path.display();
    if let Some(file) = &args.recovery_code_file {
        return reset_password(context, args, file);
    }
    let node = existing_node(context, args).await?;
    let who = node.map(|n| format!(": {}", n.short())).unwrap_or_default();
    context.output.done(format_args!(
        "there is an identity in {at} already{who}; nothing was changed"
    ));
    let document = Identity {
        created: false,
        recovery_code_file: None,
        ..document(context, node, args, false)
    };
    context
        .output
        .one(&document, &node.map(|n| n.to_string()).unwrap_or_default())
}

/// Who forgot the password has the words, which open the same identity and its store.
fn reset_password(context: &Context, args: &Init, file: &Path) -> Result<(), Stop> {
    let words = restore_words(file)?;
    let password = password::choose(context, args.password_file.as_deref())?;
    let node = engine::reset_password(&context.place.node_path, &words, &password)?;
    context.output.done(format_args!(
        "{} has the new password; its vaults are as they were",
        node.short()
    ));
    let document = Identity {
        created: false,
        ..document(context, Some(node), args, true)
    };
    context.output.one(&document, &node.to_string())
}

/// The agent knows it; else the password file opens it; else it stays unknown, since it is sealed.
async fn existing_node(context: &Context, args: &Init) -> Result<Option<NodeId>, Stop> {
    if let Ok(mut session) = context.session().await
        && let Ok(status) = session.status().await
    {
        return Ok(Some(status.node_id));
    }
    let Some(file) = &args.password_file else {
        return Ok(None);
    };
    let password = password::ask(context, Some(file))?;
    engine::node_id(&context.place.node_path, &password).map(Some)
}

fn restore_words(file: &Path) -> Result<Words, Stop> {
    let text = read_secret(file, "recovery code")?;
    Words::parse(&text).map_err(|error| {
        let error = Stop::usage(format!(
            "{} is no recovery code: {error}; nothing was made",
            file.display()
        ));
        Stop::Error(error.hint("24 words of the list, in their order, between spaces or newlines"))
    })
}

fn words_need_a_place() -> Stop {
    let error = Stop::usage("there is no terminal to show the 24 words at; nothing was made");
    let error = error.hint(
        "they are the only way back in when the password is forgotten, and are never printed",
    );
    Stop::Error(error.next("polykey init --recovery-code-to FILE --password-file FILE"))
}

fn new_words(context: &Context, args: &Init) -> Result<Words, Stop> {
    let mut entropy = Zeroizing::new([0; 32]);
    getrandom::fill(entropy.as_mut_slice())
        .map_err(|e| Stop::failed(format!("the system gives no random bytes: {e}")))?;
    let words = Words::from_entropy(&entropy);
    match &args.recovery_code_to {
        Some(file) => create_private(
            file,
            Zeroizing::new(format!("{}\n", words.as_str())).as_bytes(),
        )?,
        None => show_words(
            &mut context.terminal().ok_or_else(words_need_a_place)?,
            &words,
        )?,
    }
    Ok(words)
}

/// Shows the words, and asks for one of them: who can type it has them before their eyes, on paper we hope.
fn show_words(terminal: &mut Terminal, words: &Words) -> Result<(), Stop> {
    let words: Vec<&str> = words.as_str().split(' ').collect();
    let asked = random_below(words.len())?;
    let shown = Zeroizing::new(format!(
        "\r\n! Write these {} words on paper. They are the only way back in if you forget the password.\r\n  They are shown this one time.\r\n\r\n{}\r\n",
        words.len(),
        in_columns(&words).as_str()
    ));
    terminal.shown_while(&shown, |terminal| {
        for _ in 0..TRIES {
            if terminal
                .line(&format!("  Type word {} to go on: ", asked + 1))?
                .eq_ignore_ascii_case(words[asked])
            {
                return Ok(());
            }
            terminal.show(&format!("  ! That is not word {}.\r\n", asked + 1))?;
        }
        Err(Stop::Error(Stop::usage(
            "the word was not typed; nothing was made",
        )))
    })
}

fn in_columns(words: &[&str]) -> Zeroizing<String> {
    let rows = words.len().div_ceil(COLUMNS);
    let mut out = Zeroizing::new(String::with_capacity(words.len() * 16));
    for row in 0..rows {
        for at in (row..words.len()).step_by(rows) {
            let _ = write!(out, "   {:>2} {:<9}", at + 1, words[at]);
        }
        out.push_str("\r\n");
    }
    out
}

fn random_below(limit: usize) -> Result<usize, Stop> {
    let number = getrandom::u64()
        .map_err(|e| Stop::failed(format!("the system gives no random bytes: {e}")))?;
    Ok(usize::try_from(number % limit as u64).unwrap_or_default())
}

fn tell_made(context: &Context, node: &NodeId, restored: bool, args: &Init) {
    if let Some(file) = &args.recovery_code_to {
        context.output.warn(format_args!(
            "the 24 words are in {} (mode 0600): write them on paper, then destroy the file",
            file.display()
        ));
    }
    if restored {
        context.output.done(format_args!(
            "This device is {} again. Vaults come back from those who share them.",
            node.short()
        ));
    } else {
        context.output.done(format_args!(
            "This device is {}. Vault \"{FIRST_VAULT}\" is ready.",
            node.short()
        ));
    }
}

fn document(context: &Context, node_id: Option<NodeId>, args: &Init, restored: bool) -> Identity {
    Identity {
        node_id,
        node_path: context.place.node_path.display().to_string(),
        created: true,
        restored,
        recovery_code_file: args
            .recovery_code_to
            .as_ref()
            .map(|file| file.display().to_string()),
    }
}

/// At a terminal the agent may be started at once, with the password that is known; elsewhere the next command is said.
async fn offer_agent(
    context: &Context,
    args: &Init,
    password: Zeroizing<String>,
) -> Result<(), Stop> {
    if context.output.is_for_programs() {
        return Ok(());
    }
    let by_hand = args.password_file.is_none();
    let yes = match context.terminal() {
        Some(mut terminal) if by_hand => terminal.confirm("Start the agent now?", true)?,
        _ => false,
    };
    if !yes {
        context
            .output
            .say("  Next: polykey agent start --background");
        return Ok(());
    }
    agent::start_after_init(context, &password).await?;
    context.output.say(format_args!(
        "  Next: polykey set {FIRST_VAULT}:github      then: polykey get {FIRST_VAULT}:github"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_down_the_columns() {
        let words: Vec<String> = (1..=24).map(|n| format!("w{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = in_columns(&words);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["1", "w1", "7", "w7", "13", "w13", "19", "w19"]
        );
    }
}
