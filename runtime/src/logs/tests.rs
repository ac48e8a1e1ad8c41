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
        usage: None,
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
    the_writer_makes_messages_in_order,
    operations_of_a_dead_process_are_interrupted,
}

async fn what_was_logged_is_there_after_a_flush(store: Store) {
    let fixture = Fixture::new(&store).await;
    // The clock stands still: only the flush and full batches make the writer write.
    let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0, &LogOptions::default());
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
        level: None,
        search: None,
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
    let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0, &LogOptions::default());
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
    let operations = store.operations(&"env_1".into(), &newest(10)).await.unwrap();
    let (lost, own): (Vec<_>, Vec<_>) = operations
        .into_iter()
        .partition(|operation| operation.kind == OperationKind::LogsLost);
    assert_eq!((lost.len(), own.len()), (1, 1));
    let expected = format!("{dropped} log entries before this were lost");
    assert!(lost[0].message.starts_with(&expected), "{}", lost[0].message);
    assert_eq!(logs.dropped(), dropped);
}

async fn entries_are_written_after_the_interval(store: Store) {
    Fixture::new(&store).await;
    let (clock, manual) = Clock::manual(NOW_MS);
    let logs = Logs::start(store.clone(), clock, &LogOptions::default());
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
    let logs = Logs::start(
        store.clone(),
        Clock::manual(NOW_MS).0,
        &LogOptions {
            retention_days: 2,
            ..LogOptions::default()
        },
    );
    for number in 0..100 {
        logs.operation(operation(number, OperationState::Success));
    }
    logs.flush().await;
    let day_ms = 24 * 60 * 60 * 1_000;
    assert_eq!(logs.tick(NOW_MS + 2 * day_ms).await.unwrap(), 0);
    assert_eq!(logs.tick(NOW_MS + 2 * day_ms + 1).await.unwrap(), 100);
    assert_eq!(store.operations(&"env_1".into(), &newest(1)).await.unwrap().len(), 0);

    // Far more messages than one transaction deletes.
    let id = operation(1, OperationState::Success).id;
    for line in 0..2_500 {
        logs.message(message(&id, line.to_string()));
    }
    logs.operation(operation(1, OperationState::Success));
    logs.flush().await;
    assert_eq!(logs.tick(NOW_MS + 2 * day_ms + 1).await.unwrap(), 2_501);
}

async fn the_writer_makes_messages_in_order(store: Store) {
    Fixture::new(&store).await;
    let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0, &LogOptions::default());
    let id = operation(1, OperationState::Success).id;
    logs.operation(operation(1, OperationState::Success));
    logs.message(message(&id, "0".to_owned()));
    for line in 1..300 {
        let id = id.clone();
        logs.message_later(100, move || message(&id, line.to_string()));
    }
    // Not made where it is logged: the clock stands still, so that nothing is written before the flush.
    let made = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (mark, made_for) = (Arc::clone(&made), id.clone());
    logs.message_later(100, move || {
        mark.store(true, std::sync::atomic::Ordering::Release);
        message(&made_for, "300".to_owned())
    });
    tokio::task::yield_now().await;
    assert!(!made.load(std::sync::atomic::Ordering::Acquire));
    // Whoever makes a message may be wrong; the log goes on.
    logs.message_later(100, || panic!("on purpose"));
    logs.message(message(&id, "x".repeat(2 * TEXT_BYTES_MAX)));
    logs.flush().await;
    let query = MessageQuery {
        operation_id: id,
        level: None,
        search: None,
        after: 0,
        limit: 500,
    };
    let messages = store.messages(&"env_1".into(), &query).await.unwrap();
    let in_order = messages
        .iter()
        .take(301)
        .enumerate()
        .all(|(line, (_, message))| message.text == line.to_string());
    assert!(messages.len() == 302 && in_order);
    assert!(messages[301].1.text.len() < TEXT_BYTES_MAX + 20);
    assert_eq!(logs.dropped(), 1);
}

