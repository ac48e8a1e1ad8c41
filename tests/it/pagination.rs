//! Lists page by page, from functions: each kind, the provider's defaults, one page ahead, and what must not go on for ever or to
//! other hosts.

use std::time::{Duration, Instant};

use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Answer, Client, Reply, Server, TestRuntime, Upstream, guest};
use serde_json::{Value, json};

use crate::fixture::{API_KEY, CONNECTION, INTEGRATION, with_guest};

async fn list(client: &Client, input: Value) -> Answer {
    client.trigger_action(INTEGRATION, CONNECTION, "list", input).await
}

/// The message of a list that fails.
async fn failure(client: &Client, input: Value) -> String {
    let answer = list(client, input).await;
    assert!(answer.status >= 400, "an error was expected: {}", answer.text());
    answer.json()["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("an error has a message: {}", answer.text()))
        .to_owned()
}

fn targets(upstream: &Upstream) -> Vec<String> {
    upstream.received().into_iter().map(|request| request.target).collect()
}

fn ok(body: &Value) -> Reply {
    Reply::json(200, body)
}

/// The value of a query parameter, as it was sent.
fn parameter<'r>(request: &'r Received, name: &str) -> Option<&'r str> {
    let (_, query) = request.target.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[tokio::test]
async fn cursors_in_the_query() {
    let upstream = Upstream::handling(|request| match parameter(request, "cursor") {
        None => ok(&json!({"data": [1, 2], "meta": {"next": " a/b "}})),
        // A number is a cursor, even this one.
        Some("a%2Fb") => ok(&json!({"data": [3], "meta": {"next": 0}})),
        Some("0") => ok(&json!({"data": [4], "meta": {"next": "  "}})),
        Some(other) => Reply::status(400).body(other.to_owned()),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({
        "path": "/items?state=open", "cursor": ["meta.next", "cursor"], "response_path": "data", "limit": [2, "n"],
    });
    let listed = list(&client, input.clone()).await.ok();
    assert_eq!(
        listed,
        json!({"pages": [[1, 2], [3], [4]], "next": ["a/b", "0", null], "called": 3})
    );
    assert_eq!(
        targets(&upstream),
        [
            "/items?state=open&n=2",
            "/items?state=open&n=2&cursor=a%2Fb",
            "/items?state=open&n=2&cursor=0"
        ]
    );
    assert!(
        upstream
            .received()
            .iter()
            .all(|request| request.header("authorization") == format!("Bearer {API_KEY}"))
    );
    let items = client
        .trigger_action(INTEGRATION, CONNECTION, "list-items", input)
        .await;
    assert_eq!(items.ok(), json!([1, 2, 3, 4]));
}

#[tokio::test]
async fn cursors_in_a_body() {
    let upstream = Upstream::handling(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        match body["variables"].get("after") {
            None => ok(&json!({"data": {"nodes": [1], "end": 12345678901234567_u64}})),
            Some(_) => ok(&json!({"data": {"nodes": [2]}})),
        }
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({
        "path": "/graphql", "method": "POST", "body": {"query": "q", "a.b": 1},
        "cursor": ["/data/end", "variables.after"], "response_path": "data.nodes", "limit": [50, "variables.first"],
    });
    assert_eq!(list(&client, input).await.ok()["pages"], json!([[1], [2]]));
    let bodies: Vec<Value> = upstream
        .received()
        .iter()
        .map(|request| serde_json::from_slice(&request.body).expect("a JSON body"))
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"query": "q", "a.b": 1, "variables": {"first": 50}}),
            json!({"query": "q", "a.b": 1, "variables": {"first": 50, "after": 12345678901234567_u64}}),
        ]
    );
}

#[tokio::test]
async fn cursors_in_a_form() {
    let upstream = Upstream::replying([
        ok(&json!({"members": ["a"], "response_metadata": {"next_cursor": "dXNlcjp=="}})),
        ok(&json!({"members": ["b"], "response_metadata": {"next_cursor": ""}})),
    ])
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({
        "path": "/users.list", "method": "POST", "form": [["limit", "9"]],
        "cursor": ["response_metadata.next_cursor", "cursor"], "response_path": "members",
    });
    assert_eq!(list(&client, input).await.ok()["pages"], json!([["a"], ["b"]]));
    assert_eq!(upstream.received()[1].body, "limit=9&cursor=dXNlcjp%3D%3D");
}

