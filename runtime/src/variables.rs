//! Environment variables: named values that all functions of an environment may need, such as the address of the customer's own
//! back end or a key for it. Values are secrets: sealed in the database, never in a log. Listing is one statement, without a cache,
//! so that a value that was changed is what everybody gets from then on, on all nodes; what runs see is in [`run`].

mod run;

use std::sync::Arc;

use crate::clock::{Clock, Entropy};
use crate::credentials::Secret;
use crate::encryption::{EncryptionError, Keyring};
use crate::model::{EnvironmentId, EnvironmentVariableId, StoredEnvironmentVariable};
use crate::store::{Store, StoreError};

pub use run::{MASKED_BYTES_MIN, Opened, RunVariables, VARIABLES_AGE_MS_MAX};

/// Variables that an environment may have.
pub const VARIABLES_MAX: i64 = 100;
pub const NAME_BYTES_MAX: usize = 256;
/// Long enough for a private key with its certificates. All of them together are what a function may hold at once.
pub const VALUE_BYTES_MAX: usize = 16 << 10;

/// A variable, opened.
#[derive(Clone, Debug)]
pub struct EnvironmentVariable {
    pub name: String,
    pub value: Secret<String>,
    /// Milliseconds since 1970.
    pub updated_at_ms: i64,
}

/// A variable without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableName {
    pub name: String,
    /// Milliseconds since 1970.
    pub updated_at_ms: i64,
}

/// Why variables are not read or not changed. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum VariablesError {
    #[error(
        "{name:?} cannot name an environment variable: a name has 1 to {NAME_BYTES_MAX} letters of a to z, digits and _ - . and begins \
         with a letter or _"
    )]
    Name { name: String },
    #[error(
        "the value has {bytes} bytes; a value has 1 to {VALUE_BYTES_MAX} bytes, and to take one away is to delete the variable"
    )]
    Value { bytes: usize },
    #[error(
        "the environment has {VARIABLES_MAX} environment variables, which is the most it may have; delete one that is not used"
    )]
    TooMany,
    #[error("there is no environment variable {name:?}; `nango-runtime env list` shows all")]
    Unknown { name: String },
    #[error("what is stored as the environment variable {name:?} is no text; set it again")]
    Stored { name: String },
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Variables {
    store: Store,
    keyring: Keyring,
    clock: Clock,
    entropy: Entropy,
    kept: Arc<run::Kept>,
}

impl Variables {
    #[must_use]
    pub fn new(store: Store, keyring: Keyring, clock: Clock, entropy: Entropy) -> Self {
        Self {
            store,
            keyring,
            clock,
            entropy,
            kept: Arc::default(),
        }
    }

    /// All of them with their values, by name. At most [`VARIABLES_MAX`].
    ///
    /// # Errors
    /// When the database fails, or the encryption key is another one.
    pub async fn list(&self, environment: &EnvironmentId) -> Result<Vec<EnvironmentVariable>, VariablesError> {
        let stored = self.store.environment_variables(environment).await?;
        stored.into_iter().map(|variable| self.open(variable)).collect()
    }

    /// All of them without opening their values, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn names(&self, environment: &EnvironmentId) -> Result<Vec<VariableName>, VariablesError> {
        let stored = self.store.environment_variables(environment).await?;
        let name = |variable: StoredEnvironmentVariable| VariableName {
            name: variable.name,
            updated_at_ms: variable.updated_at_ms,
        };
        Ok(stored.into_iter().map(name).collect())
    }

    /// Makes a variable or replaces its value. Committed when this returns.
    ///
    /// # Errors
    /// [`VariablesError`]: a name or value that cannot be one, one too many.
    pub async fn set(
        &self,
        environment: &EnvironmentId,
        name: &str,
        value: &Secret<String>,
    ) -> Result<(), VariablesError> {
        if !is_name(name) {
            return Err(VariablesError::Name { name: name.to_owned() });
        }
        let bytes = value.expose().len();
        if !(1..=VALUE_BYTES_MAX).contains(&bytes) {
            return Err(VariablesError::Value { bytes });
        }
        let now_ms = self.clock.now_ms();
        let variable = StoredEnvironmentVariable {
            id: EnvironmentVariableId::new(now_ms, self.entropy.bytes()),
            environment_id: environment.clone(),
            name: name.to_owned(),
            value: self.keyring.seal(&place(environment, name), value.expose().as_bytes()),
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        };
        let is_set = self.store.set_environment_variable(&variable, VARIABLES_MAX).await?;
        self.kept.forget(environment);
        if is_set { Ok(()) } else { Err(VariablesError::TooMany) }
    }

    /// Deletes a variable.
    ///
    /// # Errors
    /// [`VariablesError::Unknown`], or when the database fails.
    pub async fn unset(&self, environment: &EnvironmentId, name: &str) -> Result<(), VariablesError> {
        let is_deleted = self.store.delete_environment_variable(environment, name).await?;
        self.kept.forget(environment);
        if is_deleted {
            Ok(())
        } else {
            Err(VariablesError::Unknown { name: name.to_owned() })
        }
    }

    fn open(&self, stored: StoredEnvironmentVariable) -> Result<EnvironmentVariable, VariablesError> {
        let place = place(&stored.environment_id, &stored.name);
        let opened = self.keyring.open(&place, &stored.value)?;
        match std::str::from_utf8(opened.expose()) {
            Ok(value) => Ok(EnvironmentVariable {
                value: Secret::new(value.to_owned()),
                name: stored.name,
                updated_at_ms: stored.updated_at_ms,
            }),
            Err(_) => Err(VariablesError::Stored { name: stored.name }),
        }
    }
}

