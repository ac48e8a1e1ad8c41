//! Reading what syncs keep fresh, and emptying what was read.

use super::{BASE_VARIANT, RecordsApiError, Runtime};
use crate::model::{EnvironmentId, RecordFilter};
use crate::records::{RecordForm, RenderedRecords};
use crate::store::{Pruned, RecordKey, RecordPage};

/// Whose records.
#[derive(Clone, Copy, Debug)]
pub struct RecordsOf<'a> {
    pub provider_config_key: &'a str,
    pub connection_id: &'a str,
    pub model: &'a str,
    pub variant: &'a str,
}

impl Runtime {
    /// Records in order of change.
    ///
    /// # Errors
    /// [`RecordsApiError`]: an unknown connection, a cursor that is none of ours.
    pub async fn records(
        &self,
        environment: &EnvironmentId,
        of: RecordsOf<'_>,
        filter: &RecordFilter,
    ) -> Result<RecordPage, RecordsApiError> {
        let key = self.record_key(environment, of).await?;
        Ok(self.0.records.list(&key, filter).await?)
    }

    /// The same as text, with `_nango_metadata` in each.
    ///
    /// # Errors
    /// As [`Runtime::records`].
    pub async fn records_text(
        &self,
        environment: &EnvironmentId,
        of: RecordsOf<'_>,
        filter: &RecordFilter,
        form: RecordForm,
    ) -> Result<RenderedRecords, RecordsApiError> {
        let key = self.record_key(environment, of).await?;
        Ok(self.0.records.list_text(&key, filter, form).await?)
    }

    /// Empties the payloads of records up to and with the change at `until_cursor`, `limit` at most: their ids and hashes stay, so that
    /// changes of them are told.
    ///
    /// # Errors
    /// [`RecordsApiError`]: an unknown connection, a cursor that is none of ours.
    pub async fn prune_records(
        &self,
        environment: &EnvironmentId,
        of: RecordsOf<'_>,
        until_cursor: &str,
        limit: i64,
    ) -> Result<Pruned, RecordsApiError> {
        let key = self.record_key(environment, of).await?;
        Ok(self.0.records.prune(&key, until_cursor, limit).await?)
    }

    async fn record_key(&self, environment: &EnvironmentId, of: RecordsOf<'_>) -> Result<RecordKey, RecordsApiError> {
        let connections = &self.0.connections;
        let target = connections
            .target(environment, of.provider_config_key, of.connection_id)
            .await?;
        let model = if of.variant == BASE_VARIANT {
            of.model.to_owned()
        } else {
            format!("{}::{}", of.model, of.variant)
        };
        Ok(RecordKey {
            connection_key: target.connection.key.clone(),
            model,
        })
    }
}
