//! The CustomResourceDefinitions as YAML, generated from the types. What the derive cannot say is said by [`refine`]; nothing is written by hand.

use crate::crd::{PolykeyNode, PolykeyPeer, PolykeyVault};
use kube::CustomResourceExt;
use serde_json::{Map, Number, Value, json};
use std::path::{Path, PathBuf};

/// First lines of every generated file.
const HEADER: &str = "# Generated from the Rust types of operator/src/crd by `polykey-operator crds`. Do not edit.\n";

/// Why the definitions could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A definition is not JSON.
    #[error("cannot turn a definition into JSON")]
    Json(#[source] serde_json::Error),
    /// A definition is not YAML.
    #[error("cannot turn a definition into YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
    /// A file cannot be written.
    #[error("cannot write {0}")]
    Write(PathBuf, #[source] std::io::Error),
}

/// One definition: its file name and its content.
pub struct Definition {
    /// `polykeyvaults.yaml` and so on.
    pub file: String,
    /// The whole file.
    pub yaml: String,
}

/// All three definitions, always in the same order and the same bytes.
pub fn definitions() -> Result<Vec<Definition>, SchemaError> {
    values()?
        .into_iter()
        .map(|value| definition(&value))
        .collect()
}

/// All three definitions as values.
pub fn values() -> Result<Vec<Value>, SchemaError> {
    [PolykeyVault::crd(), PolykeyPeer::crd(), PolykeyNode::crd()]
        .iter()
        .map(|crd| {
            serde_json::to_value(crd)
                .map(refine)
                .map_err(SchemaError::Json)
        })
        .collect()
}

/// All three definitions as one YAML stream.
pub fn stream() -> Result<String, SchemaError> {
    let texts: Vec<String> = definitions()?.into_iter().map(|d| d.yaml).collect();
    Ok(texts.join("---\n"))
}

/// Writes all three into each of the directories.
pub fn write(dirs: &[PathBuf]) -> Result<(), SchemaError> {
    for definition in definitions()? {
        for dir in dirs {
            let path = dir.join(&definition.file);
            write_file(&path, &definition.yaml)?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<(), SchemaError> {
    std::fs::write(path, text).map_err(|e| SchemaError::Write(path.to_owned(), e))
}

fn definition(value: &Value) -> Result<Definition, SchemaError> {
    let plural = value["spec"]["names"]["plural"]
        .as_str()
        .unwrap_or_default();
    let yaml = serde_saphyr::to_string(value).map_err(SchemaError::Yaml)?;
    Ok(Definition {
        file: format!("{plural}.yaml"),
        yaml: format!("{HEADER}{yaml}"),
    })
}

/// What the derive cannot say, for every value in the definition:
/// - `nullable` goes: no field of ours means anything as null, and an explicit null would slip past a rule on the field;
/// - a whole number is written as one (`minimum: 1`, not `1.0`);
/// - empty lists and objects that the generator leaves behind go, and so do `default: null` and `default: []`;
/// - an optional enum does not list null among its values;
/// - `title` goes: it repeats the kind;
/// - keys are sorted, so the bytes do not depend on the features that other crates of a build turn on.
fn refine(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map
                .into_iter()
                .filter(|(k, v)| says_something(k, v))
                .map(|(k, v)| {
                    let v = refine(without_null(&k, v));
                    (k, v)
                })
                .collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(refine).collect()),
        Value::Number(n) => Value::Number(whole(n)),
        other => other,
    }
}

#[allow(
    clippy::match_same_arms,
    reason = "each key stands with what is nothing for it"
)]
fn says_something(key: &str, value: &Value) -> bool {
    match key {
        "nullable" => !value.is_boolean(),
        "title" => !value.is_string(),
        "default" => !value.is_null() && *value != json!([]),
        "required"
        | "categories"
        | "shortNames"
        | "additionalPrinterColumns"
        | "selectableFields" => *value != json!([]),
        _ => true,
    }
}

fn without_null(key: &str, value: Value) -> Value {
    match value {
        Value::Array(values) if key == "enum" => {
            values.into_iter().filter(|v| !v.is_null()).collect()
        }
        other => other,
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "checked to be whole and small"
)]
fn whole(n: Number) -> Number {
    match n.as_f64() {
        Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15 => Number::from(f as i64),
        _ => n,
    }
}
