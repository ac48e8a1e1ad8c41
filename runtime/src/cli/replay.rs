//! `nango-runtime replay`: runs a recorded run again and shows what would differ.

use std::path::PathBuf;

use anyhow::bail;
use http::{HeaderValue, Method};
use serde_json::Value;

use super::client::Client;
use super::input::InputError;
use super::output::{Output, list_at, text_at};
use super::signing::SigningKey;
use super::{build, difference, dryrun, run_report};
use crate::http::SIGNATURE_HEADER;
use crate::recording::Comparison;

/// Characters of a digest that tell components apart.
const DIGEST_CHARS: usize = 12;

/// Nothing is requested and nothing is written: the recording answers. Exit code 1 when something differs.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The run, as `nango-runtime logs --json` names it (run_id)
    run_id: String,
    /// Run this component (.wasm), or the crate in this folder, in the place of the one that ran then
    #[arg(long, value_name = "FILE|DIR")]
    with: Option<PathBuf>,
    /// Sign that component with this Ed25519 private key (PEM), for servers that have `deploy_keys`
    #[arg(long, value_name = "FILE", env = "NANGO_SIGNING_KEY_FILE")]
    signing_key: Option<PathBuf>,
    /// Keep the recorded run as a test fixture
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// What the command line names, read before a server is asked.
pub fn component(replay: &Replay, output: Output) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(path) = &replay.with else { return Ok(None) };
    let path = if path.is_dir() {
        build::build_crate(path, None, output)?
    } else {
        path.clone()
    };
    let component = std::fs::read(&path).map_err(|source| InputError::File {
        what: "--with",
        path,
        source,
    })?;
    Ok(Some(component))
}

pub async fn run(replay: Replay, component: Option<Vec<u8>>, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut request = client.request(Method::POST, &["runs", &replay.run_id, "replay"]);
    if let Some(component) = component {
        if let Some(path) = &replay.signing_key {
            request = request.header(SIGNATURE_HEADER, &SigningKey::read(path)?.sign(&component)?)?;
        }
        request = request.body(component, HeaderValue::from_static("application/wasm"));
    }
    let answer = request.answer().await?;
    output.show(&answer, render)?;
    if let Some(path) = &replay.save {
        dryrun::save(path, answer.get("before").unwrap_or(&Value::Null))?;
        output.note(&format!("saved {}", path.display()));
    }
    if answer.pointer("/comparison/same") != Some(&Value::Bool(true)) {
        bail!("the run would not do the same again");
    }
    Ok(())
}

fn render(answer: &Value) -> String {
    let digest = |at: &str| text_at(answer, at).chars().take(DIGEST_CHARS).collect::<String>();
    let (before, after) = (digest("/digest_before"), digest("/digest_after"));
    let with = if before == after {
        format!("the component of then ({before})")
    } else {
        format!("another component ({before} → {after})")
    };
    let comparison: Comparison = answer
        .get("comparison")
        .and_then(|comparison| serde_json::from_value(comparison.clone()).ok())
        .unwrap_or_default();
    let mut out = format!(
        "Replayed {} of {}/{} with {with}\n\n",
        text_at(answer, "/function"),
        text_at(answer, "/integration"),
        text_at(answer, "/connection_id"),
    );
    out.push_str(&run_report::render(answer.get("after").unwrap_or(&Value::Null)));
    out.push('\n');
    if comparison.same {
        out.push_str(&format!(
            "The same again: {} {} of the host, output, records, checkpoint\n",
            comparison.calls_before,
            if comparison.calls_before == 1 { "call" } else { "calls" },
        ));
        return out;
    }
    if let Some(first) = &comparison.first_call {
        let none = || "(no call)".to_owned();
        out.push_str(&format!(
            "The first call that differs is number {}:\n  - {}\n  + {}\n",
            first.number,
            first.before.clone().unwrap_or_else(none),
            first.after.clone().unwrap_or_else(none),
        ));
    }
    for miss in list_at(answer, "/not_recorded") {
        out.push_str(&format!("Not recorded: {}\n", miss.as_str().unwrap_or_default()));
    }
    if !comparison.differences.is_empty() {
        out.push_str("What would be different (- then, + now):\n");
        out.push_str(&difference::render(&comparison.differences));
    }
    if comparison.more > 0 {
        out.push_str(&format!("  … and {} more\n", comparison.more));
    }
    out
}
