//! `nango-runtime canary`: a deploy that some connections try. It is begun with `deploy --canary`.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Subcommand)]
pub enum Canary {
    /// The last canary of an integration, and how its runs ended
    Status { integration: String },
    /// Make what is tried active for all connections
    Promote { integration: String },
    /// Give up what is tried: all connections run the active versions
    Abort { integration: String },
}

pub async fn run(command: Canary, client: &Client, output: Output) -> anyhow::Result<()> {
    let (method, integration, end) = match &command {
        Canary::Status { integration } => (Method::GET, integration, None),
        Canary::Promote { integration } => (Method::POST, integration, Some("promote")),
        Canary::Abort { integration } => (Method::POST, integration, Some("abort")),
    };
    let path: Vec<&str> = ["integrations", integration, "canary"].into_iter().chain(end).collect();
    let answer = client.request(method, &path).answer().await?;
    output.show(&answer, describe)?;
    Ok(())
}

fn describe(answer: &Value) -> String {
    let text = |at| text_at(answer, at);
    let count = |function: &Value, of: &str| {
        let number = |what: &str| {
            function
                .pointer(&format!("/{of}/{what}"))
                .and_then(Value::as_i64)
                .unwrap_or(0)
        };
        let failed = number("failed");
        format!("{failed} of {}", failed + number("succeeded"))
    };
    let row = |function: &Value| {
        [
            text_at(function, "/name"),
            text_at(function, "/version"),
            count(function, "runs"),
            text_at(function, "/active_version"),
            count(function, "active_runs"),
        ]
    };
    let rows: Vec<[String; 5]> = list_at(answer, "/data/functions").iter().map(row).collect();
    let mut fields = vec![
        ("integration", text("/data/integration")),
        ("state", text("/data/state").replace('_', " ")),
        ("connections", format!("{} %", text("/data/percent"))),
        ("may fail", format!("{} % of runs", text("/data/errors_percent"))),
        ("began", text("/data/began_at")),
    ];
    if text("/data/ended_at").is_empty() {
        fields.push(("until", text("/data/until")));
    } else {
        fields.push(("ended", text("/data/ended_at")));
        fields.push(("because", text("/data/reason")));
    }
    format!(
        "{}\n{}",
        output::fields(&fields),
        output::table(
            ["function", "tried", "failed", "active", "failed"],
            &rows,
            "No functions"
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_says_what_is_tried_and_how_it_goes() {
        let mut answer = json!({"data": {
            "integration": "github", "state": "running", "percent": 10, "errors_percent": 5,
            "began_at": "2026-11-22T11:00:00.000Z", "until": "2026-11-22T12:00:00.000Z", "ended_at": null, "reason": null,
            "functions": [{
                "name": "issues", "version": 4, "runs": {"succeeded": 9, "failed": 1},
                "active_version": 3, "active_runs": {"succeeded": 90, "failed": 0},
            }],
        }});
        let expected = "\
integration  github
state        running
connections  10 %
may fail     5 % of runs
began        2026-11-22T11:00:00.000Z
until        2026-11-22T12:00:00.000Z

FUNCTION  TRIED  FAILED   ACTIVE  FAILED
issues    4      1 of 10  3       0 of 90
";
        assert_eq!(describe(&answer), expected);
        answer["data"]["state"] = json!("rolled_back");
        answer["data"]["ended_at"] = json!("2026-11-22T11:30:00.000Z");
        answer["data"]["reason"] = json!("2 of 11 runs of issues in version 4 failed; 5 % may");
        let ended = describe(&answer);
        assert!(
            ended.contains("rolled back") && ended.contains("2 of 11 runs of issues"),
            "{ended}"
        );
    }
}
