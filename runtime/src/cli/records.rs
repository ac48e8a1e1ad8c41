//! `nango-runtime records`: lists records that syncs keep fresh, a page at a time.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::output::{self, Output, list_at, text_at};

#[derive(Debug, clap::Args)]
pub struct Records {
    integration: String,
    /// The model, as the sync names it
    model: String,
    /// Of which connection
    #[arg(long, value_name = "ID")]
    connection: String,
    /// Records a page
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Where to read on: the next_cursor of an earlier page, or the cursor of a record
    #[arg(long)]
    cursor: Option<String>,
    /// Only changes since this time, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    modified_after: Option<String>,
    /// Only these changes, comma-separated: added, updated, deleted
    #[arg(long, value_name = "ACTIONS")]
    filter: Option<String>,
    /// Only these records, comma-separated ids
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    ids: Vec<String>,
    #[arg(long)]
    variant: Option<String>,
}

pub async fn run(records: Records, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut request = client
        .request(Method::GET, &["records"])
        .target(&records.integration, &records.connection)?
        .query("model", Some(&records.model))
        .query("limit", Some(records.limit))
        .query("cursor", records.cursor)
        .query("modified_after", records.modified_after)
        .query("filter", records.filter)
        .query("variant", records.variant);
    for id in records.ids {
        request = request.query("ids", Some(id));
    }
    let answer = request.answer().await?;
    output.show(&answer, |answer| table(answer, &records.model))?;
    output.note_next_page(&answer);
    Ok(())
}

fn table(answer: &Value, model: &str) -> String {
    let row = |record: &Value| {
        let mut data = record.clone();
        if let Some(fields) = data.as_object_mut() {
            fields.remove("_nango_metadata");
        }
        let [action, modified] =
            ["/_nango_metadata/last_action", "/_nango_metadata/last_modified_at"].map(|at| text_at(record, at));
        let is_pruned = !text_at(record, "/_nango_metadata/pruned_at").is_empty();
        let action = if is_pruned { action + ", pruned" } else { action };
        [text_at(record, "/id"), action, modified, data.to_string()]
    };
    let rows: Vec<[String; 4]> = list_at(answer, "/records").iter().map(row).collect();
    output::table(
        ["id", "last change", "at", "record"],
        &rows,
        &format!("No records of the model {model}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_shown_without_their_metadata() {
        let answer = json!({"records": [{
            "id": "1", "title": "x",
            "_nango_metadata": {"last_action": "ADDED", "last_modified_at": "2026-01-01T00:00:00.000000+00:00"},
        }, {
            "id": "2",
            "_nango_metadata": {
                "last_action": "UPDATED", "last_modified_at": "2026-01-01T00:00:00.000001+00:00",
                "pruned_at": "2026-01-02T00:00:00.000000+00:00",
            },
        }]});
        let expected = "\
ID  LAST CHANGE      AT                                RECORD
1   ADDED            2026-01-01T00:00:00.000000+00:00  {\"id\":\"1\",\"title\":\"x\"}
2   UPDATED, pruned  2026-01-01T00:00:00.000001+00:00  {\"id\":\"2\"}
";
        assert_eq!(table(&answer, "Issue"), expected);
    }
}
