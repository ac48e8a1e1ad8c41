//! The proxy in front of httpbin: what is answered comes back. What is sent is in `proxy_httpbin`.

use std::time::{Duration, Instant};

use http::Method;
use nango_runtime_tests::client::{json_body, send};
use nango_runtime_tests::{Client, WireUpstream, httpbin};
use serde_json::json;

use crate::fixture::{API_KEY, CONNECTION, with_providers};

#[tokio::test]
async fn statuses_come_back_as_they_are() {
    let (_server, client) = with_providers(httpbin::url()).await;
    for status in [200, 201, 202, 204, 304, 400, 401, 403, 404, 409, 418, 422, 501] {
        let answer = client
            .proxy_get("bearer", CONNECTION, &format!("/status/{status}"))
            .await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn answer_headers_come_back() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let answer = client
        .proxy_get(
            "bearer",
            CONNECTION,
            "/response-headers?X-RateLimit-Remaining=7&ETag=%22e%22",
        )
        .await;
    assert_eq!(answer.header("x-ratelimit-remaining"), Some("7"));
    assert_eq!(answer.header("etag"), Some("\"e\""));
}

#[tokio::test]
async fn redirects_within_the_origin_are_followed() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let answer = client.proxy_get("bearer", CONNECTION, "/redirect/3").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["headers"]["Authorization"], format!("Bearer {API_KEY}"));
    let endless = client.proxy_get("bearer", CONNECTION, "/redirect/50").await;
    assert_ne!(endless.status, 200, "redirects without end are not followed for ever");
}

#[tokio::test]
async fn compressed_answers_are_readable() {
    let (_server, client) = with_providers(httpbin::url()).await;
    for (path, flag) in [("/gzip", "gzipped"), ("/deflate", "deflated"), ("/brotli", "brotli")] {
        let answer = client.proxy_get("bearer", CONNECTION, path).await;
        assert_eq!(answer.header("content-encoding"), None, "{path}");
        assert_eq!(answer.ok()[flag], true, "{path}");
    }
}

/// [`LINE`] ten thousand times, by the program `zstd` (1.5) at level 19.
const LINES_ZSTD: &[u8] = &[
    0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68, 0xbc, 0x01, 0x00, 0xd4, 0x02, 0x54, 0x68, 0x65, 0x20, 0x71, 0x75, 0x69, 0x63,
    0x6b, 0x20, 0x62, 0x72, 0x6f, 0x77, 0x6e, 0x20, 0x66, 0x6f, 0x78, 0x20, 0x6a, 0x75, 0x6d, 0x70, 0x73, 0x20, 0x6f,
    0x76, 0x65, 0x72, 0x20, 0x74, 0x68, 0x65, 0x20, 0x6c, 0x61, 0x7a, 0x79, 0x20, 0x64, 0x6f, 0x67, 0x2e, 0x0a, 0x01,
    0x00, 0x85, 0xfe, 0x87, 0xb9, 0x2a, 0x03, 0x54, 0x00, 0x00, 0x00, 0x01, 0x00, 0xfd, 0xff, 0xe3, 0xff, 0xb9, 0x06,
    0x02, 0x44, 0x00, 0x00, 0x00, 0x01, 0x00, 0xfd, 0xff, 0x39, 0x00, 0x02, 0x45, 0x00, 0x00, 0x00, 0x01, 0x00, 0xcd,
    0x5d, 0x1d, 0x00, 0x01, 0x21, 0x1e, 0x83, 0x1e,
];
const LINE: &str = "The quick brown fox jumps over the lazy dog.\n";

#[tokio::test]
async fn zstd_is_decoded_for_who_does_not_read_it() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: zstd\r\ncontent-length: {}\r\n\r\n",
        LINES_ZSTD.len()
    );
    let upstream = WireUpstream::saying([head.as_bytes(), LINES_ZSTD].concat()).await;
    let (_server, client) = with_providers(&upstream.url()).await;
    let answer = client.proxy_get("bearer", CONNECTION, "/lines").await;
    assert_eq!(
        (answer.header("content-encoding"), answer.header("content-length")),
        (None, None)
    );
    assert!(answer.text() == LINE.repeat(10_000), "{} bytes", answer.body.len());
    let request = client
        .proxy(Method::GET, "bearer", CONNECTION, "/lines")
        .header("Accept-Encoding", "zstd");
    let encoded = send(request).await;
    assert_eq!(encoded.header("content-encoding"), Some("zstd"));
    assert_eq!(encoded.body, LINES_ZSTD);
}

