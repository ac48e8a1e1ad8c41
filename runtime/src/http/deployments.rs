//! Deploying components: one to an integration, or several to several at once; and what that would change.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::auth::{Key, need};
use crate::http::body::{json_response, parse, read, read_json, require_media_type};
use crate::http::error::{ApiError, ErrorEnvelope};
use crate::http::fault::Fault;
use crate::http::functions::CanaryShareItem;
use crate::http::query::{PathParams, Query};
use crate::http::timestamp::ms_utc;
use crate::runtime::{
    Allow, CanaryOptions, Consent, DeployError, Deployed, IntegrationPlan, NewComponent, Plan, Runtime, sentences,
};

/// Where the signature of a component travels: Ed25519, in base64.
pub const SIGNATURE_HEADER: &str = "nango-component-signature";
/// Base64 makes four bytes of three; the rest is for names.
const BUNDLE_ROOM_BYTES: usize = 64 * 1024;

/// What a deploy did with one component.
#[derive(Serialize, ToSchema)]
pub struct Deployment {
    /// SHA-256 of the component.
    digest: String,
    functions: Vec<DeployedFunction>,
    /// How many of them got a new version; the others are active already.
    changed: usize,
    /// The interfaces the component imports.
    imports: Vec<String>,
    /// All it can do.
    #[schema(value_type = Vec<String>)]
    capabilities: Vec<String>,
    /// The same in words.
    manifest: Vec<String>,
    integration: String,
}

#[derive(Serialize, ToSchema)]
pub struct DeployedFunction {
    name: String,
    /// action or sync
    r#type: &'static str,
    /// The active one.
    version: i64,
    /// What some connections try in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanaryShareItem>,
    deployed_at: String,
}

/// What a deploy would change.
#[derive(Serialize, ToSchema)]
pub struct PlanAnswer {
    integrations: Vec<PlannedIntegration>,
    /// How what is updated would be tried first; absent when all connections would run it at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<PlannedCanary>,
}

#[derive(Serialize, ToSchema)]
pub struct PlannedCanary {
    /// Of the connections of each integration would run it.
    percent: i64,
    /// Of a function's runs may fail.
    errors_percent: i64,
    /// After how long it would be active for all.
    minutes: i64,
}

