//! The pod's annotations as the kubelet writes them into a downward API file, and what they pin: the ids of the cluster's nodes and of the vaults.
//!
//! They are read once, when the sidecar starts: who may patch pods can change annotations later, and must not thereby change whom a running pod trusts.

use polykey_core::ids::{NodeId, VaultId};
use std::collections::{BTreeMap, BTreeSet};

/// The largest annotations file that is read, in bytes: the API server's own limit for all annotations of an object (256 KiB), quoted at worst twofold.
pub const MAX_ANNOTATIONS: u64 = 512 << 10;

/// What a pod was admitted with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// Nodes that may serve it.
    pub nodes: BTreeSet<NodeId>,
    /// Vault of each PolykeyVault that existed at admission.
    pub vaults: BTreeMap<String, VaultId>,
    /// Secrets that containers take as environment variables, by PolykeyVault: the value of `polykey.io/env`.
    pub environment: BTreeMap<String, BTreeSet<String>>,
}

/// Why annotations cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// A line that is not `key="value"`.
    #[error("line {0} of the annotations file is not KEY=\"VALUE\"")]
    Line(usize),
    /// An id that is none.
    #[error("annotation {0} is not an id")]
    Id(String),
}

/// Reads pins from the text of a downward API file of `metadata.annotations`.
pub fn pins(text: &str) -> Result<Pins, AnnotationError> {
    let mut pins = Pins::default();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty()) {
        let (key, value) = line
            .split_once('=')
            .ok_or(AnnotationError::Line(number + 1))?;
        let value = unquote(value).ok_or(AnnotationError::Line(number + 1))?;
        if key.strip_prefix("nodes.polykey.io/").is_some() {
            pins.nodes.insert(
                value
                    .parse()
                    .map_err(|_| AnnotationError::Id(key.to_owned()))?,
            );
        } else if let Some(name) = key.strip_prefix("vaults.polykey.io/") {
            pins.vaults.insert(
                name.to_owned(),
                value
                    .parse()
                    .map_err(|_| AnnotationError::Id(key.to_owned()))?,
            );
        } else if key == "polykey.io/env" {
            pins.environment = environment(&value);
        }
    }
    Ok(pins)
}

/// `NAME=vault/KEY,…` as keys by vault. What the injection check would have refused is left out.
fn environment(value: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut out = BTreeMap::<String, BTreeSet<String>>::new();
    for item in value.split(',').map(str::trim) {
        if let Some((vault, key)) = item.split_once('=').and_then(|(_, r)| r.split_once('/')) {
            out.entry(vault.to_owned())
                .or_default()
                .insert(key.to_owned());
        }
    }
    out
}

/// Undoes Go's `strconv.Quote`, which the kubelet writes values with.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next()? {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'v' => out.push(11),
            'x' => out.push(u8::try_from(hex(&mut chars, 2)?).ok()?),
            'u' => out.extend_from_slice(
                char::from_u32(hex(&mut chars, 4)?)?
                    .encode_utf8(&mut [0; 4])
                    .as_bytes(),
            ),
            'U' => out.extend_from_slice(
                char::from_u32(hex(&mut chars, 8)?)?
                    .encode_utf8(&mut [0; 4])
                    .as_bytes(),
            ),
            c @ ('"' | '\\' | '\'') => out.push(c as u8),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0u32, |n, _| Some(n << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NODE: &str = "v3nhl5p2cqcpme9cju8pkksoe305aua8dt2da2ra81nip9oqe55gg";
    const VAULT: &str = "z3JF3sEqM796hk5WFqA6EtmEwJQ9quALszsfJyvXNQKy3";

    #[test]
    fn pins_are_found_among_other_annotations() {
        let text = format!(
            "kubectl.kubernetes.io/last-applied=\"{{\\\"a\\\":\\\"b=c\\\"}}\\n\"\nnodes.polykey.io/polykey-0=\"{NODE}\"\npolykey.io/env=\"PGPASSWORD=app/db/password, X=tls/key\"\nvaults.polykey.io/app=\"{VAULT}\"\n"
        );
        let pins = pins(&text).unwrap();
        assert_eq!(
            pins.nodes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [NODE]
        );
        assert_eq!(pins.vaults["app"].to_string(), VAULT);
        assert_eq!(
            pins.environment["app"],
            BTreeSet::from(["db/password".to_owned()])
        );
        assert_eq!(pins.environment["tls"], BTreeSet::from(["key".to_owned()]));
    }

    #[test]
    fn a_pin_that_is_no_id_is_an_error_and_never_no_pin() {
        assert_eq!(
            pins("nodes.polykey.io/a=\"v123\""),
            Err(AnnotationError::Id("nodes.polykey.io/a".into()))
        );
        assert_eq!(
            pins("vaults.polykey.io/a=\"\""),
            Err(AnnotationError::Id("vaults.polykey.io/a".into()))
        );
        assert_eq!(pins("nodes.polykey.io/a"), Err(AnnotationError::Line(1)));
    }

    #[test]
    fn quoting_of_the_kubelet_is_undone() {
        assert_eq!(
            unquote(r#""a\tb\"\\\x7f\u00e9\U0001f600é""#).unwrap(),
            "a\tb\"\\\u{7f}é😀é"
        );
        for bad in [r#""\q""#, r#""\x7""#, r#""\ud800""#, "\"", ""] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = pins(&text);
        }
    }
}
