//! An agent as a process of its own, with a log.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A process that is started, killed and started again. It dies with this.
pub struct Process {
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// None yet, with its log there.
    #[must_use]
    pub fn logging_to(log: PathBuf) -> Process {
        Process { log, child: None }
    }

    /// Starts it and waits for nothing.
    ///
    /// # Errors
    /// When it runs already, or there is no such program.
    pub fn begin(&mut self, command: &mut Command) -> Result<()> {
        ensure!(self.child.is_none(), "the agent runs");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the agent")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Ends it with SIGKILL, in whatever it is doing.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
