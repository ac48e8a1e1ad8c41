//! Takes a component in: checks, describes, records, activates.

use crate::connections::ConnectionsError;
use crate::executor::ComponentError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error("{function}: {message}")]
    Manifest { function: String, message: String },
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
