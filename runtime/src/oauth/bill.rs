//! BILL: a login gives a session (<https://developer.bill.com/reference/login>).

use http::Method;
use http::header;
use serde_json::{Value, json};

use super::RefreshError;
use super::answer::refusal;
use super::client::TokenClient;
use super::request::{JSON, TokenRequest, unsupported};
use super::values::{Moment, TokenValues};
use crate::connections::Target;
use crate::credentials::{Credentials, Secret, SessionKind};
use crate::model::JsonObject;

/// Sessions end after so long without a request.
const SESSION_MS: i64 = 35 * 60 * 1_000;

/// A fresh session.
pub(super) async fn obtain(client: &TokenClient, target: &Target, moment: Moment) -> Result<Credentials, RefreshError> {
    let Credentials::Session { fields, .. } = &target.credentials else {
        return Err(unsupported(target, "credentials of another mode"));
    };
    let answer = client.send(build(target, moment)?).await?;
    let object = answer.object.expose();
    let word = |name: &str| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let token = word("sessionId").ok_or_else(|| refusal(object))?;
    let mut fields = JsonObject::clone(fields.expose());
    if let Some(user_id) = word("userId") {
        fields.insert("user_id".to_owned(), user_id.into());
    }
    fields.insert("raw".to_owned(), Value::Object(object.clone()));
    Ok(Credentials::Session {
        kind: SessionKind::Bill,
        token: Some(Secret::new(token.to_owned())),
        expires_at_ms: Some(moment.now_ms.saturating_add(SESSION_MS)),
        fields: Secret::new(fields),
    })
}

fn build(target: &Target, moment: Moment) -> Result<TokenRequest, RefreshError> {
    let values = TokenValues::new(target, moment);
    let given = |name: &str| values.fill(&format!("${{credentials.{name}}}"), "token_url");
    let login = json!({
        "username": given("username")?, "password": given("password")?, "organizationId": given("organization_id")?,
        "devKey": given("dev_key")?,
    });
    let mut headers = values.headers()?;
    headers.entry(header::CONTENT_TYPE).or_insert(JSON);
    Ok(TokenRequest {
        method: Method::POST,
        url: values.url(&target.provider.json, "token_url")?,
        headers,
        body: Secret::new(login.to_string()),
    })
}
