//! Reads the history of runs, page by page.

use super::columns::{Columns, Word};
use super::runs::{run, run_columns};
use super::sql::Sql;
use super::{Store, StoreError};
use crate::model::{EnvironmentId, FunctionKind, Run, RunId, RunState};

/// Runs listed at once.
const PAGE_MAX: i64 = 500;

/// Which runs to list; newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
    pub function: Option<String>,
    pub kind: Option<FunctionKind>,
    pub state: Option<RunState>,
    /// Runs older than this one.
    pub before: Option<RunId>,
    /// 1 to 500.
    pub limit: i64,
}

/// A run with the names of what it was for. Those of what has been purged since are gone.
#[derive(Clone, Debug)]
pub struct NamedRun {
    pub run: Run,
    pub provider_config_key: Option<String>,
    pub connection_id: Option<String>,
}

/// What reads a [`NamedRun`].
macro_rules! select_named {
    () => {
        concat!(
            "SELECT ",
            run_columns!("r"),
            ", i.unique_key, c.connection_id FROM runs r \
             LEFT JOIN integrations i ON i.id = r.integration_id \
             LEFT JOIN connections c ON c.connection_key = r.connection_key WHERE r.environment_id = "
        )
    };
}

impl Store {
    /// Newest first.
    pub async fn runs(&self, environment_id: &EnvironmentId, wanted: &RunQuery) -> Result<Vec<NamedRun>, StoreError> {
        let mut sql = Sql::new(self.dialect, select_named!());
        sql.bind(environment_id.as_str());
        let texts = [
            (" AND i.unique_key = ", wanted.provider_config_key.as_deref()),
            (" AND c.connection_id = ", wanted.connection_id.as_deref()),
            (" AND r.function = ", wanted.function.as_deref()),
            (" AND r.kind = ", wanted.kind.map(Word::word)),
            (" AND r.state = ", wanted.state.map(Word::word)),
            (" AND r.id < ", wanted.before.as_ref().map(RunId::as_str)),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                sql.push(condition).bind(text);
            }
        }
        sql.push(" ORDER BY r.id DESC LIMIT ")
            .bind(wanted.limit.clamp(1, PAGE_MAX));
        let rows = sql.fetch_all(&self.reader).await?;
        rows.iter().map(|row| named(&mut Columns::new(row, "runs"))).collect()
    }

    pub async fn named_run(&self, environment_id: &EnvironmentId, id: &RunId) -> Result<Option<NamedRun>, StoreError> {
        let mut sql = Sql::new(self.dialect, select_named!());
        sql.bind(environment_id.as_str()).push(" AND r.id = ").bind(id.as_str());
        let rows = sql.fetch_all(&self.reader).await?;
        rows.first()
            .map(|row| named(&mut Columns::new(row, "runs")))
            .transpose()
    }
}

fn named(columns: &mut Columns<'_>) -> Result<NamedRun, StoreError> {
    Ok(NamedRun {
        run: run(columns)?,
        provider_config_key: columns.get("unique_key")?,
        connection_id: columns.get("connection_id")?,
    })
}
