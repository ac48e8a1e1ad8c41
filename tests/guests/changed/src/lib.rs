//! A later version of some functions of `basic`, which do something else: what a replay has to show.

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Fetch {
    path: String,
}

/// Asks for something more.
#[action]
fn fetch(nango: &Nango, input: Fetch) -> Result<u16, ActionError> {
    let first = nango.get(&input.path).send_any()?;
    nango.get(format!("{}/more", input.path)).send_any()?;
    Ok(first.status())
}

#[derive(Serialize, JsonSchema)]
struct Item {
    id: String,
    value: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Settings {
    records: u64,
    value: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Position {
    page: u64,
}

/// Saves the records of one page with a greater value.
#[sync(frequency = "every hour", models(Item), checkpoint = Position, metadata = Settings, auto_start = false)]
fn items(nango: &Nango) -> Result<(), SyncError> {
    let settings: Settings = nango.connection().metadata()?;
    nango.checkpoint::<Position>()?;
    let records: Vec<Item> = (0..settings.records)
        .map(|id| Item {
            id: id.to_string(),
            value: settings.value + 1,
        })
        .collect();
    nango.records().save(&records)?;
    nango.save_checkpoint(&Position { page: 1 })?;
    nango.clear_checkpoint()?;
    Ok(())
}

nango_guest_sdk::functions!(fetch, items);
