//! Syncs that handle webhooks, driven by what the webhooks hold.

use std::time::Duration;

use nango_guest_sdk::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Thing {
    id: String,
    /// Who saved it last.
    by: String,
    note: Option<String>,
    /// The webhooks that were handled until then.
    count: u64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Handled {
    count: u64,
}

#[derive(Deserialize)]
struct Change {
    id: String,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    fail: bool,
}

/// Fetches one thing.
#[sync(
    frequency = "every day",
    models(Thing),
    checkpoint = Handled,
    webhooks("thing.changed", "thing.made"),
    on_webhook = changed,
    auto_start = false
)]
fn things(nango: &Nango) -> Result<(), SyncError> {
    nango.records().save(&[thing("fetched", "the sync", None, 0)])?;
    nango.save_checkpoint(&Handled { count: 1_000 })?;
    Ok(())
}

fn changed(nango: &Nango, webhook: &Webhook) -> Result<(), SyncError> {
    let change: Change = webhook.json()?;
    nango.sleep(Duration::from_millis(change.wait_ms));
    if change.fail {
        return Err(SyncError::new(json!({"message": "asked to fail"})));
    }
    let count = nango.checkpoint::<Handled>()?.map_or(0, |handled| handled.count) + 1;
    let note = webhook.header("X-Note").map(str::to_owned);
    let by = format!("{} {}", webhook.method(), webhook.events().join(" "));
    nango.records().save(&[thing(&change.id, &by, note, count)])?;
    nango.save_checkpoint(&Handled { count })?;
    Ok(())
}

fn thing(id: &str, by: &str, note: Option<String>, count: u64) -> Thing {
    Thing {
        id: id.to_owned(),
        by: by.to_owned(),
        note,
        count,
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Event {
    id: String,
}

/// Hears of everything.
#[sync(frequency = "every day", models(Event), webhooks("*"), on_webhook = heard, auto_start = false)]
fn events(_nango: &Nango) -> Result<(), SyncError> {
    Ok(())
}

fn heard(nango: &Nango, webhook: &Webhook) -> Result<(), SyncError> {
    let id = webhook.events().join(" ");
    nango.records().save(&[Event { id }])?;
    Ok(())
}

/// Where webhooks go.
#[action]
fn address(nango: &Nango) -> Result<Option<String>, ActionError> {
    Ok(nango.webhook_url()?)
}

nango_guest_sdk::functions!(things, events, address);
