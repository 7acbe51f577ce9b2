//! Paths of secrets: which texts are one, and which of them a rule covers. A path is bytes as typed; nothing is normalised here or anywhere else.

/// The most bytes of a path: under every file system's limit once a directory stands before it, and small beside a page of the tree.
pub const MAX_PATH: usize = 512;

/// Which rule a path breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No bytes.
    #[error("the path is empty")]
    Empty,
    /// Over [`MAX_PATH`].
    #[error("the path has {0} bytes; the most is {MAX_PATH}")]
    TooLong(usize),
    /// Starts with `/`.
    #[error("the path starts with `/`; write it without")]
    Absolute,
    /// Ends with `/`.
    #[error("the path ends with `/`: that names a directory, not a secret")]
    Directory,
    /// Two slashes in a row.
    #[error("the path has `//`")]
    EmptyComponent,
    /// A component `.` or `..`.
    #[error("the path has a component `.` or `..`")]
    Dots,
}

/// Checks that `path` can name a secret.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(path: &str) -> Result<(), PathError> {
    match path.len() {
        0 => return Err(PathError::Empty),
        n if n > MAX_PATH => return Err(PathError::TooLong(n)),
        _ => {}
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if path.ends_with('/') && !path.ends_with("//") {
        return Err(PathError::Directory);
    }
    path.split('/').try_for_each(|component| match component {
        "" => Err(PathError::EmptyComponent),
        "." | ".." => Err(PathError::Dots),
        _ => Ok(()),
    })
}

/// Checks that `path` can be a key of a tree: a secret, or an explicit empty directory, which ends in `/`.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_key(path: &str) -> Result<(), PathError> {
    if path.len() > MAX_PATH {
        return Err(PathError::TooLong(path.len()));
    }
    check(path.strip_suffix('/').unwrap_or(path))
}

/// Checks that `rule` can name what may be read: a secret, or a directory and all below it, which ends in `/`.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_rule(rule: &str) -> Result<(), PathError> {
    check_key(rule)
}

/// Whether `rule` covers `path`: one that ends in `/` all below that directory, another one exactly itself. A malformed rule covers nothing.
#[must_use]
pub fn covers(rule: &str, path: &str) -> bool {
    if check_rule(rule).is_err() {
        return false;
    }
    if rule.ends_with('/') {
        path.starts_with(rule)
    } else {
        path == rule
    }
}

/// Whether all that `inner` covers is covered by `outer` too.
#[must_use]
pub fn within(inner: &str, outer: &str) -> bool {
    check_rule(inner).is_ok() && covers(outer, inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_rule_has_a_name() {
        let long = "a".repeat(513);
        for (path, error) in [
            ("", PathError::Empty),
            (long.as_str(), PathError::TooLong(513)),
            ("/a", PathError::Absolute),
            ("/", PathError::Absolute),
            ("a/", PathError::Directory),
            ("a//", PathError::EmptyComponent),
            ("a//b", PathError::EmptyComponent),
            (".", PathError::Dots),
            ("a/../b", PathError::Dots),
        ] {
            assert_eq!(check(path), Err(error), "{path}");
        }
        for path in ["a", "a b/c@d", "…/ünïcode", ".a/..b/...", &"a".repeat(512)] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
        assert_eq!(check_key("a/b/"), Ok(()));
        assert_eq!(check_key("a//"), Err(PathError::Directory));
    }

    #[test]
    fn a_rule_with_a_slash_at_its_end_is_a_directory_and_another_one_secret() {
        for (rule, path, covered) in [
            ("prod/", "prod/a", true),
            ("prod/", "prod/a/b", true),
            ("prod/", "production", false),
            ("prod/", "prod", false),
            ("prod", "prod", true),
            ("prod", "prod/a", false),
            ("", "a", false),
            ("/", "a", false),
            ("a/../", "a/../b", false),
        ] {
            assert_eq!(covers(rule, path), covered, "{rule} {path}");
        }
        assert!(
            within("prod/db/", "prod/") && within("prod/a", "prod/") && within("prod/", "prod/")
        );
        assert!(!within("prod/", "prod/db/") && !within("prod", "prod/") && !within("", ""));
    }

    proptest! {
        #[test]
        fn a_path_that_passes_has_only_plain_components(path in "[a./]{0,12}") {
            let plain = !path.is_empty() && path.split('/').all(|c| !c.is_empty() && c != "." && c != "..");
            prop_assert_eq!(check(&path).is_ok(), plain);
        }

        #[test]
        fn within_means_that_every_covered_path_is_covered(a in "[ab/]{1,4}", b in "[ab/]{1,4}", p in "[ab/]{1,6}") {
            prop_assert!(!(within(&a, &b) && covers(&a, &p)) || covers(&b, &p));
        }
    }
}
