//! References to secrets: `VAULT:PATH[#FIELD][@VERSION]` as people type them, and `pk://VAULT/PATH[#FIELD][?v=VERSION]` as files, environment and YAML hold them.
//!
//! Pure text: nothing here asks an agent whether the vault, the path or the version exists. Any byte may be percent-encoded; spaces, `@`, slashes and unicode need
//! not be. What a reference prints as can be typed again, and never holds a control character, so a hostile name cannot move a cursor.

mod escape;
mod revision;

pub use escape::{shown, typed_path, typed_vault, url_component};
pub use revision::{MIN_PREFIX, Revision};

use escape::{decode, uri_path, uri_vault};
use polykey_core::path::{self, PathError};
use std::fmt;
use thiserror::Error;

/// The scheme of the form for files.
const SCHEME: &str = "pk://";

/// One secret, at its newest version or at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Name or id of the vault; `None` is the default vault.
    pub vault: Option<String>,
    /// Path in the vault, decoded.
    pub path: String,
    /// Field of a record: sugar for one more path component.
    pub field: Option<String>,
    /// Which version; `None` is the newest.
    pub version: Option<Revision>,
}

/// A vault, or a folder in it: what a listing is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Name or id of the vault; `None` is the default vault.
    pub vault: Option<String>,
    /// Path of a secret or of a folder, without a slash at its end; empty is the whole vault.
    pub path: String,
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// No `:` between vault and path.
    #[error("`{0}` names no secret: write VAULT:PATH")]
    NoPath(String),
    /// Nothing before the `/` of a `pk://` reference.
    #[error("a pk:// reference names its vault: pk://VAULT/PATH")]
    NoVault,
    /// `%` without two hexadecimal digits.
    #[error(
        "`%` starts an encoded byte and two hexadecimal digits must follow; write %25 for the sign itself"
    )]
    Escape,
    /// The decoded bytes are no text.
    #[error("the encoded bytes are not UTF-8")]
    Utf8,
    /// The path breaks a rule of the vault's format; told here, before anything is sent.
    #[error("{0}")]
    Path(#[from] PathError),
    /// A path with a slash at its end where a secret is wanted.
    #[error("`{0}` ends in `/` and so names a folder, not a secret")]
    Folder(String),
    /// More than one unencoded `#`.
    #[error("two `#`: a field has no further field; write %23 for the sign itself")]
    Fields,
    /// Nothing, or a slash, after `#`.
    #[error("a field after `#` has a name without slashes")]
    Field,
    /// What follows `?v=` is no version.
    #[error(
        "`{0}` is no version: give at least {MIN_PREFIX} hexadecimal digits of one, ~1 for the one before, or a time such as 2026-11-20T09:00"
    )]
    Version(String),
    /// Something other than `v=` after `?`.
    #[error("only `?v=VERSION` may follow a pk:// reference; write %3F for the sign itself")]
    Query,
}

impl Reference {
    /// Reads either form.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        let Split {
            vault,
            rest,
            version,
        } = split(text)?;
        let rest = rest.filter(|r| !r.is_empty());
        let rest = rest.ok_or_else(|| ReferenceError::NoPath(shown(text)))?;
        let (path, field) = split_field(rest)?;
        let path = decode(path)?;
        if path.ends_with('/') {
            return Err(ReferenceError::Folder(shown(text)));
        }
        let reference = Reference {
            vault,
            path,
            field,
            version,
        };
        path::check(&reference.full_path())?;
        Ok(reference)
    }

    /// The path with the field as its last component.
    #[must_use]
    pub fn full_path(&self) -> String {
        match &self.field {
            Some(field) => format!("{}/{field}", self.path),
            None => self.path.clone(),
        }
    }

    /// The form for files: `pk://VAULT/PATH[#FIELD][?v=VERSION]`. `default` is the vault of a reference that names none.
    #[must_use]
    pub fn to_uri(&self, default: &str) -> String {
        let vault = self.vault.as_deref().unwrap_or(default);
        let mut out = format!("{SCHEME}{}/{}", uri_vault(vault), uri_path(&self.path));
        if let Some(field) = &self.field {
            out.push('#');
            out.push_str(&uri_path(field));
        }
        if let Some(version) = &self.version {
            out.push_str("?v=");
            out.push_str(&version.to_string());
        }
        out
    }
}

