//! A home of its own for the program and its agents, so that a test sees nothing of the machine's and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
