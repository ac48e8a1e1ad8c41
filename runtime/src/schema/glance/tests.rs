//! A glance against the validator: it may be unsure of what fits, and never sure of what does not.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use serde_json::{Map, Value, json};

use super::Glance;

fn glance(schema: &Value) -> Glance {
    Glance::of(schema).unwrap_or_else(|| panic!("it has no glance: {schema}"))
}

/// As the macros of the guest SDK make it of a type.
fn contact() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Contact", "description": "Somebody.", "type": "object",
        "required": ["id", "balance", "active", "tags", "address", "kind"],
        "properties": {
            "id": {"type": "string"},
            "balance": {"description": "Cents.", "type": "integer", "format": "int64"},
            "age": {"type": ["integer", "null"], "format": "uint8", "minimum": 0, "maximum": 255},
            "score": {"type": "number", "format": "double"},
            "active": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "address": {"$ref": "#/$defs/Address"},
            "second": {"anyOf": [{"$ref": "#/$defs/Address"}, {"type": "null"}]},
            "kind": {"type": "string", "enum": ["person", "company"]},
            "parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
            "more": true,
        },
        "$defs": {"Address": {
            "type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}, "additionalProperties": false,
        }},
    })
}

#[test]
fn a_typical_record_is_known_to_fit_and_others_are_not() {
    let glance = glance(&contact());
    let fitting = json!({
        "id": "1", "balance": -5, "age": null, "score": 1, "active": true, "tags": ["a", "\"b\""], "address": {"city": "x"},
        "second": {"city": "y"}, "kind": "person", "more": [{"a": 1e3}], "unknown": {"x": [null]},
        "parent": {"id": "2", "balance": 1.0, "active": false, "tags": [], "address": {"city": ""}, "second": null,
            "kind": "company", "parent": null},
    });
    assert!(glance.surely_fits(&fitting.to_string()));
    let with = |name: &str, value: Value| {
        let mut record = fitting.clone();
        record[name] = value;
        record.to_string()
    };
    for (name, value) in [
        ("id", json!(1)),
        ("balance", json!(1.5)),
        ("age", json!(256)),
        ("age", json!(-1)),
        ("active", json!(null)),
        ("tags", json!(["a", 1])),
        ("tags", json!({})),
        ("address", json!({})),
        ("address", json!({"city": "x", "zip": 1})),
        ("address", json!(null)),
        ("second", json!({"city": 1})),
        ("kind", json!("thing")),
        ("parent", json!({"id": "2"})),
    ] {
        assert!(!glance.surely_fits(&with(name, value.clone())), "{name}: {value}");
    }
    for broken in ["", "{", "null", "[]", "{} {}", r#"{"id":"1"}"#] {
        assert!(!glance.surely_fits(broken), "{broken}");
    }
    // Of members that are there twice the last one counts, so that all have to fit.
    let twice = fitting.to_string().replacen("{", r#"{"id":7,"#, 1);
    assert!(!glance.surely_fits(&twice));
}

#[test]
fn what_is_not_known_has_no_glance() {
    for schema in [
        json!({"type": "string", "pattern": "^a"}),
        json!({"type": "object", "properties": {"a": {"not": {}}}}),
        json!({"type": "integer", "enum": [1, 2]}),
        json!({"$ref": "https://example.com/schema"}),
        json!({"$ref": "#/$defs/Missing"}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "string", "format": "email"}),
        json!({"anyOf": [{"type": "string"}], "type": "string"}),
        json!({"type": "array", "items": [{}]}),
        json!({"type": "integer", "minimum": 9_007_199_254_740_993_u64}),
    ] {
        assert!(Glance::of(&schema).is_none(), "{schema}");
    }
}

#[test]
fn a_schema_that_means_itself_ends() {
    let endless = glance(&json!({"$ref": "#"}));
    assert!(!endless.surely_fits("1") && !endless.surely_fits("{}"));
}

/// Half of them fit what they are made for.
#[test]
fn a_glance_is_never_sure_of_what_does_not_fit() {
    let mut random = StdRng::seed_from_u64(7);
    let (mut glances, mut fitting, mut sure) = (0, 0, 0);
    for _ in 0..3_000 {
        let schema = schema(&mut random, 3);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let Some(glance) = Glance::of(&schema) else { continue };
        glances += 1;
        for _ in 0..10 {
            let value = value(&mut random, &schema, 4);
            let (fits, is_sure) = (validator.is_valid(&value), glance.surely_fits(&value.to_string()));
            assert!(fits || !is_sure, "{value} does not fit {schema}");
            fitting += u32::from(fits);
            sure += u32::from(is_sure);
        }
    }
    assert!(glances > 2_000 && fitting > 5_000, "{glances} {fitting}");
    assert!(sure * 10 > fitting * 9, "of {fitting} that fit it was sure of {sure}");
}

fn schema(random: &mut StdRng, depth: u32) -> Value {
    let kinds = if depth == 0 { 7 } else { 11 };
    match random.random_range(0..kinds) {
        0 => json!({"type": "string"}),
        1 => json!({"type": "integer", "minimum": random.random_range(-2..2), "format": "int64"}),
        2 => json!({"type": "number", "maximum": 2.5}),
        3 => json!({"type": ["boolean", "null"], "description": "a flag"}),
        4 => json!({"enum": ["a", "b", null]}),
        5 => json!(random.random_bool(0.8)),
        6 => json!({"type": "string", "const": "a"}),
        7 => json!({"type": "array", "items": schema(random, depth - 1)}),
        8 => json!({"anyOf": [schema(random, depth - 1), {"type": "null"}]}),
        9 => json!({"oneOf": [schema(random, depth - 1), schema(random, depth - 1)]}),
        _ => {
            let mut object = json!({
                "type": "object",
                "properties": {"a": schema(random, depth - 1), "b": schema(random, depth - 1)},
                "additionalProperties": schema(random, depth - 1),
            });
            if random.random_bool(0.5) {
                let name = ["a", "c"][random.random_range(0..2)];
                object["required"] = json!([name]);
            }
            object
        }
    }
}

/// A value that has a good chance to fit.
fn value(random: &mut StdRng, schema: &Value, depth: u32) -> Value {
    if depth == 0 || random.random_bool(0.1) {
        let values = [
            json!(null),
            json!(1),
            json!(2.5),
            json!("a"),
            json!("c"),
            json!([1]),
            json!({"a": 1}),
            json!(true),
        ];
        return values[random.random_range(0..values.len())].clone();
    }
    if let Some(alternatives) = schema
        .get("anyOf")
        .or_else(|| schema.get("oneOf"))
        .and_then(Value::as_array)
    {
        let alternative = &alternatives[random.random_range(0..alternatives.len())];
        return value(random, alternative, depth);
    }
    match schema["type"].as_str() {
        Some("string") => ["a", "x"][random.random_range(0..2)].into(),
        Some("integer") => json!(random.random_range(-3..5)),
        Some("number") => json!(f64::from(random.random_range(-9..9)) / 2.0),
        Some("array") => {
            let items = 0..random.random_range(0..3);
            items.map(|_| value(random, &schema["items"], depth - 1)).collect()
        }
        Some("object") => {
            let mut object = Map::new();
            for name in ["a", "b", "c"] {
                if random.random_bool(0.7) {
                    let of = schema["properties"]
                        .get(name)
                        .unwrap_or(&schema["additionalProperties"]);
                    object.insert(name.to_owned(), value(random, of, depth - 1));
                }
            }
            Value::Object(object)
        }
        _ => [json!(true), json!(null), json!("a"), json!("b")][random.random_range(0..4)].clone(),
    }
}
