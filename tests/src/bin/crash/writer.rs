//! Writes one commit after another until the agent dies, and remembers which of them it acknowledged.

use anyhow::{Context, Result};
use polykey_core::ids::CommitId;
use polykey_tests::line::VAULT;
use polykey_tests::socket::Socket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinHandle;

/// Two files that every commit writes alike.
pub const PAIR: [&str; 2] = ["pair/a", "pair/b"];
/// Other files, written in turns: the vault stays small while the number of versions grows.
const SLOTS: u64 = 32;
/// One of so many writes is a large one, which the store keeps elsewhere.
const LARGE: u64 = 7;
/// After so many writes old versions are let go of: collections go on beside writers and syncers.
const PRUNED: u64 = 60;

/// A writer at work.
pub struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Written>>,
}

/// What it did.
pub struct Written {
    /// Writes that were acknowledged, in order.
    pub acknowledged: Vec<(u64, CommitId)>,
    /// Number of the last write that was begun. Unless it is the last of `acknowledged`, it may be there or not.
    pub attempted: u64,
    /// What writes before this one held may be let go of.
    pub pruned: u64,
}

impl Writer {
    /// Starts with write `first` at the agent behind `socket`.
    pub fn start(socket: PathBuf, first: u64) -> Writer {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut socket = Socket::open(&socket).await?;
            let mut written = Written {
                acknowledged: Vec::new(),
                attempted: first - 1,
                pruned: 0,
            };
            while !stopped.load(Ordering::Relaxed) {
                written.attempted += 1;
                let secrets = secrets(written.attempted);
                let secrets = secrets.each_ref().map(|(p, v)| (p.as_str(), v.as_slice()));
                match socket.edit(VAULT, &secrets).await {
                    Ok(reply) => written
                        .acknowledged
                        .push((written.attempted, reply.version)),
                    Err(_) => break,
                }
                if written.attempted.is_multiple_of(PRUNED) {
                    written.pruned = written.attempted;
                    if socket.prune(VAULT).await.is_err() {
                        break;
                    }
                }
            }
            Ok(written)
        });
        Writer { stop, task }
    }

    /// Lets it finish the write that it is at, if there still is somebody to answer; gives what it did.
    pub async fn ended(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the writer panicked")?
    }
}

/// Where write `number` goes beside the pair.
pub fn slot(number: u64) -> String {
    format!("slot/{}", number % SLOTS)
}

/// What write `number` puts there: it tells the number, and some are large.
pub fn value(number: u64) -> Vec<u8> {
    let more = if number.is_multiple_of(LARGE) {
        6_000 + number * 131 % 40_000
    } else {
        0
    };
    let more = ".".repeat(usize::try_from(more).unwrap_or(0));
    format!("{number} {more}").into_bytes()
}

/// The secrets of write `number`: each of them tells the number.
pub fn secrets(number: u64) -> [(String, Vec<u8>); 3] {
    let [a, b] = PAIR.map(|path| (path.to_owned(), number.to_string().into_bytes()));
    [a, b, (slot(number), value(number))]
}
