//! What a store tells of itself. Every label value exists from the start, so that an alert never reads "no data".

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use tokio::time::Instant;

use super::{Operation, StoreError};

/// Seconds; a plain write takes about one millisecond.
const BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The counters of one store. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    operations: Arc<[OfOperation]>,
    refused: Arc<[IntCounter]>,
    connections: Connections,
}

/// The counters of one operation, looked up once.
struct OfOperation {
    results: [IntCounter; Outcome::ALL.len()],
    duration: Histogram,
    retries: IntCounter,
}

/// How an operation went: the `result` label.
#[derive(Clone, Copy)]
enum Outcome {
    Ok,
    Unavailable,
    Schema,
    Corrupt,
    Internal,
}

impl Outcome {
    const ALL: [Self; 5] = [Self::Ok, Self::Unavailable, Self::Schema, Self::Corrupt, Self::Internal];

    fn of<T>(result: &Result<T, StoreError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(StoreError::Unavailable(_)) => Self::Unavailable,
            Err(StoreError::SchemaTooNew { .. } | StoreError::SchemaTooOld { .. }) => Self::Schema,
            Err(StoreError::Corrupt(_)) => Self::Corrupt,
            Err(StoreError::Internal(_)) => Self::Internal,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unavailable => "unavailable",
            Self::Schema => "schema",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        }
    }
}

/// Why a call was turned away before it reached the database: the `reason` label.
#[derive(Clone, Copy)]
pub(super) enum Refusal {
    /// The queue of a SQLite thread is full.
    QueueFull,
    /// No Postgres connection became free in time.
    PoolTimeout,
}

impl Refusal {
    const ALL: [Self; 2] = [Self::QueueFull, Self::PoolTimeout];

    fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::PoolTimeout => "pool_timeout",
        }
    }
}

impl Metrics {
    /// Makes the metrics and registers them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let operations = IntCounterVec::new(
            Opts::new("switchboard_store_operations_total", "Store operations, by name and result."),
            &["operation", "result"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "switchboard_store_operation_duration_seconds",
                "Time from the call to its answer, waiting for a connection and retries included.",
            )
            .buckets(BUCKETS.to_vec()),
            &["operation"],
        )?;
        let retries = IntCounterVec::new(
            Opts::new("switchboard_store_retries_total", "Repeats after a serialization failure or a deadlock."),
            &["operation"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new(
                "switchboard_store_refused_total",
                "Calls turned away because no connection or queue place was free.",
            ),
            &["reason"],
        )?;
        let connections = Connections::new()?;
        registry.register(Box::new(operations.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        registry.register(Box::new(retries.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        let of_operation = |operation: &Operation| {
            let name = operation.as_str();
            OfOperation {
                results: Outcome::ALL.map(|outcome| operations.with_label_values(&[name, outcome.as_str()])),
                duration: durations.with_label_values(&[name]),
                retries: retries.with_label_values(&[name]),
            }
        };
        Ok(Self {
            operations: Operation::ALL.iter().map(of_operation).collect(),
            refused: Refusal::ALL.iter().map(|reason| refused.with_label_values(&[reason.as_str()])).collect(),
            connections,
        })
    }

    /// How often an operation has ended so far, whatever its result. Each is one transaction.
    pub fn operations(&self, operation: Operation) -> u64 {
        self.of(operation).results.iter().map(IntCounter::get).sum()
    }

    /// How many operations have ended so far, whatever their name and result.
    pub fn operations_total(&self) -> u64 {
        Operation::ALL.iter().map(|operation| self.operations(*operation)).sum()
    }

    /// Times an operation and counts its result. One that is dropped half-way counts for nothing.
    pub(super) async fn observe<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = call.await;
        let of = self.of(operation);
        of.duration.observe(started.elapsed().as_secs_f64());
        of.results[Outcome::of(&result) as usize].inc();
        result
    }

    /// Counts a repeat.
    pub(super) fn retried(&self, operation: Operation) {
        self.of(operation).retries.inc();
    }

    /// Counts a call that was turned away.
    pub(super) fn refused(&self, reason: Refusal) {
        self.refused[reason as usize].inc();
    }

    /// Asks `source` at every scrape how the connections stand; `None` once the store is gone.
    pub(super) fn watch_connections(&self, source: impl Fn() -> Option<ConnectionCounts> + Send + 'static) {
        *self.connections.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(source));
    }

    fn of(&self, operation: Operation) -> &OfOperation {
        &self.operations[operation as usize]
    }
}

/// How the connections of a store stand.
#[derive(Clone, Copy, Default)]
pub(super) struct ConnectionCounts {
    /// Open and free.
    pub idle: usize,
    /// Open and in use.
    pub used: usize,
    /// Calls that wait for one.
    pub waiting: usize,
}

impl std::ops::Add for ConnectionCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { idle: self.idle + other.idle, used: self.used + other.used, waiting: self.waiting + other.waiting }
    }
}

