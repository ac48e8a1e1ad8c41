//! `kill -9` at random moments around a refresh, most of them just when the new token is on its way: the connection works
//! afterwards every time.
//!
//! The provider is as forgiving as those who think of lost answers are (and as strict): the refresh token that was replaced goes
//! on working until one of its successor's tokens was seen. So a runtime that uses a token before it is stored loses the
//! connection here, and one that stores it first never does, wherever it is killed.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nango_runtime::clock::Entropy;
use nango_runtime_tests::client::for_connection;
use nango_runtime_tests::upstream::Received;
use nango_runtime_tests::{Client, Database, Reply, Server, TestRuntime, Upstream, for_each_database, oidc, soak};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::fixture::CONNECTION;

const CALLERS: usize = 20;
/// How long the provider takes to make a token.
const ANSWER_AFTER: Duration = Duration::from_millis(10);
/// Around the moment when its answer leaves.
const BEFORE_ANSWER_US: u64 = 3_000;
const AFTER_ANSWER_US: u64 = 15_000;
/// After the callers began.
const AFTER_BEGIN_US: u64 = 60_000;

for_each_database!(a_connection_works_after_any_kill);

/// The provider's mind.
#[derive(Debug)]
struct Issued {
    /// The number of the newest grant.
    current: u64,
    /// The grant that it replaced, while nobody was seen with the new one.
    replaced: Option<u64>,
    refreshes: u32,
    refused: Vec<String>,
    /// When answers leave.
    answers: UnboundedSender<Instant>,
}

impl Issued {
    fn answer(&mut self, request: &Received) -> Reply {
        if request.target == "/token" {
            self.token(&String::from_utf8_lossy(&request.body))
        } else {
            self.api(request.header("authorization"))
        }
    }

    fn token(&mut self, form: &str) -> Reply {
        let given = form
            .split('&')
            .find_map(|pair| pair.strip_prefix("refresh_token=refresh-"));
        let given = given.and_then(|number| number.parse().ok());
        if given.is_none() || (given != Some(self.current) && given != self.replaced) {
            self.refused.push(format!("{form} where {} is current", self.current));
            return Reply::json(400, &json!({"error": "invalid_grant"}));
        }
        self.replaced = given;
        self.current += 1;
        self.refreshes += 1;
        let _ = self.answers.send(Instant::now() + ANSWER_AFTER);
        let grant = json!({
            "access_token": format!("access-{}", self.current), "refresh_token": format!("refresh-{}", self.current),
            "token_type": "Bearer", "expires_in": 3_600,
        });
        Reply::json(200, &grant).after(ANSWER_AFTER)
    }

    fn api(&mut self, authorization: &str) -> Reply {
        if authorization != format!("Bearer access-{}", self.current) {
            return Reply::json(401, &json!({"sent": authorization}));
        }
        self.replaced = None;
        Reply::json(200, &json!({"grant": self.current}))
    }
}

/// A database, the provider, and the server of the moment.
struct Scene {
    database: Database,
    upstream: Upstream,
    issued: Arc<Mutex<Issued>>,
    answers: UnboundedReceiver<Instant>,
}

impl Scene {
    async fn new(database: Database) -> Self {
        let (sender, answers) = unbounded_channel();
        let issued = Arc::new(Mutex::new(Issued {
            current: 0,
            replaced: None,
            refreshes: 0,
            refused: Vec::new(),
            answers: sender,
        }));
        let shared = Arc::clone(&issued);
        let upstream = Upstream::handling(move |request| lock(&shared).answer(request)).await;
        Self {
            database,
            upstream,
            issued,
            answers,
        }
    }

    fn start(&self) -> (Server, Client) {
        let providers = oidc::providers(&self.upstream.url(), &self.upstream.url());
        let runtime = TestRuntime::new().egress_loopback().provider_yaml(&providers);
        let server = self.database.serve(runtime).start();
        let client = server.client();
        (server, client)
    }

