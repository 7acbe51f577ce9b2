//! The page of attacks names tests. Each of them is there.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files and names of the tests in a line of the page.
fn named(line: &str) -> Vec<(&str, &str)> {
    line.split('`')
        .filter_map(|word| word.split_once("::"))
        .filter(|(file, _)| Path::new(file).extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// Whether a source has that function right below a line that makes it a test. A property's line stands above its comment.
fn has_test(source: &str, name: &str) -> bool {
    let heading = format!("fn {name}(");
    let Some((before, _)) = source.split_once(&heading) else {
        return false;
    };
    let (above, own) = before.rsplit_once('\n').unwrap_or_default();
    let own = own.trim();
    let above = above.lines().rev().map(str::trim);
    (own.is_empty() || own == "async")
        && above
            .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
}

#[test]
fn every_attack_has_tests_and_every_test_that_is_named_exists() {
    let page = fs::read_to_string(root().join("docs/reference/attacks.md")).expect("the page");
    let rows = page
        .lines()
        .filter(|l| l.starts_with("| ") && !l.starts_with("| attacker"));
    let mut count = 0;
    for row in rows {
        let tests = named(row);
        assert!(!tests.is_empty(), "no test: {row}");
        for (file, name) in tests {
            let source = fs::read_to_string(root().join(file));
            let source = source.unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(has_test(&source, name), "{file} has no test {name}");
            count += 1;
        }
    }
    assert!(count >= 60, "{count} tests");
}
