//! The interfaces `invoke` and `invoke-elsewhere`: functions that call functions. Running them is not the host's work: a call goes
//! into a queue, whose other end is above.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::bindings::nango::functions::{invoke, invoke_elsewhere};
use super::fault::Fault;
use super::state::{GuestState, Services};
use crate::connections::{RunMasker, Target, ToldTokens};
use crate::model::{ExecutionContext, JsonObject};
use crate::recording::import;
use crate::variables::RunVariables;

/// Functions that may wait for one another, the first one included.
pub const DEPTH_MAX: usize = 5;
/// Calls on their way; each run has one at most.
const CALLS_MAX: usize = 1_024;

/// The functions that called one another, the first one first, and what they share. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    links: Option<Arc<[Link]>>,
    /// What one of them has read may reach the others in input and output: its values are masked for all.
    variables: RunVariables,
    /// As well as the credentials that one of them was told.
    told: ToldTokens,
}

/// A function that runs for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    provider_config_key: Arc<str>,
    connection_id: Arc<str>,
    function: Arc<str>,
}

impl Chain {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_none()
    }

    fn links(&self) -> &[Link] {
        self.links.as_deref().unwrap_or_default()
    }

    /// The environment's variables as they see them.
    #[must_use]
    pub fn variables(&self) -> &RunVariables {
        &self.variables
    }

    /// The credentials that they were told.
    pub(super) fn told(&self) -> &ToldTokens {
        &self.told
    }

    /// Masks what a run of them for that connection may know.
    #[must_use]
    pub fn masker(&self, connection: Arc<Target>) -> RunMasker {
        RunMasker::new(connection, self.variables.clone(), self.told.clone())
    }

    /// With the function that makes the call; none may come twice, nor too many.
    fn with(&self, caller: Link, called: &Link) -> Result<Self, Fault> {
        let mut links = self.links().to_vec();
        links.push(caller);
        if links.contains(called) {
            let message = format!(
                "{:?} runs for connection {:?} already and waits for what it would start: {}",
                called.function,
                called.connection_id,
                names(&links)
            );
            return Err(Fault::new("invoke_cycle", message));
        }
        if links.len() >= DEPTH_MAX {
            let message = format!("{DEPTH_MAX} functions may wait for one another: {}", names(&links));
            return Err(Fault::new("invoke_too_deep", message));
        }
        Ok(Self {
            links: Some(links.into()),
            variables: self.variables.clone(),
            told: self.told.clone(),
        })
    }
}

fn names(links: &[Link]) -> String {
    let names: Vec<&str> = links.iter().map(|link| &*link.function).collect();
    names.join(" → ")
}

/// A call of a function by a function.
#[derive(Debug)]
pub struct Invocation {
    /// On whose behalf.
    pub by: ExecutionContext,
    pub provider_config_key: Arc<str>,
    pub connection_id: Arc<str>,
    pub function: Arc<str>,
    pub call: InvocationCall,
    /// Closed when nobody waits any more.
    pub reply: oneshot::Sender<Result<String, InvocationError>>,
}

#[derive(Debug)]
pub enum InvocationCall {
    /// `input` is JSON text; the reply is the output.
    Action { input: String, chain: Chain },
    /// The reply is empty.
    Sync { variant: String },
}

/// Why there is no output, in the contract's terms.
#[derive(Debug)]
pub struct InvocationError {
    pub code: String,
    pub message: String,
    /// Values are JSON text.
    pub details: Vec<(String, String)>,
}

/// Where calls go. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Invoker(mpsc::Sender<Invocation>);

/// Both ends of the queue of calls.
#[must_use]
pub fn invoker() -> (Invoker, mpsc::Receiver<Invocation>) {
    let (sender, receiver) = mpsc::channel(CALLS_MAX);
    (Invoker(sender), receiver)
}

impl GuestState {
    /// `elsewhere`: provider-config-key and connection-id; those of the run when none. `waits`: whether the caller waits for the
    /// end of what it calls.
    async fn invoke<T, F>(
        &mut self,
        import: &'static str,
        (elsewhere, function): (Option<(String, String)>, String),
        arguments: Value,
        call: impl FnOnce(Chain) -> InvocationCall + Send,
        waits: bool,
        reply_as: F,
    ) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(String) -> T + Send,
    {
        self.log.announce();
        let run = self.run(import)?;
        let by = run.ctx().clone();
        let caller = Link {
            provider_config_key: Arc::clone(&by.provider_config_key),
            connection_id: Arc::clone(&by.connection_id),
            function: run.manifest.name.as_str().into(),
        };
        let called = match elsewhere {
            Some((provider_config_key, connection_id)) => Link {
                provider_config_key: provider_config_key.into(),
                connection_id: connection_id.into(),
                function: function.into(),
            },
            None => Link {
                function: function.into(),
                ..caller.clone()
            },
        };
        let chain = if waits {
            run.chain.with(caller, &called)?
        } else {
            Chain::default()
        };
        let (reply, answer) = oneshot::channel();
        let live = async |services: &Services| {
            let sent = services.invoker.0.send(Invocation {
                by,
                provider_config_key: called.provider_config_key,
                connection_id: called.connection_id,
                function: called.function,
                call: call(chain),
                reply,
            });
            let stopping = || {
                Fault::new(
                    "shutting_down",
                    "the runtime is stopping and starts no function any more",
                )
            };
            sent.await.map_err(|_| stopping())?;
            let replied = answer.await.map_err(|_| stopping())?;
            let replied = replied.map_err(|error| Fault::with_details(&error.code, error.message, error.details));
            Ok(reply_as(replied?))
        };
        run.reach.start(import, || arguments, live).await
    }

