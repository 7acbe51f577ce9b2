//! What was acknowledged, and whether it is still there.

use crate::writer::{Written, slot, value};
use anyhow::Result;
use polykey_core::ids::CommitId;
use polykey_tests::line::{Line, VAULT};
use polykey_tests::socket::Socket;
use std::collections::BTreeMap;

/// Rounds after which everything begins anew on fresh machines: a vault stays of a size that people have.
pub const ROUNDS_OF_A_LINE: usize = 25;

/// What came out so far.
#[derive(Default)]
pub struct Tally {
    /// Writes that were acknowledged on the present machines, by their number.
    acknowledged: BTreeMap<u64, CommitId>,
    /// How many were acknowledged on the machines before.
    before: usize,
    /// How many writes were not there when they were looked for.
    pub lost: u64,
    /// What writes before this one held on the present machines may be let go of.
    pruned: u64,
    /// How many writes were let go of when they were looked for.
    pub gone: u64,
}

impl Tally {
    /// Looks for what the last writer was told to be safe: each version on the laptop; then, once both nodes have the same heads, the newest value of each path on both.
    ///
    /// # Errors
    /// When the nodes do not answer or do not come to the same heads.
    pub async fn check(&mut self, line: &Line, written: Written) -> Result<()> {
        let mut laptop = Socket::open(&line.laptop_socket()).await?;
        let mut by_slot = BTreeMap::new();
        self.pruned = self.pruned.max(written.pruned);
        for (number, version) in &written.acknowledged {
            self.look(&mut laptop, *number, version).await;
            by_slot.insert(slot(*number), *number);
        }
        line.converged().await?;
        let mut node = Socket::open(&line.node.socket()).await?;
        // A node that did not make a vault has no name for it.
        let vault = line.vault.to_string();
        for (path, number) in &by_slot {
            for socket in [&mut laptop, &mut node] {
                let newest = newest_is(socket, &vault, path, *number, written.attempted).await;
                self.lost += u64::from(!newest);
            }
        }
        self.acknowledged.extend(written.acknowledged);
        Ok(())
    }

    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.before + self.acknowledged.len()
    }

    /// Looks once more for everything that was acknowledged on these machines, which are not needed any more.
    ///
    /// # Errors
    /// When the laptop does not answer.
    pub async fn finish(&mut self, line: &Line) -> Result<()> {
        let mut laptop = Socket::open(&line.laptop_socket()).await?;
        for (number, version) in std::mem::take(&mut self.acknowledged) {
            self.before += 1;
            self.look(&mut laptop, number, &version).await;
        }
        self.pruned = 0;
        Ok(())
    }

    /// Whether the version of an acknowledged write still has that write in it, unless it was let go of; says so if not.
    async fn look(&mut self, socket: &mut Socket, number: u64, version: &CommitId) {
        match read(socket, number, version).await {
            Ok(found) if found == value(number) => {}
            Err(e) if number < self.pruned && e.to_string().contains("pruned") => self.gone += 1,
            other => {
                eprintln!("lost: write {number}, version {version}: {}", told(other));
                self.lost += 1;
            }
        }
    }
}

/// What the version of a write has where that write was.
pub async fn read(socket: &mut Socket, number: u64, version: &CommitId) -> Result<Vec<u8>> {
    socket.secret(VAULT, &slot(number), Some(version)).await
}

/// Whether the newest value of a slot is that of its last acknowledged write, or of the one write that was begun and never answered.
async fn newest_is(
    socket: &mut Socket,
    vault: &str,
    path: &str,
    acknowledged: u64,
    attempted: u64,
) -> bool {
    let read = socket.secret(vault, path, None).await;
    let is = |number| read.as_ref().is_ok_and(|v| *v == value(number));
    let good = is(acknowledged) || (slot(attempted) == path && is(attempted));
    if !good {
        eprintln!(
            "lost: {path}: {}, acknowledged was {acknowledged}",
            told(read)
        );
    }
    good
}

/// The beginning of what was read, or why nothing was.
fn told(read: Result<Vec<u8>>) -> String {
    match read {
        Ok(value) => format!(
            "it holds {} bytes, {:?}",
            value.len(),
            String::from_utf8_lossy(&value[..value.len().min(20)])
        ),
        Err(e) => format!("{e:#}"),
    }
}
