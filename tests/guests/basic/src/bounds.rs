//! Functions that declare bounds which they do not keep when they are asked not to.

use nango_guest_sdk::prelude::*;

#[derive(Serialize, JsonSchema)]
pub struct Bounded {
    #[schemars(range(max = 10))]
    n: u64,
}

/// Gives its input, which may be more than it says.
#[action]
pub fn bounded_output(_nango: &Nango, input: u64) -> Result<Bounded, ActionError> {
    Ok(Bounded { n: input })
}

#[derive(Serialize, JsonSchema)]
struct Small {
    id: String,
    #[schemars(range(max = 10))]
    n: u64,
    name: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Page {
    #[schemars(range(max = 10))]
    page: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Wish {
    #[schemars(range(max = 1000))]
    #[serde(default)]
    save: u64,
    #[serde(default)]
    update: u64,
    #[serde(default)]
    page: u64,
}

/// Saves two records, merges a number into the first, and saves a checkpoint, all as the metadata says.
#[sync(frequency = "every hour", models(Small), checkpoint = Page, metadata = Wish, auto_start = false)]
pub fn bounded_records(nango: &Nango) -> Result<(), SyncError> {
    let wish: Wish = nango.connection().metadata()?;
    let small = |id: &str, n: u64| Small {
        id: id.to_owned(),
        n,
        name: format!("record {id}"),
    };
    nango.records().save(&[small("a", 1), small("b", wish.save)])?;
    nango.records().update::<Small>(&[json!({"id": "a", "n": wish.update})])?;
    nango.save_checkpoint(&Page { page: wish.page })?;
    Ok(())
}
