//! Why nothing was deployed.

use super::canary::CanaryError;
use super::capability::CapabilityError;
use super::signature::SignatureError;
use super::{COMPONENTS_MAX, NewComponent};
use crate::connections::ConnectionsError;
use crate::executor::ComponentError;
use crate::store::StoreError;

/// Functions, losses and the like that a message lists.
const LISTED_MAX: usize = 8;

/// Why nothing was deployed, and nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    #[error("{which}: {error}; nothing was deployed")]
    Of { which: String, error: Box<DeployError> },
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
        listed(losses, "; ")
    )]
    Destructive { losses: Vec<String> },
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error(transparent)]
    Canary(#[from] CanaryError),
    #[error("another deploy to the same integration was faster: look at the plan again")]
    Concurrent,
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeployError {
    /// The same, with the component it is about where that is not clear.
    pub(super) fn of(self, component: &NewComponent<'_>, index: usize, count: usize) -> Self {
        let which = match component.name {
            Some(name) => name.to_owned(),
            None if count > 1 => {
                let key = component.provider_config_key;
                format!("component {} of {count}, for {key:?}", index + 1)
            }
            None => return self,
        };
        let error = Box::new(self);
        Self::Of { which, error }
    }
}

/// The first few of many: what is in a message must be readable. A plan shows all.
pub(super) fn listed(items: &[String], separator: &str) -> String {
    let shown = items.get(..LISTED_MAX).unwrap_or(items).join(separator);
    match items.len().saturating_sub(LISTED_MAX) {
        0 => shown,
        more => format!("{shown}{separator}and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_list_no_more_than_is_read() {
        let names = |count: usize| -> Vec<String> { (1..=count).map(|number| format!("f{number}")).collect() };
        assert_eq!(listed(&names(2), ", "), "f1, f2");
        assert_eq!(listed(&names(8), ", "), "f1, f2, f3, f4, f5, f6, f7, f8");
        assert_eq!(listed(&names(10), ", "), "f1, f2, f3, f4, f5, f6, f7, f8, and 2 more");
    }
}