#[tokio::test]
async fn encodings_come_as_they_are_for_who_reads_them() {
    let (_server, client) = with_providers(httpbin::url()).await;
    for (path, encoding, magic) in [
        ("/gzip", "gzip", &[0x1f, 0x8b][..]),
        ("/deflate", "deflate", &[0x78][..]),
        ("/brotli", "br", &[][..]),
    ] {
        let request = client
            .proxy(Method::GET, "bearer", CONNECTION, path)
            .header("Accept-Encoding", "gzip, deflate, br");
        let answer = send(request).await;
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        assert!(answer.body.starts_with(magic), "{path} is still encoded");
        assert_eq!(
            answer.header("content-length"),
            Some(answer.body.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn streams_and_large_bodies_go_through() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let lines = client.proxy_get("bearer", CONNECTION, "/stream/20").await;
    assert_eq!(lines.text().lines().count(), 20);
    let path = "/stream-bytes/100000?seed=1&chunk_size=1000";
    let bytes = client.proxy_get("bearer", CONNECTION, path).await;
    let direct = Client::new(httpbin::url(), None).get(path).await;
    assert_eq!(bytes.body, direct.body);
}

#[tokio::test]
async fn images_come_byte_by_byte() {
    let (_server, client) = with_providers(httpbin::url()).await;
    for (kind, magic) in [
        ("png", &b"\x89PNG\r\n\x1a\n"[..]),
        ("jpeg", &b"\xff\xd8\xff"[..]),
        ("webp", &b"RIFF"[..]),
    ] {
        let path = format!("/image/{kind}");
        let image = client.proxy_get("bearer", CONNECTION, &path).await;
        assert_eq!(image.header("content-type"), Some(format!("image/{kind}").as_str()));
        assert!(image.body.starts_with(magic), "{kind}");
        assert_eq!(
            image.header("content-length"),
            Some(image.body.len().to_string().as_str())
        );
    }
}

#[tokio::test]
async fn parts_and_conditions_are_the_providers_business() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let with = |path: &str, name: &str, value: &str| {
        client
            .proxy(Method::GET, "bearer", CONNECTION, path)
            .header(name, value)
    };
    let part = send(with("/range/1024", "Nango-Proxy-Range", "bytes=10-19")).await;
    assert_eq!((part.status, part.text().as_str()), (206, "klmnopqrst"));
    assert_eq!(part.header("content-range"), Some("bytes 10-19/1024"));
    let beyond = send(with("/range/1024", "Nango-Proxy-Range", "bytes=2000-")).await;
    assert_eq!(beyond.status, 416);
    let known = send(with("/etag/v1", "Nango-Proxy-If-None-Match", "v1")).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    let changed = send(with("/etag/v1", "Nango-Proxy-If-Match", "v2")).await;
    assert_eq!(changed.status, 412);
}

#[tokio::test]
async fn redirects_keep_method_and_body_when_they_must() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let target = percent_encoding::utf8_percent_encode("/anything", percent_encoding::NON_ALPHANUMERIC);
    for (status, method) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let path = format!("/redirect-to?url={target}&status_code={status}");
        let request = client.proxy(Method::POST, "bearer", CONNECTION, &path);
        let answer = send(json_body(request, &json!({"a": 1}))).await.ok();
        let body = if method == "POST" { json!({"a": 1}) } else { json!(null) };
        assert_eq!(
            (&answer["method"], &answer["json"]),
            (&json!(method), &body),
            "{status}"
        );
    }
    for path in ["/absolute-redirect/2", "/relative-redirect/2"] {
        assert_eq!(client.proxy_get("bearer", CONNECTION, path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_waited_for() {
    let (_server, client) = with_providers(httpbin::url()).await;
    assert_eq!(client.proxy_get("bearer", CONNECTION, "/delay/1").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_drips_arrives_drop_by_drop() {
    let (_server, client) = with_providers(httpbin::url()).await;
    let request = client.proxy(Method::GET, "bearer", CONNECTION, "/drip?duration=2&numbytes=4&delay=0");
    let mut response = request.send().await.expect("a head comes");
    let first = response
        .chunk()
        .await
        .expect("a drop comes")
        .expect("it is not the end");
    let started = Instant::now();
    let mut drops = first.len();
    while let Some(drop) = response.chunk().await.expect("the rest comes") {
        drops += drop.len();
    }
    assert!(
        started.elapsed() > Duration::from_secs(1),
        "the first came with the last"
    );
    assert_eq!(drops, 4);
}
