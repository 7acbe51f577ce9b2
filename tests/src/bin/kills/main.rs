//! `tests/kills`: SIGKILL at random moments. In each round a writer sets secrets on a laptop as fast as it can while the pod's sidecar, then the node that replicates
//! the vault, then the laptop's agent are killed and started again. Nothing that was acknowledged may be lost, nodes must come to one state, and a pod must never see
//! two versions mixed or one that is older than what it saw.

mod chance;
mod reader;
mod writer;

use anyhow::{Context, Result};
use chance::Chance;
use clap::Parser;
use polykey_core::ids::CommitId;
use polykey_tests::line::{Line, VAULT, unless_stopped};
use polykey_tests::socket::Socket;
use polykey_tests::tools;
use reader::Reader;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;
use writer::{PAIR, Writer, secrets, slot};

/// The longest time between two deaths, in milliseconds: some dozens of commits, and sometimes none.
const LONGEST: u64 = 250;

/// Kill everything on the line, again and again.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each kills a sidecar, a node and a laptop's agent
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Repeats the moments of another run, as far as a machine repeats anything
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> Result<ExitCode> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let arguments = Arguments::parse();
    let mut chance = Chance::new(arguments.seed);
    println!("seed {}", chance.seed());
    // Two threads: the writer's connection goes on while this one waits for a process to start.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let good = runtime.block_on(unless_stopped(run(arguments.rounds, &mut chance)))?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(rounds: usize, chance: &mut Chance) -> Result<bool> {
    let bin = tools::products()?;
    let first = secrets(0);
    let mut line = Line::new(
        &bin,
        &first.each_ref().map(|(p, v)| (p.as_str(), v.as_slice())),
    )
    .await?;
    line.pod.start()?;
    line.delivered(PAIR[0], &first[0].1).await?;
    let reader = Reader::start(line.pod.dir());
    let mut tally = Tally::default();
    let mut next = 1;
    for round in 1..=rounds {
        next = one_round(&mut line, chance, &mut tally, next)
            .await
            .with_context(|| format!("round {round} of seed {}", chance.seed()))?;
        if round % 10 == 0 {
            eprintln!(
                "{round} rounds: {} acknowledged, {} lost",
                tally.acknowledged.len(),
                tally.lost
            );
        }
    }
    let mut laptop = Socket::open(&line.laptop_socket()).await?;
    for (number, version) in &tally.acknowledged {
        tally.lost += u64::from(!holds(&mut laptop, *number, version).await);
    }
    let seen = reader.stop()?;
    let Tally {
        acknowledged, lost, ..
    } = &tally;
    println!(
        "rounds {rounds}, acknowledged writes {}, lost {lost}, torn {}",
        acknowledged.len(),
        seen.torn
    );
    println!(
        "kills {}: each round a sidecar, a node and a laptop's agent",
        3 * rounds
    );
    println!(
        "a pod's reader: {} looks at {} versions, {} replaced while it looked, went back {}",
        seen.looks, seen.versions, seen.replaced, seen.back
    );
    Ok(*lost == 0 && seen.torn == 0 && seen.back == 0)
}

/// What came out so far.
#[derive(Default)]
struct Tally {
    /// Every write that was acknowledged, by its number.
    acknowledged: BTreeMap<u64, CommitId>,
    lost: u64,
}

/// Kills all three while writes go on, starts them again and checks. Gives the number of the next write.
async fn one_round(
    line: &mut Line,
    chance: &mut Chance,
    tally: &mut Tally,
    first: u64,
) -> Result<u64> {
    line.renew_token()?;
    let writer = Writer::start(line.laptop_socket(), first);
    wait(chance).await;
    line.pod.kill();
    line.pod.start()?;
    wait(chance).await;
    line.node.kill();
    wait(chance).await;
    line.node.start()?;
    wait(chance).await;
    line.laptop.kill();
    let written = writer.ended().await?;
    line.laptop.start()?;

    let mut laptop = Socket::open(&line.laptop_socket()).await?;
    let mut by_slot = BTreeMap::new();
    for (number, version) in &written.acknowledged {
        tally.lost += u64::from(!holds(&mut laptop, *number, version).await);
        by_slot.insert(slot(*number), *number);
    }
    line.converged().await?;
    let mut node = Socket::open(&line.node.socket()).await?;
    // A node that did not make a vault has no name for it.
    let vault = line.vault.to_string();
    for (path, number) in &by_slot {
        for socket in [&mut laptop, &mut node] {
            tally.lost +=
                u64::from(!newest_is(socket, &vault, path, *number, written.attempted).await);
        }
    }
    let head = laptop.secret(VAULT, PAIR[0], None).await?;
    line.delivered(PAIR[0], &head).await?;
    tally.acknowledged.extend(written.acknowledged);
    Ok(written.attempted + 1)
}

async fn wait(chance: &mut Chance) {
    tokio::time::sleep(Duration::from_millis(chance.below(LONGEST))).await;
}

/// Whether the version of an acknowledged write still has that write in it.
async fn holds(socket: &mut Socket, number: u64, version: &CommitId) -> bool {
    let read = socket.secret(VAULT, &slot(number), Some(version)).await;
    let good = read
        .as_ref()
        .is_ok_and(|v| *v == number.to_string().as_bytes());
    if !good {
        eprintln!("lost: write {number}, version {version}: {}", told(read));
    }
    good
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
    let number = read
        .as_ref()
        .ok()
        .and_then(|v| std::str::from_utf8(v).ok()?.parse::<u64>().ok());
    let good = number.is_some_and(|n| n == acknowledged || (n == attempted && slot(n) == path));
    if !good {
        eprintln!(
            "lost: {path}: {}, acknowledged was {acknowledged}",
            told(read)
        );
    }
    good
}

fn told(read: Result<Vec<u8>>) -> String {
    match read {
        Ok(value) => format!("it holds {:?}", String::from_utf8_lossy(&value)),
        Err(e) => format!("{e:#}"),
    }
}
