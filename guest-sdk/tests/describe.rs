//! What a component built from attributes says of itself.

use nango_guest_sdk::__private::{Entry, Function, describe_component};
use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Input {
    title: String,
    /// Milliseconds since 1970-01-01 UTC.
    due: Option<u64>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Issue {
    id: u64,
    title: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Position {
    page: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Settings {
    #[expect(dead_code, reason = "only its schema is looked at")]
    repo: String,
}

/// Creates an issue.
///
/// In a repository.
#[action]
fn create_issue(_nango: &Nango, input: Input) -> Result<Issue, ActionError> {
    Ok(Issue {
        id: input.due.unwrap_or_default(),
        title: input.title,
    })
}

#[action(name = "who_am-I", fetch("api.example.com", "*.example.org"))]
fn whoami(_nango: &Nango) -> Result<String, Error> {
    Ok(String::new())
}

/// Keeps the issues fresh.
#[sync(frequency = "every hour", models(Issue), checkpoint = Position, metadata = Settings, auto_start = false)]
fn issues(_nango: &Nango) -> Result<(), SyncError> {
    Ok(())
}

/// Looks whether the repository is there.
#[on_event(validate_connection, metadata = Settings, name = "has-repo")]
fn check(_nango: &Nango) -> Result<(), ActionError> {
    Ok(())
}

#[on_event(pre_connection_deletion, fetch())]
fn say_goodbye(_nango: &Nango) -> Result<(), Error> {
    Ok(())
}

mod nested {
    use nango_guest_sdk::prelude::*;

    #[sync(frequency = "every day")]
    pub fn nothing(_nango: &Nango) -> Result<(), SyncError> {
        Ok(())
    }
}

nango_guest_sdk::functions!(create_issue, whoami, issues, check, say_goodbye, nested::nothing);

#[test]
fn an_action_has_its_schemas() {
    let described = <create_issue as Function>::describe();
    assert_eq!(described["name"], "create-issue");
    assert_eq!(described["kind"], "action");
    assert_eq!(described["description"], "Creates an issue.\n\nIn a repository.");
    assert_eq!(described["input"]["required"], json!(["title"]));
    assert_eq!(
        described["input"]["properties"]["due"]["description"],
        "Milliseconds since 1970-01-01 UTC."
    );
    assert_eq!(described["output"]["required"], json!(["id", "title"]));
    let described = <whoami as Function>::describe();
    assert_eq!(described["name"], "who_am-I");
    assert_eq!(described["output"]["type"], "string");
    assert!(described.get("input").is_none());
    assert_eq!(described["fetch"], json!(["api.example.com", "*.example.org"]));
    assert!(<create_issue as Function>::describe().get("fetch").is_none());
}

#[test]
fn a_sync_has_its_schedule_and_models() {
    let described = <issues as Function>::describe();
    assert_eq!(described["frequency"], "every hour");
    assert_eq!(described["auto_start"], false);
    assert_eq!(described["models"]["Issue"]["properties"]["title"]["type"], "string");
    assert_eq!(described["checkpoint"]["required"], json!(["page"]));
    assert_eq!(described["metadata"]["required"], json!(["repo"]));
    assert_eq!(<nested::nothing as Function>::describe()["auto_start"], true);
}

#[test]
fn an_on_event_function_has_its_event() {
    let described = <check as Function>::describe();
    assert_eq!(described["name"], "has-repo");
    assert_eq!(described["kind"], "on-event");
    assert_eq!(described["event"], "validate-connection");
    assert_eq!(described["metadata"]["required"], json!(["repo"]));
    let described = <say_goodbye as Function>::describe();
    assert_eq!(described["name"], "say-goodbye");
    assert_eq!(described["event"], "pre-connection-deletion");
    assert_eq!(described["fetch"], json!([]), "it fetches nothing");
    assert!(described.get("input").is_none() && described.get("output").is_none());
}

#[test]
fn a_component_lists_its_functions() {
    let text = describe_component(&[Entry::of::<create_issue>(), Entry::of::<issues>()]);
    let described: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(described["functions"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        described["sdk"],
        json!({"name": "nango-guest-sdk", "version": env!("CARGO_PKG_VERSION")})
    );
}
