//! A later version of the functions of [`steady`](../../steady/src/lib.rs), which fails when it is told to.

use nango_guest_sdk::prelude::*;

#[derive(Deserialize, JsonSchema)]
struct Work {
    fail: Option<bool>,
}

/// Says who it is, or fails.
#[action]
fn work(_nango: &Nango, input: Work) -> Result<String, ActionError> {
    if input.fail == Some(true) {
        return Err(ActionError::new("this version is not good"));
    }
    Ok("risky".to_owned())
}

#[derive(Serialize, JsonSchema)]
struct Item {
    id: String,
    from: String,
}

/// Saves one record that says who it is, and more often.
#[sync(frequency = "every 30 minutes", models(Item), auto_start = false)]
fn feed(nango: &Nango) -> Result<(), SyncError> {
    nango.records().save(&[Item {
        id: "1".to_owned(),
        from: "risky".to_owned(),
    }])?;
    Ok(())
}

nango_guest_sdk::functions!(work, feed);
