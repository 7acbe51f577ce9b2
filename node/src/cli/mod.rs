//! The command line: reads what was typed, asks the agent or the person, prints. It holds no key and opens no vault; only `init` and `agent start` touch the
//! identity, through the engine.

mod agent;
pub mod args;
mod closest;
mod context;
mod engine;
mod files;
mod history;
mod init;
mod key;
mod listing;
mod output;
mod password;
mod place;
mod progress;
mod pruning;
mod reading;
mod recovery;
mod removing;
mod revision;
mod session;
mod sharing;
pub mod shell;
mod status;
mod stop;
mod terminal;
mod typing;
mod vaults;
mod writing;

use args::{Cli, Command, Format};
use context::Context;
use std::process::ExitCode;
use stop::Stop;

/// Runs the command of this process and gives its exit status.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match typing::parse() {
        Ok(cli) => cli,
        Err(status) => return ExitCode::from(status),
    };
    // A secret among the arguments of `set` swallows the options behind it: what was asked for holds all the same.
    let arguments: Vec<String> = std::env::args_os()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let format = wants_documents(&arguments).unwrap_or(cli.global.format());
    let paint = output::Paint::stderr(cli.global.color);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => ExitCode::from(stop.report(format, paint)),
    }
}

fn run(cli: &Cli) -> Result<(), Stop> {
    typing::refuse_secrets_in_environment()?;
    let context = Context::of(&cli.global)?;
    match &cli.command {
        Some(Command::Agent(args::Agent::Start(start))) if !start.background => {
            agent::serve(&context, start)
        }
        Some(Command::Completion(args)) => shell::completion(args),
        Some(Command::Man(args)) => shell::man(&context, args),
        Some(Command::Version) => shell::version(&context),
        command => one_thread()?.block_on(ask(&context, command.as_ref())),
    }
}

/// The commands that talk with the agent, or that make an identity for it.
async fn ask(context: &Context, command: Option<&Command>) -> Result<(), Stop> {
    match command {
        None => status::overview(context).await,
        Some(Command::Init(args)) => init::run(context, args).await,
        Some(Command::Get(args)) => reading::get(context, args).await,
        Some(Command::Set(args)) => writing::set(context, args).await,
        Some(Command::Ls(args)) => listing::ls(context, args).await,
        Some(Command::Rm(args)) => removing::rm(context, args).await,
        Some(Command::Log(args)) => listing::log(context, args).await,
        Some(Command::Diff(args)) => history::diff(context, args).await,
        Some(Command::Restore(args)) => history::restore(context, args).await,
        Some(Command::Share(args)) => sharing::share(context, args).await,
        Some(Command::Unshare(args)) => sharing::unshare(context, args).await,
        Some(Command::Peer(command)) => sharing::peer(context, command).await,
        Some(Command::Vault(command)) => vaults::run(context, command).await,
        Some(Command::Key(args::Key::Rotate(args))) => key::rotate(context, args).await,
        Some(Command::Status(args)) => status::run(context, args).await,
        Some(Command::Agent(args::Agent::Start(args))) => {
            agent::start_in_background(context, args).await
        }
        Some(Command::Agent(args::Agent::Stop)) => agent::stop(context).await,
        Some(Command::Agent(args::Agent::Status)) => {
            status::run(context, &args::Status { check: false }).await
        }
        Some(Command::Completion(_) | Command::Man(_) | Command::Version) => Ok(()),
    }
}

/// A command waits for one answer at a time: one thread starts faster than many.
fn one_thread() -> Result<tokio::runtime::Runtime, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|e| Stop::failed(format!("cannot start: {e}")))
}

/// Whether the arguments ask for documents, when they could not be read otherwise.
fn wants_documents(arguments: &[String]) -> Option<Format> {
    let forms = [
        ("json", Format::Json),
        ("jsonl", Format::Jsonl),
        ("yaml", Format::Yaml),
    ];
    let form = |text: &str| {
        forms
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, form)| *form)
    };
    let next = || {
        arguments
            .windows(2)
            .find(|pair| pair[0] == "-o" || pair[0] == "--output")
            .and_then(|pair| form(&pair[1]))
    };
    let joined = || {
        arguments.iter().find_map(|a| {
            a.strip_prefix("--output=")
                .or_else(|| a.strip_prefix("-o"))
                .and_then(form)
        })
    };
    let flag = arguments
        .iter()
        .any(|a| a == "--json")
        .then_some(Format::Json);
    flag.or_else(next).or_else(joined)
}
