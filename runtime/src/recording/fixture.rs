//! A recording as a test fixture: Nango's `*.test.json`, written by hand or by `dryrun --save`, ours or Nango's. What that form has no
//! place for, such as time and randomness, is under `runtime`, which other readers ignore; a fixture without it is complete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use super::compare::{self, Difference};
use super::effects::List;
use super::headers::Headers;
use super::webhook::{shown, told};
use super::{
    Body, Call, Effects, Exchange, FORMAT, HostError, Outcome, Position, Recording, Request, Seed, Subject, Time,
    import,
};
use crate::model::{FunctionKind, JsonObject, RunError};

/// When a fixture that does not say begins: 2024-01-01 UTC.
const BEGAN_US_DEFAULT: i64 = 1_704_067_200_000_000;

/// The file. Unknown names are kept by nobody and refused by nobody: Nango's own may have more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Fixture {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// How the run fails, instead of `output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ExpectedError>,
    #[serde(default)]
    pub nango: Nango,
    /// By method in lower case and path.
    #[serde(default)]
    pub api: BTreeMap<String, BTreeMap<String, Entries>>,
    #[serde(default)]
    pub runtime: Extras,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedError {
    pub code: String,
    pub message: String,
}

/// What calls other than requests gave and took, by the names of Nango's API.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Nango {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get_connection: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get_metadata: Option<JsonObject>,
    /// All that the environment has; none when the function does not ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get_environment_variables: Option<Vec<Variable>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_metadata: Option<Value>,
    /// Before the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get_checkpoint: Option<Value>,
    /// After the run; `null` when it was cleared.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub save_checkpoint: Option<Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub batch_save: BTreeMap<String, Vec<Value>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub batch_update: BTreeMap<String, Vec<Value>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub batch_delete: BTreeMap<String, Vec<Value>>,
}

/// An environment variable. Its value is a secret, so that a recording's is masked: who wants another one writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    pub value: String,
}

/// A `null` that is written is something else than nothing.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entries {
    Many(Vec<Entry>),
    One(Box<Entry>),
}

/// One request with its answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// JSON, or a string where the answer is no JSON.
    #[serde(default)]
    pub response: Value,
    /// `base64` when `response` is a string of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    #[serde(default = "ok_status")]
    pub status: u16,
    #[serde(default)]
    pub headers: Headers,
    /// There was no answer, for this reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<HostError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<EntryRequest>,
}

fn ok_status() -> u16 {
    200
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EntryRequest {
    #[serde(default, skip_serializing_if = "is_empty")]
    pub params: Value,
    #[serde(default, skip_serializing_if = "is_empty")]
    pub headers: Value,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub data: Value,
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

/// What only this runtime knows of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Extras {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// A sync runs because a webhook came, which is the input.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub webhook: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Seed>,
    /// Calls that the form above has no place for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ExtraCall>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExtraCall {
    pub import: String,
    pub arguments: Value,
    pub result: Outcome,
}

/// Why a file is no fixture.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    #[error("it is no test fixture: at `{path}`: {reason}")]
    Form { path: String, reason: String },
}

/// What came of running a fixture.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub differences: Vec<Difference>,
}

