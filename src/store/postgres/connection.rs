//! The one way to the server: a pool, prepared statements, a bounded repeat, and a clock on every wait.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;

use crate::store::metrics::{ConnectionCounts, Refusal};
use crate::store::{Metrics, Operation, StoreError};

use super::config::Config;
use super::row::Rows;
use super::{error, tls};

/// How often a statement is repeated after a serialization failure or a deadlock.
const MAX_REPEATS: u32 = 3;
/// The longest pause before the first repeat; it doubles with each. The pause is random below it.
const REPEAT_PAUSE: Duration = Duration::from_millis(10);

/// The parameters of a statement.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The pool and what is counted about it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    /// One connection, for [`Connections::aside`]; opened when it is first used.
    apart: Pool,
    pub(super) metrics: Metrics,
    /// How long a call waits for the server's answer before it takes the connection for dead.
    pub(super) answer_timeout: Duration,
}

/// Why one try of a statement did not succeed.
enum Failure {
    /// Rolled back because of others.
    Transient(StoreError),
    /// Everything else.
    Final(StoreError),
}

impl Connections {
    pub(super) fn new(config: &Config, metrics: Metrics) -> Result<Self, StoreError> {
        let (pool, apart) = (pool(config, config.pool_size)?, pool(config, 1)?);
        let pools = [pool.weak(), apart.weak()];
        metrics.watch_connections(move || {
            pools.iter().filter_map(|pool| pool.upgrade()).map(|pool| counts(&pool)).reduce(|one, other| one + other)
        });
        Ok(Self { pool, apart, metrics, answer_timeout: config.answer_timeout() })
    }

    /// The same over the one connection that is kept for a runtime of its own: what drives a connection is a task of the
    /// runtime that opened it.
    pub(super) fn aside(&self, patience: Duration) -> Self {
        let answer_timeout = patience.min(self.answer_timeout);
        Self { pool: self.apart.clone(), answer_timeout, ..self.clone() }
    }

    /// Runs one statement, which is one transaction: prepared once per connection, timed and counted by name, repeated at
    /// most three times, and only when the server rolled it back because of others.
    pub(super) async fn run(
        &self,
        operation: Operation,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Rows, StoreError> {
        self.metrics.observe(operation, self.run_repeatedly(operation, statement, parameters)).await
    }

    async fn run_repeatedly(
        &self,
        operation: Operation,
        statement: &'static str,
        parameters: Parameters<'_>,
    ) -> Result<Rows, StoreError> {
        for repeat in 0..MAX_REPEATS {
            match self.run_once(statement, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Transient(_)) => {
                    self.metrics.retried(operation);
                    tokio::time::sleep(REPEAT_PAUSE.mul_f64(rand::random::<f64>()) * 2_u32.pow(repeat)).await;
                }
            }
        }
        self.run_once(statement, parameters).await.map_err(|failure| match failure {
            Failure::Transient(error) | Failure::Final(error) => error,
        })
    }

    async fn run_once(&self, statement: &'static str, parameters: Parameters<'_>) -> Result<Rows, Failure> {
        let client = self.client().await.map_err(Failure::Final)?;
        match tokio::time::timeout(self.answer_timeout, execute(&client, statement, parameters)).await {
            Ok(Ok(rows)) => Ok(Rows::new(rows)),
            Ok(Err(error)) => {
                if error::is_fatal(&error) {
                    discard(client);
                }
                let classified = error::classify(&error);
                Err(if error::is_transient(&error) {
                    Failure::Transient(classified)
                } else {
                    Failure::Final(classified)
                })
            }
            Err(_) => {
                discard(client);
                Err(Failure::Final(StoreError::Unavailable("the server did not answer in time".into())))
            }
        }
    }

    /// A free connection, or a new one.
    pub(super) async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| {
            if matches!(error, PoolError::Timeout(TimeoutType::Wait)) {
                self.metrics.refused(Refusal::PoolTimeout);
            }
            error::classify_pool(&error)
        })
    }
}

fn pool(config: &Config, size: usize) -> Result<Pool, StoreError> {
    let parsed = config.parse()?;
    let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = if parsed.get_ssl_mode() == SslMode::Require {
        Manager::from_config(parsed, tls::connector(config.ca_file.as_deref())?, manager_config)
    } else {
        Manager::from_config(parsed, NoTls, manager_config)
    };
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(config.wait_timeout))
        .create_timeout(Some(config.create_timeout))
        .recycle_timeout(Some(config.recycle_timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| StoreError::Internal(error.to_string()))
}

fn counts(pool: &Pool) -> ConnectionCounts {
    let status = pool.status();
    let idle = status.available.min(status.size);
    ConnectionCounts { idle, used: status.size - idle, waiting: status.waiting }
}

async fn execute(
    client: &ClientWrapper,
    statement: &str,
    parameters: Parameters<'_>,
) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    let prepared = client.prepare_cached(statement).await?;
    client.query(&prepared, parameters).await
}

/// Closes a connection instead of giving it back to the pool.
pub(super) fn discard(client: Object) {
    drop(Object::take(client));
}