#[tokio::test]
async fn links_in_the_header() {
    let upstream = Upstream::handling(|request| match parameter(request, "page") {
        None => {
            let host = request.header("host");
            let links =
                format!("<http://{host}/v1/items?page=9>; rel=last, <http://{host}/v1/items?page=2>; rel=\"next\"");
            ok(&json!([1])).header("link", &links)
        }
        // Relative to the root, and with the path of the base URL in it.
        Some("2") => ok(&json!([])).header("link", "</v1/items?page=3>; rel=next"),
        Some(_) => ok(&json!([3])),
    })
    .await;
    let (_server, client) = with_guest("basic", &format!("{}/v1", upstream.url())).await;
    let input = json!({"path": "/items?state=open", "link_rel": "next", "limit": [1, "per_page"]});
    let listed = list(&client, input).await.ok();
    assert_eq!(
        listed["pages"],
        json!([[1], [], [3]]),
        "an empty page is not the last one"
    );
    assert_eq!(
        targets(&upstream),
        [
            "/v1/items?state=open&per_page=1",
            "/v1/items?page=2",
            "/v1/items?page=3"
        ]
    );
    // A later run goes on where an earlier one stopped.
    let next = listed["next"][0].clone();
    let input = json!({"path": "/items", "link_rel": "next", "starting_at": next});
    assert_eq!(list(&client, input).await.ok()["pages"], json!([[], [3]]));
}

