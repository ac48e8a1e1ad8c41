//! Environment variables, for embedding programs and the HTTP API.

use super::Runtime;
use crate::credentials::Secret;
use crate::model::EnvironmentId;
use crate::variables::{EnvironmentVariable, VariableName, VariablesError};

/// Environment variables.
impl Runtime {
    /// All environment variables with their values, by name: what functions of the environment may need, such as a key of your own
    /// back end. The values are secrets, sealed in the database; a value that was set is what the next call gives, on all nodes.
    /// Nothing is written into the audit: that is for those who show them ([`Runtime::note_credential_read`]).
    ///
    /// # Errors
    /// When the database fails, or the encryption key is another one.
    pub async fn environment_variables(
        &self,
        environment: &EnvironmentId,
    ) -> Result<Vec<EnvironmentVariable>, VariablesError> {
        self.0.variables.list(environment).await
    }

    /// As [`Runtime::environment_variables`], without the values.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn environment_variable_names(
        &self,
        environment: &EnvironmentId,
    ) -> Result<Vec<VariableName>, VariablesError> {
        self.0.variables.names(environment).await
    }

    /// Makes an environment variable, or replaces its value. An environment has at most [`crate::variables::VARIABLES_MAX`], with names
    /// of at most [`crate::variables::NAME_BYTES_MAX`] and values of at most [`crate::variables::VALUE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`VariablesError`]: a name or value that cannot be one, one too many.
    pub async fn set_environment_variable(
        &self,
        environment: &EnvironmentId,
        name: &str,
        value: &Secret<String>,
    ) -> Result<(), VariablesError> {
        self.0.variables.set(environment, name, value).await
    }

    /// Deletes an environment variable.
    ///
    /// # Errors
    /// [`VariablesError::Unknown`], or when the database fails.
    pub async fn unset_environment_variable(
        &self,
        environment: &EnvironmentId,
        name: &str,
    ) -> Result<(), VariablesError> {
        self.0.variables.unset(environment, name).await
    }
}