/// The form that people type.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = typed_path(&self.path);
        if let Some(field) = &self.field {
            rest.push('#');
            rest.push_str(&typed_path(field));
        }
        if let Some(version) = &self.version {
            rest = format!("{rest}@{version}");
        } else if let (head, Some(tail)) = split_version(&rest) {
            rest = format!("{head}%40{tail}");
        }
        write!(
            f,
            "{}:{rest}",
            typed_vault(self.vault.as_deref().unwrap_or(""))
        )
    }
}

impl Scope {
    /// Reads `VAULT`, `VAULT:PATH`, `:PATH`, `pk://VAULT` or `pk://VAULT/PATH`; a slash at the end is left away.
    pub fn parse(text: &str) -> Result<Scope, ReferenceError> {
        let (vault, rest) = match text.strip_prefix(SCHEME) {
            Some(rest) => {
                let (vault, path) = rest.split_once('/').unwrap_or((rest, ""));
                if vault.is_empty() {
                    return Err(ReferenceError::NoVault);
                }
                (vault, path)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let (path, field) = split_field(rest)?;
        let mut path = decode(path)?;
        if let Some(field) = field {
            path = format!("{path}/{field}");
        }
        let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
        if !path.is_empty() {
            path::check(&path)?;
        }
        let vault = decode(vault)?;
        Ok(Scope {
            vault: Some(vault).filter(|v| !v.is_empty()),
            path,
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&typed_vault(self.vault.as_deref().unwrap_or("")))?;
        if self.path.is_empty() {
            return Ok(());
        }
        write!(f, ":{}", typed_path(&self.path))
    }
}

struct Split<'a> {
    vault: Option<String>,
    rest: Option<&'a str>,
    version: Option<Revision>,
}

fn split(text: &str) -> Result<Split<'_>, ReferenceError> {
    match text.strip_prefix(SCHEME) {
        Some(rest) => split_uri(rest),
        None => split_typed(text),
    }
}

fn split_typed(text: &str) -> Result<Split<'_>, ReferenceError> {
    let Some((vault, rest)) = text.split_once(':') else {
        return Ok(Split {
            vault: Some(decode(text)?),
            rest: None,
            version: None,
        });
    };
    let (rest, version) = split_version(rest);
    let vault = Some(decode(vault)?).filter(|v| !v.is_empty());
    Ok(Split {
        vault,
        rest: Some(rest),
        version: version.and_then(Revision::parse),
    })
}

fn split_uri(rest: &str) -> Result<Split<'_>, ReferenceError> {
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, None), |(r, q)| (r, Some(q)));
    let version = match query {
        Some(query) => Some(query_version(query)?),
        None => None,
    };
    let (vault, path) = rest
        .split_once('/')
        .map_or((rest, None), |(v, p)| (v, Some(p)));
    if vault.is_empty() {
        return Err(ReferenceError::NoVault);
    }
    Ok(Split {
        vault: Some(decode(vault)?),
        rest: path,
        version,
    })
}

fn query_version(query: &str) -> Result<Revision, ReferenceError> {
    let text = query.strip_prefix("v=").ok_or(ReferenceError::Query)?;
    Revision::parse(text).ok_or_else(|| ReferenceError::Version(shown(text)))
}

/// Splits at the last `@`, and only when a version follows: `mail/ben@example.com` is a path.
fn split_version(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('@') {
        Some((head, tail)) if Revision::parse(tail).is_some() => (head, Some(tail)),
        _ => (text, None),
    }
}

fn split_field(text: &str) -> Result<(&str, Option<String>), ReferenceError> {
    let Some((path, field)) = text.split_once('#') else {
        return Ok((text, None));
    };
    if field.contains('#') {
        return Err(ReferenceError::Fields);
    }
    let field = decode(field)?;
    if field.is_empty() || field.contains('/') {
        return Err(ReferenceError::Field);
    }
    Ok((path, Some(field)))
}

