//! Whole agents, with nothing but their command line: on two machines whose cable is pulled (network namespaces), and a copy of a machine's disk.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything: a peer that was cut off is dialled again after half a minute at most.
const PATIENCE: Duration = Duration::from_mins(1);

/// One agent with a folder of its own.
struct Machine {
    dir: tempfile::TempDir,
    namespace: Option<String>,
    agent: Option<Child>,
    id: String,
}

impl Machine {
    fn new(namespace: Option<String>, listen: &str) -> Machine {
        let dir = tempfile::Builder::new().prefix("pk").tempdir().unwrap();
        std::fs::write(dir.path().join("key"), [0x2a; 32]).unwrap();
        let mut machine = Machine {
            dir,
            namespace,
            agent: None,
            id: String::new(),
        };
        machine.start(listen, &[]);
        let status = machine.json("status");
        status["nodeId"]
            .as_str()
            .unwrap()
            .clone_into(&mut machine.id);
        machine
    }

    fn start(&mut self, listen: &str, more: &[&str]) {
        let program = env!("CARGO_BIN_EXE_polykey");
        let mut command = match &self.namespace {
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, program]);
                command
            }
            None => Command::new(program),
        };
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let agent = self
            .at_home(&mut command)
            .args(["agent", "start", "--init", "--listen", listen, "--key-file"])
            .arg(self.dir.path().join("key"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
        eventually("the agent answers", || self.run("status").1 == 0);
    }

    fn stop(&mut self) {
        self.run("agent stop");
        if let Some(mut agent) = self.agent.take() {
            agent.wait().unwrap();
        }
    }

    /// Ends the agent as a power cut would.
    fn kill(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// A command that goes on by itself.
    fn spawn(&self, line: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polykey"));
        let command = self.at_home(&mut command).args(line.split(' '));
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        quiet.stderr(Stdio::null()).spawn().unwrap()
    }

    fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("PK_NODE_PATH", self.dir.path().join("node"))
            .env("XDG_RUNTIME_DIR", self.dir.path())
            .env("PK_NO_INPUT", "1")
            .env_remove("POD_NAME")
            .env_remove("PK_PASSWORD_FILE")
    }

    /// Runs a command; gives what it printed on both outputs, and its exit status.
    fn run(&self, line: &str) -> (String, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polykey"));
        let output = self
            .at_home(&mut command)
            .args(line.split(' '))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8_lossy(&text).into_owned(),
            output.status.code().unwrap_or(-1),
        )
    }

    fn ok(&self, line: &str) -> String {
        let (text, status) = self.run(line);
        assert_eq!(status, 0, "{line}: {text}");
        text
    }

    fn json(&self, line: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&format!("{line} -o json"))).unwrap()
    }

    fn set(&self, reference: &str, value: &str) {
        let file = self.dir.path().join("value");
        std::fs::write(&file, value).unwrap();
        self.ok(&format!("set {reference} --from {}", file.display()));
    }

    fn has(&self, reference: &str, value: &str) {
        eventually(&format!("{reference} is {value}"), || {
            let (text, status) = self.run(&format!("get {reference}"));
            status == 0 && text.trim_end() == value
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().ok();
            agent.wait().ok();
        }
    }
}

fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !met() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Two network namespaces and a cable between them, which are gone with this.
struct Cable {
    ends: [String; 2],
}

impl Cable {
    /// `None` where this user may not make any.
    fn new() -> Option<Cable> {
        let ends = ["a", "b"].map(|end| format!("pk-{}-{end}", std::process::id()));
        let cable = Cable { ends };
        let [a, b] = &cable.ends;
        let made = ip(&format!("netns add {a}")) && ip(&format!("netns add {b}"));
        let plugged = made
            && ip(&format!(
                "link add pk0 netns {a} type veth peer name pk0 netns {b}"
            ));
        let up = plugged
            && [(a, 1), (b, 2)].into_iter().all(|(end, n)| {
                ip(&format!("-n {end} addr add 10.231.7.{n}/24 dev pk0"))
                    && ip(&format!("-n {end} link set lo up"))
                    && ip(&format!("-n {end} link set pk0 up"))
            });
        up.then_some(cable)
    }

    fn plug(&self, how: &str) {
        assert!(ip(&format!("-n {} link set pk0 {how}", self.ends[0])));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for end in &self.ends {
            ip(&format!("netns del {end}"));
        }
    }
}

