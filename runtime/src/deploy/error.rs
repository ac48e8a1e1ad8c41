//! Why nothing was deployed.

use super::COMPONENTS_MAX;
use super::canary::CanaryError;
use super::signature::SignatureError;
use crate::connections::ConnectionsError;
use crate::executor::ComponentError;
use crate::store::StoreError;

/// Why nothing was deployed, and nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error(transparent)]
    Component(#[from] ComponentError),
    #[error("{function}: {message}")]
    Manifest { function: String, message: String },
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("{components} components at once: at most {COMPONENTS_MAX} are allowed")]
    TooMany { components: usize },
    #[error(
        "the component can do what nobody has allowed its functions: {}; allow it with --allow {} (`allow` of the request), or build it without",
        gained.join(", "),
        gained.join(",")
    )]
    Widened { gained: Vec<String> },
    #[error(
        "the deploy would lose something: {}; say --allow-destructive (`allow_destructive=true` of the request) if that is meant",
        losses.join("; ")
    )]
    Destructive { losses: Vec<String> },
    #[error(transparent)]
    Canary(#[from] CanaryError),
    #[error("another deploy to the same integration was faster: look at the plan again")]
    Concurrent,
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
