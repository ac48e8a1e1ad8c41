//! A customer's application on loopback: writes down what it is sent and answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Received {
    head: String,
    pub(super) body: String,
}

impl Received {
    /// The value of a header; its name in lower case.
    pub(super) fn header(&self, name: &str) -> String {
        let values = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut value = values
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        value.next_back().unwrap_or_default().to_owned()
    }
}

#[derive(Default)]
struct State {
    received: Mutex<Vec<Received>>,
    replies: Mutex<VecDeque<String>>,
}

pub(super) struct Receiver {
    port: u16,
    state: Arc<State>,
}

impl Receiver {
    /// Answers 200 when nothing else is said.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let of_task = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&of_task)));
            }
        });
        Self { port, state }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook?token=secret", self.port)
    }

    /// A status line and headers, for one request each.
    pub(super) fn reply<const N: usize>(&self, replies: [&str; N]) {
        self.state.replies.lock().unwrap().extend(replies.map(str::to_owned));
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

async fn serve(mut connection: TcpStream, state: Arc<State>) {
    let mut bytes = Vec::new();
    loop {
        let received = loop {
            if let Some(received) = whole(&bytes) {
                break received;
            }
            if connection.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        bytes.clear();
        state.received.lock().unwrap().push(received);
        let reply = state.replies.lock().unwrap().pop_front();
        let reply = reply.unwrap_or_else(|| "200 OK".to_owned());
        let answer = format!("HTTP/1.1 {reply}\r\ncontent-length: 0\r\n\r\n");
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Received> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let received = Received {
        head: head.to_owned(),
        body: body.to_owned(),
    };
    (body.len() >= received.header("content-length").parse().unwrap()).then_some(received)
}
