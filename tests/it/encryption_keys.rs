//! Encryption keys are changed while the server runs: nothing is lost, not by `kill -9` either, and the old key can go.

use std::path::Path;
use std::time::Duration;

use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Client, Server, TestRuntime};
use serde_json::{Value, json};

const CONNECTIONS: usize = 250;
const KEY_FILE: &str = "encryption.key";

fn start(data: &Path) -> (Server, Client) {
    let server = TestRuntime::new().data(data).start();
    let client = server.client();
    (server, client)
}

async fn status(client: &Client) -> Value {
    client.get("/encryption-keys").await.ok()
}

async fn all_moved(client: &Client) {
    for _ in 0..600 {
        if status(client).await["remaining"] == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("values were not moved: {}", status(client).await);
}

async fn all_readable(client: &Client) {
    for number in (0..CONNECTIONS).step_by(20) {
        let shown = client
            .get(&format!("/connections/c{number}?provider_config_key=keys"))
            .await
            .ok();
        assert_eq!(shown["credentials"]["apiKey"], format!("secret-{number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_survives_kill_and_the_old_key_goes() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (mut server, mut client) = start(folder.path());
    // A provider of the catalogue whose keys need no trial at an API.
    let _ = client.create_integration("keys", "private-api-bearer").await.ok();
    for number in 0..CONNECTIONS {
        let key = json!({"type": "API_KEY", "apiKey": format!("secret-{number}")});
        let _ = client.import_connection("keys", &format!("c{number}"), key).await.ok();
    }
    let before = std::fs::read(folder.path().join(KEY_FILE)).expect("there is a key file");

    let rotated = client.post("/encryption-keys/rotate", &json!({})).await.ok();
    assert_eq!(rotated["data"][1]["state"], "sealing", "{rotated}");
    // Wherever it is just then: at the beginning, in the middle, nearly through.
    for after_ms in [0, 5, 20] {
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        server.process().kill();
        (server, client) = start(folder.path());
        all_readable(&client).await;
    }
    all_moved(&client).await;
    all_readable(&client).await;

    let refused = client.delete("/encryption-keys/2").await;
    assert_eq!(
        (refused.status, refused.error_code()),
        (409, "conflict".into()),
        "{}",
        refused.text()
    );
    // Refused until all that was under way at the rotation must have come in.
    let mut retired = Cli::of(&server, &["keys", "retire", "1"]).run();
    assert_eq!(retired.code, Some(1), "{}", retired.stdout);
    for _ in 0..60 {
        assert!(retired.stderr.contains("try again in"), "{}", retired.stderr);
        tokio::time::sleep(Duration::from_secs(1)).await;
        retired = Cli::of(&server, &["keys", "retire", "1"]).run();
        if retired.code == Some(0) {
            break;
        }
    }
    assert_eq!(retired.code, Some(0), "{}", retired.stderr);
    let after = std::fs::read(folder.path().join(KEY_FILE)).expect("there is a key file");
    assert_eq!(after.len(), before.len(), "the new key only");
    assert_ne!(after, before);
    server.process().kill();

    // The old key alone is refused and nothing is lost by the try.
    std::fs::write(folder.path().join(KEY_FILE), &before).expect("the key file can be written");
    let (code, told) = TestRuntime::new().data(folder.path()).fail();
    assert_eq!(code, Some(1));
    assert!(told.contains("sealed with the encryption key"), "{told}");
    std::fs::write(folder.path().join(KEY_FILE), &after).expect("the key file can be written");
    let (_server, client) = start(folder.path());
    all_readable(&client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_rotates_and_says_how_it_stands() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (server, client) = start(folder.path());
    let rotated = Cli::of(&server, &["keys", "rotate", "--json"]).run().json();
    assert_eq!(rotated["remaining"], 0, "{rotated}");
    let shown = Cli::of(&server, &["keys", "status"]).run();
    assert!(
        shown.stdout.contains("sealing") && shown.stdout.contains("opening"),
        "{}",
        shown.stdout
    );
    // A key of one's own; not one that was in use.
    let own = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    for expected in [Some(0), Some(1)] {
        let command = Cli::of(&server, &["keys", "rotate", "--key", "env:OWN"]).environment("OWN", own);
        let ended = command.run();
        assert_eq!(ended.code, expected, "{}", ended.stderr);
        assert!(!ended.stdout.contains(own) && !ended.stderr.contains(own));
    }
    let bad = client
        .post("/encryption-keys/rotate", &json!({"key": "c2hvcnQ="}))
        .await;
    assert_eq!(
        (bad.status, bad.error_code()),
        (400, "invalid_body".into()),
        "{}",
        bad.text()
    );
    assert!(!server.log().contains(own));
}
