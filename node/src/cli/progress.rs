//! How far long work is: one line on standard error that is written over and is gone at the end. Only on a terminal, only for work that takes a while.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work of fewer bytes is over before a line can be read.
const LONG: u64 = 4 << 20;
/// Time before the first line, and between two.
const EVERY: Duration = Duration::from_millis(100);
/// Cells of the bar.
const CELLS: usize = 30;

/// How far one piece of work is.
pub struct Progress {
    what: &'static str,
    total: u64,
    on: bool,
    next: Instant,
    drawn: bool,
}

impl Progress {
    /// Begins. `what` is a verb, such as `reading`; `total` is in bytes.
    pub fn new(what: &'static str, total: u64, quiet: bool) -> Progress {
        let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb");
        Progress {
            what,
            total,
            on: total >= LONG && !quiet && !dumb && std::io::stderr().is_terminal(),
            next: Instant::now() + EVERY,
            drawn: false,
        }
    }

    /// So many bytes are done.
    pub fn at(&mut self, done: u64) {
        let now = Instant::now();
        if !self.on || now < self.next {
            return;
        }
        self.next = now + EVERY;
        self.drawn = true;
        let line = line(self.what, done, self.total);
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64) -> String {
    let full = CELLS as u64 * done.min(total) / total.max(1);
    let full = usize::try_from(full).unwrap_or(CELLS);
    format!(
        "{what} [{}{}] {} of {} MiB",
        "#".repeat(full),
        ".".repeat(CELLS - full),
        tenths(done),
        tenths(total)
    )
}

/// MiB with one digit behind the point.
fn tenths(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_of_what_is_done() {
        assert_eq!(
            line("writing", 32 << 20, 64 << 20),
            format!(
                "writing [{}{}] 32.0 of 64.0 MiB",
                "#".repeat(15),
                ".".repeat(15)
            )
        );
        assert!(line("writing", 99, 9).contains(&"#".repeat(CELLS)));
        assert!(line("writing", 0, 0).contains(&".".repeat(CELLS)));
    }

    #[test]
    fn nothing_is_drawn_for_short_work_and_where_nobody_looks() {
        for (total, quiet) in [(LONG - 1, false), (64 << 20, true)] {
            let mut progress = Progress::new("reading", total, quiet);
            progress.next = Instant::now();
            progress.at(1);
            assert!(!progress.drawn);
        }
    }
}
