//! `agent …`: the process that holds the unlocked identity. In the foreground it is this process; in the background it is a child that left the terminal's
//! session and gets its password through a pipe.

use super::args::AgentStart;
use super::context::Context;
use super::engine;
use super::password;
use super::session::{Session, quoted};
use super::stop::Stop;
use crate::agent::Unlock;
use polykey_client::error::{ApiError, Code};
use polykey_client::kinds::Agent;
use rustix::process::setsid;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How long a start may take until the socket answers: Argon2 takes 0.2 s, the repair of a large store minutes.
const START: Duration = Duration::from_mins(5);
/// How long a stop may take: open watches are told, the store is flushed.
const STOP: Duration = Duration::from_secs(40);
/// Between two looks at a socket.
const LOOK: Duration = Duration::from_millis(20);
/// Log of an agent in the background, in the node path.
const LOG: &str = "agent.log";
/// So much of the log is repeated when a start fails, in bytes.
const LOG_TAIL: usize = 2_000;

/// `polykey agent start`: serves until SIGTERM, SIGINT or `agent stop`.
pub fn serve(context: &Context, args: &AgentStart) -> Result<(), Stop> {
    if args.detached {
        // Fails only for a leader of a session, which has left its terminal already.
        let _ = setsid();
    }
    start_log(args.detached);
    let unlock = unlock(context, args)?;
    engine::serve(context, args, unlock)
}

fn unlock(context: &Context, args: &AgentStart) -> Result<Unlock, Stop> {
    if let Some(file) = &args.key_file {
        if !args.init && !engine::has_identity(&context.place.node_path) {
            return Err(no_identity_for_key(context, file));
        }
        return engine::read_key_file(file).map(Unlock::KeyFile);
    }
    if !engine::has_identity(&context.place.node_path) {
        return Err(no_identity(context));
    }
    password::ask(context, args.password_file.as_deref()).map(Unlock::Password)
}

fn no_identity_for_key(context: &Context, file: &Path) -> Stop {
    let at = context.place.node_path.display();
    let error = ApiError::new(Code::NotFound, format!("there is no identity in {at} yet"));
    let again = format!(
        "polykey agent start --key-file {} --init",
        quoted(&file.display().to_string())
    );
    error
        .hint("--init makes one that this key file opens")
        .next(again)
        .into()
}

fn no_identity(context: &Context) -> Stop {
    let at = context.place.node_path.display();
    let error = ApiError::new(Code::NotFound, format!("there is no identity in {at} yet"));
    error
        .hint("an identity is made once a device, or restored from its 24 words")
        .next("polykey init")
        .into()
}

/// Log lines go to standard error. They hold ids and counts, never names or values.
fn start_log(plain: bool) {
    let wanted = std::env::var("PK_LOG")
        .or_else(|_| std::env::var("RUST_LOG"))
        .unwrap_or_else(|_| "warn,polykey=info".to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(wanted)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,polykey=info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false);
    let _ = log
        .with_ansi(!plain && std::io::stderr().is_terminal())
        .try_init();
}

/// `polykey agent start --background`
pub async fn start_in_background(context: &Context, args: &AgentStart) -> Result<(), Stop> {
    if Session::open(&context.place).await.is_ok() {
        return already_running(context).await;
    }
    let password = match unlock(context, args)? {
        Unlock::Password(password) => Some(password),
        Unlock::KeyFile(_) => None,
    };
    start(context, arguments(args), password).await
}

/// The agent that `init` offers, on defaults.
pub async fn start_after_init(context: &Context, password: &Zeroizing<String>) -> Result<(), Stop> {
    start(context, Vec::new(), Some(password.clone())).await
}

async fn already_running(context: &Context) -> Result<(), Stop> {
    let document = describe(context, true).await;
    context.output.done(format_args!(
        "the agent is running already on {}; nothing was changed",
        document.socket
    ));
    context.output.one(&document, &document.socket)
}

async fn start(
    context: &Context,
    arguments: Vec<OsString>,
    password: Option<Zeroizing<String>>,
) -> Result<(), Stop> {
    let log = context.place.node_path.join(LOG);
    let begin = log_length(&log);
    let mut child = spawn(
        context,
        arguments,
        password.as_deref().map(String::as_str),
        &log,
    )?;
    wait_until_it_answers(context, &mut child, &log, begin).await?;
    let document = describe(context, true).await;
    let who = document
        .node_id
        .map(|n| format!(" as {}", n.short()))
        .unwrap_or_default();
    context.output.done(format_args!(
        "agent running{who}   log: {}   stop: polykey agent stop",
        log.display()
    ));
    context.output.one(&document, &document.socket)
}

fn spawn(
    context: &Context,
    arguments: Vec<OsString>,
    password: Option<&str>,
    log: &Path,
) -> Result<Child, Stop> {
    let failed = |e: std::io::Error| Stop::failed(format!("cannot start the agent: {e}"));
    std::fs::create_dir_all(&context.place.node_path).map_err(failed)?;
    let log = open_log(log).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .args(context.place.options())
        .args(["agent", "start", "--detached"])
        .args(arguments);
    if password.is_some() {
        command
            .args(["--password-file", "/dev/stdin"])
            .stdin(Stdio::piped());
    } else {
        command.stdin(Stdio::null());
    }
    command
        .env_remove("PK_PASSWORD_FILE")
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::from(log));
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(mut pipe), Some(password)) = (child.stdin.take(), password) {
        pipe.write_all(password.as_bytes()).map_err(failed)?;
    }
    Ok(child)
}

