//! What is active while [`risky`](../../risky/src/lib.rs) is tried.

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "the other version goes by it")]
struct Work {
    fail: Option<bool>,
}

/// Says who it is.
#[action]
fn work(_nango: &Nango, _input: Work) -> Result<String, ActionError> {
    Ok("steady".to_owned())
}

#[derive(Serialize, JsonSchema)]
struct Item {
    id: String,
    from: String,
}

/// Saves one record that says who it is.
#[sync(frequency = "every hour", models(Item), auto_start = false)]
fn feed(nango: &Nango) -> Result<(), SyncError> {
    nango.records().save(&[Item {
        id: "1".to_owned(),
        from: "steady".to_owned(),
    }])?;
    Ok(())
}

nango_guest_sdk::functions!(work, feed);
