//! What fits and what does not, and where the fault is said to be.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::model::FunctionKind;

fn manifest(part: &str, schema: &Value) -> Arc<FunctionManifest> {
    let schema_of = |name: &str| (name == part).then(|| schema.clone());
    Arc::new(FunctionManifest {
        name: "create-issue".to_owned(),
        kind: FunctionKind::Action,
        description: String::new(),
        input: schema_of("input"),
        output: None,
        frequency: None,
        event: None,
        auto_start: true,
        models: schema_of("model")
            .map(|schema| BTreeMap::from([("Issue".to_owned(), schema)]))
            .unwrap_or_default(),
        webhook_subscriptions: Vec::new(),
        metadata: None,
        checkpoint: None,
        fetch: None,
    })
}

fn issue() -> Value {
    json!({
        "type": "object", "required": ["title"],
        "properties": {"title": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
    })
}

#[test]
fn names_the_place_of_each_fault() {
    let schemas = Schemas::new(Validation::On).of("d1", manifest("input", &issue()));
    let check = |json: &str| schemas.check(Part::Input, json);
    assert_eq!(check(r#"{"title":"x","labels":["a"]}"#), Ok(()));
    let faults = check(r#"{"labels":["a",1]}"#).unwrap_err();
    assert!(
        faults.contains(&"(root): \"title\" is a required property".to_owned()),
        "{faults:?}"
    );
    assert!(
        faults.contains(&"/labels/1: 1 is not of type \"string\"".to_owned()),
        "{faults:?}"
    );
    assert_eq!(check("null").unwrap_err(), ["(root): null is not of type \"object\""]);
    assert!(check("{").unwrap_err()[0].starts_with("(root): is no JSON: "));
}

#[test]
fn records_are_named_by_their_place_in_the_batch() {
    let schemas = Schemas::new(Validation::On).of("d1", manifest("model", &issue()));
    let check = |part, json: &str| {
        let mut check = schemas.records(part)?.unwrap();
        let records: Vec<Value> = serde_json::from_str(json).unwrap();
        for (index, record) in records.iter().enumerate() {
            check.see(index, Ok(record));
        }
        check.end()
    };
    let batch = r#"[{"title":"a"},{"title":2},{"labels":[]}]"#;
    assert_eq!(
        check(Part::Model("Issue"), batch).unwrap_err(),
        [
            "/1/title: 2 is not of type \"string\"",
            "/2: \"title\" is a required property"
        ]
    );
    let patches = r#"[{"labels":["x"]},{"title":"b"}]"#;
    assert_eq!(check(Part::ModelPatch("Issue"), patches), Ok(()));
    assert_eq!(
        check(Part::ModelPatch("Issue"), batch).unwrap_err(),
        ["/1/title: 2 is not of type \"string\""]
    );
    let many = format!("[{}]", vec!["1"; 50].join(","));
    assert_eq!(check(Part::Model("Issue"), &many).unwrap_err().len(), FAULTS_MAX);

    let mut check = schemas.records(Part::Model("Issue")).unwrap().unwrap();
    let error = serde_json::from_str::<Value>("1e999").unwrap_err();
    check.see(3, Err(&error));
    assert_eq!(
        check.end().unwrap_err(),
        ["/3: cannot be read: number out of range at line 1 column 5"]
    );
}

#[test]
fn without_a_schema_everything_fits() {
    let schemas = Schemas::new(Validation::On).of("d1", manifest("input", &issue()));
    assert_eq!(schemas.check(Part::Output, "not even JSON"), Ok(()));
    assert!(matches!(schemas.records(Part::Model("Issue")), Ok(None)));
    let off = Schemas::new(Validation::Off).of("d1", manifest("input", &issue()));
    assert_eq!(off.check(Part::Input, "null"), Ok(()));
}

#[test]
fn another_component_has_other_schemas() {
    let schemas = Schemas::new(Validation::On);
    let strict = schemas.of("d1", manifest("input", &issue()));
    let lenient = schemas.of("d2", manifest("input", &json!({"type": "null"})));
    assert!(strict.check(Part::Input, "null").is_err());
    assert_eq!(lenient.check(Part::Input, "null"), Ok(()));
}

#[test]
fn a_schema_that_is_none_is_refused() {
    assert!(compile(&json!({"type": 5})).is_err());
    assert!(compile(&json!({"$ref": "https://example.com/schema.json"})).is_err());
}
