//! The command line as its users see it: each page of `tests/cli` is run against real agents, and what it shows is what is printed.

mod transcript;
mod world;

use std::path::Path;

macro_rules! pages {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            let page = concat!("tests/cli/", stringify!($name), ".md");
            transcript::run(&Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
        }
    )* };
}

pages! { history first_steps mistakes values names sharing documents dry_run keys }

#[test]
fn every_page_of_the_folder_is_run() {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli"))
        .expect("a folder");
    let mut names: Vec<String> = entries
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "documents.md",
            "dry_run.md",
            "first_steps.md",
            "history.md",
            "keys.md",
            "mistakes.md",
            "names.md",
            "sharing.md",
            "values.md"
        ]
    );
}
