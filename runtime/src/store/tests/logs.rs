//! Log batches, on both databases.

use super::*;
use crate::model::log::Source;
use crate::model::{Level, Message, Operation, OperationId, OperationKind, OperationState};
use crate::store::open::Dialect;
use crate::store::{MessageQuery, OperationQuery};

fn id(now_ms: i64, number: u8) -> OperationId {
    let mut random = [0; 16];
    random[9] = number;
    OperationId::new(now_ms, random)
}

fn operation(fixture: &Fixture, id: OperationId) -> Operation {
    Operation {
        id,
        environment_id: fixture.environment.id.clone(),
        kind: OperationKind::ActionRun,
        state: OperationState::Running,
        provider_config_key: Some("github".to_owned()),
        connection_id: Some("a".to_owned()),
        function: None,
        run_id: None,
        message: "started".to_owned(),
        started_at_ms: NOW_MS,
        ended_at_ms: None,
        duration_us: None,
    }
}

fn message(operation_id: &OperationId, text: &str) -> Message {
    Message {
        operation_id: operation_id.clone(),
        created_at_us: NOW_US,
        level: Level::Info,
        source: Source::User,
        text: text.to_owned(),
        fields: None,
    }
}

for_each_db! {
    a_batch_is_written_and_operations_are_rewritten,
    old_operations_go_in_bounded_chunks,
    a_failed_batch_writes_nothing,
}

async fn a_batch_is_written_and_operations_are_rewritten(store: Store) {
    let fixture = Fixture::new(&store).await;
    let operations: Vec<Operation> = (0..100).map(|n| operation(&fixture, id(NOW_MS, n))).collect();
    let messages: Vec<Message> = (0..700)
        .map(|n| message(&operations[0].id, &format!("line {n}")))
        .collect();
    store.write_logs(&operations, &messages).await.unwrap();
    let ended = Operation {
        state: OperationState::Success,
        function: Some("whoami".to_owned()),
        run_id: Some("run_1".into()),
        message: "ended\0".to_owned(),
        ended_at_ms: Some(NOW_MS + 5),
        duration_us: Some(5_000),
        ..operations[7].clone()
    };
    let fields = serde_json::json!({"error": "\0"});
    let last = Message {
        level: Level::Error,
        source: Source::Internal,
        fields: Some(fields.clone()),
        ..message(&ended.id, "nul \0")
    };
    store.write_logs(std::slice::from_ref(&ended), &[last]).await.unwrap();
    let has = async |environment: &str, id: &str| store.has_operation(&environment.into(), &id.into()).await.unwrap();
    let environment = fixture.environment.id.as_str();
    assert!(has(environment, ended.id.as_str()).await);
    assert!(!has(environment, "op_none").await && !has("env_other", ended.id.as_str()).await);

    let list = async |query: OperationQuery| {
        store
            .operations(&fixture.environment.id, &OperationQuery { limit: 500, ..query })
            .await
            .unwrap()
    };
    let all = list(OperationQuery::default()).await;
    assert_eq!((all.len(), &all[0].id), (100, &operations[99].id), "newest first");
    let by_function = list(OperationQuery {
        function: Some("whoami".to_owned()),
        ..Default::default()
    })
    .await;
    assert_eq!(by_function.len(), 1);
    let stored = &by_function[0];
    assert_eq!(
        (&stored.id, stored.state, stored.duration_us),
        (&ended.id, OperationState::Success, Some(5_000))
    );
    assert_eq!(
        (stored.message.as_str(), &stored.run_id),
        ("ended\u{fffd}", &ended.run_id)
    );
    let older = OperationQuery {
        before: Some(operations[3].id.clone()),
        ..Default::default()
    };
    assert_eq!(list(older).await.len(), 3);
    let other = OperationQuery {
        connection_id: Some("b".to_owned()),
        ..Default::default()
    };
    assert_eq!(list(other).await.len(), 0);
    assert_eq!(
        store
            .operations(&"env_other".into(), &OperationQuery::default())
            .await
            .unwrap()
            .len(),
        0
    );

    let query = MessageQuery {
        operation_id: operations[0].id.clone(),
        after: 0,
        limit: 400,
    };
    let first = store.messages(&fixture.environment.id, &query).await.unwrap();
    let rest = MessageQuery {
        after: first.last().unwrap().0,
        ..query.clone()
    };
    let rest = store.messages(&fixture.environment.id, &rest).await.unwrap();
    let texts: Vec<&str> = first
        .iter()
        .chain(&rest)
        .map(|(_, message)| message.text.as_str())
        .collect();
    assert_eq!(texts, (0..700).map(|n| format!("line {n}")).collect::<Vec<_>>());
    let query = MessageQuery {
        operation_id: ended.id,
        ..query
    };
    let stored = store
        .messages(&fixture.environment.id, &query)
        .await
        .unwrap()
        .remove(0)
        .1;
    assert_eq!(
        (stored.text.as_str(), stored.fields, stored.level),
        ("nul \u{fffd}", Some(fields), Level::Error)
    );
    assert_eq!(store.messages(&"env_other".into(), &query).await.unwrap().len(), 0);
}

async fn old_operations_go_in_bounded_chunks(store: Store) {
    let fixture = Fixture::new(&store).await;
    let old: Vec<Operation> = (0..5).map(|n| operation(&fixture, id(NOW_MS - 10, n))).collect();
    let new = operation(&fixture, id(NOW_MS, 0));
    let messages: Vec<Message> = old
        .iter()
        .chain([&new])
        .map(|operation| message(&operation.id, "x"))
        .collect();
    store.write_logs(&old, &messages).await.unwrap();
    store.write_logs(std::slice::from_ref(&new), &[]).await.unwrap();

    assert_eq!(store.delete_logs_before(NOW_MS, 3).await.unwrap(), 3);
    assert_eq!(store.delete_logs_before(NOW_MS, 3).await.unwrap(), 2);
    assert_eq!(store.delete_logs_before(NOW_MS, 3).await.unwrap(), 0);
    let left = store
        .operations(
            &fixture.environment.id,
            &OperationQuery {
                limit: 10,
                ..Default::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    let messages: i64 = sqlx::query_scalar("SELECT CAST(COUNT(*) AS BIGINT) FROM messages")
        .fetch_one(&store.reader)
        .await
        .unwrap();
    assert_eq!(messages, 1, "the messages went along");
}

async fn a_failed_batch_writes_nothing(store: Store) {
    let fixture = Fixture::new(&store).await;
    let operation = operation(&fixture, id(NOW_MS, 1));
    // A text with NUL in a column that is not free text: Postgres refuses it. On SQLite the transaction is dropped
    // half-way.
    let mut transaction = store.begin().await.unwrap();
    sqlx::query("INSERT INTO settings (name, value) VALUES ('half', $1)")
        .bind(vec![1_u8])
        .execute(&mut *transaction)
        .await
        .unwrap();
    drop(transaction);
    assert_eq!(store.setting("half").await.unwrap(), None);
    if store.dialect == Dialect::Postgres {
        let broken = Operation {
            connection_id: Some("a\0".to_owned()),
            ..operation.clone()
        };
        let error = store.write_logs(&[broken], &[]).await.unwrap_err();
        assert!(matches!(error, crate::store::StoreError::NulCharacter(_)), "{error}");
    }
    store.write_logs(&[operation], &[]).await.unwrap();
}
