//! The interface `connection-details`: whose the connection is. People's names are in it, so that it is not part of `connection`, which
//! every function may read.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::bindings::nango::functions::connection_details::Host;
use super::connection::target;
use super::fault::Fault;
use super::state::{GuestState, Services};
use crate::model::Connection;

const GET: &str = "connection-details.get";

impl Host for GuestState {
    async fn get(&mut self) -> Result<String, Fault> {
        let run = self.run(GET)?;
        let live = async |services: &Services| {
            let target = target(services, run.ctx()).await?;
            Ok(details(&target.connection).to_string())
        };
        run.reach.ask(GET, || Value::Null, live, |_, found| found).await
    }
}

fn details(connection: &Connection) -> Value {
    json!({
        "tags": connection.tags,
        "end_user": connection.end_user,
        "created_at": moment(connection.created_at_ms),
        "updated_at": moment(connection.updated_at_ms),
    })
}

/// `2026-11-22T11:16:49.746Z`
pub(super) fn moment(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::super::super::connections::tests::target;
    use super::*;

    #[test]
    fn they_are_whose_it_is() {
        let mut connection = Connection::clone(&target("crm", "c").connection);
        connection.created_at_ms = 1_795_346_209_746;
        connection.tags.insert("plan".to_owned(), "pro".to_owned());
        let shown = details(&connection);
        assert_eq!(shown["tags"], json!({"plan": "pro"}));
        assert_eq!(
            (&shown["end_user"], &shown["created_at"]),
            (&Value::Null, &json!("2026-11-22T11:16:49.746Z"))
        );
    }
}
