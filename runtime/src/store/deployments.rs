//! Components, deployments and the versions of functions. Whether a component is any good is for others to check.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::any::AnyRow;
use sqlx::{Any, Transaction, query, query_scalar};

use super::canaries::{NewCanary, begin_canary, end_empty_canary, has_canary};
use super::columns::{Columns, to_json};
use super::schedules::mark_stale;
use super::sql::{Sql, chunks};
use super::{Store, StoreError};
use crate::model::{
    CanaryShare, ConnectionKey, DeploymentId, EnvironmentId, Function, FunctionManifest, IntegrationId, Rollout,
};

/// A component that passed all checks.
#[derive(Debug)]
pub struct NewDeployment<'a> {
    pub id: DeploymentId,
    pub environment_id: EnvironmentId,
    pub integration_id: IntegrationId,
    pub provider_config_key: &'a str,
    pub digest: &'a str,
    pub component: &'a [u8],
    /// Their names are distinct.
    pub functions: &'a [FunctionManifest],
    /// Some connections try it first. Then there are active versions of all its functions.
    pub canary: Option<NewCanary>,
    pub now_ms: i64,
}

/// The columns of [`function`]; a `WHERE` must say which of the versions.
macro_rules! select_function {
    () => {
        "SELECT v.name, i.environment_id, f.integration_id, i.unique_key, v.version, f.active_version, f.canary_version, \
         (SELECT c.percent FROM canaries c WHERE c.integration_id = f.integration_id), v.deployment_id, v.digest, v.manifest, \
         v.deployed_at_ms, f.disabled_at_ms FROM functions f \
         JOIN integrations i ON i.id = f.integration_id AND i.deleted_at_ms IS NULL \
         JOIN function_versions v ON v.integration_id = f.integration_id AND v.name = f.name"
    };
}

/// How far a function of the integration has come.
struct Latest {
    version: i64,
    active_version: i64,
    active_digest: String,
}

