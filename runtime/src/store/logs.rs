use super::{Store, StoreError};
use crate::model::{EnvironmentId, Message, Operation, OperationId};

/// Which operations to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct OperationQuery {
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    pub function: Option<String>,
    /// Operations older than this one.
    pub before: Option<OperationId>,
    /// 1 to 500.
    pub limit: i64,
}

/// Which messages of one operation to list; oldest first.
#[derive(Clone, Debug)]
pub struct MessageQuery {
    pub operation_id: OperationId,
    /// Messages after this sequence number.
    pub after: i64,
    /// 1 to 500.
    pub limit: i64,
}

impl Store {
    /// Writes a batch in one transaction: operations are inserted or, where the id is there, rewritten.
    pub async fn write_logs(&self, _operations: &[Operation], _messages: &[Message]) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn operations(
        &self,
        _environment_id: &EnvironmentId,
        _query: &OperationQuery,
    ) -> Result<Vec<Operation>, StoreError> {
        todo!()
    }
    /// With their sequence numbers.
    pub async fn messages(
        &self,
        _environment_id: &EnvironmentId,
        _query: &MessageQuery,
    ) -> Result<Vec<(i64, Message)>, StoreError> {
        todo!()
    }
    /// Deletes operations that started before, with their messages, at most `limit`; gives how many.
    pub async fn delete_logs_before(&self, _before_ms: i64, _limit: i64) -> Result<u64, StoreError> {
        todo!()
    }
}
