//! Syncs that read everything there is, and those that share a model with others.

use nango_guest_sdk::MergingStrategy;
use nango_guest_sdk::prelude::*;

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Thing {
    id: String,
    value: u64,
}

#[derive(Deserialize, JsonSchema)]
pub struct Listing {
    /// What the provider has.
    things: Vec<String>,
    #[serde(default)]
    value: u64,
    /// The page before which the run fails; a page is of two.
    fail_at_page: Option<u64>,
    #[serde(default)]
    fail_after_end: bool,
    /// Whether the strategy is set after the first write.
    #[serde(default)]
    too_late: bool,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub struct Place {
    page: u64,
}

impl Listing {
    fn pages(&self) -> Vec<Vec<Thing>> {
        let thing = |id: &String| Thing {
            id: id.clone(),
            value: self.value,
        };
        self.things
            .chunks(2)
            .map(|page| page.iter().map(thing).collect())
            .collect()
    }
}

/// Reads all things, from the checkpoint on, and deletes those that are gone.
#[sync(frequency = "every hour", models(Thing), checkpoint = Place, metadata = Listing, auto_start = false)]
pub fn all_things(nango: &Nango) -> Result<(), SyncError> {
    let listing: Listing = nango.connection().metadata()?;
    nango.records().track_deletes_start::<Thing>()?;
    let start = nango.checkpoint::<Place>()?.map_or(0, |place| place.page);
    for (page, things) in (0..).zip(listing.pages()).filter(|(page, _)| *page >= start) {
        if listing.fail_at_page == Some(page) {
            return Err(SyncError::new(json!({"message": "asked to fail", "page": page})));
        }
        nango.records().save(&things)?;
        nango.save_checkpoint(&Place { page: page + 1 })?;
    }
    let counts = nango.records().track_deletes_end::<Thing>()?;
    nango.info(format!("{} gone", counts.deleted));
    if listing.fail_after_end {
        return Err(SyncError::new(json!({"message": "asked to fail after the end"})));
    }
    if let Err(error) = nango.records().track_deletes_end::<Thing>() {
        nango.info(format!("ended twice: {error}"));
    }
    Ok(())
}

/// Saves what it thinks things are after `/go` has answered with 200; leaves alone what others changed meanwhile.
#[sync(frequency = "every hour", models(Thing), metadata = Listing, auto_start = false)]
pub fn slow_things(nango: &Nango) -> Result<(), SyncError> {
    let listing: Listing = nango.connection().metadata()?;
    let records = nango.records();
    if listing.too_late {
        records.save(&[Thing {
            id: "early".to_owned(),
            value: 0,
        }])?;
    }
    records.set_merging_strategy::<Thing>(MergingStrategy::IgnoreIfModifiedAfter)?;
    records.set_merging_strategy::<Thing>(MergingStrategy::Override)?;
    while nango.get("/go").send()?.status() != 200 {
        nango.sleep(std::time::Duration::from_millis(20));
    }
    for page in listing.pages() {
        records.save(&page)?;
    }
    let listed: Result<Vec<_>, _> = records.list::<Thing>().collect();
    let listed = listed?.into_iter().map(|stored| {
        let value = stored.record.map_or(0, |thing| thing.value);
        format!("{}={value}", stored.id)
    });
    nango.info(listed.collect::<Vec<_>>().join(" "));
    Ok(())
}
