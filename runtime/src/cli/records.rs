//! `nango-runtime records`: lists records that syncs keep fresh, a page at a time.

use http::Method;
use serde_json::Value;

use super::client::Client;
use super::functions;
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
        .query("cursor", records.cursor.as_ref())
        .query("modified_after", records.modified_after.as_ref())
        .query("filter", records.filter.as_ref())
        .query("variant", records.variant.as_ref());
    for id in &records.ids {
        request = request.query("ids", Some(id));
    }
    let answer = request.answer().await?;
    let none = if list_at(&answer, "/records").is_empty() && !output.json {
        let functions = functions::list(client, Some(records.integration.clone())).await;
        // Not every key may see the functions; it sees that there are no records.
        records.none(functions.ok().as_ref())
    } else {
        String::new()
    };
    output.show(&answer, |answer| table(answer, &none))?;
    output.note_next_page(&answer);
    Ok(())
}

impl Records {
    /// Why there are none, as far as `functions`, those of the integration, tell.
    fn none(&self, functions: Option<&Value>) -> String {
        let (integration, model) = (&self.integration, &self.model);
        if let Some(functions) = functions {
            let syncs = syncs(functions);
            if syncs.is_empty() {
                return format!("No records: no sync is deployed for {integration}");
            }
            if !syncs.iter().any(|(_, models)| models.contains(model)) {
                let syncs = syncs
                    .iter()
                    .map(|(sync, models)| format!("\n  {sync}: {}", models.join(", ")));
                return format!(
                    "No records: no sync deployed for {integration} declares the model {model}. These declare:{}",
                    syncs.collect::<String>()
                );
            }
        }
        let of = match &self.variant {
            Some(variant) => format!("the model {model} in the variant {variant}"),
            None => format!("the model {model}"),
        };
        let is_narrowed =
            self.cursor.is_some() || self.modified_after.is_some() || self.filter.is_some() || !self.ids.is_empty();
        if is_narrowed {
            format!("No records of {of} fit what was asked for")
        } else {
            format!("No records of {of}")
        }
    }
}

/// The syncs among functions, and the models of each.
fn syncs(functions: &Value) -> Vec<(String, Vec<String>)> {
    let functions = list_at(functions, "/data").iter();
    let syncs = functions.filter(|function| text_at(function, "/type") == "sync");
    let models = |sync| list_at(sync, "/returns").iter().filter_map(Value::as_str);
    syncs
        .map(|sync| (text_at(sync, "/name"), models(sync).map(str::to_owned).collect()))
        .collect()
}

fn table(answer: &Value, none: &str) -> String {
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
    output::table(["id", "last change", "at", "record"], &rows, none)
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
        assert_eq!(table(&answer, ""), expected);
    }

    #[test]
    fn why_there_are_none() {
        let asked = |variant: Option<&str>, ids: &[&str]| Records {
            integration: "github".to_owned(),
            model: "Issue".to_owned(),
            connection: "c".to_owned(),
            limit: 100,
            cursor: None,
            modified_after: None,
            filter: None,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            variant: variant.map(str::to_owned),
        };
        let functions = |models: &[&str]| {
            json!({"data": [
                {"name": "whoami", "type": "action", "returns": ["Issue"]},
                {"name": "issues", "type": "sync", "returns": models},
                {"name": "pulls", "type": "sync", "returns": ["Pull", "Review"]},
            ]})
        };
        let plain = asked(None, &[]);
        assert_eq!(
            plain.none(Some(&functions(&["GithubIssue"]))),
            "No records: no sync deployed for github declares the model Issue. These declare:\n  issues: GithubIssue\n  pulls: Pull, Review"
        );
        assert_eq!(
            plain.none(Some(
                &json!({"data": [{"name": "whoami", "type": "action", "returns": ["Issue"]}]})
            )),
            "No records: no sync is deployed for github"
        );
        let known = functions(&["Issue"]);
        assert_eq!(plain.none(Some(&known)), "No records of the model Issue");
        assert_eq!(plain.none(None), "No records of the model Issue");
        assert_eq!(
            asked(Some("eu"), &[]).none(Some(&known)),
            "No records of the model Issue in the variant eu"
        );
        assert_eq!(
            asked(None, &["1"]).none(Some(&known)),
            "No records of the model Issue fit what was asked for"
        );
    }
}
