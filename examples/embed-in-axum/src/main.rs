//! A product's own server with nango-runtime inside, instead of beside it. It shows the two ways to embed:
//!
//! - `/nango/…` is the whole HTTP API, mounted as a router: deploy functions and import connections through it, with `curl`, the CLI
//!   (`NANGO_HOSTPORT=http://127.0.0.1:8080/nango`) or `@nangohq/node`.
//! - `GET /me/{connection_id}` is a route of the product itself. It runs the action `whoami` of the integration `github` with
//!   [`Runtime::invoke`]: no HTTP between the two, and no API key.
//!
//! ```sh
//! NANGO_SECRET_KEY=13af84fa-536e-4181-953b-118bd1dc72f8 cargo run -p example-embed-in-axum
//! curl http://127.0.0.1:8080/nango/health
//! ```
//!
//! The product decides about its own settings, logging and signals; the runtime takes none of them over.

use std::path::PathBuf;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nango_runtime::Runtime;
use nango_runtime::config::Config;
use nango_runtime::credentials::Secret;
use nango_runtime::runtime::InvokeError;

const ADDRESS: &str = "127.0.0.1:8080";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config {
        data_dir: PathBuf::from("product-data"),
        secret_key: std::env::var("NANGO_SECRET_KEY").ok().map(Secret::new),
        ..Config::default()
    };
    let runtime = Runtime::start(config).await?;
    if let Some(key) = runtime.take_new_api_key() {
        println!("API key of /nango, shown once: {}", key.expose());
    }

    let product = Router::new()
        .route("/", get(async || "The product"))
        .route("/me/{connection_id}", get(me))
        .with_state(runtime.clone())
        .nest("/nango", nango_runtime::http::router(runtime.clone()));

    let listener = tokio::net::TcpListener::bind(ADDRESS).await?;
    println!("The product listens on http://{ADDRESS}");
    axum::serve(listener, product)
        .with_graceful_shutdown(async {
            // Without the signal there is nothing to wait for: the server ends at once rather than never.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    // Runs under way end, the log is written, the database is closed.
    runtime.shutdown().await;
    Ok(())
}

/// Whose account is behind this connection? The action's output is JSON text and goes out as it is.
async fn me(State(runtime): State<Runtime>, Path(connection_id): Path<String>) -> Response {
    let environment = runtime.default_environment();
    let invoked = runtime
        .invoke(&environment.id, "github", &connection_id, "whoami", "null".to_owned())
        .await;
    match invoked {
        Ok(output) => ([(header::CONTENT_TYPE, "application/json")], output).into_response(),
        Err(error) => {
            // What went wrong is for the product's log; what its users see is the product's business.
            eprintln!("whoami for {connection_id:?}: {error}");
            let status = match error {
                InvokeError::Connections(_) => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_GATEWAY,
            };
            status.into_response()
        }
    }
}
