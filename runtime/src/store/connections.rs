//! Connections: their sealed credentials, metadata and tags. Sealing and opening is for others.

use std::collections::{BTreeMap, HashMap};

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query};

use super::columns::{Columns, Word, to_json};
use super::sql::{Sql, chunks};
use super::validations::{Consequences, counts, made_by_writing};
use super::{Store, StoreError};
use crate::model::{
    Connection, ConnectionKey, EndUser, EnvironmentId, Generation, JsonObject, Made, RefreshFailure, RefreshState,
    Sealed,
};

/// Connections listed at once.
const CONNECTIONS_PAGE_MAX: i64 = 2_000;

/// Which connections to list; newest first. What is empty or none does not restrict.
#[derive(Clone, Debug, Default)]
pub struct ConnectionQuery {
    pub connection_id: Option<String>,
    /// A part of the connection-id or of the end user's id, e-mail or name, in upper or lower case.
    pub search: Option<String>,
    pub end_user_id: Option<String>,
    /// Of the end user's organization.
    pub organization_id: Option<String>,
    /// Unique keys of integrations; a connection of any of them fits.
    pub integration_ids: Vec<String>,
    /// A connection fits that has all of them.
    pub tags: BTreeMap<String, String>,
    /// 1 to 2,000.
    pub limit: i64,
    /// From 0.
    pub page: i64,
}

/// What to change of a connection; none leaves it.
#[derive(Clone, Debug, Default)]
pub struct ConnectionPatch {
    /// In the place of those that were there.
    pub tags: Option<BTreeMap<String, String>>,
    /// In the place of the one that was there; `Some(None)` takes it away.
    pub end_user: Option<Option<EndUser>>,
    /// In the place of the one that was there; `Some(None)` takes it away.
    pub webhook_url_override: Option<Option<String>>,
    /// What the connection_config was, and what it is to be. With another one there nothing is changed.
    pub connection_config: Option<(Sealed, Sealed)>,
}

/// The columns of [`connection`], from `connections` as `c` and `integrations` as `i`, with these two for the names of both. A
/// condition on `c` has to follow.
macro_rules! connection_columns {
    ($unique_key:literal, $connection_id:literal) => {
        concat!(
            "SELECT c.connection_key, c.environment_id, c.integration_id, ",
            $unique_key,
            ", i.provider, ",
            $connection_id,
            ", c.credentials, c.connection_config, c.metadata, c.tags, c.end_user, c.webhook_url_override, c.created_at_ms, \
             c.updated_at_ms, c.credentials_epoch, c.credentials_fence, c.refresh_due_at_ms, c.refreshed_at_ms, \
             c.refresh_failed_at_ms, c.refresh_failing_days, c.refresh_operation_id \
             FROM connections c JOIN integrations i ON i.id = c.integration_id AND "
        )
    };
}
pub(super) use connection_columns;

/// Those that live: nobody but `deletions` and `purge` sees others.
macro_rules! select_connection {
    () => {
        concat!(
            connection_columns!("i.unique_key", "c.connection_id"),
            "c.deleted_at_ms IS NULL"
        )
    };
}
pub(super) use select_connection;

/// That the connection whose key is this parameter lives.
macro_rules! lives {
    ($key:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM connections living WHERE living.connection_key = ",
            $key,
            " AND living.deleted_at_ms IS NULL)"
        )
    };
}
pub(super) use lives;

impl Store {
    /// Inserts or replaces by (environment, provider config key, connection id); an existing one keeps its key and
    /// creation time. Of the refresh state only `due_at_ms` is written: the epoch grows, and failures are forgotten. Gives
    /// the connection as stored.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when the integration was deleted.
    pub async fn upsert_connection(&self, connection: &Connection) -> Result<Connection, StoreError> {
        let nothing = |_: &Connection, _| Consequences::default();
        let (stored, _) = self.upsert_and_announce(connection, None, None, nothing).await?;
        Ok(stored)
    }

