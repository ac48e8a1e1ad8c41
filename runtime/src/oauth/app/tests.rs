//! What an app sends, and what it is told without its key.

use serde_json::json;

use super::super::testing::{moment, target};
use super::*;
use crate::credentials::AppKey;

#[test]
fn an_app_without_its_key_is_told_so() {
    let entry = json!({"token_url": {"APP": "https://api.test/installations/${connectionConfig.installation_id}/access_tokens"}});
    let mut target = target(entry, &json!({"type": "APP"}));
    let error = build(&target, moment()).unwrap_err().to_string();
    assert!(
        error.contains("`connectionConfig.installation_id` has no value"),
        "{error}"
    );
    target.connection_config = json!({"installation_id": "7"}).as_object().unwrap().clone();
    let error = build(&target, moment()).unwrap_err().to_string();
    assert!(error.contains("has no `app_id` and `private_key`"), "{error}");
    target.app = Some(AppKey {
        app_id: "1".to_owned(),
        private_key: Secret::new("s3cret".to_owned()),
    });
    let error = super::super::error::chain(&build(&target, moment()).unwrap_err());
    assert!(error.contains("is no PEM text") && !error.contains("s3cret"), "{error}");
}
