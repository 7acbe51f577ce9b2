//! The line that a secret travels: a laptop's agent, a node and a sidecar, each the real program in a process of its own, on one machine and without a Kubernetes
//! around them. What a cluster would say (a token, an access set, the pins) is said by the test.

use crate::issuer::{CLUSTER, Issuer};
use crate::laptop::Laptop;
use crate::node::Node;
use crate::pod::Pod;
use crate::socket::{Socket, socket_of};
use anyhow::{Context, Result, bail, ensure};
use polykey_client::access::{AccessSet, Delivery, Peer, Purpose, Rule};
use polykey_core::ids::{CommitId, NodeId, VaultId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Name of the vault on the laptop, and of the PolykeyVault.
pub const VAULT: &str = "app";
const NAMESPACE: &str = "shop";
const ACCOUNT: &str = "app";
/// How long anything on the line may take before it counts as broken: a redial pauses for ten seconds at most.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// The line. Dropping it ends its processes.
pub struct Line {
    /// The sidecar, not started yet. First, so that it ends first.
    pub pod: Pod,
    /// The node that serves the pod.
    pub node: Node,
    /// The laptop, owner of the vault.
    pub laptop: Laptop,
    /// The vault.
    pub vault: VaultId,
    issuer: Issuer,
}

impl Line {
    /// Sets everything up with the programs in `bin`, up to a vault with `secrets` that is on both nodes.
    ///
    /// # Errors
    /// When a part does not start or the vault does not arrive.
    pub async fn new(bin: &Path, secrets: &[(&str, &[u8])]) -> Result<Line> {
        Line::on(bin, secrets, [None, None]).await
    }

    /// [`Line::new`], with the stores of laptop and node on other disks.
    ///
    /// # Errors
    /// As there.
    pub async fn on(
        bin: &Path,
        secrets: &[(&str, &[u8])],
        [laptop_disk, node_disk]: [Option<PathBuf>; 2],
    ) -> Result<Line> {
        let polykey = bin.join("polykey");
        let issuer = Issuer::start()?;
        let node = Node::on(&polykey, &issuer, node_disk.as_deref())?;
        let laptop = Laptop::on(&polykey, laptop_disk.as_deref())?;
        let vault: VaultId = laptop
            .create_vault(VAULT)?
            .parse()
            .context("a vault has an id")?;
        Socket::open(&laptop_socket(&laptop))
            .await?
            .edit(VAULT, secrets)
            .await?;
        let mut socket = Socket::open(&node.socket()).await?;
        let node_id = socket.status().await?.node_id.to_string();
        socket
            .put_access(&access(
                laptop.node_id.parse().context("a laptop has an id")?,
                vault,
            ))
            .await?;
        laptop.polykey(&["peer", "add", &node_id, &node.quic.to_string()])?;
        laptop.polykey(&["share", VAULT, &node_id])?;
        let pod = Pod::new(
            &bin.join("polykey-sidecar"),
            VAULT,
            &vault.to_string(),
            &node_id,
            node.api,
        )?;
        let line = Line {
            pod,
            node,
            laptop,
            vault,
            issuer,
        };
        line.renew_token()?;
        line.converged().await?;
        Ok(line)
    }

    /// Gives the pod a fresh token.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn renew_token(&self) -> Result<()> {
        self.pod
            .project(&self.issuer.token(NAMESPACE, ACCOUNT, "web-0")?)
    }

    /// A token of the pod `name`, which the rule admits.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, name: &str) -> Result<String> {
        self.issuer.token(NAMESPACE, ACCOUNT, name)
    }

    /// Socket of the laptop's agent.
    #[must_use]
    pub fn laptop_socket(&self) -> PathBuf {
        laptop_socket(&self.laptop)
    }

    /// Makes another vault that is on both nodes.
    ///
    /// # Errors
    /// When it is not made or does not arrive.
    pub async fn share_another(&self, name: &str, secrets: &[(&str, &[u8])]) -> Result<()> {
        self.laptop.create_vault(name)?;
        Socket::open(&self.laptop_socket())
            .await?
            .edit(name, secrets)
            .await?;
        let node_id = Socket::open(&self.node.socket())
            .await?
            .status()
            .await?
            .node_id
            .to_string();
        self.laptop.polykey(&["share", name, &node_id])?;
        self.converged().await
    }

    /// Waits until the node holds every vault that the laptop shares, at the laptop's version.
    ///
    /// # Errors
    /// With both logs, when it does not in [`DEADLINE`].
    pub async fn converged(&self) -> Result<()> {
        let wanted = heads(&self.laptop_socket()).await?;
        eventually(async || {
            let have = heads(&self.node.socket()).await?;
            ensure!(
                have == wanted,
                "the node has {have:?}, the laptop {wanted:?}"
            );
            Ok(())
        })
        .await
        .with_context(|| {
            let (laptop, node) = (self.laptop.log(), self.node.log());
            format!("laptop:\n{}\nnode:\n{}", tail(&laptop), tail(&node))
        })
    }

    /// Waits until a file of the pod holds exactly `value`.
    ///
    /// # Errors
    /// With the logs of node and sidecar, when it does not in [`DEADLINE`].
    pub async fn delivered(&self, path: &str, value: &[u8]) -> Result<()> {
        let file = self.pod.dir().join(path);
        eventually(async || {
            let have = std::fs::read(&file)?;
            ensure!(
                have == value,
                "{} holds {:?}",
                file.display(),
                String::from_utf8_lossy(&have)
            );
            Ok(())
        })
        .await
        .with_context(|| {
            format!(
                "node:\n{}\nsidecar:\n{}",
                tail(&self.node.log()),
                tail(&self.pod.log())
            )
        })
    }
}

