//! A load generator: some connections, each asking again as soon as it was answered. It speaks just enough HTTP/1.1 for
//! servers that keep connections alive, and takes little of the machine from them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Enough to keep a server on one or two cores busy.
const CONNECTIONS: usize = 16;

/// What to ask of whom.
#[derive(Clone, Debug)]
pub struct Load {
    pub address: SocketAddr,
    /// The whole request.
    pub request: Arc<[u8]>,
}

impl Load {
    /// `url` is `http://ADDRESS:PORT`.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[must_use]
    pub fn new(method: &str, url: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let address: SocketAddr = url
            .trim_start_matches("http://")
            .parse()
            .unwrap_or_else(|_| panic!("{url} is no address"));
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        Self {
            address,
            request: request.into_bytes().into(),
        }
    }

    /// Answers a second over `duration_ms`.
    pub async fn run(&self, duration_ms: u64) -> f64 {
        let until = Instant::now() + Duration::from_millis(duration_ms);
        let started = Instant::now();
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(self.clone().connection(until)))
            .collect();
        let mut answers = 0_u32;
        for task in tasks {
            answers += task.await.expect("a connection of the load generator ends");
        }
        f64::from(answers) / started.elapsed().as_secs_f64()
    }

    async fn connection(self, until: Instant) -> u32 {
        let mut socket = TcpStream::connect(self.address)
            .await
            .expect("the server accepts connections");
        socket.set_nodelay(true).expect("a socket takes options");
        let mut buffer = Vec::with_capacity(16 << 10);
        let mut answers = 0;
        while Instant::now() < until {
            socket.write_all(&self.request).await.expect("the server reads");
            buffer.clear();
            while !is_whole(&buffer) {
                let read = socket.read_buf(&mut buffer).await.expect("the server answers");
                assert!(
                    read > 0,
                    "the server closed the connection after {:?}",
                    String::from_utf8_lossy(&buffer)
                );
            }
            let ok = buffer.starts_with(b"HTTP/1.1 200");
            assert!(ok, "{} answered {}", self.address, String::from_utf8_lossy(&buffer));
            answers += 1;
        }
        answers
    }
}

/// Whether an answer has arrived with its whole body.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = (&answer[..end], &answer[end + 4..]);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match header("content-length:").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    }
}
