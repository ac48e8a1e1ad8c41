//! Dry runs for webhooks that did not come, and the fixtures that are made of them.

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{TestRuntime, guest};
use serde_json::{Value, json};

use crate::webhooks_in::{prepare, things};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_plays_a_webhook_and_keeps_it_as_a_fixture() {
    let (server, client) = prepare(TestRuntime::new()).await;
    let folder = server.folder();
    let write = |name: &str, webhook: &Value| {
        let path = folder.join(name);
        std::fs::write(&path, webhook.to_string()).expect("a file can be written");
        path.to_string_lossy().into_owned()
    };
    let made = write(
        "made.json",
        &json!({"headers": {"X-Note": "dry", "x-acme-event": "thing.made"}, "body": {"id": "t1"}}),
    );
    let fixture = folder.join("things.webhook.test.json").to_string_lossy().into_owned();
    let dry = |more: &[&str]| {
        let arguments = ["dryrun", "things", "one", "--integration", "acme"];
        Cli::of(&server, &[&arguments, more].concat()).run()
    };
    let ran = dry(&["--webhook", &made, "--save", &fixture, "--json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let saved = &ran.json()["effects"]["records"]["Thing"]["saved"][0];
    assert_eq!(
        *saved,
        json!({"id": "t1", "by": "POST thing.made", "note": "dry", "count": 1}),
        "{}",
        ran.stdout
    );
    assert_eq!(
        things(&client, "one", "Thing", 0).await,
        Vec::<Value>::new(),
        "nothing was written"
    );

    let kept: Value = serde_json::from_slice(&std::fs::read(&fixture).expect("it is there")).expect("JSON");
    assert_eq!(kept["runtime"]["webhook"], true);
    assert_eq!(
        (&kept["input"]["body"], &kept["input"]["headers"]["x-note"]),
        (&json!({"id": "t1"}), &json!("dry"))
    );
    let component = folder.join("hooks.wasm");
    std::fs::write(&component, guest::component("hooks")).expect("a file can be written");
    let component = component.to_string_lossy().into_owned();
    let test = || Cli::of(&server, &["test", &fixture, "--component", &component]).run();
    let tested = test();
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    let mut changed = kept.clone();
    changed["input"]["body"]["id"] = json!("t2");
    std::fs::write(&fixture, changed.to_string()).expect("a file can be written");
    let tested = test();
    assert!(
        tested.code == Some(1) && tested.stdout.contains("record Thing t2"),
        "{}",
        tested.stdout
    );

    let other = write(
        "other.json",
        &json!({"headers": {"x-acme-event": "user.left"}, "body": {}}),
    );
    let refused = dry(&["--webhook", &other]);
    assert!(
        refused
            .stderr
            .contains("it brings user.left, and the sync handles thing.changed, thing.made"),
        "{}",
        refused.stderr
    );
    let action = Cli::of(
        &server,
        &["dryrun", "address", "one", "--integration", "acme", "--webhook", &made],
    )
    .run();
    assert!(action.stderr.contains("handles no webhooks"), "{}", action.stderr);
    let odd = write("odd.json", &json!({"header": {}}));
    assert!(
        dry(&["--webhook", &odd]).stderr.contains("header"),
        "{}",
        dry(&["--webhook", &odd]).stderr
    );
}