fn ip(arguments: &str) -> bool {
    let run = Command::new("ip")
        .args(arguments.split(' '))
        .stderr(Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}

#[test]
fn a_pulled_cable_costs_nothing_that_was_written_on_either_side() {
    let Some(cable) = Cable::new() else {
        eprintln!("no network namespaces can be made here: this was not run");
        return;
    };
    let [a, b] = cable.ends.clone();
    let one = Machine::new(Some(a), "10.231.7.1:1314");
    let other = Machine::new(Some(b), "10.231.7.2:1314");
    other.ok(&format!("peer add {}", one.id));
    one.ok(&format!("peer add {} 10.231.7.2:1314", other.id));
    one.ok("vault create app");
    one.set("app:shared", "first");
    one.ok(&format!("share app {} --write", other.id));
    let vault = one.json("vault ls")["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    eventually("the vault arrives", || {
        other.run(&format!("vault rename {vault} app")).1 == 0
    });
    other.has("app:shared", "first");

    cable.plug("down");
    one.set("app:of/one", "1");
    other.set("app:of/other", "2");
    one.set("app:shared", "by one");
    eventually("both notice", || {
        [&one, &other]
            .iter()
            .all(|m| m.json("status")["peers"][0]["connected"] == false)
    });
    cable.plug("up");
    eventually("both hold both", || {
        let held = |m: &Machine| m.json("vault ls")["items"][0]["state"].clone();
        held(&one) == "diverged" && held(&other) == "diverged"
    });
    one.set("app:joined", "yes");
    for machine in [&one, &other] {
        machine.has("app:joined", "yes");
        machine.has("app:of/one", "1");
        machine.has("app:of/other", "2");
        machine.has("app:shared", "by one");
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

#[test]
fn a_copy_of_a_machine_s_disk_is_told_what_it_is_and_what_to_do() {
    let mut one = Machine::new(None, "127.0.0.1:0");
    let peer = Machine::new(None, "127.0.0.1:0");
    let address = peer.json("status")["listen"].as_str().unwrap().to_owned();
    peer.ok(&format!("peer add {}", one.id));
    one.ok(&format!("peer add {} {address}", peer.id));
    one.ok("vault create app");
    one.set("app:a", "1");
    one.stop();
    let dir = tempfile::Builder::new().prefix("pk").tempdir().unwrap();
    copy(&one.dir.path().join("node"), dir.path());
    std::fs::write(dir.path().join("key"), [0x2a; 32]).unwrap();
    // The original has the later start.
    one.start("127.0.0.1:0", &[]);
    one.stop();
    one.start("127.0.0.1:0", &[]);
    eventually("the original is connected", || {
        one.json("status")["peers"][0]["connected"] == true
    });

    let mut copied = Machine {
        dir,
        namespace: None,
        agent: None,
        id: one.id.clone(),
    };
    copied.start("127.0.0.1:0", &[]);
    eventually("the copy is told", || {
        copied
            .ok("status")
            .contains("polykey agent start --only-copy")
    });
    assert_eq!(copied.run("status --check").1, 7);
    let (text, status) = copied.run("rm app:a --yes");
    assert_eq!(status, 6, "{text}");
    assert!(
        text.contains("a copy of this node runs elsewhere"),
        "{text}"
    );
    assert_eq!(copied.ok("get app:a").trim_end(), "1");
    eventually("the original is told", || {
        one.ok("status").contains("another copy of this node")
    });
    one.set("app:a", "2");

    // A person decides for the copy.
    one.stop();
    copied.stop();
    copied.start("127.0.0.1:0", &["--only-copy"]);
    copied.set("app:b", "3");
}

#[test]
fn an_agent_that_is_killed_while_its_key_changes_comes_back_as_one_node_that_has_all_its_vaults() {
    let mut one = Machine::new(None, "127.0.0.1:0");
    for vault in ["app", "second"] {
        one.ok(&format!("vault create {vault}"));
        one.set(&format!("{vault}:a"), "0");
    }
    let rotate = format!(
        "key rotate --yes --key-file {}",
        one.dir.path().join("key").display()
    );
    let mut ids = vec![one.id.clone()];
    // From before the request arrives to after the start that follows, which takes some hundred milliseconds.
    let moments = [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 400];
    for (n, after) in moments.into_iter().enumerate() {
        let mut command = one.spawn(&rotate);
        std::thread::sleep(Duration::from_millis(after));
        one.kill();
        command.kill().ok();
        command.wait().unwrap();
        one.start("127.0.0.1:0", &[]);
        let status = one.json("status");
        let id = status["nodeId"].as_str().unwrap().to_owned();
        for vault in status["vaults"].as_array().unwrap() {
            assert_eq!(vault["role"], "owner", "{after} ms: {status}");
            assert_eq!(vault["members"], 1, "{after} ms: {status}");
        }
        for vault in ["app", "second"] {
            one.has(&format!("{vault}:a"), &n.to_string());
            one.set(&format!("{vault}:a"), &(n + 1).to_string());
        }
        ids.push(id);
    }
    ids.dedup();
    assert!(ids.len() > 1, "some of them came through");
    println!("{} of {} came through", ids.len() - 1, moments.len());
}