    /// As [`Store::upsert_connection`]; in the same transaction it writes what `announce` makes of the connection as stored, and of
    /// how it was made. With `replaces` it is only for that connection: one that was deleted meanwhile does not come back. With
    /// `validation_until_ms` nothing is announced yet: one that is new does not count before [`Store::end_validation`], which must
    /// come until then.
    ///
    /// # Errors
    /// As [`Store::upsert_connection`], also when the connection that it replaces was deleted.
    pub async fn upsert_and_announce(
        &self,
        connection: &Connection,
        replaces: Option<&ConnectionKey>,
        validation_until_ms: Option<i64>,
        announce: impl FnOnce(&Connection, Made) -> Consequences + Send,
    ) -> Result<(Connection, Made), StoreError> {
        let end_user = connection.end_user.as_ref();
        let mut transaction = self.begin().await?;
        // Not only a foreign key: an integration that is deleted stays for a while. Writing to the row keeps it from being deleted
        // meanwhile.
        let integration =
            query("UPDATE integrations SET updated_at_ms = updated_at_ms WHERE id = $1 AND deleted_at_ms IS NULL")
                .bind(connection.integration_id.as_str())
                .execute(&mut *transaction)
                .await?;
        if integration.rows_affected() == 0 {
            return Err(StoreError::ParentGone(sqlx::Error::RowNotFound));
        }
        if let Some(replaces) = replaces {
            // Whose row is written to is not deleted meanwhile either.
            let living = query(
                "UPDATE connections SET updated_at_ms = updated_at_ms WHERE connection_key = $1 AND integration_id = $2 \
                 AND connection_id = $3 AND deleted_at_ms IS NULL",
            )
            .bind(replaces.as_str())
            .bind(connection.integration_id.as_str())
            .bind(&connection.connection_id)
            .execute(&mut *transaction)
            .await?;
            if living.rows_affected() == 0 {
                return Err(StoreError::ParentGone(sqlx::Error::RowNotFound));
            }
        }
        let made = made_by_writing(&mut transaction, connection).await?;
        let row = query(
            "INSERT INTO connections (connection_key, environment_id, integration_id, connection_id, credentials, \
             connection_config, metadata, tags, end_user, end_user_id, search_text, created_at_ms, updated_at_ms, \
             refresh_due_at_ms, webhook_url_override, validation, validation_until_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
             ON CONFLICT (integration_id, connection_id) DO UPDATE SET credentials = excluded.credentials, \
             connection_config = excluded.connection_config, metadata = excluded.metadata, tags = excluded.tags, \
             end_user = excluded.end_user, end_user_id = excluded.end_user_id, search_text = excluded.search_text, \
             updated_at_ms = excluded.updated_at_ms, refresh_due_at_ms = excluded.refresh_due_at_ms, verify_due_at_ms = NULL, \
             webhook_url_override = excluded.webhook_url_override, validation = excluded.validation, \
             validation_until_ms = excluded.validation_until_ms, \
             credentials_epoch = connections.credentials_epoch + 1, refreshed_at_ms = NULL, \
             refresh_failed_at_ms = NULL, refresh_failing_days = 0, refresh_operation_id = NULL \
             RETURNING connection_key, created_at_ms, credentials_epoch, credentials_fence",
        )
        .bind(connection.key.as_str())
        .bind(connection.environment_id.as_str())
        .bind(connection.integration_id.as_str())
        .bind(&connection.connection_id)
        .bind(connection.credentials.0.as_slice())
        .bind(connection.connection_config.0.as_slice())
        .bind(to_json(&connection.metadata)?)
        .bind(to_json(&connection.tags)?)
        .bind(end_user.map(to_json).transpose()?)
        .bind(end_user.map(|end_user| end_user.id.as_str()))
        .bind(search_text(&connection.connection_id, end_user))
        .bind(connection.created_at_ms)
        .bind(connection.updated_at_ms)
        .bind(connection.refresh.due_at_ms)
        .bind(&connection.webhook_url_override)
        .bind(validation_until_ms.map(|_| made.word()))
        .bind(validation_until_ms)
        .fetch_one(&mut *transaction)
        .await?;
        let mut columns = Columns::new(&row, "connections");
        let stored = Connection {
            key: columns.id("connection_key")?,
            created_at_ms: columns.get("created_at_ms")?,
            refresh: RefreshState {
                generation: generation(&mut columns)?,
                due_at_ms: connection.refresh.due_at_ms,
                ..RefreshState::default()
            },
            ..connection.clone()
        };
        if validation_until_ms.is_none() {
            self.add_consequences(&mut transaction, &announce(&stored, made))
                .await?;
        }
        transaction.commit().await?;
        Ok((stored, made))
    }

    pub async fn connection(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        connection_id: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let row = query(concat!(
            select_connection!(),
            " WHERE i.environment_id = $1 AND i.unique_key = $2 AND c.connection_id = $3"
        ))
        .bind(environment_id.as_str())
        .bind(provider_config_key)
        .bind(connection_id)
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(connection).transpose()
    }

    pub async fn connection_by_key(&self, key: &ConnectionKey) -> Result<Option<Connection>, StoreError> {
        let row = query(concat!(select_connection!(), " WHERE c.connection_key = $1"))
            .bind(key.as_str())
            .fetch_optional(&self.reader)
            .await?;
        row.as_ref().map(connection).transpose()
    }