impl Fixture {
    /// # Errors
    ///
    /// Says where the text is not of this form.
    pub fn parse(json: &str) -> Result<Self, FixtureError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| FixtureError::Form {
            path: error.path().to_string(),
            reason: error.inner().to_string(),
        })
    }

    /// Indented, with a line feed at the end, so that it is kept under version control.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The fixture that plays this recording and expects what came of it.
    #[must_use]
    pub fn of(recording: &Recording) -> Self {
        let effects = Effects::of(recording);
        let subject = &recording.subject;
        let by_model = |list: List| {
            let records = effects
                .records
                .iter()
                .map(|(model, effects)| (model.clone(), list(effects).clone()));
            records.filter(|(_, records)| !records.is_empty()).collect()
        };
        let input = parsed(&subject.input).filter(|input| !input.is_null());
        let mut fixture = Self {
            input: input.map(|input| if subject.for_webhook { shown(input) } else { input }),
            nango: Nango {
                get_connection: Some(json!({
                    "connectionId": subject.connection_id, "provider": subject.provider,
                })),
                get_metadata: Some(subject.metadata.clone()),
                get_environment_variables: variables(&recording.calls),
                update_metadata: effects.metadata.clone(),
                get_checkpoint: effects.checkpoint_before.as_ref().map(compare::position_value),
                save_checkpoint: effects.checkpoint_after.as_ref().map(compare::position_value),
                batch_save: by_model(|effects| &effects.saved),
                batch_update: by_model(|effects| &effects.updated),
                batch_delete: by_model(|effects| &effects.deleted),
            },
            runtime: Extras {
                integration: Some(subject.provider_config_key.clone()),
                environment: Some(subject.environment.clone()),
                variant: subject.variant.clone(),
                webhook: subject.for_webhook,
                time: Some(recording.time.clone()),
                seed: Some(recording.seed.clone()),
                calls: Vec::new(),
            },
            ..Self::default()
        };
        match &recording.output {
            Ok(output) if subject.kind == FunctionKind::Action => fixture.output = parsed(output),
            Ok(_) => {}
            Err(error) => fixture.error = Some(expected(error)),
        }
        for call in &recording.calls {
            fixture.add(call);
        }
        fixture
    }

    fn add(&mut self, call: &Call) {
        const TOLD_ELSEWHERE: [&str; 12] = [
            import::VARIABLE,
            import::VARIABLES,
            import::LOG,
            import::METADATA,
            import::SET_METADATA,
            import::UPDATE_METADATA,
            import::CHECKPOINT,
            import::SAVE_CHECKPOINT,
            import::CLEAR_CHECKPOINT,
            import::BATCH_SAVE,
            import::BATCH_UPDATE,
            import::BATCH_DELETE,
        ];
        let Some(result) = &call.result else { return };
        if call.import == import::REQUEST {
            if let Ok(request) = serde_json::from_value::<Request>(call.arguments.clone()) {
                self.add_request(&request, result);
            }
        } else if !TOLD_ELSEWHERE.contains(&call.import.as_ref()) {
            self.runtime.calls.push(ExtraCall {
                import: call.import.clone().into_owned(),
                arguments: call.arguments.clone(),
                result: result.clone(),
            });
        }
    }

    fn add_request(&mut self, request: &Request, result: &Outcome) {
        let Some(entry) = Entry::new(request, result) else {
            return;
        };
        let paths = self.api.entry(request.method.to_ascii_lowercase()).or_default();
        match paths.get_mut(&request.path) {
            None => {
                paths.insert(request.path.clone(), Entries::Many(vec![entry]));
            }
            Some(Entries::Many(entries)) => entries.push(entry),
            Some(one @ Entries::One(_)) => {
                let first = std::mem::replace(one, Entries::Many(Vec::new()));
                if let (Entries::One(first), Entries::Many(entries)) = (first, one) {
                    entries.extend([*first, entry]);
                }
            }
        }
    }

    /// The recording that a run of `function` is played from.
    #[must_use]
    pub fn recording(&self, function: &str, kind: FunctionKind) -> Recording {
        let connection = |names: [&str; 2]| {
            let found = names
                .iter()
                .find_map(|name| self.nango.get_connection.as_ref()?.get(name)?.as_str());
            found.map(str::to_owned)
        };
        let position = self.nango.get_checkpoint.as_ref().filter(|json| !json.is_null());
        let mut recording = Recording {
            format: FORMAT,
            subject: Subject {
                function: function.to_owned(),
                kind,
                digest: String::new(),
                provider_config_key: self.runtime.integration.clone().unwrap_or_else(|| "test".to_owned()),
                connection_id: connection(["connection_id", "connectionId"]).unwrap_or_else(|| "test".to_owned()),
                provider: connection(["provider", "provider"]).unwrap_or_else(|| "test".to_owned()),
                environment: self.runtime.environment.clone().unwrap_or_else(|| "test".to_owned()),
                input: match &self.input {
                    Some(input) if self.runtime.webhook => told(input.clone()).to_string(),
                    Some(input) => input.to_string(),
                    None => "null".to_owned(),
                },
                for_webhook: self.runtime.webhook,
                variant: (kind == FunctionKind::Sync)
                    .then(|| self.runtime.variant.clone().unwrap_or_else(|| "base".to_owned())),
                run_id: None,
                metadata: self.nango.get_metadata.clone().unwrap_or_default(),
                checkpoint: Some(Position {
                    json: position.map(Value::to_string),
                }),
            },
            calls: Vec::new(),
            time: self.runtime.time.clone().unwrap_or_else(|| Time {
                began_us: BEGAN_US_DEFAULT,
                ..Time::default()
            }),
            seed: self.runtime.seed.clone().unwrap_or_default(),
            output: match &self.error {
                Some(error) => Err(error.clone().into()),
                None => Ok(self.output.as_ref().map_or_else(|| "null".to_owned(), Value::to_string)),
            },
            duration_us: 0,
            complete: true,
        };
        for (method, paths) in &self.api {
            for (path, entries) in paths {
                let entries = match entries {
                    Entries::Many(entries) => entries.as_slice(),
                    Entries::One(entry) => std::slice::from_ref(entry.as_ref()),
                };
                recording
                    .calls
                    .extend(entries.iter().map(|entry| entry.call(method, path)));
            }
        }
        if let Some(variables) = &self.nango.get_environment_variables {
            let pairs: Vec<_> = variables.iter().map(|it| (&it.name, &it.value)).collect();
            recording.calls.push(Call {
                import: import::VARIABLES.into(),
                arguments: Value::Null,
                result: Some(Outcome::Ok(json!(pairs))),
                started_us: 0,
                took_us: 0,
            });
        }
        recording.calls.extend(self.runtime.calls.iter().map(|call| Call {
            import: call.import.clone().into(),
            arguments: call.arguments.clone(),
            result: Some(call.result.clone()),
            started_us: 0,
            took_us: 0,
        }));
        recording
    }

    /// How a run differs from what the fixture expects. What it does not name is not compared: a fixture without `batchSave` expects no
    /// records only if it is a sync's, whose output they are.
    #[must_use]
    pub fn verdict(&self, ran: &Recording) -> Verdict {
        let mut differences = Vec::new();
        let expects_output = self.output.is_some() || self.error.is_some();
        if expects_output || ran.output.is_err() {
            let before = match &self.error {
                Some(error) => Err(error.clone().into()),
                None => Ok(self.output.as_ref().map_or_else(|| "null".to_owned(), Value::to_string)),
            };
            compare::outputs(&before, &ran.output, &mut differences);
        }
        let effects = Effects::of(ran);
        let mut records = |what: &str, wanted: &BTreeMap<String, Vec<Value>>, list: List| {
            let models: std::collections::BTreeSet<&String> = wanted.keys().chain(effects.records.keys()).collect();
            for model in models {
                let found = effects.records.get(model).map_or(&[][..], |effects| list(effects));
                let wanted = wanted.get(model).map_or(&[][..], Vec::as_slice);
                compare::records(&format!("{what} {model}"), wanted, found, &mut differences);
            }
        };
        records("record", &self.nango.batch_save, |effects| &effects.saved);
        records("update of", &self.nango.batch_update, |effects| &effects.updated);
        records("deletion of", &self.nango.batch_delete, |effects| &effects.deleted);
        if let Some(wanted) = &self.nango.save_checkpoint {
            let found = effects.checkpoint_after.as_ref().map(compare::position_value);
            compare::value("checkpoint", Some(wanted), found.as_ref(), &mut differences);
        }
        if let Some(wanted) = &self.nango.update_metadata {
            compare::value("metadata", Some(wanted), effects.metadata.as_ref(), &mut differences);
        }
        Verdict { differences }
    }

    /// Expects what this run did, and keeps the traffic.
    pub fn expect(&mut self, ran: &Recording) {
        let new = Self::of(ran);
        self.output = new.output;
        self.error = new.error;
        self.nango.save_checkpoint = new.nango.save_checkpoint;
        self.nango.update_metadata = new.nango.update_metadata;
        self.nango.batch_save = new.nango.batch_save;
        self.nango.batch_update = new.nango.batch_update;
        self.nango.batch_delete = new.nango.batch_delete;
    }
}

