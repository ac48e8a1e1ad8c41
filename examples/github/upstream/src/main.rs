//! `example-github-upstream`: the routes of GitHub's API that the example needs, for a demo without GitHub.
//!
//! It checks the token, gives issues in pages joined by `Link`, and is once over its rate limit and once out of order, so
//! that one sees how the host copes. It forgets everything when it ends.

mod issues;
mod routes;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::net::TcpListener;

use crate::routes::Upstream;

/// The routes of GitHub's API that the example needs.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The personal token it accepts.
    #[arg(long, default_value = "demo-token")]
    token: String,
    /// How many issues and pull requests the repository has.
    #[arg(long, default_value_t = 256)]
    issues: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { listen, token, issues } = Arguments::parse();
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, Upstream::new(token, issues).router()).await?;
    Ok(())
}
