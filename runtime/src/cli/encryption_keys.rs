//! `nango-runtime keys rotate`, `status` and `retire`: the encryption keys of the installation.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::input::InputSource;
use super::output::{self, Output, list_at, text_at};

/// Said where there are such records.
const IN_CLEAR: &str = "Payloads of records are stored in clear, and a rotation leaves them so: the server seals them in the background \
                        where its setting record_encryption is on.";
/// How often a rotation is looked after.
const POLL: Duration = Duration::from_millis(500);

pub async fn rotate(key: Option<InputSource>, no_wait: bool, client: &Client, output: Output) -> anyhow::Result<()> {
    let key = key.map(|source| source.text("the encryption key")).transpose()?;
    let request = client.request(Method::POST, &["encryption-keys", "rotate"]);
    let mut answer = request.json(&json!({ "key": key })).answer().await?;
    let mut told = String::new();
    while !no_wait && !is_done(&answer) {
        let progress = progress(&answer);
        if progress != told {
            output.note(&progress);
            told = progress;
        }
        tokio::time::sleep(POLL).await;
        answer = client.request(Method::GET, &["encryption-keys"]).answer().await?;
    }
    output.show(&answer, table)?;
    if is_done(&answer) {
        output.note("All that is sealed is sealed with the new key. Back the key file up, then let go of old keys with `keys retire VERSION`.");
    }
    note_clear_records(&answer, output);
    Ok(())
}

pub async fn status(client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.request(Method::GET, &["encryption-keys"]).answer().await?;
    output.show(&answer, |answer| format!("{}\n{}", table(answer), processes(answer)))?;
    note_clear_records(&answer, output);
    Ok(())
}

pub async fn retire(version: i64, client: &Client, output: Output) -> anyhow::Result<()> {
    let request = client.request(Method::DELETE, &["encryption-keys", &version.to_string()]);
    let answer = request.answer().await?;
    output.show(&answer, |_| {
        format!("Retired the encryption key of version {version}; backups from before the rotation still need it")
    })?;
    Ok(())
}

fn note_clear_records(answer: &Value, output: Output) {
    if answer["records_in_clear"] == true {
        output.note(IN_CLEAR);
    }
}

fn is_waiting(answer: &Value) -> bool {
    list_at(answer, "/data")
        .iter()
        .any(|key| text_at(key, "/state") == "waiting")
}

fn is_done(answer: &Value) -> bool {
    !is_waiting(answer) && answer["remaining"] == 0
}

fn progress(answer: &Value) -> String {
    if is_waiting(answer) {
        "Waiting until every process has the new key; `keys status` shows which has not".to_owned()
    } else {
        format!("{} values are still sealed with an older key", answer["remaining"])
    }
}

fn table(answer: &Value) -> String {
    let values = |key: &Value| {
        let places = list_at(key, "/values").iter();
        let each = places.map(|place| format!("{} {}", text_at(place, "/place"), place["count"]));
        each.collect::<Vec<_>>().join(", ")
    };
    let row = |key: &Value| {
        [
            key["version"].to_string(),
            text_at(key, "/id"),
            text_at(key, "/state"),
            text_at(key, "/created_at"),
            values(key),
        ]
    };
    let rows: Vec<[String; 5]> = list_at(answer, "/data").iter().map(row).collect();
    output::table(
        ["version", "id", "state", "made", "values"],
        &rows,
        "No encryption keys",
    )
}

fn processes(answer: &Value) -> String {
    let row = |process: &Value| {
        let ids = list_at(process, "/key_ids").iter().filter_map(Value::as_str);
        [
            text_at(process, "/id"),
            ids.collect::<Vec<_>>().join(" "),
            text_at(process, "/sealing_with"),
            text_at(process, "/seen_at"),
        ]
    };
    let rows: Vec<[String; 4]> = list_at(answer, "/processes").iter().map(row).collect();
    output::table(["process", "has", "seals with", "seen"], &rows, "No processes")
}
