//! Functions over the API of an npm registry.

use std::collections::BTreeMap;

use nango_guest_sdk::prelude::*;

/// Packages asked for at once.
const PAGE_LEN: u32 = 20;

/// A package of the registry.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Package {
    /// The package's name.
    id: String,
    version: String,
    description: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Wanted {
    name: String,
}

#[derive(Deserialize)]
struct Document {
    name: String,
    description: Option<String>,
    #[serde(rename = "dist-tags")]
    tags: BTreeMap<String, String>,
}

/// Gives a package in its latest version.
#[action]
fn package(nango: &Nango, input: Wanted) -> Result<Package, ActionError> {
    // The slash of a scoped name is a part of the name.
    let path = format!("/{}", input.name.replace('/', "%2f"));
    let mut found: Document = nango.get(path).header("accept", "application/json").send()?.json()?;
    let version = found
        .tags
        .remove("latest")
        .ok_or_else(|| ActionError::new("the package has no latest version"))?;
    Ok(Package {
        id: found.name,
        version,
        description: found.description,
    })
}

#[derive(Deserialize)]
struct Found {
    package: Summary,
}

#[derive(Deserialize)]
struct Summary {
    name: String,
    description: Option<String>,
    /// A registry need not give `version` here, but its tags.
    #[serde(rename = "dist-tags")]
    tags: BTreeMap<String, String>,
}

/// The package in its latest version; none while it has no published one.
fn latest(mut summary: Summary) -> Option<Package> {
    let version = summary.tags.remove("latest")?;
    Some(Package {
        id: summary.name,
        version,
        description: summary.description,
    })
}

#[derive(Default, Deserialize, JsonSchema)]
struct Settings {
    /// What to search for; everything by default.
    #[serde(default)]
    text: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Position {
    from: u64,
}

/// Keeps the packages of the registry fresh.
#[sync(frequency = "every day", models(Package), checkpoint = Position, metadata = Settings, auto_start = false)]
fn packages(nango: &Nango) -> Result<(), SyncError> {
    let Settings { text } = nango.connection().metadata()?;
    let from = nango.checkpoint::<Position>()?.map_or(0, |position| position.from);
    let search = nango.get("/-/v1/search").query("text", &text).retries(2);
    let pages = nango
        .paginate(search)
        .offset("from")
        .offset_start(from)
        .limit(PAGE_LEN, "size")
        .response_path("objects");
    for page in pages {
        let page = page?;
        let found: Vec<Found> = page.items()?;
        let packages: Vec<Package> = found.into_iter().filter_map(|found| latest(found.package)).collect();
        nango.records().save(&packages)?;
        if let Some(from) = page.next_page() {
            nango.save_checkpoint(&Position { from: from.parse()? })?;
        }
    }
    nango.clear_checkpoint()?;
    Ok(())
}

nango_guest_sdk::functions!(package, packages);
