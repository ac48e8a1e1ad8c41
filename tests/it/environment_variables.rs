//! Environment variables: over HTTP as Nango has them, on the command line without leaving a trace, sealed at rest, and written down
//! when they are shown.

use http::Method;
use nango_runtime_tests::TestRuntime;
use nango_runtime_tests::command::Cli;
use serde_json::{Value, json};

const SECRET: &str = "hunter2-of-the-back-end";

#[tokio::test(flavor = "multi_thread")]
async fn they_are_listed_as_nango_lists_them_and_the_audit_knows() {
    let server = TestRuntime::new().start();
    let client = server.client();
    assert_eq!(client.get("/environment-variables").await.ok(), json!([]));
    let set = async |path: &str, body: Value| client.json(Method::PUT, path, &body).await;
    for (name, value) in [
        ("B_URL", "https://example.com/ä"),
        ("A_KEY", "first"),
        ("A_KEY", SECRET),
    ] {
        let answer = set(&format!("/environment-variables/{name}"), json!({"value": value})).await;
        assert_eq!(answer.ok(), json!({"success": true}));
    }
    let listed = client.get("/environment-variables").await;
    let request_id = listed.header("x-request-id").expect("an answer has an id").to_owned();
    let expected = json!([{"name": "A_KEY", "value": SECRET}, {"name": "B_URL", "value": "https://example.com/ä"}]);
    assert_eq!(listed.ok(), expected);

    let audit = client.get("/audit?type=variables").await.ok();
    assert_eq!(audit["data"].as_array().map(Vec::len), Some(2), "{audit}");
    let read = &audit["data"][0];
    assert_eq!(
        (
            &read["request_id"],
            &read["provider_config_key"],
            &read["connection_id"]
        ),
        (&json!(request_id), &Value::Null, &Value::Null)
    );
    let names = client.get("/environment-variables?names_only=true").await;
    assert!(!names.text().contains(SECRET), "{}", names.text());
    assert_eq!(names.ok()[0]["name"], "A_KEY");
    assert_eq!(
        client.get("/audit?type=variables").await.ok(),
        audit,
        "names are no secret"
    );

    for (path, body, code) in [
        ("/environment-variables/1A", json!({"value": "x"}), "invalid_uri_params"),
        (
            "/environment-variables/A%20B",
            json!({"value": "x"}),
            "invalid_uri_params",
        ),
        ("/environment-variables/A", json!({"value": ""}), "invalid_body"),
        (
            "/environment-variables/A",
            json!({"value": "x".repeat(16_385)}),
            "invalid_body",
        ),
        ("/environment-variables/A", json!({"value": 1}), "invalid_body"),
        ("/environment-variables/A", json!({}), "invalid_body"),
    ] {
        let refused = set(path, body).await;
        assert_eq!((refused.status, refused.error_code()), (400, code.to_owned()), "{path}");
    }
    assert_eq!(
        client.delete("/environment-variables/B_URL").await.ok(),
        json!({"success": true})
    );
    assert_eq!(client.delete("/environment-variables/B_URL").await.status, 404);
    assert_eq!(
        client.get("/environment-variables").await.ok().as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_need_the_scope_and_no_limits() {
    let server = TestRuntime::new().start();
    let client = server.client();
    let with_key = async |scopes: &[&str], limits: Value| {
        let body = json!({"name": "k", "scopes": scopes, "limits": limits});
        let made = client.post("/api-keys", &body).await.ok();
        client.with_key(made["data"]["key"].as_str())
    };
    let reader = with_key(&["environment:variables:read"], Value::Null).await;
    assert_eq!(reader.get("/environment-variables").await.status, 200);
    let value = json!({"value": "x"});
    let set = reader.json(Method::PUT, "/environment-variables/A", &value).await;
    assert_eq!((set.status, set.error_code()), (403, "forbidden".into()));
    let writer = with_key(&["environment:variables:write"], Value::Null).await;
    assert_eq!(writer.get("/environment-variables").await.status, 403);
    assert_eq!(
        writer
            .json(Method::PUT, "/environment-variables/A", &value)
            .await
            .status,
        200
    );
    // What belongs to the whole environment is nothing for a key that is limited to a part of it.
    let limited = with_key(&["environment:*"], json!({"integrations": ["github"]})).await;
    for query in ["", "?names_only=true"] {
        assert_eq!(limited.get(&format!("/environment-variables{query}")).await.status, 403);
    }
    assert_eq!(
        limited
            .json(Method::PUT, "/environment-variables/A", &value)
            .await
            .status,
        403
    );
    assert_eq!(limited.delete("/environment-variables/A").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_keeps_values_out_of_sight() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = TestRuntime::new().data(folder.path()).start();
    let file = folder.path().join("value");
    std::fs::write(&file, "-----BEGIN KEY-----\r\nabc\r\n-----END KEY-----\r\n").expect("a file can be written");
    let of_file = format!("@{}", file.display());
    let told = Cli::of(&server, &["env", "set", "TOKEN"])
        .input(&format!("{SECRET}\n"))
        .run();
    assert_eq!(
        (told.code, told.stdout.as_str()),
        (Some(0), "Set the environment variable TOKEN\n")
    );
    assert_eq!(Cli::of(&server, &["env", "set", "KEY", &of_file]).run().code, Some(0));
    let refused = Cli::of(&server, &["env", "set", "TOKEN", "in-the-history"]).run();
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("stays in the shell's history"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        Cli::of(&server, &["env", "set", "EMPTY"]).input("\n").run().code,
        Some(2)
    );

    for arguments in [&["env", "list"][..], &["env", "list", "--json"]] {
        let listed = Cli::of(&server, arguments).run();
        assert!(
            listed.stdout.contains("TOKEN") && !listed.stdout.contains(SECRET),
            "{}",
            listed.stdout
        );
    }
    let shown = Cli::of(&server, &["env", "list", "--values", "--json"]).run().json();
    let key = "-----BEGIN KEY-----\r\nabc\r\n-----END KEY-----";
    assert_eq!(
        shown,
        json!([{"name": "KEY", "value": key}, {"name": "TOKEN", "value": SECRET}])
    );
    let audit = Cli::of(&server, &["audit", "--type", "variables", "--json"])
        .run()
        .json();
    assert_eq!(audit["data"].as_array().map(Vec::len), Some(1), "{audit}");
    assert_eq!(Cli::of(&server, &["env", "unset", "KEY"]).run().code, Some(0));
    assert_eq!(Cli::of(&server, &["env", "unset", "KEY"]).run().code, Some(1));

    // They are moved to a new key like all that is sealed, and nowhere in clear.
    let rotated = Cli::of(&server, &["keys", "rotate", "--json"]).run().json();
    assert_eq!(rotated["remaining"], 0, "{rotated}");
    assert!(rotated.to_string().contains("environment_variables.value"), "{rotated}");
    let client = server.client();
    assert_eq!(client.get("/environment-variables").await.ok()[0]["value"], SECRET);
    assert!(!server.log().contains(SECRET) && !client.logs().await.contains(SECRET));
    for entry in std::fs::read_dir(folder.path()).expect("a folder can be listed") {
        let path = entry.expect("a folder can be listed").path();
        if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
            assert!(!found, "{} has the value in clear", path.display());
        }
    }
}
