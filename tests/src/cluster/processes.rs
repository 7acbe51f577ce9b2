//! Processes of the cluster: started with a log each, remembered by id in a file, and ended by those ids alone.
//!
//! A process id is used again by the kernel; with the start time beside it, it names one process for good, so a file left by a crashed run never hits a stranger.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end before it is killed. The API server takes a minute when etcd is gone.
const GRACE: Duration = Duration::from_secs(2);
/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(5);
/// How often an ending process is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Programs that are ended when their arguments name the cluster's folder.
const COMPONENTS: [&str; 9] = [
    "containerd",
    "containerd-shim-runc-v2",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
];

/// The processes of the cluster in one folder.
pub struct Processes {
    dir: PathBuf,
}

/// A process that lives.
struct Process {
    name: String,
    pid: u32,
    start: String,
}

impl Processes {
    /// The processes that were started in `dir`, by this run or an earlier one.
    pub fn open(dir: &Path) -> Processes {
        Processes {
            dir: dir.to_path_buf(),
        }
    }

    /// Starts a program in a group of its own (Ctrl-C in the terminal is not for it); what it prints goes to `<name>.log`.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<()> {
        let log = fs::File::create(self.dir.join(format!("{name}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (_, start) = stat(child.id()).unwrap_or_default();
        let mut pids = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.list())?;
        writeln!(pids, "{name} {} {start}", child.id())?;
        Ok(())
    }

    /// Names and ids of those that live.
    pub fn living(&self) -> Vec<(String, u32)> {
        self.read().into_iter().map(|p| (p.name, p.pid)).collect()
    }

    /// Ends all: the kubelet first, so that no container is started again; then the containers, while there is a containerd to ask; then the others at once.
    ///
    /// `contained` tells what still runs in containers once nothing is there to end it in an orderly way.
    pub fn stop_all(&self, contained: impl FnOnce() -> Vec<u32>) {
        let (kubelet, others): (Vec<_>, Vec<_>) =
            self.read().into_iter().partition(|p| p.name == "kubelet");
        end(&kubelet);
        self.delete_containers();
        end(&others);
        end(&self.strays());
        let contained: Vec<Process> = contained().into_iter().filter_map(Process::stray).collect();
        end(&contained);
        fs::remove_file(self.list()).ok();
    }

    fn list(&self) -> PathBuf {
        self.dir.join("pids")
    }

    fn read(&self) -> Vec<Process> {
        let text = fs::read_to_string(self.list()).unwrap_or_default();
        text.lines()
            .filter_map(Process::parse)
            .filter(Process::lives)
            .collect()
    }

    fn delete_containers(&self) {
        let socket = self.dir.join("containerd.sock");
        let ctr = |arguments: &[&str]| {
            let mut command = Command::new("ctr");
            command.arg("-a").arg(&socket).args([
                "--connect-timeout",
                "2s",
                "--timeout",
                "10s",
                "-n",
                "k8s.io",
            ]);
            let out = command.args(arguments).stderr(Stdio::null()).output();
            out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
                .unwrap_or_default()
        };
        let tasks = ctr(&["tasks", "list", "-q"]);
        let tasks: Vec<&str> = tasks.lines().collect();
        if !tasks.is_empty() {
            ctr(&[&["tasks", "delete", "-f"], &*tasks].concat());
        }
    }

    /// What runs from this folder and is not in the list: shims, which outlive their containerd by design, and what a run started but had no time to write down.
    fn strays(&self) -> Vec<Process> {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| self.is_of(*pid))
            .filter_map(Process::stray)
            .collect()
    }

    /// True for a component whose arguments name this folder, as those of every component do.
    fn is_of(&self, pid: u32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let (program, arguments) = line.split_once('\0').unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        COMPONENTS.contains(&program) && arguments.contains(&format!("{}/", self.dir.display()))
    }
}

impl Process {
    fn parse(line: &str) -> Option<Process> {
        let mut parts = line.split(' ').map(str::to_owned);
        Some(Process {
            name: parts.next()?,
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?,
        })
    }

    fn stray(pid: u32) -> Option<Process> {
        Some(Process {
            name: "stray".to_owned(),
            pid,
            start: stat(pid)?.1,
        })
    }

    /// A zombie has ended; whether its parent has noticed is not our matter.
    fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start)| start == self.start && state != "Z")
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .filter(|_| self.lives())
        {
            kill_process(pid, signal).ok();
        }
    }
}

/// Ends processes: asked first, killed after [`GRACE`].
fn end(processes: &[Process]) {
    for (signal, time) in [(Signal::TERM, GRACE), (Signal::KILL, KILLED)] {
        for process in processes {
            process.signal(signal);
        }
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && processes.iter().any(Process::lives) {
            std::thread::sleep(EVERY);
        }
    }
    // Children of ours would stay as zombies until this program ends.
    for pid in processes
        .iter()
        .filter_map(|p| Pid::from_raw(i32::try_from(p.pid).ok()?))
    {
        waitpid(Some(pid), WaitOptions::NOHANG).ok();
    }
}

/// State and start time (clock ticks since boot) of a process: fields 3 and 22 of proc(5).
fn stat(pid: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .map(str::to_owned);
    Some((fields.next()?, fields.nth(18)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_started_is_ended_even_when_another_run_does_it() {
        let dir = tempfile::tempdir().unwrap();
        Processes::open(dir.path())
            .start("sleeper", Command::new("sleep").arg("600"))
            .unwrap();
        let again = Processes::open(dir.path());
        assert_eq!(again.living().len(), 1);
        again.stop_all(Vec::new);
        assert!(again.living().is_empty());
        assert!(!dir.path().join("pids").exists());
    }

    #[test]
    fn a_component_that_nobody_wrote_down_is_found_by_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("coredns");
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let script = format!(
            "while :; do sleep 1; done # {}/Corefile",
            dir.path().display()
        );
        let mut child = Command::new(&program)
            .args(["-c", &script])
            .process_group(0)
            .spawn()
            .unwrap();
        Processes::open(&dir.path().join("other")).stop_all(Vec::new);
        assert!(
            child.try_wait().unwrap().is_none(),
            "ended although it is of another folder"
        );
        Processes::open(dir.path()).stop_all(Vec::new);
        assert!(stat(child.id()).is_none(), "still there");
    }

    #[test]
    fn a_process_that_took_over_an_old_id_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("pids"),
            format!("etcd {} 1\n", std::process::id()),
        )
        .unwrap();
        let processes = Processes::open(dir.path());
        assert!(processes.living().is_empty());
        processes.stop_all(Vec::new);
    }
}
