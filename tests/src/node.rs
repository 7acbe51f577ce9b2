//! A node as it runs in a cluster, without the cluster: unlocked by a key file, with its TLS API, believing tokens of a test's own issuer.

use crate::issuer::Issuer;
use crate::process::Process;
use crate::socket::socket_of;
use crate::wait::{run, wait_for};
use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long a start may take: the store of a killed node is recovered first.
const START: Duration = Duration::from_secs(30);

/// One node. Its addresses stay the same over restarts, as those of a Service do.
pub struct Node {
    /// Ends before its folder goes.
    agent: Process,
    dir: TempDir,
    program: PathBuf,
    state: PathBuf,
    options: Vec<String>,
    /// UDP address of its QUIC endpoint.
    pub quic: SocketAddr,
    /// TCP address of its TLS API.
    pub api: SocketAddr,
}

impl Node {
    /// Makes a node with `program` (a built `polykey`) and starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn new(program: &Path, issuer: &Issuer) -> Result<Node> {
        Node::on(program, issuer, None)
    }

    /// [`Node::new`], with identity and store on another `disk`.
    ///
    /// # Errors
    /// As there.
    pub fn on(program: &Path, issuer: &Issuer, disk: Option<&Path>) -> Result<Node> {
        let dir = tempfile::Builder::new().prefix("polykey-node-").tempdir()?;
        // It guards nothing but this node.
        std::fs::write(dir.path().join("key"), [0x2a; 32])?;
        // Free a moment ago: another program may take them before the agent does, and then the start fails and says so.
        let quic = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let api = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut options = vec![
            "--listen".to_owned(),
            quic.to_string(),
            "--api-listen".to_owned(),
            api.to_string(),
        ];
        options.extend(issuer.options());
        let node_path = disk.unwrap_or(dir.path()).join("node");
        let mut node = Node {
            state: node_path,
            program: program.to_path_buf(),
            options,
            agent: Process::logging_to(dir.path().join("agent.log")),
            dir,
            quic,
            api,
        };
        node.start()?;
        Ok(node)
    }

    /// Starts the agent and waits until it answers.
    ///
    /// # Errors
    /// With its log, when it does not.
    pub fn start(&mut self) -> Result<()> {
        self.begin()?;
        wait_for(START, "the node to answer", || {
            run(self.command().arg("status"))
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
        command
            .args(["agent", "start", "--key-file"])
            .arg(self.dir.path().join("key"))
            .arg("--init")
            .args(&self.options);
        self.agent.begin(&mut command)
    }

    /// Ends it with SIGKILL, in whatever it is doing.
    pub fn kill(&mut self) {
        self.agent.kill();
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.agent.pid()
    }

    /// Its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_of(&self.node_path(), self.dir.path())
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.agent.log()
    }

    fn node_path(&self) -> PathBuf {
        self.state.clone()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("PK_NODE_PATH", self.node_path())
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .env("PK_NO_INPUT", "1");
        for inherited in ["PK_PASSWORD_FILE", "POD_NAME", "KUBERNETES_SERVICE_HOST"] {
            command.env_remove(inherited);
        }
        command
    }
}