type Source = Box<dyn Fn() -> Option<ConnectionCounts> + Send>;

/// Gauges that are read at the scrape, not written at every use.
#[derive(Clone)]
struct Connections {
    states: IntGaugeVec,
    waiting: IntGauge,
    source: Arc<Mutex<Option<Source>>>,
}

impl Connections {
    fn new() -> Result<Self, prometheus::Error> {
        let states = IntGaugeVec::new(
            Opts::new("switchboard_store_pool_connections", "Connections to the store, by state."),
            &["state"],
        )?;
        states.with_label_values(&["idle"]);
        states.with_label_values(&["used"]);
        let waiting =
            IntGauge::new("switchboard_store_pool_waiting", "Calls that wait for a connection to the store.")?;
        Ok(Self { states, waiting, source: Arc::default() })
    }
}

impl Collector for Connections {
    fn desc(&self) -> Vec<&Desc> {
        [self.states.desc(), self.waiting.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = source.as_ref().and_then(|source| source()).unwrap_or_default();
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.states.with_label_values(&["idle"]).set(gauge(counts.idle));
        self.states.with_label_values(&["used"]).set(gauge(counts.used));
        self.waiting.set(gauge(counts.waiting));
        [self.states.collect(), self.waiting.collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_label_value_exists_from_the_start_and_results_are_told_apart() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let series = |name: &str| {
            let families = registry.gather();
            families.iter().find(|family| family.name() == name).map_or(0, |family| family.get_metric().len())
        };
        assert_eq!(series("switchboard_store_operations_total"), Operation::ALL.len() * Outcome::ALL.len());
        assert_eq!(series("switchboard_store_operation_duration_seconds"), Operation::ALL.len());
        assert_eq!(series("switchboard_store_retries_total"), Operation::ALL.len());
        assert_eq!(series("switchboard_store_pool_connections"), 2);

        metrics.observe(Operation::TurnClaim, async { Ok(()) }).await.unwrap();
        let failed = async { Err::<(), _>(StoreError::Unavailable("gone".into())) };
        metrics.observe(Operation::TurnClaim, failed).await.unwrap_err();
        assert_eq!(metrics.operations(Operation::TurnClaim), 2);
        assert_eq!(metrics.operations_total(), 2);
        assert_eq!(metrics.of(Operation::TurnClaim).results[Outcome::Unavailable as usize].get(), 1);
    }

    #[test]
    fn the_gauges_ask_the_store_at_every_scrape() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        metrics.watch_connections(|| Some(ConnectionCounts { idle: 3, used: 2, waiting: 1 }));
        let families = registry.gather();
        let pool = families.iter().find(|family| family.name() == "switchboard_store_pool_connections").unwrap();
        let values: Vec<_> = pool.get_metric().iter().map(|metric| metric.get_gauge().get_value()).collect();
        assert_eq!(values, [3.0, 2.0]);
    }
}