impl Entry {
    fn new(request: &Request, result: &Outcome) -> Option<Self> {
        let mut entry = Self {
            status: ok_status(),
            hash: Some(hash(request)),
            request: Some(EntryRequest {
                params: pairs(&request.query),
                headers: pairs(&request.headers),
                data: written(&request.body, true).0,
            }),
            ..Self::default()
        };
        match result {
            Outcome::Ok(value) => {
                let exchange: Exchange = serde_json::from_value(value.clone()).ok()?;
                (entry.response, entry.encoding) = written(&exchange.body, exchange.is_json());
                entry.status = exchange.status;
                entry.headers = Headers(exchange.headers);
            }
            Outcome::Error(error) => entry.error = Some(error.clone()),
            Outcome::Trap(_) => return None,
        }
        Some(entry)
    }

    fn call(&self, method: &str, path: &str) -> Call {
        let request = self.request.clone().unwrap_or_default();
        let body = match &request.data {
            Value::Null => Body::Empty,
            Value::String(text) => Body::new(text.as_bytes()),
            data => Body::Text(data.to_string()),
        };
        let headers = unpaired(&request.headers);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = Request::new(method, path, &unpaired(&request.params), headers, body);
        let result = match &self.error {
            Some(error) => Outcome::Error(error.clone()),
            None => Outcome::Ok(serde_json::to_value(self.exchange()).unwrap_or_default()),
        };
        Call {
            import: import::REQUEST.into(),
            arguments: serde_json::to_value(asked).unwrap_or_default(),
            result: Some(result),
            started_us: 0,
            took_us: 0,
        }
    }

