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

/// How long this node may speak for its turns.
pub(super) struct Lease {
    duration: Duration,
    /// When the last renewal that succeeded was asked for.
    renewed_at: Mutex<Option<Instant>>,
}

impl Lease {
    pub(super) fn new(duration: Duration) -> Self {
        Self { duration, renewed_at: Mutex::new(None) }
    }

    /// A turn that was claimed at this time may still be spoken for.
    pub(super) fn is_valid(&self, claimed_at: Instant) -> bool {
        let renewed_at = *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let since = renewed_at.map_or(claimed_at, |renewed_at| renewed_at.max(claimed_at));
        may_speak(since.elapsed(), self.duration)
    }

    fn renewed(&self, asked_at: Instant) {
        *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked_at);
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
    match store.renew_leases(&turns.claim(), &held).await {
        Ok(renewed) => {
            inner.lease.renewed(asked_at);
            inner.metrics.renewals.with_label_values(&["renewed"]).inc();
            for turn in held {
                match renewed.iter().find(|renewed| renewed.id == turn) {
                    Some(renewed) if renewed.cancel_requested => inner.holdings.cancel(turn),
                    Some(_) => {}
                    None => inner.holdings.lose(turn),
                }
            }
        }
        Err(error) => {
            inner.metrics.renewals.with_label_values(&["failed"]).inc();
            log_store("turn.renew", &error);
        }
    }
}