    /// What is stored, with an end in the past. Nobody asks the provider until somebody calls.
    async fn expire(&mut self, client: &Client, stored: &Value) {
        let credentials = json!({
            "type": "OAUTH2", "access_token": stored["access_token"], "refresh_token": stored["refresh_token"],
            "expires_at": oidc::now_ms() - 1_000,
        });
        let _ = client.import_connection("oidc", CONNECTION, credentials).await.ok();
        while self.answers.try_recv().is_ok() {}
    }

    /// Waits for the moment of the kill: a random one, of the callers' beginning or of the provider's answer.
    async fn moment(&mut self, random: &Entropy) {
        let began = Instant::now();
        let moment = if random.fraction() < 0.25 {
            began + Duration::from_micros(soak::micros(random, 0..AFTER_BEGIN_US))
        } else {
            let answer = self.answers.recv().await.expect("the provider is there");
            answer - Duration::from_micros(BEFORE_ANSWER_US)
                + Duration::from_micros(soak::micros(random, 0..BEFORE_ANSWER_US + AFTER_ANSWER_US))
        };
        // The timers of the runtime know milliseconds only.
        let left = moment.saturating_duration_since(Instant::now());
        let waited = tokio::task::spawn_blocking(move || std::thread::sleep(left)).await;
        waited.expect("a thread may sleep");
    }
}

fn lock(issued: &Mutex<Issued>) -> MutexGuard<'_, Issued> {
    issued.lock().expect("no handler panics")
}

async fn a_connection_works_after_any_kill(database: Database) {
    let random = soak::random("a_connection_works_after_any_kill");
    let mut scene = Scene::new(database).await;
    let (mut server, mut client) = scene.start();
    let app = json!({"type": "OAUTH2", "client_id": "id", "client_secret": "s3cret"});
    let integration = json!({"unique_key": "oidc", "provider": "oidc", "credentials": app});
    let _ = client.post("/integrations", &integration).await.ok();
    let mut stored = json!({"access_token": "access-0", "refresh_token": "refresh-0"});
    // How rounds ended: before the provider was asked, with an answer that was lost, with one that was kept.
    let (mut unasked, mut lost, mut kept) = (0, 0, 0);
    for round in soak::repeat("a_connection_works_after_any_kill", 8, 200) {
        scene.expire(&client, &stored).await;
        let before = lock(&scene.issued).refreshes;
        let calls: Vec<_> = (0..CALLERS)
            .map(|_| {
                let request = client.request(http::Method::GET, "/proxy/x");
                let request = for_connection(request, "oidc", CONNECTION);
                tokio::spawn(async move { request.send().await.is_ok() })
            })
            .collect();
        scene.moment(&random).await;
        server.process().kill();
        for call in calls {
            let _ = call.await.expect("a caller ends");
        }
        let at_kill = lock(&scene.issued).refreshes;
        if scene.database.is_postgres() {
            // Other nodes wait until the lease of a dead one has ended: as if that time had passed.
            let _ = scene.database.execute("UPDATE refresh_leases SET until_ms = 0").await;
        }
        (server, client) = scene.start();
        let answer = client.proxy_get("oidc", CONNECTION, "/x").await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        let path = format!("/connections/{CONNECTION}?provider_config_key=oidc&refresh_token=true");
        stored = client.get(&path).await.ok()["credentials"].clone();
        let issued = lock(&scene.issued);
        assert_eq!(issued.refused, Vec::<String>::new(), "round {round}");
        assert_eq!(answer.ok()["grant"], issued.current, "round {round}");
        assert_eq!(
            stored["refresh_token"],
            format!("refresh-{}", issued.current),
            "round {round}"
        );
        match (at_kill - before, issued.refreshes - before) {
            (0, 1) => unasked += 1,
            (1, 2) => lost += 1,
            (1, 1) => kept += 1,
            other => panic!("round {round}: refreshes up to the kill, and in all: {other:?}"),
        }
    }
    eprintln!(
        "killed before the provider answered: {unasked}, with its answer on the way: {lost}, with it stored: {kept}"
    );
}
