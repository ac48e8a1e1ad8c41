//! An upstream that is written byte by byte: for answers that no HTTP library would give.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A listener on a free port of 127.0.0.1. Dropping it stops it.
#[derive(Debug)]
pub struct WireUpstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// A connection that somebody made.
#[derive(Debug)]
pub struct Wire {
    socket: TcpStream,
}

impl WireUpstream {
    /// Does `serve` with each connection.
    pub async fn start<S, A>(serve: S) -> Self
    where
        S: Fn(Wire) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(Wire { socket }));
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// Reads a request and sends these bytes, then holds the connection open.
    pub async fn saying(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut wire| {
            let bytes = Arc::clone(&bytes);
            async move {
                wire.head().await;
                wire.send(&bytes).await;
                wire.until_closed().await;
            }
        })
        .await
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same port, for whoever wants to speak TLS to it.
    #[must_use]
    pub fn https_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Connections made so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for WireUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Connects to `url`, as a client that speaks byte by byte.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    pub async fn connect(url: &str) -> Self {
        let address = url.trim_start_matches("http://");
        let socket = TcpStream::connect(address).await.expect("somebody listens");
        Self { socket }
    }

    /// Reads the head of a message, to its empty line; what the other side says of a closed connection is an empty text.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = self.socket.read_u8().await else { break };
            head.push(byte);
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Reads what comes next, up to some kilobytes; empty at the end.
    pub async fn read(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 << 10);
        let _ = self.socket.read_buf(&mut bytes).await;
        bytes
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _ = self.socket.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Sends; false when the other side is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Waits until the other side closes, discarding what it sends.
    pub async fn until_closed(&mut self) {
        while !self.read().await.is_empty() {}
    }

    /// Closes with a reset instead of an orderly end.
    pub fn reset(self) {
        // A close with zero linger sends RST instead of FIN.
        let _ = self.socket.set_zero_linger();
    }
}
