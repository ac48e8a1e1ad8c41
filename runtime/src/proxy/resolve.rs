//! How host names become addresses. The machine's resolver unless another one is given: programs that embed the runtime may
//! have a resolver of their own, and tests show with it what a name that changes its answer gains. What it answers is
//! checked in `egress`, whoever it is.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks host names up. Cheap to clone.
#[derive(Clone)]
pub struct Resolve(Arc<dyn Fn(String) -> Answer + Send + Sync>);

impl std::fmt::Debug for Resolve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolve")
    }
}

impl Default for Resolve {
    fn default() -> Self {
        Self::system()
    }
}

impl Resolve {
    /// The resolver of the machine: its hosts file, then DNS.
    #[must_use]
    pub fn system() -> Self {
        Self::with(|name| async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    /// A resolver of one's own. It is asked once for each connection that is made, and not for addresses.
    #[must_use]
    pub fn with<L, A>(lookup: L) -> Self
    where
        L: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |name| Box::pin(lookup(name))))
    }

    pub(super) fn lookup(&self, name: &str) -> Answer {
        (self.0)(name.to_owned())
    }
}
