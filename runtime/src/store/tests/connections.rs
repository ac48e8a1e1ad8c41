//! Connections, on both databases.

use super::*;
use crate::model::{EndUser, Organization, RecordFilter};
use crate::store::{ConnectionPatch, ConnectionQuery, RecordKey, RecordWrite, StoreError};

fn ids(connections: &[Connection]) -> Vec<&str> {
    connections
        .iter()
        .map(|connection| connection.connection_id.as_str())
        .collect()
}

for_each_db! {
    an_upsert_keeps_key_and_creation_time,
    lists_search_filter_and_page,
    a_patch_changes_what_it_names_and_what_is_searched,
    metadata_is_set_or_merged_for_all_or_none,
    concurrent_merges_lose_nothing,
    deletions_cascade_and_cancel_open_runs,
}

async fn an_upsert_keeps_key_and_creation_time(store: Store) {
    let fixture = Fixture::new(&store).await;
    let mut connection = fixture.connection("a");
    connection.metadata = object(r#"{"x":1}"#);
    let first = store.upsert_connection(&connection).await.unwrap();

    connection.key = "con_other".into();
    connection.credentials = Sealed(vec![9]);
    connection.metadata = object(r#"{"y":"ü\u0000"}"#);
    connection.created_at_ms += 5;
    connection.updated_at_ms += 5;
    let second = store.upsert_connection(&connection).await.unwrap();
    assert_eq!((&second.key, second.created_at_ms), (&first.key, NOW_MS));

    let stored = store
        .connection(&fixture.environment.id, "github", "a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.key, first.key);
    assert_eq!((stored.created_at_ms, stored.updated_at_ms), (NOW_MS, NOW_MS + 5));
    assert_eq!(stored.credentials, Sealed(vec![9]));
    assert_eq!(stored.connection_config, Sealed(Vec::new()));
    assert_eq!(stored.metadata, connection.metadata);
    assert_eq!(
        (stored.provider_config_key.as_str(), stored.provider.as_str()),
        ("github", "github")
    );
    assert!(
        store
            .connection(&fixture.environment.id, "github", "b")
            .await
            .unwrap()
            .is_none()
    );

    connection.integration_id = "int_gone".into();
    let orphan = store.upsert_connection(&connection).await.unwrap_err();
    assert!(matches!(orphan, StoreError::ParentGone(_)), "{orphan}");
}

async fn a_patch_changes_what_it_names_and_what_is_searched(store: Store) {
    let fixture = Fixture::new(&store).await;
    let mut connection = fixture.connection("a");
    connection.tags.insert("plan".to_owned(), "free".to_owned());
    let first = store.upsert_connection(&connection).await.unwrap();
    let end_user = EndUser {
        id: "user-7".to_owned(),
        email: None,
        display_name: Some("JÖRG".to_owned()),
        tags: BTreeMap::new(),
        organization: None,
    };
    let found = async |query: ConnectionQuery| {
        let query = ConnectionQuery { limit: 10, ..query };
        let found = store.connections(&fixture.environment.id, &query).await.unwrap();
        found.into_iter().next()
    };
    let search = |text: &str| ConnectionQuery {
        search: Some(text.to_owned()),
        ..Default::default()
    };

    let named = ConnectionPatch {
        end_user: Some(Some(end_user.clone())),
        tags: None,
        webhook_url_override: Some(Some("https://a.test/hook".to_owned())),
        connection_config: None,
    };
    assert!(store.patch_connection(&first, &named, NOW_MS + 5).await.unwrap());
    let patched = found(search("jörg")).await.unwrap();
    assert_eq!(patched.end_user, Some(end_user));
    assert_eq!(patched.tags, connection.tags, "tags stay");
    assert_eq!(patched.webhook_url_override.as_deref(), Some("https://a.test/hook"));
    assert_eq!((patched.created_at_ms, patched.updated_at_ms), (NOW_MS, NOW_MS + 5));
    assert_eq!(patched.refresh, first.refresh, "credentials are the same");
    let by_user = ConnectionQuery {
        end_user_id: Some("user-7".to_owned()),
        ..Default::default()
    };
    assert!(found(by_user.clone()).await.is_some());

    let taken_away = ConnectionPatch {
        end_user: Some(None),
        tags: Some(BTreeMap::from([("plan".to_owned(), "pro".to_owned())])),
        webhook_url_override: None,
        connection_config: None,
    };
    assert!(store.patch_connection(&first, &taken_away, NOW_MS + 6).await.unwrap());
    let patched = found(search("a")).await.unwrap();
    assert_eq!((patched.end_user, patched.tags["plan"].as_str()), (None, "pro"));
    assert!(
        patched.webhook_url_override.is_some(),
        "what a patch does not name stays"
    );
    assert!(found(by_user).await.is_none());
    assert!(found(search("jörg")).await.is_none());

    let config = |before: &Sealed| ConnectionPatch {
        tags: Some(BTreeMap::new()),
        connection_config: Some((before.clone(), Sealed(vec![7, 7]))),
        ..ConnectionPatch::default()
    };
    let other = config(&Sealed(vec![9]));
    assert!(!store.patch_connection(&first, &other, NOW_MS + 6).await.unwrap());
    assert!(!found(search("a")).await.unwrap().tags.is_empty(), "nothing is changed");
    let right = config(&first.connection_config);
    assert!(store.patch_connection(&first, &right, NOW_MS + 6).await.unwrap());
    let patched = found(search("a")).await.unwrap();
    assert_eq!(
        (patched.connection_config, patched.credentials),
        (Sealed(vec![7, 7]), first.credentials.clone())
    );

    assert!(store.delete_connection(&first.key, NOW_MS).await.unwrap());
    assert!(!store.patch_connection(&first, &named, NOW_MS + 7).await.unwrap());
}

async fn lists_search_filter_and_page(store: Store) {
    let fixture = Fixture::new(&store).await;
    let slack = integration(&fixture.environment, "slack");
    store.insert_integration(&slack).await.unwrap();
    for (number, connection_id) in (0..).zip(["alpha", "beta_1", "betaX1", "gamma"]) {
        let mut connection = fixture.connection(connection_id);
        connection.created_at_ms += number;
        connection
            .tags
            .insert("plan".to_owned(), if number < 2 { "Free" } else { "free" }.to_owned());
        connection.tags.insert("odd \"name\"".to_owned(), number.to_string());
        if connection_id == "gamma" {
            connection.integration_id = slack.id.clone();
            connection.end_user = Some(EndUser {
                id: "user-7".to_owned(),
                email: Some("Jörg@Example.com".to_owned()),
                display_name: Some("JÖRG".to_owned()),
                tags: BTreeMap::new(),
                organization: Some(Organization {
                    id: "org \"1\"".to_owned(),
                    display_name: Some("One".to_owned()),
                }),
            });
        }
        store.upsert_connection(&connection).await.unwrap();
    }
    let list = async |query: ConnectionQuery| {
        let query = ConnectionQuery {
            limit: if query.limit == 0 { 100 } else { query.limit },
            ..query
        };
        store.connections(&fixture.environment.id, &query).await.unwrap()
    };
    let all = list(ConnectionQuery::default()).await;
    assert_eq!(ids(&all), ["gamma", "betaX1", "beta_1", "alpha"]);
    assert_eq!(
        all[0].end_user.as_ref().unwrap().email.as_deref(),
        Some("Jörg@Example.com")
    );
    assert_eq!(all[0].provider_config_key, "slack");
    assert_eq!(
        ids(&list(ConnectionQuery {
            limit: 3,
            page: 1,
            ..Default::default()
        })
        .await),
        ["alpha"]
    );

    let search = |text: &str| ConnectionQuery {
        search: Some(text.to_owned()),
        ..Default::default()
    };
    assert_eq!(
        ids(&list(search("BETA_")).await),
        ["beta_1"],
        "an underscore is no wildcard"
    );
    assert_eq!(ids(&list(search("jörg@")).await), ["gamma"]);
    assert_eq!(ids(&list(search("JÖRG")).await), ["gamma"]);
    assert_eq!(ids(&list(search("%")).await), [""; 0]);

    let tagged = |name: &str, value: &str| ConnectionQuery {
        tags: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..Default::default()
    };
    assert_eq!(
        ids(&list(tagged("plan", "free")).await),
        ["gamma", "betaX1"],
        "case matters"
    );
    assert_eq!(ids(&list(tagged("odd \"name\"", "1")).await), ["beta_1"]);
    assert_eq!(ids(&list(tagged("lan", "free")).await), [""; 0]);

    let by_integration = ConnectionQuery {
        integration_ids: vec!["slack".to_owned(), "x".to_owned()],
        ..Default::default()
    };
    assert_eq!(ids(&list(by_integration).await), ["gamma"]);
    let of_organization = |id: &str| ConnectionQuery {
        organization_id: Some(id.to_owned()),
        ..Default::default()
    };
    assert_eq!(ids(&list(of_organization("org \"1\"")).await), ["gamma"]);
    assert_eq!(ids(&list(of_organization("org")).await), [""; 0], "not a part of it");
    let by_user = ConnectionQuery {
        end_user_id: Some("user-7".to_owned()),
        ..Default::default()
    };
    assert_eq!(ids(&list(by_user).await), ["gamma"]);
    let by_id = ConnectionQuery {
        connection_id: Some("alpha".to_owned()),
        ..Default::default()
    };
    assert_eq!(ids(&list(by_id).await), ["alpha"]);
}

async fn metadata_is_set_or_merged_for_all_or_none(store: Store) {
    let fixture = Fixture::new(&store).await;
    let a = fixture.insert_connection("a").await;
    let b = fixture.insert_connection("b").await;
    let both = [b.clone(), a.clone(), b.clone()];
    let set = async |keys: &[ConnectionKey], json: &str, merge| {
        store
            .set_metadata(keys, &object(json), merge, NOW_MS + 1)
            .await
            .unwrap()
    };

    assert_eq!(
        set(std::slice::from_ref(&a), r#"{"x":1,"deep":{"k":1}}"#, false)
            .await
            .unwrap(),
        [object(r#"{"x":1,"deep":{"k":1}}"#)]
    );
    let merged = set(&both, r#"{"y":2,"deep":{"l":2}}"#, true).await.unwrap();
    let b_merged = object(r#"{"y":2,"deep":{"l":2}}"#);
    assert_eq!(
        merged,
        [b_merged.clone(), object(r#"{"x":1,"y":2,"deep":{"l":2}}"#), b_merged]
    );

    assert_eq!(
        set(&[a.clone(), "con_gone".into()], r#"{"lost":true}"#, false).await,
        None
    );
    let stored = store
        .connection(&fixture.environment.id, "github", "a")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        stored.metadata,
        object(r#"{"x":1,"y":2,"deep":{"l":2}}"#),
        "nothing changed"
    );
    assert_eq!(
        set(&both, "{}", false).await.unwrap(),
        [object("{}"), object("{}"), object("{}")]
    );
}

async fn concurrent_merges_lose_nothing(store: Store) {
    let fixture = Fixture::new(&store).await;
    let keys = [
        fixture.insert_connection("a").await,
        fixture.insert_connection("b").await,
    ];
    let merges = (0..20).map(|n| {
        let (store, keys) = (store.clone(), keys.clone());
        tokio::spawn(async move {
            let metadata = object(&format!("{{\"k{n}\":{n}}}"));
            store
                .set_metadata(&keys, &metadata, true, NOW_MS)
                .await
                .unwrap()
                .unwrap();
        })
    });
    for merge in merges.collect::<Vec<_>>() {
        merge.await.unwrap();
    }
    let stored = store
        .connection(&fixture.environment.id, "github", "b")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.metadata.len(), 20);
}

async fn deletions_cascade_and_cancel_open_runs(store: Store) {
    let fixture = Fixture::new(&store).await;
    for way in ["connection", "integration"] {
        store.insert_integration(&fixture.integration).await.unwrap();
        let key = fixture.insert_connection(way).await;
        let other = fixture.insert_connection(&format!("{way}-other")).await;
        for key in [&key, &other] {
            let sync = fixture.insert_sync(key, "issues").await;
            let run = Run {
                id: format!("run_{}", key.as_str()).as_str().into(),
                ..fixture.sync_run(&sync, 1)
            };
            assert!(store.enqueue_sync_run(&run).await.unwrap());
            store
                .save_checkpoint(key, "sync:issues:base", "{}", 0, NOW_MS)
                .await
                .unwrap();
            let records = [RecordWrite {
                external_id: "1",
                hash: [1; 32],
                json: r#"{"id":"1"}"#,
            }];
            store
                .save_records(&record_key(key), &records, &in_clear(), None, NOW_US)
                .await
                .unwrap();
        }
        if way == "connection" {
            assert!(store.delete_connection(&key, NOW_MS).await.unwrap());
            assert!(!store.delete_connection(&key, NOW_MS).await.unwrap());
            assert_eq!(left(&store, &other).await, (1, 1, 1), "others stay");
        } else {
            assert!(
                store
                    .delete_integration(&fixture.environment.id, "github", NOW_MS)
                    .await
                    .unwrap()
            );
            assert_eq!(left(&store, &other).await, (0, 0, 0));
        }
        assert_eq!(left(&store, &key).await, (0, 0, 0));
        let run = store
            .run(&fixture.environment.id, &format!("run_con_{way}").as_str().into())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(run.state, RunState::Cancelled, "runs are history");

        let records = [RecordWrite {
            external_id: "1",
            hash: [1; 32],
            json: "{}",
        }];
        let error = store
            .save_records(&record_key(&key), &records, &in_clear(), None, NOW_US)
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::ParentGone(_)), "{error}");
    }
}

fn record_key(connection_key: &ConnectionKey) -> RecordKey {
    RecordKey {
        connection_key: connection_key.clone(),
        model: "Issue".to_owned(),
    }
}

/// Syncs, checkpoints and records of a connection.
async fn left(store: &Store, key: &ConnectionKey) -> (usize, usize, usize) {
    let syncs = store.syncs(&"env_1".into(), "github", Some(key)).await.unwrap();
    let checkpoint = store.checkpoint(key, "sync:issues:base").await.unwrap();
    let filter = RecordFilter {
        limit: 10,
        ..Default::default()
    };
    let records = store.records(&record_key(key), &filter).await.unwrap().records;
    (syncs.len(), usize::from(checkpoint.is_some()), records.len())
}
