//! Runs a transcript: the `$ command` lines of the ```console blocks of a Markdown page, in a shell, against the real program and real agents in a folder of
//! their own. What is printed must be what the page shows. `UPDATE_TRANSCRIPTS=1 cargo test` writes what was printed into the page instead.
//!
//! Ids, versions, times and ports differ from run to run; they are numbered in the order in which they appear, so that the same id is the same name again.
//! `[..]` in a page stands for any text within a line; `? 3` after a command is its exit status, 0 if there is none.

mod names;
mod page;

use names::Names;
use page::Step;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// A home, a runtime folder and the agents that were started there; they are stopped at the end, whatever happened.
pub struct World {
    /// The folder in which commands run.
    pub dir: tempfile::TempDir,
}

impl World {
    /// An empty one.
    pub fn new() -> World {
        let dir = tempfile::Builder::new()
            .prefix("pk")
            .tempdir()
            .expect("a folder");
        for name in ["home", "run"] {
            std::fs::create_dir(dir.path().join(name)).expect("a folder in it");
        }
        World { dir }
    }

    /// Runs a line in a shell; gives what it printed on both outputs in their order, and its exit status.
    pub fn run(&self, line: &str) -> (String, i32) {
        let mut shell = self.command("sh");
        let output = shell
            .args(["-c", &format!("exec 2>&1; {line}")])
            .env("PK_NO_INPUT", "1")
            .output()
            .expect("sh runs");
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            output.status.code().unwrap_or(-1),
        )
    }

    /// A command in this world: nothing of the environment of the test gets in.
    pub fn command(&self, program: &str) -> Command {
        let own = Path::new(env!("CARGO_BIN_EXE_polykey"))
            .parent()
            .expect("a folder")
            .to_path_buf();
        let path = std::env::join_paths([
            own,
            PathBuf::from("/usr/local/bin"),
            PathBuf::from("/usr/bin"),
            PathBuf::from("/bin"),
        ]);
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path.expect("a path"))
            .env("HOME", self.dir.path().join("home"));
        command
            .env("XDG_RUNTIME_DIR", self.dir.path().join("run"))
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn sockets(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path().join("run/polykey"));
        entries
            .into_iter()
            .flatten()
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "sock"))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for socket in self.sockets() {
            let _ = self
                .command(env!("CARGO_BIN_EXE_polykey"))
                .arg("--socket")
                .arg(socket)
                .args(["agent", "stop"])
                .output();
        }
    }
}
