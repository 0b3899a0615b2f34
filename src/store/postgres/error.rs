//! What a Postgres error means to the caller.
//!
//! The server's DETAIL quotes rows, and with them what people wrote: it is never passed on.

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, SqlState};

use crate::store::StoreError;

/// The statement was rolled back because of others, and will most likely succeed when it is repeated.
pub(super) fn is_transient(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}

/// The connection is of no more use, although it may not look closed: the server is going away, or it can no longer write.
pub(super) fn is_fatal(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        Some(error) => *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION || error.code().code().starts_with("57P"),
        None => true,
    }
}

/// Classifies what a statement or a connection attempt ended with.
pub(super) fn classify(error: &tokio_postgres::Error) -> StoreError {
    if let Some(error) = error.as_db_error() {
        return of_server(error);
    }
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    match io {
        Some(io) => StoreError::Unavailable(format!("{error} ({io})")),
        None if error.is_closed() => StoreError::Unavailable(error.to_string()),
        None => StoreError::Internal(error.to_string()),
    }
}

/// Classifies why no connection was to be had. A timeout of the pool is [`StoreError::Unavailable`].
pub(super) fn classify_pool(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => classify(error),
        PoolError::Timeout(step) => StoreError::Unavailable(format!("no connection in time ({step:?})")),
        PoolError::Closed => StoreError::Unavailable("the pool is closed".into()),
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => StoreError::Internal(error.to_string()),
    }
}

fn of_server(error: &DbError) -> StoreError {
    let code = error.code().code();
    let place = [error.table(), error.constraint()].into_iter().flatten().collect::<Vec<_>>().join(".");
    let text = format!("{} (SQLSTATE {code}{}{place})", error.message(), if place.is_empty() { "" } else { ", " });
    match &code[..2] {
        // 08 connection, 40 rolled back, 53 resources, 57 stopped or cancelled, 58 system.
        "08" | "40" | "53" | "57" | "58" => StoreError::Unavailable(text),
        "XX" if code != "XX000" => StoreError::Corrupt(text),
        _ if *error.code() == SqlState::LOCK_NOT_AVAILABLE => StoreError::Unavailable(text),
        _ if *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::Unavailable(text),
        _ => StoreError::Internal(text),
    }
}
