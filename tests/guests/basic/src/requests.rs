//! Requests in all the ways there are.

use nango_guest_sdk::prelude::*;
use nango_guest_sdk::{Request, Response};

#[derive(Deserialize, JsonSchema)]
pub struct Fetch {
    path: String,
    method: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    retries: Option<u32>,
    #[serde(default)]
    retry_header_after: Vec<String>,
    body: Option<Value>,
    base_url_override: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct Fetched {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

#[derive(Deserialize, JsonSchema)]
pub struct Paths {
    paths: Vec<String>,
    max_in_flight: Option<u32>,
}

impl Fetch {
    fn request(self, nango: &Nango) -> Result<Request, Error> {
        let mut request = nango.request(self.method.unwrap_or_else(|| "GET".to_owned()), self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(retries) = self.retries {
            request = request.retries(retries);
        }
        if !self.retry_header_after.is_empty() {
            let names: Vec<&str> = self.retry_header_after.iter().map(String::as_str).collect();
            request = request.retry_header_after(&names);
        }
        if let Some(url) = self.base_url_override {
            request = request.base_url_override(url);
        }
        match self.body {
            Some(body) => request.json(&body),
            None => Ok(request),
        }
    }
}

fn fetched(response: &Response) -> Fetched {
    let body = response
        .json()
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&response.bytes())));
    Fetched {
        status: response.status(),
        headers: response.headers(),
        body,
    }
}

/// Sends one request and gives the answer whatever its status.
#[action]
pub fn fetch(nango: &Nango, input: Fetch) -> Result<Fetched, ActionError> {
    Ok(fetched(&input.request(nango)?.send_any()?))
}

/// Sends a batch and gives the statuses.
#[action]
pub fn fetch_many(nango: &Nango, input: Paths) -> Result<Vec<u16>, ActionError> {
    let requests = input.paths.into_iter().map(|path| nango.get(path));
    let answers = nango.send_all(requests, input.max_in_flight.unwrap_or(8));
    let status = |answer: Result<Response, Error>| match answer {
        Ok(answer) => Ok(answer.status()),
        Err(error) => error.status().ok_or(error),
    };
    Ok(answers.into_iter().map(status).collect::<Result<_, _>>()?)
}

/// Starts all requests before it waits for the first, and gives the statuses.
#[action]
pub fn start_wait(nango: &Nango, input: Paths) -> Result<Vec<u16>, ActionError> {
    let pending: Vec<_> = input
        .paths
        .into_iter()
        .map(|path| nango.start(nango.get(path)))
        .collect();
    let mut statuses = Vec::new();
    for one in pending {
        statuses.push(one.wait_any()?.status());
    }
    Ok(statuses)
}

/// Fails when the answer has an error status.
#[action]
pub fn http_error(nango: &Nango, input: Fetch) -> Result<Value, ActionError> {
    Ok(input.request(nango)?.send()?.json()?)
}

/// Logs what was answered and fails with it, as functions do that were written in a hurry.
#[action]
pub fn repeat(nango: &Nango, input: Fetch) -> Result<Value, ActionError> {
    let answer = input.request(nango)?.send_any()?;
    let text = String::from_utf8_lossy(&answer.bytes()).into_owned();
    nango.log(Level::Info, format!("answered {text}"), &[("body", json!(text))]);
    Err(ActionError::new(json!({"message": format!("no idea what to do with {text}")})))
}
