//! The handle a function gets for its run.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bindings::nango::functions as host;
use crate::checkpoint;
use crate::connection::{self, Connection};
use crate::environment;
use crate::error::Error;
use crate::fetch::Fetch;
use crate::invoke::{self, Elsewhere};
use crate::locks;
use crate::log::{self, Level};
use crate::pagination::Paginate;
use crate::records::Records;
use crate::request::{self, Origin, Pending, Request};
use crate::response::{Response, answered};
use crate::webhook;

/// What a function can do: call the provider's API, read its connection, keep records, log.
///
/// A run has one, and a function gets it as its first argument. It is bound to the connection the run is for, therefore
/// nothing here asks for a connection or an integration.
#[derive(Debug)]
pub struct Nango(());

impl Nango {
    /// The handle of this run, for the exports that [`functions!`](crate::functions) makes.
    pub(crate) fn of_this_run() -> Self {
        #[cfg(not(target_family = "wasm"))]
        #[expect(
            clippy::panic,
            reason = "the bindings would panic at the first call, with a message that says nothing"
        )]
        {
            panic!(
                "functions run only inside of nango-runtime; a native build can describe them and test what is beside them"
            )
        }
        #[cfg(target_family = "wasm")]
        Self(())
    }

    /// A GET request to a path below the provider's base URL, as in `/user/repos`.
    pub fn get(&self, path: impl Into<String>) -> Request {
        Request::new("GET", request::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: impl Into<String>) -> Request {
        Request::new("POST", request::POST, path)
    }

    /// A PUT request.
    pub fn put(&self, path: impl Into<String>) -> Request {
        Request::new("PUT", request::PUT, path)
    }

    /// A PATCH request.
    pub fn patch(&self, path: impl Into<String>) -> Request {
        Request::new("PATCH", request::PATCH, path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: impl Into<String>) -> Request {
        Request::new("DELETE", request::DELETE, path)
    }

    /// A request with any other method, for example `HEAD` or `PROPFIND`.
    pub fn request(&self, method: impl Into<String>, path: impl Into<String>) -> Request {
        Request::new(method, host::nango::proxy, path)
    }

    /// Sends all requests, at most `max_in_flight` at once (the host may lower it), and answers in their order. Each
    /// answer is as from [`Request::send`].
    #[track_caller]
    pub fn send_all(
        &self,
        requests: impl IntoIterator<Item = Request>,
        max_in_flight: u32,
    ) -> Vec<Result<Response, Error>> {
        let mut origins: Vec<Origin> = Vec::new();
        let mut batch = Vec::new();
        for request in requests {
            let (origin, inner) = request.split();
            batch.push((origin.method.clone(), inner));
            origins.push(origin);
        }
        let results = host::nango::batch(&batch, max_in_flight);
        origins
            .into_iter()
            .zip(results)
            .map(|(origin, result)| answered(origin, result).and_then(Response::error_for_status))
            .collect()
    }

    /// Sends a request without waiting for its answer, so that the function can do something else meanwhile.
    #[track_caller]
    pub fn start(&self, request: Request) -> Pending {
        request.start()
    }

    /// A GET request to a public host, without the connection's credentials; [`Fetch::method`] makes it another one. It is sent once,
    /// within the operator's egress policy, and is in the run's log like others.
    ///
    /// The function declares the hosts, `#[action(fetch("rates.example.com"))]`, and whoever deploys it allows them:
    /// `--allow fetch:rates.example.com`.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn rate(nango: &Nango) -> Result<f64, Error> {
    ///     nango.fetch("https://rates.example.com/latest").query("base", "EUR").send()?.json_at("/USD")
    /// }
    /// ```
    pub fn fetch(&self, url: impl Into<String>) -> Fetch {
        Fetch::new(url)
    }

    /// Goes through a list page by page. How is said by what [`Paginate`] offers, and for the rest by the provider's data.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn logins(nango: &Nango) -> Result<Vec<String>, Error> {
    ///     #[derive(Deserialize)]
    ///     struct User { login: String }
    ///     let users = nango.paginate(nango.get("/users")).cursor("meta.next", "cursor").response_path("data");
    ///     users.items::<User>().map(|user| Ok(user?.login)).collect()
    /// }
    /// ```
    #[track_caller]
    pub fn paginate(&self, request: Request) -> Paginate<'_> {
        Paginate::new(request)
    }

    /// The connection this run is for.
    #[must_use]
    pub fn connection(&self) -> Connection<'_> {
        Connection::of(self)
    }

    /// The connection's token in clear, refreshed if that is due: a string with OAuth 2, an object with `oAuthToken` and `oAuthTokenSecret`
    /// with OAuth 1, otherwise the credentials as the API shows them. For what requests through the host cannot do, such as a
    /// signature of your own.
    ///
    /// A component that calls this has to be given it at its deploy: `--allow token`. Each run that does is in the audit, and the token
    /// is masked in the run's log, its errors and its recording.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn signed_url(nango: &Nango, url: &str) -> Result<String, Error> {
    ///     let token: String = nango.token()?;
    ///     Ok(format!("{url}?access_token={token}"))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Host`] when there are no credentials that work, [`Error::Json`] when the token does not fit `T`.
    #[track_caller]
    pub fn token<T: DeserializeOwned>(&self) -> Result<T, Error> {
        connection::read("the connection's token", host::token::get())
    }

    /// The integration of this run's connection, without its secrets: `unique_key`, `provider`, `display_name`, `logo`, `forward_webhooks`,
    /// `created_at`, `updated_at`.
    ///
    /// # Errors
    /// [`Error::Json`] when it does not fit `T`.
    #[track_caller]
    pub fn integration<T: DeserializeOwned>(&self) -> Result<T, Error> {
        connection::read("the integration", host::integration::get())
    }

    /// The records a sync keeps fresh. Only syncs may write them, and only the models they declare.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::of(self)
    }

    /// The last saved checkpoint; none before the first save and after [`clear_checkpoint`](Self::clear_checkpoint).
    ///
    /// # Errors
    /// [`Error::Json`] when it does not fit `T`, for example because an earlier version of the function wrote it.
    #[track_caller]
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        checkpoint::get()
    }

    /// Saves how far the function has come. It is durable when the call returns, and there in the next run.
    ///
    /// A checkpoint is a flat object: at most 16 fields of string (4,000 characters), number or boolean.
    ///
    /// # Errors
    /// [`Error::Host`] with code `checkpoint_conflict` when another run has saved meanwhile, or when it is too large.
    #[track_caller]
    pub fn save_checkpoint(&self, checkpoint: &impl Serialize) -> Result<(), Error> {
        checkpoint::save(checkpoint)
    }

    /// Forgets the checkpoint, so that the next run starts from the beginning.
    ///
    /// # Errors
    /// [`Error::Host`] as for [`save_checkpoint`](Self::save_checkpoint).
    #[track_caller]
    pub fn clear_checkpoint(&self) -> Result<(), Error> {
        checkpoint::clear()
    }

    /// The value of a variable of the environment, such as the address of your own back end or a key for it; none when there is none
    /// of that name. `nango-runtime env set NAME` makes one. A run sees all variables as they were when it first asked for one.
    ///
    /// Values are secrets: where the run's log, its errors and its recording would show one of at least 8 bytes, they show `REDACTED`.
    /// Who gives a value away in an output or a request does so knowingly. A component that reads variables says so in its imports:
    /// `nango:functions/environment`.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn back_end(nango: &Nango) -> Result<String, Error> {
    ///     let url = nango.environment_variable("BACK_END_URL")?;
    ///     Ok(url.unwrap_or_else(|| "https://api.example.com".to_owned()))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Host`] when the host's database fails.
    #[track_caller]
    pub fn environment_variable(&self, name: &str) -> Result<Option<String>, Error> {
        environment::get(name)
    }

    /// Where the provider is to send webhooks for the integration; none when the runtime does not know how it signs them.
    ///
    /// # Errors
    /// [`Error::Host`] when the host's database fails.
    #[track_caller]
    pub fn webhook_url(&self) -> Result<Option<String>, Error> {
        webhook::url()
    }

    /// Names and values of all variables of the environment, by name.
    ///
    /// # Errors
    /// As [`environment_variable`](Self::environment_variable).
    #[track_caller]
    pub fn environment_variables(&self) -> Result<BTreeMap<String, String>, Error> {
        environment::all()
    }

    /// Writes a line into the run's log. Logging never fails; what is over the limits of a run is dropped.
    pub fn log(&self, level: Level, message: impl AsRef<str>, fields: &[(&str, Value)]) {
        log::write(level, message.as_ref(), fields);
    }

    /// Writes a line of level `debug`.
    pub fn debug(&self, message: impl AsRef<str>) {
        log::write(Level::Debug, message.as_ref(), &[]);
    }

    /// Writes a line of level `info`.
    pub fn info(&self, message: impl AsRef<str>) {
        log::write(Level::Info, message.as_ref(), &[]);
    }

    /// Writes a line of level `warn`.
    pub fn warn(&self, message: impl AsRef<str>) {
        log::write(Level::Warn, message.as_ref(), &[]);
    }

    /// Writes a line of level `error`.
    pub fn error(&self, message: impl AsRef<str>) {
        log::write(Level::Error, message.as_ref(), &[]);
    }

    /// Milliseconds since 1970-01-01 UTC. `SystemTime::now` does not work in a function.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        host::clock::now_us() / 1_000
    }

    /// Time since some moment before the run; never goes back. `Instant::now` does not work in a function.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        Duration::from_micros(host::clock::monotonic_us())
    }

    /// Cryptographically secure random bytes, at most 65,536 at once.
    #[must_use]
    pub fn random_bytes(&self, length: u32) -> Vec<u8> {
        host::random::bytes(length)
    }

    /// Waits, but never beyond the deadline of the run. `thread::sleep` does not work in a function.
    pub fn sleep(&self, duration: Duration) {
        host::sleep::sleep_ms(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    /// How long the run may go on before it is ended.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_millis(host::lifecycle::remaining_ms())
    }

    /// Whether the function should save what it has and return: little of its time is left, or the runtime stops. Worth asking
    /// between two pages; a sync that returns then goes on in its next run from its checkpoint.
    ///
    /// ```
    /// # use nango_guest_sdk::prelude::*;
    /// fn pages(nango: &Nango) -> Result<(), Error> {
    ///     for page in nango.paginate(nango.get("/items")).pages() {
    ///         let page = page?;
    ///         nango.records().save(&page.items::<Value>()?)?;
    ///         if nango.should_stop() {
    ///             break;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.stop_reason().is_some()
    }

    /// Why the function should return: `deadline`, `shutdown`; the set grows.
    #[must_use]
    pub fn stop_reason(&self) -> Option<String> {
        host::lifecycle::stop_reason()
    }

    /// Runs another action of the integration for this connection, waits for it and gives its output.
    ///
    /// # Errors
    /// [`Error::Host`] with the code of the failed action, and with `not_found`, `invalid_action_input`, `invoke_cycle`,
    /// `invoke_too_deep`. [`Error::Json`] when the output does not fit `T`.
    #[track_caller]
    pub fn trigger_action<T: DeserializeOwned>(&self, name: &str, input: &impl Serialize) -> Result<T, Error> {
        invoke::action(input, |input| host::invoke::trigger_action(name, input, &[]))
    }

    /// Has a sync of the integration run soon for this connection, unless it runs already.
    ///
    /// # Errors
    /// [`Error::Host`] with code `not_found`.
    #[track_caller]
    pub fn trigger_sync(&self, name: &str) -> Result<(), Error> {
        invoke::sync(host::invoke::trigger_sync(name, &[]))
    }

    /// Functions of another integration or for another connection of the environment. A component that uses this says so in its
    /// imports: `nango:functions/invoke-elsewhere`.
    #[must_use]
    pub fn elsewhere<'run>(&'run self, provider_config_key: &'run str, connection_id: &'run str) -> Elsewhere<'run> {
        Elsewhere::of(self, provider_config_key, connection_id)
    }

    /// Takes a lock that all runs of the environment see, or prolongs it when this run has it; false when another run has
    /// it. It ends after `ttl` (a day at most), or with the run.
    ///
    /// # Errors
    /// [`Error::Host`] with code `invalid_lock`: a key without 1 to 255 characters, a `ttl` of less than a millisecond.
    #[track_caller]
    pub fn try_lock(&self, key: &str, ttl: Duration) -> Result<bool, Error> {
        locks::try_acquire(key, ttl)
    }

    /// Gives a lock back; false when this run did not have it, or not any more.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    #[track_caller]
    pub fn release_lock(&self, key: &str) -> Result<bool, Error> {
        locks::release(key)
    }

    /// Gives back all locks of the run, as its end does.
    ///
    /// # Errors
    /// [`Error::Host`] when the host's database fails.
    #[track_caller]
    pub fn release_all_locks(&self) -> Result<(), Error> {
        locks::release_all()
    }
}
