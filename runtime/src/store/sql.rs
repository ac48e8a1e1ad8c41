//! Statements whose shape depends on the call: filters, and many rows at once. Text comes from literals only and values
//! are only ever bound, so nothing from outside can become SQL.

use futures_util::TryStreamExt;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow};
use sqlx::{Any, Arguments, Encode, Executor, QueryBuilder, Type};

use super::StoreError;
use super::columns::to_json;
use super::open::Dialect;

/// Rows written by one statement. A statement of each size is prepared once for each connection, so there are few
/// sizes; the largest keeps 12 columns well below the 32,766 parameters SQLite allows.
const ROWS_SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// Splits rows into chunks of the sizes above, largest first.
pub(super) fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = ROWS_SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (chunk, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(chunk)
    })
}

/// A statement under construction.
///
/// Parameters are `$1`, `$2` … on Postgres and a bare `?` on SQLite. SQLite accepts numbers as well, but looks up each
/// by searching the list of all, which takes most of the time of a statement with thousands.
pub(super) struct Sql {
    dialect: Dialect,
    text: String,
    arguments: AnyArguments,
    unencodable: Option<sqlx::error::BoxDynError>,
    is_planned_anew: bool,
}

impl Sql {
    pub(super) fn new(dialect: Dialect, text: &'static str) -> Self {
        Self {
            dialect,
            text: text.to_owned(),
            arguments: AnyArguments::default(),
            unencodable: None,
            is_planned_anew: false,
        }
    }

    /// Has Postgres make a plan for this call alone, for one more exchange with it. It keeps the plans of statements that come again,
    /// and one that was made while a table was empty may read all of it for each row when it is not.
    pub(super) fn plan_anew(&mut self) -> &mut Self {
        self.is_planned_anew = self.dialect == Dialect::Postgres;
        self
    }

    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.unencodable.get_or_insert(error);
        }
        match self.dialect {
            Dialect::Sqlite => self.text.push('?'),
            Dialect::Postgres => {
                let number = self.arguments.len().to_string();
                self.text.push('$');
                self.text.push_str(&number);
            }
        }
        self
    }

    /// `VALUES (…), (…)`: `bind` binds the columns of one row.
    pub(super) fn values<R>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
        mut bind: impl FnMut(&mut Row<'_>, R),
    ) -> &mut Self {
        self.text.push_str("VALUES ");
        for (index, row) in rows.into_iter().enumerate() {
            self.text.push_str(if index == 0 { "(" } else { ", (" });
            bind(&mut Row { sql: self, first: true }, row);
            self.text.push(')');
        }
        self
    }

    /// `(…, …)`, for `IN`. Repeats the last value up to one of the chunk sizes, so that there are few statements.
    pub(super) fn list<'t, T: Encode<'t, Any> + Type<Any> + Copy>(&mut self, values: &[T]) -> &mut Self {
        let size = ROWS_SIZES.into_iter().rev().find(|size| *size >= values.len());
        let padding = size.unwrap_or(values.len()) - values.len();
        self.text.push('(');
        let repeated = values.last().into_iter().cycle().take(padding);
        for (index, value) in values.iter().chain(repeated).enumerate() {
            if index > 0 {
                self.text.push_str(", ");
            }
            self.bind(*value);
        }
        self.text.push(')');
        self
    }

    /// A table with the columns `place`, from 0, and `item`: any number of texts in one parameter, so that there is one statement.
    ///
    /// # Errors
    /// The texts cannot be written as JSON, which does not happen.
    pub(super) fn texts(&mut self, texts: &[&str]) -> Result<&mut Self, StoreError> {
        let json = to_json(&texts)?;
        Ok(match self.dialect {
            Dialect::Sqlite => self
                .push("(SELECT key AS place, value AS item FROM json_each(")
                .bind(json)
                .push("))"),
            Dialect::Postgres => self
                .push("(SELECT e.item, e.number - 1 AS place FROM json_array_elements_text(CAST(")
                .bind(json)
                .push(" AS JSON)) WITH ORDINALITY AS e (item, number))"),
        })
    }

    /// Runs it; gives the number of rows written.
    pub(super) async fn execute<'e>(self, on: impl Executor<'e, Database = Any>) -> Result<u64, StoreError> {
        let is_kept = !self.is_planned_anew;
        let result: AnyQueryResult = self.builder()?.build().persistent(is_kept).execute(on).await?;
        Ok(result.rows_affected())
    }

    pub(super) async fn fetch_all<'e>(self, on: impl Executor<'e, Database = Any>) -> Result<Vec<AnyRow>, StoreError> {
        let is_kept = !self.is_planned_anew;
        Ok(self.builder()?.build().persistent(is_kept).fetch_all(on).await?)
    }

    /// Gives rows one by one as they come, until `each` says that it has enough.
    pub(super) async fn fetch_each<'e>(
        self,
        on: impl Executor<'e, Database = Any>,
        mut each: impl FnMut(&AnyRow) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let is_kept = !self.is_planned_anew;
        let mut builder = self.builder()?;
        let mut rows = builder.build().persistent(is_kept).fetch(on);
        while let Some(row) = rows.try_next().await? {
            if !each(&row)? {
                break;
            }
        }
        Ok(())
    }

    fn builder(self) -> Result<QueryBuilder<Any>, StoreError> {
        if let Some(error) = self.unencodable {
            return Err(StoreError::Driver(sqlx::Error::Encode(error)));
        }
        Ok(QueryBuilder::with_arguments(self.text, self.arguments))
    }
}

/// Binds the columns of one row of [`Sql::values`].
pub(super) struct Row<'s> {
    sql: &'s mut Sql,
    first: bool,
}

impl Row<'_> {
    pub(super) fn bind<'t, T: Encode<'t, Any> + Type<Any>>(&mut self, value: T) -> &mut Self {
        if !self.first {
            self.sql.text.push_str(", ");
        }
        self.first = false;
        self.sql.bind(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_have_few_sizes_and_hold_every_row_in_order() {
        for count in [0, 1, 3, 5, 255, 256, 257, 1_000] {
            let rows: Vec<usize> = (0..count).collect();
            let chunked: Vec<&[usize]> = chunks(&rows).collect();
            assert_eq!(chunked.concat(), rows);
            assert!(chunked.iter().all(|chunk| ROWS_SIZES.contains(&chunk.len())));
        }
    }

    #[test]
    fn placeholders_are_numbered_on_postgres_only() {
        let mut sql = Sql::new(Dialect::Postgres, "a ");
        sql.values([(1_i64, "x"), (2, "y")], |row, (number, text)| {
            row.bind(number).bind(text);
        });
        assert_eq!(sql.text, "a VALUES ($1, $2), ($3, $4)");
        let mut sql = Sql::new(Dialect::Sqlite, "b IN ");
        sql.list(&["x", "y", "z"]);
        assert_eq!(sql.text, "b IN (?, ?, ?, ?)");
    }
}
