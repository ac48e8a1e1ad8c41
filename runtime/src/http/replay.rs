//! `POST /runs/{run_id}/replay`: runs a recorded run again, offline.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, read, require_media_type};
use super::deployments::signature;
use super::dry_run::RunReport;
use super::error::{ApiError, ErrorEnvelope};
use super::query::{PathParams, Query};
use crate::model::Scope;
use crate::recording::Comparison;
use crate::runtime::Runtime;

/// A recorded run, the same run again, and what sets them apart.
#[derive(Serialize, ToSchema)]
pub struct ReplayReport {
    run_id: String,
    integration: String,
    connection_id: String,
    function: String,
    /// SHA-256 of the component that ran then.
    digest_before: String,
    /// SHA-256 of the component that ran now.
    digest_after: String,
    #[schema(value_type = Object)]
    comparison: Comparison,
    /// What the function asked for and the recording has no answer to. The first of it ended the run.
    not_recorded: Vec<String>,
    before: RunReport,
    after: RunReport,
}

/// Run a recorded run again, against what was recorded.
///
/// Nothing is requested and nothing is written. With a component as the body that one runs in the place of the one that ran then, which
/// needs the scope to deploy, too.
#[utoipa::path(
    post, path = "/runs/{run_id}/replay", tag = "functions",
    params(
        ("run_id" = String, Path),
        ("Nango-Component-Signature" = Option<String>, Header, description = "Ed25519 over the body, in base64"),
    ),
    request_body(content = Option<Vec<u8>>, content_type = "application/wasm"),
    responses((status = 200, body = ReplayReport), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn replay(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::RunsReplay>,
    PathParams(run_id): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    Query::parse(parts.uri.query()).finish()?;
    let component: Option<Arc<[u8]>> = if http_body::Body::is_end_stream(&body) {
        None
    } else {
        require_media_type(&parts.headers, &["application/wasm", "application/octet-stream"])?;
        caller.require(Scope::Deploy)?;
        let component = read(body, runtime.config().limits.component_bytes).await?;
        Some(component.as_ref().into())
    };
    let signature = signature(&parts.headers)?;
    let environment = caller.environment_of_runs();
    let recording = runtime.recording(environment, &run_id).await?;
    let subject = &recording.subject;
    caller.connection(&subject.provider_config_key, &subject.connection_id)?;
    let replay = runtime.replay(recording, component, signature.as_deref()).await?;
    let (before, after) = (&replay.before, &replay.after);
    let subject = &before.subject;
    let report = ReplayReport {
        run_id,
        integration: subject.provider_config_key.clone(),
        connection_id: subject.connection_id.clone(),
        function: subject.function.clone(),
        digest_before: subject.digest.clone(),
        digest_after: after.subject.digest.clone(),
        before: before.into(),
        after: after.into(),
        comparison: replay.comparison,
        not_recorded: replay.misses,
    };
    Ok(json_response(StatusCode::OK, &report))
}
