//! `GET /openapi.json`: the API described by itself. The document is generated from the types and handlers; what is written by hand
//! is in their doc comments.

use std::sync::LazyLock;

use axum::response::Response;
use http::StatusCode;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Info, OpenApi};

use super::body::{json_response, raw_json_response};
use super::{ApiDoc, ROUTES};
use crate::model::Scope;

static DOCUMENT: LazyLock<Option<String>> = LazyLock::new(|| document().to_json().ok());

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "server", security(()),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)),
)]
pub async fn show() -> Response {
    match DOCUMENT.as_deref() {
        Some(json) => raw_json_response(StatusCode::OK, json),
        None => json_response(StatusCode::OK, &document()),
    }
}

fn document() -> OpenApi {
    let mut document = ApiDoc::openapi();
    document.info = Info::new("nango-runtime", env!("CARGO_PKG_VERSION"));
    document.info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("UUID v4")
        .build();
    name_operations(&mut document);
    name_scopes(&mut document);
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("secret_key", SecurityScheme::Http(key));
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("nango_connect_session_…")
        .build();
    components.add_security_scheme("connect_session", SecurityScheme::Http(token));
    let parameter = ApiKeyValue::new(super::session::SESSION_PARAMETER);
    components.add_security_scheme(
        "connect_session_in_query",
        SecurityScheme::ApiKey(ApiKey::Query(parameter)),
    );
    document
}

/// Names each operation after its method and path: handlers of different resources share names.
fn name_operations(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let path: String = path
            .chars()
            .map(|char| if char.is_ascii_alphanumeric() { char } else { '_' })
            .collect();
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
            ("head", &mut item.head),
            ("options", &mut item.options),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}{path}"));
            }
        }
    }
}

/// Says which scope each operation needs, as OpenAPI 3.1 lets roles of a bearer key be listed.
fn name_scopes(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let is_proxy = path.starts_with("/proxy");
        let routed = |method: &str| {
            let route = ROUTES.iter().find(|route| route.0 == method && route.1 == path);
            route.map_or(is_proxy.then_some(Scope::Proxy), |route| route.2)
        };
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("put", &mut item.put),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
            ("head", &mut item.head),
            ("options", &mut item.options),
        ];
        for (method, operation) in operations {
            if let (Some(operation), Some(scope)) = (operation, routed(method)) {
                // What the handler says it takes besides stays.
                let key = SecurityRequirement::new("secret_key", [scope.name()]);
                operation.security.get_or_insert_default().insert(0, key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_every_route_and_no_other() {
        let document = serde_json::to_value(document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.insert((method.clone(), path.clone()));
            }
        }
        let mut routed: BTreeSet<_> = ROUTES
            .iter()
            .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
            .collect();
        for method in ["get", "post", "put", "patch", "delete", "head", "options"] {
            routed.insert((method.to_owned(), "/proxy/{path}".to_owned()));
        }
        assert_eq!(documented, routed);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a serde_json::Value, found: &mut BTreeSet<&'a str>) {
            match value {
                serde_json::Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(|reference| reference.as_str()));
                    map.values().for_each(|value| references(value, found));
                }
                serde_json::Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = serde_json::to_value(document()).unwrap();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(
                document.pointer(reference.trim_start_matches('#')).is_some(),
                "{reference}"
            );
        }
    }
}
