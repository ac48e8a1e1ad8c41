//! An environment variable as it is kept: its value sealed.

use super::Sealed;
use super::id::{EnvironmentId, EnvironmentVariableId};

/// A value that all functions of an environment may need, under a name that is unique there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEnvironmentVariable {
    pub id: EnvironmentVariableId,
    pub environment_id: EnvironmentId,
    pub name: String,
    pub value: Sealed,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}
