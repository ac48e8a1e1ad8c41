//! `nango-runtime serve`: settings, telemetry, the listening socket, the runtime, the HTTP server, in that order, and all of
//! it stopped again on SIGINT or SIGTERM.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::output::{self, Output};
use crate::config::{self, Config, Flag};
use crate::{Runtime, http, telemetry};

/// Settings that are no flag are set with `NANGO_*` variables or in the config file; `config.default.toml` lists them.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Address and port of the HTTP API [default: 127.0.0.1:3003]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The address of this server as browsers see it, for links and redirect URIs [default: made of --listen]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Folder of database, encryption key and compiled code [default: nango-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// PostgreSQL instead of SQLite in the data folder; NANGO_DATABASE_URL keeps a password out of the process list
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Settings in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Providers to add to the catalogue, in the schema of providers.yaml; repeatable
    #[arg(long, value_name = "FILE|DIR")]
    providers: Vec<PathBuf>,
    /// Private network that requests may reach, such as 10.0.0.0/8, or `loopback` for upstreams on this machine; repeatable
    #[arg(long, value_name = "CIDR")]
    egress_allow: Vec<String>,
}

pub fn run(serve: Serve, output: Output) -> anyhow::Result<()> {
    let file = serve.config.clone();
    // Names and values that are no Unicode belong to somebody else.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = config::load(file.as_deref(), environment, serve.into_flags())?;
    telemetry::init(&settings.log)?;
    for name in &settings.ignored_variables {
        tracing::warn!("the environment variable {name} is no setting of nango-runtime and is ignored");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve_until_stopped(settings.config, output))
}

impl Serve {
    fn into_flags(self) -> Vec<Flag> {
        let text = |name, key, value: Option<String>| {
            Some(Flag {
                name,
                key,
                value: value?.into(),
            })
        };
        let list = |name, key, values: Vec<String>| {
            (!values.is_empty()).then(|| Flag {
                name,
                key,
                value: values.into(),
            })
        };
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        [
            text("--listen", "listen", self.listen.map(|listen| listen.to_string())),
            text("--public-url", "public_url", self.public_url),
            text("--data", "data_dir", self.data.map(path)),
            text("--database-url", "database_url", self.database_url),
            list(
                "--providers",
                "providers",
                self.providers.into_iter().map(path).collect(),
            ),
            list("--egress-allow", "egress_allow", self.egress_allow),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

async fn serve_until_stopped(mut config: Config, output: Output) -> anyhow::Result<()> {
    // First of all: a signal that comes while starting must not be lost.
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminated = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let listener = listen(config.listen).await?;
    let address = listener.local_addr().context("the listening socket has no address")?;
    // Where port 0 was asked for, links need the one that it became.
    config.listen = address;
    let data_dir = config.data_dir.clone();
    let runtime = Runtime::start(config).await.context("nango-runtime cannot start")?;
    announce(&runtime, address, &data_dir, output)?;
    let shutdown = async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        tracing::info!("stopping: waiting for runs to end");
    };
    let served = http::serve(listener, runtime.clone(), shutdown).await;
    runtime.shutdown().await;
    served.context("the HTTP server failed")
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another process uses this port (a nango-runtime that runs already?); choose another with --listen, or port 0 for any free one"
            }
            std::io::ErrorKind::PermissionDenied => "this user may not use this port; choose one above 1023 with --listen",
            std::io::ErrorKind::AddrNotAvailable => "no network interface of this machine has this address; choose another with --listen",
            _ => "choose another address with --listen",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address}\nhint: {hint}"))
    })
}

/// Says where the server is, and the API key if this start made one: it is shown here and never again.
fn announce(runtime: &Runtime, address: SocketAddr, data_dir: &std::path::Path, output: Output) -> anyhow::Result<()> {
    let url = format!("http://{address}");
    let key = runtime.take_new_api_key();
    let key = key.as_ref().map(|key| key.expose().as_str());
    if output.json {
        output::print(&json!({"url": url, "api_key": key, "data_dir": data_dir}).to_string())?;
        return Ok(());
    }
    eprintln!("nango-runtime {} listens on {url}", env!("CARGO_PKG_VERSION"));
    eprintln!("data folder: {}", data_dir.display());
    if let Some(key) = key {
        eprintln!("\nThis is the API key. It is shown only now:\n\n    export NANGO_SECRET_KEY={key}\n");
    }
    Ok(())
}
