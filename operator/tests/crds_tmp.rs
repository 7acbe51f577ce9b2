//! x
#[test]
fn dump() { println!("{}", serde_json::to_string(&polykey_operator::crd::schema::values().unwrap()).unwrap()); polykey_operator::crd::schema::write(&["/work/main/crds".into(), "/work/main/charts/polykey/crds".into()]).unwrap(); }
