//! Token endpoints that want a certificate.

use serde_json::json;

use super::super::request;
use super::super::testing::{moment, target};
use super::*;
use crate::connections::Target;
use crate::credentials::IdentityError;
use crate::egress::testing::{CLIENT, CLIENT_KEY, MutualTls, trusting};

fn of(server: &MutualTls, certificate: &Value, key: &Value) -> Target {
    let entry = json!({"token_url": format!("{}/token", server.url()), "require_client_certificate": true});
    let credentials = json!({
        "type": "OAUTH2_CC", "client_id": "id", "client_secret": "secret",
        "client_certificate": certificate, "client_private_key": key,
    });
    target(entry, &credentials)
}

async fn ask(client: &TokenClient, target: &Target) -> Result<Answer, RefreshError> {
    let request = request::build(target, moment()).unwrap();
    client.send_as(target.client_identity()?, request).await
}

#[tokio::test]
async fn a_token_endpoint_lets_the_certificate_in_and_nobody_else() {
    let server = MutualTls::answering(r#"{"access_token": "t"}"#).await;
    let client = TokenClient::with_tls(trusting(), vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
    let whole = of(&server, &CLIENT.into(), &CLIENT_KEY.into());
    for _ in 0..2 {
        let answer = ask(&client, &whole).await.unwrap();
        assert_eq!(answer.object.expose()["access_token"], "t");
    }
    // One client for both, and its connection is kept.
    assert_eq!((server.let_in(), client.identified.len()), (1, 1));

    let nobody = client.send(request::build(&whole, moment()).unwrap()).await;
    assert!(matches!(nobody, Err(RefreshError::Network { .. })), "{nobody:?}");
    assert_eq!(server.let_in(), 1);

    let broken = of(&server, &"s3cret".into(), &CLIENT_KEY.into());
    let refused = ask(&client, &broken).await.unwrap_err();
    assert!(
        matches!(refused, RefreshError::Identity(IdentityError::Certificate)),
        "{refused:?}"
    );
    let refused = ask(&client, &of(&server, &Value::Null, &Value::Null))
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the provider needs a client certificate, and `credentials.client_certificate` is missing; give it as PEM"
    );
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_no_secret() {
    let server = MutualTls::answering("{}").await;
    let client = TokenClient::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
    let refused = ask(&client, &of(&server, &CLIENT.into(), &CLIENT_KEY.into())).await;
    assert!(matches!(refused, Err(RefreshError::Network { .. })), "{refused:?}");
    assert_eq!(server.let_in(), 0);
}
