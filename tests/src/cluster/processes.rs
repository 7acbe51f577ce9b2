//! Processes of the cluster: started with a log each, remembered by id in a file, and ended by those ids alone.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// The processes of the cluster in one folder.
pub struct Processes {
    dir: PathBuf,
}

impl Processes {
    /// The processes that were started in `dir`, by this run or an earlier one.
    pub fn open(dir: &Path) -> Processes {
        Processes { dir: dir.to_path_buf() }
    }

    /// Starts a program in a group of its own; what it prints goes to `<name>.log`.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<()> {
        let log = fs::File::create(self.dir.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut pids = OpenOptions::new().create(true).append(true).open(self.dir.join("pids"))?;
        writeln!(pids, "{name} {} {}", child.id(), started(child.id()).unwrap_or_default())?;
        Ok(())
    }

    /// Ends all: the kubelet first, so that nothing is started again; then the containers; then the others, newest first.
    pub fn stop_all(&self) {
        let text = fs::read_to_string(self.dir.join("pids")).unwrap_or_default();
        let mut all: Vec<(&str, Pid)> = text.lines().filter_map(alive).collect();
        all.reverse();
        all.sort_by_key(|(name, _)| *name != "kubelet");
        for (name, pid) in all {
            end(pid);
            if name == "kubelet" {
                self.kill_containers();
            }
        }
        fs::remove_file(self.dir.join("pids")).ok();
    }

    fn kill_containers(&self) {
        let socket = self.dir.join("containerd.sock");
        let ctr = |arguments: &[&str]| {
            let out = Command::new("ctr").arg("-a").arg(&socket).args(["-n", "k8s.io"]).args(arguments).stderr(Stdio::null()).output();
            out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
        };
        let tasks = ctr(&["tasks", "list", "-q"]);
        for task in tasks.lines() {
            ctr(&["tasks", "kill", "-s", "SIGKILL", task]);
        }
        for task in tasks.lines() {
            ctr(&["tasks", "delete", "-f", task]);
        }
    }
}

/// Start time of a process in clock ticks: with its id it names one process for good.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

fn alive(line: &str) -> Option<(&str, Pid)> {
    let mut parts = line.split(' ');
    let (name, pid, start) = (parts.next()?, parts.next()?.parse::<u32>().ok()?, parts.next()?);
    (started(pid).as_deref() == Some(start)).then(|| Pid::from_raw(i32::try_from(pid).ok()?)).flatten().map(|p| (name, p))
}

fn end(pid: Pid) {
    kill_process(pid, Signal::TERM).ok();
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        // A child of ours that has ended stays as a zombie until it is waited for.
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG).ok();
        if test_kill_process(pid).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_process(pid, Signal::KILL).ok();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG).ok();
}