#[tokio::test]
async fn links_in_the_body() {
    let upstream = Upstream::handling(|request| match request.target.as_str() {
        "/items" => ok(&json!({"value": [1], "@odata.nextLink": "?skip=1"})),
        "/items?skip=1" => ok(&json!({"value": [2], "@odata.nextLink": null})),
        other => Reply::status(404).body(other.to_owned()),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({"path": "/items", "link_path": "@odata.nextLink", "response_path": "value"});
    assert_eq!(list(&client, input).await.ok()["pages"], json!([[1], [2]]));
}

/// Seven objects, from `from` or on page `page` (from 1), `n` at a time.
fn seven(request: &Received) -> Reply {
    let number = |name| parameter(request, name).and_then(|value| value.parse::<usize>().ok());
    let n = number("n").unwrap_or(3);
    let from = number("from").or_else(|| Some((number("page")? - 1) * n)).unwrap_or(0);
    let items: Vec<Value> = (0..7).skip(from).take(n).map(|id| json!({"id": id})).collect();
    ok(&json!({"items": items}))
}

fn ids(listed: &Value) -> Vec<u64> {
    let pages = listed["pages"].as_array().expect("pages").iter();
    let items = pages.flat_map(|page| page.as_array().expect("a page").iter());
    items.map(|item| item["id"].as_u64().expect("an id")).collect()
}

#[tokio::test]
async fn offsets_and_page_numbers() {
    let upstream = Upstream::handling(seven).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let all = [0, 1, 2, 3, 4, 5, 6];

    let listed = list(
        &client,
        json!({"path": "/", "offset": "from", "response_path": "items"}),
    )
    .await
    .ok();
    assert_eq!(ids(&listed), all);
    assert_eq!(listed["next"], json!(["3", "6", "7"]));
    assert_eq!(targets(&upstream), ["/?from=0", "/?from=3", "/?from=6", "/?from=7"]);

    let input = json!({"path": "/", "offset": "from", "limit": [4, "n"], "response_path": "items"});
    assert_eq!(ids(&list(&client, input).await.ok()), all);
    assert_eq!(
        targets(&upstream)[4..],
        ["/?n=4&from=0", "/?n=4&from=4"],
        "a page that is not full is the last"
    );

    let input = json!({"path": "/", "page_number": ["page", 1], "limit": [2, "n"], "response_path": "items"});
    assert_eq!(ids(&list(&client, input).await.ok()), all);
    assert_eq!(targets(&upstream)[6..].last().map(String::as_str), Some("/?n=2&page=4"));

    let input = json!({"path": "/", "offset": "from", "starting_at": "6", "response_path": "items"});
    assert_eq!(ids(&list(&client, input).await.ok()), [6]);
}

#[tokio::test]
async fn a_list_that_is_left_out_is_empty_and_something_else_is_an_error() {
    let upstream = Upstream::handling(|request| match request.target.as_str() {
        "/none?from=0" => ok(&json!({"total": 0})),
        "/nothing?from=0" => Reply::status(204),
        _ => ok(&json!({"items": {"id": 1}})),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    for path in ["/none", "/nothing"] {
        let input = json!({"path": path, "offset": "from", "response_path": "items"});
        assert_eq!(list(&client, input).await.ok()["pages"], json!([]), "{path}");
    }
    let message = failure(
        &client,
        json!({"path": "/x", "offset": "from", "response_path": "items"}),
    )
    .await;
    assert!(
        message
            .contains("no list of items at `items` of the answer, but an object; say where it is with `response_path`"),
        "{message}"
    );
}

/// A server whose provider says how it gives its pages, or does not.
async fn with_defaults(upstream: &Upstream, paginate: &str) -> (Server, Client) {
    let provider = format!(
        "paged:\n  display_name: Paged\n  auth_mode: NONE\n  proxy:\n    base_url: {}\n{paginate}",
        upstream.url()
    );
    let server = TestRuntime::new().egress_loopback().provider_yaml(&provider).start();
    let client = server.client();
    let _ = client.create_integration(INTEGRATION, "paged").await.ok();
    let none = json!({"type": "NONE"});
    let _ = client.import_connection(INTEGRATION, CONNECTION, none).await.ok();
    let _ = client.deploy(INTEGRATION, guest::component("basic")).await.ok();
    (server, client)
}

#[tokio::test]
async fn the_providers_data_says_how() {
    let upstream = Upstream::handling(seven).await;
    let paginate = "    paginate:
      type: offset
      offset_name_in_request: page
      offset_start_value: 1
      offset_calculation_method: per-page
      limit: '5'
      limit_name_in_request: n
      response_path: items
";
    let (_server, client) = with_defaults(&upstream, paginate).await;
    let all = [0, 1, 2, 3, 4, 5, 6];
    assert_eq!(ids(&list(&client, json!({"path": "/"})).await.ok()), all);
    assert_eq!(targets(&upstream), ["/?n=5&page=1", "/?n=5&page=2"]);
    // What the function says goes over it.
    assert_eq!(
        ids(&list(&client, json!({"path": "/", "page_size": 4})).await.ok()),
        all
    );
    assert_eq!(
        ids(
            &list(&client, json!({"path": "/", "offset": "from", "offset_start": 0}))
                .await
                .ok()
        ),
        all
    );
    assert_eq!(
        targets(&upstream)[2..],
        ["/?n=4&page=1", "/?n=4&page=2", "/?n=5&from=0", "/?n=5&from=5"]
    );
}

#[tokio::test]
async fn nobody_says_how() {
    let upstream = Upstream::replying([ok(&json!([]))]).await;
    let (_server, client) = with_defaults(&upstream, "").await;
    let message = failure(&client, json!({"path": "/"})).await;
    assert!(message.contains("how does paged give its pages?"), "{message}");
    assert!(message.contains("`proxy.paginate`"), "{message}");
    assert_eq!(upstream.received().len(), 0, "nothing was sent");
}

#[tokio::test]
async fn the_providers_data_may_say_too_little() {
    let upstream = Upstream::replying([ok(&json!([]))]).await;
    let (_server, client) = with_defaults(&upstream, "    paginate:\n      type: cursor\n").await;
    let message = failure(&client, json!({"path": "/"})).await;
    assert!(
        message.contains("pagination by cursor needs `cursor_path_in_response`"),
        "{message}"
    );
    assert_eq!(upstream.received().len(), 0, "nothing was sent");
}

/// Where each request for a page and each marker of work came in the log of the upstream.
async fn order_of_requests(ahead: Option<bool>) -> Vec<String> {
    let upstream = Upstream::handling(|request| match request.target.as_str() {
        "/p1" => ok(&json!({"items": [1], "next": "/p2"})),
        "/p2" => ok(&json!({"items": [2], "next": "/p3"})),
        "/p3" => ok(&json!({"items": [3]})),
        _ => ok(&json!({})),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({
        "path": "/p1", "link_path": "next", "response_path": "items", "ahead": ahead, "work": [150, "/work"],
    });
    assert_eq!(list(&client, input).await.ok()["pages"], json!([[1], [2], [3]]));
    targets(&upstream)
}

#[tokio::test]
async fn the_next_page_is_on_its_way_while_a_page_is_worked_on() {
    let ahead = ["/p1", "/p2", "/work", "/p3", "/work", "/work"];
    assert_eq!(order_of_requests(None).await, ahead, "one page ahead, and no more");
    let one_by_one = ["/p1", "/work", "/p2", "/work", "/p3", "/work"];
    assert_eq!(order_of_requests(Some(false)).await, one_by_one);
}

#[tokio::test]
async fn who_stops_does_not_wait_for_the_page_ahead() {
    let upstream = Upstream::handling(|request| match request.target.as_str() {
        "/p1" => ok(&json!({"items": [1], "next": "/p2"})),
        _ => ok(&json!({"items": [2]})).after(Duration::from_secs(30)),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({"path": "/p1", "link_path": "next", "response_path": "items", "take": 1, "work": [150, "/p1"]});
    let started = Instant::now();
    let listed = list(&client, input).await.ok();
    assert_eq!(listed, json!({"pages": [[1]], "next": ["/p2"], "called": 0}));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(targets(&upstream), ["/p1", "/p2", "/p1"]);
}

#[tokio::test]
async fn each_page_is_retried() {
    let upstream = Upstream::replying([
        ok(&json!({"items": [1], "next": "c"})),
        Reply::status(503).header("retry-after", "0"),
        ok(&json!({"items": [2]})),
    ])
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({"path": "/", "cursor": ["next", "cursor"], "response_path": "items", "retries": 1});
    assert_eq!(list(&client, input).await.ok()["pages"], json!([[1], [2]]));
    assert_eq!(targets(&upstream), ["/", "/?cursor=c", "/?cursor=c"]);
}

#[tokio::test]
async fn circles_end() {
    let upstream = Upstream::handling(|request| match request.target.as_str() {
        "/same" => ok(&json!({"items": [1], "next": "x"})),
        "/a" => ok(&json!({"items": [1], "next": "/b"})),
        "/b" => ok(&json!({"items": [2], "next": "/a"})),
        _ => ok(&json!({"items": [{"id": 1}, {"id": 2}], "next": "x"})),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let message = failure(
        &client,
        json!({"path": "/same", "cursor": ["next", "cursor"], "response_path": "items"}),
    )
    .await;
    assert!(
        message.contains("page 2 leads to the cursor \"x\", which was there before"),
        "{message}"
    );
    let message = failure(
        &client,
        json!({"path": "/a", "link_path": "next", "response_path": "items"}),
    )
    .await;
    assert!(message.contains("page 3 leads to the link \"/b\""), "{message}");
    // An API that does not know the parameter gives the same page for ever.
    let message = failure(
        &client,
        json!({"path": "/c", "offset": "skip", "response_path": "items"}),
    )
    .await;
    assert!(
        message.contains("the page at the offset 2 is the one before it again"),
        "{message}"
    );
    assert!(message.contains("`skip`"), "{message}");
    assert_eq!(upstream.received().len(), 2 + 3 + 2);
}

#[tokio::test]
async fn there_is_a_last_page() {
    let upstream = Upstream::handling(|request| {
        let cursor: u64 = parameter(request, "cursor")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        ok(&json!({"items": [cursor], "next": cursor + 1}))
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let input = json!({"path": "/", "cursor": ["next", "cursor"], "response_path": "items", "pages_max": 3});
    let message = failure(&client, input).await;
    assert!(
        message.contains("there are more than 3 pages; `pages_max`"),
        "{message}"
    );
    assert_eq!(upstream.received().len(), 3);
}

#[tokio::test]
async fn credentials_follow_no_link_to_a_foreign_host() {
    let upstream = Upstream::handling(|request| match request.target.as_str() {
        "/header" => ok(&json!([1])).header("link", "<http://10.9.8.7:81/steal?x=1>; rel=next"),
        "/user" => ok(&json!([1])).header("link", "<http://127.0.0.1@10.9.8.7/>; rel=next"),
        _ => ok(&json!([1])).header("link", "<ftp://10.9.8.7/>; rel=next"),
    })
    .await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let message = failure(&client, json!({"path": "/header", "link_rel": "next"})).await;
    for words in ["leads to http://10.9.8.7:81: ", "\"10.9.8.7\"", "egress_allow"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let message = failure(&client, json!({"path": "/user", "link_rel": "next"})).await;
    assert!(message.contains("user name or password"), "{message}");
    let message = failure(&client, json!({"path": "/ftp", "link_rel": "next"})).await;
    assert!(message.contains("\"ftp://10.9.8.7/\", is no http URL"), "{message}");
}

#[tokio::test]
async fn a_link_to_a_host_that_the_operator_allows_is_followed() {
    let other = Upstream::replying([ok(&json!([2]))]).await;
    // All addresses of `localhost` are in `egress_allow`, as those of the provider's own host are.
    let link = format!(
        "<{}/more?page=2>; rel=next",
        other.url().replace("127.0.0.1", "localhost")
    );
    let upstream = Upstream::handling(move |_| ok(&json!([1])).header("link", &link)).await;
    let (_server, client) = with_guest("basic", &upstream.url()).await;
    let listed = list(&client, json!({"path": "/", "link_rel": "next"})).await.ok();
    assert_eq!(listed["pages"], json!([[1], [2]]));
    assert_eq!(targets(&other), ["/more?page=2"]);
}
