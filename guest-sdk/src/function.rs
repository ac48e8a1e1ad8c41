//! What the attributes make of a function, and the exports of the component they are gathered in.
//!
//! Hidden: only the code that [`action`](crate::action), [`sync`](crate::sync), [`on_event`](crate::on_event) and
//! [`functions!`](crate::functions) generate names what is here.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::action_error::ActionError;
use crate::bindings::nango::functions::types;
use crate::error::{Error, Place};
use crate::log;
use crate::nango::Nango;
use crate::webhook::Webhook;

/// A function, as a type of the same name as the Rust function.
pub trait Function {
    /// The name it is called by.
    const NAME: &'static str;

    /// Its entry in what the component says of itself.
    fn describe() -> Value;

    /// Runs it. Input and output are JSON text.
    ///
    /// # Errors
    /// Whatever the function gives.
    fn run(nango: &Nango, input: &str) -> Result<String, ActionError>;

    /// Handles a webhook. None when it has no handler.
    ///
    /// # Errors
    /// Whatever the handler gives.
    fn on_webhook(nango: &Nango, webhook: &Webhook) -> Option<Result<(), ActionError>> {
        let _ = (nango, webhook);
        None
    }
}

/// One entry of a component's table of functions.
#[derive(Clone, Copy)]
pub struct Entry {
    name: &'static str,
    describe: fn() -> Value,
    run: fn(&Nango, &str) -> Result<String, ActionError>,
    on_webhook: fn(&Nango, &Webhook) -> Option<Result<(), ActionError>>,
}

impl Entry {
    /// The entry of a function.
    #[must_use]
    pub const fn of<F: Function>() -> Self {
        Self {
            name: F::NAME,
            describe: F::describe,
            run: F::run,
            on_webhook: F::on_webhook,
        }
    }
}

/// The return type of a function, seen as output and error.
pub trait Outcome {
    /// What it gives when all is well.
    type Output;

    /// Turns the error, whatever its type, into the one the host is told.
    ///
    /// # Errors
    /// That of the function.
    fn outcome(self) -> Result<Self::Output, ActionError>;
}

impl<T, E: Into<ActionError>> Outcome for Result<T, E> {
    type Output = T;

    fn outcome(self) -> Result<T, ActionError> {
        self.map_err(Into::into)
    }
}

/// The body of the export `describe`.
#[must_use]
pub fn describe_component(functions: &[Entry]) -> String {
    log::install_panic_hook();
    let functions: Vec<Value> = functions.iter().map(|entry| (entry.describe)()).collect();
    // Written by hand around the entries, which needs no second serializer.
    let functions = serde_json::to_string(&functions).unwrap_or_default();
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    format!(r#"{{"functions":{functions},"sdk":{{"name":"{name}","version":"{version}"}}}}"#)
}

/// The body of the export `run`.
///
/// # Errors
/// That of the function, or that there is none of that name.
pub fn run_component(functions: &[Entry], name: &str, trigger: &[(String, String)]) -> Result<String, types::Error> {
    log::install_panic_hook();
    let Some(entry) = functions.iter().find(|entry| entry.name == name) else {
        let known: Vec<&str> = functions.iter().map(|entry| entry.name).collect();
        return Err(types::Error {
            code: "script_internal_error".to_owned(),
            message: format!("this component has no function {name:?}; it has {}", known.join(", ")),
            details: Vec::new(),
        });
    };
    let told = |name: &str| {
        let mut pairs = trigger.iter();
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let input = told("input").unwrap_or("null");
    if told("kind") == Some("webhook") {
        return handle_webhook(entry, input);
    }
    (entry.run)(&Nango::of_this_run(), input).map_err(ActionError::into_wire)
}

fn handle_webhook(entry: &Entry, input: &str) -> Result<String, types::Error> {
    let fault = |message: String| types::Error {
        code: "script_internal_error".to_owned(),
        message,
        details: Vec::new(),
    };
    let Some(webhook) = Webhook::of_input(input) else {
        return Err(fault(
            "the webhook is not in the form of this version of the contract".to_owned(),
        ));
    };
    match (entry.on_webhook)(&Nango::of_this_run(), &webhook) {
        Some(handled) => handled.map(|()| "null".to_owned()).map_err(ActionError::into_wire),
        None => Err(fault(format!("the sync {:?} has no `on_webhook`", entry.name))),
    }
}

/// Reads an action's input.
///
/// # Errors
/// When it does not fit `T`.
#[track_caller]
pub fn read_input<T: DeserializeOwned>(input: &str) -> Result<T, ActionError> {
    match serde_json::from_slice(input.as_bytes()) {
        Ok(input) => Ok(input),
        Err(source) => {
            let what = "the input does not fit".to_owned();
            Err(Error::Json {
                what,
                source,
                place: Place::here(),
            }
            .into())
        }
    }
}

/// Writes an action's output.
///
/// # Errors
/// When it cannot be JSON.
#[track_caller]
pub fn write_output(output: &impl Serialize) -> Result<String, ActionError> {
    match serde_json::to_string(output) {
        Ok(json) => Ok(json),
        Err(source) => {
            let what = "the output cannot be JSON".to_owned();
            Err(Error::Json {
                what,
                source,
                place: Place::here(),
            }
            .into())
        }
    }
}

/// Builds the entry of one function.
pub struct Description(Map<String, Value>);

impl Description {
    /// Starts with what all kinds have.
    #[must_use]
    pub fn new(name: &str, kind: &str, description: &str) -> Self {
        let mut entry = Map::new();
        for (field, value) in [("name", name), ("kind", kind), ("description", description)] {
            entry.insert(field.to_owned(), Value::from(value));
        }
        Self(entry)
    }

    /// Adds a plain field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// Adds the schema of what the function reads.
    #[must_use]
    pub fn with_read<T: JsonSchema>(self, field: &str) -> Self {
        let schema = schema_of(SchemaSettings::default(), SchemaGenerator::into_root_schema_for::<T>);
        self.with(field, schema)
    }

    /// Adds the schema of what the function writes.
    #[must_use]
    pub fn with_written<T: JsonSchema>(self, field: &str) -> Self {
        let schema = schema_of(
            SchemaSettings::default().for_serialize(),
            SchemaGenerator::into_root_schema_for::<T>,
        );
        self.with(field, schema)
    }

    /// Adds a model.
    #[must_use]
    pub fn with_model<M: JsonSchema>(mut self) -> Self {
        let schema = schema_of(
            SchemaSettings::default().for_serialize(),
            SchemaGenerator::into_root_schema_for::<M>,
        );
        let models = self.0.entry("models").or_insert_with(|| Value::Object(Map::new()));
        if let Some(models) = models.as_object_mut() {
            models.insert(M::schema_name().into_owned(), schema);
        }
        self
    }

    /// The finished entry.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

fn schema_of(settings: SchemaSettings, root: fn(SchemaGenerator) -> Schema) -> Value {
    root(settings.with(|settings| settings.meta_schema = None).into_generator()).into()
}