/// What a shell, a URL and Nango's functions all take for a name.
fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_allowed)
}

/// What a value is sealed for. The store's list of sealed columns has the same in SQL.
fn place(environment: &EnvironmentId, name: &str) -> String {
    format!("environment_variable:{environment}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Environment;

    async fn variables(folder: &tempfile::TempDir) -> (Variables, EnvironmentId) {
        variables_at(folder, Clock::system()).await
    }

    pub(super) async fn variables_at(folder: &tempfile::TempDir, clock: Clock) -> (Variables, EnvironmentId) {
        let url = format!("sqlite:{}", folder.path().join("nango.sqlite").display());
        let store = Store::open(&url).await.unwrap();
        let environment = Environment {
            id: "env_1".into(),
            name: "dev".into(),
            created_at_ms: 1,
        };
        store.insert_environment(&environment).await.unwrap();
        let entropy = Entropy::seeded(1);
        let keyring = Keyring::new(Secret::new([7; 32]), entropy.clone());
        let variables = Variables::new(store, keyring, clock, entropy);
        (variables, environment.id)
    }

    #[tokio::test]
    async fn a_value_is_sealed_for_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let (variables, environment) = variables(&folder).await;
        let value = |text: &str| Secret::new(text.to_owned());
        variables.set(&environment, "B", &value("in clear")).await.unwrap();
        variables.set(&environment, "A", &value("ä")).await.unwrap();
        variables.set(&environment, "B", &value("changed")).await.unwrap();
        let all = variables.list(&environment).await.unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|it| (it.name.as_str(), it.value.expose().as_str()))
            .collect();
        assert_eq!(shown, [("A", "ä"), ("B", "changed")]);
        assert!(!format!("{all:?}").contains("changed"));

        // A value moved to another name does not open.
        let mut moved = variables
            .store
            .environment_variables(&environment)
            .await
            .unwrap()
            .remove(1);
        assert!(!String::from_utf8_lossy(&moved.value.0).contains("changed"));
        (moved.id, moved.name) = ("var_other".into(), "C".into());
        variables
            .store
            .set_environment_variable(&moved, VARIABLES_MAX)
            .await
            .unwrap();
        let error = variables.list(&environment).await.unwrap_err();
        assert!(matches!(error, VariablesError::Encryption(_)), "{error}");
        assert_eq!(variables.names(&environment).await.unwrap().len(), 3);

        variables.unset(&environment, "C").await.unwrap();
        let error = variables.unset(&environment, "C").await.unwrap_err();
        assert!(matches!(error, VariablesError::Unknown { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_name_or_no_value_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (variables, environment) = variables(&folder).await;
        let set = async |name: &str, value: String| variables.set(&environment, name, &Secret::new(value)).await;
        for name in ["", "1A", "A B", "A/B", ".", "..", "-A", "Ä", "A=B", &"A".repeat(257)] {
            let error = set(name, "x".into()).await.unwrap_err();
            assert!(matches!(error, VariablesError::Name { .. }), "{name}");
        }
        for length in [0, VALUE_BYTES_MAX + 1] {
            let error = set("A", "x".repeat(length)).await.unwrap_err();
            assert!(matches!(error, VariablesError::Value { .. }), "{length}");
        }
        for number in 0..VARIABLES_MAX {
            set(&format!("_v-{number}.x"), "x".repeat(VALUE_BYTES_MAX))
                .await
                .unwrap();
        }
        assert!(matches!(set("A", "x".into()).await, Err(VariablesError::TooMany)));
        set("_v-0.x", "another value of one that is there".into())
            .await
            .unwrap();
    }
}