#[derive(Serialize, ToSchema)]
pub struct PlannedIntegration {
    integration: String,
    functions: Vec<PlannedFunction>,
    /// All that the components can do.
    capabilities: Vec<String>,
    /// The same in words.
    manifest: Vec<String>,
    /// What functions that are there would be able to do and are not now, and what has to be given of what new ones can do: a deploy
    /// must `allow` it.
    gained: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub struct PlannedFunction {
    name: String,
    /// action or sync
    r#type: &'static str,
    /// create, update, keep or remove
    change: &'static str,
    differences: Vec<String>,
    /// What would be lost: a deploy must say `allow_destructive`.
    losses: Vec<String>,
}

/// Deploy a component: each of its functions gets a new version, which becomes the active one. A bad component changes nothing.
#[utoipa::path(
    post, path = "/integrations/{unique_key}/functions", tag = "functions",
    params(
        ("unique_key" = String, Path),
        ("plan" = Option<bool>, Query, description = "Change nothing, and answer 200 with what would change"),
        ("allow" = Option<String>, Query, description = "Capabilities that functions may gain, with commas between; or all. New functions need it for token and fetch"),
        ("allow_destructive" = Option<bool>, Query, description = "Whether something may be lost"),
        ("prune" = Option<bool>, Query, description = "Whether the integration's functions that the component has not are removed"),
        ("canary" = Option<i64>, Query, description = "Only so many percent of the connections run it at first, 1 to 99"),
        ("canary_errors" = Option<i64>, Query, description = "Percent of a function's runs that may fail then, 0 to 99, otherwise 10"),
        ("canary_minutes" = Option<i64>, Query, description = "After how long it is active for all, 1 to 10080, otherwise 60"),
        ("Nango-Component-Signature" = Option<String>, Header, description = "Ed25519 over the body, in base64"),
    ),
    request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 201, body = Deployment), (status = 200, body = PlanAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn deploy(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Deploy>,
    PathParams(unique_key): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let environment = caller.whole_integration(&unique_key)?;
    let (parts, body) = request.into_parts();
    let mut query = Query::parse(parts.uri.query());
    let plan_only = query.boolean("plan");
    let allow = query.optional("allow").unwrap_or_default();
    let consent = Consent {
        allow: allowed(allow.split(','))?,
        destructive: query.boolean("allow_destructive"),
        prune: query.boolean("prune"),
        canary: {
            let mut number = |name| number(&mut query, name);
            canary(number("canary"), number("canary_errors"), number("canary_minutes"))?
        },
    };
    query.finish()?;
    require_media_type(&parts.headers, &["application/wasm", "application/octet-stream"])?;
    let signature = signature(&parts.headers)?;
    let component = read(body, runtime.config().limits.component_bytes).await?;
    let components = [NewComponent {
        provider_config_key: &unique_key,
        name: None,
        bytes: &component,
        signature: signature.as_deref(),
    }];
    if plan_only {
        let plan = runtime.plan_deploy(environment, &components, &consent).await?;
        return Ok(json_response(StatusCode::OK, &PlanAnswer::from(plan)));
    }
    let deployed = runtime.deploy(environment, &components, &consent).await?;
    let deployment = deployed.into_iter().next().map(Deployment::from);
    Ok(json_response(StatusCode::CREATED, &deployment))
}

/// Components for several integrations.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    components: Vec<BundledComponent>,
    /// Capabilities that functions may gain; `all` for every one.
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    allow_destructive: bool,
    #[serde(default)]
    prune: bool,
    /// Only so many percent of the connections run it at first, 1 to 99.
    #[serde(default)]
    canary: Option<i64>,
    /// Percent of a function's runs that may fail then, 0 to 99, otherwise 10.
    #[serde(default)]
    canary_errors: Option<i64>,
    /// After how many minutes it is active for all, 1 to 10080, otherwise 60.
    #[serde(default)]
    canary_minutes: Option<i64>,
    /// Change nothing, and answer 200 with what would change.
    #[serde(default)]
    plan: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BundledComponent {
    integration: String,
    /// What messages call it, such as its file.
    #[serde(default)]
    name: Option<String>,
    /// The bytes, in base64.
    component: String,
    /// Ed25519 over the bytes, in base64.
    #[serde(default)]
    signature: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Deployments {
    deployments: Vec<Deployment>,
}

/// Deploy several components at once: all of them or, when one is refused, none.
#[utoipa::path(
    post, path = "/deployments", tag = "functions", request_body = Bundle,
    responses((status = 201, body = Deployments), (status = 200, body = PlanAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn deploy_several(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Deploy>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    Query::parse(parts.uri.query()).finish()?;
    let component_bytes_max = runtime.config().limits.component_bytes;
    let body_bytes_max = component_bytes_max / 3 * 4 + BUNDLE_ROOM_BYTES;
    let bundle: Bundle = parse(&read_json(&parts.headers, body, body_bytes_max).await?)?;
    let mut bytes = Vec::with_capacity(bundle.components.len());
    let mut environment = None;
    for (index, component) in bundle.components.iter().enumerate() {
        environment = Some(caller.whole_integration(&component.integration)?);
        let signature = match &component.signature {
            Some(signature) => Some(base64(signature, &format!("components.{index}.signature"))?),
            None => None,
        };
        bytes.push((
            base64(&component.component, &format!("components.{index}.component"))?,
            signature,
        ));
    }
    let Some(environment) = environment else {
        let fault = Fault::new(
            "too_small",
            "Invalid input: expected at least one component",
            "components",
        );
        return Err(ApiError::faults("invalid_body", vec![fault]));
    };
    let components: Vec<NewComponent<'_>> = bundle
        .components
        .iter()
        .zip(&bytes)
        .map(|(component, (bytes, signature))| NewComponent {
            provider_config_key: &component.integration,
            name: component.name.as_deref(),
            bytes,
            signature: signature.as_deref(),
        })
        .collect();
    let consent = Consent {
        allow: allowed(bundle.allow.iter().map(String::as_str))?,
        destructive: bundle.allow_destructive,
        prune: bundle.prune,
        canary: canary(bundle.canary, bundle.canary_errors, bundle.canary_minutes)?,
    };
    if bundle.plan {
        let plan = runtime.plan_deploy(environment, &components, &consent).await?;
        return Ok(json_response(StatusCode::OK, &PlanAnswer::from(plan)));
    }
    let deployed = runtime.deploy(environment, &components, &consent).await?;
    let deployments = deployed.into_iter().map(Deployment::from).collect();
    Ok(json_response(StatusCode::CREATED, &Deployments { deployments }))
}

fn number(query: &mut Query, name: &str) -> Option<i64> {
    let text = query.optional(name)?;
    let number = text.parse().ok();
    if number.is_none() {
        let message = "Invalid input: expected a whole number";
        query.fault(Fault::new("invalid_type", message, name));
    }
    number
}

/// How the deploy is tried; none when all connections run it at once.
fn canary(percent: Option<i64>, errors: Option<i64>, minutes: Option<i64>) -> Result<Option<CanaryOptions>, ApiError> {
    match percent {
        Some(percent) => {
            let options = CanaryOptions::new(percent, errors, minutes).map_err(DeployError::from)?;
            Ok(Some(options))
        }
        None if errors.is_none() && minutes.is_none() => Ok(None),
        None => {
            let message =
                "Invalid input: canary_errors and canary_minutes are about a canary; say with canary how many percent";
            let fault = Fault::new("invalid_value", message, "canary");
            Err(ApiError::faults("invalid_body", vec![fault]))
        }
    }
}

/// The capabilities of those names; `all` is every one.
pub fn allowed<'a>(names: impl Iterator<Item = &'a str>) -> Result<Allow, ApiError> {
    Ok(Allow::named(names).map_err(DeployError::from)?)
}

pub fn signature(headers: &HeaderMap) -> Result<Option<Vec<u8>>, ApiError> {
    match headers.get(SIGNATURE_HEADER) {
        None => Ok(None),
        Some(value) => base64(value.to_str().unwrap_or_default(), SIGNATURE_HEADER).map(Some),
    }
}

pub fn base64(text: &str, place: &str) -> Result<Vec<u8>, ApiError> {
    STANDARD.decode(text).map_err(|error| {
        let fault = Fault::new("invalid_format", format!("Invalid base64: {error}"), place);
        ApiError::faults("invalid_body", vec![fault])
    })
}

impl From<Deployed> for Deployment {
    fn from(deployed: Deployed) -> Self {
        let models = deployed.functions.iter();
        let models = models
            .flat_map(|function| function.manifest.models.keys().cloned())
            .collect();
        let manifest = sentences(&deployed.capabilities, &deployed.provider_config_key, &models);
        let functions = deployed.functions.into_iter().map(|function| DeployedFunction {
            deployed_at: ms_utc(function.deployed_at_ms),
            r#type: function.manifest.kind.as_str(),
            name: function.name,
            version: function.version,
            canary: function.canary.map(CanaryShareItem::from),
        });
        Self {
            digest: deployed.digest,
            functions: functions.collect(),
            changed: deployed.changed,
            imports: deployed.imports,
            capabilities: deployed.capabilities.iter().map(ToString::to_string).collect(),
            manifest,
            integration: deployed.provider_config_key,
        }
    }
}

impl From<Plan> for PlanAnswer {
    fn from(plan: Plan) -> Self {
        Self {
            integrations: plan.integrations.into_iter().map(PlannedIntegration::from).collect(),
            canary: plan.canary.map(|canary| PlannedCanary {
                percent: canary.percent(),
                errors_percent: canary.errors_percent(),
                minutes: canary.minutes(),
            }),
        }
    }
}

impl From<IntegrationPlan> for PlannedIntegration {
    fn from(plan: IntegrationPlan) -> Self {
        let functions = plan.functions.into_iter().map(|function| PlannedFunction {
            r#type: function.kind.as_str(),
            change: function.change.as_str(),
            name: function.name,
            differences: function.differences,
            losses: function.losses,
        });
        Self {
            functions: functions.collect(),
            capabilities: plan.capabilities.iter().map(ToString::to_string).collect(),
            manifest: sentences(&plan.capabilities, &plan.provider_config_key, &plan.models),
            gained: plan.gained.iter().map(ToString::to_string).collect(),
            integration: plan.provider_config_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::functions::tests::function;
    use crate::model::FunctionKind;

    #[test]
    fn a_deploy_in_json() {
        let deployed = Deployed {
            provider_config_key: "github".into(),
            digest: "abc".into(),
            functions: vec![function("a", FunctionKind::Action, 1)],
            changed: 1,
            imports: vec!["nango:functions/nango@0.1.0".into()],
            capabilities: BTreeSet::new(),
        };
        assert_eq!(
            serde_json::to_string(&Deployment::from(deployed)).unwrap(),
            r#"{"digest":"abc","functions":[{"name":"a","type":"action","version":1,"deployed_at":"2026-11-22T11:29:40.925Z"}],"changed":1,"imports":["nango:functions/nango@0.1.0"],"capabilities":[],"manifest":["cannot send requests","cannot read tokens"],"integration":"github"}"#
        );
    }
}
