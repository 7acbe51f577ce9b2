//! Stable names for what differs from run to run: `[NODE1]` for a whole node id, `[node1]` for its short form, `[node1+]` for its first characters.

use std::fmt::Write;
use std::path::Path;

/// The names given so far.
pub struct Names {
    dir: String,
    nodes: Vec<String>,
    vaults: Vec<String>,
    versions: Vec<String>,
    ports: Vec<String>,
}

impl Names {
    /// None yet; `dir` is shown as `[DIR]`.
    pub fn new(dir: &Path) -> Names {
        let dir = dir.to_string_lossy().into_owned();
        Names {
            dir,
            nodes: Vec::new(),
            vaults: Vec::new(),
            versions: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// The text with stable names, and the exit status as a last line when it is none of success.
    pub fn replace(&mut self, text: &str, status: i32) -> String {
        let text = text.replace(&self.dir, "[DIR]");
        let mut out = String::new();
        for word in words(&text) {
            out.push_str(&self.named(word));
        }
        let mut out = steady_times(&out);
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str("[no newline]\n");
        }
        if status != 0 {
            let _ = writeln!(out, "? {status}");
        }
        out
    }

    fn named(&mut self, word: &str) -> String {
        let base32 = |w: &str| {
            w.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b))
        };
        let hex = |w: &str| {
            w.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let length = word.chars().count();
        match word.chars().next() {
            Some('v') if length == 9 && word.contains('…') => {
                format!("[node{}]", number(&mut self.nodes, &word[..4]))
            }
            Some('v') if length == 53 && base32(word) => {
                format!("[NODE{}]", number(&mut self.nodes, &word[..4]))
            }
            Some('v')
                if length == 12
                    && base32(word)
                    && self.nodes.iter().any(|n| word.starts_with(n.as_str())) =>
            {
                format!("[node{}+]", number(&mut self.nodes, &word[..4]))
            }
            Some('z') if length == 9 && word.contains('…') => {
                format!("[vault{}]", number(&mut self.vaults, &word[..4]))
            }
            Some('z') if (40..=45).contains(&length) => {
                format!("[VAULT{}]", number(&mut self.vaults, &word[..4]))
            }
            Some(_) if length == 64 && hex(word) => {
                format!("[VERSION{}]", number(&mut self.versions, &word[..12]))
            }
            Some(_) if length == 12 && hex(word) => {
                format!("[version{}]", number(&mut self.versions, &word[..12]))
            }
            Some(_)
                if word.len() == 5
                    && word.bytes().all(|b| b.is_ascii_digit())
                    && word > "10000"
                    && word != "65535" =>
            {
                format!("[PORT{}]", number(&mut self.ports, word))
            }
            _ => word.to_owned(),
        }
    }
}

fn number(known: &mut Vec<String>, key: &str) -> usize {
    let at = known.iter().position(|k| k == key).unwrap_or_else(|| {
        known.push(key.to_owned());
        known.len() - 1
    });
    at + 1
}

/// Runs of letters, digits and `…`, and what is between them, one after another.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let inside = |c: char| c.is_alphanumeric() || c == '…';
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest
            .find(|c| inside(c) != inside(first))
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

/// Ages and instants: `3 s ago` is `just now`, `2026-11-24T09:12:03.12Z` is `[TIME]`, the name of a socket is `[SOCKET]`, the size of a store `[SIZE]`.
fn steady_times(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| sizes(&socket(&ages(&instants(line)))))
        .collect()
}

fn instants(line: &str) -> String {
    let mut out = line.to_owned();
    let is_instant = |w: &str| {
        w.len() >= 20
            && w.ends_with('Z')
            && w.as_bytes()[4] == b'-'
            && w.as_bytes()[10] == b'T'
            && w.starts_with("20")
    };
    for word in line
        .split(|c: char| c.is_whitespace() || "\",".contains(c))
        .filter(|w| w.is_ascii() && is_instant(w))
    {
        out = out.replace(word, "[TIME]");
    }
    out
}

fn ages(line: &str) -> String {
    let mut out = line.to_owned();
    for seconds in (0..120).rev() {
        out = out
            .replace(&format!(" {seconds} s ago"), " just now")
            .replace(&format!("up {seconds} s"), "up [N] s");
        out = out.replace(
            &format!("uptimeSeconds\": {seconds},"),
            "uptimeSeconds\": [N],",
        );
    }
    out
}

/// What a store takes depends on how its files grew.
fn sizes(line: &str) -> String {
    let Some((before, after)) = line.split_once("\"storeBytes\": ") else {
        return match line.split_once("   unlocked by ") {
            Some((store, method)) if line.starts_with("store ") => {
                let store = store.rsplit_once("   ").map_or(store, |(path, _)| path);
                format!("{store}   [SIZE]   unlocked by {method}")
            }
            _ => line.to_owned(),
        };
    };
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}\"storeBytes\": [N]{rest}")
}

fn socket(line: &str) -> String {
    let Some(end) = line.find(".sock") else {
        return line.to_owned();
    };
    let start = line[..end].rfind('/').map_or(0, |at| at + 1);
    format!("{}[SOCKET]{}", &line[..start], &line[end + ".sock".len()..])
}
