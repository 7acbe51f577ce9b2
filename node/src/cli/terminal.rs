//! Questions to the person at the terminal. They go to `/dev/tty`, whatever standard input and output are, and are erased when they are answered.
//!
//! The line is edited here and not by the kernel, for three reasons: a line of the kernel ends at 4,095 bytes and would cut a long secret; Ctrl-C must give the
//! echo back; and what is typed goes into one buffer that is wiped.

use super::stop::Stop;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use zeroize::Zeroizing;

/// The longest line that can be typed, in bytes: the largest value of a secret.
const MAX_LINE: usize = 65_535;
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// The terminal of this process.
pub struct Terminal {
    tty: File,
}

/// Whether what is typed can be seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    Shown,
    Hidden,
}

impl Terminal {
    /// The terminal, unless there is none or `--no-input` was given.
    pub fn open(no_input: bool) -> Option<Terminal> {
        if no_input {
            return None;
        }
        let tty = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        tcgetattr(&tty).ok()?;
        Some(Terminal { tty })
    }

    /// Asks for something that nobody may see.
    pub fn hidden(&mut self, question: &str) -> Result<Zeroizing<String>, Stop> {
        self.ask(question, Echo::Hidden)
    }

    /// Asks for something that may be seen.
    pub fn line(&mut self, question: &str) -> Result<String, Stop> {
        self.ask(question, Echo::Shown)
            .map(|answer| answer.trim().to_owned())
    }

    /// Asks a question of yes and no; Enter is `default`.
    pub fn confirm(&mut self, question: &str, default: bool) -> Result<bool, Stop> {
        let choice = if default { "[Y/n]" } else { "[y/N]" };
        let answer = self.line(&format!("{question} {choice} "))?.to_lowercase();
        Ok(if answer.is_empty() {
            default
        } else {
            answer == "y" || answer == "yes"
        })
    }

    /// Shows something on the terminal itself, for a person's eyes and nobody's file.
    pub fn show(&mut self, text: &str) -> Result<(), Stop> {
        self.tty
            .write_all(text.as_bytes())
            .and_then(|()| self.tty.flush())
            .map_err(|e| lost(&e))
    }

    /// Shows something that disappears with the answer to what is asked meanwhile, so that it stays in no scrollback.
    pub fn shown_while<T>(
        &mut self,
        text: &str,
        ask: impl FnOnce(&mut Terminal) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let (enter, leave) = if is_dumb() {
            ("", "")
        } else {
            ("\x1b[?1049h\x1b[H\x1b[2J", "\x1b[2J\x1b[?1049l")
        };
        self.show(&format!("{enter}{text}"))?;
        let answer = ask(self);
        self.show(leave)?;
        answer
    }

    fn ask(&mut self, question: &str, echo: Echo) -> Result<Zeroizing<String>, Stop> {
        let _mode = KeyMode::enter(&self.tty)?;
        self.show(question)?;
        let answer = self.edit_line(echo);
        self.show(if is_dumb() { "\r\n" } else { "\r\x1b[2K" })?;
        answer
    }

    fn edit_line(&mut self, echo: Echo) -> Result<Zeroizing<String>, Stop> {
        let mut line = Line::default();
        loop {
            let mut byte = [0];
            if self.tty.read(&mut byte).map_err(|e| lost(&e))? == 0 {
                return Err(Stop::Cancelled);
            }
            match byte[0] {
                b'\r' | b'\n' => return line.finish(),
                CTRL_C => return Err(Stop::Cancelled),
                CTRL_D if line.bytes.is_empty() => return Err(Stop::Cancelled),
                BACKSPACE | DELETE => {
                    if line.pop() && echo == Echo::Shown {
                        self.show("\x08 \x08")?;
                    }
                }
                CTRL_U => {
                    let gone = line.clear();
                    if echo == Echo::Shown {
                        self.show(&"\x08 \x08".repeat(gone))?;
                    }
                }
                ESCAPE | CTRL_D => {}
                byte => {
                    line.push(byte)?;
                    if echo == Echo::Shown {
                        self.tty.write_all(&[byte]).map_err(|e| lost(&e))?;
                    }
                }
            }
        }
    }
}

/// What is typed: one buffer that never moves, and is wiped.
struct Line {
    bytes: Zeroizing<Vec<u8>>,
}

impl Default for Line {
    fn default() -> Self {
        Line {
            bytes: Zeroizing::new(Vec::with_capacity(MAX_LINE)),
        }
    }
}

impl Line {
    fn push(&mut self, byte: u8) -> Result<(), Stop> {
        if self.bytes.len() == MAX_LINE {
            return Err(Stop::Error(
                Stop::usage(format!("more than {MAX_LINE} bytes were typed"))
                    .hint("nothing was saved"),
            ));
        }
        self.bytes.push(byte);
        Ok(())
    }

    /// Takes the last character away, all its bytes.
    fn pop(&mut self) -> bool {
        let continuation = |b: &u8| b & 0xc0 == 0x80;
        while self.bytes.last().is_some_and(continuation) {
            self.bytes.pop();
        }
        self.bytes.pop().is_some()
    }

    fn clear(&mut self) -> usize {
        std::iter::from_fn(|| self.pop().then_some(())).count()
    }

    fn finish(self) -> Result<Zeroizing<String>, Stop> {
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|_| Stop::Error(Stop::usage("what was typed is not UTF-8")))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Each key comes at once and unechoed, until this is dropped.
struct KeyMode {
    tty: File,
    before: Termios,
}

impl KeyMode {
    fn enter(tty: &File) -> Result<KeyMode, Stop> {
        let tty = tty.try_clone().map_err(|e| lost(&e))?;
        let before = tcgetattr(&tty).map_err(|e| lost(&e.into()))?;
        let mut mode = before.clone();
        mode.local_modes
            .remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&tty, OptionalActions::Now, &mode).map_err(|e| lost(&e.into()))?;
        Ok(KeyMode { tty, before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|t| t == "dumb")
}

fn lost(e: &std::io::Error) -> Stop {
    Stop::failed(format!("the terminal is gone: {e}"))
}
