//! `nango-runtime dev`: rebuilds, redeploys and runs again whenever a file of the project changes. Looks at the times of files, which
//! every file system has and a container shares with its host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method};
use serde_json::{Map, Value};

use super::client::Client;
use super::exit;
use super::input::InputSource;
use super::output::{self, Output, list_at, text_at};
use super::signing::SigningKey;
use super::waterfall::milliseconds;
use super::{build, client, dryrun, run_report};
use crate::clock::Clock;
use crate::http::SIGNATURE_HEADER;

/// How often files are looked at. With [`SETTLE_MS`] it is all that is added to the time of the compiler, the server and the function.
const POLL_MS: u64 = 15;
/// Looking at the files of a large project takes at most one part of so many of the time.
const POLL_SHARE: u32 = 10;
/// An editor that saves several files, or one in several steps, is done when nothing changed for so long.
const SETTLE_MS: u64 = 20;
/// Folders of which nothing is looked at.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];
/// How deep folders are looked through, and files looked at.
const DEPTH_MAX: usize = 8;
const FILES_MAX: usize = 20_000;
/// Operations looked through for the last invocation of one of the project's functions.
const OPERATIONS_MAX: u32 = 50;

/// A build that fails changes nothing: the last good version stays deployed. Runs are dry runs: nothing is written. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
pub struct Dev {
    /// Folder of the crate
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The integration whose functions they are
    #[arg(long, value_name = "KEY")]
    integration: String,
    /// The function to run after each deploy [default: the one that ran last]
    #[arg(long, value_name = "FUNCTION", requires = "connection")]
    invoke: Option<String>,
    /// For which connection
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// The function's input: JSON, @FILE, - or env:NAME
    #[arg(long, value_name = "JSON")]
    input: Option<InputSource>,
    /// Sign components with this Ed25519 private key (PEM), for servers that have `deploy_keys`
    #[arg(long, value_name = "FILE", env = "NANGO_SIGNING_KEY_FILE")]
    signing_key: Option<PathBuf>,
}

/// What to run after each deploy.
struct Invocation {
    function: String,
    body: Map<String, Value>,
}

pub fn run(dev: Dev, output: Output) -> anyhow::Result<()> {
    let client = client()?;
    let input = dev.input.as_ref().map(|input| input.json("--input")).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = watch(dev, input, client, output) => ended,
            interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        }
    });
    // A compiler that is at work gets the terminal's signal itself.
    runtime.shutdown_background();
    output.note("stopped");
    ended
}

async fn watch(dev: Dev, input: Option<Value>, client: Client, output: Output) -> anyhow::Result<()> {
    let clock = Clock::system();
    let mut seen = files(&dev.path);
    loop {
        match round(&dev, input.as_ref(), &client, &clock, output).await {
            Ok(()) => {}
            // Without a server or a key the next round fails alike, and says so; nothing need be started again.
            Err(error) => eprint!("{}", exit::error_text(&error)),
        }
        output.note(&format!("watching {}", dev.path.display()));
        seen = changed(&dev.path, seen, &clock).await;
        output.note("\n--- changed");
    }
}

/// Waits for a change and until there are no more of them for a moment.
async fn changed(path: &Path, seen: Files, clock: &Clock) -> Files {
    let mut now = files(path);
    while now == seen {
        let began_us = clock.monotonic_us();
        now = files(path);
        let took = Duration::from_micros(clock.monotonic_us().saturating_sub(began_us));
        if now == seen {
            clock
                .sleep(Duration::from_millis(POLL_MS).max(took.saturating_mul(POLL_SHARE)))
                .await;
        }
    }
    loop {
        clock.sleep(Duration::from_millis(SETTLE_MS)).await;
        let later = files(path);
        if later == now {
            return now;
        }
        now = later;
    }
}

