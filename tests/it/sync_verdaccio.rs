//! An action and a sync over the API of verdaccio, a real package registry that wants a token.

use nango_runtime_tests::verdaccio::Verdaccio;
use nango_runtime_tests::{TestRuntime, guest};
use serde_json::json;

use crate::fixture::{CONNECTION, INTEGRATION, providers};

#[tokio::test(flavor = "multi_thread")]
async fn packages_of_a_registry_become_records() {
    let registry = Verdaccio::start().await;
    for (name, version) in [
        ("alpha", "1.0.0"),
        ("beta", "0.1.0"),
        ("gamma", "2.0.0"),
        ("delta", "1.2.3"),
    ] {
        registry.publish(name, version, &format!("the package {name}")).await;
    }
    let server = TestRuntime::new()
        .egress_loopback()
        .provider_yaml(&providers(&registry.url))
        .start();
    let client = server.client();
    let _ = client.create_integration(INTEGRATION, "bearer").await.ok();
    let credentials = json!({"type": "API_KEY", "apiKey": registry.token});
    let _ = client
        .import_connection(INTEGRATION, CONNECTION, credentials)
        .await
        .ok();
    let wrong = json!({"type": "API_KEY", "apiKey": "wrong"});
    let _ = client.import_connection(INTEGRATION, "wrong-token", wrong).await.ok();
    let _ = client.deploy(INTEGRATION, guest::component("verdaccio")).await.ok();

    let package = client
        .trigger_action(INTEGRATION, CONNECTION, "package", json!({"name": "gamma"}))
        .await
        .ok();
    assert_eq!(
        (&package["id"], &package["version"]),
        (&json!("gamma"), &json!("2.0.0")),
        "{package}"
    );
    let refused = client
        .trigger_action(INTEGRATION, "wrong-token", "package", json!({"name": "gamma"}))
        .await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (424, "script_http_error".into()),
        "{}",
        refused.text()
    );
    let upstream_status = refused.json()["error"]["upstream"]["status"].clone();
    assert_eq!(upstream_status, 401, "{}", refused.text());

    let first = client.run_sync(INTEGRATION, CONNECTION, "packages").await;
    assert_eq!(
        (&first["latestExecutionStatus"], &first["recordCount"]),
        (&json!("SUCCESS"), &json!({"Package": 4})),
        "{first}"
    );
    let page = client.records(INTEGRATION, CONNECTION, "Package", "").await.ok();
    let mut names: Vec<_> = page["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|one| one["id"].clone())
        .collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(json!(names), json!(["alpha", "beta", "delta", "gamma"]));

    let second = client.run_sync(INTEGRATION, CONNECTION, "packages").await;
    let none = json!({"added": 0, "updated": 0, "deleted": 0});
    assert_eq!(second["latestResult"]["Package"], none, "nothing changed: {second}");

    registry.publish("epsilon", "0.0.1", "a fifth").await;
    let third = client.run_sync(INTEGRATION, CONNECTION, "packages").await;
    assert_eq!(third["latestResult"]["Package"]["added"], 1, "{third}");
}
