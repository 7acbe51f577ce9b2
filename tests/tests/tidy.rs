//! The lines that the design draws between parts, held by reading the source: who may name which crate, which types show nothing, who asks before answering.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ has a parent")
        .to_path_buf()
}

/// Every Rust source of the products (no tests crate), with its path from the root.
fn sources(below: &[&str]) -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.expect("a directory entry").path();
            if path.is_dir() {
                if !matches!(
                    path.file_name().and_then(|n| n.to_str()),
                    Some("target" | "fuzz")
                ) {
                    walk(&path, out);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    for dir in below {
        walk(&root().join(dir), &mut paths);
    }
    assert!(!paths.is_empty(), "no source below {below:?}");
    paths
        .into_iter()
        .map(|p| {
            (
                p.strip_prefix(root())
                    .expect("below the root")
                    .display()
                    .to_string(),
                fs::read_to_string(&p).expect("source is UTF-8"),
            )
        })
        .collect()
}

/// A source without its comments and without its `#[cfg(test)] mod tests` at the end.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    body.lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// True when `name` stands in `text` as a path root: `name::` not preceded by an identifier character.
fn names_crate(text: &str, name: &str) -> bool {
    let needle = format!("{name}::");
    text.match_indices(&needle)
        .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

fn only_in(name: &str, below: &[&str], allowed: impl Fn(&str) -> bool) {
    let offenders: Vec<String> = sources(below)
        .into_iter()
        .filter(|(path, text)| !allowed(path) && names_crate(&code(text), name))
        .map(|(path, _)| path)
        .collect();
    assert!(offenders.is_empty(), "{name} is named in {offenders:?}");
}

const PRODUCTS: &[&str] = &[
    "node/core/src",
    "node/client/src",
    "node/src",
    "operator/src",
    "sidecar/src",
];

#[test]
fn sled_is_named_in_one_file() {
    only_in("sled", PRODUCTS, |p| p == "node/src/store/database.rs");
}

#[test]
fn quinn_is_named_in_one_module_of_the_node() {
    only_in("quinn", PRODUCTS, |p| {
        p == "node/src/net.rs" || p.starts_with("node/src/net/")
    });
}

#[test]
fn kubernetes_is_known_to_the_operator_alone() {
    for name in ["kube", "k8s_openapi"] {
        only_in(name, PRODUCTS, |p| p.starts_with("operator/"));
    }
}

#[test]
fn core_has_no_runtime_files_clock_or_randomness() {
    for (path, text) in sources(&["node/core/src"]) {
        let code = code(&text);
        for banned in [
            "tokio::",
            "std::fs",
            "std::net",
            "SystemTime",
            "Instant::now",
            "getrandom::",
            "thread_rng",
            "OsRng",
        ] {
            assert!(!code.contains(banned), "{path} uses {banned}");
        }
    }
}

#[test]
fn crates_depend_in_one_direction() {
    let manifest = |p: &str| fs::read_to_string(root().join(p)).expect("a manifest");
    let depends = |p: &str, on: &str| {
        manifest(p)
            .lines()
            .any(|l| l.starts_with(&format!("{on}.")) || l.starts_with(&format!("{on} ")))
    };
    for (who, never) in [
        (
            "node/core/Cargo.toml",
            &[
                "polykey-client",
                "polykey",
                "polykey-operator",
                "polykey-sidecar",
                "tokio",
                "kube",
            ][..],
        ),
        (
            "node/client/Cargo.toml",
            &["polykey", "polykey-operator", "polykey-sidecar", "kube"],
        ),
        (
            "node/Cargo.toml",
            &["polykey-operator", "polykey-sidecar", "kube", "k8s-openapi"],
        ),
        (
            "operator/Cargo.toml",
            &["polykey", "polykey-sidecar", "sled", "quinn"],
        ),
        (
            "sidecar/Cargo.toml",
            &[
                "polykey",
                "polykey-operator",
                "kube",
                "k8s-openapi",
                "sled",
                "quinn",
            ],
        ),
    ] {
        for on in never {
            assert!(!depends(who, on), "{who} depends on {on}");
        }
    }
}

/// Types that hold plaintext or keys, with their files. Each must be declared there, and none may be printable, copyable by accident or serialisable as JSON.
const SECRET_TYPES: &[(&str, &str)] = &[
    ("node/client/src/api.rs", "Secret"),
    ("node/client/src/api.rs", "Edits"),
    ("node/client/src/api.rs", "Recovery"),
    ("node/client/src/api.rs", "Unlock"),
    ("node/client/src/api.rs", "KeyRequest"),
    ("node/client/src/watch.rs", "Frame"),
    ("node/client/src/watch.rs", "Content"),
    ("node/client/src/watch.rs", "Sealed"),
    ("node/client/src/watch.rs", "Files"),
    ("node/client/src/watch.rs", "File"),
    ("node/core/src/keys.rs", "RootKey"),
    ("node/core/src/keys.rs", "Words"),
    ("node/core/src/row.rs", "RowKey"),
    ("node/core/src/seal.rs", "ObjectKeys"),
    ("node/core/src/epoch.rs", "EpochSecret"),
    ("node/core/src/epoch.rs", "ShapeKey"),
];

#[test]
fn types_that_hold_secrets_have_no_debug_clone_or_serialize() {
    for (path, name) in SECRET_TYPES {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        let lines: Vec<&str> = text.lines().collect();
        let at = lines.iter().position(|l| declared(l) == Some(name));
        let at =
            at.unwrap_or_else(|| panic!("{name} is not declared in {path}, so it is not held"));
        let above = lines[..at]
            .iter()
            .rev()
            .take_while(|l| l.starts_with("#[") || l.starts_with("///"));
        for derive in above.filter(|l| l.starts_with("#[derive")) {
            for banned in ["Debug", "Clone", "Serialize"] {
                assert!(!derive.contains(banned), "{path}: {name} derives {banned}");
            }
        }
    }
}

/// The name in a line `pub struct Name…` or `pub enum Name…`.
fn declared(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub ")?;
    let rest = rest
        .strip_prefix("struct ")
        .or_else(|| rest.strip_prefix("enum "))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

#[test]
fn every_label_is_used_once() {
    let labels = fs::read_to_string(root().join("node/core/src/labels.rs")).expect("labels.rs");
    let strings: Vec<&str> = labels
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .filter_map(|l| l.split('"').nth(1))
        .filter(|s| s.starts_with("polykey/1"))
        .collect();
    assert!(
        strings.len() >= 15,
        "labels.rs lists the domain separation strings"
    );
    assert_eq!(
        strings.iter().collect::<BTreeSet<_>>().len(),
        strings.len(),
        "a label stands twice in labels.rs"
    );
    for (path, text) in sources(PRODUCTS) {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        if path != "node/core/src/labels.rs" && !path.starts_with("node/src/net") && !is_test {
            assert!(
                !code(&text).contains("\"polykey/1"),
                "{path} writes a label of its own"
            );
        }
    }
}

#[test]
fn unsafe_code_is_nowhere() {
    for (path, text) in sources(PRODUCTS) {
        assert!(
            !names_word(&code(&text), "unsafe"),
            "{path} has unsafe code"
        );
    }
}

fn names_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let boundary = |c: char| !(c.is_alphanumeric() || c == '_');
        text[..at].chars().next_back().is_none_or(boundary)
            && text[at + word.len()..].chars().next().is_none_or(boundary)
    })
}

#[test]
fn the_lock_file_holds_none_of_the_crates_that_were_decided_against() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    for banned in [
        "aws-lc-rs",
        "aws-lc-sys",
        "openssl-sys",
        "native-tls",
        "cmake",
        "prost",
        "protobuf",
        "rsa",
        "chrono",
    ] {
        assert!(
            !lock.contains(&format!("name = \"{banned}\"\n")),
            "{banned} is in Cargo.lock"
        );
    }
}

#[test]
fn the_top_level_holds_what_the_layout_names_and_nothing_else() {
    let output = std::process::Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .expect("git");
    let top: BTreeSet<String> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .filter_map(|l| l.split('/').next())
        .map(str::to_owned)
        .collect();
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "node",
        "operator",
        "sidecar",
        "charts",
        "crds",
        "tests",
        "docs",
    ];
    for name in &top {
        assert!(
            allowed.contains(&name.as_str()) || name.starts_with('.'),
            "{name} is at the top level"
        );
    }
}

#[test]
fn nothing_reads_outside_the_repository() {
    for (path, text) in sources(&["node", "operator", "sidecar", "tests"]) {
        assert!(
            path == "tests/tests/tidy.rs" || !text.contains("../shared"),
            "{path} reads ../shared"
        );
    }
}
