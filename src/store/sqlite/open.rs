//! Opens connections, the same way every time.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

use super::config::{Config, Location};

/// More than there are statements, so that each is prepared once per connection.
const CACHED_STATEMENTS: usize = 64;

/// The connection that writes. It makes the file.
pub(super) fn writer(config: &Config) -> Result<Connection, StoreError> {
    let connection = match &config.location {
        Location::File(path) => Connection::open(path),
        Location::Memory => Connection::open_in_memory(),
    };
    let connection = connection.map_err(|error| explain(error, &config.location))?;
    connection.busy_timeout(config.busy_timeout)?;
    // full: a commit is on the disk before it is acknowledged, so that it survives a loss of power too.
    connection.pragma_update(None, "journal_mode", "wal").map_err(|error| explain(error, &config.location))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    prepare(&connection)?;
    Ok(connection)
}

/// A connection that only reads, beside the one that writes and made the file.
pub(super) fn reader(config: &Config) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match &config.location {
        Location::File(path) => Connection::open_with_flags(path, flags),
        Location::Memory => Connection::open_in_memory_with_flags(flags),
    };
    let connection = connection.map_err(|error| explain(error, &config.location))?;
    connection.busy_timeout(config.busy_timeout)?;
    prepare(&connection)?;
    Ok(connection)
}

/// SQLite's own `lower` knows ASCII only, so the comparison of a search is made here.
fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("contains_text", 2, flags, |context| {
        let text: Option<String> = context.get(0)?;
        let wanted: String = context.get(1)?;
        Ok(text.is_some_and(|text| text.to_lowercase().contains(&wanted.to_lowercase())))
    })?;
    Ok(())
}

/// Names the file that could not be opened.
fn explain(error: rusqlite::Error, location: &Location) -> StoreError {
    let place = match location {
        Location::File(path) => path.display().to_string(),
        Location::Memory => "memory".into(),
    };
    match StoreError::from(error) {
        StoreError::Unavailable(why) => StoreError::Unavailable(format!("{place}: {why}")),
        StoreError::Corrupt(why) => StoreError::Corrupt(format!("{place}: {why}")),
        StoreError::Internal(why) => StoreError::Internal(format!("{place}: {why}")),
        same @ (StoreError::SchemaTooNew { .. } | StoreError::SchemaTooOld { .. }) => same,
    }
}
