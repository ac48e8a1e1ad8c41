//! {{name}}: one sync, to begin with.

use nango_guest_sdk::prelude::*;

/// What is kept fresh.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Item {
    id: String,
    name: String,
}

/// Where a run that was cut short goes on.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Position {
    /// The next page.
    next: String,
}

/// Keeps the items fresh.
#[sync(frequency = "every hour", models(Item), checkpoint = Position)]
fn {{ident}}(nango: &Nango) -> Result<(), SyncError> {
    let position = nango.checkpoint::<Position>()?;
    let next = position.map_or_else(String::new, |position| position.next);
    // The host adds the connection's credentials to each request, and asks again when the provider fails for a moment.
    let pages = nango
        .paginate(nango.get("/items").retries(3))
        .link_rel("next")
        .limit(100, "per_page")
        .starting_at(next);
    for page in pages {
        let page = page?;
        let items: Vec<Item> = page.items()?;
        nango.records().save(&items)?;
        nango.info(format!("{} items", items.len()));
        if let Some(next) = page.next_page() {
            nango.save_checkpoint(&Position { next: next.to_owned() })?;
        }
    }
    nango.clear_checkpoint()?;
    Ok(())
}

nango_guest_sdk::functions!({{ident}});
