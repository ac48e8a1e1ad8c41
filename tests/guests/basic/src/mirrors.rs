//! A sync that keeps a copy of a list whose pages move while it reads them.

use nango_guest_sdk::prelude::*;

use crate::syncs::Item;

/// Items on a page.
const PAGE_LEN: u64 = 20;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Offset {
    offset: u64,
}

/// Saves all pages of `/items`, with a checkpoint after each, then deletes what `/deleted` names. An item that moves from a page
/// that is still to come to one that was read is missed, and found by the next run. Each request says of which execution it is.
#[sync(frequency = "every 30 seconds", models(Item), checkpoint = Offset, auto_start = false)]
pub fn mirror(nango: &Nango) -> Result<(), SyncError> {
    let execution: String = nango.random_bytes(8).iter().map(|byte| format!("{byte:02x}")).collect();
    let get = |path: String| nango.get(path).header("x-execution", &execution).retries(2).send();
    let mut offset = nango.checkpoint::<Offset>()?.map_or(0, |position| position.offset);
    loop {
        let page: Vec<Item> = get(format!("/items?offset={offset}&limit={PAGE_LEN}"))?.json()?;
        if page.is_empty() {
            break;
        }
        nango.records().save(&page)?;
        offset += PAGE_LEN;
        nango.save_checkpoint(&Offset { offset })?;
    }
    let gone: Vec<String> = get("/deleted".to_owned())?.json()?;
    nango.records().delete::<Item>(&gone)?;
    nango.clear_checkpoint()?;
    Ok(())
}
