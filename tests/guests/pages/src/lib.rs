//! The sync of the bench: a long list in pages, each record read, typed and saved as an author would write it.

use nango_guest_sdk::prelude::*;

/// Records of some 500 bytes as JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Contact {
    id: String,
    name: String,
    email: String,
    phone: String,
    company: String,
    /// Cents.
    balance: i64,
    score: f64,
    active: bool,
    tags: Vec<String>,
    address: Address,
    notes: String,
    updated_at: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Address {
    street: String,
    city: String,
    country: String,
}

/// Keeps all contacts fresh.
#[sync(frequency = "every day", models(Contact), auto_start = false)]
fn contacts(nango: &Nango) -> Result<(), SyncError> {
    for page in nango.paginate(nango.get("/contacts?page=0")).link_rel("next") {
        let contacts: Vec<Contact> = page?.items()?;
        nango.records().save(&contacts)?;
    }
    Ok(())
}

nango_guest_sdk::functions!(contacts);