    /// The same, within a transaction.
    pub(super) async fn living_connection(
        &self,
        transaction: &mut Transaction<'static, Any>,
        key: &ConnectionKey,
    ) -> Result<Option<Connection>, StoreError> {
        let row = query(concat!(select_connection!(), " WHERE c.connection_key = $1"))
            .bind(key.as_str())
            .fetch_optional(&mut **transaction)
            .await?;
        row.as_ref().map(connection).transpose()
    }

    pub async fn connections(
        &self,
        environment_id: &EnvironmentId,
        query: &ConnectionQuery,
    ) -> Result<Vec<Connection>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                select_connection!(),
                " WHERE ",
                counts!("c"),
                " AND c.environment_id = "
            ),
        );
        sql.bind(environment_id.as_str());
        if let Some(connection_id) = &query.connection_id {
            sql.push(" AND c.connection_id = ").bind(connection_id.as_str());
        }
        if let Some(end_user_id) = &query.end_user_id {
            sql.push(" AND c.end_user_id = ").bind(end_user_id.as_str());
        }
        if let Some(organization_id) = &query.organization_id {
            // As with tags below: values are strings, in which quotes are escaped, so this can be nothing but the member.
            let member = format!("\"organization\":{{\"id\":{}", to_json(organization_id)?);
            sql.push(" AND replace(c.end_user, ")
                .bind(member)
                .push(", '') <> c.end_user");
        }
        if let Some(search) = &query.search {
            sql.push(" AND c.search_text LIKE ")
                .bind(containing(&search.to_lowercase()))
                .push(" ESCAPE '\\'");
        }
        if !query.integration_ids.is_empty() {
            let unique_keys: Vec<&str> = query.integration_ids.iter().map(String::as_str).collect();
            sql.push(" AND i.unique_key IN ").list(&unique_keys);
        }
        for tag in &query.tags {
            // `"name":"value"` can occur in a JSON object of strings only as this very member, since quotes within
            // strings are escaped. Replacing is the one way to look for a part exactly that both databases have.
            let member = to_json(&BTreeMap::from([tag]))?;
            let member = member.trim_start_matches('{').trim_end_matches('}').to_owned();
            sql.push(" AND replace(c.tags, ").bind(member).push(", '') <> c.tags");
        }
        let limit = query.limit.clamp(1, CONNECTIONS_PAGE_MAX);
        sql.push(" ORDER BY c.created_at_ms DESC, c.connection_key DESC LIMIT ")
            .bind(limit)
            .push(" OFFSET ")
            .bind(query.page.max(0).saturating_mul(limit));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter().map(connection).collect()
    }

    /// Changes tags, end user, the URL of webhooks and the connection_config. False when the connection is gone, or has another
    /// connection_config by now.
    pub async fn patch_connection(
        &self,
        connection: &Connection,
        patch: &ConnectionPatch,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self.dialect, "UPDATE connections SET updated_at_ms = ");
        sql.bind(now_ms);
        if let Some(tags) = &patch.tags {
            sql.push(", tags = ").bind(to_json(tags)?);
        }
        if let Some(end_user) = patch.end_user.as_ref().map(Option::as_ref) {
            sql.push(", end_user = ").bind(end_user.map(to_json).transpose()?);
            sql.push(", end_user_id = ")
                .bind(end_user.map(|end_user| end_user.id.clone()));
            sql.push(", search_text = ")
                .bind(search_text(&connection.connection_id, end_user));
        }
        if let Some(url) = &patch.webhook_url_override {
            sql.push(", webhook_url_override = ").bind(url.clone());
        }
        if let Some((_, after)) = &patch.connection_config {
            sql.push(", connection_config = ").bind(after.0.clone());
        }
        sql.push(" WHERE deleted_at_ms IS NULL AND connection_key = ")
            .bind(connection.key.as_str());
        if let Some((before, _)) = &patch.connection_config {
            sql.push(" AND connection_config = ").bind(before.0.clone());
        }
        sql.push(" RETURNING connection_key");
        Ok(!sql.fetch_all(&self.writer).await?.is_empty())
    }

    /// Sets the metadata of all of them in one transaction; with `merge`, top-level keys are merged. Gives the
    /// resulting metadata in order; none (and nothing changed) when one of the connections is gone.
    pub async fn set_metadata(
        &self,
        keys: &[ConnectionKey],
        metadata: &JsonObject,
        merge: bool,
        now_ms: i64,
    ) -> Result<Option<Vec<JsonObject>>, StoreError> {
        // In one order for all, so that two calls do not wait for each other's rows in a ring.
        let mut distinct: Vec<&str> = keys.iter().map(ConnectionKey::as_str).collect();
        distinct.sort_unstable();
        distinct.dedup();

        let mut transaction = self.begin().await?;
        let mut by_key = self.lock_metadata(&mut transaction, &distinct, now_ms).await?;
        if by_key.len() < distinct.len() {
            return Ok(None);
        }
        for stored in by_key.values_mut() {
            if !merge {
                stored.clear();
            }
            stored.extend(metadata.clone());
        }
        for chunk in chunks(&distinct) {
            let mut rows = Vec::with_capacity(chunk.len());
            for key in chunk {
                rows.push((*key, to_json(&by_key.get(*key))?));
            }
            let mut sql = Sql::new(self.dialect, "UPDATE connections SET metadata = v.column2 FROM (");
            sql.values(rows, |row, (key, json)| {
                row.bind(key).bind(json);
            });
            sql.push(") AS v WHERE connection_key = v.column1");
            sql.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(keys.iter().map(|key| by_key.get(key.as_str()).cloned()).collect())
    }

    /// Reads the metadata of connections and keeps other writers away from them until the transaction ends.
    async fn lock_metadata(
        &self,
        transaction: &mut Transaction<'static, Any>,
        keys: &[&str],
        now_ms: i64,
    ) -> Result<HashMap<String, JsonObject>, StoreError> {
        let mut by_key = HashMap::with_capacity(keys.len());
        for chunk in chunks(keys) {
            let mut sql = Sql::new(self.dialect, "UPDATE connections SET updated_at_ms = ");
            sql.bind(now_ms)
                .push(" WHERE deleted_at_ms IS NULL AND connection_key IN ")
                .list(chunk);
            sql.push(" RETURNING connection_key, metadata");
            for row in &sql.fetch_all(&mut **transaction).await? {
                let mut columns = Columns::new(row, "connections");
                by_key.insert(columns.get("connection_key")?, columns.json("metadata")?);
            }
        }
        Ok(by_key)
    }
}

