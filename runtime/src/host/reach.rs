//! How far a run reaches: the world, the world without changing it, or a recording. The one door between imports and the parts behind
//! them. An import gets at a part only by saying whether it asks or changes something, and what becomes of a change that is not made;
//! so none can forget that there are dry runs, recordings and replays. A run that is neither costs one comparison here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::fault::Fault;
use super::kept::Kept;
use super::player::Player;
use super::state::Services;
use super::tape::{Place, Tape};
use crate::clock::Clock;
use crate::connections::RunMasker;
use crate::model::ExecutionContext;
use crate::proxy::{Body, FetchRequest, ProxyRequest};
use crate::recording::{self, Exchange, Request, import};

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reach(Way);

#[derive(Clone)]
enum Way {
    Live(Arc<Services>),
    Taped(Arc<Services>, Arc<Tape>),
    Dry(Arc<Services>, Arc<Tape>, Arc<Mutex<Kept>>),
    Played(Arc<Player>, Arc<Tape>, Arc<Mutex<Kept>>),
}

impl Reach {
    /// Everything for real.
    pub(crate) fn live(services: Arc<Services>) -> Self {
        Self(Way::Live(services))
    }

    /// Everything for real, and written down.
    pub(crate) fn taped(services: Arc<Services>, tape: Arc<Tape>) -> Self {
        Self(Way::Taped(services, tape))
    }

    /// Requests and reads for real; what would be written is kept.
    pub(crate) fn dry(services: Arc<Services>, tape: Arc<Tape>, kept: Kept) -> Self {
        Self(Way::Dry(services, tape, Arc::new(Mutex::new(kept))))
    }

    /// Nothing for real.
    pub(crate) fn played(player: Arc<Player>, tape: Arc<Tape>, kept: Kept) -> Self {
        Self(Way::Played(player, tape, Arc::new(Mutex::new(kept))))
    }

    /// For what changes nothing here. `over` puts what the run itself would have written over what was found; it gives none when
    /// nothing was found and nothing is known.
    pub(super) async fn ask<'a, T, F>(
        &'a self,
        import: &'static str,
        arguments: impl FnOnce() -> Value,
        live: impl FnOnce(&'a Services) -> F,
        over: impl FnOnce(&Kept, Option<T>) -> Option<T>,
    ) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Fault>>,
    {
        match &self.0 {
            Way::Live(services) => live(services).await,
            Way::Taped(services, tape) => {
                let place = tape.begin(import, arguments());
                let result = live(services).await;
                tape.end(&place, result.as_ref());
                result
            }
            Way::Dry(services, tape, kept) => {
                let place = tape.begin(import, arguments());
                let found = live(services).await;
                let result = found.and_then(|found| {
                    over(&lock(kept), Some(found))
                        .ok_or_else(|| Fault::trap(format!("{import} found nothing readable")))
                });
                tape.end(&place, result.as_ref());
                result
            }
            Way::Played(player, tape, kept) => {
                let arguments = arguments();
                let place = tape.begin(import, arguments.clone());
                let result = match player.answer::<T>(import, &arguments) {
                    Some(Err(fault)) => Err(fault),
                    // As long as the run writes what it wrote then, it also reads what it read then.
                    Some(Ok(told)) if !lock(kept).has_diverged() => Ok(told),
                    found => {
                        let found = found.and_then(Result::ok);
                        over(&lock(kept), found).ok_or_else(|| player.miss(import, &arguments))
                    }
                };
                tape.end(&place, result.as_ref());
                result
            }
        }
    }

    /// For what changes something. `keep` does to memory what the change would do.
    pub(super) async fn change<'a, T, F>(
        &'a self,
        import: &'static str,
        arguments: impl FnOnce() -> Value,
        live: impl FnOnce(&'a Services) -> F,
        keep: impl FnOnce(&mut Kept) -> Result<T, Fault>,
    ) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Fault>>,
    {
        match &self.0 {
            Way::Live(services) => live(services).await,
            Way::Taped(services, tape) => {
                let place = tape.begin(import, arguments());
                let result = live(services).await;
                tape.end(&place, result.as_ref());
                result
            }
            Way::Dry(_, tape, kept) => {
                let place = tape.begin(import, arguments());
                let result = keep(&mut lock(kept));
                tape.end(&place, result.as_ref());
                result
            }
            Way::Played(player, tape, kept) => {
                let arguments = arguments();
                let place = tape.begin(import, arguments.clone());
                let result = match player.answer::<T>(import, &arguments) {
                    // It was refused then, and nothing was written.
                    Some(Err(fault)) => Err(fault),
                    Some(Ok(told)) => keep(&mut lock(kept)).map(|_| told),
                    None => {
                        let mut kept = lock(kept);
                        kept.diverge();
                        keep(&mut kept)
                    }
                };
                tape.end(&place, result.as_ref());
                result
            }
        }
    }

