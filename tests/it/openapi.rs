//! The OpenAPI document: well-formed, of version 3.1, and complete.

use nango_runtime_tests::TestRuntime;
use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn the_document_lists_the_routes() {
    let server = TestRuntime::new().start();
    let document = server.client().get("/openapi.json").await.ok();
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1")),
        "{}",
        document["openapi"]
    );
    for path in [
        "/health",
        "/health/ready",
        "/metrics",
        "/action/trigger",
        "/sync/trigger",
        "/sync/status",
        "/sync/start",
        "/sync/pause",
        "/sync/cancel",
        "/sync/update-connection-frequency",
        "/sync/{name}/variant/{variant}",
        "/records",
        "/connections",
        "/connections/{connectionId}",
        "/connections/metadata",
        "/integrations",
        "/integrations/{uniqueKey}",
        "/integrations/{uniqueKey}/functions",
        "/providers",
        "/proxy/{path}",
        "/logs/operations",
        "/logs/operations/{id}",
        "/logs/messages",
    ] {
        // Names of parameters are for people; the shape of the path counts.
        let shape = |path: &str| -> Vec<String> {
            path.split('/')
                .map(|part| {
                    if part.starts_with('{') {
                        "{}".to_owned()
                    } else {
                        part.to_owned()
                    }
                })
                .collect()
        };
        let paths = document["paths"].as_object().expect("a document has paths");
        assert!(
            paths.keys().any(|known| shape(known) == shape(path)),
            "{path} is missing"
        );
    }
}

#[tokio::test]
async fn the_proxy_tells_all_its_headers() {
    let server = TestRuntime::new().start();
    let document = server.client().get("/openapi.json").await.ok();
    let parameters = document["paths"]["/proxy/{path}"]["get"]["parameters"].as_array();
    let names: Vec<&str> = parameters
        .expect("a proxied request has parameters")
        .iter()
        .filter(|parameter| parameter["in"] == "header")
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "Provider-Config-Key",
            "Connection-Id",
            "Retries",
            "Retry-On",
            "Retry-Header-At",
            "Retry-Header-After",
            "Base-Url-Override",
            "Decompress",
            "Forward-Headers-On-Redirect",
            "Nango-Activity-Log-Id",
            "Nango-Is-Dry-Run",
            "Nango-Is-Sync",
            "Nango-Is-Script",
        ]
    );
}

#[tokio::test]
async fn operations_are_complete_and_references_lead_somewhere() {
    let server = TestRuntime::new().start();
    let document = server.client().get("/openapi.json").await.ok();
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("a document has paths") {
        for (method, operation) in item.as_object().expect("a path is an object") {
            if !METHODS.contains(&method.as_str()) {
                continue;
            }
            let place = format!("{method} {path}");
            assert!(
                operation["responses"].as_object().is_some_and(|all| !all.is_empty()),
                "{place} has no responses"
            );
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{place} has no operationId"));
            assert!(ids.insert(id.to_owned()), "the operationId {id} occurs twice");
            for name in path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            {
                let declared = |list: &Value| {
                    list.as_array()
                        .is_some_and(|all| all.iter().any(|one| one["name"] == name))
                };
                let there = declared(&operation["parameters"]) || declared(&item["parameters"]);
                assert!(there || name.starts_with('*'), "{place} does not declare {name}");
            }
        }
    }
    each_reference(&document, &mut |reference| {
        let pointer = reference
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("{reference} leaves the document"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    });
}

fn each_reference(value: &Value, check: &mut impl FnMut(&str)) {
    match value {
        Value::Object(object) => {
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                check(reference);
            }
            object.values().for_each(|value| each_reference(value, check));
        }
        Value::Array(values) => values.iter().for_each(|value| each_reference(value, check)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
