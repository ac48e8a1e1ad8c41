//! Environment variables: over HTTP as Nango has them, on the command line without leaving a trace, sealed at rest, and written down
//! when they are shown.

use http::Method;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

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

const MODE: &str = "prod";

/// Three variables, and the guest `basic` with recordings of all runs.
async fn for_functions(upstream: &Upstream) -> (Server, Client) {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_RECORD_RUNS", "all");
    let (server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    for (name, value) in [("BACK_END_KEY", SECRET), ("MODE", MODE)] {
        set(&client, name, value).await;
    }
    (server, client)
}

async fn set(client: &Client, name: &str, value: &str) {
    let path = format!("/environment-variables/{name}");
    let _ = client.json(Method::PUT, &path, &json!({"value": value})).await.ok();
}

async fn ask(client: &Client, input: Value) -> Answer {
    client.trigger_action(INTEGRATION, CONNECTION, "variables", input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_read_them_and_the_log_never_shows_them() {
    // Echoed, so that not only what was sent is masked.
    let echo = json!({"echo": SECRET});
    let refusal = Reply::json(400, &echo).header("x-echo", SECRET);
    let upstream = Upstream::replying([Reply::json(200, &echo), refusal]).await;
    let (server, client) = for_functions(&upstream).await;
    assert_eq!(
        ask(&client, json!({"name": "BACK_END_KEY"})).await.ok(),
        json!({"value": SECRET})
    );
    assert_eq!(ask(&client, json!({"name": "NOPE"})).await.ok(), json!({"value": null}));
    let all = ask(&client, json!({"log": true})).await.ok();
    assert_eq!(all, json!({"BACK_END_KEY": SECRET, "MODE": MODE}));

    for input in [
        json!({"name": "BACK_END_KEY", "log": true, "send_to": "/take"}),
        json!({"name": "BACK_END_KEY", "log": true, "send_to": "/refuse"}),
        json!({"name": "BACK_END_KEY", "log": true, "fail": true}),
    ] {
        let _ = ask(&client, input).await;
    }
    let sent: Vec<String> = upstream
        .received()
        .iter()
        .map(|it| it.header("x-value").to_owned())
        .collect();
    assert_eq!(sent, [SECRET, SECRET]);

    // One that is called tells its caller, whose log it is that would show it.
    let call = json!({"action": "variables", "input": {"name": "BACK_END_KEY"}});
    let called = client.trigger_action(INTEGRATION, CONNECTION, "call", call).await.ok();
    assert_eq!(called, json!({"output": {"value": SECRET}}));

    let logs = client.logs().await;
    for text in [
        "BACK_END_KEY is REDACTED",
        "/take?value=REDACTED",
        "/refuse?value=REDACTED",
        "\"x-value\":\"REDACTED\"",
    ] {
        assert!(logs.contains(text), "{text} is not in {logs}");
    }
    assert!(!logs.contains(SECRET), "{logs}");
    assert!(!server.log().contains(SECRET), "{}", server.log());

    // A value that was changed is the next run's.
    set(&client, "BACK_END_KEY", "another-of-the-back-end").await;
    assert_eq!(
        ask(&client, json!({"name": "BACK_END_KEY"})).await.ok()["value"],
        "another-of-the-back-end"
    );
    // No run is an entry: the deploy said that functions may.
    assert_eq!(client.get("/audit?type=variables").await.ok()["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_fixtures_and_replays_hold_masks() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"echo": SECRET}))]).await;
    let (server, client) = for_functions(&upstream).await;
    let input = json!({"name": "BACK_END_KEY", "log": true, "send_to": "/take"}).to_string();
    let dry = Cli::of(
        &server,
        &["dryrun", "variables", CONNECTION, "--input", &input, "--save", "--json"],
    )
    .run();
    assert_eq!(dry.code, Some(0), "{}{}", dry.stdout, dry.stderr);
    assert!(!dry.stdout.contains(SECRET), "{}", dry.stdout);
    let path = server.folder().join("tests/variables.test.json");
    let text = std::fs::read_to_string(&path).expect("a fixture was saved");
    assert!(!text.contains(SECRET), "{text}");
    let fixture: Value = serde_json::from_str(&text).expect("a fixture is JSON");
    assert_eq!(
        fixture["nango"]["getEnvironmentVariables"],
        json!([{"name": "BACK_END_KEY", "value": "REDACTED"}])
    );
    let component = server.folder().join("basic.wasm");
    std::fs::write(&component, guest::component("basic")).expect("a file can be written");
    let component = component.to_string_lossy().into_owned();
    let folder = server.folder().join("tests").to_string_lossy().into_owned();
    let test = || Cli::new(&["test", &folder, "--component", &component]).run();
    let ran = test();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);

    // By hand: what is there, and what is not.
    let write = |name: &str, value: Value| {
        let path = server.folder().join(format!("tests/{name}.test.json"));
        std::fs::write(path, value.to_string()).expect("a file can be written");
    };
    let variables = json!([{"name": "MODE", "value": "test"}]);
    write(
        "variables.one",
        json!({"input": {"name": "MODE"}, "output": {"value": "test"}, "nango": {"getEnvironmentVariables": variables}}),
    );
    write(
        "variables.none",
        json!({"input": {"name": "NOPE"}, "output": {"value": null}, "nango": {"getEnvironmentVariables": variables}}),
    );
    let ran = test();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    write(
        "variables.unsaid",
        json!({"input": {"name": "MODE"}, "output": {"value": "test"}}),
    );
    let ran = test();
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains(r#"environment.get {"name":"MODE"} was not recorded"#),
        "{}",
        ran.stdout
    );

    let asked = json!({"name": "BACK_END_KEY", "log": true, "send_to": "/take"});
    assert_eq!(ask(&client, asked).await.ok(), json!({"value": SECRET}));
    let mut replayed = None;
    for _ in 0..200 {
        let operations = client.get("/logs/operations?function=variables").await.ok();
        let runs = operations["data"].as_array().into_iter().flatten();
        let run_id = runs.filter_map(|it| it["run_id"].as_str()).next().map(str::to_owned);
        if let Some(run_id) = run_id {
            let ended = Cli::of(&server, &["replay", &run_id]).run();
            if !ended.stderr.contains("there is no recording") {
                replayed = Some(ended);
                break;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let replayed = replayed.expect("the run was recorded");
    assert_eq!(replayed.code, Some(0), "{}{}", replayed.stdout, replayed.stderr);
    assert!(!replayed.stdout.contains(SECRET), "{}", replayed.stdout);
}
