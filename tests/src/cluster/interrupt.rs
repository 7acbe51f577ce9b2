//! Ctrl-C, `kill` and a closed terminal: the cluster is cleaned up before the program ends, unless it is to be kept.

use super::{Ours, clean};
use anyhow::Result;
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code after an interrupt: 128 and SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// Watches for the rest of the program's life. While `ours` is true an interrupt takes the cluster in `dir` down.
pub fn watch(dir: &Path, programs: &Path, ours: &Ours) -> Result<()> {
    let (dir, programs, ours) = (dir.to_path_buf(), programs.to_path_buf(), ours.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            runtime.block_on(interrupt()).ok();
            end(&dir, &programs, &ours);
        })?;
    Ok(())
}

async fn interrupt() -> Result<()> {
    let mut control_c = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = control_c.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

fn end(dir: &Path, programs: &Path, ours: &Ours) {
    let held = ours.hold();
    if *held {
        eprintln!("interrupted: taking the cluster down");
        if let Err(e) = clean(dir, programs) {
            eprintln!("{e:#}");
        }
    }
    std::process::exit(INTERRUPTED);
}
