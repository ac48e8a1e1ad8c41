//! On-event functions: asked before a connection counts, run after it was made and before it is deleted, and not forgotten by a
//! server that is killed.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::command::Cli;
use nango_runtime_tests::{Answer, Browser, Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, INTEGRATION, providers};

const WAIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A provider whose answers tell the functions what to make of a connection.
struct Provider {
    upstream: Upstream,
    says: Arc<Mutex<Vec<(&'static str, Reply)>>>,
}

impl Provider {
    async fn new() -> Self {
        let says: Arc<Mutex<Vec<(&'static str, Reply)>>> = Arc::default();
        let script = Arc::clone(&says);
        let upstream = Upstream::handling(move |received| {
            let script = script.lock().expect("no test panics with it");
            let scripted = script.iter().rfind(|(path, _)| *path == received.target);
            scripted.map_or_else(
                || Reply::json(200, &json!({"access_token": "t"})),
                |(_, reply)| reply.clone(),
            )
        })
        .await;
        Self { upstream, says }
    }

    fn says(&self, path: &'static str, reply: Reply) {
        self.says.lock().expect("no test panics with it").push((path, reply));
    }

    fn refuses(&self, path: &'static str, payload: &Value) {
        self.says(path, Reply::json(200, &json!({ "refuse": payload })));
    }

    fn accepts(&self) {
        self.says.lock().expect("no test panics with it").clear();
    }

    fn asked(&self) -> Vec<String> {
        self.upstream.received().iter().map(|it| it.target.clone()).collect()
    }

    async fn hears(&self, path: &str, count: usize) {
        eventually(path, async || {
            (self.asked().iter().filter(|it| *it == path).count() >= count).then_some(())
        })
        .await;
    }
}

async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn start(provider: &Provider, data: Option<&Path>) -> Server {
    let runtime = TestRuntime::new().egress_loopback();
    let runtime = data.into_iter().fold(runtime, TestRuntime::data);
    runtime.provider_yaml(&providers(&provider.upstream.url())).start()
}

/// With the functions deployed, and an application that hears of connections.
async fn serving(provider: &Provider, application: &Upstream, data: Option<&Path>) -> (Server, Client) {
    let server = start(provider, data);
    let client = server.client();
    let _ = client.create_integration(INTEGRATION, "bearer").await.ok();
    let _ = client.deploy(INTEGRATION, guest::component("events")).await.ok();
    let patch = json!({"primary_url": application.url()});
    let _ = client.json(Method::PATCH, "/environment/webhooks", &patch).await.ok();
    (server, client)
}

async fn application() -> Upstream {
    Upstream::replying([Reply::status(200)]).await
}

async fn import(client: &Client, connection_id: &str) -> Answer {
    let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
    client.import_connection(INTEGRATION, connection_id, credentials).await
}

async fn shown(client: &Client, connection_id: &str) -> Answer {
    client
        .get(&format!(
            "/connections/{connection_id}?provider_config_key={INTEGRATION}"
        ))
        .await
}

async fn listed(client: &Client) -> Vec<Value> {
    let listed = client.get("/connections").await.ok();
    listed["connections"].as_array().expect("a list").clone()
}

/// What the application was told of connections, `operation` and `success`.
async fn told(application: &Upstream, count: usize) -> Vec<Value> {
    eventually("a webhook", async || {
        let received = application.received();
        (received.len() >= count).then(|| {
            let bodies = received
                .iter()
                .map(|it| serde_json::from_slice(&it.body).expect("JSON"));
            bodies.collect()
        })
    })
    .await
}

async fn greetings(client: &Client, connection_id: &str, count: u64) {
    eventually("a greeting", async || {
        let metadata = shown(client, connection_id).await.ok()["metadata"].clone();
        (metadata["greetings"] == json!(count)).then_some(())
    })
    .await;
}

#[track_caller]
fn refused(answer: &Answer, message: &str) {
    assert_eq!(
        (answer.status, answer.error_code().as_str()),
        (400, "connection_validation_failed"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.json()["error"]["message"], message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_from_its_making_to_its_end() {
    let (provider, application) = (Provider::new().await, application().await);
    let (server, client) = serving(&provider, &application, None).await;
    let functions = client
        .get(&format!("/integrations/{INTEGRATION}/functions?type=on-event"))
        .await
        .ok();
    let events: Vec<(&str, &str)> = functions["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| {
            (
                it["name"].as_str().unwrap_or_default(),
                it["event"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        events,
        [
            ("a-check", "validate-connection"),
            ("b-check", "validate-connection"),
            ("greet", "post-connection-creation"),
            ("say-goodbye", "pre-connection-deletion"),
        ]
    );
    let config = client.get("/scripts/config").await.ok();
    assert_eq!(config[0]["on-events"].as_array().map(Vec::len), Some(4), "{config}");
    let tools = client.get("/scripts/config?format=openai").await.ok();
    assert_eq!(tools, json!({"data": []}));

    let _ = import(&client, "c").await.ok();
    greetings(&client, "c", 1).await;
    assert_eq!(provider.asked(), ["/check/a", "/check/b", "/greet"]);
    let webhooks = told(&application, 1).await;
    assert_eq!(webhooks[0]["operation"], "creation");
    assert_eq!(webhooks[0]["success"], true);

    // Made again, it is asked about again, and greeted no more.
    let _ = import(&client, "c").await.ok();
    let webhooks = told(&application, 2).await;
    assert_eq!(webhooks[1]["operation"], "override");
    assert_eq!(provider.asked()[3..], ["/check/a", "/check/b"]);

    // What fails before a deletion does not keep it from happening.
    provider.says("/goodbye", Reply::status(500));
    let deleted = client
        .delete(&format!("/connections/c?provider_config_key={INTEGRATION}"))
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!(provider.asked()[5..], ["/goodbye"]);
    assert_eq!(shown(&client, "c").await.status, 404);

    let runs = async |kind: &str, count: usize| {
        eventually(kind, async || {
            let listed = client.get(&format!("/logs/operations?type={kind}")).await.ok();
            let text = |it: &Value, name: &str| it[name].as_str().unwrap_or("?").to_owned();
            let all = listed["data"].as_array().expect("a list").iter();
            let runs: Vec<String> = all.map(|it| text(it, "function") + " " + &text(it, "state")).collect();
            (runs.len() == count && !runs.iter().any(|run| run.ends_with("running"))).then_some(runs)
        })
        .await
    };
    assert_eq!(runs("events:pre_connection_deletion", 1).await, ["say-goodbye failed"]);
    assert_eq!(runs("events:post_connection_creation", 1).await, ["greet success"]);
    let asked = runs("events:validate_connection", 4).await;
    assert_eq!(
        asked,
        [
            "b-check success",
            "a-check success",
            "b-check success",
            "a-check success"
        ]
    );
    // Each is in the history of runs, with what it took.
    let history = client.get("/runs?type=on-event").await.ok();
    let ran: Vec<String> = history["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| format!("{} {} {}", it["function"], it["state"], it["trigger"]).replace('"', ""))
        .collect();
    assert_eq!(ran.len(), 6, "{history}");
    assert_eq!(ran[0], "say-goodbye failed event");
    assert!(ran.contains(&"greet succeeded event".to_owned()), "{ran:?}");
    let greeted = client.get("/runs?function=greet&state=succeeded").await.ok();
    let id = greeted["data"][0]["id"].as_str().expect("an id").to_owned();
    let shown = Cli::of(&server, &["runs", "show", &id]).run();
    for part in [
        "on-event",
        "greet",
        "processor time",
        "memory at most",
        "requests",
        "op_",
    ] {
        assert!(shown.stdout.contains(part), "{part} is not in {}", shown.stdout);
    }
    let listed = Cli::of(&server, &["runs", "history", "--type", "on-event", "--state", "failed"]).run();
    assert!(
        listed.stdout.contains("say-goodbye") && !listed.stdout.contains("greet"),
        "{}",
        listed.stdout
    );
    let unknown = client.get("/runs/run_nope").await;
    assert_eq!((unknown.status, unknown.error_code()), (404, "not_found".into()));
    // Nobody asked for it, so nobody finds it among the actions.
    let actions = client.get("/actions").await.ok();
    assert_eq!(actions["data"], json!([]), "{actions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_of_a_new_connection_that_is_refused() {
    let (provider, application) = (Provider::new().await, application().await);
    let (_server, client) = serving(&provider, &application, None).await;
    provider.refuses(
        "/check/a",
        &json!({"message": "Acme is connected already", "error": "x"}),
    );
    refused(&import(&client, "c").await, "Acme is connected already");
    assert_eq!(provider.asked(), ["/check/a"], "the next one is not asked");
    assert_eq!(shown(&client, "c").await.status, 404);
    assert!(listed(&client).await.is_empty());
    let webhooks = told(&application, 1).await;
    let body = &webhooks[0];
    assert_eq!(
        (&body["operation"], &body["success"]),
        (&json!("creation"), &json!(false))
    );
    assert_eq!(
        body["error"],
        json!({"type": "connection_validation_failed", "description": "Acme is connected already"})
    );

    provider.accepts();
    provider.refuses("/check/b", &json!({"error": "no such plan"}));
    refused(&import(&client, "c").await, "no such plan");
    provider.refuses("/check/b", &json!({"code": 7}));
    refused(
        &import(&client, "c").await,
        "the function \"b-check\" did not take the connection",
    );
    assert!(!provider.asked().contains(&"/greet".to_owned()));

    // The same id is free.
    provider.accepts();
    let _ = import(&client, "c").await.ok();
    greetings(&client, "c", 1).await;
    assert_eq!(told(&application, 4).await[3]["operation"], "creation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_does_not_count_while_functions_are_asked() {
    let (provider, application) = (Provider::new().await, application().await);
    let (_server, client) = serving(&provider, &application, None).await;
    provider.says(
        "/check/b",
        Reply::json(200, &json!({})).after(Duration::from_millis(500)),
    );
    let importing = tokio::spawn({
        let client = client.clone();
        async move { import(&client, "c").await }
    });
    provider.hears("/check/b", 1).await;
    assert!(listed(&client).await.is_empty());
    assert!(application.received().is_empty());
    let _ = importing.await.expect("the import ends").ok();
    assert_eq!(listed(&client).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_there_is_marked_when_it_is_refused() {
    let (provider, application) = (Provider::new().await, application().await);
    let (_server, client) = serving(&provider, &application, None).await;
    let _ = import(&client, "c").await.ok();
    provider.refuses("/check/b", &json!("another account"));
    refused(&import(&client, "c").await, "another account");
    let webhooks = told(&application, 2).await;
    assert_eq!(
        (&webhooks[1]["operation"], &webhooks[1]["success"]),
        (&json!("override"), &json!(false))
    );
    let marked = listed(&client).await;
    assert_eq!(marked[0]["errors"][0]["type"], "auth", "{marked:?}");
    provider.accepts();
    let _ = import(&client, "c").await.ok();
    assert_eq!(listed(&client).await[0]["errors"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_connects_in_a_browser_is_told_why_not() {
    let (provider, application) = (Provider::new().await, application().await);
    let (server, client) = serving(&provider, &application, None).await;
    let app = json!({"type": "OAUTH2", "client_id": "id", "client_secret": "secret"});
    let integration = json!({"unique_key": "oauth", "provider": "oauth", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let _ = client.deploy("oauth", guest::component("events")).await.ok();
    let opened = client
        .post("/connect/sessions", &json!({"end_user": {"id": "u1"}}))
        .await
        .ok();
    let token = opened["data"]["token"].as_str().expect("a token").to_owned();
    let typed = async || {
        let path = format!("/api-auth/api-key/{INTEGRATION}?connect_session_token={token}");
        let request = client.with_key(None).request(Method::POST, &path);
        send(json_body(request, &json!({"apiKey": "typed-by-a-user"}))).await
    };
    let authorised = async || {
        let mut browser = Browser::new();
        let url = format!(
            "{}/oauth/connect/oauth?connect_session_token={token}",
            server.base_url()
        );
        let begun = browser.step(&url, None).await;
        let state = begun.parameter("state").expect("a state");
        let back = format!("{}/oauth/callback?state={state}&code=code", server.base_url());
        browser.open(&back).await
    };
    provider.refuses("/check/a", &json!({"message": "Not this account"}));
    refused(&typed().await, "Not this account");
    let page = authorised().await;
    assert_eq!(
        (page.status, page.data("errorType").as_deref()),
        (400, Some("connection_validation_failed")),
        "{}",
        page.text
    );
    assert!(page.text.contains("Not this account"), "{}", page.text);
    assert!(listed(&client).await.is_empty());

    provider.accepts();
    let _ = typed().await.ok();
    let page = authorised().await;
    assert_eq!(page.status, 200, "{}", page.text);
    provider.hears("/greet", 2).await;
    assert_eq!(listed(&client).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_forgets_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (provider, application) = (Provider::new().await, application().await);
    let (server, client) = serving(&provider, &application, Some(folder.path())).await;
    let slow = Reply::json(200, &json!({})).after(Duration::from_secs(60));
    provider.says("/greet", slow.clone());
    let _ = import(&client, "made").await.ok();
    provider.hears("/greet", 1).await;
    provider.says("/check/b", slow);
    let importing = tokio::spawn({
        let client = client.clone();
        async move {
            let credentials = json!({"type": "API_KEY", "apiKey": API_KEY});
            let path =
                json!({"provider_config_key": INTEGRATION, "connection_id": "asked", "credentials": credentials});
            let request = client.request(Method::POST, "/connections");
            // Nobody answers.
            drop(json_body(request, &path).send().await);
        }
    });
    provider.hears("/check/b", 2).await;
    drop(server);
    importing.await.expect("the caller finds the server gone");
    provider.accepts();

    let server = start(&provider, Some(folder.path()));
    let client = server.client();
    greetings(&client, "made", 1).await;
    eventually("the end of who was asked about", async || {
        (shown(&client, "asked").await.status == 404).then_some(())
    })
    .await;
    let _ = import(&client, "asked").await.ok();
    greetings(&client, "asked", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing() {
    let (provider, application) = (Provider::new().await, application().await);
    let (_server, client) = serving(&provider, &application, None).await;
    let _ = import(&client, "c").await.ok();
    greetings(&client, "c", 1).await;
    let path = format!("/integrations/{INTEGRATION}/functions/greet/dry-run");
    let report = client.post(&path, &json!({"connection_id": "c"})).await.ok();
    assert_eq!(report["success"], true, "{report}");
    assert_eq!(shown(&client, "c").await.ok()["metadata"], json!({"greetings": 1}));
    let action = client.trigger_action(INTEGRATION, "c", "greet", Value::Null).await;
    assert_eq!(action.status, 404, "{}", action.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_an_integration_runs_what_runs_before_its_connections_go() {
    let (provider, application) = (Provider::new().await, application().await);
    let (_server, client) = serving(&provider, &application, None).await;
    for connection in ["a", "b", "c"] {
        let _ = import(&client, connection).await.ok();
    }
    provider.hears("/greet", 3).await;
    // One fails, and is deleted all the same.
    provider.says("/goodbye", Reply::status(500));
    let deleted = client.delete(&format!("/integrations/{INTEGRATION}")).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!(provider.asked().iter().filter(|path| *path == "/goodbye").count(), 3);
    assert!(listed(&client).await.is_empty());
    let ran = client.get("/runs?function=say-goodbye").await.ok();
    assert_eq!(ran["data"].as_array().map(Vec::len), Some(3), "{ran}");
    assert_eq!(client.get(&format!("/integrations/{INTEGRATION}")).await.status, 404);
}
