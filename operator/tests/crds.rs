//! The custom resource definitions: the committed YAML is what the types come to, and the types come to the rules, patterns and limits that were agreed on.

use polykey_operator::crd::schema;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("operator/ has a parent")
}

#[test]
fn committed_files_are_what_the_types_come_to() {
    for definition in schema::definitions().expect("definitions") {
        for dir in ["crds", "charts/polykey/crds"] {
            let path = root().join(dir).join(&definition.file);
            let committed = std::fs::read_to_string(&path)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(
                committed == definition.yaml,
                "{} is stale: cargo run -p polykey-operator --bin polykey-operator -- crds --write crds charts/polykey/crds",
                path.display()
            );
        }
    }
}

#[test]
fn generated_yaml_reads_back_as_the_same_definition() {
    let values = schema::values().expect("values");
    for (definition, value) in schema::definitions()
        .expect("definitions")
        .iter()
        .zip(values)
    {
        let read: Value = serde_saphyr::from_str(&definition.yaml).expect("YAML");
        assert_eq!(read, value, "{}", definition.file);
    }
}

/// Every constraint of every field, one a line: a change of any of them shows in a review of the table.
#[test]
fn every_constraint_is_in_the_table() {
    let mut table = String::new();
    for crd in schema::values().expect("values") {
        let version = &crd["spec"]["versions"][0];
        let kind = crd["spec"]["names"]["kind"].as_str().expect("kind");
        for column in version["additionalPrinterColumns"]
            .as_array()
            .into_iter()
            .flatten()
        {
            writeln!(
                table,
                "{kind} column {} {} {}",
                column["name"], column["jsonPath"], column["priority"]
            )
            .unwrap();
        }
        for field in version["selectableFields"].as_array().into_iter().flatten() {
            writeln!(table, "{kind} selectable {}", field["jsonPath"]).unwrap();
        }
        walk(&mut table, kind, &version["schema"]["openAPIV3Schema"]);
    }
    insta::assert_snapshot!(table);
}

fn walk(table: &mut String, at: &str, schema: &Value) {
    let object = schema
        .as_object()
        .unwrap_or_else(|| panic!("{at} is no schema"));
    for (key, value) in object {
        match key.as_str() {
            "properties" | "items" | "description" => {}
            "x-kubernetes-validations" => {
                for rule in value.as_array().expect("rules") {
                    writeln!(
                        table,
                        "{at} rule {}\n{at}   says {}",
                        rule["rule"], rule["message"]
                    )
                    .unwrap();
                }
            }
            _ => writeln!(table, "{at} {key} {value}").unwrap(),
        }
    }
    assert!(
        object.contains_key("type"),
        "{at} has no type, so the schema is not structural"
    );
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(table, &format!("{at}.{name}"), property);
    }
    if let Some(items) = object.get("items") {
        walk(table, &format!("{at}[]"), items);
    }
}

#[test]
fn every_field_is_described() {
    fn described(at: &str, schema: &Value) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            let structural = ["spec", "status"].contains(&name.as_str());
            assert!(
                structural || property["description"].is_string(),
                "{at} has no description"
            );
            described(&at, property);
            described(&at, &property["items"]);
        }
    }
    for crd in schema::values().expect("values") {
        described(
            crd["metadata"]["name"].as_str().expect("name"),
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        );
    }
}
