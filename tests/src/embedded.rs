//! The runtime as a library, for tests and benches that need neither a process nor HTTP, or a clock of their own.

use std::time::Duration;

use nango_runtime::Runtime;
use nango_runtime::clock::{Clock, Entropy, ManualClock};
use nango_runtime::config::{self, Config};
use nango_runtime::credentials::Secret;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::server::SECRET_KEY;
use crate::told;

/// One step of the clock of [`Timed`], and how long it takes in truth.
const STEP_MS: i64 = 40;
const STEP: Duration = Duration::from_millis(2);

/// A runtime with a data folder of its own and room to change the defaults.
///
/// # Panics
///
/// When it cannot start.
pub async fn start(change: impl FnOnce(&mut Config)) -> (Runtime, TempDir) {
    start_with(change, Clock::system(), Entropy::system()).await
}

/// The same with time and randomness of one's own.
///
/// # Panics
///
/// When it cannot start.
pub async fn start_with(change: impl FnOnce(&mut Config), clock: Clock, entropy: Entropy) -> (Runtime, TempDir) {
    let folder = TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
    let mut config = config::load(None, [], Vec::new())
        .expect("the defaults are valid")
        .config;
    config.data_dir = folder.path().join("data");
    change(&mut config);
    let runtime = Runtime::start_with(config, clock, entropy)
        .await
        .unwrap_or_else(|error| panic!("the runtime cannot start: {error:?}"));
    (runtime, folder)
}

/// A runtime behind HTTP whose time passes twenty times as fast as ours, and whose clock can be set.
#[derive(Debug)]
pub struct Timed {
    client: Client,
    hand: ManualClock,
    tasks: [JoinHandle<()>; 2],
    folder: TempDir,
}

impl Timed {
    /// Starts one that may reach loopback, with these providers besides those that ship.
    ///
    /// # Panics
    ///
    /// When it cannot start.
    pub async fn start(now_ms: i64, provider_yaml: &str, change: impl FnOnce(&mut Config)) -> Self {
        let (clock, hand) = Clock::manual(now_ms);
        let moving = hand.clone();
        let time = tokio::spawn(async move {
            loop {
                tokio::time::sleep(STEP).await;
                moving.advance_ms(STEP_MS);
            }
        });
        let providers = TempDir::with_prefix("nango-runtime-test-").expect("a temporary folder can be made");
        let file = providers.path().join("providers.yaml");
        std::fs::write(&file, provider_yaml).expect("the provider file can be written");
        let change = |config: &mut Config| {
            config.secret_key = Some(Secret::new(SECRET_KEY.to_owned()));
            config.egress_allow = vec!["127.0.0.0/8".parse().expect("a network")];
            config.providers = vec![file];
            change(config);
        };
        let (runtime, folder) = start_with(change, clock, Entropy::system()).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let router = nango_runtime::http::router(runtime);
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self {
            client: Client::new(&format!("http://{address}"), Some(SECRET_KEY)),
            hand,
            tasks: [time, server],
            folder,
        }
    }

    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Sets the clock forward, or back when negative.
    pub fn set_by_ms(&self, by_ms: i64) {
        self.hand.set_by_ms(by_ms);
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        if !std::thread::panicking() {
            told::none_left("", self.folder.path());
        }
    }
}
