//! GitHub: keep the issues of a repository fresh, create one, see who you are.
//!
//! It is right for api.github.com with a personal token, which the host adds to every request. The connection's metadata
//! says which repository the sync is about: `{"owner": "octocat", "repo": "hello-world"}`.

use nango_guest_sdk::prelude::*;
use nango_guest_sdk::{Page, Request};

/// Issues on a page, the most GitHub gives.
const PAGE_LEN: u32 = 100;

/// An issue of a repository.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Issue {
    id: u64,
    number: u64,
    title: String,
    /// `open` or `closed`.
    state: String,
    /// Who opened it; nobody when the account is gone.
    author: Option<String>,
    labels: Vec<String>,
    body: Option<String>,
    url: String,
    created_at: String,
    updated_at: String,
}

/// An issue as GitHub gives it.
#[derive(Deserialize)]
struct GithubIssue {
    id: u64,
    number: u64,
    title: String,
    state: String,
    user: Option<Account>,
    #[serde(default)]
    labels: Vec<Label>,
    body: Option<String>,
    html_url: String,
    created_at: String,
    updated_at: String,
    /// Only pull requests have it: for GitHub every one is an issue, too.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

impl From<GithubIssue> for Issue {
    fn from(issue: GithubIssue) -> Self {
        Self {
            id: issue.id,
            number: issue.number,
            title: issue.title,
            state: issue.state,
            author: issue.user.map(|user| user.login),
            labels: issue.labels.into_iter().map(|label| label.name).collect(),
            body: issue.body,
            url: issue.html_url,
            created_at: issue.created_at,
            updated_at: issue.updated_at,
        }
    }
}

/// The repository a connection is about.
#[derive(Deserialize, JsonSchema)]
struct Settings {
    owner: String,
    repo: String,
}

/// Where the sync goes on: everything up to `since` is there, and of what changed after it all pages before `next`.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Position {
    /// When the newest issue of the last complete run was changed; empty before it.
    since: String,
    /// The page to go on with; empty between runs.
    next: String,
    /// The newest change seen in this run.
    newest: String,
}

/// Keeps the issues of a repository fresh. The first run takes all, the next ones what has changed since.
#[sync(frequency = "every hour", models(Issue), checkpoint = Position, metadata = Settings)]
fn issues(nango: &Nango) -> Result<(), SyncError> {
    let Settings { owner, repo } = nango.connection().metadata()?;
    let mut position = nango.checkpoint::<Position>()?.unwrap_or_default();
    let pages = nango
        .paginate(issues_request(nango, &owner, &repo, &position.since))
        .link_rel("next")
        .limit(PAGE_LEN, "per_page")
        .starting_at(&position.next);
    for page in pages {
        let page = page?;
        let found = save_page(nango, &page, &mut position)?;
        nango.info(format!("{owner}/{repo}: {found} issues"));
        if let Some(next) = page.next_page() {
            next.clone_into(&mut position.next);
            // From here a run that was cut short goes on.
            nango.save_checkpoint(&position)?;
        }
    }
    let since = if position.newest.is_empty() {
        position.since
    } else {
        position.newest
    };
    nango.save_checkpoint(&Position {
        since,
        ..Position::default()
    })?;
    Ok(())
}

fn issues_request(nango: &Nango, owner: &str, repo: &str, since: &str) -> Request {
    let request = with_headers(nango.get(format!("/repos/{owner}/{repo}/issues")))
        .query("state", "all")
        // Oldest change first: what changes meanwhile moves to the end, so that no page skips an issue.
        .query("sort", "updated")
        .query("direction", "asc");
    if since.is_empty() {
        return request;
    }
    request.query("since", since)
}

/// Saves the issues of a page and gives how many there were.
fn save_page(nango: &Nango, page: &Page, position: &mut Position) -> Result<usize, Error> {
    let found: Vec<GithubIssue> = page.items()?;
    for issue in &found {
        // RFC 3339 in UTC: the order of the texts is that of the times.
        if issue.updated_at > position.newest {
            position.newest.clone_from(&issue.updated_at);
        }
    }
    let issues: Vec<Issue> = found
        .into_iter()
        .filter(|issue| issue.pull_request.is_none())
        .map(Issue::from)
        .collect();
    nango.records().save(&issues)?;
    Ok(issues.len())
}

/// What an issue is created from.
#[derive(Deserialize, JsonSchema)]
struct NewIssue {
    owner: String,
    repo: String,
    title: String,
    body: Option<String>,
}

#[derive(Serialize)]
struct NewGithubIssue<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

/// Creates an issue in a repository.
#[action]
fn create_issue(nango: &Nango, input: NewIssue) -> Result<Issue, ActionError> {
    if input.title.trim().is_empty() {
        return Err(ActionError::new("an issue needs a title"));
    }
    let request = with_headers(nango.post(format!("/repos/{}/{}/issues", input.owner, input.repo)));
    let answer = request
        .json(&NewGithubIssue {
            title: &input.title,
            body: input.body.as_deref(),
        })?
        .send();
    match answer {
        Ok(answer) => Ok(answer.json::<GithubIssue>()?.into()),
        Err(Error::Http(answer)) if matches!(answer.status, 404 | 410) => {
            let message = format!(
                "{}/{} is not there, hidden from this connection, or has no issues",
                input.owner, input.repo
            );
            Err(ActionError::new(message))
        }
        Err(error) => Err(error.into()),
    }
}

/// The account a connection belongs to.
#[derive(Serialize, Deserialize, JsonSchema)]
struct User {
    id: u64,
    login: String,
    name: Option<String>,
}

/// Says whose connection this is.
#[action]
fn whoami(nango: &Nango) -> Result<User, ActionError> {
    Ok(with_headers(nango.get("/user")).send()?.json()?)
}

/// GitHub refuses requests without a user agent.
fn with_headers(request: Request) -> Request {
    request
        .header("accept", "application/vnd.github+json")
        .header("user-agent", "nango-runtime-example")
        .retries(3)
}

nango_guest_sdk::functions!(issues, create_issue, whoami);