async fn operations_of_a_dead_process_are_interrupted(store: Store) {
    Fixture::new(&store).await;
    let state = async |number| {
        let id = operation(number, OperationState::Running).id;
        let operation = store.operation(&"env_1".into(), &id).await.unwrap().unwrap();
        (operation.state, operation.message)
    };
    let dead = Logs::start(store.clone(), Clock::manual(NOW_MS).0, &LogOptions::default());
    let living = Logs::start(store.clone(), Clock::manual(NOW_MS + 1).0, &LogOptions::default());
    for number in 0..3 {
        dead.operation(operation(number, OperationState::Running));
    }
    living.operation(operation(3, OperationState::Running));
    dead.operation(operation(2, OperationState::Success));
    dead.flush().await;
    living.flush().await;
    assert_eq!(
        dead.interrupt_orphans(NOW_MS, false).await.unwrap(),
        1,
        "it never said that it lives"
    );
    living.operation(operation(3, OperationState::Running));
    living.flush().await;
    let soon_ms = NOW_MS + WRITER_DEAD_AFTER_MS;
    assert_eq!(living.interrupt_orphans(soon_ms, false).await.unwrap(), 0, "both live");
    assert_eq!(living.interrupt_orphans(soon_ms + 1, false).await.unwrap(), 2);
    let (interrupted, why) = state(0).await;
    assert_eq!(interrupted, OperationState::Failed);
    assert!(why.starts_with("Interrupted"), "{why}");
    assert_eq!(state(2).await.0, OperationState::Success);
    assert_eq!(state(3).await.0, OperationState::Running, "its own");

    // Who is alone knows that all others are dead.
    dead.operation(operation(4, OperationState::Running));
    dead.flush().await;
    assert_eq!(living.interrupt_orphans(NOW_MS, true).await.unwrap(), 1);
    assert_eq!(state(4).await.0, OperationState::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_database_that_cannot_be_written() {
    crate::store::tests::on_sqlite(|store: Store| async move {
        Fixture::new(&store).await;
        let (clock, manual) = Clock::manual(NOW_MS);
        let logs = Logs::start(store.clone(), clock, &LogOptions::default());
        let until = async |wanted: fn(&LogStatus) -> bool| {
            while !wanted(&logs.status()) {
                manual.advance_ms(50);
                tokio::task::yield_now().await;
            }
        };
        store.refuse_writes(true).await;
        let id = operation(1, OperationState::Running).id;
        logs.operation(operation(1, OperationState::Running));
        until(|status| status.failure.is_some()).await;
        logs.flush_within(u64::MAX).await;
        for line in 0..MESSAGES_MAX + 7 {
            logs.message(message(&id, line.to_string()));
        }
        assert_eq!(logs.status().dropped, 7);
        assert!(logs.status().waiting > u64::try_from(MESSAGES_MAX).unwrap());
        store.refuse_writes(false).await;
        until(|status| status.failure.is_none()).await;
        logs.flush().await;
        let operations = store.operations(&"env_1".into(), &newest(10)).await.unwrap();
        let lost = operations
            .iter()
            .find(|operation| operation.kind == OperationKind::LogsLost);
        assert!(lost.unwrap().message.starts_with("7 log entries"), "{operations:?}");
        assert_eq!((operations.len(), logs.status().waiting), (2, 0));

        // Closing waits for one try, not for the end of the outage.
        store.refuse_writes(true).await;
        logs.operation(operation(2, OperationState::Running));
        logs.close().await;
        assert_eq!(logs.dropped(), 8);
        logs.flush().await;
    })
    .await;
}

#[tokio::test]
async fn one_entry_the_database_refuses_takes_no_others_with_it() {
    crate::store::tests::on_postgres(|store: Store| async move {
        Fixture::new(&store).await;
        let logs = Logs::start(store.clone(), Clock::manual(NOW_MS).0, &LogOptions::default());
        for number in 0..100 {
            logs.operation(operation(number, OperationState::Running));
        }
        logs.operation(Operation {
            function: Some("nul\0".into()),
            ..operation(50, OperationState::Running)
        });
        logs.flush().await;
        let operations = store.operations(&"env_1".into(), &newest(200)).await.unwrap();
        let lost = operations
            .iter()
            .filter(|operation| operation.kind == OperationKind::LogsLost)
            .count();
        assert_eq!((operations.len() - lost, lost), (99, 1));
        assert_eq!(logs.dropped(), 1);
    })
    .await;
}
