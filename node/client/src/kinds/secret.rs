//! Secrets at one version of their vault. [`SecretValue`] is the only document that holds a value.

use super::{By, from_millis};
use crate::api;
use crate::reference::{Reference, Revision};
use base64::Engine;
use jiff::Timestamp;
use polykey_core::ids::CommitId;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

/// One secret, without its value.
#[derive(Serialize)]
pub struct Secret {
    /// The reference for files.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Path in the vault.
    pub path: String,
    /// Bytes of its value.
    pub size: u64,
    /// File mode in pods, four octal digits.
    pub mode: String,
    /// The version that wrote it.
    pub version: Option<CommitId>,
    /// When it was written.
    pub changed: Option<Timestamp>,
    /// Who wrote it.
    pub by: Option<By>,
    /// Several concurrent values: the newest is shown.
    pub conflict: bool,
}

impl Secret {
    /// One entry of a listing of the vault called `vault`.
    #[must_use]
    pub fn of(vault: &str, entry: api::Entry) -> Self {
        let path = entry.path;
        let reference = Reference {
            vault: Some(vault.to_owned()),
            path,
            field: None,
            version: None,
        };
        Secret {
            reference: reference.to_uri(vault),
            path: reference.path,
            size: entry.size,
            mode: format!("{:04o}", entry.mode),
            version: entry.version,
            changed: entry.changed_ms.and_then(from_millis),
            by: entry.by.map(|id| By { id }),
            conflict: entry.conflict,
        }
    }
}

/// One secret with its value. Made for printing on request only, hence neither `Debug` nor `Clone`.
#[derive(Serialize)]
pub struct SecretValue {
    /// The reference for files, with the version.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The version that was read.
    pub version: CommitId,
    /// `utf-8`, or `base64` for bytes that are no text.
    pub encoding: &'static str,
    /// The value in that encoding.
    #[serde(serialize_with = "text")]
    pub value: Zeroizing<String>,
}

impl SecretValue {
    /// A value for printing: as text when it is UTF-8, else in base64.
    #[must_use]
    pub fn of(reference: String, version: CommitId, bytes: &[u8]) -> Self {
        let (encoding, value) = match std::str::from_utf8(bytes) {
            Ok(text) => ("utf-8", text.to_owned()),
            Err(_) => (
                "base64",
                base64::engine::general_purpose::STANDARD.encode(bytes),
            ),
        };
        SecretValue {
            reference,
            version,
            encoding,
            value: Zeroizing::new(value),
        }
    }
}

fn text<S: Serializer>(value: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

/// One of several values that stand side by side at a path, until someone writes it.
#[derive(Serialize)]
pub struct Conflict {
    /// The reference for files of this value: with the version that wrote it.
    #[serde(rename = "ref")]
    pub reference: String,
    /// Path in the vault.
    pub path: String,
    /// It is the newest: the one that is shown.
    pub shown: bool,
    /// Bytes of the value.
    pub size: u64,
    /// The version that wrote it.
    pub version: Option<CommitId>,
    /// When it was written.
    pub changed: Option<Timestamp>,
    /// Who wrote it.
    pub by: Option<By>,
}

impl Conflict {
    /// The values of one path of the vault called `vault`.
    #[must_use]
    pub fn all_of(vault: &str, conflict: api::Conflict) -> Vec<Conflict> {
        let path = conflict.path;
        let value = |(at, value): (usize, api::ConflictValue)| Conflict {
            reference: Reference {
                vault: Some(vault.to_owned()),
                path: path.clone(),
                field: None,
                version: value.version.map(|v| Revision::Id(v.to_string())),
            }
            .to_uri(vault),
            path: path.clone(),
            shown: at == 0,
            size: value.size,
            version: value.version,
            changed: value.changed_ms.and_then(from_millis),
            by: value.by.map(|id| By { id }),
        };
        conflict.values.into_iter().enumerate().map(value).collect()
    }
}
