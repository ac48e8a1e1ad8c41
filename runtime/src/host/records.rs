//! The interface `records`: for syncs, and for the models they declare.

use serde_json::{Value, json};

use super::bindings::nango::functions::records::{Counts as CountsPairs, Host};
use super::checkpoints;
use super::fault::Fault;
use super::kept::Kept;
use super::state::{GuestState, RunFacts, Services};
use crate::model::{Counts, FunctionKind, RecordAction, RecordFilter};
use crate::recording::import;
use crate::records::{Batch, RecordForm, RecordsError};
use crate::schema::Part;
use crate::store::{OthersChanges, RecordKey};

const GET_BY_IDS: &str = "records.get-by-ids";
/// Ids of one `get-by-ids`.
const IDS_MAX: usize = 1_000;
/// Records looked up at once in a dry run.
const LOOK_UP_MAX: usize = 1_000;
/// Records of one `list-records`, and how many when nobody says.
const LIST_RECORDS_MAX: i64 = 1_000;
const LIST_RECORDS_DEFAULT: i64 = 100;
/// Payloads of one `list-records`: a guest has them in its memory.
const LIST_BYTES_MAX: usize = 4 << 20;
/// Merging strategies.
const OVERRIDE: &str = "override";
const IGNORE_IF_MODIFIED_AFTER: &str = "ignore_if_modified_after";
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
        let batch = read(run, Part::Model(&model), &records)?;
        foresee(run, &key, &model, &records).await?;
        let RunFacts { reach, merging, .. } = run;
        let others = merging.get_mut(&model).and_then(Option::as_mut);
        let live = async |services: &Services| Ok(services.records.save(&key, &batch, others).await?);
        let keep = |kept: &mut Kept| Ok(kept.save(&model, crate::records::read_batch(&records)?));
        let arguments = || written(&model, &records);
        let counts = reach.change(import::BATCH_SAVE, arguments, live, keep).await?;
        Ok(self.count(model, counts))
    }

    async fn batch_update(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run(import::BATCH_UPDATE)?;
        let key = key(run, &model)?;
        let batch = read(run, Part::ModelPatch(&model), &records)?;
        foresee(run, &key, &model, &records).await?;
        let RunFacts { reach, merging, .. } = run;
        let others = merging.get_mut(&model).and_then(Option::as_mut);
        let live = async |services: &Services| Ok(services.records.update(&key, &batch, others).await?);
        let keep = |kept: &mut Kept| Ok(kept.update(&model, crate::records::read_batch(&records)?));
        let arguments = || written(&model, &records);
        let counts = reach.change(import::BATCH_UPDATE, arguments, live, keep).await?;
        Ok(self.count(model, counts))
    }

    async fn batch_delete(&mut self, model: String, records: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run(import::BATCH_DELETE)?;
        let key = key(run, &model)?;
        let batch = Batch::parse(&records)?;
        foresee(run, &key, &model, &records).await?;
        let RunFacts { reach, merging, .. } = run;
        let others = merging.get_mut(&model).and_then(Option::as_mut);
        let live = async |services: &Services| Ok(services.records.delete(&key, &batch, others).await?);
        let keep = |kept: &mut Kept| Ok(kept.delete(&model, crate::records::read_batch(&records)?));
        let arguments = || written(&model, &records);
        let counts = reach.change(import::BATCH_DELETE, arguments, live, keep).await?;
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

    async fn list_records(&mut self, model: String, options: Vec<(String, String)>) -> Result<String, Fault> {
        let run = self.run(import::LIST_RECORDS)?;
        let key = key(run, &model)?;
        let filter = filter(&options)?;
        let live = async |services: &Services| {
            let page = services.records.list_text(&key, &filter, RecordForm::Elements).await?;
            Ok(page.into_document().concat())
        };
        let over = |kept: &Kept, found: Option<String>| kept.over_page(&model, found);
        let arguments = || json!({ "model": model, "options": options });
        run.reach.ask(import::LIST_RECORDS, arguments, live, over).await
    }

    async fn set_merging_strategy(&mut self, model: String, strategy: String) -> Result<(), Fault> {
        let has_written = self.counts.contains_key(&model);
        let run = self.run(import::SET_MERGING_STRATEGY)?;
        let key = key(run, &model)?;
        if !matches!(strategy.as_str(), OVERRIDE | IGNORE_IF_MODIFIED_AFTER) {
            let message =
                format!("{strategy:?} is no merging strategy: there are {OVERRIDE} and {IGNORE_IF_MODIFIED_AFTER}");
            return Err(Fault::new("invalid_merging_strategy", message));
        }
        if run.merging.contains_key(&model) {
            let text = format!("The merging strategy of {model} is set for this run already: {strategy} is ignored");
            self.log.warn(text);
            return Ok(());
        }
        if has_written {
            let message = format!("the run has written {model} already: set its merging strategy before");
            return Err(Fault::new("merging_strategy_too_late", message));
        }
        let live = async |services: &Services| Ok(services.records.last_change_us(&key).await?);
        let over = |_: &Kept, found: Option<i64>| Some(found.unwrap_or_default());
        let arguments = || json!({ "model": model, "strategy": strategy });
        let last_change_us = run
            .reach
            .ask(import::SET_MERGING_STRATEGY, arguments, live, over)
            .await?;
        let others = (strategy == IGNORE_IF_MODIFIED_AFTER).then(|| OthersChanges::after(last_change_us));
        run.merging.insert(model, others);
        Ok(())
    }

    async fn track_deletes_start(&mut self, model: String) -> Result<(), Fault> {
        let run = self.run(import::TRACK_DELETES_START)?;
        let key = key(run, &model)?;
        let live = async |services: &Services| Ok(services.records.start_tracking(&key).await?);
        let keep = |kept: &mut Kept| {
            kept.start_tracking(&model);
            Ok(())
        };
        let arguments = || json!({ "model": model });
        run.reach
            .change(import::TRACK_DELETES_START, arguments, live, keep)
            .await
    }

    async fn track_deletes_end(&mut self, model: String) -> Result<CountsPairs, Fault> {
        self.log.announce();
        let run = self.run(import::TRACK_DELETES_END)?;
        let key = key(run, &model)?;
        if let Some(foresight) = run.reach.foresight() {
            let unseen = foresight.services.records.unseen(&key).await?;
            let mut kept = foresight.kept();
            if unseen.is_tracking {
                kept.start_tracking(&model);
            }
            kept.foresee_unseen(&model, unseen.external_ids);
        }
        let checkpoint_key = checkpoints::key(run);
        let RunFacts {
            reach,
            checkpoint_version,
            ..
        } = run;
        let live = async |services: &Services| {
            let counts = services.records.end_tracking(&key, &checkpoint_key).await?;
            *checkpoint_version = Some(0);
            Ok(counts)
        };
        let keep = |kept: &mut Kept| {
            let ended = kept.end_tracking(&model);
            ended.ok_or_else(|| {
                RecordsError::NotTracking {
                    model: key.model.clone(),
                }
                .into()
            })
        };
        let arguments = || json!({ "model": model });
        let counts = reach.change(import::TRACK_DELETES_END, arguments, live, keep).await?;
        Ok(self.count(model, counts))
    }
}

