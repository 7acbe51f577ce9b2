//! Runs a transcript: the `$ command` lines of the `console` blocks of a Markdown page, in a shell, against the real program and real agents in a folder of
//! their own. What is printed must be what the page shows. `UPDATE_TRANSCRIPTS=1 cargo test` writes what was printed into the page instead.
//!
//! Ids, versions, times and ports differ from run to run; they are numbered in the order in which they appear, so that the same id is the same name again.
//! `[..]` in a page stands for any text within a line; `? 3` after a command is its exit status, 0 if there is none.

mod names;
mod page;

use super::world::World;
use names::Names;
use page::Step;
use std::fmt::Write as _;
use std::path::Path;

/// Runs the page, and panics with every difference.
pub fn run(page: &Path) {
    let text = std::fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let world = World::new();
    let mut names = Names::new(world.dir.path());
    let (mut differences, mut written) = (String::new(), Vec::new());
    for step in page::steps(&text) {
        let shown = world.run(&step.command);
        let shown = names.replace(&shown.0, shown.1);
        if !page::fits(&step.expected, &shown) {
            let _ = writeln!(
                differences,
                "$ {}\n{}",
                step.command,
                page::difference(&step.expected, &shown)
            );
        }
        written.push(Step {
            expected: shown,
            ..step
        });
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(page, page::rewritten(&text, &written)).expect("the page can be written");
    } else if !differences.is_empty() {
        panic!(
            "{} differs (UPDATE_TRANSCRIPTS=1 accepts):\n\n{differences}",
            page.display()
        );
    }
}
