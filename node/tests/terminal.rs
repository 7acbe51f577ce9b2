//! What a person sees and types: the program on a terminal of its own, which `script` makes. Words and passwords are on that terminal and nowhere else.

mod world;

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use world::World;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_mins(1);
const PASSWORD: &str = "correct horse battery";

/// A program at a terminal.
struct Screen {
    child: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    seen: String,
    answered: usize,
}

impl Screen {
    fn start(world: &World, line: &str) -> Screen {
        let mut script = world.command("script");
        script
            .args(["-q", "-e", "-f", "-c", line, "/dev/null"])
            .env("TERM", "xterm");
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("script runs");
        let keys = child.stdin.take().expect("a pipe");
        let mut out = child.stdout.take().expect("a pipe");
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Screen {
            child,
            keys,
            output,
            seen: String::new(),
            answered: 0,
        }
    }

    /// Waits until the text appears after what was waited for before; gives what came up to it.
    fn wait(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen[self.answered..].find(text) {
                let end = self.answered + at + text.len();
                let before = self.seen[self.answered..end].to_owned();
                self.answered = end;
                return before;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(e) => panic!("{text:?} did not come ({e}); the screen: {}", self.seen),
            }
        }
    }

    fn keys(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .and_then(|()| self.keys.flush())
            .expect("keys can be typed");
    }

    fn answer(&mut self, question: &str, keys: &str) {
        self.wait(question);
        self.keys(&format!("{keys}\r"));
    }

    /// Waits for the end; gives the exit status.
    fn end(&mut self) -> i32 {
        while let Ok(bytes) = self.output.recv_timeout(DEADLINE) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}

/// The words of the screen: 24 pairs of a number and a word, down the columns.
fn words(screen: &str) -> Vec<String> {
    let tokens: Vec<&str> = screen.split_whitespace().collect();
    let word = |n: usize| {
        let number = n.to_string();
        let fits =
            |pair: &&[&str]| pair[0] == number && pair[1].chars().all(|c| c.is_ascii_lowercase());
        tokens.windows(2).find(fits).map_or_else(
            || panic!("no word {n} in {screen}"),
            |pair| pair[1].to_owned(),
        )
    };
    (1..=24).map(word).collect()
}

fn choose_password(screen: &mut Screen) {
    screen.answer("Choose a password", PASSWORD);
    screen.answer("The same again", PASSWORD);
}

fn show_words(screen: &mut Screen) -> (Vec<String>, usize) {
    let shown = screen.wait("Type word ");
    let asked = screen.wait(" to go on");
    let (_, listed) = shown
        .split_once("one time.")
        .expect("the words follow the warning");
    (
        words(listed),
        asked
            .trim_end_matches(" to go on")
            .parse()
            .expect("a number"),
    )
}

fn initialised(world: &World) {
    std::fs::write(world.dir.path().join("password"), PASSWORD).expect("written");
    let (text, status) = world.run("polykey init --recovery-code-to words --password-file password && polykey agent start --background --listen 127.0.0.1:0 --password-file password");
    assert_eq!(status, 0, "{text}");
}

#[test]
fn init_shows_the_words_asks_for_one_and_starts_the_agent() {
    let world = World::new();
    let mut screen = Screen::start(&world, "polykey init");
    screen.answer("Choose a password", "short");
    screen.wait("too few");
    choose_password(&mut screen);
    let (words, asked) = show_words(&mut screen);
    screen.keys("wrong\r");
    screen.wait(&format!("not word {asked}"));
    screen.answer("to go on", &words[asked - 1]);
    screen.wait("\x1b[?1049l");
    let end_of_words = screen.answered;
    screen.wait("Vault \"personal\" is ready");
    screen.answer("Start the agent now? [Y/n]", "");
    screen.wait("agent running as v");
    assert_eq!(screen.end(), 0, "{}", screen.seen);
    assert!(
        !screen.seen.contains(PASSWORD),
        "the password is on the screen"
    );
    assert!(
        !words
            .iter()
            .all(|word| screen.seen[end_of_words..].contains(word.as_str())),
        "the words are shown twice"
    );
    assert!(world.run("polykey ls -o name").0.contains("personal"));

    std::fs::write(world.dir.path().join("again"), words.join("\n")).expect("written");
    std::fs::write(world.dir.path().join("password"), PASSWORD).expect("written");
    let (restored, status) = world.run("polykey --node-path other init --recovery-code-file again --password-file password -o name");
    assert_eq!(status, 0, "{restored}");
    let node = restored
        .lines()
        .find(|l| l.starts_with('v') && l.len() == 53)
        .expect("a node id")
        .to_owned();
    assert!(
        world.run("polykey status").0.contains(&node),
        "the words do not give the same identity"
    );
}