/// Reads [`select_connection`].
pub(super) fn connection(row: &AnyRow) -> Result<Connection, StoreError> {
    let mut columns = Columns::new(row, "connections");
    Ok(Connection {
        key: columns.id("connection_key")?,
        environment_id: columns.id("environment_id")?,
        integration_id: columns.id("integration_id")?,
        provider_config_key: columns.get("unique_key")?,
        provider: columns.get("provider")?,
        connection_id: columns.get("connection_id")?,
        credentials: Sealed(columns.get("credentials")?),
        connection_config: Sealed(columns.get("connection_config")?),
        metadata: columns.json("metadata")?,
        tags: columns.json("tags")?,
        end_user: columns.json_or_null("end_user")?,
        webhook_url_override: columns.get("webhook_url_override")?,
        created_at_ms: columns.get("created_at_ms")?,
        updated_at_ms: columns.get("updated_at_ms")?,
        refresh: refresh_state(&mut columns)?,
    })
}

fn refresh_state(columns: &mut Columns<'_>) -> Result<RefreshState, StoreError> {
    let generation = generation(columns)?;
    let due_at_ms = columns.get("refresh_due_at_ms")?;
    let refreshed_at_ms = columns.get("refreshed_at_ms")?;
    let failed_at_ms: Option<i64> = columns.get("refresh_failed_at_ms")?;
    let failing_days = columns.get("refresh_failing_days")?;
    let operation_id: Option<&str> = columns.get("refresh_operation_id")?;
    let failure = failed_at_ms
        .zip(operation_id)
        .map(|(failed_at_ms, operation_id)| RefreshFailure {
            failed_at_ms,
            failing_days,
            operation_id: operation_id.into(),
        });
    Ok(RefreshState {
        generation,
        due_at_ms,
        refreshed_at_ms,
        failure,
    })
}

fn generation(columns: &mut Columns<'_>) -> Result<Generation, StoreError> {
    Ok(Generation {
        epoch: columns.get("credentials_epoch")?,
        fence: columns.get("credentials_fence")?,
    })
}

/// What [`ConnectionQuery::search`] looks in. Lower-cased here and not by the database: SQLite knows only ASCII.
fn search_text(connection_id: &str, end_user: Option<&EndUser>) -> String {
    let mut text = connection_id.to_lowercase();
    if let Some(end_user) = end_user {
        let fields = [
            Some(&end_user.id),
            end_user.email.as_ref(),
            end_user.display_name.as_ref(),
        ];
        for field in fields.into_iter().flatten() {
            text.push('\n');
            text.push_str(&field.to_lowercase());
        }
    }
    text
}

/// A `LIKE` pattern for texts that contain `part`.
fn containing(part: &str) -> String {
    let mut pattern = String::from("%");
    for character in part.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
