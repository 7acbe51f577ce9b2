//! From a commit on a laptop until the file is switched in a pod: the products and the floor in turns, so that whatever else the machine does meets both.

use crate::figures::{Samples, millis, ratio};
use crate::floor::{self, FILES, Floor, STEPS, VALUE};
use crate::switches::Switches;
use anyhow::{Context, Result};
use polykey_tests::line::{Line, VAULT, unless_stopped};
use polykey_tests::socket::Socket;
use polykey_tests::tools;
use std::time::{Duration, Instant};

/// Turns before anything counts.
const WARM_UP: usize = 50;
/// Whole processes of `polykey set` that are timed.
const PROCESSES: usize = 50;
/// The file that is watched: the last that is written.
const WATCHED: usize = 2;

/// Options.
#[derive(clap::Args)]
pub struct Chain {
    /// Commits that count, after 50 that do not
    #[arg(long, default_value_t = Chain::default().iterations)]
    iterations: usize,
    /// Milliseconds between two commits
    #[arg(long, default_value_t = Chain::default().pace)]
    pace: u64,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain {
            iterations: 500,
            pace: 10,
        }
    }
}

/// Measures and prints.
pub fn measure(options: &Chain) -> Result<()> {
    floor::alone(unless_stopped(run(options)))
}

async fn run(options: &Chain) -> Result<()> {
    let first = values(0);
    let mut line = Line::new(&tools::products()?, &named(&first)).await?;
    line.pod.start()?;
    line.delivered(FILES[WATCHED], &first[WATCHED]).await?;
    let root = tempfile::Builder::new()
        .prefix("polykey-floor-")
        .tempdir()?;
    let volume = tempfile::Builder::new()
        .prefix("polykey-floor-")
        .tempdir_in("/dev/shm")?;
    let mut floor = Floor::start(root.path(), volume.path()).await?;
    let mut floor_switches = Switches::of(volume.path(), FILES[WATCHED])?;
    let mut switches = Switches::of(&line.pod.dir(), FILES[WATCHED])?;
    let mut laptop = Socket::open(&line.laptop_socket()).await?;

    let (mut product, mut acknowledged, mut bare) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut steps: Vec<Samples> = STEPS.iter().map(|_| Samples::default()).collect();
    let pace = Duration::from_millis(options.pace);
    for turn in 0..WARM_UP + options.iterations {
        let values = values(turn + 1);
        let counts = turn >= WARM_UP;
        tokio::time::sleep(pace).await;
        let start = Instant::now();
        floor.send(&values).await?;
        let end = floor_switches
            .until(&values[WATCHED])
            .await
            .context("the floor")?;
        let took = floor.steps()?;
        if counts {
            bare.push(end - start);
            steps.iter_mut().zip(took).for_each(|(s, t)| s.push(t));
        }
        tokio::time::sleep(pace).await;
        let start = Instant::now();
        laptop.edit(VAULT, &named(&values)).await?;
        let answered = start.elapsed();
        let end = switches
            .until(&values[WATCHED])
            .await
            .with_context(|| line.pod.log())?;
        if counts {
            product.push(end - start);
            acknowledged.push(answered);
        }
    }

    println!(
        "\nchain: a commit of three values on a laptop until the file is switched in a pod; {} turns of each, one every {} ms",
        options.iterations, options.pace
    );
    println!("  products   {}", product.line());
    println!("  floor      {}", bare.line());
    let [p50, p99] = [50, 99].map(|p| ratio(product.percentile(p), bare.percentile(p)));
    println!("  ratio      p50 {p50:.2}   p99 {p99:.2}");
    println!(
        "  the laptop's agent acknowledges   {}",
        acknowledged.line()
    );
    let steps = STEPS
        .iter()
        .zip(&mut steps)
        .map(|(name, s)| format!("{name} {:.0}", millis(s.percentile(50)) * 1_000.0));
    println!(
        "  steps of the floor, p50 in µs: {}",
        steps.collect::<Vec<_>>().join(", ")
    );
    println!(
        "  polykey set, whole process   {}",
        processes(&line)?.line()
    );
    Ok(())
}

fn processes(line: &Line) -> Result<Samples> {
    let mut samples = Samples::default();
    for n in 0..PROCESSES {
        let start = Instant::now();
        line.laptop.set(
            &format!("{VAULT}:{}", FILES[0]),
            format!("process {n}").as_bytes(),
        )?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}

/// Three values that no other turn has.
fn values(turn: usize) -> [[u8; VALUE]; 3] {
    [0, 1, 2].map(|file| {
        let mut value = [b'.'; VALUE];
        let text = format!("{file} of turn {turn}");
        value[..text.len()].copy_from_slice(text.as_bytes());
        value
    })
}

fn named(values: &[[u8; VALUE]; 3]) -> Vec<(&'static str, &[u8])> {
    FILES
        .into_iter()
        .zip(values.iter().map(<[u8; VALUE]>::as_slice))
        .collect()
}
