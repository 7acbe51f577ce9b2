//! `completion`, `man` and `version`: what is made from the command tree itself.

use super::args::{Cli, Completion, Man};
use super::context::Context;
use super::output::put_bytes;
use super::stop::Stop;
use clap::CommandFactory;
use clap_mangen::Man as Page;
use polykey_client::kinds::SoftwareVersion;
use std::path::Path;

/// `polykey completion`
pub fn completion(args: &Completion) -> Result<(), Stop> {
    put_bytes(&completion_script(args.shell))
}

/// The completion script of one shell.
#[must_use]
pub fn completion_script(shell: clap_complete::Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "polykey", &mut out);
    out
}

/// `polykey man`
pub fn man(context: &Context, args: &Man) -> Result<(), Stop> {
    let Some(dir) = &args.dir else {
        let (_, page) = pages().swap_remove(0);
        return put_bytes(&page);
    };
    let pages = pages();
    let count = pages.len();
    for (name, page) in pages {
        write(&dir.join(name), &page)?;
    }
    context
        .output
        .done(format_args!("wrote {count} pages into {}", dir.display()));
    Ok(())
}

fn write(file: &Path, page: &[u8]) -> Result<(), Stop> {
    std::fs::write(file, page)
        .map_err(|e| Stop::failed(format!("cannot write {}: {e}", file.display())))
}

/// The manual: file names and pages, `polykey.1` first.
#[must_use]
pub fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = Cli::command();
    command.build();
    let mut out = Vec::new();
    collect(&command, &mut out);
    out
}

fn collect(command: &clap::Command, out: &mut Vec<(String, Vec<u8>)>) {
    // A page has the long help; clap_mangen leaves the text of options away that only the short help hides.
    let whole = command
        .clone()
        .mut_args(|argument| argument.hide_short_help(false));
    let page = Page::new(whole).source(concat!("polykey ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    if page.render(&mut text).is_ok() {
        out.push((page.get_filename(), text));
    }
    let shown = |c: &&clap::Command| !c.is_hide_set() && c.get_name() != "help";
    command
        .get_subcommands()
        .filter(shown)
        .for_each(|inner| collect(inner, out));
}

/// `polykey version`
pub fn version(context: &Context) -> Result<(), Stop> {
    let version = env!("CARGO_PKG_VERSION");
    context.output.text(
        &SoftwareVersion {
            software_version: version.to_owned(),
        },
        version,
        &format!("polykey {version}\n"),
    )
}