async fn round(dev: &Dev, input: Option<&Value>, client: &Client, clock: &Clock, output: Output) -> anyhow::Result<()> {
    let started_us = clock.monotonic_us();
    let path = dev.path.clone();
    let built = tokio::task::spawn_blocking(move || build::build_crate(&path, None, output)).await?;
    let component = built.and_then(|path| Ok(std::fs::read(path)?)).map_err(|error| {
        error
            .context("the build failed\nhint: the last version that was built stays deployed; save a file to try again")
    })?;
    let built_us = clock.monotonic_us();
    let mut request = client.request(Method::POST, &["integrations", &dev.integration, "functions"]);
    if let Some(path) = &dev.signing_key {
        request = request.header(SIGNATURE_HEADER, &SigningKey::read(path)?.sign(&component)?)?;
    }
    let request = request
        // Whoever develops changes what a function can do all the time.
        .query("allow", Some("all"))
        .query("allow_destructive", Some(true))
        .body(component, HeaderValue::from_static("application/wasm"));
    let deployed = request.answer().await?;
    let deployed_us = clock.monotonic_us();
    let versions: Vec<String> = list_at(&deployed, "/functions")
        .iter()
        .map(|function| format!("{} v{}", text_at(function, "/name"), text_at(function, "/version")))
        .collect();
    output::print(&format!(
        "deployed {} (built in {}, deployed in {})",
        versions.join(", "),
        milliseconds(built_us - started_us),
        milliseconds(deployed_us - built_us),
    ))?;
    let Some(invocation) = invocation(dev, input, &deployed, client).await? else {
        output.note("nothing to run: give --invoke FUNCTION --connection ID, or run a function once");
        return Ok(());
    };
    let report = dryrun::send(client, &dev.integration, &invocation.function, &invocation.body).await?;
    if output.json {
        return Ok(output::print_json(&report)?);
    }
    output::print(&format!("\n{}", invocation.function))?;
    Ok(output::print(&run_report::render(&report))?)
}

async fn invocation(
    dev: &Dev,
    input: Option<&Value>,
    deployed: &Value,
    client: &Client,
) -> anyhow::Result<Option<Invocation>> {
    let (function, connection) = match (&dev.invoke, &dev.connection) {
        (Some(function), Some(connection)) => (function.clone(), connection.clone()),
        _ => match last_invocation(dev, deployed, client).await? {
            Some(last) => last,
            None => return Ok(None),
        },
    };
    let mut body = Map::new();
    body.insert("connection_id".to_owned(), Value::from(connection));
    if let Some(input) = input {
        body.insert("input".to_owned(), input.clone());
    }
    Ok(Some(Invocation { function, body }))
}

/// The newest run of a function of this project, by the log.
async fn last_invocation(dev: &Dev, deployed: &Value, client: &Client) -> anyhow::Result<Option<(String, String)>> {
    let request = client.request(Method::GET, &["logs", "operations"]);
    let answer = request
        .query("integration", Some(&dev.integration))
        .query("limit", Some(OPERATIONS_MAX))
        .answer()
        .await?;
    let names: Vec<String> = list_at(deployed, "/functions")
        .iter()
        .map(|it| text_at(it, "/name"))
        .collect();
    let operations = list_at(&answer, "/data").iter();
    let mut runs = operations.map(|operation| (text_at(operation, "/function"), text_at(operation, "/connection_id")));
    Ok(runs.find(|(function, connection)| {
        let wanted = dev.connection.as_ref().is_none_or(|wanted| wanted == connection);
        names.contains(function) && !connection.is_empty() && wanted
    }))
}

type Files = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Size and time of each file of the project. What cannot be read is not there, and shows when it can.
fn files(path: &Path) -> Files {
    let mut files = Files::new();
    look(path, 0, &mut files);
    files
}

fn look(folder: &Path, depth: usize, files: &mut Files) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if files.len() >= FILES_MAX || SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            if depth < DEPTH_MAX {
                look(&entry.path(), depth + 1, files);
            }
        } else if name != "Cargo.lock" {
            // The build itself may write the lock file.
            files.insert(entry.path(), (metadata.len(), metadata.modified().ok()));
        }
    }
}
