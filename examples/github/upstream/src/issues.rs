//! The issues of the one repository there is, as GitHub writes them.

use serde_json::{Value, json};

/// Every so many issues there is a pull request: for GitHub it is an issue, too.
const PULL_REQUEST_EVERY: u32 = 50;

/// Issue `number` of `owner/repo`. It was changed `number` hours after the year began.
pub(crate) fn seeded(number: u32) -> Value {
    let mut issue = with_text(number, &format!("Issue {number}"), Some("It does not work."));
    if number.is_multiple_of(PULL_REQUEST_EVERY) {
        issue["title"] = json!(format!("Fix {}", number - 1));
        issue["pull_request"] = json!({"url": format!("https://api.github.com/repositories/1/pulls/{number}")});
    }
    if number.is_multiple_of(3) {
        issue["state"] = json!("closed");
    }
    issue
}

/// An open issue with that title.
pub(crate) fn with_text(number: u32, title: &str, body: Option<&str>) -> Value {
    let changed = changed_at(number);
    json!({
        "id": 1_000_000 + number,
        "number": number,
        "title": title,
        "body": body,
        "state": "open",
        "user": {"id": 583_231, "login": "octocat"},
        "labels": [{"name": if number.is_multiple_of(2) { "bug" } else { "question" }}],
        "html_url": format!("https://github.com/octocat/hello-world/issues/{number}"),
        "created_at": changed,
        "updated_at": changed,
    })
}

fn changed_at(number: u32) -> String {
    let (days, hour) = (number / 24, number % 24);
    // Months of 28 days are enough for an order in time.
    let (month, day) = (days / 28 % 12 + 1, days % 28 + 1);
    format!("{}-{month:02}-{day:02}T{hour:02}:00:00Z", 2025 + days / 336)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_grow_with_the_number() {
        let times: Vec<String> = (1..20_000).map(changed_at).collect();
        assert!(times.is_sorted());
        assert_eq!(changed_at(25), "2025-01-02T01:00:00Z");
    }
}
