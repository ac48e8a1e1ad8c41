//! The command line: what it prints, for people and for machines, and its exit codes.

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::upstream::closed_port;
use nango_runtime_tests::{Reply, Server, TestRuntime, Upstream, guest};
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_guest, with_upstream};

/// The guest in a file that the commands can read.
fn component_file(server: &Server) -> String {
    let path = server.folder().join("basic.wasm");
    std::fs::write(&path, guest::component("basic")).expect("a file can be written");
    path.to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_session() {
    let upstream = Upstream::replying([Reply::json(200, &json!({"hello": "there"}))]).await;
    let (server, _) = with_upstream(&upstream.url()).await;
    let path = component_file(&server);

    let deployed = Cli::of(&server, &["deploy", &path, "--integration", INTEGRATION]).run();
    assert_eq!(deployed.code, Some(0), "{}", deployed.stderr);
    assert!(deployed.stdout.contains("echo"), "{}", deployed.stdout);

    let listed = Cli::of(&server, &["functions", "list", "--json"]).run().json();
    assert!(
        listed["data"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == "echo")),
        "{listed}"
    );

    let invoke = ["invoke", INTEGRATION, "echo", "--connection", CONNECTION];
    let given = |input: &str| Cli::of(&server, &[&invoke[..], &["--input", input]].concat());
    assert_eq!(given(r#"{"n":1}"#).run().json(), json!({"n": 1}));
    assert_eq!(given("-").input(r#"{"n":2}"#).run().json(), json!({"n": 2}));
    std::fs::write(server.folder().join("input.json"), r#"{"n":3}"#).expect("a file can be written");
    assert_eq!(given("@input.json").run().json(), json!({"n": 3}));

    let proxy = [
        "proxy",
        "GET",
        "/x",
        "--integration",
        INTEGRATION,
        "--connection",
        CONNECTION,
    ];
    let proxied = Cli::of(&server, &proxy).run();
    assert_eq!(
        (proxied.code, proxied.stdout.trim()),
        (Some(0), r#"{"hello":"there"}"#),
        "{}",
        proxied.stderr
    );
    assert_eq!(
        upstream.received()[0].header("authorization"),
        format!("Bearer {API_KEY}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn integrations_and_connections_from_the_command_line() {
    let server = TestRuntime::new().start();
    let run = |arguments: &[&str]| Cli::of(&server, arguments).run();
    assert_eq!(
        run(&["integration", "create", "mine", "--provider", "private-api-bearer"]).code,
        Some(0)
    );
    let credentials = r#"{"type":"API_KEY","apiKey":"k"}"#;
    let import = ["connection", "import", "mine", "c1", "--credentials", credentials];
    let imported = run(&import);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    let listed = run(&["connection", "list", "--json"]).json();
    assert_eq!(listed["connections"][0]["connection_id"], "c1", "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_there_are_no_records() {
    let (server, client) = with_guest("basic", "http://127.0.0.1:9").await;
    let records = |model: &str, more: &[&str]| {
        let arguments = ["records", INTEGRATION, model, "--connection", CONNECTION];
        Cli::of(&server, &[&arguments, more].concat())
    };
    let told = |cli: Cli| {
        let ended = cli.run();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    assert_eq!(told(records("Item", &[])), "No records of the model Item\n");
    assert_eq!(
        told(records("Item", &["--variant", "eu"])),
        "No records of the model Item in the variant eu\n"
    );
    let unknown = told(records("Itme", &[]));
    let expected = format!("No records: no sync deployed for {INTEGRATION} declares the model Itme. These declare:\n");
    assert!(
        unknown.starts_with(&expected) && unknown.contains("\n  items: Item\n"),
        "{unknown}"
    );
    let answer = records("Itme", &["--json"]).run().json();
    assert_eq!(answer, json!({"next_cursor": null, "records": []}));

    // A key that may not see what is deployed sees the records.
    let made = client
        .post(
            "/api-keys",
            &json!({"name": "reader", "scopes": ["environment:records:read"]}),
        )
        .await
        .ok();
    let key = made["data"]["key"].as_str().expect("a key is shown once");
    assert_eq!(
        told(records("Itme", &[]).environment("NANGO_SECRET_KEY", key)),
        "No records of the model Itme\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_mean_something() {
    let (server, _) = with_guest("basic", "http://127.0.0.1:9").await;
    let invoke = |function: &str| Cli::of(&server, &["invoke", INTEGRATION, function, "--connection", CONNECTION]);
    let refused = invoke("refuse").run();
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (Some(1), ""),
        "{}",
        refused.stderr
    );
    assert_eq!(invoke("nope").run().code, Some(1));
    assert_eq!(Cli::of(&server, &["invoke"]).run().code, Some(2));
    assert_eq!(Cli::of(&server, &["no-such-command"]).run().code, Some(2));
    let no_file = Cli::of(&server, &["deploy", "/no/such.wasm", "--integration", INTEGRATION]).run();
    assert_eq!(no_file.code, Some(2), "{}", no_file.stderr);
    assert_eq!(Cli::of(&server, &["logs", "--state", "odd"]).run().code, Some(2));
    let nowhere = format!("http://127.0.0.1:{}", closed_port());
    assert_eq!(
        invoke("echo").environment("NANGO_HOSTPORT", &nowhere).run().code,
        Some(3)
    );
    assert_eq!(invoke("echo").environment("NANGO_SECRET_KEY", "").run().code, Some(4));
    let unknown = "11111111-1111-4111-8111-111111111111";
    assert_eq!(
        invoke("echo").environment("NANGO_SECRET_KEY", unknown).run().code,
        Some(4)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_for_people_or_for_machines() {
    let (server, _) = with_guest("basic", "http://127.0.0.1:9").await;
    let arguments = ["invoke", INTEGRATION, "nope", "--connection", CONNECTION];
    let person = Cli::of(&server, &arguments).run();
    assert!(
        person.stderr.starts_with("error:") && person.stderr.contains("nope"),
        "{}",
        person.stderr
    );
    let machine = Cli::of(&server, &[&arguments[..], &["--json"]].concat()).run();
    let error: serde_json::Value = serde_json::from_str(&machine.stderr).expect("one line of JSON");
    assert_eq!(
        (machine.code, &error["error"]["answer"]["error"]["code"]),
        (Some(1), &json!("not_found")),
        "{}",
        machine.stderr
    );
}

#[test]
fn the_first_start_shows_a_generated_key_once() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let start = || {
        TestRuntime::new()
            .data(folder.path())
            .environment("NANGO_SECRET_KEY", "")
            .start()
    };
    let key = |log: &str| {
        log.split("NANGO_SECRET_KEY=")
            .nth(1)
            .map(|rest| rest.chars().take(36).collect::<String>())
    };
    let mut first = start();
    let shown = first.process().wait_for_line(key);
    drop(first);
    let again = start();
    assert_eq!(key(&again.log()), None, "it is shown once");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listed = runtime.block_on(again.client().with_key(Some(&shown)).get("/connections"));
    assert_eq!(listed.status, 200, "the key stays good");
}
