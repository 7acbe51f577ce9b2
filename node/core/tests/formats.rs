//! The formats reference quotes the vectors that the code is held to, all of them, and no others.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/formats.md");
    fs::read_to_string(path).expect("docs/reference/formats.md")
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).expect("vectors")
}

fn texts(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(out.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, out)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, out)),
        _ => {}
    }
}

/// Runs of letters and digits that are nothing but bytes: a word is shorter.
fn quoted(page: &str) -> Vec<&str> {
    page.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|run| run.len() >= 24 && run.bytes().all(|b| b.is_ascii_hexdigit()))
        .collect()
}

#[test]
fn the_page_quotes_no_bytes_but_those_of_the_vectors() {
    let mut known = BTreeSet::new();
    texts(&vectors(), &mut known);
    let page = page();
    let quoted = quoted(&page);
    assert!(quoted.len() >= 25, "{} vectors", quoted.len());
    for bytes in quoted {
        assert!(known.contains(bytes), "{bytes} is no vector");
    }
}

#[test]
fn the_page_quotes_every_vector_but_what_stands_in_a_standard_and_whole_objects() {
    let (page, all) = (page(), vectors());
    for pointer in [
        "/identity/node_id",
        "/identity/recovery_public",
        "/identity/x25519_public",
        "/identity/local_kek",
        "/texts/node",
        "/texts/vault_bytes",
        "/texts/vault",
        "/epoch/commitment",
        "/epoch/id",
        "/epoch/object_key",
        "/epoch/nonce_key",
        "/epoch/join",
        "/epoch/box_of_first_under_second",
        "/shape/commitment",
        "/shape/keyed_hash",
        "/objects/blob/nonce",
        "/objects/blob/address",
        "/objects/page/address",
        "/objects/empty_tree/body",
        "/objects/empty_tree/address",
        "/tag/tag",
        "/signature/id",
        "/signature/signature",
        "/wrap/from",
        "/wrap/enc",
        "/wrap/ct",
        "/row/sealed",
        "/unlock/key_file_file",
        "/audit/entry",
        "/audit/hash",
    ] {
        let vector = all.pointer(pointer).and_then(Value::as_str);
        let vector = vector.unwrap_or_else(|| panic!("no vector {pointer}"));
        assert!(page.contains(vector), "{pointer} is not on the page");
    }
    for pair in all["padding"].as_array().expect("padding") {
        let quoted = format!("{}→{}", pair[0], pair[1]);
        assert!(page.contains(&quoted), "Pad {quoted} is not on the page");
    }
}
