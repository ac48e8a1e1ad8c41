//! Bodies beside those that Nango 0.71.4 sent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::model::{EndUser, Organization, RefreshState, Sealed};

/// 2026-11-22 12:48:08.273 UTC.
const STARTED_MS: i64 = 1_795_351_688_273;

fn connection() -> Connection {
    Connection {
        key: "con_1".into(),
        environment_id: "env_1".into(),
        integration_id: "int_1".into(),
        provider_config_key: "github".to_owned(),
        provider: "github".to_owned(),
        connection_id: "tmp-conn".to_owned(),
        credentials: Sealed(Vec::new()),
        connection_config: Sealed(Vec::new()),
        metadata: JsonObject::new(),
        tags: BTreeMap::from([
            ("plan".to_owned(), "pro".to_owned()),
            ("end_user_id".to_owned(), "u9".to_owned()),
        ]),
        end_user: None,
        webhook_url_override: None,
        created_at_ms: 0,
        updated_at_ms: 0,
        refresh: RefreshState::default(),
    }
}

fn end<'a>(connection: &'a Connection, counts: &'a BTreeMap<String, Counts>) -> SyncEnd<'a> {
    SyncEnd {
        connection,
        sync: "items",
        variant: "base",
        sync_type: SyncType::Initial,
        models: vec!["Item"],
        counts,
        resumed: false,
        checkpoints: None,
        started_at_ms: STARTED_MS,
        ended_at_ms: STARTED_MS + 1_500,
        error: None,
    }
}

fn added(model: &str, added: u64) -> BTreeMap<String, Counts> {
    let counts = Counts {
        added,
        unchanged: 5,
        ..Counts::default()
    };
    BTreeMap::from([(model.to_owned(), counts)])
}

#[test]
fn a_connection_that_was_made() {
    let body = auth(&connection(), "OAUTH2", "dev", AuthOperation::Creation, None);
    assert_eq!(
        body.to_string(),
        r#"{"authMode":"OAUTH2","connectionId":"tmp-conn","environment":"dev","from":"nango","operation":"creation","provider":"github","providerConfigKey":"github","success":true,"tags":{"end_user_id":"u9","plan":"pro"},"type":"auth"}"#
    );
}

#[test]
fn an_end_user_and_a_failure() {
    let connection = Connection {
        end_user: Some(EndUser {
            id: "u1".to_owned(),
            email: Some("a@b.co".to_owned()),
            display_name: Some("Ann".to_owned()),
            tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            organization: Some(Organization {
                id: "o1".to_owned(),
                display_name: None,
            }),
        }),
        ..connection()
    };
    let failure = Failure {
        kind: "refresh_token_external_error".to_owned(),
        description: "the provider says no".to_owned(),
    };
    let body = auth(&connection, "OAUTH2", "dev", AuthOperation::Refresh, Some(&failure));
    let end_user = json!({"endUserId": "u1", "endUserEmail": "a@b.co", "organizationId": "o1", "tags": {"a": "b"}});
    assert_eq!(body["endUser"], end_user);
    assert_eq!(
        (&body["success"], &body["operation"]),
        (&json!(false), &json!("refresh"))
    );
    let error = json!({"type": "refresh_token_external_error", "description": "the provider says no"});
    assert_eq!(body["error"], error);
}

#[test]
fn a_sync_that_succeeded() {
    let (connection, counts) = (connection(), added("Item", 3));
    let bodies = sync_success(&end(&connection, &counts), false);
    let texts: Vec<String> = bodies.iter().map(Value::to_string).collect();
    assert_eq!(
        texts,
        [
            r#"{"connectionId":"tmp-conn","from":"nango","model":"Item","modifiedAfter":"2026-11-22T12:48:08.273Z","providerConfigKey":"github","queryTimeStamp":"2026-11-22T12:48:08.273Z","responseResults":{"added":3,"deleted":0,"updated":0},"success":true,"syncName":"items","syncType":"INITIAL","syncVariant":"base","type":"sync"}"#
        ]
    );
}

#[test]
fn models_that_did_not_change_are_told_of_only_when_wanted() {
    let (connection, counts) = (connection(), added("Item", 0));
    let models = |end: &SyncEnd<'_>, all| {
        let bodies = sync_success(end, all);
        let models = bodies
            .iter()
            .map(|body| body["model"].as_str().unwrap_or_default().to_owned());
        models.collect::<Vec<_>>()
    };
    let mut end = end(&connection, &counts);
    end.models = vec!["User", "Item"];
    assert!(models(&end, false).is_empty());
    assert_eq!(models(&end, true), ["Item", "User"]);
    // What the process before counted is lost: better once too often than not at all.
    end.resumed = true;
    assert_eq!(models(&end, false), ["Item", "User"]);
    let changed = added("Undeclared", 1);
    end.resumed = false;
    end.counts = &changed;
    assert_eq!(models(&end, false), ["Undeclared"]);
}

#[test]
fn a_sync_that_failed() {
    let (connection, counts) = (connection(), BTreeMap::new());
    let error = RunError {
        code: "action_script_runtime_error".to_owned(),
        message: "no luck".to_owned(),
        payload: serde_json::value::to_raw_value(&json!({"b": 1, "a": 2})).ok(),
        upstream: None,
    };
    let mut end = end(&connection, &counts);
    end.models = vec!["Item", "User"];
    end.sync_type = SyncType::Incremental;
    end.checkpoints = Checkpoints::new(None, Some(r#"{"page":2}"#));
    assert_eq!(
        sync_failure(&end, &error).to_string(),
        r#"{"checkpoints":{"from":null,"to":{"page":2}},"connectionId":"tmp-conn","error":{"description":"no luck","payload":{"a":2,"b":1},"type":"action_script_runtime_error"},"failedAt":"2026-11-22T12:48:09.773Z","from":"nango","model":"Item,User","providerConfigKey":"github","startedAt":"2026-11-22T12:48:08.273Z","success":false,"syncName":"items","syncType":"INCREMENTAL","syncVariant":"base","type":"sync"}"#
    );
}

#[test]
fn an_action_in_the_background() {
    let connection = Connection {
        connection_id: "conn-oauth".to_owned(),
        ..connection()
    };
    assert_eq!(
        async_action(&connection, "5c304bde-4edc-4f28-b5d3-05a58ec79862").to_string(),
        r#"{"connectionId":"conn-oauth","from":"nango","payload":{"id":"5c304bde-4edc-4f28-b5d3-05a58ec79862","statusUrl":"/action/5c304bde-4edc-4f28-b5d3-05a58ec79862"},"providerConfigKey":"github","type":"async_action"}"#
    );
}

#[test]
fn a_providers_own_webhook() {
    let payload = json!({"zen": "b", "hook": {"z": 1, "a": [{"y": 2, "b": 3}]}});
    assert_eq!(
        forward(&connection(), &payload).to_string(),
        r#"{"connectionId":"tmp-conn","from":"github","payload":{"hook":{"a":[{"b":3,"y":2}],"z":1},"zen":"b"},"providerConfigKey":"github","type":"forward"}"#
    );
}
