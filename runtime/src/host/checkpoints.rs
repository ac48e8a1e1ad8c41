//! The interface `checkpoints`: how far the function has come, kept for the next run.

use serde_json::{Value, json};

use super::bindings::nango::functions::checkpoints::Host;
use super::checkpoint_rules;
use super::fault::Fault;
use super::kept::Kept;
use super::state::{GuestState, RunFacts, Services};
use crate::model::Checkpoint;
use crate::recording::{Position, import};
use crate::schema::Part;

const INVALID: &str = "invalid_checkpoint";

impl Host for GuestState {
    async fn get(&mut self) -> Result<Option<String>, Fault> {
        let run = self.run(import::CHECKPOINT)?;
        let key = key(run);
        let RunFacts {
            reach,
            connection_key,
            checkpoint_version,
            ..
        } = run;
        let live = async |services: &Services| {
            let checkpoint = services.store.checkpoint(connection_key, &key).await?;
            *checkpoint_version = Some(checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.version));
            Ok(checkpoint.map(|checkpoint| checkpoint.json))
        };
        let over = |kept: &Kept, found: Option<Option<String>>| match &kept.checkpoint {
            Some(position) => Some(position.json.clone()),
            None => found,
        };
        let found = reach.ask(import::CHECKPOINT, || Value::Null, live, over).await?;
        // It may be of a version before this one.
        if let Some(Err(faults)) = found.as_deref().map(|json| run.schemas.check(Part::Checkpoint, json)) {
            let what =
                format!("the saved checkpoint {key:?} does not fit this version's schema; reset the sync or clear it");
            return Err(Fault::unfit(INVALID, &what, &faults));
        }
        Ok(found)
    }

    async fn save(&mut self, json: String) -> Result<(), Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run(import::SAVE_CHECKPOINT)?;
        let json = checkpoint_rules::check(&json).map_err(|error| Fault::new(INVALID, error.to_string()))?;
        let checked = run.schemas.check(Part::Checkpoint, &json);
        checked.map_err(|faults| Fault::unfit(INVALID, "the checkpoint does not fit its schema", &faults))?;
        let key = key(run);
        let RunFacts {
            reach,
            connection_key,
            checkpoint_version,
            ..
        } = run;
        let live = async |services: &Services| {
            let store = &services.store;
            let seen_version = match *checkpoint_version {
                Some(version) => version,
                // A function that saves without having looked means to go on from whatever is there.
                None => store
                    .checkpoint(connection_key, &key)
                    .await?
                    .map_or(0, |checkpoint| checkpoint.version),
            };
            let saved = store
                .save_checkpoint(connection_key, &key, &json, seen_version, now_ms)
                .await?;
            let version = saved.ok_or_else(|| {
                let message = format!(
                    "another run saved the checkpoint {key:?} meanwhile: end this run, the next one goes on from there"
                );
                Fault::new("checkpoint_conflict", message)
            })?;
            *checkpoint_version = Some(version);
            Ok(())
        };
        let keep = |kept: &mut Kept| {
            let json = Some(json.clone());
            kept.checkpoint = Some(Position { json });
            Ok(())
        };
        let arguments = || json!({ "checkpoint": json });
        reach.change(import::SAVE_CHECKPOINT, arguments, live, keep).await
    }

    async fn clear(&mut self) -> Result<(), Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run(import::CLEAR_CHECKPOINT)?;
        let key = key(run);
        let RunFacts {
            reach,
            connection_key,
            checkpoint_version,
            ..
        } = run;
        let live = async |services: &Services| {
            services.store.clear_checkpoint(connection_key, &key, now_ms).await?;
            *checkpoint_version = Some(0);
            Ok(())
        };
        let keep = |kept: &mut Kept| {
            kept.checkpoint = Some(Position { json: None });
            Ok(())
        };
        reach.change(import::CLEAR_CHECKPOINT, || Value::Null, live, keep).await
    }
}

/// Of the run's function and variant.
pub(super) fn key(run: &RunFacts) -> String {
    let manifest = &run.manifest;
    let variant = run.variant.as_deref().unwrap_or("base");
    if run.is_for_webhook {
        return Checkpoint::webhook_key(&manifest.name, variant);
    }
    Checkpoint::key(manifest.kind, &manifest.name, variant)
}
