//! What whoever deploys lets functions be able to do. Only capabilities that there are can be named: a misspelt one would allow nothing, and
//! nobody would know why.

use std::collections::BTreeSet;

use super::DeployError;
use super::capability::{Capability, CapabilityError};

/// Stands for every capability.
const ALL: &str = "all";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    All,
    Only(BTreeSet<Capability>),
}

impl Default for Allow {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Allow {
    /// Those of these names, without what stands around them; `all` is every one.
    ///
    /// # Errors
    ///
    /// When one of them is no capability's.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, CapabilityError> {
        let names = names.into_iter().map(str::trim).filter(|name| !name.is_empty());
        let mut only = BTreeSet::new();
        let mut all = false;
        for name in names {
            if name == ALL {
                all = true;
            } else {
                only.insert(Capability::named(name)?);
            }
        }
        Ok(if all { Self::All } else { Self::Only(only) })
    }

    pub(super) fn covers(&self, gained: impl Iterator<Item = Capability>) -> Result<(), DeployError> {
        let Self::Only(allowed) = self else { return Ok(()) };
        let missing: Vec<String> = gained
            .filter(|gained| !allowed.iter().any(|allowed| allowed.covers(gained)))
            .map(|gained| gained.as_str().to_owned())
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(DeployError::Widened { gained: missing })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_can_be_allowed() {
        let allow = |text: &str| Allow::named(text.split(','));
        assert_eq!(allow("").unwrap(), Allow::default());
        assert_eq!(allow("token, all").unwrap(), Allow::All);
        let some = allow(" token,fetch:*.example.org,fetch:*,anything").unwrap();
        let Allow::Only(some) = some else {
            panic!("it is not everything: {some:?}")
        };
        let names: Vec<&str> = some.iter().map(Capability::as_str).collect();
        assert_eq!(names, ["anything", "fetch", "fetch:*.example.org", "token"]);
        // Also beside `all`, which would hide it.
        for text in ["tokens", "all,tokens"] {
            assert!(allow(text).is_err(), "{text}");
        }
    }
}
