//! The interface `records`: for syncs, and for the models they declare.

use serde_json::{Value, json};

use super::bindings::nango::functions::records::{Counts as CountsPairs, Host};
use super::fault::Fault;
use super::kept::Kept;
use super::state::{GuestState, RunFacts, Services};
use crate::model::{Counts, FunctionKind};
use crate::recording::import;
use crate::schema::Part;
use crate::store::RecordKey;

const GET_BY_IDS: &str = "records.get-by-ids";
/// Ids of one `get-by-ids`.
const IDS_MAX: usize = 1_000;
/// Records looked up at once in a dry run.
const LOOK_UP_MAX: usize = 1_000;
/// The variant whose models carry no suffix.
const BASE_VARIANT: &str = "base";

impl GuestState {
    fn count(&mut self, model: String, counts: Counts) -> CountsPairs {
        if let Some(progress) = self.progress() {
            progress.add(&model, counts);
        }
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

/// In a dry run, looks up what the store has of the records that are about to be written, so that counts are those of a real run.
async fn foresee(run: &RunFacts, key: &RecordKey, model: &str, records: &str) -> Result<(), Fault> {
    let Some(foresight) = run.reach.foresight() else {
        return Ok(());
    };
    let batch = crate::records::read_batch(records)?;
    let unknown = foresight.kept().unknown(model, batch.iter().map(|(id, _)| id));
    for ids in unknown.chunks(LOOK_UP_MAX) {
        let found = foresight.services.records.by_ids(key, ids).await?;
        foresight.kept().look_up(model, &found);
    }
    Ok(())
}

/// What a call writes, for the tape.
fn written(model: &str, records: &str) -> Value {
    let parsed = serde_json::from_str(records).unwrap_or_else(|_| Value::from(records));
    json!({ "model": model, "records": parsed })
}

impl Host for GuestState {
    async fn batch_save(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run(import::BATCH_SAVE)?;
        let key = key(run, &model)?;
        fits(run, Part::Model(&model), &records)?;
        foresee(run, &key, &model, &records).await?;
        let live = async |services: &Services| Ok(services.records.save(&key, &records).await?);
        let keep = |kept: &mut Kept| Ok(kept.save(&model, crate::records::read_batch(&records)?));
        let arguments = || written(&model, &records);
        let counts = run.reach.change(import::BATCH_SAVE, arguments, live, keep).await?;
        Ok(self.count(model, counts))
    }

    async fn batch_update(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run(import::BATCH_UPDATE)?;
        let key = key(run, &model)?;
        fits(run, Part::ModelPatch(&model), &records)?;
        foresee(run, &key, &model, &records).await?;
        let live = async |services: &Services| Ok(services.records.update(&key, &records).await?);
        let keep = |kept: &mut Kept| Ok(kept.update(&model, crate::records::read_batch(&records)?));
        let arguments = || written(&model, &records);
        let counts = run.reach.change(import::BATCH_UPDATE, arguments, live, keep).await?;
        Ok(self.count(model, counts))
    }

    async fn batch_delete(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run(import::BATCH_DELETE)?;
        let key = key(run, &model)?;
        foresee(run, &key, &model, &records).await?;
        let live = async |services: &Services| Ok(services.records.delete(&key, &records).await?);
        let keep = |kept: &mut Kept| Ok(kept.delete(&model, crate::records::read_batch(&records)?));
        let arguments = || written(&model, &records);
        let counts = run.reach.change(import::BATCH_DELETE, arguments, live, keep).await?;
        Ok(self.count(model, counts))
    }

    async fn get_by_ids(&mut self, model: String, ids: Vec<String>) -> Result<String, Fault> {
        let run = self.run(GET_BY_IDS)?;
        if ids.len() > IDS_MAX {
            let message = format!("{} ids at once: at most {IDS_MAX} are allowed", ids.len());
            return Err(Fault::new("too_many_ids", message));
        }
        let key = key(run, &model)?;
        let live = async |services: &Services| Ok(services.records.by_ids(&key, &ids).await?);
        let over = |kept: &Kept, found: Option<String>| kept.over(&model, &ids, found.as_deref());
        let arguments = || json!({ "model": model, "ids": ids });
        run.reach.ask(GET_BY_IDS, arguments, live, over).await
    }
}

/// Refuses the whole batch for one record that does not fit the model.
fn fits(run: &RunFacts, part: Part<'_>, records: &str) -> Result<(), Fault> {
    let checked = run.schemas.check_records(part, records);
    checked.map_err(|faults| Fault::unfit("invalid_sync_record", "the batch does not fit the model", &faults))
}

/// Whose records: refuses functions that are no syncs, and models that are not declared.
fn key(run: &RunFacts, model: &str) -> Result<RecordKey, Fault> {
    let manifest = &run.manifest;
    match manifest.kind {
        FunctionKind::Sync => {}
        kind @ (FunctionKind::Action | FunctionKind::OnEvent) => {
            let message = format!("{:?} is {}: only syncs have records", manifest.name, kind.an());
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
