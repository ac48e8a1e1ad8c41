//! `/integrations/{unique_key}/functions`: deploying a component, listing what it holds, and going back to an earlier version.

mod view;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Key, need};
use super::body::{json_response, parse, read_json};
use super::error::{ApiError, ErrorEnvelope};
use super::fault::Fault;
use super::query::{PathParams, Query};
use crate::model::{Function, FunctionKind};
use crate::runtime::Runtime;

use view::VersionItem;
pub use view::{CanaryShareItem, FunctionItem};

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;
const PAGE_MAX: i64 = 1_000_000;
/// A `rollback` names a number at most, a patch says yes or no.
const ROLLBACK_BODY_BYTES_MAX: usize = 4 * 1024;

#[derive(Serialize, ToSchema)]
pub struct FunctionList {
    data: Vec<FunctionItem>,
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
pub struct Pagination {
    total: usize,
    page: i64,
    limit: i64,
}

#[derive(Debug)]
struct ListFunctions {
    kind: Option<FunctionKind>,
    search: String,
    page: i64,
    limit: i64,
}

/// List the functions of an integration in their active versions.
#[utoipa::path(
    get, path = "/integrations/{unique_key}/functions", tag = "functions",
    params(
        ("unique_key" = String, Path),
        ("type" = Option<String>, Query, description = "action, sync or on-event"),
        ("search" = Option<String>, Query, description = "A part of the name or of the description"),
        ("page" = Option<i64>, Query, description = "From 0"),
        ("limit" = Option<i64>, Query, description = "1 to 100, otherwise 20"),
    ),
    responses((status = 200, body = FunctionList), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn list(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::IntegrationsListFunctions>,
    PathParams(unique_key): PathParams<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let list = ListFunctions::parse(request.uri().query())?;
    let environment = caller.integration(&unique_key)?;
    runtime.integration(environment, &unique_key).await?;
    let functions = runtime.functions(environment, Some(&unique_key)).await?;
    Ok(json_response(StatusCode::OK, &list.page_of(&functions)))
}

impl ListFunctions {
    fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let mut query = Query::parse(query);
        let list = Self {
            kind: kind(&mut query),
            search: query.optional("search").unwrap_or_default().to_lowercase(),
            page: query.integer("page", 0..=PAGE_MAX, 0),
            limit: query.integer("limit", 1..=LIMIT_MAX, LIMIT_DEFAULT),
        };
        query.finish()?;
        Ok(list)
    }

    fn page_of(&self, functions: &[Function]) -> FunctionList {
        let found: Vec<&Function> = functions.iter().filter(|function| self.finds(function)).collect();
        let skipped = usize::try_from(self.page.saturating_mul(self.limit)).unwrap_or(usize::MAX);
        let taken = usize::try_from(self.limit).unwrap_or(usize::MAX);
        FunctionList {
            data: found
                .iter()
                .skip(skipped)
                .take(taken)
                .map(|function| FunctionItem::from(*function))
                .collect(),
            pagination: Pagination {
                total: found.len(),
                page: self.page,
                limit: self.limit,
            },
        }
    }

    fn finds(&self, function: &Function) -> bool {
        self.kind.is_none_or(|kind| kind == function.manifest.kind)
            && (function.name.to_lowercase().contains(&self.search)
                || function.manifest.description.to_lowercase().contains(&self.search))
    }
}

fn kind(query: &mut Query) -> Option<FunctionKind> {
    match query.optional("type").as_deref() {
        None => None,
        Some("action") => Some(FunctionKind::Action),
        Some("sync") => Some(FunctionKind::Sync),
        Some("on-event") => Some(FunctionKind::OnEvent),
        Some(_) => {
            query.fault(Fault::new(
                "invalid_value",
                "Invalid input: expected action, sync or on-event",
                "type",
            ));
            None
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct FunctionAnswer {
    data: FunctionItem,
    /// All that were deployed, newest first.
    versions: Vec<VersionItem>,
}

/// Show one function and its versions.
#[utoipa::path(
    get, path = "/integrations/{unique_key}/functions/{name}", tag = "functions",
    params(
        ("unique_key" = String, Path), ("name" = String, Path),
        ("type" = Option<String>, Query, description = "action, sync or on-event"),
    ),
    responses((status = 200, body = FunctionAnswer), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn show(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::FunctionsRead>,
    PathParams((unique_key, name)): PathParams<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut query = Query::parse(request.uri().query());
    let kind = kind(&mut query);
    query.finish()?;
    let environment = caller.integration(&unique_key)?;
    runtime.integration(environment, &unique_key).await?;
    let versions = runtime.function_versions(environment, &unique_key, &name).await?;
    let answer = answer(&versions, kind).ok_or_else(|| unknown_function(&unique_key, &name))?;
    Ok(json_response(StatusCode::OK, &answer))
}

fn answer(versions: &[Function], kind: Option<FunctionKind>) -> Option<FunctionAnswer> {
    let active = versions
        .iter()
        .find(|function| function.version == function.active_version)?;
    if kind.is_some_and(|kind| kind != active.manifest.kind) {
        return None;
    }
    Some(FunctionAnswer {
        data: active.into(),
        versions: versions.iter().map(VersionItem::from).collect(),
    })
}

fn unknown_function(unique_key: &str, name: &str) -> ApiError {
    let message = format!(
        "Integration {unique_key:?} has no function {name:?}; GET /integrations/{unique_key}/functions lists them"
    );
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The one before when absent: the active one while a canary tries another, else the newest older one of other code that nobody has
    /// gone back from.
    #[serde(default)]
    version: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct RolledBack {
    data: FunctionItem,
}

/// Make another version of a function the active one.
#[utoipa::path(
    post, path = "/integrations/{unique_key}/functions/{name}/rollback", tag = "functions",
    params(("unique_key" = String, Path), ("name" = String, Path)), request_body = Option<Rollback>,
    responses((status = 200, body = RolledBack), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn rollback(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Deploy>,
    PathParams((unique_key, name)): PathParams<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let has_body = !http_body::Body::is_end_stream(&body);
    let Rollback { version } = if has_body {
        parse(&read_json(&parts.headers, body, ROLLBACK_BODY_BYTES_MAX).await?)?
    } else {
        Rollback::default()
    };
    let environment = caller.whole_integration(&unique_key)?;
    runtime.integration(environment, &unique_key).await?;
    let versions = runtime.function_versions(environment, &unique_key, &name).await?;
    if versions.is_empty() {
        return Err(unknown_function(&unique_key, &name));
    }
    let function = runtime
        .rollback(environment, &unique_key, &name, version)
        .await?
        .ok_or_else(|| {
            let what = match version {
                Some(version) => format!("has no version {version}"),
                None => "has no earlier version of other code that was not given up".to_owned(),
            };
            let message = format!(
                "Function {name:?} of integration {unique_key:?} {what}; `nango-runtime functions show {unique_key} {name}` lists all, \
                 and --to (`version` of the request) takes any of them"
            );
            ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
        })?;
    Ok(json_response(
        StatusCode::OK,
        &RolledBack {
            data: (&function).into(),
        },
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchFunction {
    /// Whether it is run; deploys leave that as it is.
    enabled: bool,
}

/// Have an action or an on-event function run no more, or again. A sync is paused instead.
#[utoipa::path(
    patch, path = "/integrations/{unique_key}/functions/{name}", tag = "functions",
    params(("unique_key" = String, Path), ("name" = String, Path)), request_body = PatchFunction,
    responses((status = 200, body = RolledBack), (status = "4XX", body = ErrorEnvelope)),
)]
pub async fn patch(
    State(runtime): State<Runtime>,
    Key(caller, _): Key<need::Deploy>,
    PathParams((unique_key, name)): PathParams<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let PatchFunction { enabled } = parse(&read_json(&parts.headers, body, ROLLBACK_BODY_BYTES_MAX).await?)?;
    let environment = caller.whole_integration(&unique_key)?;
    runtime.integration(environment, &unique_key).await?;
    let versions = runtime.function_versions(environment, &unique_key, &name).await?;
    let is_active = |function: &&Function| function.version == function.active_version;
    let active = versions.iter().find(is_active);
    let active = active.ok_or_else(|| unknown_function(&unique_key, &name))?;
    if active.manifest.kind == FunctionKind::Sync {
        let message =
            "Invalid input: a sync is not disabled but paused: POST /sync/pause, for one connection or for all";
        return Err(ApiError::faults(
            "invalid_body",
            vec![Fault::new("invalid_value", message, "enabled")],
        ));
    }
    runtime
        .set_function_enabled(environment, &unique_key, &name, enabled)
        .await?;
    let function = Function {
        is_enabled: enabled,
        ..active.clone()
    };
    let data = (&function).into();
    Ok(json_response(StatusCode::OK, &RolledBack { data }))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::FunctionManifest;

    pub fn function(name: &str, kind: FunctionKind, version: i64) -> Function {
        Function {
            environment_id: "env_1".into(),
            integration_id: "int_1".into(),
            provider_config_key: "github".into(),
            name: name.into(),
            version,
            active_version: 1,
            canary: None,
            deployment_id: "dep_1".into(),
            digest: "abc".into(),
            manifest: std::sync::Arc::new(FunctionManifest {
                name: name.into(),
                kind,
                description: format!("Does {name}"),
                input: None,
                output: None,
                event: None,
                auto_start: true,
                frequency: None,
                models: std::collections::BTreeMap::default(),
                webhook_subscriptions: Vec::new(),
                metadata: None,
                checkpoint: None,
                fetch: None,
            }),
            deployed_at_ms: 1_795_346_980_925,
            is_enabled: true,
        }
    }

    #[test]
    fn pages_and_filters() {
        let functions = [
            function("a", FunctionKind::Action, 1),
            function("b", FunctionKind::Sync, 1),
            function("c", FunctionKind::Action, 1),
        ];
        let names = |query: &str| {
            let page = ListFunctions::parse(Some(query)).unwrap().page_of(&functions);
            let names: Vec<String> = page.data.into_iter().map(|item| item.name).collect();
            (names.join(" "), page.pagination.total)
        };
        assert_eq!(names(""), ("a b c".into(), 3));
        assert_eq!(names("type=action"), ("a c".into(), 2));
        assert_eq!(names("search=Does+B"), ("b".into(), 1));
        assert_eq!(names("limit=2&page=1"), ("c".into(), 3));
        assert!(ListFunctions::parse(Some("type=script")).is_err());
        assert!(ListFunctions::parse(Some("limit=101")).is_err());
    }

    #[test]
    fn the_active_version_is_shown() {
        let versions = [
            function("a", FunctionKind::Action, 2),
            function("a", FunctionKind::Action, 1),
        ];
        let shown = answer(&versions, None).unwrap();
        assert_eq!(shown.data.version, 1);
        assert_eq!(shown.versions.len(), 2);
        assert!(answer(&versions, Some(FunctionKind::Sync)).is_none());
        assert!(answer(&[], None).is_none());
    }
}
