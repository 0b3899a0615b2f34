//! Brings the schema up, one transaction per migration, and proves that it is the one this build knows.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;

use crate::store::{Operation, StoreError, schema};

use super::connection::{Connections, discard};
use super::error;

/// How long a node waits for the others that migrate, and a migration for the locks it needs.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long all migrations may take together.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(600);

/// The advisory lock of all migrations of a database: "switchbd" in ASCII.
const LOCK: i64 = 0x7377_6974_6368_6264;

const VERSION: &str = "select coalesce(max(version), 0) from schema_version";

const VERSION_TABLE: &str = "\
create table if not exists schema_version (
    version    bigint      primary key,
    applied_at timestamptz not null default now()
)";

/// Safe from many nodes at once: each step looks again, behind the lock, at what is still to do.
pub(super) async fn migrate(connections: &Connections) -> Result<(), StoreError> {
    let migrating = async {
        let mut client = connections.client().await?;
        let result = match tokio::time::timeout(TOTAL_TIMEOUT, advance(&mut client)).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Unavailable("the migrations did not end in time".into())),
        };
        // Not given back: it may be in the middle of a transaction.
        discard(client);
        result
    };
    connections.metrics.observe(Operation::SchemaMigrate, migrating).await
}

async fn advance(client: &mut Object) -> Result<(), StoreError> {
    loop {
        let done = step(client).await.map_err(|failure| match failure {
            StepError::Postgres(error) => error::classify(&error),
            StepError::Store(error) => error,
        })?;
        if done {
            return Ok(());
        }
    }
}

enum StepError {
    Postgres(tokio_postgres::Error),
    Store(StoreError),
}

impl From<tokio_postgres::Error> for StepError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Applies the next migration, in a transaction that holds the lock. Says whether nothing was left to do.
async fn step(client: &mut Object) -> Result<bool, StepError> {
    let transaction = client.transaction().await?;
    let limits = format!("set local statement_timeout = 0; set local lock_timeout = {}", LOCK_TIMEOUT.as_millis());
    transaction.batch_execute(&limits).await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    // `if not exists` alone would raise a notice at every start.
    if transaction.query_one("select to_regclass('schema_version') is null", &[]).await?.try_get(0)? {
        transaction.batch_execute(VERSION_TABLE).await?;
    }
    let found: i64 = transaction.query_one(VERSION, &[]).await?.try_get(0)?;
    let Some((sql, version)) = schema::pending(schema::POSTGRES, found).map_err(StepError::Store)?.next() else {
        transaction.commit().await?;
        return Ok(true);
    };
    transaction.batch_execute(sql).await?;
    transaction.execute("insert into schema_version (version) values ($1)", &[&version]).await?;
    transaction.commit().await?;
    tracing::info!(version, "migrated the schema");
    Ok(false)
}

pub(super) async fn check(connections: &Connections) -> Result<(), StoreError> {
    connections.metrics.observe(Operation::SchemaCheck, async { schema::verify(version(connections).await?) }).await
}

/// The version in the database; 0 when nothing ever migrated it.
async fn version(connections: &Connections) -> Result<i64, StoreError> {
    let client = connections.client().await?;
    let answer = match tokio::time::timeout(connections.answer_timeout, client.query_one(VERSION, &[])).await {
        Ok(answer) => answer,
        Err(_) => {
            discard(client);
            return Err(StoreError::Unavailable("the server did not answer in time".into()));
        }
    };
    match answer {
        Ok(row) => row.try_get(0).map_err(|error| error::classify(&error)),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(error::classify(&error)),
    }
}
