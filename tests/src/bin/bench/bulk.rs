//! The floor of a clone: one stream of bulk between two processes over QUIC, with nothing but quinn, and with what no clone can do without: a hash of every 64 KiB at both
//! ends, and the disk at the receiver's.

use crate::floor::{Station, alone, node_id, quic_server};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use polykey_client::tls;
use quinn::crypto::rustls::QuicClientConfig;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes between two hashes: a chunk of a large file.
const CHUNK: usize = 64 << 10;
const HASH: usize = 32;
/// Bytes that go to the disk together, as a node does it.
const SYNC: usize = 2 << 20;

/// What is done with the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Work {
    /// One buffer is sent again and again, and dropped.
    Raw = b'r',
    /// Copied and hashed at both ends.
    Hashed = b'h',
    /// And written to a file that is synced every 2 MiB.
    Stored = b's',
}

/// The sender, and the process that receives.
pub struct Bulk {
    endpoint: quinn::Endpoint,
    receiver: Station,
}

impl Bulk {
    /// Starts the receiver; it writes into `dir`.
    pub fn start(dir: &Path) -> Result<Bulk> {
        let receiver = Station::start(&["bulk", &dir.to_string_lossy()])?;
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse()?)?;
        let tls =
            QuicClientConfig::try_from(tls::client_config(tls::Pins::new([node_id()?]), None)?)?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        Ok(Bulk { endpoint, receiver })
    }

    /// Sends `total` bytes and gives how long it took until the receiver had worked on the last.
    pub async fn send(&mut self, work: Work, total: usize) -> Result<Duration> {
        let at = self.receiver.address()?;
        let connection = self.endpoint.connect(at, "node.invalid")?.await?;
        let (mut tx, mut rx) = connection.open_bi().await?;
        let chunk = Bytes::from(vec![0x33; CHUNK]);
        let begun = Instant::now();
        tx.write_all(&[work as u8]).await?;
        for _ in 0..total / CHUNK {
            if work == Work::Raw {
                tx.write_chunk(chunk.clone()).await?;
            } else {
                let mut part = Vec::with_capacity(CHUNK + HASH);
                part.extend_from_slice(&chunk);
                part.extend_from_slice(blake3::hash(&chunk).as_bytes());
                tx.write_chunk(part.into()).await?;
            }
        }
        tx.finish()?;
        rx.read_exact(&mut [0]).await?;
        let took = begun.elapsed();
        connection.close(0u32.into(), b"");
        Ok(took)
    }
}

/// The process that receives.
pub fn receive(dir: &Path) -> Result<()> {
    alone(async {
        let endpoint = quic_server()?;
        loop {
            println!("{}", endpoint.local_addr()?);
            let incoming = endpoint.accept().await.context("the endpoint is closed")?;
            let connection = incoming.await?;
            let (mut tx, mut rx) = connection.accept_bi().await?;
            let mut work = [0];
            rx.read_exact(&mut work).await?;
            if work[0] == Work::Raw as u8 {
                while rx.read_chunk(usize::MAX, true).await?.is_some() {}
            } else {
                let mut file = (work[0] == Work::Stored as u8)
                    .then(|| File::create(dir.join("bulk")))
                    .transpose()?;
                let mut part = vec![0; CHUNK + HASH];
                let mut unsynced = 0;
                while rx.read_exact(&mut part).await.is_ok() {
                    let (data, hash) = part.split_at(CHUNK);
                    ensure!(blake3::hash(data).as_bytes() == hash, "changed on the way");
                    if let Some(file) = &mut file {
                        file.write_all(data)?;
                        unsynced += CHUNK;
                        if unsynced >= SYNC {
                            file.sync_data()?;
                            unsynced = 0;
                        }
                    }
                }
                if let Some(file) = file {
                    file.sync_data()?;
                }
            }
            tx.write_all(&[1]).await?;
            tx.finish()?;
            connection.closed().await;
        }
    })
}
