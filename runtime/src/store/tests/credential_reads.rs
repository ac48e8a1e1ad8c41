//! The audit of credential reads, on both databases.

use super::*;
use crate::model::{CredentialRead, CredentialReadId, CredentialReadKind, CredentialReader};
use crate::store::CredentialReadQuery;

for_each_db! {
    reads_are_listed_newest_first_and_filtered,
    old_reads_go_in_bounded_steps,
    a_function_that_was_told_has_no_key,
}

fn read(environment: &Environment, number: u8) -> CredentialRead {
    CredentialRead {
        id: CredentialReadId::from(format!("crd_{number:03}")),
        environment_id: environment.id.clone(),
        read_at_ms: NOW_MS + i64::from(number),
        kind: CredentialReadKind::Connection,
        provider_config_key: Some("github".to_owned()),
        connection_id: Some(format!("c{number}")),
        by: by_key("key_1", number),
        forced: false,
        with_refresh_token: false,
    }
}

fn by_key(id: &str, number: u8) -> CredentialReader {
    CredentialReader::ApiKey {
        id: id.into(),
        name: "ci".to_owned(),
        request_id: format!("req_{number}"),
    }
}

async fn a_function_that_was_told_has_no_key(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let told = |number: u8, run_id: Option<&str>| CredentialRead {
        kind: CredentialReadKind::Token,
        by: CredentialReader::Function {
            name: "export".to_owned(),
            run_id: run_id.map(Into::into),
            operation_id: "op_1".into(),
        },
        ..read(&environment, number)
    };
    let both = [told(2, None), told(1, Some("run_1"))];
    for read in &both {
        store.insert_credential_read(read).await.unwrap();
    }
    let query = CredentialReadQuery {
        kind: Some(CredentialReadKind::Token),
        limit: 10,
        ..CredentialReadQuery::default()
    };
    assert_eq!(store.credential_reads(&environment.id, &query).await.unwrap(), both);
}

async fn reads_are_listed_newest_first_and_filtered(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let mut integration = read(&environment, 3);
    integration.kind = CredentialReadKind::Integration;
    integration.connection_id = None;
    integration.by = by_key("key_2", 3);
    let mut forced = read(&environment, 2);
    (forced.forced, forced.with_refresh_token) = (true, true);
    let all = [read(&environment, 1), forced, integration];
    for read in &all {
        store.insert_credential_read(read).await.unwrap();
    }
    let mut elsewhere = read(&environment, 4);
    elsewhere.environment_id = "env_other".into();
    store.insert_credential_read(&elsewhere).await.unwrap();

    let list = async |query: CredentialReadQuery| store.credential_reads(&environment.id, &query).await.unwrap();
    let page = CredentialReadQuery {
        limit: 2,
        ..CredentialReadQuery::default()
    };
    assert_eq!(list(page.clone()).await, [all[2].clone(), all[1].clone()]);
    let before = Some(all[1].id.clone());
    assert_eq!(
        list(CredentialReadQuery { before, ..page.clone() }).await,
        [all[0].clone()]
    );
    let connection_id = Some("c2".to_owned());
    assert_eq!(
        list(CredentialReadQuery {
            connection_id,
            ..page.clone()
        })
        .await,
        [all[1].clone()]
    );
    let api_key_id = Some("key_2".to_owned());
    assert_eq!(
        list(CredentialReadQuery {
            api_key_id,
            ..page.clone()
        })
        .await,
        [all[2].clone()]
    );
    let kind = Some(CredentialReadKind::Integration);
    assert_eq!(
        list(CredentialReadQuery { kind, ..page.clone() }).await,
        [all[2].clone()]
    );
    let provider_config_key = Some("slack".to_owned());
    assert_eq!(
        list(CredentialReadQuery {
            provider_config_key,
            ..page.clone()
        })
        .await,
        []
    );
    let (since_ms, until_ms) = (Some(NOW_MS + 1), Some(NOW_MS + 2));
    assert_eq!(
        list(CredentialReadQuery {
            since_ms,
            until_ms,
            ..page
        })
        .await,
        [all[0].clone()]
    );
}

async fn old_reads_go_in_bounded_steps(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    for number in 0..5 {
        store.insert_credential_read(&read(&environment, number)).await.unwrap();
    }
    let delete = async || store.delete_credential_reads(NOW_MS + 3, 2).await.unwrap();
    assert_eq!((delete().await, delete().await, delete().await), (2, 1, 0));
    let query = CredentialReadQuery {
        limit: 10,
        ..CredentialReadQuery::default()
    };
    let left = store.credential_reads(&environment.id, &query).await.unwrap();
    assert_eq!(left, [read(&environment, 4), read(&environment, 3)]);
}
