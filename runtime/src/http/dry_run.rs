//! `POST /integrations/{unique_key}/functions/{name}/dry-run`: runs a function for a connection without writing what it writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded;
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::deployments::{allowed, base64};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::query::PathParams;
use crate::ingress::Incoming;
use crate::model::{JsonObject, RunError, Scope};
use crate::recording::{Effects, Fixture, Recording};
use crate::runtime::{BASE_VARIANT, DryWebhook, NewDryRun, Runtime};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRun<'a> {
    connection_id: String,
    /// What the function takes; `null` when absent.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    input: Option<&'a RawValue>,
    /// A webhook that a sync handles, in the place of `input`.
    #[serde(default)]
    webhook: Option<DryRunWebhook>,
    /// In the place of the connection's metadata.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<JsonObject>,
    /// In the place of the saved checkpoint.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    checkpoint: Option<JsonObject>,
    /// Of a sync; `base` when absent.
    #[serde(default)]
    variant: Option<String>,
    /// A component that is not deployed, in base64, to run in the place of the deployed one. Needs the scope to deploy, too.
    #[serde(default)]
    component: Option<String>,
    /// Ed25519 over its bytes, in base64, as in a deploy.
    #[serde(default)]
    signature: Option<String>,
    /// What that component may be given, `token` and `fetch`, as in a deploy.
    #[serde(default)]
    allow: Vec<String>,
}

/// A provider's webhook as it would come; nobody checks its signature.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DryRunWebhook {
    /// `POST` when absent.
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Text as it is; anything else as JSON.
    #[serde(default)]
    #[schema(value_type = Object)]
    body: Value,
    /// The events it brings; as the provider's data says when absent.
    #[serde(default)]
    events: Vec<String>,
}

impl DryRunWebhook {
    fn into_webhook(self) -> Result<DryWebhook, ApiError> {
        let wrong = |message: String| {
            let fault = Fault::new("invalid_format", message, "webhook");
            ApiError::faults("invalid_body", vec![fault])
        };
        let method = self.method.as_deref().unwrap_or("POST");
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| wrong(format!("{method:?} is no method")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
            let (Ok(header), Ok(value)) = parsed else {
                return Err(wrong(format!("the header {name:?} is none")));
            };
            headers.append(header, value);
        }
        let body = match self.body {
            Value::Null => String::new(),
            Value::String(text) => text,
            json => {
                let json_type = HeaderValue::from_static("application/json");
                headers.entry(header::CONTENT_TYPE).or_insert(json_type);
                json.to_string()
            }
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        let query = query.finish();
        Ok(DryWebhook {
            incoming: Incoming {
                method,
                path: String::new(),
                query: (!query.is_empty()).then_some(query),
                headers,
                body: body.into(),
            },
            events: self.events,
        })
    }
}

/// What a run did and would have done, without secrets.
#[derive(Serialize, ToSchema)]
pub struct RunReport {
    /// Whether it ended well.
    success: bool,
    /// What the function gave.
    #[schema(value_type = Option<Object>)]
    output: Value,
    /// How it failed.
    #[schema(value_type = Option<Object>)]
    error: Option<RunError>,
    duration_us: i64,
    /// False when it asked for more than is told here.
    complete: bool,
    /// Records by model, checkpoint, metadata, log lines, requests.
    #[schema(value_type = Object)]
    effects: Effects,
    /// The text of a `*.test.json` file, a test fixture that plays this run and expects what it did.
    fixture: String,
}

impl From<&Recording> for RunReport {
    fn from(recording: &Recording) -> Self {
        let output = recording.output.as_deref().ok();
        Self {
            success: recording.output.is_ok(),
            output: output
                .and_then(|json| serde_json::from_str(json).ok())
                .unwrap_or_default(),
            error: recording.output.as_ref().err().cloned(),
            duration_us: recording.duration_us,
            complete: recording.complete,
            effects: Effects::of(recording),
            fixture: Fixture::of(recording).to_text(),
        }
    }
}

/// Run a function against the provider without writing records, checkpoint and metadata.
///
/// Requests are for real, those that change something at the provider included. A run that fails is no error of this call: the answer
/// says how it failed.
#[utoipa::path(
    post, path = "/integrations/{unique_key}/functions/{name}/dry-run", tag = "functions",
    params(("unique_key" = String, Path), ("name" = String, Path)), request_body = DryRun<'_>,
    responses((status = 200, body = RunReport), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn run(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::FunctionsDryRun>,
    PathParams((unique_key, name)): PathParams<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let limits = &runtime.config().limits;
    // Base64 takes four bytes for three.
    let bytes_max = limits
        .request_body_bytes
        .saturating_add(limits.component_bytes.saturating_mul(4) / 3);
    let body = read_json(&parts.headers, body, bytes_max).await?;
    let dry: DryRun<'_> = parse(&body)?;
    let environment = caller.connection(&unique_key, &dry.connection_id)?.clone();
    let component: Option<Arc<[u8]>> = match &dry.component {
        Some(text) => {
            caller.require(Scope::Deploy)?;
            Some(base64(text, "component")?.into())
        }
        None => None,
    };
    let signature = dry.signature.as_deref().map(|text| base64(text, "signature"));
    let signature = signature.transpose()?;
    let webhook = dry.webhook.map(DryRunWebhook::into_webhook).transpose()?;
    let recording = runtime
        .dry_run(
            &environment,
            NewDryRun {
                provider_config_key: unique_key,
                connection_id: dry.connection_id,
                function: name,
                variant: dry.variant.unwrap_or_else(|| BASE_VARIANT.to_owned()),
                input: dry.input.map_or("null", RawValue::get).to_owned(),
                webhook,
                metadata: dry.metadata,
                checkpoint: dry.checkpoint,
                component,
                signature,
                allow: allowed(dry.allow.iter().map(String::as_str))?,
            },
        )
        .await?;
    Ok(json_response(StatusCode::OK, &RunReport::from(&recording)))
}
