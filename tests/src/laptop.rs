//! A person's machine: the `polykey` program with a folder of its own, an agent that runs in it, and the command line that talks to it.

use crate::process::Process;
use crate::wait::{run, run_with, wait_for};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One laptop.
pub struct Laptop {
    /// Ends before its folder goes.
    agent: Process,
    dir: tempfile::TempDir,
    program: PathBuf,
    node_path: PathBuf,
    /// Its node id.
    pub node_id: String,
}

impl Laptop {
    /// Makes an identity with `program` (a built `polykey`) and starts its agent.
    ///
    /// # Errors
    /// When either fails.
    pub fn new(program: &Path) -> Result<Laptop> {
        Laptop::on(program, None)
    }

    /// [`Laptop::new`], with identity and store on another `disk`.
    ///
    /// # Errors
    /// As there.
    pub fn on(program: &Path, disk: Option<&Path>) -> Result<Laptop> {
        let dir = tempfile::Builder::new()
            .prefix("polykey-laptop-")
            .tempdir()?;
        std::fs::write(dir.path().join("password"), "correct horse battery staple")?;
        let node_path = disk.unwrap_or(dir.path()).join("node");
        let mut laptop = Laptop {
            node_path,
            program: program.to_path_buf(),
            agent: Process::logging_to(dir.path().join("agent.log")),
            dir,
            node_id: String::new(),
        };
        let words = laptop.path("words");
        let made = laptop.json(&[
            "init",
            "--recovery-code-to",
            &words,
            "--password-file",
            &laptop.path("password"),
        ])?;
        made["nodeId"]
            .as_str()
            .context("init -o json has nodeId")?
            .clone_into(&mut laptop.node_id);
        laptop.start()?;
        Ok(laptop)
    }

    /// A path in the laptop's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The folder of identity and store.
    #[must_use]
    pub fn node_path(&self) -> PathBuf {
        self.node_path.clone()
    }

    /// Starts the agent and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer in ten seconds.
    pub fn start(&mut self) -> Result<()> {
        self.begin()?;
        wait_for(Duration::from_secs(10), "the agent to answer", || {
            self.polykey(&["status"])
        })
        .map(drop)
        .with_context(|| self.log())
    }

    /// Starts the agent and waits for nothing.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn begin(&mut self) -> Result<()> {
        let mut command = self.command();
        command.args([
            "agent",
            "start",
            "--listen",
            "0.0.0.0:0",
            "--password-file",
            &self.path("password"),
        ]);
        self.agent.begin(&mut command)
    }

    /// Ends the agent as a person would.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self) -> Result<()> {
        self.polykey(&["agent", "stop"])?;
        self.agent.wait()
    }

    /// Ends the agent with SIGKILL, in whatever it is doing.
    pub fn kill(&mut self) {
        self.agent.kill();
    }

    /// Process id of the agent.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.agent.pid()
    }

    /// Runs a command and gives what it printed.
    ///
    /// # Errors
    /// With what it said.
    pub fn polykey(&self, arguments: &[&str]) -> Result<String> {
        run(self.command().args(arguments))
    }

    /// Runs a command with `-o json` and gives the document.
    ///
    /// # Errors
    /// When it fails, or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&run(self
            .command()
            .args(arguments)
            .args(["-o", "json"]))?)?)
    }

    /// Writes a secret: the value goes through a pipe, as a person's script would do it.
    ///
    /// # Errors
    /// When it is not written.
    pub fn set(&self, reference: &str, value: &[u8]) -> Result<()> {
        run_with(self.command().args(["set", reference]), value).map(drop)
    }

    /// Makes a vault and gives its id.
    ///
    /// # Errors
    /// When it is not made.
    pub fn create_vault(&self, name: &str) -> Result<String> {
        self.polykey(&["vault", "create", name])?;
        let vaults = self.json(&["vault", "ls"])?;
        let found = vaults["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|v| v["name"] == name);
        Ok(found
            .and_then(|v| v["id"].as_str())
            .context("the vault is in the list")?
            .to_owned())
    }

    /// What the agent logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.agent.log()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("PK_NODE_PATH", self.node_path())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .env("PK_NO_INPUT", "1");
        command
            .env_remove("PK_PASSWORD_FILE")
            .current_dir(self.dir.path());
        command
    }
}
