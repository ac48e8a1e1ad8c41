//! Lines, turns and limits of slots.

use std::sync::Arc;

use super::*;

const LIMITS: SlotLimits = SlotLimits {
    slots_max: 1,
    wait_ms: 5_000,
    waiting_max: 100,
    environment_max: 0,
    connection_max: 0,
    function_max: 0,
};

fn place(connection: &str, function: &str) -> Place {
    Place {
        environment_id: "env".into(),
        integration_id: "int".into(),
        connection_key: connection.into(),
        function: function.to_owned(),
    }
}

async fn take<'a>(slots: &'a Slots, connection: &str) -> Result<Slot<'a>, SlotError> {
    slots.take(Class::Blocking, || place(connection, "f")).await
}

/// Lets `count` runs of each name wait, and gives the order in which they run.
async fn order(slots: Arc<Slots>, waiting: &[(Class, &'static str, usize)]) -> Vec<&'static str> {
    let first = take(&slots, "first").await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (class, name, count) in waiting.iter().copied() {
        for _ in 0..count {
            let before = slots.lock().lines.len();
            let (task_slots, order) = (Arc::clone(&slots), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let _slot = task_slots.take(class, || place(name, "f")).await.unwrap();
                order.lock().unwrap().push(name);
            }));
            while slots.lock().lines.len() == before {
                tokio::task::yield_now().await;
            }
        }
    }
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    order.clone()
}

#[tokio::test]
async fn waits_for_a_slot_but_not_for_ever() {
    let slots = Slots::new(SlotLimits { wait_ms: 0, ..LIMITS });
    let first = take(&slots, "a").await.unwrap();
    let refused = take(&slots, "a").await.err().unwrap();
    assert_eq!(
        refused,
        SlotError::Timeout {
            slots_max: 1,
            wait_ms: 0
        }
    );
    drop(first);
    assert!(take(&slots, "a").await.is_ok());
    slots.close(10).await;
    assert_eq!(take(&slots, "a").await.err().unwrap(), SlotError::Stopping);
}

#[tokio::test]
async fn connections_take_turns() {
    let order = order(
        Arc::new(Slots::new(LIMITS)),
        &[(Class::Blocking, "a", 50), (Class::Blocking, "b", 2)],
    )
    .await;
    assert_eq!(order[..4], ["a", "b", "a", "b"]);
    assert_eq!(order.len(), 52);
}

#[tokio::test]
async fn whoever_waits_for_an_answer_comes_first_but_not_always() {
    let order = order(
        Arc::new(Slots::new(LIMITS)),
        &[
            (Class::Background, "sync", 10),
            (Class::Async, "async", 10),
            (Class::Blocking, "blocking", 10),
        ],
    )
    .await;
    let count = |name| order[..8].iter().filter(|of| **of == name).count();
    assert_eq!((count("blocking"), count("async"), count("sync")), (5, 2, 1));
    assert_eq!(order.len(), 30);
}

#[tokio::test]
async fn a_full_house_turns_away_the_last_of_the_longest_line() {
    let slots = Arc::new(Slots::new(SlotLimits {
        waiting_max: 3,
        ..LIMITS
    }));
    let first = take(&slots, "a").await.unwrap();
    let wait = |connection: &'static str| {
        let slots = Arc::clone(&slots);
        tokio::spawn(async move { take(&slots, connection).await.map(drop) })
    };
    let of_a = [wait("a"), wait("a"), wait("a")];
    while slots.lock().lines.len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        take(&slots, "a").await.err().unwrap(),
        SlotError::TooManyWaiting { waiting_max: 3 }
    );
    let of_b = wait("b");
    while !of_a.iter().any(tokio::task::JoinHandle::is_finished) {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert!(of_b.await.unwrap().is_ok(), "the newcomer has a place");
    let mut ended = Vec::new();
    for one in of_a {
        ended.push(one.await.unwrap().is_ok());
    }
    assert_eq!(ended.iter().filter(|ok| **ok).count(), 2);
}

#[tokio::test]
async fn limits_hold_one_back_and_not_the_others() {
    let limits = SlotLimits {
        slots_max: 3,
        wait_ms: 20,
        connection_max: 1,
        function_max: 2,
        ..LIMITS
    };
    let slots = Slots::new(limits);
    let a = take(&slots, "a").await.unwrap();
    assert!(take(&slots, "a").await.is_err(), "one of a connection");
    let _b = take(&slots, "b").await.unwrap();
    assert!(take(&slots, "c").await.is_err(), "two of a function");
    let other = slots.take(Class::Blocking, || place("c", "other")).await;
    assert!(other.is_ok());
    drop(other);
    drop(a);
    assert!(take(&slots, "a").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_slot_is_lost_in_a_crowd() {
    let slots = Arc::new(Slots::new(SlotLimits {
        slots_max: 4,
        wait_ms: 1,
        waiting_max: 50,
        ..LIMITS
    }));
    let mut tasks = Vec::new();
    for number in 0..400 {
        let slots = Arc::clone(&slots);
        tasks.push(tokio::spawn(async move {
            let connection = format!("c{}", number % 7);
            for _ in 0..20 {
                if let Ok(slot) = take(&slots, &connection).await {
                    tokio::task::yield_now().await;
                    drop(slot);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(slots.free.load(Ordering::SeqCst), 4);
    assert!(slots.take_free() && slots.take_free() && slots.take_free() && slots.take_free());
}
