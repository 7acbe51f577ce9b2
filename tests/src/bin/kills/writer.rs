//! Writes one commit after another until the agent dies, and remembers which of them it acknowledged.

use anyhow::{Context, Result};
use polykey_core::ids::CommitId;
use polykey_tests::line::VAULT;
use polykey_tests::socket::Socket;
use std::path::PathBuf;
use tokio::task::JoinHandle;

/// Two files that every commit writes alike.
pub const PAIR: [&str; 2] = ["pair/a", "pair/b"];
/// Other files, written in turns: the vault stays small while the number of versions grows.
const SLOTS: u64 = 32;

/// A writer at work.
pub struct Writer(JoinHandle<Result<Written>>);

/// What it did.
pub struct Written {
    /// Writes that were acknowledged, in order.
    pub acknowledged: Vec<(u64, CommitId)>,
    /// Number of the last write that was begun. Unless it is the last of `acknowledged`, it may be there or not.
    pub attempted: u64,
}

impl Writer {
    /// Starts with write `first` at the agent behind `socket`.
    pub fn start(socket: PathBuf, first: u64) -> Writer {
        Writer(tokio::spawn(async move {
            let mut socket = Socket::open(&socket).await?;
            let mut acknowledged = Vec::new();
            for attempted in first.. {
                let secrets = secrets(attempted);
                match socket
                    .edit(
                        VAULT,
                        &secrets.each_ref().map(|(p, v)| (p.as_str(), v.as_slice())),
                    )
                    .await
                {
                    Ok(reply) => acknowledged.push((attempted, reply.version)),
                    Err(_) => {
                        return Ok(Written {
                            acknowledged,
                            attempted,
                        });
                    }
                }
            }
            unreachable!("numbers do not end")
        }))
    }

    /// What it did until the agent died.
    pub async fn ended(self) -> Result<Written> {
        self.0.await.context("the writer panicked")?
    }
}

/// Where write `number` goes beside the pair.
pub fn slot(number: u64) -> String {
    format!("slot/{}", number % SLOTS)
}

/// The secrets of write `number`: each of them holds the number.
pub fn secrets(number: u64) -> [(String, Vec<u8>); 3] {
    [PAIR[0].to_owned(), PAIR[1].to_owned(), slot(number)]
        .map(|path| (path, number.to_string().into_bytes()))
}
