//! GitHub's routes, their checks and their headers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::issues;

const RATE_LIMIT: u32 = 5_000;
const PAGE_LEN_MAX: usize = 100;
/// The request for a page that is refused because of the rate limit, counted from 1.
const LIMITED_REQUEST: u32 = 2;
/// The request for a page at which the gateway is out of order.
const BROKEN_REQUEST: u32 = 4;

/// What the routes share.
#[derive(Clone)]
pub(crate) struct Upstream {
    token: Arc<str>,
    repository: Arc<Mutex<Repository>>,
}

struct Repository {
    issues: Vec<Value>,
    requests: u32,
    requests_for_pages: u32,
}

impl Upstream {
    pub(crate) fn new(token: String, issues: u32) -> Self {
        let issues = (1..=issues).map(issues::seeded).collect();
        let repository = Repository {
            issues,
            requests: 0,
            requests_for_pages: 0,
        };
        Self {
            token: token.into(),
            repository: Arc::new(Mutex::new(repository)),
        }
    }

    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/user", get(user))
            .route("/repos/{owner}/{repo}/issues", get(list).post(create))
            // Where the links of GitHub's pages lead to.
            .route("/repositories/{id}/issues", get(list))
            .fallback(|| async { failure(StatusCode::NOT_FOUND, "Not Found") })
            .layer(from_fn_with_state(self.clone(), check))
            .with_state(self)
    }

    fn repository(&self) -> MutexGuard<'_, Repository> {
        self.repository.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(status: StatusCode, message: &str) -> Response {
    (
        status,
        Json(json!({"message": message, "documentation_url": "https://docs.github.com/rest"})),
    )
        .into_response()
}

/// Refuses what GitHub refuses and adds the headers of the rate limit.
async fn check(State(upstream): State<Upstream>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let authorization = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let token = authorization
        .strip_prefix("Bearer ")
        .or_else(|| authorization.strip_prefix("token "));
    if !headers.contains_key(header::USER_AGENT) {
        return failure(
            StatusCode::FORBIDDEN,
            "Request forbidden by administrative rules. Add a User-Agent header.",
        );
    }
    if token != Some(&*upstream.token) {
        return failure(StatusCode::UNAUTHORIZED, "Bad credentials");
    }
    let used = {
        let mut repository = upstream.repository();
        repository.requests += 1;
        repository.requests
    };
    let mut response = next.run(request).await;
    let numbers = [
        ("x-ratelimit-limit", RATE_LIMIT),
        ("x-ratelimit-remaining", RATE_LIMIT.saturating_sub(used)),
        ("x-ratelimit-used", used),
        // The first second of the year 2100: nobody waits for it.
        ("x-ratelimit-reset", 4_102_444_800),
    ];
    for (name, number) in numbers {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from(number));
    }
    response
}

async fn user() -> Json<Value> {
    Json(json!({"id": 583_231, "login": "octocat", "name": "The Octocat", "type": "User"}))
}

#[derive(Deserialize)]
struct Filter {
    state: Option<String>,
    since: Option<String>,
    direction: Option<String>,
    per_page: Option<usize>,
    page: Option<usize>,
}

impl Filter {
    fn takes(&self, issue: &Value) -> bool {
        let state = self.state.as_deref().unwrap_or("open");
        let changed = issue["updated_at"].as_str().unwrap_or_default();
        (state == "all" || issue["state"] == state) && self.since.as_deref().is_none_or(|since| changed >= since)
    }

    fn page_len(&self) -> usize {
        self.per_page.unwrap_or(30).clamp(1, PAGE_LEN_MAX)
    }

    /// The link to a page, with the parameters of this request.
    fn link(&self, host: &str, page: usize, relation: &str) -> String {
        let mut query = format!("per_page={}", self.page_len());
        for (name, value) in [
            ("state", &self.state),
            ("since", &self.since),
            ("direction", &self.direction),
        ] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", value.replace(':', "%3A")));
            }
        }
        format!("<http://{host}/repositories/1/issues?{query}&page={page}>; rel=\"{relation}\"")
    }
}

async fn list(State(upstream): State<Upstream>, Query(filter): Query<Filter>, headers: HeaderMap) -> Response {
    let mut repository = upstream.repository();
    repository.requests_for_pages += 1;
    match repository.requests_for_pages {
        LIMITED_REQUEST => {
            let answer = failure(
                StatusCode::TOO_MANY_REQUESTS,
                "You have exceeded a secondary rate limit.",
            );
            return ([(header::RETRY_AFTER, "1")], answer).into_response();
        }
        BROKEN_REQUEST => return (StatusCode::BAD_GATEWAY, "Bad Gateway").into_response(),
        _ => {}
    }
    let mut found: Vec<&Value> = repository.issues.iter().filter(|issue| filter.takes(issue)).collect();
    if filter.direction.as_deref() != Some("asc") {
        found.reverse();
    }
    let page = filter.page.unwrap_or(1).max(1);
    let last = found.len().div_ceil(filter.page_len()).max(1);
    let shown: Vec<&Value> = found
        .into_iter()
        .skip(page.saturating_sub(1).saturating_mul(filter.page_len()))
        .take(filter.page_len())
        .collect();
    let mut response = Json(shown).into_response();
    if page < last {
        let host = headers
            .get(header::HOST)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("localhost");
        let links = format!(
            "{}, {}",
            filter.link(host, page + 1, "next"),
            filter.link(host, last, "last")
        );
        if let Ok(links) = HeaderValue::from_str(&links) {
            response.headers_mut().insert(header::LINK, links);
        }
    }
    response
}

#[derive(Deserialize)]
struct NewIssue {
    title: Option<String>,
    body: Option<String>,
}

async fn create(
    State(upstream): State<Upstream>,
    Path((owner, repo)): Path<(String, String)>,
    Json(new): Json<NewIssue>,
) -> Response {
    let Some(title) = new.title.filter(|title| !title.is_empty()) else {
        return failure(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed");
    };
    let mut repository = upstream.repository();
    let number = u32::try_from(repository.issues.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let mut issue = issues::with_text(number, &title, new.body.as_deref());
    issue["html_url"] = json!(format!("https://github.com/{owner}/{repo}/issues/{number}"));
    repository.issues.push(issue.clone());
    (StatusCode::CREATED, Json(issue)).into_response()
}
