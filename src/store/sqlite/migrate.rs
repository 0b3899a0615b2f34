//! Brings the schema up, and proves that it is the one this build knows.
//!
//! A write takes SQLite's own lock before it reads, so two processes cannot migrate at once.

use rusqlite::{Connection, params};

use crate::store::{StoreError, schema};

const VERSION_TABLE: &str = "\
create table if not exists schema_version (
    version    integer primary key,
    applied_at integer not null
) strict";

pub(super) fn migrate(connection: &Connection, now: i64) -> Result<(), StoreError> {
    connection.execute_batch(VERSION_TABLE)?;
    for (sql, version) in schema::pending(schema::SQLITE, version(connection)?)? {
        connection.execute_batch(sql)?;
        connection
            .execute("insert into schema_version (version, applied_at) values (?1, ?2)", params![version, now])?;
        tracing::info!(version, "migrated the schema");
    }
    Ok(())
}

pub(super) fn check(connection: &Connection) -> Result<(), StoreError> {
    schema::verify(version(connection)?)
}

/// The version in the database; 0 when nothing ever migrated it.
fn version(connection: &Connection) -> Result<i64, StoreError> {
    // Not `Connection::table_exists`: that looks at the connection's own copy of the schema, which may be an old one.
    let exists = "select exists (select 1 from sqlite_schema where name = 'schema_version')";
    if !connection.query_row(exists, [], |row| row.get::<_, bool>(0))? {
        return Ok(0);
    }
    Ok(connection.query_row("select coalesce(max(version), 0) from schema_version", [], |row| row.get(0))?)
}
