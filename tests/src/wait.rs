//! Waiting for a condition with a deadline, and running a program with its whole output in the error.

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const EVERY: Duration = Duration::from_millis(50);

/// Looks at `condition` until it gives something. The error names `what` was waited for and the last reason that it was not there.
///
/// # Errors
/// When `deadline` has passed.
pub fn wait_for<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl FnMut() -> Result<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(e) if Instant::now() >= end => {
                return Err(e)
                    .with_context(|| format!("waited {} s for {what}", deadline.as_secs()));
            }
            Err(_) => std::thread::sleep(EVERY),
        }
    }
}

/// [`wait_for`] where it must not block: looks at `condition` until it gives something.
///
/// # Errors
/// When `deadline` has passed.
pub async fn until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("waited {} s for {what}", deadline.as_secs());
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// When it cannot start or fails; then with what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let line = format!("{command:?}");
    let out = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {line}"))?;
    if !out.status.success() {
        bail!(
            "{line}: {}\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// [`run`], with `input` on its standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with(command: &mut Command, input: &[u8]) -> Result<String> {
    use std::io::Write;
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {line}"))?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(input)
        .ok();
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!(
            "{line}: {}\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
