//! Syncs that save what the connection's metadata asks for.

use nango_guest_sdk::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Item {
    id: String,
    value: u64,
}

#[derive(Deserialize, JsonSchema)]
pub struct Settings {
    /// Records on a page.
    #[serde(default)]
    records: u64,
    #[serde(default)]
    pages: u64,
    /// The value of every record.
    #[serde(default)]
    value: u64,
    /// The page before which the run fails.
    fail_at: Option<u64>,
    /// Ids to delete at the end.
    #[serde(default)]
    delete: Vec<String>,
    /// Where `pages` starts.
    path: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Position {
    page: u64,
}

/// Saves pages of records, with a checkpoint after each.
#[sync(frequency = "every hour", models(Item), checkpoint = Position, metadata = Settings, auto_start = false)]
pub fn items(nango: &Nango) -> Result<(), SyncError> {
    let settings: Settings = nango.connection().metadata()?;
    let start = nango.checkpoint::<Position>()?.map_or(0, |position| position.page);
    for page in start..settings.pages {
        if settings.fail_at == Some(page) {
            return Err(SyncError::new(json!({"message": "asked to fail", "page": page})));
        }
        let first = page * settings.records;
        let records: Vec<Item> = (first..first + settings.records)
            .map(|id| Item {
                id: id.to_string(),
                value: settings.value,
            })
            .collect();
        let counts = nango.records().save(&records)?;
        nango.info(format!(
            "page {page}: {} added, {} updated",
            counts.added, counts.updated
        ));
        nango.save_checkpoint(&Position { page: page + 1 })?;
    }
    if !settings.delete.is_empty() {
        nango.records().delete::<Item>(&settings.delete)?;
    }
    nango.clear_checkpoint()?;
    Ok(())
}

/// The same, slowly, and ends early when it is told to.
#[sync(frequency = "every hour", models(Item), checkpoint = Position, metadata = Settings, auto_start = false)]
pub fn patient_items(nango: &Nango) -> Result<(), SyncError> {
    let settings: Settings = nango.connection().metadata()?;
    let start = nango.checkpoint::<Position>()?.map_or(0, |position| position.page);
    for page in start..settings.pages {
        if nango.should_stop() {
            return Ok(());
        }
        nango.sleep(std::time::Duration::from_millis(30));
        let item = Item {
            id: page.to_string(),
            value: settings.value,
        };
        nango.records().save(&[item])?;
        nango.save_checkpoint(&Position { page: page + 1 })?;
    }
    nango.clear_checkpoint()?;
    Ok(())
}

/// Saves the records of an upstream's pages: arrays of items, joined by `Link`.
#[sync(frequency = "every hour", models(Item), metadata = Settings, auto_start = false)]
pub fn pages(nango: &Nango) -> Result<(), SyncError> {
    let settings: Settings = nango.connection().metadata()?;
    let mut next = settings.path;
    while let Some(path) = next {
        let answer = nango.get(path).retries(2).send()?;
        nango.records().save(&answer.json::<Vec<Item>>()?)?;
        next = answer.next_link();
    }
    Ok(())
}

#[derive(Serialize, JsonSchema)]
struct Nameless {
    value: u64,
}

/// Saves a record without id.
#[sync(frequency = "every hour", models(Nameless), auto_start = false)]
pub fn bad_record(nango: &Nango) -> Result<(), SyncError> {
    nango.records().save(&[Nameless { value: 1 }])?;
    Ok(())
}