#[test]
fn a_password_of_six_words_is_made_on_request() {
    let world = World::new();
    let mut screen = Screen::start(&world, "polykey init --recovery-code-to words");
    screen.answer("Choose a password", "");
    screen.wait("Your password:");
    let shown = screen.wait("Keep it");
    let words: Vec<&str> = shown.split_whitespace().take(6).collect();
    screen.answer("Type it to go on", "not it");
    screen.answer("Type it to go on", &words.join(" "));
    screen.answer("Start the agent now?", "n");
    assert_eq!(screen.end(), 0, "{}", screen.seen);
    std::fs::write(world.dir.path().join("password"), words.join(" ")).expect("written");
    let (text, status) =
        world.run("polykey agent start --background --listen 127.0.0.1:0 --password-file password");
    assert_eq!(status, 0, "{text}");
}

#[test]
fn ctrl_c_at_the_words_leaves_nothing_behind_and_the_echo_on() {
    let world = World::new();
    let mut screen = Screen::start(&world, "polykey init; echo status $?; stty -a");
    choose_password(&mut screen);
    show_words(&mut screen);
    screen.keys("\x03");
    screen.wait("cancelled; nothing was changed");
    screen.wait("status 130");
    let modes = screen.wait("echok");
    assert!(
        modes.contains(" echo ") && modes.contains("icanon") && modes.contains("isig"),
        "{modes}"
    );
    screen.end();
    assert!(
        !world
            .dir
            .path()
            .join("home/.local/share/polykey/identity.pk")
            .exists()
    );
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_starts_the_agent() {
    let world = World::new();
    initialised(&world);
    world.run("polykey agent stop");
    let mut screen = Screen::start(
        &world,
        "polykey agent start --background --listen 127.0.0.1:0",
    );
    screen.answer("Password: ", "wrong horse battery");
    screen.wait("wrong password");
    assert_eq!(screen.end(), 4, "{}", screen.seen);
    let mut screen = Screen::start(
        &world,
        "polykey agent start --background --listen 127.0.0.1:0",
    );
    screen.answer("Password: ", "wrong\x15correct horse batterx\x7fy");
    screen.wait("agent running as v");
    assert_eq!(screen.end(), 0);
    assert!(
        !screen.seen.contains("horse"),
        "the password is on the screen"
    );
}

#[test]
fn a_value_is_typed_twice_unseen_and_longer_than_a_line_of_the_kernel() {
    let world = World::new();
    initialised(&world);
    let value = "0123456789abcdef".repeat(320);
    let mut screen = Screen::start(&world, "polykey set personal:long");
    screen.answer("Value of personal:long", &value);
    screen.answer("The same again", &value);
    screen.wait("wrote personal:long");
    assert_eq!(screen.end(), 0, "{}", screen.seen);
    assert!(
        !screen.seen.contains("0123456789abcdef"),
        "the value is on the screen"
    );
    assert_eq!(world.run("polykey get personal:long").0, value);

    let mut screen = Screen::start(&world, "polykey set personal:differ");
    screen.answer("Value of", "one");
    screen.answer("The same again", "two");
    screen.wait("the two values differ; nothing was saved");
    assert_eq!(screen.end(), 2);
}

#[test]
fn a_terminal_gets_a_newline_a_table_and_no_value_that_would_command_it() {
    let world = World::new();
    initialised(&world);
    world.run(
        "printf plain | polykey set personal:plain; printf '\\033[2J' | polykey set personal:evil",
    );
    let screen = |line: &str| {
        let mut screen = Screen::start(&world, line);
        let status = screen.end();
        (screen.seen.clone(), status)
    };
    assert_eq!(
        screen("polykey get personal:plain"),
        ("plain\r\n".to_owned(), 0)
    );
    assert_eq!(
        screen("polykey get personal:plain --no-newline"),
        ("plain".to_owned(), 0)
    );
    let (text, status) = screen("polykey get personal:evil");
    assert!(
        status == 1 && text.contains("could command the terminal") && !text.contains("\x1b[2J"),
        "{text}"
    );
    let (text, status) = screen("NO_COLOR=1 polykey ls personal");
    assert!(status == 0 && text.starts_with("NAME"), "{text}");
    let mut asked = Screen::start(&world, "polykey rm -r personal");
    asked.answer("[y/N]", "");
    asked.wait("cancelled");
    assert_eq!(asked.end(), 130);
}