    fn exchange(&self) -> Exchange {
        let body = match &self.response {
            Value::Null => Body::Empty,
            Value::String(base64) if self.encoding.as_deref() == Some("base64") => Body::Base64(base64.clone()),
            Value::String(text) if !self.headers.say_json() => Body::Text(text.clone()),
            json => Body::Text(json.to_string()),
        };
        Exchange {
            status: self.status,
            headers: self.headers.0.clone(),
            body,
        }
    }
}

/// The variables that a run was told, by name; none when it asked for none.
fn variables(calls: &[Call]) -> Option<Vec<Variable>> {
    let mut told: Option<BTreeMap<String, String>> = None;
    for call in calls {
        let Some(Outcome::Ok(result)) = &call.result else {
            continue;
        };
        if call.import == import::VARIABLES {
            let pairs: Vec<(String, String)> = serde_json::from_value(result.clone()).unwrap_or_default();
            told.get_or_insert_default().extend(pairs);
        } else if call.import == import::VARIABLE {
            let told = told.get_or_insert_default();
            let name = call.arguments.get("name").and_then(Value::as_str);
            if let (Some(name), Some(value)) = (name, result.as_str()) {
                told.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let variable = |(name, value)| Variable { name, value };
    told.map(|told| told.into_iter().map(variable).collect())
}

impl From<ExpectedError> for RunError {
    fn from(error: ExpectedError) -> Self {
        Self {
            code: error.code,
            message: error.message,
            payload: None,
            upstream: None,
        }
    }
}

fn expected(error: &RunError) -> ExpectedError {
    ExpectedError {
        code: error.code.clone(),
        message: error.message.clone(),
    }
}

fn parsed(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}

/// A body as people read it, and its encoding.
fn written(body: &Body, may_be_json: bool) -> (Value, Option<String>) {
    match body {
        Body::Empty => (Value::Null, None),
        Body::Text(text) => match body.json().filter(|_| may_be_json) {
            Some(json) => (json, None),
            None => (Value::from(text.as_str()), None),
        },
        Body::Base64(text) => (Value::from(text.as_str()), Some("base64".to_owned())),
    }
}

/// An object; of a repeated name a list.
fn pairs(pairs: &[(String, String)]) -> Value {
    let mut object = Map::new();
    for (name, value) in pairs {
        match object.get_mut(name) {
            None => {
                object.insert(name.clone(), Value::from(value.as_str()));
            }
            Some(Value::Array(values)) => values.push(Value::from(value.as_str())),
            Some(first) => *first = json!([first.clone(), value]),
        }
    }
    Value::Object(object)
}

/// The reverse; a text is a query string.
fn unpaired(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Object(object) => object
            .iter()
            .flat_map(|(name, value)| match value {
                Value::Array(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
                other => vec![(name.clone(), text(other))],
            })
            .collect(),
        Value::Array(list) => list
            .iter()
            .filter_map(|pair| Some((text(pair.get(0)?), text(pair.get(1)?))))
            .collect(),
        Value::String(query) => Request::new("GET", &format!("?{query}"), &[], [], Body::Empty).query,
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Names a request among others in the file.
fn hash(request: &Request) -> String {
    let identity = json!({
        "method": request.method.to_ascii_lowercase(), "endpoint": request.path.trim_start_matches('/'),
        "params": request.query, "headers": request.headers, "data": written(&request.body, false).0,
    });
    let digest = Sha1::digest(identity.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
