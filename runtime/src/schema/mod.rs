//! Checks what goes into functions and what comes out of them against the JSON Schemas they declare: input, output, records, metadata
//! and checkpoints. Nango stores these schemas and checks nothing in production (functions reference, sections 0 and 3.5); here
//! a fault is found where it is made, with its place. Compiled validators are kept; what declares no schema costs nothing.

mod partial;

use std::sync::Arc;

use jsonschema::Validator;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::Value;

use crate::model::FunctionManifest;

/// Validators kept. One of a typical model takes some 10 KiB.
const VALIDATORS_MAX: usize = 2_000;
/// Faults one answer names.
const FAULTS_MAX: usize = 10;
/// Longest text of one fault, in bytes: faults quote the value they are about.
const FAULT_BYTES_MAX: usize = 300;
/// The place of the value itself.
const ROOT: &str = "(root)";

/// Whether anything is checked at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    #[default]
    On,
    /// As Nango does.
    Off,
}

/// What of a function is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part<'a> {
    Input,
    Output,
    Metadata,
    /// Members to merge into the metadata that is there.
    MetadataPatch,
    Checkpoint,
    Model(&'a str),
    /// Members to merge into records that are there.
    ModelPatch(&'a str),
}

/// Validators by component and function: a component's bytes never change. Cheap to clone.
#[derive(Clone)]
pub struct Schemas {
    validation: Validation,
    validators: Arc<Cache<Key, Arc<Validator>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    digest: Box<str>,
    function: Box<str>,
    part: PartKey,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum PartKey {
    Input,
    Output,
    Metadata,
    MetadataPatch,
    Checkpoint,
    Model(Box<str>),
    ModelPatch(Box<str>),
}

/// The schemas of one function.
#[derive(Clone)]
pub struct FunctionSchemas {
    schemas: Schemas,
    digest: Arc<str>,
    manifest: Arc<FunctionManifest>,
}

impl Schemas {
    #[must_use]
    pub fn new(validation: Validation) -> Self {
        Self {
            validation,
            validators: Arc::new(Cache::new(VALIDATORS_MAX)),
        }
    }

    /// Those of a function of the component with that digest.
    #[must_use]
    pub fn of(&self, digest: impl Into<Arc<str>>, manifest: Arc<FunctionManifest>) -> FunctionSchemas {
        FunctionSchemas {
            schemas: self.clone(),
            digest: digest.into(),
            manifest,
        }
    }

    /// Checks JSON text.
    ///
    /// # Errors
    ///
    /// What does not fit, each with the JSON pointer of its place; `(root)` for the value itself. At most 10.
    pub fn check(
        &self,
        digest: &str,
        manifest: &FunctionManifest,
        part: Part<'_>,
        json: &str,
    ) -> Result<(), Vec<String>> {
        let Some(validator) = self.validator(digest, manifest, part)? else {
            return Ok(());
        };
        let value: Value = serde_json::from_str(json).map_err(|error| vec![format!("{ROOT}: is no JSON: {error}")])?;
        faults(&validator, &value, "")
    }

    /// None when there is nothing to check.
    fn validator(
        &self,
        digest: &str,
        manifest: &FunctionManifest,
        part: Part<'_>,
    ) -> Result<Option<Arc<Validator>>, Vec<String>> {
        let Some(schema) = schema(manifest, part).filter(|_| self.validation == Validation::On) else {
            return Ok(None);
        };
        let key = Key {
            digest: digest.into(),
            function: manifest.name.as_str().into(),
            part: part.into(),
        };
        let compile = || match part {
            Part::MetadataPatch | Part::ModelPatch(_) => compile(&partial::of(schema)),
            Part::Input | Part::Output | Part::Metadata | Part::Checkpoint | Part::Model(_) => compile(schema),
        };
        let validator = self.validators.get_or_insert_with(&key, || compile().map(Arc::new));
        validator
            .map(Some)
            .map_err(|reason| vec![format!("the schema of {:?} cannot be used: {reason}", manifest.name)])
    }
}

impl FunctionSchemas {
    /// Checks JSON text.
    ///
    /// # Errors
    ///
    /// As [`Schemas::check`].
    pub fn check(&self, part: Part<'_>, json: &str) -> Result<(), Vec<String>> {
        self.schemas.check(&self.digest, &self.manifest, part, json)
    }

    /// Checks records one after the other, as whoever reads them shows them. None when there is nothing to check.
    ///
    /// # Errors
    ///
    /// The schema cannot be used.
    pub fn records(&self, part: Part<'_>) -> Result<Option<RecordsCheck>, Vec<String>> {
        let validator = self.schemas.validator(&self.digest, &self.manifest, part)?;
        Ok(validator.map(|validator| RecordsCheck {
            validator,
            faults: Vec::new(),
        }))
    }
}

/// What does not fit of the records seen so far.
pub struct RecordsCheck {
    validator: Arc<Validator>,
    faults: Vec<String>,
}

impl RecordsCheck {
    /// Checks the record at that place of its batch, or notes why it cannot be read.
    pub fn see(&mut self, index: usize, record: Result<&Value, &serde_json::Error>) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let place = || format!("/{index}");
        match record {
            // Which is what nearly all are; looking for what is wrong takes longer.
            Ok(record) if self.validator.is_valid(record) => {}
            Ok(record) => self
                .faults
                .extend(faults(&self.validator, record, &place()).err().unwrap_or_default()),
            Err(error) => self.faults.push(format!("{}: cannot be read: {error}", place())),
        }
    }

    /// # Errors
    ///
    /// As [`Schemas::check`]; pointers begin with the record's place.
    pub fn end(mut self) -> Result<(), Vec<String>> {
        self.faults.truncate(FAULTS_MAX);
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(self.faults)
        }
    }
}

impl From<Part<'_>> for PartKey {
    fn from(part: Part<'_>) -> Self {
        match part {
            Part::Input => Self::Input,
            Part::Output => Self::Output,
            Part::Metadata => Self::Metadata,
            Part::MetadataPatch => Self::MetadataPatch,
            Part::Checkpoint => Self::Checkpoint,
            Part::Model(model) => Self::Model(model.into()),
            Part::ModelPatch(model) => Self::ModelPatch(model.into()),
        }
    }
}

fn schema<'a>(manifest: &'a FunctionManifest, part: Part<'_>) -> Option<&'a Value> {
    match part {
        Part::Input => manifest.input.as_ref(),
        Part::Output => manifest.output.as_ref(),
        Part::Metadata | Part::MetadataPatch => manifest.metadata.as_ref(),
        Part::Checkpoint => manifest.checkpoint.as_ref(),
        Part::Model(model) | Part::ModelPatch(model) => manifest.models.get(model),
    }
}

/// Compiles a schema. References to other documents are refused: nothing is fetched.
///
/// # Errors
///
/// What is wrong with the schema, with its place.
pub(crate) fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::validator_for(schema).map_err(|error| fault(&error, ""))
}

fn faults(validator: &Validator, value: &Value, prefix: &str) -> Result<(), Vec<String>> {
    let faults: Vec<String> = validator
        .iter_errors(value)
        .take(FAULTS_MAX)
        .map(|error| fault(&error, prefix))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn fault(error: &jsonschema::ValidationError<'_>, prefix: &str) -> String {
    let place = format!("{prefix}{}", error.instance_path());
    let mut text = format!("{}: {error}", if place.is_empty() { ROOT } else { place.as_str() });
    if text.len() > FAULT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FAULT_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
