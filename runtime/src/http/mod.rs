//! The HTTP API.

use std::io;

use tokio::net::TcpListener;

use crate::runtime::Runtime;

/// Serves the API on `listener` until `shutdown` is done.
pub async fn serve(
    _listener: TcpListener,
    _runtime: Runtime,
    _shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    todo!()
}
