//! A load generator: some connections, each asking again as soon as it was answered, and timing that. It speaks just enough HTTP/1.1 for
//! servers that keep connections alive, and takes little of the machine from them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Connections that keep a server on one or two cores busy.
pub const CONNECTIONS: usize = 16;

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

    /// Asks over `connections` connections for `duration_ms`.
    pub async fn run(&self, connections: usize, duration_ms: u64) -> Answers {
        let until = Instant::now() + Duration::from_millis(duration_ms);
        let started = Instant::now();
        let tasks: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(self.clone().connection(until)))
            .collect();
        let mut latencies_us = Vec::new();
        for task in tasks {
            latencies_us.extend(task.await.expect("a connection of the load generator ends"));
        }
        Answers::new(latencies_us, started.elapsed())
    }

    /// How long each answer took, in microseconds.
    async fn connection(self, until: Instant) -> Vec<u32> {
        let mut socket = TcpStream::connect(self.address)
            .await
            .expect("the server accepts connections");
        socket.set_nodelay(true).expect("a socket takes options");
        let mut buffer = Vec::with_capacity(16 << 10);
        let mut latencies_us = Vec::new();
        let mut asked = Instant::now();
        while asked < until {
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
            let answered = Instant::now();
            latencies_us.push(u32::try_from((answered - asked).as_micros()).unwrap_or(u32::MAX));
            asked = answered;
        }
        latencies_us
    }
}

/// What a load was answered with.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    pub a_second: f64,
    /// Half of the answers took no longer, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 answers took no longer, in microseconds.
    pub p99_us: f64,
}

impl Answers {
    fn new(mut latencies_us: Vec<u32>, elapsed: Duration) -> Self {
        latencies_us.sort_unstable();
        let at = |percent: usize| f64::from(latencies_us[(latencies_us.len() - 1) * percent / 100]);
        let count = u32::try_from(latencies_us.len()).expect("a load has fewer than 2^32 answers");
        Self {
            a_second: f64::from(count) / elapsed.as_secs_f64(),
            p50_us: at(50),
            p99_us: at(99),
        }
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
