//! The calls that the published client makes through the proxy, against an upstream that behaves as the one did when Nango
//! was asked: the same status, codes, bodies and headers. The numbers are those of the recorded calls. Where the answer is
//! better than Nango's on purpose, the row says so in `better`, and `docs/compatibility.md` lists it.

use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::upstream::{Received, closed_port};
use nango_runtime_tests::{Client, Reply, Server, TestRuntime, Upstream};
use serde_json::{Value, json};

/// `printf '{"zipped":true}' | gzip -n`
const GZIP: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xabV\xaa\xca,(HMQ\xb2*)*M\xad\x05\x00\x84(\xbc\x08\x0f\x00\x00\x00";
const BINARY: &[u8] = b"\x01\x02\x03\xfa";

/// One recorded call.
struct Recorded {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    /// Of the caller, besides those that the client always sends. A name again replaces the value.
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    expected: Body,
    /// Headers of the answer; an empty value means that it is not there.
    answer_headers: &'static [(&'static str, &'static str)],
    /// What differs from Nango on purpose.
    better: &'static str,
}

enum Body {
    /// The echo of the upstream: target, content type, authorization and body as it got them.
    Echo(&'static str, &'static str, &'static str, &'static str),
    Json(&'static str),
    Bytes(&'static [u8]),
    /// `error.code`, and whether there is a message.
    Code(&'static str),
    /// The network failure's code; the message is ours.
    Failure(&'static str),
}

impl Recorded {
    const fn get(name: &'static str, path: &'static str, expected: Body) -> Self {
        Self {
            name,
            method: "GET",
            path,
            headers: &[],
            body: "",
            status: 200,
            expected,
            answer_headers: &[],
            better: "",
        }
    }

    const fn sending(name: &'static str, method: &'static str, body: &'static str, expected: Body) -> Self {
        Self {
            method,
            body,
            ..Self::get(name, "/echo", expected)
        }
    }

    const fn headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    const fn answers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.answer_headers = headers;
        self
    }

    const fn better(mut self, better: &'static str) -> Self {
        self.better = better;
        self
    }
}

const TOKEN: &str = "Bearer fake-access-token";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

const RECORDED: &[Recorded] = &[
    Recorded::get("040 get", "/echo?x=1", Body::Echo("/echo?x=1", "", TOKEN, ""))
        .headers(&[("nango-proxy-x-custom", "v")])
        .answers(&[("content-type", JSON), ("x-request-id", "up-1"), ("x-upstream", "yes")])
        .better("x-upstream: all headers come through"),
    Recorded::get("041 get with params", "/echo?a=b+c", Body::Echo("/echo?a=b+c", "", TOKEN, "")),
    Recorded::sending(
        "042 post json",
        "POST",
        r#"{"hello":"world"}"#,
        Body::Echo("/echo", JSON, TOKEN, r#"{"hello":"world"}"#),
    )
    .headers(&[("content-type", JSON)]),
    Recorded::sending("043 post form", "POST", "a=1&b=two", Body::Echo("/echo", FORM, TOKEN, "a=1&b=two"))
        .headers(&[("content-type", FORM), ("nango-proxy-content-type", FORM)]),
    Recorded::sending("044 put", "PUT", r#"{"p":1}"#, Body::Echo("/echo", JSON, TOKEN, r#"{"p":1}"#))
        .headers(&[("content-type", JSON)]),
    Recorded::sending("045 patch", "PATCH", r#"{"p":2}"#, Body::Echo("/echo", JSON, TOKEN, r#"{"p":2}"#))
        .headers(&[("content-type", JSON)]),
    Recorded::sending("046 delete", "DELETE", "", Body::Echo("/echo", "", TOKEN, "")),
    Recorded::get("047 api key", "/echo", Body::Echo("/echo", "", "Bearer fake-api-key", ""))
        .headers(&[("provider-config-key", "private-api-bearer"), ("connection-id", "conn-key")]),
    Recorded::get("048 upstream 404", "/404", Body::Json(r#"{"message":"Not Found"}"#))
        .status(404)
        .answers(&[("x-upstream", "yes"), ("x-request-id", "up-1"), ("content-length", "23")]),
    Recorded::get("049 upstream 500", "/500", Body::Json(r#"{"message":"boom"}"#))
        .status(500)
        .answers(&[("x-upstream", "yes"), ("x-request-id", "up-1")]),
    Recorded::get("050 no content", "/204", Body::Bytes(b""))
        .status(204)
        .answers(&[("x-upstream", "yes")])
        .better("x-upstream: all headers come through"),
    Recorded::get("051 rate limit with retries", "/429/051", Body::Json(r#"{"attempt":2,"ok":true}"#))
        .headers(&[("retries", "2")]),
    Recorded::get("052 rate limit without", "/429/052", Body::Json(r#"{"attempt":2,"ok":true}"#))
        .better("Nango passes the 429 on; it is waited for"),
    Recorded::get("053 redirect", "/redirect", Body::Echo("/echo?redirected=1", "", TOKEN, "")),
    Recorded::get("054 chunked", "/chunked", Body::Bytes(b"part1-part2-part1-part2-"))
        .answers(&[("content-type", "text/plain"), ("transfer-encoding", "chunked"), ("x-upstream", "yes")]),
    Recorded::get("055 gzip", "/gzip", Body::Bytes(GZIP))
        .answers(&[("content-encoding", "gzip"), ("content-length", "35")])
        .better("the client said that it reads gzip, so it gets what the upstream sent"),
    Recorded::get("056 gzip, decompress", "/gzip", Body::Json(r#"{"zipped":true}"#))
        .headers(&[("decompress", "true")])
        .answers(&[("content-encoding", ""), ("content-type", JSON)]),
    Recorded::get("057 binary", "/bin", Body::Bytes(BINARY)).answers(&[
        ("content-type", "application/octet-stream"),
        ("content-disposition", "attachment; filename=\"a.bin\""),
        ("content-length", "4"),
    ]),
    Recorded::get("058 headers", "/cookie", Body::Json(r#"{"ok":1}"#))
        .answers(&[
            ("x-request-id", "up-1"),
            ("set-cookie", "a=1"),
            ("link", "<http://x?page=2>; rel=\"next\""),
            ("x-ratelimit-remaining", "41"),
        ])
        .better("cookies, links and rate limits come through"),
    Recorded::get("059 unknown connection", "/echo", Body::Code("server_error"))
        .headers(&[("connection-id", "nope")])
        .status(400),
    Recorded::get("060 unknown integration", "/echo", Body::Code("unknown_provider_config"))
        .headers(&[("provider-config-key", "nope")])
        .status(404),
    Recorded::get("062 upstream down", "/echo", Body::Failure("ECONNREFUSED"))
        .headers(&[("base-url-override", "DOWN")])
        .status(500),
    Recorded::get(
        "063 bad override",
        "/echo",
        Body::Json(
            r#"{"error":{"code":"invalid_headers","errors":[{"code":"invalid_union","message":"Invalid input: expected a URL that begins with http:// or https://","path":["base-url-override"]}]}}"#,
        ),
    )
    .headers(&[("base-url-override", "not a url")])
    .status(400)
    .better("the message says what is expected"),
    Recorded::sending("301 propfind", "PROPFIND", "<x/>", Body::Echo("/echo", "text/xml", TOKEN, "<x/>"))
        .headers(&[("content-type", "text/xml"), ("nango-proxy-content-type", "text/xml")])
        .better("Nango sends bodies for some methods only"),
    Recorded::get("307 headers of the caller", "/echo", Body::Echo("/echo", "", "Bearer mine", "")).headers(&[
        ("provider-config-key", "private-api-bearer"),
        ("connection-id", "conn-key"),
        ("nango-proxy-authorization", "Bearer mine"),
        ("nango-proxy-user-agent", "ua/1"),
    ]),
];

fn upstream_reply(received: &Received, attempts: &AtomicU32) -> Reply {
    let path = received.target.split('?').next().unwrap_or_default();
    let reply = |status: u16, body: Value| {
        Reply::json(status, &body)
            .header("x-upstream", "yes")
            .header("x-request-id", "up-1")
    };
    match path {
        "/echo" => reply(
            200,
            json!({
                "method": received.method.as_str(), "url": received.target,
                "headers": {
                    "content-type": received.header("content-type"), "authorization": received.header("authorization"),
                    "x-custom": received.header("x-custom"), "user-agent": received.header("user-agent"),
                },
                "body": String::from_utf8_lossy(&received.body),
            }),
        ),
        "/404" => reply(404, json!({"message": "Not Found"})),
        "/500" => reply(500, json!({"message": "boom"})),
        "/204" => Reply::status(204).header("x-upstream", "yes"),
        // The first of a call is refused.
        "/429/051" | "/429/052" => match attempts.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => reply(429, json!({"message": "slow"})).header("retry-after", "1"),
            _ => reply(200, json!({"ok": true, "attempt": 2})),
        },
        "/redirect" => Reply::status(302).header("location", "/echo?redirected=1"),
        "/chunked" => Reply::status(200)
            .header("content-type", "text/plain")
            .header("x-upstream", "yes")
            .body("part1-part2-")
            .repeat(2),
        "/gzip" => Reply::status(200)
            .header("content-type", JSON)
            .header("content-encoding", "gzip")
            .body(GZIP),
        "/bin" => Reply::status(200)
            .header("content-type", "application/octet-stream")
            .header("content-disposition", "attachment; filename=\"a.bin\"")
            .body(BINARY),
        "/cookie" => reply(200, json!({"ok": 1}))
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("link", "<http://x?page=2>; rel=\"next\"")
            .header("x-ratelimit-remaining", "41"),
        _ => Reply::status(500).body(format!("the upstream has no {path}")),
    }
}

async fn recorded_environment() -> (Server, Client, Upstream) {
    let attempts = AtomicU32::new(0);
    let upstream = Upstream::handling(move |received| upstream_reply(received, &attempts)).await;
    let server = TestRuntime::new().egress_loopback().start();
    let client = server.client();
    let connections = [
        (
            "github",
            "conn-oauth",
            json!({"type": "OAUTH2", "access_token": "fake-access-token"}),
        ),
        (
            "private-api-bearer",
            "conn-key",
            json!({"type": "API_KEY", "apiKey": "fake-api-key"}),
        ),
    ];
    for (integration, connection, credentials) in connections {
        let _ = client.create_integration(integration, integration).await.ok();
        let _ = client
            .import_connection(integration, connection, credentials)
            .await
            .ok();
    }
    (server, client, upstream)
}

#[tokio::test]
async fn recorded_calls_are_answered_as_by_nango_or_better() {
    let (_server, client, upstream) = recorded_environment().await;
    let down = format!("http://127.0.0.1:{}", closed_port());
    for call in RECORDED {
        let method = Method::from_bytes(call.method.as_bytes()).expect("a method");
        let mut headers = http::HeaderMap::new();
        let upstream_url = upstream.url();
        let always = [
            ("accept", "application/json, text/plain, */*"),
            ("accept-encoding", "gzip, compress, deflate, br"),
            ("connection-id", "conn-oauth"),
            ("provider-config-key", "github"),
            ("base-url-override", upstream_url.as_str()),
            ("nango-activity-log-id", ""),
        ];
        for (name, value) in always.iter().chain(call.headers) {
            let value = if *value == "DOWN" { down.as_str() } else { value };
            headers.insert(*name, value.parse().expect("a header value"));
        }
        let request = client.request(method, &format!("/proxy{}", call.path)).headers(headers);
        let answer = if call.body.is_empty() {
            send(request).await
        } else {
            send(request.body(call.body)).await
        };
        let Recorded { name, better, .. } = call;
        let told = format!("{name} (on purpose: {better:?}): {}", answer.text());
        assert_eq!(answer.status, call.status, "{told}");
        for (header, value) in call.answer_headers {
            assert_eq!(answer.header(header).unwrap_or_default(), *value, "{header} of {told}");
        }
        match &call.expected {
            Body::Echo(url, content_type, authorization, body) => {
                let echo = answer.json();
                let got = (&echo["method"], &echo["url"], &echo["body"]);
                assert_eq!(got, (&json!(call.method), &json!(url), &json!(body)), "{told}");
                let headers = &echo["headers"];
                let got = (&headers["content-type"], &headers["authorization"]);
                assert_eq!(got, (&json!(content_type), &json!(authorization)), "{told}");
            }
            Body::Json(json) => {
                let json: Value = serde_json::from_str(json).expect("the row is JSON");
                assert_eq!(answer.json(), json, "{told}");
            }
            Body::Bytes(bytes) => assert_eq!(answer.body, *bytes, "{told}"),
            Body::Code(code) => {
                assert_eq!(answer.error_code(), *code, "{told}");
                assert!(answer.json()["error"]["message"].is_string(), "{told}");
            }
            Body::Failure(code) => {
                let failure = answer.json();
                assert_eq!(
                    (&failure["code"], &failure["method"]),
                    (&json!(code), &json!("get")),
                    "{told}"
                );
                assert!(failure["message"].is_string(), "{told}");
            }
        }
    }
    let received = upstream.received();
    let by_caller = received.iter().filter(|request| request.header("user-agent") == "ua/1");
    assert_eq!(by_caller.count(), 1, "the caller's user agent counts");
    assert_eq!(received[0].header("x-custom"), "v");
}

#[tokio::test]
async fn a_call_without_headers_hears_of_both() {
    let (_server, client, _upstream) = recorded_environment().await;
    let missing = |name: &str| json!({"code": "invalid_type", "message": "Invalid input: expected string, received undefined", "path": [name]});
    let answer = client.get("/proxy/echo").await.snapshot();
    let errors = [missing("provider-config-key"), missing("connection-id")];
    let expected = json!({"status": 400, "body": {"error": {"code": "invalid_headers", "errors": errors}}});
    assert_eq!(answer, expected, "061");
}