#[cfg(test)]
mod tests {
    use super::escape::{is_direction, push_encoded};
    use super::*;
    use polykey_core::path::MAX_PATH;
    use proptest::prelude::*;

    fn parse(text: &str) -> Reference {
        Reference::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn parts(text: &str) -> (String, String, String, String) {
        let r = parse(text);
        let version = r.version.map(|v| v.to_string()).unwrap_or_default();
        (
            r.vault.unwrap_or_default(),
            r.path,
            r.field.unwrap_or_default(),
            version,
        )
    }

    fn strings(a: &str, b: &str, c: &str, d: &str) -> (String, String, String, String) {
        (a.into(), b.into(), c.into(), d.into())
    }

    #[test]
    fn both_forms_name_vault_path_field_and_version() {
        assert_eq!(parts("app:prod/db"), strings("app", "prod/db", "", ""));
        assert_eq!(
            parts("app:prod/db#password@3f9ab0"),
            strings("app", "prod/db", "password", "3f9ab0")
        );
        assert_eq!(parts(":db@~1"), strings("", "db", "", "~1"));
        assert_eq!(
            parts("app:db@2026-11-20T09:00"),
            strings("app", "db", "", "2026-11-20T09:00")
        );
        assert_eq!(
            parts("pk://app/prod/db#password?v=3f9ab0c41d7e"),
            strings("app", "prod/db", "password", "3f9ab0c41d7e")
        );
    }

    #[test]
    fn an_at_sign_splits_only_before_a_version() {
        assert_eq!(
            parts("personal:mail/ben@example.com"),
            strings("personal", "mail/ben@example.com", "", "")
        );
        assert_eq!(
            parts("personal:mail/ben@example.com@3f9ab0"),
            strings("personal", "mail/ben@example.com", "", "3f9ab0")
        );
        assert_eq!(parts("a:user@facade"), strings("a", "user", "", "facade"));
        assert_eq!(
            parts("a:user%40facade"),
            strings("a", "user@facade", "", "")
        );
        assert_eq!(parts("a:x@12345"), strings("a", "x@12345", "", ""));
        assert_eq!(parts("a:x@~"), strings("a", "x@~", "", ""));
        assert_eq!(parts("a:x@~+1"), strings("a", "x@~+1", "", ""));
    }

    #[test]
    fn spaces_unicode_and_encoded_bytes_are_accepted() {
        assert_eq!(
            parts("my vault:Größe/a b"),
            strings("my vault", "Größe/a b", "", "")
        );
        assert_eq!(parts("a%3Ab:c%23d%25"), strings("a:b", "c#d%", "", ""));
        assert_eq!(parts("pk://a%2Fb/c%3Fd"), strings("a/b", "c?d", "", ""));
    }

    #[test]
    fn each_mistake_has_its_error() {
        let cases = [
            ("app", ReferenceError::NoPath("app".into())),
            ("app:", ReferenceError::NoPath("app:".into())),
            ("pk://app", ReferenceError::NoPath("pk://app".into())),
            ("pk:///x", ReferenceError::NoVault),
            ("app:100%", ReferenceError::Escape),
            ("app:%zz", ReferenceError::Escape),
            ("app:%ff", ReferenceError::Utf8),
            ("app:a//b", ReferenceError::Path(PathError::EmptyComponent)),
            ("app:../b", ReferenceError::Path(PathError::Dots)),
            ("app:a/./b", ReferenceError::Path(PathError::Dots)),
            ("app:%2e%2e", ReferenceError::Path(PathError::Dots)),
            ("app:a/", ReferenceError::Folder("app:a/".into())),
            ("app:a#b#c", ReferenceError::Fields),
            ("app:a#", ReferenceError::Field),
            ("app:a#b/c", ReferenceError::Field),
            ("pk://app/a?v=xyz", ReferenceError::Version("xyz".into())),
            ("pk://app/a?w=1", ReferenceError::Query),
        ];
        for (text, error) in cases {
            assert_eq!(Reference::parse(text), Err(error), "{text}");
        }
        let long = format!("app:{}", "x".repeat(MAX_PATH + 1));
        assert_eq!(
            Reference::parse(&long),
            Err(ReferenceError::Path(PathError::TooLong(MAX_PATH + 1)))
        );
        assert!(Reference::parse(&format!("app:{}", "x".repeat(MAX_PATH))).is_ok());
    }

    #[test]
    fn a_scope_is_a_vault_or_a_folder_in_it() {
        let scope = |vault: &str, path: &str| {
            let vault = Some(vault.to_owned()).filter(|v| !v.is_empty());
            Ok(Scope {
                vault,
                path: path.to_owned(),
            })
        };
        assert_eq!(Scope::parse("app"), scope("app", ""));
        assert_eq!(Scope::parse("app:"), scope("app", ""));
        assert_eq!(Scope::parse("app:prod/"), scope("app", "prod"));
        assert_eq!(Scope::parse(":prod"), scope("", "prod"));
        assert_eq!(Scope::parse("pk://app/prod/db"), scope("app", "prod/db"));
        assert_eq!(Scope::parse("app:db#password"), scope("app", "db/password"));
        assert_eq!(
            Scope::parse("app:a//"),
            Err(ReferenceError::Path(PathError::Directory))
        );
    }

    #[test]
    fn a_hostile_name_is_shown_without_its_control_characters() {
        let reference = Reference {
            vault: Some("a".into()),
            path: "x\u{1b}[2J\u{202e}\ty".into(),
            field: None,
            version: None,
        };
        assert_eq!(reference.to_string(), "a:x%1B[2J%E2%80%AE%09y");
        assert_eq!(parse(&reference.to_string()), reference);
    }

    fn component() -> impl Strategy<Value = String> {
        "[^/\0]{1,12}".prop_filter("not a dot name", |c| c != "." && c != "..")
    }

    fn revision() -> impl Strategy<Value = Revision> {
        prop_oneof![
            "[0-9a-f]{6,64}".prop_map(Revision::Id),
            any::<u32>().prop_map(Revision::Back),
            "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
                .prop_map(Revision::At),
        ]
    }

    fn reference() -> impl Strategy<Value = Reference> {
        let path = prop::collection::vec(component(), 1..4).prop_map(|c| c.join("/"));
        let tail = prop_oneof![
            Just(String::new()),
            Just("@facade".to_owned()),
            Just("@~1".to_owned())
        ];
        let path = (path, tail).prop_map(|(path, tail)| path + &tail);
        let vault = "\\PC{1,12}".prop_filter("not the scheme", |v| !v.is_empty());
        (
            vault,
            path,
            prop::option::of(component()),
            prop::option::of(revision()),
        )
            .prop_map(|(vault, path, field, version)| Reference {
                vault: Some(vault),
                path,
                field,
                version,
            })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_in_both_forms(reference in reference()) {
            prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference.clone()));
            prop_assert_eq!(Reference::parse(&reference.to_uri("")), Ok(reference.clone()));
        }

        #[test]
        fn what_is_printed_holds_no_control_character(reference in reference()) {
            prop_assert!(!reference.to_string().chars().any(|c| c.is_control() || is_direction(c)));
            prop_assert!(!reference.to_uri("").chars().any(|c| c.is_control() || c.is_whitespace()));
        }

        #[test]
        fn every_byte_may_be_encoded(path in component()) {
            let mut text = "a:".to_owned();
            path.bytes().for_each(|b| push_encoded(&mut text, b));
            prop_assert_eq!(parse(&text).path, path);
        }

        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_prints_the_same(text in ".{0,40}|(a|pk://|[:/#@?v=~%0-9a-f-]){1,20}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference.clone()));
            }
            if let Ok(scope) = Scope::parse(&text) {
                prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope.clone()));
            }
        }
    }
}
