//! nginx as the upstream: it limits, cuts and refuses as the servers in front of real APIs do.

use std::path::Path;

use http::Method;
use nango_runtime_tests::client::send;
use nango_runtime_tests::nginx::Nginx;
use nango_runtime_tests::upstream::closed_port;
use nango_runtime_tests::{Client, Server, TestRuntime, WireUpstream};

use crate::fixture::{CONNECTION, INTEGRATION, prepared};

const FILE: &str = "The quick brown fox jumps over the lazy dog.\n";

/// A server before an nginx that serves files, and in the way each test wants it.
struct Site {
    client: Client,
    _server: Server,
    nginx: Nginx,
    folder: tempfile::TempDir,
}

async fn site(locations: &str, settings: &[(&str, &str)]) -> Site {
    let folder = tempfile::TempDir::with_prefix("nango-runtime-nginx-").expect("a temporary folder can be made");
    let files = folder.path().join("files");
    std::fs::create_dir(&files).expect("a folder can be made");
    for name in ["file.txt", "limited", "scarce", "busy"] {
        std::fs::write(files.join(name), FILE).expect("a file can be written");
    }
    let http =
        "limit_req_zone $uri zone=one_a_second:1m rate=1r/s; limit_req_zone $uri zone=one_a_minute:1m rate=1r/m;";
    let server = format!("root {};\n{locations}", files.display());
    let nginx = Nginx::start(folder.path(), http, &server);
    let runtime = settings
        .iter()
        .fold(TestRuntime::new().egress_loopback(), |runtime, (name, value)| {
            runtime.environment(name, value)
        });
    let (server, client) = prepared(runtime, nginx.url()).await;
    Site {
        client,
        _server: server,
        nginx,
        folder,
    }
}

impl Site {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.proxy(method, INTEGRATION, CONNECTION, path)
    }

    /// The statuses that nginx noted for a path, in order.
    fn noted(&self, path: &str) -> Vec<String> {
        let log = std::fs::read_to_string(Path::new(self.folder.path()).join("access.log")).expect("nginx keeps a log");
        // The common format: … "GET /path HTTP/1.1" 200 …
        let lines = log.lines().filter_map(|line| {
            let (_, request) = line.split_once('"')?;
            let (request, rest) = request.split_once('"')?;
            request
                .contains(&format!(" {path} "))
                .then(|| rest.split_whitespace().next())?
        });
        lines.map(str::to_owned).collect()
    }
}

const LIMITED: &str = "
location = /limited { limit_req zone=one_a_second; limit_req_status 429; add_header Retry-After 1 always; }
location = /scarce { limit_req zone=one_a_minute; limit_req_status 429; add_header Retry-After 1 always; }
location = /busy { limit_req zone=one_a_minute; add_header Retry-After 1 always; }
";

#[tokio::test]
async fn a_rate_limit_is_waited_for() {
    let site = site(LIMITED, &[]).await;
    // Until nginx refused one: on a slow machine a second may pass between two.
    for _ in 0..20 {
        let answer = site.client.proxy_get(INTEGRATION, CONNECTION, "/limited").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, FILE));
        if site.noted("/limited").contains(&"429".to_owned()) {
            break;
        }
    }
    let noted = site.noted("/limited");
    assert!(noted.ends_with(&["429".to_owned(), "200".to_owned()]), "{noted:?}");
}

#[tokio::test]
async fn a_rate_limit_is_passed_on_when_nobody_is_to_wait() {
    let site = site(LIMITED, &[("NANGO_LIMITS_PROXY_RATE_LIMIT_RETRIES", "0")]).await;
    assert_eq!(
        site.client.proxy_get(INTEGRATION, CONNECTION, "/scarce").await.status,
        200
    );
    let answer = site.client.proxy_get(INTEGRATION, CONNECTION, "/scarce").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")));
    assert!(answer.text().contains("nginx"), "the page is nginx's own");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_on_request() {
    let site = site(LIMITED, &[]).await;
    let once = site.request(Method::GET, "/busy");
    assert_eq!(send(once).await.status, 200);
    assert_eq!(send(site.request(Method::GET, "/busy")).await.status, 503);
    let patient = site.request(Method::GET, "/busy").header("Retries", "1");
    assert_eq!(send(patient).await.status, 503);
    assert_eq!(site.noted("/busy"), ["200", "503", "503", "503"]);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_a_reset() {
    let site = site("location = /cut { return 444; }", &[]).await;
    for (method, attempts) in [(Method::POST, 1), (Method::GET, 2)] {
        let before = site.noted("/cut").len();
        let answer = send(site.request(method.clone(), "/cut")).await;
        let failure = answer.json();
        assert_eq!(
            (answer.status, &failure["code"]),
            (500, &"ECONNRESET".into()),
            "{failure}"
        );
        let at = site.nginx.url().trim_start_matches("http://");
        assert_eq!(
            failure["message"],
            format!("{at:?} broke the connection off before it answered")
        );
        assert_eq!(
            site.noted("/cut").len() - before,
            attempts,
            "{method}: what may have happened is not done twice"
        );
    }
}

#[tokio::test]
async fn a_gateway_without_a_backend_answers_for_itself() {
    let locations = format!("location = /gone {{ proxy_pass http://127.0.0.1:{}; }}", closed_port());
    let site = site(&locations, &[]).await;
    let answer = site.client.proxy_get(INTEGRATION, CONNECTION, "/gone").await;
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("text/html")));
    assert!(answer.text().contains("502 Bad Gateway"), "{}", answer.text());
}

