//! Which directories, files and links a version becomes: decided before anything is written, so that a version with an unusable path is refused as a whole.

use std::collections::{BTreeMap, BTreeSet};

/// The longest file name of Linux (`NAME_MAX`), in bytes.
const MAX_COMPONENT: usize = 255;

/// Where the entries of one version go, below the directory that `..data` points to.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Directories to make, parents first, relative to the version's directory.
    pub directories: BTreeSet<String>,
    /// First components of all paths: each becomes a link beside `..data`.
    pub links: BTreeSet<String>,
}

/// Why paths cannot be files.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A name that the layout itself uses.
    #[error(
        "{0:?} cannot be a file: names that start with .. and the name .ready are Polykey's own"
    )]
    Reserved(String),
    /// A component over `NAME_MAX`.
    #[error("{0:?} cannot be a file: a part of it is over {MAX_COMPONENT} bytes")]
    TooLong(String),
    /// A NUL byte.
    #[error("{0:?} cannot be a file: it holds a NUL byte")]
    Nul(String),
    /// A secret and a directory of one name.
    #[error("{0:?} is a secret and a directory at once: rename one of them")]
    FileAndDirectory(String),
}

/// Lays out `paths` (files, and explicit empty directories ending in `/`).
///
/// # Errors
/// The first path that cannot be a file; then the version must not be applied.
pub fn layout<'p>(paths: impl Iterator<Item = &'p str> + Clone) -> Result<Layout, Unusable> {
    let mut directories = BTreeSet::new();
    let mut links = BTreeSet::new();
    for path in paths.clone() {
        check(path)?;
        let first = path.split('/').next().unwrap_or_default();
        links.insert(first.to_owned());
        directories.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
    }
    for path in paths {
        if directories.contains(path) {
            return Err(Unusable::FileAndDirectory(path.to_owned()));
        }
    }
    Ok(Layout { directories, links })
}

fn check(path: &str) -> Result<(), Unusable> {
    let first = path.split('/').next().unwrap_or_default();
    if first.starts_with("..") || first == ".ready" {
        return Err(Unusable::Reserved(path.to_owned()));
    }
    if path.contains('\0') {
        return Err(Unusable::Nul(path.to_owned()));
    }
    if path.split('/').any(|c| c.len() > MAX_COMPONENT) {
        return Err(Unusable::TooLong(path.to_owned()));
    }
    Ok(())
}

/// The lines of an environment file for the kubelet (`fileKeyRef`): `KEY='value'`, and the keys that cannot be written so.
///
/// The format has no way to write a single quote, and takes an empty value for a missing one.
pub fn environment(values: &BTreeMap<&str, &[u8]>) -> (zeroize::Zeroizing<Vec<u8>>, Vec<String>) {
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(
        values.iter().map(|(k, v)| k.len() + v.len() + 4).sum(),
    ));
    let mut unusable = Vec::new();
    for (key, value) in values {
        let key_ok = !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
        let value_ok = !value.is_empty()
            && !value.contains(&b'\'')
            && !value.contains(&0)
            && std::str::from_utf8(value).is_ok();
        if key_ok && value_ok {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"='");
            out.extend_from_slice(value);
            out.extend_from_slice(b"'\n");
        } else {
            unusable.push((*key).to_owned());
        }
    }
    (out, unusable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(paths: &[&str]) -> Result<Layout, Unusable> {
        layout(paths.iter().copied())
    }

    #[test]
    fn every_first_component_is_linked_once_and_every_parent_is_made() {
        let l = of(&["a/b/c", "a/d", "e"]).unwrap();
        assert_eq!(l.links.into_iter().collect::<Vec<_>>(), ["a", "e"]);
        assert_eq!(l.directories.into_iter().collect::<Vec<_>>(), ["a", "a/b"]);
    }

    #[test]
    fn a_version_with_an_unusable_path_is_refused_whole() {
        let long = "x".repeat(256);
        for (paths, error) in [
            (vec!["..data"], Unusable::Reserved("..data".into())),
            (vec!["ok", "..x/y"], Unusable::Reserved("..x/y".into())),
            (vec![".ready"], Unusable::Reserved(".ready".into())),
            (vec!["a", "a/b"], Unusable::FileAndDirectory("a".into())),
            (
                vec!["a/b/c", "a/b"],
                Unusable::FileAndDirectory("a/b".into()),
            ),
            (vec![long.as_str()], Unusable::TooLong(long.clone())),
        ] {
            assert_eq!(of(&paths), Err(error));
        }
    }

    #[test]
    fn an_environment_file_leaves_out_what_it_cannot_say() {
        let values = BTreeMap::from([
            ("a", &b"one two"[..]),
            ("b", b"it's"),
            ("c", b""),
            ("d/e", b"x\ny"),
            ("f", b"\xff"),
        ]);
        let (text, unusable) = environment(&values);
        assert_eq!(&text[..], b"a='one two'\nd/e='x\ny'\n");
        assert_eq!(unusable, ["b", "c", "f"]);
    }

    proptest! {
        #[test]
        fn a_usable_layout_never_leaves_its_directory(paths in proptest::collection::btree_set("[a-c.]{1,3}(/[a-c.]{1,3}){0,3}", 1..8)) {
            if let Ok(l) = layout(paths.iter().map(String::as_str)) {
                for link in &l.links {
                    prop_assert!(!link.starts_with("..") && !link.contains('/'));
                }
                for path in &paths {
                    prop_assert!(!l.directories.contains(path));
                }
            }
        }
    }
}
