//! Reads rows. What cannot be read is named by table, column and row.

use chrono::{DateTime, Utc};
use rusqlite::types::FromSql;
use rusqlite::{Connection, Params, Row};
use uuid::Uuid;

use crate::store::{Page, StoreError};

/// The first row that a statement returns.
pub(super) fn first<T>(
    connection: &Connection,
    statement: &str,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut prepared = connection.prepare_cached(statement)?;
    let mut rows = prepared.query(parameters)?;
    let found = rows.next()?.map(read).transpose()?;
    // A statement that writes has done so wholly only when it has been run to its end.
    while rows.next()?.is_some() {}
    Ok(found)
}

/// Every row that a statement returns.
pub(super) fn all<T>(
    connection: &Connection,
    statement: &str,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    connection.prepare_cached(statement)?.query_and_then(parameters, read)?.collect()
}

/// Makes a page of the rows of a statement that asked for one more than `limit`.
pub(super) fn page<T>(mut items: Vec<T>, limit: u32) -> Page<T> {
    let has_more = items.len() > limit as usize;
    items.truncate(limit as usize);
    Page { items, has_more }
}

/// A column of a row of `table`. The row is named by its `id`, which every statement returns first.
pub(super) fn column<T: FromSql>(row: &Row<'_>, table: &str, column: &str) -> Result<T, StoreError> {
    row.get(column).map_err(|error| unreadable(row, table, column, error))
}

/// A column that holds an id.
pub(super) fn id(row: &Row<'_>, table: &str, name: &str) -> Result<Uuid, StoreError> {
    let text: String = column(row, table, name)?;
    text.parse().map_err(|error| unreadable(row, table, name, error))
}

/// A column that may hold an id.
pub(super) fn id_option(row: &Row<'_>, table: &str, name: &str) -> Result<Option<Uuid>, StoreError> {
    let text: Option<String> = column(row, table, name)?;
    text.map(|text| text.parse().map_err(|error| unreadable(row, table, name, error))).transpose()
}

/// A column that holds microseconds since 1970.
pub(super) fn time(row: &Row<'_>, table: &str, name: &str) -> Result<DateTime<Utc>, StoreError> {
    let microseconds = column(row, table, name)?;
    DateTime::from_timestamp_micros(microseconds).ok_or_else(|| unreadable(row, table, name, "not a time"))
}

/// A column that holds one of a closed set of words.
pub(super) fn word<T>(
    row: &Row<'_>,
    table: &str,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: String = column(row, table, name)?;
    parse(&text).ok_or_else(|| unreadable(row, table, name, format_args!("unknown word {text:?}")))
}

/// A column that holds JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, table: &str, name: &str) -> Result<T, StoreError> {
    let text: String = column(row, table, name)?;
    serde_json::from_str(&text).map_err(|error| unreadable(row, table, name, error))
}

fn unreadable(row: &Row<'_>, table: &str, column: &str, why: impl std::fmt::Display) -> StoreError {
    match row.get::<_, String>(0) {
        Ok(id) => StoreError::corrupt(table, column, id, why),
        Err(_) => StoreError::corrupt(table, column, "a row without id", why),
    }
}
