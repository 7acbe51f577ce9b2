//! Power cuts. Laptop and node have their stores on disks that lose, at the cut, whatever was written and not synced, or keep any part of it. A kill cannot show that: what a
//! killed process wrote is in the kernel, and safe there.
//!
//! First a control: with disks that ignore syncs acknowledged writes must be lost, or this would prove nothing.

use crate::chance::Chance;
use crate::disk::Losses;
use crate::mount::{self, Mount};
use crate::progress::Progress;
use crate::tally::{ROUNDS_OF_A_LINE, Tally, read};
use crate::writer::{Writer, Written, secrets, value};
use anyhow::{Context, Result, ensure};
use polykey_tests::line::Line;
use polykey_tests::socket::Socket;
use polykey_tests::tools;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most changes of a disk until it is cut: some dozens of commits, or what a checkpoint of the store takes.
const FAR: u64 = 1_500;
/// The most when the cut is meant to come soon after the writer began.
const NEAR: u64 = 40;
/// A start makes about so many changes.
const START: u64 = 60;
/// When the changes are not made in this time, the cut comes all the same.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the disks are looked at.
const EVERY: Duration = Duration::from_millis(1);
/// How long a start may take while a cut is wanted in it.
const STARTING: Duration = Duration::from_secs(10);
/// How many times the control is tried.
const CONTROLS: usize = 5;
/// How long the control writes.
const CONTROL: Duration = Duration::from_millis(400);

/// Options.
#[derive(clap::Args)]
pub struct Power {
    /// Rounds; in each, one disk or both lose power under a writer, and in a third of them again while all starts
    #[arg(long, default_value_t = 200)]
    cuts: usize,
}

/// A laptop and a node, each on a disk of its own. The line is dropped first: it ends the processes that use the disks.
struct House {
    line: Line,
    disks: [Mount; 2],
}

/// Whose disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Laptop = 0,
    Node = 1,
}

/// What the cuts did.
#[derive(Default)]
struct Cuts {
    count: usize,
    losses: Losses,
    syncs: u64,
}

/// Runs it; whether all was well.
///
/// # Errors
/// When something does not start again by itself, or the nodes do not come to the same heads.
pub async fn run(options: &Power, chance: &mut Chance) -> Result<bool> {
    ensure!(
        mount::possible(),
        "power cuts need root and /dev/fuse: run this as root, where the kernel has FUSE"
    );
    let bin = tools::products()?;
    control(&bin, chance).await?;
    let (mut tally, mut cuts) = (Tally::default(), Cuts::default());
    let mut progress = Progress::of(options.cuts);
    for first in (0..options.cuts).step_by(ROUNDS_OF_A_LINE) {
        let mut house = House::new(&bin).await?;
        let mut next = 1;
        for round in first..options.cuts.min(first + ROUNDS_OF_A_LINE) {
            next = house
                .one_round(chance, &mut cuts, &mut tally, next)
                .await
                .with_context(|| format!("round {round} of seed {}", chance.seed()))?;
            let so_far = format!(
                "{} cuts, {} acknowledged, {} lost",
                cuts.count,
                tally.acknowledged(),
                tally.lost
            );
            progress.at(round + 1, &so_far);
        }
        tally.finish(&house.line).await?;
        cuts.syncs += house.disks.iter().map(|d| d.disk().syncs()).sum::<u64>();
    }
    let Losses { kept, torn, gone } = cuts.losses;
    println!(
        "syncs {}; changes that were not synced when the power went: {gone} gone, {torn} torn, {kept} kept",
        cuts.syncs
    );
    println!(
        "power cuts {}, rounds {}, seconds {}, acknowledged writes {}, pruned {}, lost {}, repairs by hand 0",
        cuts.count,
        options.cuts,
        progress.took().as_secs(),
        tally.acknowledged(),
        tally.gone,
        tally.lost
    );
    Ok(tally.lost == 0)
}

/// Cuts the power of a laptop whose disk ignores syncs, until an acknowledged write is lost.
async fn control(bin: &Path, chance: &mut Chance) -> Result<()> {
    let mut told = 0;
    for turn in 1..=CONTROLS {
        let mut house = House::new(bin).await?;
        house.disks[0].disk().ignore_syncs(true);
        let writer = Writer::start(house.line.laptop_socket(), 1);
        tokio::time::sleep(CONTROL).await;
        house.disks[0].disk().cut();
        house.line.laptop.kill();
        let written = writer.ended().await?;
        house.disks[0].restore(chance)?;
        let lost = house.missing(&written).await;
        told += written.acknowledged.len();
        println!(
            "control {turn}, syncs ignored: acknowledged writes {}, lost {lost}",
            written.acknowledged.len()
        );
        if lost > 0 {
            return Ok(());
        }
    }
    anyhow::bail!(
        "the disks that ignore syncs lost none of {told} acknowledged writes: this run would prove nothing"
    )
}

