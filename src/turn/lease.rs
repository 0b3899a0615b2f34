//! Leases: this node says every few seconds, in one statement, that it still runs its turns.
//!
//! A holder that could not say so for two thirds of a lease stops emitting: before another node can have taken the turn,
//! this one is silent. It speaks again only when the store confirms that the turn is still its own.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::SharedStore;

use super::{Turns, log_store};

/// How long this node may speak for one run. Each run has its own: that another turn's lease was renewed proves nothing.
pub(super) struct Lease {
    duration: Duration,
    /// When the claim, or the last renewal that succeeded, was asked for.
    renewed_at: Mutex<Instant>,
}

impl Lease {
    /// The lease of a run that was claimed at this time.
    pub(super) fn new(duration: Duration, claimed_at: Instant) -> Self {
        Self { duration, renewed_at: Mutex::new(claimed_at) }
    }

    /// The turn may still be spoken for.
    pub(super) fn is_valid(&self) -> bool {
        let renewed_at = *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        may_speak(renewed_at.elapsed(), self.duration)
    }

    /// The store renewed it, asked at this time.
    pub(super) fn renewed(&self, asked_at: Instant) {
        let mut renewed_at = self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed_at = asked_at.max(*renewed_at);
    }
}

/// A holder may speak that asked this long ago for the last renewal that succeeded: nobody else can have the turn yet.
pub(super) fn may_speak(since_renewal: Duration, lease: Duration) -> bool {
    since_renewal < lease * 2 / 3
}

/// Renews until the node stops, or its runtime ends.
///
/// On a thread with a runtime and a connection of its own: a node whose other threads are all busy must not look dead.
pub(super) fn keep(turns: &Turns) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (renewing, stop) = (turns.clone(), CancellationToken::new());
    let (ended, has_ended) = oneshot::channel::<Infallible>();
    let guard = stop.clone().drop_guard();
    thread::Builder::new().name("leases".to_owned()).spawn(move || {
        runtime.block_on(stop.run_until_cancelled(renew_for_ever(&renewing)));
        drop(ended);
    })?;
    let stopped = turns.0.stop.clone();
    turns.0.tasks.spawn(async move {
        stopped.cancelled().await;
        drop(guard);
        // Nothing is ever sent: it fails when the thread is done.
        let _ = has_ended.await;
    });
    Ok(())
}

async fn renew_for_ever(turns: &Turns) -> Infallible {
    let period = turns.0.config.lease / 3;
    let store = turns.0.store.aside(period);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        renew(turns, &store).await;
    }
}

/// Asks even when nothing runs here, so that the connection is there when something does.
async fn renew(turns: &Turns, store: &SharedStore) {
    let inner = &turns.0;
    let asked_at = Instant::now();
    let held = inner.holdings.turns();
    let named: Vec<_> = held.iter().map(|(turn, _)| *turn).collect();
    match store.renew_leases(&turns.claim(), &named).await {
        Ok(renewed) => {
            inner.metrics.renewals.with_label_values(&["renewed"]).inc();
            for (turn, epoch) in held {
                match renewed.iter().find(|renewed| renewed.id == turn) {
                    Some(renewed) => inner.holdings.renewed(renewed, asked_at),
                    None => inner.holdings.lose_before(turn, epoch + 1),
                }
            }
        }
        Err(error) => {
            inner.metrics.renewals.with_label_values(&["failed"]).inc();
            log_store("turn.renew", &error);
        }
    }
}
