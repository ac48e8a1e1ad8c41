//! The proxy in front of httpbin: what is sent arrives. What comes back is in `proxy_answers`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::httpbin;
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, with_providers};

#[tokio::test]
async fn each_method_arrives() {
    let (_server, client) = with_providers(httpbin::url()).await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let path = format!("/{}", method.as_str().to_lowercase());
        let answer = send(client.proxy(method.clone(), "bearer", CONNECTION, &path)).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        assert_eq!(answer.json()["url"], format!("{}{path}", httpbin::url()), "{method}");
    }
    let head = send(client.proxy(Method::HEAD, "bearer", CONNECTION, "/get")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some("application/json"));
    assert_ne!(
        head.header("content-length"),
        Some("0"),
        "the length that GET would have"
    );
    let options = send(client.proxy(Method::OPTIONS, "bearer", CONNECTION, "/get")).await;
    let allow = options.header("allow").unwrap_or_default();
    assert!(
        options.status == 200 && allow.contains("HEAD"),
        "httpbin itself answers: {allow}"
    );
    let propfind = Method::from_bytes(b"PROPFIND").expect("a method of WebDAV");
    assert_eq!(
        send(client.proxy(propfind, "bearer", CONNECTION, "/get")).await.status,
        405
    );
    let trace = send(client.proxy(Method::TRACE, "bearer", CONNECTION, "/anything")).await;
    assert_eq!((trace.status, trace.error_code()), (405, "method_not_allowed".into()));
    assert!(!trace.text().contains(API_KEY), "TRACE would show the credentials");
}

#[tokio::test]
async fn credentials_of_each_mode_are_injected() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let headers = async |integration: &str| client.proxy_get(integration, CONNECTION, "/get").await.ok();
    assert_eq!(
        headers("bearer").await["headers"]["Authorization"],
        format!("Bearer {API_KEY}")
    );
    assert_eq!(headers("header-key").await["headers"]["X-Api-Key"], API_KEY);
    assert_eq!(headers("query-key").await["args"]["api_key"], API_KEY);
    assert_eq!(
        headers("oauth").await["headers"]["Authorization"],
        "Bearer oauth-access-token-41c9"
    );
    let basic = format!("Basic {}", BASE64.encode("user:pass word"));
    assert_eq!(headers("basic").await["headers"]["Authorization"], basic);
    assert!(headers("open").await["headers"].get("Authorization").is_none());
}

#[tokio::test]
async fn httpbin_accepts_the_credentials() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let bearer = client.proxy_get("bearer", CONNECTION, "/bearer").await.ok();
    assert_eq!(bearer, json!({"authenticated": true, "token": API_KEY}));
    let basic = client
        .proxy_get("basic", CONNECTION, "/basic-auth/user/pass%20word")
        .await
        .ok();
    assert_eq!(basic["authenticated"], true);
    assert_eq!(client.proxy_get("open", CONNECTION, "/bearer").await.status, 401);
}

#[tokio::test]
async fn only_prefixed_headers_reach_the_upstream() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let request = client
        .proxy(Method::GET, "bearer", CONNECTION, "/headers")
        .header("Nango-Proxy-X-Custom", "v")
        .header("X-Mine", "stays")
        .header("Cookie", "stays");
    let headers = send(request).await.ok()["headers"].clone();
    assert_eq!(headers["X-Custom"], "v");
    assert_eq!(
        headers["Authorization"],
        format!("Bearer {API_KEY}"),
        "not the caller's API key"
    );
    for name in [
        "X-Mine",
        "Cookie",
        "Connection-Id",
        "Provider-Config-Key",
        "Nango-Proxy-X-Custom",
    ] {
        assert!(headers.get(name).is_none(), "{name} went through");
    }
}

#[tokio::test]
async fn the_query_goes_through_byte_for_byte() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let path = "/get?a=1&a=2&b=x%2Fy&c=%20+&d=%E2%82%AC&e";
    let answer = client.proxy_get("bearer", CONNECTION, path).await.ok();
    assert_eq!(
        answer["args"],
        json!({"a": ["1", "2"], "b": "x/y", "c": "  ", "d": "€", "e": ""})
    );
}

#[tokio::test]
async fn bodies_of_every_method_arrive() {
    let (_server, client) = with_providers(httpbin::url()).await;
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let request = client.proxy(method.clone(), "bearer", CONNECTION, "/anything/a%2Fb");
        let answer = send(json_body(request, &json!([1, 2]))).await.ok();
        assert_eq!(
            (&answer["json"], &answer["method"]),
            (&json!([1, 2]), &json!(method.as_str()))
        );
    }
}

#[tokio::test]
async fn a_body_without_a_length_arrives() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let pieces = ["{\"a\"", ": 1}"].map(Ok::<_, std::convert::Infallible>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = client.proxy(Method::POST, "bearer", CONNECTION, "/post");
    let answer = send(request.header("content-type", "application/json").body(body))
        .await
        .ok();
    assert_eq!(answer["json"], json!({"a": 1}));
    assert_eq!(answer["headers"]["Transfer-Encoding"], "chunked");
}

#[tokio::test]
async fn bodies_arrive_unchanged() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let post = || client.proxy(Method::POST, "bearer", CONNECTION, "/post");

    let value = json!({"hello": "wörld", "big": 9_007_199_254_740_993_i64});
    assert_eq!(send(json_body(post(), &value)).await.ok()["json"], value);

    let form = post()
        .header("content-type", "application/x-www-form-urlencoded")
        .body("a=1&b=two%20words");
    assert_eq!(send(form).await.ok()["form"], json!({"a": "1", "b": "two words"}));

    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let binary = post()
        .header("content-type", "application/octet-stream")
        .body(bytes.clone());
    let expected = format!("data:application/octet-stream;base64,{}", BASE64.encode(bytes));
    assert_eq!(send(binary).await.ok()["data"], expected);

    let multipart = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\ntext\r\n--b--\r\n";
    let file = post()
        .header("content-type", "multipart/form-data; boundary=b")
        .body(multipart);
    assert_eq!(send(file).await.ok()["files"], json!({"file": "text"}));
}
