//! What the tests of this module share: a connection to refresh, and a token endpoint on loopback that takes each refresh token
//! once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::values::Moment;
use crate::connections::Target;
use crate::connections::tests::{provider, target as plain};
use crate::credentials::{Credentials, OAuthClient, Secret};

/// A connection with these credentials, of a provider with that entry.
pub(super) fn target(entry: Value, credentials: &Value) -> Target {
    let mut target = Arc::try_unwrap(plain("testing", "customer-1")).unwrap();
    target.provider = Arc::new(provider(entry));
    target.credentials = Credentials::from_json(credentials).unwrap();
    target.client = Some(OAuthClient {
        client_id: "my id".to_owned(),
        client_secret: Secret::new("s3cret+/".to_owned()),
    });
    target
}

pub(super) fn moment() -> Moment {
    Moment {
        now_ms: 1_800_000_000_000,
        random: [7; 16],
    }
}

pub(super) fn oauth2() -> Value {
    json!({"type": "OAUTH2", "access_token": "old-access", "refresh_token": "old-refresh"})
}

/// Gives `access-N` and `refresh-N` for `refresh-(N-1)`, once; `refresh-0` is the first.
pub(super) struct TokenEndpoint {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    asked: AtomicUsize,
    granted: AtomicUsize,
    delay_ms: AtomicU64,
    /// Answered instead of what was asked for.
    reply: Mutex<Option<(u16, String)>>,
}

impl TokenEndpoint {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let of_task = state.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, of_task.clone()));
            }
        });
        Self { port, state }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/token", self.port)
    }

    /// Requests so far.
    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Acquire)
    }

    pub(super) fn delay_ms(&self, delay_ms: u64) {
        self.state.delay_ms.store(delay_ms, Ordering::Release);
    }

    /// Answers this from now on, or (none) what is asked for.
    pub(super) fn reply(&self, reply: Option<(u16, &str)>) {
        *self.state.reply.lock().unwrap() = reply.map(|(status, body)| (status, body.to_owned()));
    }
}

async fn serve(mut connection: TcpStream, state: Arc<State>) {
    let mut received = Vec::new();
    loop {
        let text = loop {
            let text = String::from_utf8_lossy(&received).into_owned();
            if is_whole(&text) {
                break text;
            }
            if connection.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        };
        received.clear();
        state.asked.fetch_add(1, Ordering::AcqRel);
        let (status, body) = answer(&state, &text);
        tokio::time::sleep(Duration::from_millis(state.delay_ms.load(Ordering::Acquire))).await;
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        if connection.write_all((head + &body).as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(state: &State, request: &str) -> (u16, String) {
    if let Some(reply) = state.reply.lock().unwrap().clone() {
        return reply;
    }
    let granted = state.granted.load(Ordering::Acquire);
    if !request.contains(&format!("refresh_token=refresh-{granted}")) {
        return (400, json!({"error": "invalid_grant"}).to_string());
    }
    state.granted.fetch_add(1, Ordering::AcqRel);
    let next = granted + 1;
    let body = json!({
        "access_token": format!("access-{next}"), "refresh_token": format!("refresh-{next}"), "expires_in": 3_600,
    });
    (200, body.to_string())
}

fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_none_or(|length| body.len() >= length.parse().unwrap())
}
