//! What a component has to be given at its deploy: the connection's token, which is in the audit and in nothing else that is written,
//! and requests to any host, which carry no credentials. And what functions may know of connection and integration.

use http::Method;
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, prepared, with_guest, with_providers, with_upstream};

const NOWHERE: &str = "http://127.0.0.1:9";
const OAUTH_TOKEN: &str = "oauth-access-token-41c9";

/// The guest with recordings of all runs.
async fn recorded(upstream: &Upstream) -> (Server, Client) {
    let runtime = TestRuntime::new()
        .egress_loopback()
        .environment("NANGO_RECORD_RUNS", "all");
    let (server, client) = prepared(runtime, &upstream.url()).await;
    let _ = client.deploy(INTEGRATION, guest::component("granted")).await.ok();
    (server, client)
}

async fn run(client: &Client, action: &str, input: Value) -> Answer {
    client.trigger_action(INTEGRATION, CONNECTION, action, input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_requests_to_any_host_are_given_by_name() {
    let (server, _client) = with_upstream(NOWHERE).await;
    let file = server.folder().join("granted.wasm");
    std::fs::write(&file, guest::component("granted")).expect("a file can be written");
    let file = file.to_string_lossy().into_owned();
    let deploy = |more: &[&str]| {
        Cli::of(
            &server,
            &[&["deploy", &file, "--integration", INTEGRATION], more].concat(),
        )
        .run()
    };
    let refused = deploy(&[]);
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(
        refused.stderr.contains("the component can do what nobody has allowed its functions: fetch, token; allow it with --allow fetch,token"),
        "{}",
        refused.stderr
    );
    assert!(deploy(&["--allow", "token"]).stderr.contains("--allow fetch "));
    let planned = deploy(&["--plan"]);
    assert!(
        planned.stdout.contains("To be allowed: --allow fetch,token"),
        "{}",
        planned.stdout
    );

    // Nor is it given to what runs without having been deployed.
    let dry = |more: &[&str]| {
        let arguments = [
            "dryrun",
            "reveal",
            CONNECTION,
            "--input",
            "{}",
            "--component",
            &file,
            "--json",
        ];
        Cli::of(&server, &[&arguments, more].concat()).run()
    };
    assert!(dry(&[]).stderr.contains("--allow fetch,token"), "{}", dry(&[]).stderr);
    let report = dry(&["--allow", "token,fetch"]).json();
    assert_eq!(
        report["output"],
        json!({"type": "API_KEY", "apiKey": "REDACTED"}),
        "{report}"
    );

    let deployed = deploy(&["--allow", "token,fetch"]);
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    let sentences = deployed.stdout.lines().last().unwrap_or_default();
    insta::assert_snapshot!(sentences, @"The code may GET through upstream; may read the connection's tags and end user; may send requests without the connection's credentials to any public host; may read the integration's public settings; may run functions of all integrations for all connections of the environment; may read the connection's tokens.");
    assert_eq!(deploy(&[]).code, Some(0), "they have it");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_of_credentials_is_told_as_nango_tells_it() {
    let (_server, client) = with_providers(NOWHERE).await;
    for (integration, expected) in [
        ("bearer", json!({"type": "API_KEY", "apiKey": API_KEY})),
        (
            "basic",
            json!({"type": "BASIC", "username": "user", "password": "pass word"}),
        ),
        ("oauth", json!(OAUTH_TOKEN)),
        ("open", json!({})),
    ] {
        let _ = client.deploy(integration, guest::component("granted")).await.ok();
        let told = client
            .trigger_action(integration, CONNECTION, "reveal", json!({}))
            .await;
        assert_eq!(told.ok(), expected, "{integration}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_the_audit_and_masked_in_the_log() {
    let echo = Reply::json(400, &json!({"echo": API_KEY})).header("x-echo", API_KEY);
    let upstream = Upstream::replying([echo]).await;
    let (server, client) = recorded(&upstream).await;
    let told = run(&client, "reveal", json!({"times": 3})).await.ok();
    assert_eq!(told["apiKey"], API_KEY);
    let audit = client.get("/audit?type=token").await.ok();
    assert_eq!(
        audit["data"].as_array().map(Vec::len),
        Some(1),
        "once for a run: {audit}"
    );
    let read = &audit["data"][0];
    assert_eq!(
        (&read["api_key"], &read["request_id"], &read["function"]["name"]),
        (&Value::Null, &Value::Null, &json!("reveal"))
    );
    assert_eq!(
        (&read["provider_config_key"], &read["connection_id"]),
        (&json!(INTEGRATION), &json!(CONNECTION))
    );
    let run_id = read["function"]["run_id"].as_str().expect("a run has an id").to_owned();
    let operation = read["function"]["operation_id"]
        .as_str()
        .expect("and an operation")
        .to_owned();
    let found = client.get(&format!("/logs/operations/{operation}")).await.ok();
    assert_eq!(found["run_id"], run_id.as_str(), "{found}");
    let shown = Cli::of(&server, &["audit", "--type", "token"]).run();
    assert!(
        shown.stdout.contains("function reveal") && shown.stdout.contains(&run_id),
        "{}",
        shown.stdout
    );

    for input in [
        json!({"log": true, "send_to": "/refuse"}),
        json!({"log": true, "fetch": upstream.url()}),
        json!({"log": true, "fail": true}),
    ] {
        let _ = run(&client, "reveal", input).await;
    }
    assert!(
        upstream
            .received()
            .iter()
            .all(|it| it.header("x-value").contains(API_KEY))
    );
    let logs = client.logs().await;
    for text in ["the token is", "/refuse?value=", "/?value="] {
        assert!(logs.contains(text), "{text} is not in {logs}");
    }
    assert!(!logs.contains(API_KEY), "{logs}");
    assert!(!server.log().contains(API_KEY), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_was_told_is_masked_for_those_that_called_it() {
    let (server, client) = with_guest("granted", NOWHERE).await;
    let other = json!({"type": "API_KEY", "apiKey": "the-key-of-somebody-else"});
    let _ = client.import_connection(INTEGRATION, "other", other).await.ok();
    let input = json!({"integration": INTEGRATION, "connection": "other"});
    let told = run(&client, "reveal-elsewhere", input).await.ok();
    assert_eq!(told["apiKey"], "the-key-of-somebody-else");
    let logs = client.logs().await;
    assert!(logs.contains("the other token is"), "{logs}");
    assert!(!logs.contains("the-key-of-somebody-else"), "{logs}");
    assert!(!server.log().contains("the-key-of-somebody-else"));
    let audit = client.get("/audit?type=token").await.ok();
    assert_eq!(audit["data"][0]["connection_id"], "other", "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_fixtures_and_replays_hold_masks_and_answers() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"echo": API_KEY}))]).await;
    let (server, client) = recorded(&upstream).await;
    let input = json!({"log": true, "fetch": format!("{}/take", upstream.url())});
    let arguments = [
        "dryrun",
        "reveal",
        CONNECTION,
        "--input",
        &input.to_string(),
        "--save",
        "--json",
    ];
    let dry = Cli::of(&server, &arguments).run();
    assert_eq!(dry.code, Some(0), "{}{}", dry.stdout, dry.stderr);
    assert!(!dry.stdout.contains(API_KEY), "{}", dry.stdout);
    let requests = &dry.json()["effects"]["requests"];
    assert_eq!(requests[0]["status"], 200, "{requests}");
    let audit = client.get("/audit?type=token").await.ok();
    assert_eq!(audit["data"][0]["function"]["run_id"], Value::Null, "{audit}");
    let fixture = server.folder().join("tests/reveal.test.json");
    let text = std::fs::read_to_string(&fixture).expect("a fixture was saved");
    assert!(!text.contains(API_KEY), "{text}");
    let component = server.folder().join("granted.wasm");
    std::fs::write(&component, guest::component("granted")).expect("a file can be written");
    let asked = upstream.received().len();
    let (tests, component) = (server.folder().join("tests"), component.to_string_lossy().into_owned());
    let ran = Cli::new(&["test", &tests.to_string_lossy(), "--component", &component]).run();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);

    assert_eq!(run(&client, "reveal", input).await.ok()["apiKey"], API_KEY);
    let audit = client.get("/audit?type=token&limit=1").await.ok();
    let run_id = audit["data"][0]["function"]["run_id"]
        .as_str()
        .expect("a run has an id")
        .to_owned();
    let mut replayed = Cli::of(&server, &["replay", &run_id]).run();
    for _ in 0..200 {
        if !replayed.stderr.contains("there is no recording") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        replayed = Cli::of(&server, &["replay", &run_id]).run();
    }
    assert_eq!(replayed.code, Some(0), "{}{}", replayed.stdout, replayed.stderr);
    assert!(!replayed.stdout.contains(API_KEY), "{}", replayed.stdout);
    assert_eq!(upstream.received().len(), asked + 1, "only the run itself asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_carries_what_the_function_gave_and_leaves_it_within_the_origin() {
    let elsewhere = Upstream::handling(|received| Reply::json(200, &json!({"seen": received.target}))).await;
    let away = elsewhere.url();
    let upstream = Upstream::handling(
        move |received| match received.target.split('?').next().unwrap_or_default() {
            "/away" => Reply::status(302).header("location", &format!("{away}/there?a=1")),
            "/within" => Reply::status(307).header("location", "/end"),
            "/loop" => Reply::status(302).header("location", "/loop"),
            "/odd" => Reply::status(302).header("location", "ftp://files.test/"),
            "/inside" => Reply::status(302).header("location", "http://10.1.2.3/latest/meta-data"),
            "/none" => Reply::status(304),
            _ => Reply::json(200, &json!({"query": received.target})),
        },
    )
    .await;
    let (_server, client) = with_guest("granted", &upstream.url()).await;
    let url = |path: &str| format!("{}{path}", upstream.url());
    let fetch = async |input: Value| run(&client, "fetch-url", input).await.ok();
    let headers = json!({"authorization": "Bearer mine", "cookie": "a=b", "x-kept": "1"});

    let answer = fetch(json!({"url": url("/plain?a=%20b"), "query": {"c": "ä"}, "headers": headers})).await;
    assert_eq!(
        (&answer["status"], &answer["type"]),
        (&json!(200), &json!("application/json"))
    );
    let received = upstream.received().pop().expect("it was asked");
    assert_eq!(received.target, "/plain?a=%20b&c=%C3%A4");
    assert_eq!(
        (received.header("authorization"), received.header("x-kept")),
        ("Bearer mine", "1")
    );
    let _ = fetch(json!({"url": url("/plain")})).await;
    let received = upstream.received().pop().expect("it was asked");
    assert_eq!(
        received.header("authorization"),
        "",
        "the connection's credentials are not in it"
    );
    assert!(received.header("user-agent").starts_with("nango-runtime/"));

    let posted = json!({"url": url("/within"), "method": "POST", "json": {"a": 1}, "headers": headers});
    assert_eq!(fetch(posted).await["status"], 200);
    let received = upstream.received().pop().expect("it was asked");
    assert_eq!((received.method, received.target.as_str()), (Method::POST, "/end"));
    assert_eq!(
        (received.body.as_ref(), received.headers["authorization"].as_bytes()),
        (&br#"{"a":1}"#[..], &b"Bearer mine"[..])
    );

    assert_eq!(
        fetch(json!({"url": url("/away"), "headers": headers})).await["status"],
        200
    );
    let received = elsewhere.received().pop().expect("it was asked");
    assert_eq!(received.target, "/there?a=1");
    assert_eq!(
        ["authorization", "cookie", "x-kept"].map(|name| received.header(name)),
        ["", "", "1"]
    );

    assert_eq!(fetch(json!({"url": url("/none")})).await["status"], 304);
    for (url, code) in [
        (url("/loop"), "too_many_redirects"),
        (url("/odd"), "invalid_redirect"),
        (url("/inside"), "url_not_allowed"),
        ("http://169.254.169.254/latest".to_owned(), "url_not_allowed"),
        ("file:///etc/passwd".to_owned(), "invalid_url"),
        ("https://me:secret@example.com/".to_owned(), "invalid_url"),
    ] {
        let refused = fetch(json!({"url": url})).await;
        assert_eq!(refused["code"], code, "{url}: {refused}");
    }
    let refused = fetch(json!({"url": url("/plain"), "method": "TRACE"})).await;
    assert_eq!(refused["code"], "method_not_allowed", "{refused}");
    let logs = client.logs().await;
    assert!(logs.contains("/plain?a=%20b&c=%C3%A4 → 200"), "{logs}");
    assert!(logs.contains("url_not_allowed after"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_leave_of_the_operator_a_fetch_stays_outside() {
    let upstream = Upstream::replying([Reply::status(200)]).await;
    let (_server, client) = prepared(TestRuntime::new(), NOWHERE).await;
    let _ = client.deploy(INTEGRATION, guest::component("granted")).await.ok();
    let refused = run(&client, "fetch-url", json!({"url": upstream.url()})).await.ok();
    assert_eq!(refused["code"], "url_not_allowed", "{refused}");
    assert!(
        refused["message"].to_string().contains("--egress-allow loopback"),
        "{refused}"
    );
    assert!(upstream.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_know_whose_the_connection_is_and_what_the_integration() {
    let (server, client) = with_guest("granted", NOWHERE).await;
    let path = format!("/connections/{CONNECTION}?provider_config_key={INTEGRATION}");
    let patch = json!({"tags": {"plan": "pro"}, "end_user": {"id": "u1", "email": "u1@example.com"}});
    let _ = client.json(Method::PATCH, &path, &patch).await.ok();
    let about = run(&client, "about", Value::Null).await.ok();
    let connection = &about["connection"];
    assert_eq!(
        (&connection["tags"], &connection["end_user"]["email"]),
        (&json!({"plan": "pro"}), &json!("u1@example.com"))
    );
    let integration = &about["integration"];
    let public = client.get(&format!("/integrations/{INTEGRATION}")).await.ok();
    assert_eq!(*integration, public["data"], "as the API shows it");
    assert!(!about.to_string().contains(API_KEY));
    let dry = Cli::of(&server, &["dryrun", "about", CONNECTION, "--json"])
        .run()
        .json();
    assert_eq!(dry["output"]["integration"], *integration);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_fetch_from_the_hosts_they_name_and_whoever_deploys_them_allows_those() {
    let elsewhere = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let target = std::sync::Arc::clone(&elsewhere);
    let upstream = Upstream::handling(move |received| match received.target.as_str() {
        "/away" => Reply::status(302).header("location", &target.lock().expect("nobody panics with it")),
        "/within" => Reply::status(302).header("location", "/end"),
        _ => Reply::json(200, &json!({"seen": received.target})),
    })
    .await;
    *elsewhere.lock().expect("nobody panics with it") = upstream.url().replace("127.0.0.1", "localhost") + "/there";
    let (server, client) = with_upstream(NOWHERE).await;
    let file = server.folder().join("hosts.wasm");
    std::fs::write(&file, guest::component("hosts")).expect("a file can be written");
    let file = file.to_string_lossy().into_owned();
    let deploy = |more: &[&str]| {
        let arguments = ["deploy", &file, "--integration", INTEGRATION];
        Cli::of(&server, &[&arguments, more].concat()).run()
    };
    let refused = deploy(&[]);
    assert!(
        refused.stderr.contains("--allow fetch:*.example.org,fetch:127.0.0.1"),
        "{}",
        refused.stderr
    );
    let partly = deploy(&["--allow", "fetch:127.0.0.1"]);
    assert!(
        partly.stderr.contains("fetch:*.example.org") && !partly.stderr.contains("fetch:127"),
        "{}",
        partly.stderr
    );
    let planned = deploy(&["--plan"]);
    assert!(
        planned
            .stdout
            .contains("may send requests without the connection's credentials to *.example.org and 127.0.0.1"),
        "{}",
        planned.stdout
    );
    let deployed = deploy(&["--allow", "fetch:*.example.org,fetch:127.0.0.1"]);
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);

    let url = |path: &str| format!("{}{path}", upstream.url());
    let fetched = run(&client, "named", json!({"url": url("/within")})).await.ok();
    assert_eq!(fetched["body"], r#"{"seen":"/end"}"#, "{fetched}");
    let refused = run(&client, "named", json!({"url": url("/away")})).await.ok();
    assert_eq!(refused["code"], "url_not_allowed", "{refused}");
    let message = refused["message"].to_string();
    assert!(
        message.contains("localhost") && message.contains("127.0.0.1, *.example.org"),
        "{message}"
    );
    let elsewhere = run(&client, "named", json!({"url": "https://example.org/"})).await.ok();
    assert_eq!(
        elsewhere["code"], "url_not_allowed",
        "what is below it does not mean it: {elsewhere}"
    );
    let unnamed = run(&client, "unnamed", json!({"url": url("/within")})).await.ok();
    assert!(
        unnamed["message"].to_string().contains("it declares no hosts"),
        "{unnamed}"
    );
    let targets: Vec<String> = upstream.received().iter().map(|it| it.target.clone()).collect();
    assert_eq!(targets, ["/within", "/end", "/away"], "nothing was sent elsewhere");

    // A fixture is played to what is declared now.
    let fixture = json!({"input": {"url": "https://other.test/"}, "output": {"status": 200, "body": ""}, "runtime": {"calls": [
        {"import": "fetch.send", "arguments": {"method": "GET", "path": "https://other.test/", "query": [], "headers": [], "body": null},
         "result": {"ok": {"status": 200, "headers": [], "body": null}}},
    ]}});
    let path = server.folder().join("named.test.json");
    std::fs::write(&path, fixture.to_string()).expect("a file can be written");
    let tested = Cli::of(&server, &["test", &path.to_string_lossy(), "--component", &file]).run();
    assert!(
        tested.stdout.contains("url_not_allowed"),
        "{}{}",
        tested.stdout,
        tested.stderr
    );
}
