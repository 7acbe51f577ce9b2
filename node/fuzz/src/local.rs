//! What a node's own people, workloads and nodes send over the local API, what they type, and the tokens and certificates by which they are known.

use polykey::peers::address::PeerAddress;
use polykey::workload::{self, Expected, KeySet};
use polykey_client::access::{AccessReply, AccessSet};
use polykey_client::api::{self, Edits};
use polykey_client::error::ApiError;
use polykey_client::reference::{Reference, Revision, Scope};
use polykey_client::tls;
use polykey_client::watch::{Frame, MAX_FRAME};
use polykey_core::enc;
use polykey_core::ids::{CommitId, EpochId, NodeId, VaultId};
use polykey_core::keys::Words;
use polykey_core::path;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::OnceLock;

/// A change, as the socket takes it. What is read is written the same.
pub fn edits(bytes: &[u8]) {
    if let Ok(edits) = enc::decode::<Edits>(bytes) {
        assert_eq!(enc::encode(&edits), bytes);
    }
}

/// The JSON of a request; the first byte says which.
pub fn api_request(bytes: &[u8]) {
    let Some((first, json)) = bytes.split_first() else {
        return;
    };
    match first % 6 {
        0 => json_again::<api::VaultName>(json),
        1 => json_again::<api::GrantRequest>(json),
        2 => json_again::<api::PeerRequest>(json),
        3 => json_again::<api::Ack>(json),
        4 => json_again::<api::Caveat>(json),
        _ => {
            json_again::<AccessSet>(json);
            if let Ok(set) = serde_json::from_slice::<AccessSet>(json) {
                let sealed = set.sealed();
                assert_eq!(sealed.set, sealed.digest());
            }
        }
    }
}

/// The JSON of an answer, which a client reads; the first byte says which.
pub fn api_answer(bytes: &[u8]) {
    let Some((first, json)) = bytes.split_first() else {
        return;
    };
    match first % 8 {
        0 => json_again::<api::Status>(json),
        1 => json_again::<api::Members>(json),
        2 => json_again::<api::Entries>(json),
        3 => json_again::<api::Log>(json),
        4 => json_again::<api::Consumers>(json),
        5 => json_again::<api::GrantReply>(json),
        6 => json_again::<AccessReply>(json),
        _ => json_again::<ApiError>(json),
    }
}

/// What was read and is written is read again as the same.
fn json_again<T: DeserializeOwned + Serialize>(json: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(json) {
        let written = serde_json::to_vec(&value).expect("plain data is always JSON");
        let again: T = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(serde_json::to_vec(&again).ok().as_ref(), Some(&written));
    }
}

/// The stream of a watch, as it comes from a socket in two parts.
pub fn watch_stream(bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut buffer = Vec::new();
    for part in [first, second] {
        buffer.extend_from_slice(part);
        while let Ok(Some(frame)) = Frame::split(&mut buffer) {
            let written = frame.to_bytes();
            assert!(written.len() <= 4 + MAX_FRAME);
            assert!(
                bytes.windows(written.len()).any(|w| w == written),
                "what is read is written the same"
            );
        }
    }
}

/// A reference as people type it or files hold it: what it prints as is the same reference.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(reference) = Reference::parse(text) {
        assert!(path::check(&reference.full_path()).is_ok());
        let typed = reference.to_string();
        assert!(!typed.chars().any(char::is_control), "{typed:?}");
        assert_eq!(
            Reference::parse(&typed).as_ref(),
            Ok(&reference),
            "{typed:?}"
        );
        let named = Reference {
            vault: reference.vault.clone().or(Some("default".to_owned())),
            ..reference
        };
        let uri = named.to_uri("default");
        assert_eq!(Reference::parse(&uri).as_ref(), Ok(&named), "{uri:?}");
    }
    if let Ok(scope) = Scope::parse(text) {
        let typed = scope.to_string();
        assert_eq!(Scope::parse(&typed).as_ref(), Ok(&scope), "{typed:?}");
    }
    if let Some(revision) = Revision::parse(text) {
        let _ = revision.to_string();
    }
}

/// Texts of ids, addresses, paths and words.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    same_text::<NodeId>(text);
    same_text::<VaultId>(text);
    same_text::<CommitId>(text);
    same_text::<EpochId>(text);
    if let Ok(address) = text.parse::<PeerAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(words) = Words::parse(text) {
        assert!(Words::parse(words.as_str()).is_ok());
    }
    let (rule, path) = text.split_once('\n').unwrap_or((text, text));
    if path::covers(rule, path) {
        assert!(path.starts_with(rule));
    }
    let _ = (
        path::check(path),
        path::check_key(path),
        path::within(rule, path),
    );
}

fn same_text<T: FromStr + Display>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
    }
}

/// A workload's token: as it came, and its pieces (header, claims) signed by the issuer.
pub fn token(bytes: &[u8]) {
    static ISSUER: OnceLock<(Ed25519KeyPair, KeySet)> = OnceLock::new();
    let (key, keys) = ISSUER.get_or_init(|| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).expect("a seed of 32 bytes");
        let x = base64url(key.public_key().as_ref());
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"{x}"}}]}}"#);
        let keys = KeySet::parse(set.as_bytes()).expect("a key set");
        (key, keys)
    });
    let expected = Expected {
        issuer: "https://issuer",
        audience: "polykey",
        now: 1_800_000_000,
    };
    if let Ok(token) = std::str::from_utf8(bytes) {
        assert!(
            workload::verify(token, keys, &expected).is_err(),
            "nobody signed it"
        );
    }
    let mut pieces = super::pieces(bytes);
    let (Some(header), Some(claims)) = (pieces.next(), pieces.next()) else {
        return;
    };
    let message = format!("{}.{}", base64url(header), base64url(claims));
    let signed = format!(
        "{message}.{}",
        base64url(key.sign(message.as_bytes()).as_ref())
    );
    if let Ok(identity) = workload::verify(&signed, keys, &expected) {
        assert!(
            !identity.pod.is_empty()
                && !identity.pod_uid.is_empty()
                && !identity.namespace.is_empty()
        );
        assert!(identity.expires > expected.now - 60);
    }
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            out.push(DIGITS[(group >> (18 - 6 * at) & 63) as usize] as char);
        }
    }
    out
}

/// The key set of a token issuer.
pub fn key_set(bytes: &[u8]) {
    if let Ok(keys) = KeySet::parse(bytes) {
        assert!(keys.count() > 0);
    }
}

/// The certificate of the other end of a TLS connection.
pub fn leaf(bytes: &[u8]) {
    let _ = tls::node_of(&CertificateDer::from(bytes));
}
