//! Reads rows. What cannot be read is named by table, column and row.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::store::{Page, StoreError};

/// The answer to a statement.
pub(super) struct Rows(Vec<Row>);

impl Rows {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self(rows)
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The statement touched or found nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first row, if there is one.
    pub(super) fn first<T>(&self, read: impl Fn(&Row) -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        self.0.first().map(read).transpose()
    }

    /// Every row.
    pub(super) fn all<T>(&self, read: impl Fn(&Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
        self.0.iter().map(read).collect()
    }

    /// The first `limit` rows of a statement that asked for one more.
    pub(super) fn page<T>(
        &self,
        limit: u32,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let limit = limit as usize;
        let items = self.0.iter().take(limit).map(read).collect::<Result<_, _>>()?;
        Ok(Page { items, has_more: self.0.len() > limit })
    }
}

/// A column of a row of `table`. The row is named by its `id`, which every statement returns first.
pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, table: &str, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| unreadable(row, table, column, error))
}

/// A column that holds one of a closed set of words.
pub(super) fn word<T>(row: &Row, table: &str, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = column(row, table, name)?;
    parse(text).ok_or_else(|| unreadable(row, table, name, format_args!("unknown word {text:?}")))
}

fn unreadable(row: &Row, table: &str, column: &str, why: impl std::fmt::Display) -> StoreError {
    match row.try_get::<_, Uuid>(0) {
        Ok(id) => StoreError::corrupt(table, column, id, why),
        Err(_) => StoreError::corrupt(table, column, "a row without id", why),
    }
}
