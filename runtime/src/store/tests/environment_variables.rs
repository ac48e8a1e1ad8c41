//! Environment variables, on both databases.

use super::*;
use crate::model::StoredEnvironmentVariable;

for_each_db! {
    a_name_has_one_value,
    no_more_than_there_may_be,
    the_audit_of_before_is_kept,
}

fn variable(environment: &Environment, id: &str, name: &str, value: u8) -> StoredEnvironmentVariable {
    StoredEnvironmentVariable {
        id: id.into(),
        environment_id: environment.id.clone(),
        name: name.to_owned(),
        value: Sealed(vec![0, value]),
        created_at_ms: NOW_MS + i64::from(value),
        updated_at_ms: NOW_MS + i64::from(value),
    }
}

async fn a_name_has_one_value(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let (first, other) = (
        variable(&environment, "var_1", "b", 1),
        variable(&environment, "var_2", "B", 2),
    );
    for variable in [&first, &other, &variable(&environment, "var_3", "b", 3)] {
        assert!(store.set_environment_variable(variable, 2).await.unwrap());
    }
    let changed = StoredEnvironmentVariable {
        value: Sealed(vec![0, 3]),
        updated_at_ms: NOW_MS + 3,
        ..first
    };
    // By bytes on both databases, whatever their collations are.
    assert_eq!(
        store.environment_variables(&environment.id).await.unwrap(),
        [other, changed]
    );
    assert_eq!(store.environment_variables(&"env_other".into()).await.unwrap(), []);
    assert!(
        !store
            .delete_environment_variable(&"env_other".into(), "b")
            .await
            .unwrap()
    );
    assert!(store.delete_environment_variable(&environment.id, "b").await.unwrap());
    assert!(!store.delete_environment_variable(&environment.id, "b").await.unwrap());
}

async fn no_more_than_there_may_be(store: Store) {
    let Fixture { environment, .. } = Fixture::new(&store).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let variable = variable(&environment, &format!("var_{number}"), &format!("v{number}"), number);
        let store = store.clone();
        tasks.spawn(async move { store.set_environment_variable(&variable, 3).await.unwrap() });
    }
    let set = tasks.join_all().await;
    assert_eq!(set.iter().filter(|set| **set).count(), 3);
    assert_eq!(store.environment_variables(&environment.id).await.unwrap().len(), 3);
}

/// What this migration and the next one of the table do to rows, done to what came out of them once more.
async fn the_audit_of_before_is_kept(store: Store) {
    let sql = include_str!("../../../migrations/0014_environment_variables.sql");
    let again = &sql[sql.find("ALTER TABLE credential_reads").unwrap()..];
    let older = again
        .replace(", 'variables')", ")")
        .replace("provider_config_key TEXT,", "provider_config_key TEXT NOT NULL,");
    assert_ne!(older, again);
    store
        .writer
        .execute(QueryBuilder::<Any>::new(older).into_sql())
        .await
        .unwrap();
    store
        .writer
        .execute(
            "INSERT INTO credential_reads VALUES ('crd_1', 'env_1', 1, 'integration', 'github', NULL, 'key_1', 'ci', 'req_1', \
             'when_due', 'hidden')",
        )
        .await
        .unwrap();
    let later = include_str!("../../../migrations/0022_token_reads.sql");
    for migration in [again, later] {
        store
            .writer
            .execute(QueryBuilder::<Any>::new(migration.to_owned()).into_sql())
            .await
            .unwrap();
    }
    let mut read = crate::model::CredentialRead {
        id: "crd_1".into(),
        environment_id: "env_1".into(),
        read_at_ms: 1,
        kind: crate::model::CredentialReadKind::Integration,
        provider_config_key: Some("github".into()),
        connection_id: None,
        by: crate::model::CredentialReader::ApiKey {
            id: "key_1".into(),
            name: "ci".into(),
            request_id: "req_1".into(),
        },
        forced: false,
        with_refresh_token: false,
    };
    let query = crate::store::CredentialReadQuery {
        limit: 2,
        ..Default::default()
    };
    assert_eq!(
        store.credential_reads(&"env_1".into(), &query).await.unwrap(),
        [read.clone()]
    );
    (read.id, read.kind, read.provider_config_key) =
        ("crd_2".into(), crate::model::CredentialReadKind::Variables, None);
    store.insert_credential_read(&read).await.unwrap();
    assert_eq!(store.credential_reads(&"env_1".into(), &query).await.unwrap()[0], read);
}
