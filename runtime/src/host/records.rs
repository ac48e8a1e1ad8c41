//! The interface `records`: for syncs, and for the models they declare.

use super::bindings::nango::functions::records::{Counts as CountsPairs, Host};
use super::fault::Fault;
use super::state::{GuestState, RunFacts};
use crate::model::{Counts, FunctionKind};
use crate::store::RecordKey;

/// Ids of one `get-by-ids`.
const IDS_MAX: usize = 1_000;
/// The variant whose models carry no suffix.
const BASE_VARIANT: &str = "base";

impl GuestState {
    fn count(&mut self, model: String, counts: Counts) -> CountsPairs {
        *self.counts.entry(model).or_default() += counts;
        let Counts {
            added,
            updated,
            deleted,
            unchanged,
        } = counts;
        [
            ("added", added),
            ("updated", updated),
            ("deleted", deleted),
            ("unchanged", unchanged),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into()
    }
}

impl Host for GuestState {
    async fn batch_save(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run("records.batch-save")?;
        let counts = run.records.save(&key(run, &model)?, &records).await?;
        Ok(self.count(model, counts))
    }

    async fn batch_update(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run("records.batch-update")?;
        let counts = run.records.update(&key(run, &model)?, &records).await?;
        Ok(self.count(model, counts))
    }

    async fn batch_delete(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run("records.batch-delete")?;
        let counts = run.records.delete(&key(run, &model)?, &records).await?;
        Ok(self.count(model, counts))
    }

    async fn get_by_ids(&mut self, model: String, ids: Vec<String>) -> Result<String, Fault> {
        let run = self.run("records.get-by-ids")?;
        if ids.len() > IDS_MAX {
            let message = format!("{} ids at once: at most {IDS_MAX} are allowed", ids.len());
            return Err(Fault::new("too_many_ids", message));
        }
        Ok(run.records.by_ids(&key(run, &model)?, &ids).await?)
    }
}

/// Whose records: refuses functions that are no syncs, and models that are not declared.
fn key(run: &RunFacts, model: &str) -> Result<RecordKey, Fault> {
    let manifest = &run.function.manifest;
    match manifest.kind {
        FunctionKind::Sync => {}
        FunctionKind::Action => {
            let message = format!("{:?} is an action: only syncs have records", manifest.name);
            return Err(Fault::new("records_not_allowed", message));
        }
    }
    if !manifest.models.contains_key(model) {
        let declared = manifest
            .models
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!(
            "the sync {:?} does not declare the model {model:?}; it declares: {declared}",
            manifest.name
        );
        return Err(Fault::new("undeclared_model", message));
    }
    Ok(RecordKey {
        connection_key: run.connection_key.clone(),
        model: stored_model(model, run.variant.as_deref()),
    })
}

/// The model's name in the store: variants keep their records apart.
fn stored_model(model: &str, variant: Option<&str>) -> String {
    match variant {
        Some(variant) if variant != BASE_VARIANT => format!("{model}::{variant}"),
        Some(_) | None => model.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_keep_apart() {
        assert_eq!(stored_model("Issue", None), "Issue");
        assert_eq!(stored_model("Issue", Some("base")), "Issue");
        assert_eq!(stored_model("Issue", Some("eu")), "Issue::eu");
    }
}