    /// For what has effects that no memory can stand in for: other functions. Refused in a dry run; in a replay told what was told
    /// then.
    pub(super) async fn start<'a, T, F>(
        &'a self,
        import: &'static str,
        arguments: impl FnOnce() -> Value,
        live: impl FnOnce(&'a Services) -> F,
    ) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, Fault>>,
    {
        match &self.0 {
            Way::Live(services) => live(services).await,
            Way::Taped(services, tape) => {
                let place = tape.begin(import, arguments());
                let result = live(services).await;
                tape.end(&place, result.as_ref());
                result
            }
            Way::Dry(_, tape, _) => {
                let place = tape.begin(import, arguments());
                let result = Err(Fault::new(
                    "dry_run",
                    format!("{import} is refused: a dry run starts no other function, whose writes would be for real"),
                ));
                tape.end(&place, result.as_ref());
                result
            }
            Way::Played(player, tape, _) => {
                let arguments = arguments();
                let place = tape.begin(import, arguments.clone());
                let told = player.answer::<T>(import, &arguments);
                let result = told.unwrap_or_else(|| Err(player.miss(import, &arguments)));
                tape.end(&place, result.as_ref());
                result
            }
        }
    }

    /// For what is known at once and changes nothing. `unrecorded` is told in a replay of a run that did not ask.
    pub(super) fn look<T>(
        &self,
        import: &'static str,
        live: impl FnOnce(&Services) -> T,
        unrecorded: impl FnOnce() -> T,
    ) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
    {
        match &self.0 {
            Way::Live(services) => Ok(live(services)),
            Way::Taped(services, tape) | Way::Dry(services, tape, _) => {
                let place = tape.begin(import, Value::Null);
                let seen = live(services);
                tape.end(&place, Ok(&seen));
                Ok(seen)
            }
            Way::Played(player, tape, _) => {
                let place = tape.begin(import, Value::Null);
                let told = player.answer::<T>(import, &Value::Null);
                let result = told.unwrap_or_else(|| Ok(unrecorded()));
                tape.end(&place, result.as_ref());
                result
            }
        }
    }

    /// Takes a request's place on the tape. Requests overlap: this is when it is asked, [`Reach::exchange`] when it is answered.
    pub(super) fn asked(&self, request: &ProxyRequest) -> Asked {
        let (tape, player) = match &self.0 {
            Way::Live(_) => return Asked(None),
            Way::Taped(_, tape) | Way::Dry(_, tape, _) => (tape, None),
            Way::Played(player, tape, _) => (tape, Some(player)),
        };
        let request = recorded(request);
        let place = tape.begin(import::REQUEST, serde_json::to_value(&request).unwrap_or_default());
        let played = player.map(|player| player.request(&request));
        Asked(Some((place, played)))
    }