fn open_log(log: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
}

fn log_length(log: &Path) -> u64 {
    std::fs::metadata(log).map_or(0, |m| m.len())
}

/// The options of a start in the background, for the child.
fn arguments(args: &AgentStart) -> Vec<OsString> {
    let mut out: Vec<OsString> = vec!["--listen".into(), args.listen.to_string().into()];
    let mut add = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            out.extend([name.into(), value]);
        }
    };
    let absolute = |path: &PathBuf| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.clone())
            .into_os_string()
    };
    let text = |value: &Option<String>| value.clone().map(OsString::from);
    let w = &args.workloads;
    add("--key-file", args.key_file.as_ref().map(absolute));
    add(
        "--api-listen",
        args.api_listen.map(|a| a.to_string().into()),
    );
    add(
        "--probe-listen",
        args.probe_listen.map(|a| a.to_string().into()),
    );
    add("--author-rate", Some(args.author_rate.to_string().into()));
    add("--audience", text(&w.audience));
    add("--issuer", text(&w.issuer));
    add("--jwks-url", text(&w.jwks_url));
    add("--review-url", text(&w.review_url));
    add(
        "--review",
        w.review.map(|r| {
            if r == super::args::Review::Off {
                "off".into()
            } else {
                "on".into()
            }
        }),
    );
    add("--kube-ca-file", w.kube_ca_file.as_ref().map(absolute));
    add(
        "--kube-token-file",
        w.kube_token_file.as_ref().map(absolute),
    );
    add("--operator-subject", text(&w.operator_subject));
    add("--pod-name", text(&w.pod_name));
    add("--peers-domain", text(&w.peers_domain));
    let switches = [
        ("--init", args.init),
        ("--only-copy", args.only_copy),
        ("--move-store", w.move_store),
    ];
    let on = switches.into_iter().filter(|(_, on)| *on);
    out.extend(on.map(|(switch, _)| switch.into()));
    out
}

async fn wait_until_it_answers(
    context: &Context,
    child: &mut Child,
    log: &Path,
    begin: u64,
) -> Result<(), Stop> {
    let deadline = Instant::now() + START;
    loop {
        if let Ok(mut session) = Session::open(&context.place).await
            && session.status().await.is_ok()
        {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(ended(status.code(), log, begin));
        }
        if Instant::now() > deadline {
            let error = ApiError::new(
                Code::Unreachable,
                format!(
                    "the agent does not answer after {} s; it goes on starting",
                    START.as_secs()
                ),
            );
            return Err(error.hint(format!("its log is {}", log.display())).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The error of a child that ended: its own last words, with its own exit status.
fn ended(status: Option<i32>, log: &Path, begin: u64) -> Stop {
    let text = std::fs::read(log).unwrap_or_default();
    let new = text
        .get(usize::try_from(begin).unwrap_or_default()..)
        .unwrap_or_default();
    let tail = String::from_utf8_lossy(&new[new.len().saturating_sub(LOG_TAIL)..]).into_owned();
    let code = [
        Code::Usage,
        Code::NotFound,
        Code::Locked,
        Code::Unreachable,
        Code::Conflict,
    ];
    let code = code
        .into_iter()
        .find(|c| Some(i32::from(c.exit())) == status)
        .unwrap_or(Code::Failed);
    let part = |start: &str| {
        tail.lines()
            .rev()
            .find_map(|l| l.trim_start().strip_prefix(start))
            .map(|l| l.trim().to_owned())
    };
    let error = match (part("polykey: "), part("hint:")) {
        (Some(message), None) => ApiError::new(code, message),
        (Some(message), Some(hint)) => ApiError::new(code, message).hint(hint),
        (None, _) => ApiError::new(code, "the agent ended while it was starting")
            .hint(format!("its log is {}", log.display())),
    };
    match part("try:") {
        Some(next) => error.next(next).into(),
        None => error.into(),
    }
}

/// `polykey agent stop`: returns when the agent is gone.
pub async fn stop(context: &Context) -> Result<(), Stop> {
    let mut session = context.session().await?;
    let document = Agent {
        running: false,
        ..describe(context, false).await
    };
    session.stop().await?;
    let deadline = Instant::now() + STOP;
    while Session::open(&context.place).await.is_ok() {
        if Instant::now() > deadline {
            return Err(ApiError::new(
                Code::Failed,
                format!("the agent is still running after {} s", STOP.as_secs()),
            )
            .into());
        }
        tokio::time::sleep(LOOK).await;
    }
    context.output.done("agent stopped");
    context.output.one(&document, &document.socket)
}

async fn describe(context: &Context, running: bool) -> Agent {
    let status = match Session::open(&context.place).await {
        Ok(mut session) => session.status().await.ok(),
        Err(_) => None,
    };
    Agent {
        running,
        socket: context.place.socket().display().to_string(),
        node_id: status.as_ref().map(|s| s.node_id),
        listen: status.and_then(|s| s.listen),
    }
}

/// Tells a person at the terminal that the agent serves; elsewhere the log does.
pub fn tell_running(context: &Context, agent: &crate::agent::Agent) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let node = agent.services.about.node.short();
    let listen = agent.services.peers.local_addr();
    let listen = listen.map_or_else(|| "nowhere".to_owned(), |a| format!("{a} (UDP)"));
    context.output.done(format_args!(
        "agent running as {node}; peers reach it at {listen}   stop: Ctrl-C"
    ));
}