impl House {
    async fn new(bin: &Path) -> Result<House> {
        let disks = [Mount::new()?, Mount::new()?];
        let first = secrets(0);
        let places = [0, 1].map(|at: usize| Some(disks[at].path()));
        let line = Line::on(
            bin,
            &first.each_ref().map(|(p, v)| (p.as_str(), v.as_slice())),
            places,
        )
        .await?;
        Ok(House { line, disks })
    }

    /// How many of the acknowledged writes are gone; all, when the laptop does not even start.
    async fn missing(&mut self, written: &Written) -> usize {
        let all = written.acknowledged.len();
        if self.line.laptop.start().is_err() {
            return all;
        }
        let Ok(mut laptop) = Socket::open(&self.line.laptop_socket()).await else {
            return all;
        };
        let mut there_still = 0;
        for (number, version) in &written.acknowledged {
            let there = read(&mut laptop, *number, version).await;
            there_still += usize::from(there.is_ok_and(|v| v == value(*number)));
        }
        all - there_still
    }

    /// One round; then looks for what was acknowledged in it. Gives the number of the next write.
    async fn one_round(
        &mut self,
        chance: &mut Chance,
        cuts: &mut Cuts,
        tally: &mut Tally,
        first: u64,
    ) -> Result<u64> {
        let written = self.crash(chance, cuts, first).await?;
        let next = written.attempted + 1;
        tally.check(&self.line, written).await?;
        Ok(next)
    }

    /// One cut under a writer, perhaps one more while all starts; then everything runs again.
    async fn crash(&mut self, chance: &mut Chance, cuts: &mut Cuts, first: u64) -> Result<Written> {
        let places = match chance.below(4) {
            0 => vec![Place::Node],
            1 => vec![Place::Laptop, Place::Node],
            _ => vec![Place::Laptop],
        };
        for place in &places {
            let most = if chance.below(2) == 0 { NEAR } else { FAR };
            self.disk(*place).disk().cut_after(chance.below(most));
        }
        let writer = Writer::start(self.line.laptop_socket(), first);
        self.until_off(&places, PATIENCE, || false).await;
        self.fall(&places, chance, cuts)?;
        let written = writer.ended().await?;
        if chance.below(3) == 0 {
            self.cut_while_starting(&places, chance, cuts).await?;
        }
        for place in &places {
            self.start(*place)?;
        }
        Ok(written)
    }

    /// Waits until one of the disks has no power, or `done`, or long enough.
    async fn until_off(
        &self,
        places: &[Place],
        patience: Duration,
        mut done: impl FnMut() -> bool,
    ) {
        let end = Instant::now() + patience;
        let off = || {
            places
                .iter()
                .any(|place| self.disks[*place as usize].disk().is_off())
        };
        while !off() && !done() && Instant::now() < end {
            tokio::time::sleep(EVERY).await;
        }
    }

    /// The power goes at all of these places; what was not synced is treated as a disk may.
    fn fall(&mut self, places: &[Place], chance: &mut Chance, cuts: &mut Cuts) -> Result<()> {
        for place in places {
            self.disk(*place).disk().cut();
        }
        for place in places {
            match place {
                Place::Laptop => self.line.laptop.kill(),
                Place::Node => self.line.node.kill(),
            }
            let Losses { kept, torn, gone } = self.disk(*place).restore(chance)?;
            cuts.count += 1;
            cuts.losses.kept += kept;
            cuts.losses.torn += torn;
            cuts.losses.gone += gone;
        }
        Ok(())
    }

    async fn cut_while_starting(
        &mut self,
        places: &[Place],
        chance: &mut Chance,
        cuts: &mut Cuts,
    ) -> Result<()> {
        for place in places {
            self.disk(*place).disk().cut_after(chance.below(START));
            match place {
                Place::Laptop => self.line.laptop.begin()?,
                Place::Node => self.line.node.begin()?,
            }
        }
        let sockets = [self.line.laptop_socket(), self.line.node.socket()];
        let answers = || {
            places.iter().all(|place| {
                std::os::unix::net::UnixStream::connect(&sockets[*place as usize]).is_ok()
            })
        };
        self.until_off(places, STARTING, answers).await;
        self.fall(places, chance, cuts)
    }

    fn start(&mut self, place: Place) -> Result<()> {
        match place {
            Place::Laptop => self.line.laptop.start(),
            Place::Node => self.line.node.start(),
        }
    }

    fn disk(&mut self, place: Place) -> &mut Mount {
        &mut self.disks[place as usize]
    }
}
