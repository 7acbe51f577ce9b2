//! Passwords: chosen, asked for, or read from a file. Never from an argument, never from the environment.

use super::context::Context;
use super::files::read_secret;
use super::stop::Stop;
use super::terminal::Terminal;
use polykey_client::error::{ApiError, Code};
use std::path::Path;
use zeroize::Zeroizing;

/// The fewest characters of a password that is chosen: the only thing between a stolen disk and the vaults, at 64 MiB and three passes a guess.
const SHORTEST: usize = 12;
/// Words of a password that is made: 6 of 2,048 are 66 bits.
const WORDS: usize = 6;
/// How often a person may mistype before the command ends.
const TRIES: usize = 3;

/// The password of a new identity: from the file, or chosen at the terminal.
pub fn choose(context: &Context, file: Option<&Path>) -> Result<Zeroizing<String>, Stop> {
    let chosen = match file {
        Some(file) => from_file(file)?,
        None => choose_at(&mut context.terminal().ok_or_else(|| nobody("init"))?)?,
    };
    long_enough(&chosen)?;
    Ok(chosen)
}

/// The password of an identity that is there, to start the agent: from the file, or asked for at the terminal.
pub fn ask(context: &Context, file: Option<&Path>) -> Result<Zeroizing<String>, Stop> {
    ask_for(context, file, "agent start")
}

/// The same, for another command.
pub fn ask_for(
    context: &Context,
    file: Option<&Path>,
    command: &str,
) -> Result<Zeroizing<String>, Stop> {
    match file {
        Some(file) => from_file(file),
        None => context
            .terminal()
            .ok_or_else(|| nobody(command))?
            .hidden("Password: "),
    }
}

/// A password from a file, without the newline that editors put at its end.
fn from_file(file: &Path) -> Result<Zeroizing<String>, Stop> {
    let text = read_secret(file, "password")?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(Stop::failed(format!(
            "{} holds no password: it is empty",
            file.display()
        )));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

fn choose_at(terminal: &mut Terminal) -> Result<Zeroizing<String>, Stop> {
    for _ in 0..TRIES {
        let chosen = terminal.hidden(&format!("Choose a password ({SHORTEST}+ characters, or press Enter to get {WORDS} random words): "))?;
        if chosen.is_empty() {
            return made(terminal);
        }
        if chosen.chars().count() < SHORTEST {
            terminal.show(&format!("! {} characters are too few; {SHORTEST} or more, for example four or five words.\r\n", chosen.chars().count()))?;
            continue;
        }
        if *terminal.hidden("The same again: ")? == *chosen {
            return Ok(chosen);
        }
        terminal.show("! The two differ.\r\n")?;
    }
    Err(Stop::Error(Stop::usage(
        "no password was chosen; nothing was made",
    )))
}

/// Words are shown once, and typed once so that they are known to be kept.
fn made(terminal: &mut Terminal) -> Result<Zeroizing<String>, Stop> {
    let words = random_words()?;
    let shown = Zeroizing::new(format!(
        "\r\nYour password:\r\n\r\n    {}\r\n\r\nKeep it where you keep passwords. It disappears from here.\r\n\r\n",
        words.as_str()
    ));
    terminal.shown_while(&shown, |terminal| {
        for _ in 0..TRIES {
            let typed = terminal.hidden("Type it to go on: ")?;
            if typed.split_whitespace().eq(words.split_whitespace()) {
                return Ok(());
            }
            terminal.show("! That is not it.\r\n")?;
        }
        Err(Stop::Error(Stop::usage(
            "the password was not typed back; nothing was made",
        )))
    })?;
    Ok(words)
}

fn random_words() -> Result<Zeroizing<String>, Stop> {
    let list = bip39::Language::English.word_list();
    let mut random = Zeroizing::new([0; 2 * WORDS]);
    getrandom::fill(random.as_mut_slice())
        .map_err(|e| Stop::failed(format!("the system gives no random bytes: {e}")))?;
    let mut words = Zeroizing::new(String::with_capacity(WORDS * 9));
    for pair in random.chunks_exact(2) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(list[usize::from(u16::from_be_bytes([pair[0], pair[1]])) % list.len()]);
    }
    Ok(words)
}

fn long_enough(password: &str) -> Result<(), Stop> {
    let count = password.chars().count();
    if count >= SHORTEST {
        return Ok(());
    }
    let error = Stop::usage(format!(
        "the password has {count} characters; {SHORTEST} or more are needed, and nothing was made"
    ));
    Err(Stop::Error(
        error.hint("whoever gets the disk may guess without end"),
    ))
}

fn nobody(command: &str) -> Stop {
    let error = ApiError::new(
        Code::Locked,
        "a password is needed, and there is no terminal to ask at",
    );
    Stop::Error(error.next(format!("polykey {command} --password-file FILE")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_made_has_six_words_of_the_list() {
        let list = bip39::Language::English.word_list();
        let words = random_words().ok().expect("random bytes");
        assert_eq!(
            words.split(' ').filter(|word| list.contains(word)).count(),
            WORDS
        );
        assert_ne!(words, random_words().ok().expect("random bytes"));
        assert!(long_enough(&words).is_ok());
    }

    #[test]
    fn a_file_gives_its_password_without_the_newline_at_its_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let read = |text: &str| {
            let file = dir.path().join("pw");
            std::fs::write(&file, text).expect("written");
            from_file(&file).ok().map(|p| p.to_string())
        };
        assert_eq!(read("correct horse\n").as_deref(), Some("correct horse"));
        assert_eq!(read("correct horse\r\n").as_deref(), Some("correct horse"));
        assert_eq!(read(" two \n\n").as_deref(), Some(" two \n"));
        assert_eq!(read("\n"), None);
    }
}
