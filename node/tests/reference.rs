//! The manual pages and the completion scripts under `docs/reference` are made from the command tree. A change of the tree changes them in the same commit:
//! `UPDATE_REFERENCE=1 cargo test -p polykey --test reference` writes them.

use clap_complete::Shell;
use polykey::cli::shell::{completion_script, pages};
use std::path::{Path, PathBuf};

fn reference() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference")
}

fn made() -> Vec<(PathBuf, Vec<u8>)> {
    let manual = pages()
        .into_iter()
        .map(|(name, page)| (Path::new("man").join(name), page));
    let shells = [
        ("polykey.bash", Shell::Bash),
        ("_polykey", Shell::Zsh),
        ("polykey.fish", Shell::Fish),
    ];
    let scripts =
        shells.map(|(name, shell)| (Path::new("completion").join(name), completion_script(shell)));
    manual.chain(scripts).collect()
}

#[test]
fn manual_and_completions_are_those_of_this_command_tree() {
    let update = std::env::var_os("UPDATE_REFERENCE").is_some();
    let mut stale = Vec::new();
    for (name, text) in made() {
        let file = reference().join(&name);
        if std::fs::read(&file).is_ok_and(|old| old == text) {
            continue;
        }
        if update {
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(&file, text).expect("written");
        } else {
            stale.push(name);
        }
    }
    assert!(
        stale.is_empty(),
        "stale, made again by UPDATE_REFERENCE=1: {stale:?}"
    );
}

#[test]
fn no_page_is_left_of_a_command_that_is_gone() {
    let made: Vec<PathBuf> = made().into_iter().map(|(name, _)| name).collect();
    for folder in ["man", "completion"] {
        for entry in std::fs::read_dir(reference().join(folder)).expect("the folder is there") {
            let name = Path::new(folder).join(entry.expect("an entry").file_name());
            assert!(
                made.contains(&name),
                "{} is made by nothing",
                name.display()
            );
        }
    }
}

#[test]
fn every_command_has_a_page_and_no_page_shows_an_environment_of_somebody() {
    let pages = pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "polykey.1",
        "polykey-set.1",
        "polykey-vault-create.1",
        "polykey-agent-start.1",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
    let home = std::env::var("HOME").unwrap_or_default();
    assert!(
        home.len() < 3
            || pages
                .iter()
                .all(|(_, page)| !String::from_utf8_lossy(page).contains(&home))
    );
}