    async fn invoke_action(
        &mut self,
        elsewhere: Option<(String, String)>,
        name: String,
        input: String,
    ) -> Result<String, Fault> {
        if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(&input) {
            let message = format!("the input of {name:?} is no JSON: {error}");
            return Err(Fault::new("invalid_action_input", message));
        }
        let mut arguments = arguments(elsewhere.as_ref(), &name);
        arguments.insert("input".to_owned(), serde_json::from_str(&input).unwrap_or_default());
        let call = |chain| InvocationCall::Action { input, chain };
        let of = (elsewhere, name);
        self.invoke(import::TRIGGER_ACTION, of, arguments.into(), call, true, |output| {
            output
        })
        .await
    }

    async fn invoke_sync(
        &mut self,
        elsewhere: Option<(String, String)>,
        name: String,
        options: Vec<(String, String)>,
    ) -> Result<(), Fault> {
        let variant = options.into_iter().find(|(name, _)| name == "variant");
        let variant = variant.map_or_else(|| "base".to_owned(), |(_, variant)| variant);
        let mut arguments = arguments(elsewhere.as_ref(), &name);
        arguments.insert("variant".to_owned(), variant.as_str().into());
        let call = |_| InvocationCall::Sync { variant };
        let of = (elsewhere, name);
        self.invoke(import::TRIGGER_SYNC, of, arguments.into(), call, false, |_| ())
            .await
    }
}

/// What a recording tells the call by; whose function it is only where that is not the run's own connection.
fn arguments(elsewhere: Option<&(String, String)>, function: &str) -> JsonObject {
    let mut arguments = JsonObject::new();
    if let Some((provider_config_key, connection_id)) = elsewhere {
        arguments.insert("provider_config_key".to_owned(), provider_config_key.as_str().into());
        arguments.insert("connection_id".to_owned(), connection_id.as_str().into());
    }
    arguments.insert("function".to_owned(), function.into());
    arguments
}

impl invoke::Host for GuestState {
    async fn trigger_action(
        &mut self,
        name: String,
        input: String,
        _options: Vec<(String, String)>,
    ) -> Result<String, Fault> {
        self.invoke_action(None, name, input).await
    }

    async fn trigger_sync(&mut self, name: String, options: Vec<(String, String)>) -> Result<(), Fault> {
        self.invoke_sync(None, name, options).await
    }
}

impl invoke_elsewhere::Host for GuestState {
    async fn trigger_action(
        &mut self,
        provider_config_key: String,
        connection_id: String,
        name: String,
        input: String,
        _options: Vec<(String, String)>,
    ) -> Result<String, Fault> {
        let elsewhere = Some((provider_config_key, connection_id));
        self.invoke_action(elsewhere, name, input).await
    }

    async fn trigger_sync(
        &mut self,
        provider_config_key: String,
        connection_id: String,
        name: String,
        options: Vec<(String, String)>,
    ) -> Result<(), Fault> {
        let elsewhere = Some((provider_config_key, connection_id));
        self.invoke_sync(elsewhere, name, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(function: &str) -> Link {
        Link {
            provider_config_key: "github".into(),
            connection_id: "c".into(),
            function: function.into(),
        }
    }

    fn refusal(fault: Fault) -> (String, String) {
        let error = fault.into_error().unwrap();
        (error.code, error.message)
    }

    #[test]
    fn chains_have_an_end_and_no_cycle() {
        let mut chain = Chain::default();
        assert!(chain.is_empty());
        for (caller, called) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")] {
            chain = chain.with(link(caller), &link(called)).unwrap();
            assert!(!chain.is_empty());
        }
        let (code, message) = refusal(chain.with(link("e"), &link("f")).unwrap_err());
        assert_eq!(
            (code.as_str(), message.as_str()),
            (
                "invoke_too_deep",
                "5 functions may wait for one another: a → b → c → d → e"
            )
        );
        let (code, message) = refusal(chain.with(link("e"), &link("b")).unwrap_err());
        assert_eq!(code, "invoke_cycle");
        assert!(message.ends_with("a → b → c → d → e"), "{message}");
        let other_connection = Link {
            connection_id: "other".into(),
            ..link("a")
        };
        assert!(Chain::default().with(link("a"), &other_connection).is_ok());
        assert!(Chain::default().with(link("a"), &link("a")).is_err());
    }
}
