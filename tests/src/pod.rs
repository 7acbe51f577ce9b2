//! What a pod with the sidecar sees, without a kubelet: the sidecar's process, a volume in memory, the projected token, and the annotations that pin nodes and vaults.

use anyhow::{Context, Result, ensure};
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Where volumes in memory are.
const MEMORY: &str = "/dev/shm";

/// One pod with one vault.
pub struct Pod {
    files: TempDir,
    volume: TempDir,
    program: PathBuf,
    name: String,
    endpoint: SocketAddr,
    sidecar: Option<Child>,
}

impl Pod {
    /// Prepares a pod that watches PolykeyVault `name`, a `vault`, at the node `node` behind `endpoint`; its sidecar is `program`.
    ///
    /// # Errors
    /// When its files cannot be written.
    pub fn new(
        program: &Path,
        name: &str,
        vault: &str,
        node: &str,
        endpoint: SocketAddr,
    ) -> Result<Pod> {
        let files = tempfile::Builder::new().prefix("polykey-pod-").tempdir()?;
        let volume = tempfile::Builder::new()
            .prefix("polykey-volume-")
            .tempdir_in(MEMORY)
            .context("no memory volume")?;
        let annotations =
            format!("nodes.polykey.io/one=\"{node}\"\nvaults.polykey.io/{name}=\"{vault}\"\n");
        std::fs::write(files.path().join("annotations"), annotations)?;
        Ok(Pod {
            files,
            volume,
            program: program.to_path_buf(),
            name: name.to_owned(),
            endpoint,
            sidecar: None,
        })
    }

    /// Projects a token, as the kubelet does when it renews one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn project(&self, token: &str) -> Result<()> {
        let new = self.files.path().join("token.new");
        std::fs::write(&new, token)?;
        Ok(std::fs::rename(new, self.files.path().join("token"))?)
    }

    /// Starts the sidecar.
    ///
    /// # Errors
    /// When it runs already or cannot start.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.sidecar.is_none(), "the sidecar runs");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.files.path().join("sidecar.log"))?;
        let mut command = Command::new(&self.program);
        command
            .env("POLYKEY_VAULTS", &self.name)
            .env("POLYKEY_ENDPOINT", self.endpoint.to_string())
            .env("POLYKEY_DIR", self.volume.path())
            .env("POLYKEY_TOKEN_DIR", self.files.path());
        let sidecar = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the sidecar")?;
        self.sidecar = Some(sidecar);
        Ok(())
    }

    /// Ends the sidecar with SIGKILL, in whatever it is doing.
    pub fn kill(&mut self) {
        if let Some(mut sidecar) = self.sidecar.take() {
            sidecar.kill().ok();
            sidecar.wait().ok();
        }
    }

    /// Process id of the sidecar.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.sidecar.as_ref().map(Child::id)
    }

    /// The directory of the vault's files.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.volume.path().join(&self.name)
    }

    /// What the sidecar logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("sidecar.log")).unwrap_or_default()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
    }
}
