//! `PATCH /records/prune`: empties the payloads of records that the application has read.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::names::{is_function_name, is_model};
use super::query::Query;
use super::records::{BASE_VARIANT, CURSOR_BYTES_MAX, records_error};
use super::target::TargetHeaders;
use crate::records::RecordsError;
use crate::runtime::{RecordsApiError, RecordsOf, Runtime};
use crate::store::StoreError;

const LIMIT_DEFAULT: i64 = 1_000;
const LIMIT_MAX: i64 = 10_000;
/// A few names and a number.
const BODY_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneRecords {
    model: String,
    #[serde(default)]
    variant: Option<String>,
    /// Of a record: it and all that changed before it.
    until_cursor: String,
    /// 1 to 10000, otherwise 1000.
    #[serde(default)]
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct PrunedRecords {
    count: u64,
    /// Whether records up to the same cursor are left.
    has_more: bool,
}

/// Empty the payloads of records. Their ids stay, and changes of them are told.
#[utoipa::path(
    patch, path = "/records/prune", tag = "records", request_body = PruneRecords,
    params(("Provider-Config-Key" = String, Header), ("Connection-Id" = String, Header)),
    responses((status = 200, body = PrunedRecords), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn prune(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::RecordsWrite>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    Query::parse(parts.uri.query()).finish()?;
    let target = TargetHeaders::parse(&parts.headers)?;
    let prune: PruneRecords = parse(&read_json(&parts.headers, body, BODY_BYTES_MAX).await?)?;
    prune.check()?;
    let environment = caller.connection(target.provider_config_key, target.connection_id)?;
    let of = RecordsOf {
        provider_config_key: target.provider_config_key,
        connection_id: target.connection_id,
        model: &prune.model,
        variant: prune.variant.as_deref().unwrap_or(BASE_VARIANT),
    };
    let limit = prune.limit.unwrap_or(LIMIT_DEFAULT);
    let pruned = runtime.prune_records(environment, of, &prune.until_cursor, limit).await;
    let pruned = pruned.map_err(|error| match error {
        RecordsApiError::Records(RecordsError::Store(StoreError::Cursor { .. })) => {
            ApiError::faults("invalid_body", vec![no_cursor()])
        }
        other => records_error(other),
    })?;
    let answer = PrunedRecords {
        count: pruned.count,
        has_more: pruned.has_more,
    };
    Ok(json_response(StatusCode::OK, &answer))
}

impl PruneRecords {
    fn check(&self) -> Result<(), ApiError> {
        let mut faults = Vec::new();
        if !is_model(&self.model) {
            let message = "Invalid input: expected a model name, like GithubIssue";
            faults.push(Fault::new("invalid_format", message, "model"));
        }
        if self
            .variant
            .as_deref()
            .is_some_and(|variant| !is_function_name(variant))
        {
            let message = "Invalid input: expected a variant name";
            faults.push(Fault::new("invalid_format", message, "variant"));
        }
        if !(1..=CURSOR_BYTES_MAX).contains(&self.until_cursor.len()) {
            faults.push(no_cursor());
        }
        if self.limit.is_some_and(|limit| !(1..=LIMIT_MAX).contains(&limit)) {
            let message = format!("Invalid input: expected a number from 1 to {LIMIT_MAX}");
            faults.push(Fault::new("invalid_value", message, "limit"));
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ApiError::faults("invalid_body", faults))
        }
    }
}

fn no_cursor() -> Fault {
    let message = "Invalid input: expected the cursor of a record, as its `_nango_metadata` has it";
    Fault::new("invalid_format", message, "until_cursor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_about_each() {
        let check = |json: &str| serde_json::from_str::<PruneRecords>(json).unwrap().check();
        assert!(check(r#"{"model":"Item","until_cursor":"c","limit":10000,"variant":"eu"}"#).is_ok());
        for wrong in [
            r#"{"model":"item","until_cursor":"c"}"#,
            r#"{"model":"Item","until_cursor":""}"#,
            r#"{"model":"Item","until_cursor":"c","limit":0}"#,
            r#"{"model":"Item","until_cursor":"c","limit":10001}"#,
            r#"{"model":"Item","until_cursor":"c","variant":"a b"}"#,
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
