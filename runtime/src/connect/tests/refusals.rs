//! What is refused where it is given.

use serde_json::{Value, json};

use super::*;
use crate::credentials::IdentityError;
use crate::provider::AuthMode;

const CERTIFICATE: &str = include_str!("../../egress/test_certificates/client.pem");
const KEY: &str = include_str!("../../egress/test_certificates/client.key");

#[tokio::test]
async fn no_browser_says_the_external_id_of_a_role() {
    let fixture = Fixture::new().await;
    let session = fixture.session(OpenSession::default()).await;
    let role = |external_id: Value, config| NewConnection {
        credentials: json!({
            "type": "AWS_SIGV4", "role_arn": "arn:aws:iam::1:role/x", "region": "eu-central-1", "service": "s3",
            "external_id": external_id,
        }),
        ..typed("", config)
    };
    for (given, field) in [
        (role(json!("mine"), json!({})), "credentials.external_id"),
        (
            role(json!(null), json!({"external_id": "mine"})),
            "connection_config.external_id",
        ),
    ] {
        let refused = fixture.create(&session, given).await.unwrap_err().to_string();
        let expected = format!("{field}: is not the browser's to give; the back end gives it with the connect session");
        assert!(refused.starts_with(&expected), "{refused}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_not_stored() {
    let mut catalogue = Catalogue::shipped().unwrap();
    let mut provider = Provider::clone(catalogue.get("private-api-bearer").unwrap());
    provider.auth_mode = AuthMode::OAuth2Cc;
    provider.json = json!({"auth_mode": "OAUTH2_CC", "require_client_certificate": true});
    catalogue.providers.insert(provider.name.clone(), Arc::new(provider));
    let fixture = Fixture::with(catalogue).await;
    let create = |certificate: Value| {
        let by = Creator::ApiKey(fixture.environment.clone());
        let credentials = json!({
            "type": "OAUTH2_CC", "client_id": "id", "client_secret": "secret", "client_certificate": certificate,
            "client_private_key": KEY,
        });
        let given = NewConnection {
            credentials,
            ..typed("", json!({}))
        };
        fixture.connect.create(by, given)
    };
    let refused = create(json!("s3cret")).await.unwrap_err();
    assert!(
        matches!(refused, CreateError::Identity(IdentityError::Certificate)),
        "{refused}"
    );
    let refused = create(Value::Null).await.unwrap_err();
    assert!(
        matches!(refused, CreateError::Identity(IdentityError::Missing { .. })),
        "{refused}"
    );
    create(json!(CERTIFICATE)).await.unwrap();
}
