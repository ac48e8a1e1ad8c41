//! The interface `checkpoints`: how far the function has come, kept for the next run.

use super::bindings::nango::functions::checkpoints::Host;
use super::checkpoint_rules;
use super::fault::Fault;
use super::state::{GuestState, RunFacts};
use crate::model::FunctionKind;

impl Host for GuestState {
    async fn get(&mut self) -> Result<Option<String>, Fault> {
        let run = self.run("checkpoints.get")?;
        let checkpoint = run.store.checkpoint(&run.connection_key, &key(run)).await?;
        run.checkpoint_version = Some(checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.version));
        Ok(checkpoint.map(|checkpoint| checkpoint.json))
    }

    async fn save(&mut self, json: String) -> Result<(), Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run("checkpoints.save")?;
        let json =
            checkpoint_rules::check(&json).map_err(|error| Fault::new("invalid_checkpoint", error.to_string()))?;
        let key = key(run);
        let store = &run.store;
        let seen_version = match run.checkpoint_version {
            Some(version) => version,
            // A function that saves without having looked means to go on from whatever is there.
            None => store
                .checkpoint(&run.connection_key, &key)
                .await?
                .map_or(0, |checkpoint| checkpoint.version),
        };
        let saved = store
            .save_checkpoint(&run.connection_key, &key, &json, seen_version, now_ms)
            .await?;
        let version = saved.ok_or_else(|| {
            let message = format!(
                "another run saved the checkpoint {key:?} meanwhile: end this run, the next one goes on from there"
            );
            Fault::new("checkpoint_conflict", message)
        })?;
        run.checkpoint_version = Some(version);
        Ok(())
    }

    async fn clear(&mut self) -> Result<(), Fault> {
        let now_ms = self.clock.now_ms();
        let run = self.run("checkpoints.clear")?;
        run.store
            .clear_checkpoint(&run.connection_key, &key(run), now_ms)
            .await?;
        run.checkpoint_version = Some(0);
        Ok(())
    }
}

/// `<kind>:<function>[:<variant>]`.
fn key(run: &RunFacts) -> String {
    let manifest = &run.function.manifest;
    let kind = manifest.kind.as_str();
    match manifest.kind {
        FunctionKind::Action => format!("{kind}:{}", manifest.name),
        FunctionKind::Sync => format!("{kind}:{}:{}", manifest.name, run.variant.as_deref().unwrap_or("base")),
    }
}
