//! The threads that talk to SQLite, and the bounded queues in front of them.
//!
//! One thread writes. What waits for it is committed together, so that many callers share one wait for the disk; each call
//! has its own savepoint, and none is answered before the commit.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::store::metrics::{ConnectionCounts, Refusal};
use crate::store::{Metrics, Operation, StoreError};

use super::config::{Config, Location};
use super::open;

/// Calls that share one commit at most: bounds how long the first of them waits for the last.
const MAX_BATCH: usize = 64;

/// The way to the threads. Cheap to clone; they end when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Threads {
    writes: mpsc::Sender<Box<dyn Job>>,
    reads: mpsc::Sender<Box<dyn Job>>,
    metrics: Metrics,
}

impl Threads {
    /// Opens the connections, each on the thread that will use it.
    pub(super) async fn start(config: Config, metrics: Metrics) -> Result<Self, StoreError> {
        let config = Arc::new(config);
        let busy = Arc::new(AtomicUsize::new(0));
        let (writes, queue) = mpsc::channel(config.queue_length);
        // The writer closes last: only a connection that is alone, and may write, folds the log into the file.
        let (reading, readers_gone) = std::sync::mpsc::channel::<Infallible>();
        let (opening, counter) = (Arc::clone(&config), Arc::clone(&busy));
        let work = move |connection: Connection| {
            write_all(&connection, queue, &counter);
            // Nothing is ever sent: it fails when the last reader has gone.
            let _ = readers_gone.recv();
        };
        spawn("store-writer", move || open::writer(&opening), work).await?;

        let readers = match &config.location {
            Location::File(_) => config.readers,
            // Nobody else can open it.
            Location::Memory => 0,
        };
        let (mut reads, queue) = mpsc::channel(config.queue_length);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..readers {
            let (opening, counter, queue) = (Arc::clone(&config), Arc::clone(&busy), Arc::clone(&queue));
            let reading = reading.clone();
            let work = move |connection: Connection| {
                read_all(&connection, &queue, &counter);
                drop(connection);
                drop(reading);
            };
            spawn("store-reader", move || open::reader(&opening), work).await?;
        }
        if readers == 0 {
            reads = writes.clone();
        }
        watch(&metrics, 1 + readers, busy, [writes.downgrade(), reads.downgrade()]);
        Ok(Self { writes, reads, metrics })
    }

    /// Runs `call` in a transaction that is committed before this returns. An error of the call undoes what it wrote.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.metrics.observe(operation, self.ask(&self.writes, call)).await
    }

    /// Runs `call`, which only reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: Operation,
        call: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.metrics.observe(operation, self.ask(&self.reads, call)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        queue: &mpsc::Sender<Box<dyn Job>>,
        call: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Call { call: Some(call), result: None, reply };
        queue.try_send(Box::new(job)).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.metrics.refused(Refusal::QueueFull);
                StoreError::Unavailable("too many calls wait for the database".into())
            }
            TrySendError::Closed(_) => ended(),
        })?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// A call made of a thread, whatever it returns.
trait Job: Send {
    /// Makes the call. Says whether it succeeded.
    fn run(&mut self, connection: &Connection) -> bool;

    /// Answers the caller: with the call's own result, unless the commit failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Call<T, F> {
    call: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> Job for Call<T, F> {
    fn run(&mut self, connection: &Connection) -> bool {
        self.result = self.call.take().map(|call| call(connection));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) | (_, Err(error)) => Err(error),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(ended()),
        };
        // The caller may have given up; what was committed stays.
        drop(self.reply.send(result));
    }
}

/// The writing thread: ends when every sender is gone and the queue is empty.
fn write_all(connection: &Connection, mut queue: mpsc::Receiver<Box<dyn Job>>, busy: &AtomicUsize) {
    let mut batch = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < MAX_BATCH
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        busy.fetch_add(1, Ordering::Relaxed);
        let committed = commit(connection, &mut batch);
        busy.fetch_sub(1, Ordering::Relaxed);
        for job in batch.drain(..) {
            job.answer(committed.clone());
        }
    }
}

/// Runs the calls in one transaction, each in a savepoint of its own.
fn commit(connection: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    let outcome = run_all(connection, batch);
    if outcome.is_err() && !connection.is_autocommit() {
        connection.prepare_cached("rollback")?.execute([])?;
    }
    outcome
}

fn run_all(connection: &Connection, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    connection.prepare_cached("begin immediate")?.execute([])?;
    for job in batch {
        connection.prepare_cached("savepoint job")?.execute([])?;
        let succeeded = job.run(connection);
        if connection.is_autocommit() {
            // A full or failing disk: SQLite has undone the whole transaction, the calls before this one included.
            return Err(StoreError::Unavailable("the database undid the transaction".into()));
        }
        if !succeeded {
            connection.prepare_cached("rollback to job")?.execute([])?;
        }
        connection.prepare_cached("release job")?.execute([])?;
    }
    connection.prepare_cached("commit")?.execute([])?;
    Ok(())
}

/// A reading thread: shares the queue with the others.
fn read_all(connection: &Connection, queue: &Mutex<mpsc::Receiver<Box<dyn Job>>>, busy: &AtomicUsize) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    while let Some(mut job) = next() {
        busy.fetch_add(1, Ordering::Relaxed);
        job.run(connection);
        busy.fetch_sub(1, Ordering::Relaxed);
        job.answer(Ok(()));
    }
}

/// Starts a thread, waits until `open` has succeeded on it, and leaves it to `work`.
async fn spawn(
    name: &str,
    open: impl FnOnce() -> Result<Connection, StoreError> + Send + 'static,
    work: impl FnOnce(Connection) + Send + 'static,
) -> Result<(), StoreError> {
    let (reply, opened) = oneshot::channel();
    let body = move || match open() {
        Ok(connection) => {
            if reply.send(Ok(())).is_ok() {
                work(connection);
            }
        }
        Err(error) => drop(reply.send(Err(error))),
    };
    thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| StoreError::Unavailable(format!("no thread for the database: {error}")))?;
    opened.await.unwrap_or_else(|_| Err(ended()))
}

/// Shows threads as connections and queue places as waiting calls.
fn watch(metrics: &Metrics, threads: usize, busy: Arc<AtomicUsize>, queues: [mpsc::WeakSender<Box<dyn Job>>; 2]) {
    metrics.watch_connections(move || {
        let [writes, reads] = &queues;
        let (writes, reads) = (writes.upgrade()?, reads.upgrade()?);
        let length = |queue: &mpsc::Sender<_>| queue.max_capacity() - queue.capacity();
        let waiting = length(&writes) + if writes.same_channel(&reads) { 0 } else { length(&reads) };
        let used = busy.load(Ordering::Relaxed).min(threads);
        Some(ConnectionCounts { idle: threads - used, used, waiting })
    });
}

fn ended() -> StoreError {
    StoreError::Unavailable("the database thread has ended".into())
}