/// The newest version of each vault that has more than one member. A laptop's own first vault has one.
async fn heads(socket: &Path) -> Result<BTreeMap<VaultId, Option<CommitId>>> {
    let vaults = Socket::open(socket).await?.status().await?.vaults;
    let shared = vaults.into_iter().filter(|v| v.members > 1);
    Ok(shared.map(|v| (v.id, v.version)).collect())
}

fn laptop_socket(laptop: &Laptop) -> PathBuf {
    socket_of(&laptop.node_path(), Path::new(&laptop.path("")))
}

/// One PolykeyPeer (the laptop) and one PolykeyVault, as a warden would put them.
fn access(laptop: NodeId, vault: VaultId) -> AccessSet {
    let rule = Rule {
        id: format!("{NAMESPACE}/{VAULT}#uid@1"),
        namespace: NAMESPACE.to_owned(),
        name: VAULT.to_owned(),
        vault,
        subjects: vec![format!("{NAMESPACE}:{ACCOUNT}")],
        paths: Vec::new(),
        version: None,
        signers: Vec::new(),
        suspend: false,
        purpose: Purpose::Mount,
        delivery: Delivery::default(),
    };
    let peer = Peer {
        node: laptop,
        addresses: Vec::new(),
        namespaces: vec![NAMESPACE.to_owned()],
        vaults: None,
        expires: None,
    };
    AccessSet {
        source: format!("k8s:{CLUSTER}"),
        revision: BTreeMap::from([("polykeyvaults".to_owned(), "1".to_owned())]),
        rules: vec![rule],
        peers: vec![peer],
        ..AccessSet::default()
    }
    .sealed()
}

/// Does `work` until it is done, or until SIGTERM or SIGINT: then it is dropped, and with it the processes that it started.
///
/// # Errors
/// Those of the work, or that it was interrupted.
pub async fn unless_stopped<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = work => done,
        _ = terminate.recv() => bail!("stopped by SIGTERM"),
        _ = interrupt.recv() => bail!("stopped by SIGINT"),
    }
}

/// Looks at `condition` until it holds, for at most [`DEADLINE`]; the error is the last reason that it did not.
async fn eventually(mut condition: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    loop {
        match condition().await {
            Err(e) if Instant::now() >= end => return Err(e),
            Err(_) => tokio::time::sleep(EVERY).await,
            Ok(()) => return Ok(()),
        }
    }
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