#[tokio::test]
async fn half_an_answer_is_not_taken_for_a_whole_one() {
    let backend = WireUpstream::start(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    })
    .await;
    let site = site(&format!("location = /half {{ proxy_pass {}; }}", backend.url()), &[]).await;
    let mut response = site.request(Method::GET, "/half").send().await.expect("a head comes");
    assert_eq!(response.status(), 200);
    let mut body = Vec::new();
    let broke_off = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broke_off && body == b"half", "{}", String::from_utf8_lossy(&body));
}

#[tokio::test]
async fn an_upload_that_is_too_large_gets_the_servers_answer() {
    let site = site(
        "location = /upload { client_max_body_size 1k; proxy_pass http://127.0.0.1:9; }",
        &[],
    )
    .await;
    for length in [2 << 10, 16 << 20] {
        let request = site.request(Method::POST, "/upload").body(vec![7; length]);
        let answer = send(request).await;
        assert_eq!(answer.status, 413, "{length} bytes: {}", answer.text());
        let pieces = std::iter::repeat_n(vec![7; 1 << 10], length >> 10).map(Ok::<_, std::convert::Infallible>);
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let answer = send(site.request(Method::POST, "/upload").body(body)).await;
        assert_eq!(
            answer.status,
            413,
            "{length} bytes of unknown length: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_header_that_is_too_large_gets_the_servers_answer() {
    let site = site("", &[]).await;
    let request = site
        .request(Method::GET, "/file.txt")
        .header("Nango-Proxy-X-Large", "x".repeat(20 << 10));
    let answer = send(request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("Too Large"), "{}", answer.text());
}

#[tokio::test]
async fn files_come_with_all_that_is_said_of_them() {
    let site = site(
        "gzip on; gzip_min_length 1; gzip_types text/plain; types { text/plain txt; }",
        &[],
    )
    .await;
    // A caller who reads encodings himself, so that none is asked for on his behalf.
    let request = |method| site.request(method, "/file.txt").header("Accept-Encoding", "gzip");
    let whole = send(request(Method::GET)).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, FILE));
    let etag = whole.header("etag").expect("nginx gives one").to_owned();
    assert!(whole.header("last-modified").is_some());
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));

    let head = send(request(Method::HEAD)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(FILE.len().to_string().as_str()));

    let known = send(request(Method::GET).header("Nango-Proxy-If-None-Match", &etag)).await;
    assert_eq!((known.status, known.header("etag")), (304, Some(etag.as_str())));

    let part = send(request(Method::GET).header("Nango-Proxy-Range", "bytes=4-8")).await;
    assert_eq!((part.status, part.text().as_str()), (206, "quick"));

    let decoded = send(site.request(Method::GET, "/file.txt").header("Decompress", "true")).await;
    assert_eq!(
        (decoded.header("content-encoding"), decoded.text().as_str()),
        (None, FILE)
    );
    assert!(decoded.header("content-length").is_none(), "nginx did encode it");
    let encoded = send(request(Method::GET).header("Nango-Proxy-Accept-Encoding", "gzip")).await;
    assert_eq!(encoded.header("content-encoding"), Some("gzip"));
    assert!(encoded.body.starts_with(&[0x1f, 0x8b]));
}

#[tokio::test]
async fn connections_that_nginx_lets_go_cost_no_call() {
    let site = site("keepalive_requests 3;", &[]).await;
    for number in 0..30 {
        let answer = send(site.request(Method::GET, "/file.txt")).await;
        assert_eq!(answer.status, 200, "call {number}: {}", answer.text());
    }
}