impl Store {
    /// Stores the bytes by digest, records a version of each function and makes it active; removes functions with their syncs; all in
    /// one transaction. A function whose active version has the same digest stays as it is. `seen` are the active digests, by function, of
    /// each integration that is touched: when others are active by now, or a canary is running, nothing is done. Gives for each deployment the active version
    /// of its functions, in the order given; none when something else was seen.
    ///
    /// # Errors
    /// [`StoreError::ParentGone`] when an integration was deleted.
    pub async fn insert_deployments(
        &self,
        deployments: &[NewDeployment<'_>],
        seen: &[(&IntegrationId, &BTreeMap<String, String>)],
        removed: &[(&IntegrationId, &str)],
    ) -> Result<Option<Vec<Vec<Function>>>, StoreError> {
        let mut transaction = self.begin().await?;
        for (integration_id, expected) in seen {
            // Puts concurrent deployments to one integration in line: version numbers must not clash.
            let integration =
                query("UPDATE integrations SET updated_at_ms = updated_at_ms WHERE id = $1 AND deleted_at_ms IS NULL")
                    .bind(integration_id.as_str())
                    .execute(&mut *transaction)
                    .await?;
            if integration.rows_affected() == 0 {
                return Err(StoreError::ParentGone(sqlx::Error::RowNotFound));
            }
            let latest = latest_versions(&mut transaction, integration_id).await?;
            let is_as_seen = latest.len() == expected.len()
                && latest
                    .iter()
                    .all(|(name, latest)| expected.get(name) == Some(&latest.active_digest));
            if !is_as_seen || has_canary(&mut transaction, integration_id).await? {
                return Ok(None);
            }
        }
        let mut all = Vec::with_capacity(deployments.len());
        for deployment in deployments {
            all.push(self.insert_deployment(&mut transaction, deployment).await?);
        }
        for (integration_id, name) in removed {
            for statement in [
                "DELETE FROM syncs WHERE integration_id = $1 AND function = $2",
                "DELETE FROM functions WHERE integration_id = $1 AND name = $2",
            ] {
                query(statement)
                    .bind(integration_id.as_str())
                    .bind(*name)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        transaction.commit().await?;
        Ok(Some(all))
    }

    async fn insert_deployment(
        &self,
        transaction: &mut Transaction<'static, Any>,
        deployment: &NewDeployment<'_>,
    ) -> Result<Vec<Function>, StoreError> {
        let latest = latest_versions(transaction, &deployment.integration_id).await?;
        let changed: Vec<(&FunctionManifest, i64)> = deployment
            .functions
            .iter()
            .filter_map(|manifest| match latest.get(&manifest.name) {
                Some(latest) if latest.active_digest == deployment.digest => None,
                Some(latest) => Some((manifest, latest.version + 1)),
                None => Some((manifest, 1)),
            })
            .collect();
        if !changed.is_empty() {
            insert_component(transaction, deployment).await?;
            match &deployment.canary {
                None => {
                    self.activate_new(transaction, deployment, &changed).await?;
                    self.insert_versions(transaction, deployment, &changed).await?;
                    mark_stale(transaction, &deployment.integration_id).await?;
                }
                Some(canary) => {
                    self.insert_versions(transaction, deployment, &changed).await?;
                    let tried: Vec<(&str, i64, i64)> = changed
                        .iter()
                        .filter_map(|(manifest, version)| {
                            let active = latest.get(&manifest.name)?.active_version;
                            Some((manifest.name.as_str(), *version, active))
                        })
                        .collect();
                    begin_canary(self, transaction, &deployment.integration_id, canary, &tried).await?;
                }
            }
        }
        let mut active = self.deployed_functions(transaction, deployment).await?;
        let in_order = deployment
            .functions
            .iter()
            .filter_map(|manifest| active.remove(&manifest.name));
        Ok(in_order.collect())
    }

    /// Makes versions the active ones that are about to be inserted.
    async fn activate_new(
        &self,
        transaction: &mut Transaction<'static, Any>,
        deployment: &NewDeployment<'_>,
        changed: &[(&FunctionManifest, i64)],
    ) -> Result<(), StoreError> {
        for chunk in chunks(changed) {
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO functions (integration_id, name, active_version) ",
            );
            sql.values(chunk, |row, (manifest, version)| {
                row.bind(deployment.integration_id.as_str())
                    .bind(manifest.name.as_str())
                    .bind(*version);
            });
            sql.push(" ON CONFLICT (integration_id, name) DO UPDATE SET active_version = excluded.active_version");
            sql.execute(&mut **transaction).await?;
        }
        Ok(())
    }

    async fn insert_versions(
        &self,
        transaction: &mut Transaction<'static, Any>,
        deployment: &NewDeployment<'_>,
        changed: &[(&FunctionManifest, i64)],
    ) -> Result<(), StoreError> {
        for chunk in chunks(changed) {
            let mut rows = Vec::with_capacity(chunk.len());
            for (manifest, version) in chunk {
                rows.push((manifest.name.as_str(), *version, to_json(manifest)?));
            }
            let mut sql = Sql::new(
                self.dialect,
                "INSERT INTO function_versions (integration_id, name, version, deployment_id, digest, manifest, \
                 deployed_at_ms) ",
            );
            sql.values(rows, |row, (name, version, manifest)| {
                row.bind(deployment.integration_id.as_str()).bind(name).bind(version);
                row.bind(deployment.id.as_str()).bind(deployment.digest).bind(manifest);
                row.bind(deployment.now_ms);
            });
            sql.execute(&mut **transaction).await?;
        }
        Ok(())
    }

    async fn deployed_functions(
        &self,
        transaction: &mut Transaction<'static, Any>,
        deployment: &NewDeployment<'_>,
    ) -> Result<HashMap<String, Function>, StoreError> {
        let rows = query(concat!(
            select_function!(),
            " WHERE f.integration_id = $1 AND v.version = f.active_version"
        ))
        .bind(deployment.integration_id.as_str())
        .fetch_all(&mut **transaction)
        .await?;
        let functions = rows.iter().map(function);
        functions
            .map(|function| function.map(|function| (function.name.clone(), function)))
            .collect()
    }

    pub async fn component(&self, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(query_scalar("SELECT bytes FROM components WHERE digest = $1")
            .bind(digest)
            .fetch_optional(&self.reader)
            .await?)
    }

    pub async fn active_function(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
    ) -> Result<Option<Function>, StoreError> {
        let row = query(concat!(
            select_function!(),
            " WHERE i.environment_id = $1 AND i.unique_key = $2 AND f.name = $3 AND v.version = f.active_version"
        ))
        .bind(environment_id.as_str())
        .bind(provider_config_key)
        .bind(name)
        .fetch_optional(&self.reader)
        .await?;
        row.as_ref().map(function).transpose()
    }

    /// The versions of a function that run; none when there is no such function.
    pub async fn rollout(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
    ) -> Result<Option<Rollout>, StoreError> {
        let Some(active) = self.active_function(environment_id, provider_config_key, name).await? else {
            return Ok(None);
        };
        let canary = match active.canary {
            None => None,
            Some(CanaryShare { version, percent }) => {
                let versions = self
                    .function_versions(environment_id, provider_config_key, name)
                    .await?;
                let tried = versions.into_iter().find(|function| function.version == version);
                tried.map(|function| (Arc::new(function), percent))
            }
        };
        Ok(Some(Rollout {
            active: Arc::new(active),
            canary,
        }))
    }

    /// The version of a function that runs for a connection; none when there is no such function.
    pub async fn function_for(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
        connection: &ConnectionKey,
    ) -> Result<Option<Arc<Function>>, StoreError> {
        let rollout = self.rollout(environment_id, provider_config_key, name).await?;
        Ok(rollout.map(|rollout| Arc::clone(rollout.of(connection))))
    }

    /// Active versions, by integration and name; of one integration or of all.
    pub async fn functions(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: Option<&str>,
    ) -> Result<Vec<Function>, StoreError> {
        let mut sql = Sql::new(
            self.dialect,
            concat!(
                select_function!(),
                " WHERE v.version = f.active_version AND i.environment_id = "
            ),
        );
        sql.bind(environment_id.as_str());
        if let Some(provider_config_key) = provider_config_key {
            sql.push(" AND i.unique_key = ").bind(provider_config_key);
        }
        let rows = sql.fetch_all(&self.reader).await?;
        let mut functions = rows.iter().map(function).collect::<Result<Vec<_>, _>>()?;
        functions.sort_by(|a, b| (&a.provider_config_key, &a.name).cmp(&(&b.provider_config_key, &b.name)));
        Ok(functions)
    }

    /// All versions of one function, newest first.
    pub async fn function_versions(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
    ) -> Result<Vec<Function>, StoreError> {
        let rows = query(concat!(
            select_function!(),
            " WHERE i.environment_id = $1 AND i.unique_key = $2 AND f.name = $3 ORDER BY v.version DESC"
        ))
        .bind(environment_id.as_str())
        .bind(provider_config_key)
        .bind(name)
        .fetch_all(&self.reader)
        .await?;
        rows.iter().map(function).collect()
    }

    /// Has a function run, or not, until it is said otherwise; deploys leave it as it is. False when there is no such function.
    pub async fn set_function_enabled(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
        disabled_at_ms: Option<i64>,
    ) -> Result<bool, StoreError> {
        let updated = query(
            "UPDATE functions SET disabled_at_ms = $4 WHERE name = $3 \
             AND integration_id = (SELECT id FROM integrations WHERE environment_id = $1 AND unique_key = $2 \
             AND deleted_at_ms IS NULL)",
        )
        .bind(environment_id.as_str())
        .bind(provider_config_key)
        .bind(name)
        .bind(disabled_at_ms)
        .execute(&self.writer)
        .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// The version to go back to: the active one while another is tried, else the newest one before it that is of other bytes and that
    /// nobody has gone back from. None when there is none.
    pub async fn version_before(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
    ) -> Result<Option<i64>, StoreError> {
        let version = query_scalar(
            "SELECT v.version FROM functions f \
             JOIN integrations i ON i.id = f.integration_id AND i.deleted_at_ms IS NULL \
             JOIN function_versions a ON a.integration_id = f.integration_id AND a.name = f.name \
             AND a.version = f.active_version \
             JOIN function_versions v ON v.integration_id = f.integration_id AND v.name = f.name \
             AND v.version <= f.active_version \
             WHERE i.environment_id = $1 AND i.unique_key = $2 AND f.name = $3 \
             AND (f.canary_version IS NOT NULL OR (v.digest <> a.digest AND v.given_up_at_ms IS NULL)) \
             ORDER BY v.version DESC LIMIT 1",
        )
        .bind(environment_id.as_str())
        .bind(provider_config_key)
        .bind(name)
        .fetch_optional(&self.reader)
        .await?;
        Ok(version)
    }

    /// Makes a recorded version the active one, for all connections: a canary is not about the function any more, and ends with the last
    /// of its functions. Newer versions that ran until now are given up. None when there is no such version.
    pub async fn activate_version(
        &self,
        environment_id: &EnvironmentId,
        provider_config_key: &str,
        name: &str,
        version: i64,
        now_ms: i64,
    ) -> Result<Option<Function>, StoreError> {
        let mut transaction = self.begin().await?;
        let row = query(concat!(
            select_function!(),
            " WHERE i.environment_id = $1 AND i.unique_key = $2 AND f.name = $3 AND v.version = $4"
        ))
        .bind(environment_id.as_str())
        .bind(provider_config_key)
        .bind(name)
        .bind(version)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(found) = row.as_ref().map(function).transpose()? else {
            return Ok(None);
        };
        query(
            "UPDATE function_versions SET given_up_at_ms = CASE WHEN version > $3 THEN $4 END \
             WHERE integration_id = $1 AND name = $2 AND (version = $3 OR (version > $3 AND EXISTS (SELECT 1 FROM functions f \
             WHERE f.integration_id = function_versions.integration_id AND f.name = function_versions.name \
             AND function_versions.version IN (f.active_version, f.canary_version))))",
        )
        .bind(found.integration_id.as_str())
        .bind(name)
        .bind(version)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        query(
            "UPDATE functions SET active_version = $3, canary_version = NULL WHERE integration_id = $1 AND name = $2",
        )
        .bind(found.integration_id.as_str())
        .bind(name)
        .bind(version)
        .execute(&mut *transaction)
        .await?;
        end_empty_canary(&mut transaction, &found.integration_id, now_ms).await?;
        mark_stale(&mut transaction, &found.integration_id).await?;
        transaction.commit().await?;
        Ok(Some(Function {
            active_version: version,
            canary: None,
            ..found
        }))
    }
}

async fn latest_versions(
    transaction: &mut Transaction<'static, Any>,
    integration_id: &IntegrationId,
) -> Result<HashMap<String, Latest>, StoreError> {
    let rows = query(
        "SELECT f.name, a.digest, f.active_version, (SELECT MAX(v.version) FROM function_versions v \
         WHERE v.integration_id = f.integration_id AND v.name = f.name) \
         FROM functions f JOIN function_versions a \
         ON a.integration_id = f.integration_id AND a.name = f.name AND a.version = f.active_version \
         WHERE f.integration_id = $1",
    )
    .bind(integration_id.as_str())
    .fetch_all(&mut **transaction)
    .await?;
    let mut latest = HashMap::with_capacity(rows.len());
    for row in &rows {
        let mut columns = Columns::new(row, "functions");
        let name = columns.get("name")?;
        let active_digest = columns.get("digest")?;
        let active_version = columns.get("active_version")?;
        let version = columns.get("version")?;
        let of_name = Latest {
            version,
            active_version,
            active_digest,
        };
        latest.insert(name, of_name);
    }
    Ok(latest)
}

async fn insert_component(
    transaction: &mut Transaction<'static, Any>,
    deployment: &NewDeployment<'_>,
) -> Result<(), StoreError> {
    query("INSERT INTO components (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(deployment.digest)
        .bind(deployment.component)
        .execute(&mut **transaction)
        .await?;
    query(
        "INSERT INTO deployments (id, integration_id, digest, component_bytes_len, created_at_ms) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(deployment.id.as_str())
    .bind(deployment.integration_id.as_str())
    .bind(deployment.digest)
    .bind(i64::try_from(deployment.component.len()).unwrap_or(i64::MAX))
    .bind(deployment.now_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn canary_share(columns: &mut Columns<'_>) -> Result<Option<CanaryShare>, StoreError> {
    let version: Option<i64> = columns.get("canary_version")?;
    let percent: Option<i64> = columns.get("percent")?;
    Ok(version
        .zip(percent)
        .map(|(version, percent)| CanaryShare { version, percent }))
}

fn function(row: &AnyRow) -> Result<Function, StoreError> {
    let mut columns = Columns::new(row, "function_versions");
    Ok(Function {
        name: columns.get("name")?,
        environment_id: columns.id("environment_id")?,
        integration_id: columns.id("integration_id")?,
        provider_config_key: columns.get("unique_key")?,
        version: columns.get("version")?,
        active_version: columns.get("active_version")?,
        canary: canary_share(&mut columns)?,
        deployment_id: columns.id("deployment_id")?,
        digest: columns.get("digest")?,
        manifest: columns.json("manifest")?,
        deployed_at_ms: columns.get("deployed_at_ms")?,
        is_enabled: columns.get::<Option<i64>>("disabled_at_ms")?.is_none(),
    })
}
