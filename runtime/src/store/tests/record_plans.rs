//! How Postgres gets at records, which nobody sees but by what it reads: a plan that was made while it knew nothing of the table, or kept
//! from when that was empty, may read the whole model for each record of a page.

use sqlx::{AnyConnection, Connection as _, Executor as _, Row as _};

use super::*;
use crate::model::RecordFilter;
use crate::store::{RecordKey, RecordWrite};

const PAGES: u32 = 40;
const PAGE_RECORDS: u32 = 250;
/// Postgres keeps a plan after five of one call each.
const SMALL_PAGES: u32 = 8;

async fn save(store: &Store, key: &RecordKey, ids: std::ops::Range<u32>, value: u8) {
    let ids: Vec<String> = ids.map(|id| format!("i{id:06}")).collect();
    let writes: Vec<RecordWrite<'_>> = ids
        .iter()
        .map(|id| RecordWrite {
            external_id: id,
            hash: [value; 32],
            json: "{}",
        })
        .collect();
    store
        .save_records(key, &writes, &in_clear(), None, NOW_US)
        .await
        .unwrap();
}

/// Rows of the table that were read in its order, and those by the index of changes, so far.
async fn rows_read(url: &Url) -> (i64, i64) {
    let mut connection = AnyConnection::connect(url.as_str()).await.unwrap();
    let query = "SELECT CAST(t.seq_tup_read AS BIGINT), CAST(i.idx_tup_read AS BIGINT) FROM pg_stat_user_tables t \
                 JOIN pg_stat_user_indexes i ON i.relid = t.relid AND i.indexrelname = 'records_changes' \
                 WHERE t.relname = 'records'";
    let row = connection.fetch_one(query).await.unwrap();
    connection.close().await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_costs_no_more_when_the_model_has_grown() {
    let database = PostgresDatabase::create().await;
    let store = Store::open(database.url.as_str()).await.unwrap();
    let fixture = Fixture::new(&store).await;
    let key = RecordKey {
        connection_key: fixture.insert_connection("a").await,
        model: "Issue".to_owned(),
    };
    store.start_tracking(&key, NOW_US).await.unwrap();
    for page in 0..SMALL_PAGES {
        save(&store, &key, page..page + 1, 1).await;
    }
    for value in [2, 2, 3] {
        for page in 0..PAGES {
            let first = page * PAGE_RECORDS;
            save(&store, &key, first..first + PAGE_RECORDS, value).await;
            let gone = format!("i{first:06}");
            store.delete_records(&key, &[&gone], None, NOW_US).await.unwrap();
        }
    }
    // What a connection of the database has read is known when it has gone.
    store.close().await;
    let in_all = i64::from(PAGES * PAGE_RECORDS);
    // The last page alone, with the model read whole for each record of it, is seven million.
    let bound = 10 * in_all;
    let written = rows_read(&database.url).await;
    assert!(
        written.0 < bound && written.1 < bound,
        "writing {PAGES} pages of {PAGE_RECORDS} three times read (rows in order, by changes) {written:?}"
    );

    let store = Store::open(database.url.as_str()).await.unwrap();
    let mut filter = RecordFilter {
        limit: i64::from(PAGE_RECORDS),
        ..RecordFilter::default()
    };
    loop {
        let page = store.records(&key, &filter).await.unwrap();
        match page.next_cursor {
            Some(next) => filter.cursor = Some(next),
            None => break,
        }
    }
    store.close().await;
    let read = rows_read(&database.url).await;
    let (in_order, by_changes) = (read.0 - written.0, read.1 - written.1);
    // Those that were there before the last change as well, which nothing has cleared away.
    assert!(
        in_order <= in_all && by_changes <= 4 * in_all,
        "reading {in_all} records read (rows in order, by changes) {:?}",
        (in_order, by_changes)
    );
    database.drop().await;
}
