//! Sees when files are switched in a volume, for floor and product alike: a thread that blocks on inotify, reads the file as an app would, and then reads the clock.

use anyhow::{Context, Result, bail};
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The link whose rename is the switch.
const DATA: &str = "..data";
/// How long a switch may take before the line counts as broken.
const DEADLINE: Duration = Duration::from_secs(10);

/// The contents of one file after each switch of its directory, and when they were read.
pub struct Switches(UnboundedReceiver<(Instant, Vec<u8>)>);

impl Switches {
    /// Watches `dir` for switches and reads `file` after each. The thread lives as long as the process.
    pub fn of(dir: &Path, file: &str) -> Result<Switches> {
        let events = inotify::init(CreateFlags::CLOEXEC)?;
        inotify::add_watch(&events, dir, WatchFlags::MOVED_TO)
            .with_context(|| format!("cannot watch {}", dir.display()))?;
        let (sender, receiver) = unbounded_channel();
        let file: PathBuf = dir.join(DATA).join(file);
        std::thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4_096];
            let mut events = Reader::new(events, &mut buffer);
            while let Ok(event) = events.next() {
                if event
                    .file_name()
                    .is_some_and(|n| n.to_bytes() == DATA.as_bytes())
                {
                    let content = std::fs::read(&file).unwrap_or_default();
                    if sender.send((Instant::now(), content)).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Switches(receiver))
    }

    /// When the file first held `value`.
    pub async fn until(&mut self, value: &[u8]) -> Result<Instant> {
        let wait = async {
            loop {
                match self.0.recv().await {
                    Some((at, content)) if content == value => return Ok(at),
                    Some(_) => {}
                    None => bail!("nobody watches the volume any more"),
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait)
            .await
            .context("the value never came")?
    }
}
