//! Whoever is shown credentials is written down first: when, by which key, of what. Who may not see them is shown none.

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Client, Upstream};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, with_upstream};

async fn with_scopes(client: &Client, name: &str, scopes: &[&str]) -> Client {
    let made = client
        .post("/api-keys", &json!({"name": name, "scopes": scopes}))
        .await
        .ok();
    client.with_key(made["data"]["key"].as_str())
}

async fn audit(client: &Client, query: &str) -> Vec<Value> {
    let list = client.get(&format!("/audit{query}")).await.ok();
    list["data"].as_array().expect("a list of reads").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_look_at_credentials_is_written_down() {
    let upstream = Upstream::replying([]).await;
    let (server, client) = with_upstream(&upstream.url()).await;
    let connection = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    let integration = format!("/integrations/{INTEGRATION}");
    let reader = with_scopes(
        &client,
        "reader",
        &[
            "environment:connections:read_credentials",
            "environment:integrations:read_credentials",
        ],
    )
    .await;
    // What the fixture imported was shown in the answer.
    let before = audit(&client, "?type=import").await.len();
    assert!(before > 0, "an import's answer shows the credentials");

    let shown = reader.get(&connection).await;
    let request_id = shown.headers["x-request-id"]
        .to_str()
        .expect("a request id is text")
        .to_owned();
    let _ = shown.ok();
    let _ = reader
        .get(&format!("{connection}&refresh_token=true&force_refresh=true"))
        .await
        .ok();
    let _ = reader.get(&format!("{integration}?include=credentials")).await.ok();
    // Neither shows any.
    let _ = reader.get(&integration).await.ok();
    let _ = client.get("/connections").await.ok();
    let nobodys = format!("/connections/nobody?provider_config_key={INTEGRATION}");
    assert_eq!(client.get(&nobodys).await.status, 404);

    let all = audit(&client, "?since=1h").await;
    let reads: Vec<&Value> = all.iter().filter(|read| read["api_key"]["name"] == "reader").collect();
    assert_eq!(reads.len(), 3, "{all:?}");
    assert_eq!(
        (&reads[0]["type"], &reads[0]["connection_id"]),
        (&json!("integration"), &Value::Null)
    );
    assert_eq!(
        (&reads[1]["force_refresh"], &reads[1]["refresh_token"]),
        (&json!(true), &json!(true))
    );
    let plain = reads[2];
    assert_eq!(
        (&plain["force_refresh"], &plain["refresh_token"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(plain["request_id"], request_id.as_str());
    assert_eq!(
        (&plain["type"], &plain["provider_config_key"], &plain["connection_id"]),
        (&json!("connection"), &json!(INTEGRATION), &json!(CONNECTION))
    );

    let key = plain["api_key"]["id"].as_str().expect("a key has an id");
    let page = client.get(&format!("/audit?api_key={key}&limit=2")).await.ok();
    let next = page["next_cursor"].as_str().expect("there is a next page");
    let rest = audit(&client, &format!("?api_key={key}&cursor={next}")).await;
    assert_eq!((rest.len(), &rest[0]), (1, plain));
    assert_eq!(audit(&client, "?connection=somebody-else").await, Vec::<Value>::new());
    assert_eq!(audit(&client, "?until=1h").await, Vec::<Value>::new());
    let line = Cli::of(&server, &["audit", "--api-key", key, "--type", "integration"]).run();
    assert!(
        line.stdout.contains("reader (key_") && line.stdout.contains(INTEGRATION),
        "{}",
        line.stdout
    );
    assert_eq!(reader.get("/audit").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_scope_there_is_nothing_to_see_or_to_write_down() {
    let upstream = Upstream::replying([]).await;
    let (_server, client) = with_upstream(&upstream.url()).await;
    let connection = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    let viewer = with_scopes(
        &client,
        "viewer",
        &["environment:connections:read", "environment:integrations:read"],
    )
    .await;
    assert_eq!(viewer.get(&connection).await.ok()["credentials"], json!({}));
    for flag in ["refresh_token", "force_refresh"] {
        assert_eq!(
            viewer.get(&format!("{connection}&{flag}=true")).await.status,
            403,
            "{flag}"
        );
    }
    let integration = format!("/integrations/{INTEGRATION}?include=credentials");
    assert_eq!(viewer.get(&integration).await.status, 403);
    // The token of a connect session is no key.
    let session = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let browser = client.with_key(session["data"]["token"].as_str());
    assert_eq!(browser.get(&connection).await.status, 401);
    assert_eq!(browser.get(&integration).await.status, 401);
    let all = audit(&client, "").await;
    assert!(all.iter().all(|read| read["api_key"]["name"] == "default"), "{all:?}");
}
