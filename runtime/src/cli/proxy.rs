//! `nango-runtime proxy`: one request to a provider through the server, which adds the connection's credentials. The body of
//! the answer goes to standard output as it came.

use std::io::Write as _;

use http::{HeaderValue, Method, StatusCode};

use super::client::Client;
use super::input::InputSource;

/// Headers with this prefix reach the provider without it.
const FORWARD_PREFIX: &str = "nango-proxy-";

#[derive(Debug, clap::Args)]
pub struct Proxy {
    /// GET, POST, PUT, PATCH, DELETE …
    #[arg(value_parser = parse_method)]
    method: Method,
    /// Path below the provider's base URL, with its query string
    path: String,
    #[arg(long, value_name = "KEY")]
    integration: String,
    #[arg(long, value_name = "ID")]
    connection: String,
    /// Header for the provider; repeatable
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Body: text, @FILE, - or env:NAME; JSON unless a content-type header says otherwise
    #[arg(long, short, value_name = "BODY")]
    data: Option<InputSource>,
    /// Extra attempts after a failure
    #[arg(long, value_name = "NUMBER")]
    retries: Option<u32>,
    /// Another base URL than the provider's; the operator must allow it
    #[arg(long, value_name = "URL")]
    base_url_override: Option<String>,
    /// Show status and headers of the answer, on standard error
    #[arg(long, short)]
    include: bool,
}

/// The exit code of an answer that is no success; its body has been printed.
#[derive(Debug, thiserror::Error)]
#[error("the answer has the status {status}")]
struct Unsuccessful {
    status: StatusCode,
}

pub async fn run(proxy: Proxy, client: &Client) -> anyhow::Result<()> {
    let mut request = client
        .proxy_request(proxy.method, &proxy.path)?
        .target(&proxy.integration, &proxy.connection)?;
    for (name, value) in &proxy.headers {
        // The type of the body is also the server's business and has no prefix.
        let is_type = name.eq_ignore_ascii_case("content-type");
        request = request.header(
            &if is_type {
                name.clone()
            } else {
                format!("{FORWARD_PREFIX}{name}")
            },
            value,
        )?;
    }
    if let Some(retries) = proxy.retries {
        request = request.header("retries", &retries.to_string())?;
    }
    if let Some(url) = &proxy.base_url_override {
        request = request.header("base-url-override", url)?;
    }
    if let Some(data) = proxy.data {
        request = request.body(data.bytes("--data")?, HeaderValue::from_static("application/json"));
    }
    let response = request.send().await?;
    if proxy.include {
        eprintln!("{}", response.status());
        for (name, value) in response.headers() {
            eprintln!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        let body = response.bytes().await.map_err(broke_off)?;
        if let Some(refusal) = client.key_refusal(&body) {
            return Err(refusal.into());
        }
        std::io::stdout().lock().write_all(&body)?;
    } else {
        print_body(response).await?;
    }
    if status.is_client_error() || status.is_server_error() {
        return Err(Unsuccessful { status }.into());
    }
    Ok(())
}

async fn print_body(mut response: reqwest::Response) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    while let Some(chunk) = response.chunk().await.map_err(broke_off)? {
        stdout.write_all(&chunk)?;
    }
    stdout.flush()?;
    Ok(())
}

/// Without the URL, whose query may hold a secret.
fn broke_off(error: reqwest::Error) -> anyhow::Error {
    anyhow::Error::new(error.without_url()).context("the answer broke off")
}

fn parse_method(text: &str) -> Result<Method, String> {
    text.to_uppercase()
        .parse()
        .map_err(|_| "a method such as GET".to_owned())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        Some(_) | None => Err("a header is NAME:VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_at_the_first_colon() {
        assert_eq!(parse_header("a: b:c"), Ok(("a".into(), "b:c".into())));
        assert!(parse_header("a").is_err() && parse_header(": x").is_err());
    }

    #[test]
    fn methods_may_be_lower_case() {
        assert_eq!(parse_method("get"), Ok(Method::GET));
        assert!(parse_method("g t").is_err());
    }
}