/// What a call of `list-records` asks for.
fn filter(options: &[(String, String)]) -> Result<RecordFilter, Fault> {
    let option = |name: &str| {
        options
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let invalid = |message: String| Fault::new("invalid_option", message);
    let limit = match option("limit").map(str::parse) {
        None => LIST_RECORDS_DEFAULT,
        Some(Ok(limit)) if (1..=LIST_RECORDS_MAX).contains(&limit) => limit,
        Some(_) => {
            return Err(invalid(format!(
                "`limit` of records.list-records is no number from 1 to {LIST_RECORDS_MAX}"
            )));
        }
    };
    let mut actions = Vec::new();
    for action in option("filter").into_iter().flat_map(|actions| actions.split(',')) {
        actions.push(match action.trim() {
            "added" => RecordAction::Added,
            "updated" => RecordAction::Updated,
            "deleted" => RecordAction::Deleted,
            other => {
                return Err(invalid(format!(
                    "{other:?} is no `filter` of records.list-records: added, updated or deleted"
                )));
            }
        });
    }
    Ok(RecordFilter {
        actions,
        cursor: option("cursor").map(str::to_owned),
        limit,
        bytes_max: LIST_BYTES_MAX,
        ..RecordFilter::default()
    })
}

/// Reads the batch, in one go with its schema's check, if there is one: a record that does not fit the model refuses the whole batch.
fn read<'a>(run: &RunFacts, part: Part<'_>, records: &'a str) -> Result<Batch<'a>, Fault> {
    let unfit = |faults: Vec<String>| Fault::unfit("invalid_sync_record", "the batch does not fit the model", &faults);
    let Some(mut check) = run.schemas.records(part).map_err(unfit)? else {
        return Ok(Batch::parse(records)?);
    };
    match Batch::parse_seen(records, &mut |index, record| check.see(index, record)) {
        Err(error @ RecordsError::NoArray(_)) => Err(error.into()),
        // The schema says more of a record that has no id than that.
        read => {
            check.end().map_err(unfit)?;
            Ok(read?)
        }
    }
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
