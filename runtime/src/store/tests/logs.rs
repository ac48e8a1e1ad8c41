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
        provider_config_key: Some("github".into()),
        connection_id: Some("a".into()),
        function: None,
        run_id: None,
        message: "started".to_owned(),
        started_at_ms: NOW_MS,
        ended_at_ms: None,
        duration_us: None,
        usage: None,
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
    operations_are_found_by_what_they_are,
    messages_are_found_by_level_and_text,
    changes_are_told_in_order_and_none_is_missed,
}

async fn operations_are_found_by_what_they_are(store: Store) {
    let fixture = Fixture::new(&store).await;
    let at = |ms| operation(&fixture, id(NOW_MS + ms, 0));
    let operations = [
        at(0),
        Operation {
            kind: OperationKind::ProxyCall,
            state: OperationState::Failed,
            message: "Proxy call answered with 404: 100% \\ Nothing_here".to_owned(),
            ..at(10)
        },
        Operation {
            kind: OperationKind::SyncRun,
            function: Some("Issues".into()),
            ..at(20)
        },
    ];
    let said = [
        message(&operations[0].id, "about Widgets"),
        message(&operations[2].id, "x"),
    ];
    store.write_logs("w", &operations, &said).await.unwrap();
    let find = async |query: OperationQuery| {
        let query = OperationQuery { limit: 10, ..query };
        let found = store.operations(&fixture.environment.id, &query).await.unwrap();
        let number = |found: &Operation| operations.iter().position(|one| one.id == found.id).unwrap();
        found.iter().map(number).collect::<Vec<_>>()
    };
    let search = |text: &str| OperationQuery {
        search: Some(text.to_owned()),
        ..OperationQuery::default()
    };
    let all = OperationQuery::default;
    assert_eq!(
        find(OperationQuery {
            kinds: vec![OperationKind::ProxyCall, OperationKind::SyncRun],
            ..all()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        find(OperationQuery {
            state: Some(OperationState::Failed),
            ..all()
        })
        .await,
        [1]
    );
    assert_eq!(
        find(OperationQuery {
            since_ms: Some(NOW_MS + 10),
            ..all()
        })
        .await,
        [2, 1]
    );
    assert_eq!(
        find(OperationQuery {
            until_ms: Some(NOW_MS + 10),
            ..all()
        })
        .await,
        [0]
    );
    assert_eq!(find(search("WIDGETS")).await, [0], "in a message");
    assert_eq!(find(search("issues")).await, [2], "in the function's name");
    assert_eq!(find(search("100% \\ nothing_")).await, [1]);
    assert_eq!(find(search("100_")).await, [] as [usize; 0], "wildcards are none");
    let one = store
        .operation(&fixture.environment.id, &operations[1].id)
        .await
        .unwrap();
    assert_eq!(one.unwrap().message, operations[1].message);
    assert!(
        store
            .operation(&"env_other".into(), &operations[1].id)
            .await
            .unwrap()
            .is_none()
    );
}

async fn messages_are_found_by_level_and_text(store: Store) {
    let fixture = Fixture::new(&store).await;
    let operation = operation(&fixture, id(NOW_MS, 0));
    let messages: Vec<Message> = [Level::Debug, Level::Info, Level::Warn, Level::Error]
        .into_iter()
        .enumerate()
        .map(|(number, level)| Message {
            level,
            fields: Message::fields(&serde_json::json!({"Number": number})),
            ..message(&operation.id, "said")
        })
        .collect();
    store
        .write_logs("w", std::slice::from_ref(&operation), &messages)
        .await
        .unwrap();
    let find = async |level: Option<Level>, search: Option<&str>| {
        let query = MessageQuery {
            operation_id: operation.id.clone(),
            level,
            search: search.map(str::to_owned),
            after: 0,
            limit: 10,
        };
        let found = store.messages(&fixture.environment.id, &query).await.unwrap();
        found.into_iter().map(|(_, message)| message.level).collect::<Vec<_>>()
    };
    assert_eq!(find(Some(Level::Warn), None).await, [Level::Warn, Level::Error]);
    assert_eq!(find(Some(Level::Debug), Some("SAID")).await.len(), 4);
    assert_eq!(find(None, Some("\"number\":1")).await, [Level::Info]);
}

async fn changes_are_told_in_order_and_none_is_missed(store: Store) {
    let fixture = Fixture::new(&store).await;
    let one = |n| operation(&fixture, id(NOW_MS, n));
    let everything = OperationQuery {
        limit: 500,
        ..OperationQuery::default()
    };
    let after = async |change| {
        let changed = store
            .changed_operations(&fixture.environment.id, &everything, change)
            .await;
        changed.unwrap()
    };
    assert_eq!(store.last_operation_change().await.unwrap(), 0);
    store.write_logs("w", &[one(1), one(2)], &[]).await.unwrap();
    let last = store.last_operation_change().await.unwrap();
    assert_eq!((last, after(0).await.len(), after(last).await.len()), (2, 2, 0));
    // An operation that began before all others and ends now, and one that is new.
    let ended = Operation {
        state: OperationState::Success,
        ..one(1)
    };
    store.write_logs("w", &[ended], &[]).await.unwrap();
    store.write_logs("w", &[one(0)], &[]).await.unwrap();
    let changed: Vec<_> = after(last)
        .await
        .into_iter()
        .map(|(_, operation)| operation.id)
        .collect();
    assert_eq!(changed, [one(1).id, one(0).id]);

    // Whoever reads while many write sees each of them, once.
    let writers: Vec<_> = (0..4_u8)
        .map(|writer| {
            let (store, fixture) = (store.clone(), fixture.clone());
            tokio::spawn(async move {
                for n in 0..20_u8 {
                    let operation = operation(&fixture, id(NOW_MS + 1 + i64::from(writer), n));
                    store.write_logs("w", &[operation], &[]).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    let mut reached = store.last_operation_change().await.unwrap().min(4);
    while seen.len() < 80 {
        for (change, operation) in after(reached).await {
            assert!(change > reached && seen.insert(operation.id.to_string()));
            reached = change;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn a_batch_is_written_and_operations_are_rewritten(store: Store) {
    let fixture = Fixture::new(&store).await;
    let operations: Vec<Operation> = (0..100).map(|n| operation(&fixture, id(NOW_MS, n))).collect();
    let messages: Vec<Message> = (0..700)
        .map(|n| message(&operations[0].id, &format!("line {n}")))
        .collect();
    store.write_logs("w", &operations, &messages).await.unwrap();
    let ended = Operation {
        state: OperationState::Success,
        function: Some("whoami".into()),
        run_id: Some("run_1".into()),
        message: "ended\0".to_owned(),
        ended_at_ms: Some(NOW_MS + 5),
        duration_us: Some(5_000),
        usage: None,
        ..operations[7].clone()
    };
    let fields = serde_json::json!({"error": "\0"});
    let last = Message {
        level: Level::Error,
        source: Source::Internal,
        fields: Message::fields(&fields),
        ..message(&ended.id, "nul \0")
    };
    store
        .write_logs("w", std::slice::from_ref(&ended), &[last])
        .await
        .unwrap();
    let has = async |environment: &str, id: &str| {
        let found = store.operation(&environment.into(), &id.into()).await.unwrap();
        found.is_some()
    };
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
        function: Some("whoami".into()),
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
        connection_id: Some("b".into()),
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
        level: None,
        search: None,
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
        (stored.text.as_str(), stored.fields.unwrap().get(), stored.level),
        ("nul \u{fffd}", fields.to_string().as_str(), Level::Error)
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
    store.write_logs("w", &old, &messages).await.unwrap();
    store.write_logs("w", std::slice::from_ref(&new), &[]).await.unwrap();

    assert_eq!(store.delete_messages_before(NOW_MS, 3).await.unwrap(), 3);
    assert_eq!(store.delete_messages_before(NOW_MS, 3).await.unwrap(), 2);
    assert_eq!(store.delete_messages_before(NOW_MS, 3).await.unwrap(), 0);
    assert_eq!(store.delete_operations_before(NOW_MS, 3).await.unwrap(), 3);
    assert_eq!(store.delete_operations_before(NOW_MS, 3).await.unwrap(), 2);
    assert_eq!(store.delete_operations_before(NOW_MS, 3).await.unwrap(), 0);
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
    assert_eq!(messages, 1, "those of the new operation stay");
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
            connection_id: Some("a\0".into()),
            ..operation.clone()
        };
        let error = store.write_logs("w", &[broken], &[]).await.unwrap_err();
        assert!(matches!(error, crate::store::StoreError::NulCharacter(_)), "{error}");
    }
    store.write_logs("w", &[operation], &[]).await.unwrap();
}
