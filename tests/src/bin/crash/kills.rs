//! SIGKILL at random moments. In each round a writer sets secrets on a laptop while the pod's sidecar, then the node that replicates the vault, then the laptop's agent are
//! killed and started again. A pod must never see two versions mixed or one that is older than what it saw.

use crate::chance::Chance;
use crate::progress::Progress;
use crate::reader::{Reader, Seen};
use crate::tally::{ROUNDS_OF_A_LINE, Tally};
use crate::writer::{PAIR, Writer, secrets};
use anyhow::{Context, Result};
use polykey_tests::line::{Line, VAULT};
use polykey_tests::socket::Socket;
use polykey_tests::tools;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// The longest time between two deaths, in milliseconds: some dozens of commits, and sometimes none.
const LONGEST: u64 = 250;
/// Kills of one round: a sidecar, a node, a laptop's agent.
const EACH: usize = 3;

/// Options.
#[derive(clap::Args)]
pub struct Kills {
    /// How many times a process is killed; a round kills a sidecar, a node and a laptop's agent
    #[arg(long, default_value_t = 1_000)]
    kills: usize,
}

/// Runs it; whether all was well.
///
/// # Errors
/// When something does not start again by itself, or the nodes do not come to one state.
pub async fn run(options: &Kills, chance: &mut Chance) -> Result<bool> {
    let bin = tools::products()?;
    let rounds = options.kills.div_ceil(EACH);
    let (mut tally, mut seen) = (Tally::default(), Seen::default());
    let mut progress = Progress::of(rounds);
    for first in (0..rounds).step_by(ROUNDS_OF_A_LINE) {
        let these = first..rounds.min(first + ROUNDS_OF_A_LINE);
        seen.add(one_line(&bin, chance, &mut tally, &mut progress, these).await?);
    }
    println!(
        "a pod's reader: {} looks at {} versions, {} replaced while it looked",
        seen.looks, seen.versions, seen.replaced
    );
    println!(
        "kills {}, rounds {rounds}, seconds {}, acknowledged writes {}, pruned {}, lost {}, torn {}, went back {}, repairs by hand 0",
        EACH * rounds,
        progress.took().as_secs(),
        tally.acknowledged(),
        tally.gone,
        tally.lost,
        seen.torn,
        seen.back
    );
    Ok(tally.lost == 0 && seen.torn == 0 && seen.back == 0)
}

/// The rounds of one line. Gives what its pod saw.
async fn one_line(
    bin: &Path,
    chance: &mut Chance,
    tally: &mut Tally,
    progress: &mut Progress,
    rounds: Range<usize>,
) -> Result<Seen> {
    let first = secrets(0);
    let first = first.each_ref().map(|(p, v)| (p.as_str(), v.as_slice()));
    let mut line = Line::new(bin, &first).await?;
    line.pod.start()?;
    line.delivered(PAIR[0], first[0].1).await?;
    let reader = Reader::start(line.pod.dir());
    let mut next = 1;
    for round in rounds {
        next = one_round(&mut line, chance, tally, next)
            .await
            .with_context(|| format!("round {round} of seed {}", chance.seed()))?;
        let so_far = format!(
            "{} kills, {} acknowledged, {} lost",
            EACH * (round + 1),
            tally.acknowledged(),
            tally.lost
        );
        progress.at(round + 1, &so_far);
    }
    tally.finish(&line).await?;
    reader.stop()
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
    let attempted = written.attempted;
    tally.check(line, written).await?;
    let head = Socket::open(&line.laptop_socket())
        .await?
        .secret(VAULT, PAIR[0], None)
        .await?;
    line.delivered(PAIR[0], &head).await?;
    Ok(attempted + 1)
}

async fn wait(chance: &mut Chance) {
    tokio::time::sleep(Duration::from_millis(chance.below(LONGEST))).await;
}
