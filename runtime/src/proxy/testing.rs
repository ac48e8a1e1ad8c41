//! Hand-made targets and requests for the tests of this module.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};

use super::values::Moment;
use super::{Body, ProxyOptions, ProxyRequest, RetryHeader};
use crate::connections::{Masking, Target};
use crate::credentials::{Credentials, Secret};
use crate::model::{Connection, Integration, JsonObject, Sealed};
use crate::provider::template::{Template, UrlTemplate};
use crate::provider::{AuthMode, ClientRegistration, HeaderTemplate, Provider, ProxySpec, SignatureMethod};

pub(super) fn options() -> ProxyOptions {
    ProxyOptions::default()
}

pub(super) fn provider(base_url: &str) -> Provider {
    Provider {
        name: "testing".into(),
        display_name: "Testing".into(),
        auth_mode: AuthMode::ApiKey,
        signature_method: SignatureMethod::default(),
        revocation: None,
        webhook: None,
        client_registration: ClientRegistration::default(),
        proxy: Some(ProxySpec {
            base_url: Some(UrlTemplate::parse(base_url).unwrap()),
            ..ProxySpec::default()
        }),
        json: serde_json::json!({}),
    }
}

/// 2026-03-05T04:07:09Z, and a UUID of zeros.
pub(super) const MOMENT: Moment = Moment {
    now_ms: 1_772_683_629_000,
    random: [0; 16],
};

pub(super) fn template(source: &str) -> Template {
    Template::parse(source).unwrap()
}

pub(super) fn header_template(name: &'static str, source: &str) -> HeaderTemplate {
    HeaderTemplate::new(HeaderName::from_static(name), template(source)).unwrap()
}

pub(super) fn api_key(key: &str) -> Credentials {
    Credentials::ApiKey {
        api_key: Secret::new(key.to_owned()),
    }
}

pub(super) fn bearer(token: &str) -> Credentials {
    Credentials::OAuth2 {
        access_token: Secret::new(token.to_owned()),
        refresh_token: None,
        expires_at_ms: None,
        raw: Secret::new(JsonObject::new()),
        config_override: None,
    }
}

pub(super) fn target(provider: Provider, credentials: Credentials) -> Target {
    let integration = Integration {
        id: "int_1".into(),
        environment_id: "env_1".into(),
        unique_key: "testing".into(),
        provider: provider.name.clone(),
        display_name: "Testing".into(),
        secrets: None,
        forward_webhooks: false,
        created_at_ms: 0,
        updated_at_ms: 0,
    };
    let connection = Connection {
        key: "con_1".into(),
        environment_id: "env_1".into(),
        integration_id: "int_1".into(),
        provider_config_key: "testing".into(),
        provider: provider.name.clone(),
        connection_id: "customer-1".into(),
        credentials: Sealed(Vec::new()),
        connection_config: Sealed(Vec::new()),
        metadata: JsonObject::new(),
        tags: BTreeMap::new(),
        end_user: None,
        webhook_url_override: None,
        created_at_ms: 0,
        updated_at_ms: 0,
        refresh: crate::model::RefreshState::default(),
    };
    Target {
        integration: Arc::new(integration),
        provider: Arc::new(provider),
        connection: Arc::new(connection),
        credentials,
        connection_config: JsonObject::new(),
        integration_config: JsonObject::new(),
        masking: Masking::default(),
        app: None,
        client: None,
        value_template: std::sync::OnceLock::new(),
    }
}

pub(super) fn request(endpoint: &str) -> ProxyRequest {
    ProxyRequest {
        method: Method::GET,
        endpoint: endpoint.into(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body: Body::Empty,
        retries: 0,
        retry_on: Vec::new(),
        retry_header: RetryHeader::default(),
        base_url_override: None,
        decompress: false,
        forward_headers_on_redirect: None,
        wait_ms_max: None,
        masker: None,
    }
}
