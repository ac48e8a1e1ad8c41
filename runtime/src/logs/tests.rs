//! The log writer on a database that works, is slow, or fails.

use super::*;
use crate::model::log::Source;
use crate::model::{Level, OperationId, OperationKind, OperationState, RunState};
use crate::store::tests::{Fixture, NOW_MS, NOW_US, for_each_db};
use crate::store::{MessageQuery, OperationQuery};

fn operation(number: u8, state: OperationState) -> Operation {
    let mut random = [0; 16];
    random[9] = number;
    Operation {
        id: OperationId::new(NOW_MS, random),
        environment_id: "env_1".into(),
        kind: OperationKind::ActionRun,
        state,
        provider_config_key: None,
        connection_id: None,
        function: None,
        run_id: None,
        message: String::new(),
        started_at_ms: NOW_MS,
        ended_at_ms: None,
        duration_us: None,
    }
}

fn message(operation_id: &OperationId, text: String) -> Message {
    Message {
        operation_id: operation_id.clone(),
        created_at_us: NOW_US,
        level: Level::Info,
        source: Source::User,
        text,
        fields: None,
    }
}

fn newest(limit: i64) -> OperationQuery {
    OperationQuery {
        limit,
        ..OperationQuery::default()
    }
}

for_each_db! {
    what_was_logged_is_there_after_a_flush,
    too_many_messages_are_dropped_and_operations_stay,
    entries_are_written_after_the_interval,
    old_operations_go_with_time,
}

async fn what_was_logged_is_there_after_a_flush(store: Store) {
    let fixture = Fixture::new(&store).await;
    // The clock stands still: only the flush and full batches make the writer write.
    let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0);
    logs.flush().await;
    for number in 0..10 {
        logs.operation(operation(number, OperationState::Running));
    }
    logs.operation(operation(3, OperationState::Success));
    let id = operation(3, OperationState::Success).id;
    for line in 0..10_000 {
        logs.message(message(&id, line.to_string()));
    }
    let run = Run {
        state: RunState::Succeeded,
        ..fixture.run(1)
    };
    logs.run(run.clone());
    logs.flush().await;

    let operations = store.operations(&"env_1".into(), &newest(100)).await.unwrap();
    let ended: Vec<_> = operations
        .iter()
        .filter(|operation| operation.state == OperationState::Success)
        .collect();
    assert_eq!((operations.len(), ended.len()), (10, 1));
    let query = MessageQuery {
        operation_id: id,
        after: 0,
        limit: 500,
    };
    let messages = store.messages(&"env_1".into(), &query).await.unwrap();
    let in_order = messages
        .iter()
        .enumerate()
        .all(|(line, (_, message))| message.text == line.to_string());
    assert!(messages.len() == 500 && in_order);
    assert!(store.run(&"env_1".into(), &run.id).await.unwrap().is_some());
    assert_eq!(logs.dropped(), 0);

    logs.operation(operation(4, OperationState::Failed));
    logs.flush().await;
    let operations = store.operations(&"env_1".into(), &newest(100)).await.unwrap();
    assert_eq!(
        operations
            .iter()
            .filter(|operation| operation.state == OperationState::Failed)
            .count(),
        1
    );
}

async fn too_many_messages_are_dropped_and_operations_stay(store: Store) {
    Fixture::new(&store).await;
    // Nothing can be written while the one writer is taken (on Postgres: while the table is locked).
    let blocker = store.block_log().await;
    let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0);
    let id = operation(0, OperationState::Running).id;
    for _ in 0..3 {
        for line in 0..MESSAGES_MAX {
            logs.message(message(&id, line.to_string()));
        }
    }
    logs.operation(operation(0, OperationState::Running));
    // The writer may have taken one queue full away, not more.
    let dropped = logs.dropped();
    assert!(dropped >= u64::try_from(MESSAGES_MAX).unwrap(), "{dropped}");
    blocker.rollback().await.unwrap();
    logs.flush().await;
    assert_eq!(store.operations(&"env_1".into(), &newest(10)).await.unwrap().len(), 1);
    assert_eq!(logs.dropped(), dropped);
}

async fn entries_are_written_after_the_interval(store: Store) {
    Fixture::new(&store).await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let logs = Logs::start(store.clone(), clock);
    logs.operation(operation(1, OperationState::Running));
    while store.operations(&"env_1".into(), &newest(1)).await.unwrap().is_empty() {
        manual.advance_ms(1);
        tokio::task::yield_now().await;
    }
    // The last handle gone, the writer writes what is left.
    logs.operation(operation(2, OperationState::Running));
    drop(logs);
    while store.operations(&"env_1".into(), &newest(2)).await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
}

async fn old_operations_go_with_time(store: Store) {
    Fixture::new(&store).await;
    let logs = Logs::start_with_retention(store.clone(), Clock::manual(NOW_MS).0, 2);
    for number in 0..100 {
        logs.operation(operation(number, OperationState::Success));
    }
    logs.flush().await;
    let day_ms = 24 * 60 * 60 * 1_000;
    assert_eq!(logs.tick(NOW_MS + 2 * day_ms).await.unwrap(), 0);
    assert_eq!(logs.tick(NOW_MS + 2 * day_ms + 1).await.unwrap(), 100);
    assert_eq!(store.operations(&"env_1".into(), &newest(1)).await.unwrap().len(), 0);
}

#[tokio::test]
async fn one_entry_the_database_refuses_takes_no_others_with_it() {
    crate::store::tests::on_postgres(|store: Store| async move {
        Fixture::new(&store).await;
        let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0);
        for number in 0..100 {
            logs.operation(operation(number, OperationState::Running));
        }
        logs.operation(Operation {
            function: Some("nul\0".to_owned()),
            ..operation(50, OperationState::Running)
        });
        logs.flush().await;
        assert_eq!(store.operations(&"env_1".into(), &newest(200)).await.unwrap().len(), 99);
        assert_eq!(logs.dropped(), 1);
    })
    .await;
}