    pub(super) async fn exchange(
        &self,
        asked: Asked,
        ctx: &ExecutionContext,
        request: ProxyRequest,
        body_bytes_max: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Fault> {
        match (&self.0, asked.0) {
            (Way::Live(services), _) | (Way::Taped(services, _) | Way::Dry(services, ..), None) => {
                send(services, ctx, request, body_bytes_max).await
            }
            (Way::Taped(services, tape) | Way::Dry(services, tape, _), Some((place, _))) => {
                let result = send(services, ctx, request, body_bytes_max).await;
                let told = result.as_ref();
                tape.end(
                    &place,
                    told.map(|(status, headers, body)| exchange(*status, headers, body)),
                );
                result
            }
            (Way::Played(_, tape, _), Some((place, Some(played)))) => {
                tape.end(&place, played.as_ref());
                answer(&played?)
            }
            (Way::Played(..), _) => Err(Fault::trap("a request was played without having been asked")),
        }
    }

    /// A request to any host, from asking to its answer. `masker` is there wherever requests are for real.
    pub(super) async fn fetch(
        &self,
        ctx: &ExecutionContext,
        request: FetchRequest,
        masker: Option<&RunMasker>,
        body_bytes_max: usize,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Fault> {
        let (services, tape) = match &self.0 {
            Way::Live(services) => return fetch(services, ctx, request, masker, body_bytes_max).await,
            Way::Taped(services, tape) | Way::Dry(services, tape, _) => (services, tape),
            Way::Played(player, tape, _) => {
                // A fixture must not show as good what is refused for real.
                request.check_host()?;
                let request = recorded_fetch(&request);
                let place = tape.begin(import::FETCH, serde_json::to_value(&request).unwrap_or_default());
                let played: Result<Exchange, Fault> = player.fetch(&request);
                tape.end(&place, played.as_ref());
                return answer(&played?);
            }
        };
        let asked = serde_json::to_value(recorded_fetch(&request)).unwrap_or_default();
        let place = tape.begin(import::FETCH, asked);
        let result = fetch(services, ctx, request, masker, body_bytes_max).await;
        let told = result.as_ref();
        tape.end(
            &place,
            told.map(|(status, headers, body)| exchange(*status, headers, body)),
        );
        result
    }

    /// How long the rate limit of the run's connection lets nobody through, as far as requests are for real.
    pub(super) async fn held_back_ms(&self, ctx: &ExecutionContext) -> Option<u64> {
        match &self.0 {
            Way::Live(services) | Way::Taped(services, _) => services.proxy.held_back_ms(ctx).await,
            Way::Dry(..) | Way::Played(..) => None,
        }
    }

    /// For a dry run: the store, to look up what is about to be written over.
    pub(super) fn foresight(&self) -> Option<Foresight<'_>> {
        match &self.0 {
            Way::Dry(services, _, kept) => Some(Foresight { services, kept }),
            Way::Live(_) | Way::Taped(..) | Way::Played(..) => None,
        }
    }

    pub(super) fn tape(&self) -> Option<&Tape> {
        match &self.0 {
            Way::Live(_) => None,
            Way::Taped(_, tape) | Way::Dry(_, tape, _) | Way::Played(_, tape, _) => Some(tape),
        }
    }

    pub(super) fn now_us(&self, clock: &Clock) -> i64 {
        let now_us = match &self.0 {
            Way::Played(player, ..) => player.now_us(),
            Way::Live(_) | Way::Taped(..) | Way::Dry(..) => clock.now_us(),
        };
        if let Some(tape) = self.tape() {
            tape.read_clock(now_us);
        }
        now_us
    }

    pub(super) fn monotonic_us(&self, clock: &Clock) -> u64 {
        let now_us = match &self.0 {
            Way::Played(player, ..) => player.monotonic_us(),
            Way::Live(_) | Way::Taped(..) | Way::Dry(..) => clock.monotonic_us(),
        };
        if let Some(tape) = self.tape() {
            tape.read_monotonic(now_us);
        }
        now_us
    }

    /// Whether the sleep is over already: nobody waits in a recording.
    pub(super) fn slept(&self, duration_us: u64) -> bool {
        if let Way::Played(player, ..) = &self.0 {
            player.sleep(duration_us);
            return true;
        }
        false
    }
}

/// What a dry run looks up of the store before it says what it would write there.
pub(super) struct Foresight<'a> {
    pub(super) services: &'a Services,
    kept: &'a Mutex<Kept>,
}

impl Foresight<'_> {
    /// Not to be held while waiting.
    pub(super) fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(self.kept)
    }
}

/// A request that has its place on the tape, and in a replay its answer.
pub(super) struct Asked(Option<(Place, Option<Result<Exchange, Fault>>)>);

async fn send(
    services: &Services,
    ctx: &ExecutionContext,
    request: ProxyRequest,
    body_bytes_max: usize,
) -> Result<(StatusCode, HeaderMap, Bytes), Fault> {
    let answer = services.proxy.send(ctx, request).await?;
    Ok(answer.collect(body_bytes_max).await?)
}

async fn fetch(
    services: &Services,
    ctx: &ExecutionContext,
    request: FetchRequest,
    masker: Option<&RunMasker>,
    body_bytes_max: usize,
) -> Result<(StatusCode, HeaderMap, Bytes), Fault> {
    let masker = masker.ok_or_else(|| Fault::trap("a run without a masker asked for a request"))?;
    let answer = services.proxy.fetch(ctx, request, masker).await?;
    Ok(answer.collect(body_bytes_max).await?)
}

fn recorded_fetch(request: &FetchRequest) -> Request {
    let body = recording::Body::new(&request.body);
    let method = request.method.as_str();
    Request::new(method, &request.url, &request.query, texts(&request.headers), body)
}

fn texts(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let headers = headers.iter();
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("")))
}

fn recorded(request: &ProxyRequest) -> Request {
    let body = match &request.body {
        Body::Bytes(bytes) => recording::Body::new(bytes),
        // A function's body is whole.
        _ => recording::Body::Empty,
    };
    Request::new(
        request.method.as_str(),
        &request.endpoint,
        &request.query,
        texts(&request.headers),
        body,
    )
}

fn exchange(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Exchange {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    Exchange::new(status.as_u16(), headers, body)
}

fn answer(exchange: &Exchange) -> Result<(StatusCode, HeaderMap, Bytes), Fault> {
    let wrong = |what: String| Fault::trap(format!("the recording holds an answer that no server gives: {what}"));
    let status = StatusCode::from_u16(exchange.status).map_err(|_| wrong(format!("status {}", exchange.status)))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &exchange.headers {
        let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
        let (Ok(name), Ok(value)) = parsed else {
            return Err(wrong(format!("header {name}")));
        };
        headers.append(name, value);
    }
    Ok((status, headers, exchange.body.bytes().into()))
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
