//! What runs know of the variables: all of an environment's, opened together with the masker that keeps them out of logs. Opening costs
//! far more than reading, so it is kept for a moment and as long as nothing changed; runs that do not ask cost nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::{EnvironmentVariable, Variables, VariablesError};
use crate::model::{EnvironmentId, StoredEnvironmentVariable};
use crate::redaction::Masker;

/// How long what was read counts as what is there. A change by this process counts at once, one by another after this.
pub const VARIABLES_AGE_MS_MAX: u64 = 2_000;
/// Shorter values are not looked for in logs: they are the likes of `true`, `prod` and `8080`, which are in half of all texts.
pub const MASKED_BYTES_MIN: usize = 8;
/// Environments whose variables are kept.
const OPENED_MAX: usize = 100;

/// All variables of an environment at one moment.
#[derive(Debug)]
pub struct Opened {
    variables: Vec<EnvironmentVariable>,
    masker: Arc<Masker>,
}

impl Opened {
    fn new(variables: Vec<EnvironmentVariable>) -> Self {
        let values = variables.iter().map(|variable| &variable.value);
        let masker = Masker::new(values.filter(|value| value.expose().len() >= MASKED_BYTES_MIN));
        Self {
            masker: Arc::new(masker),
            variables,
        }
    }

    /// By name.
    #[must_use]
    pub fn all(&self) -> &[EnvironmentVariable] {
        &self.variables
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&EnvironmentVariable> {
        self.variables.iter().find(|variable| variable.name == name)
    }
}

/// The variables as a run and those it calls see them: as they were when the first of them asked. Cheap to clone; clones are of the
/// same run.
#[derive(Clone, Debug, Default)]
pub struct RunVariables(Arc<OnceCell<Arc<Opened>>>);

impl RunVariables {
    /// # Errors
    /// As [`Variables::list`].
    pub async fn read(&self, variables: &Variables, environment: &EnvironmentId) -> Result<&Opened, VariablesError> {
        let opened = self.0.get_or_try_init(|| variables.opened(environment)).await?;
        Ok(opened)
    }

    /// Masks the values of all of them; none as long as nobody asked.
    #[must_use]
    pub fn masker(&self) -> Option<&Arc<Masker>> {
        self.0.get().map(|opened| &opened.masker)
    }
}

/// What was opened lately. A std mutex: held for a look-up, never across an await.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<EnvironmentId, Entry>>);

struct Entry {
    /// As the database had them.
    stored: Vec<StoredEnvironmentVariable>,
    opened: Arc<Opened>,
    /// When they were read, on the clock's monotonic scale.
    read_at_us: u64,
}

impl Kept {
    pub(super) fn forget(&self, environment: &EnvironmentId) {
        self.entries().remove(environment);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<EnvironmentId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Variables {
    async fn opened(&self, environment: &EnvironmentId) -> Result<Arc<Opened>, VariablesError> {
        let now_us = self.clock.monotonic_us();
        let is_new = |entry: &Entry| now_us.saturating_sub(entry.read_at_us) <= VARIABLES_AGE_MS_MAX * 1_000;
        if let Some(entry) = self.kept.entries().get(environment).filter(|entry| is_new(entry)) {
            return Ok(Arc::clone(&entry.opened));
        }
        let stored = self.store.environment_variables(environment).await?;
        if let Some(entry) = self.kept.entries().get_mut(environment)
            && entry.stored == stored
        {
            entry.read_at_us = now_us;
            return Ok(Arc::clone(&entry.opened));
        }
        let variables = stored.iter().cloned().map(|variable| self.open(variable));
        let opened = Arc::new(Opened::new(variables.collect::<Result<_, _>>()?));
        let entry = Entry {
            stored,
            opened: Arc::clone(&opened),
            read_at_us: now_us,
        };
        let mut entries = self.kept.entries();
        if entries.len() >= OPENED_MAX {
            entries.clear();
        }
        entries.insert(environment.clone(), entry);
        Ok(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::variables_at;
    use super::*;
    use crate::clock::Clock;
    use crate::credentials::Secret;

    #[tokio::test]
    async fn a_run_sees_what_was_there_when_it_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, time) = Clock::manual(0);
        let (variables, environment) = variables_at(&folder, clock).await;
        let set = async |of: &Variables, value: &str| {
            of.set(&environment, "A", &Secret::new(value.to_owned())).await.unwrap();
        };
        let read = async |run: &RunVariables| {
            let opened = run.read(&variables, &environment).await.unwrap();
            opened.get("A").map(|variable| variable.value.expose().clone())
        };
        set(&variables, "the-first-value").await;
        let run = RunVariables::default();
        assert!(run.masker().is_none());
        assert_eq!(read(&run).await.as_deref(), Some("the-first-value"));
        set(&variables, "the-second-value").await;
        assert_eq!(read(&run.clone()).await.as_deref(), Some("the-first-value"));
        let next = RunVariables::default();
        assert_eq!(
            read(&next).await.as_deref(),
            Some("the-second-value"),
            "at once in its own process"
        );

        // Another process with the same database.
        let other = Variables {
            kept: Arc::default(),
            ..variables.clone()
        };
        set(&other, "the-third-value").await;
        assert_eq!(
            read(&RunVariables::default()).await.as_deref(),
            Some("the-second-value")
        );
        time.advance_ms(i64::try_from(VARIABLES_AGE_MS_MAX).unwrap() + 1);
        assert_eq!(read(&RunVariables::default()).await.as_deref(), Some("the-third-value"));
        let unchanged = variables.opened(&environment).await.unwrap();
        time.advance_ms(i64::try_from(VARIABLES_AGE_MS_MAX).unwrap() + 1);
        let again = variables.opened(&environment).await.unwrap();
        assert!(
            Arc::ptr_eq(&unchanged, &again),
            "what did not change is not opened again"
        );
    }

    #[tokio::test]
    async fn values_are_masked_and_settings_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (variables, environment) = variables_at(&folder, Clock::system()).await;
        for (name, value) in [("KEY", "s3cr3t-of-the-back-end"), ("DEBUG", "true")] {
            let value = Secret::new(value.to_owned());
            variables.set(&environment, name, &value).await.unwrap();
        }
        let run = RunVariables::default();
        let opened = run.read(&variables, &environment).await.unwrap();
        assert_eq!((opened.all().len(), opened.get("NOPE").is_none()), (2, true));
        assert!(!format!("{run:?}").contains("s3cr3t"));
        let masker = run.masker().unwrap();
        assert_eq!(masker.mask("true: s3cr3t-of-the-back-end"), "true: REDACTED");
    }
}
