//! Leases: this node says every few seconds, in one statement, that it still runs its turns.
//!
//! A holder that could not say so for two thirds of a lease stops emitting: before another node can have taken the turn,
//! this one is silent. It speaks again only when the store confirms that the turn is still its own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

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
        since.elapsed() < self.duration * 2 / 3
    }

    fn renewed(&self, asked_at: Instant) {
        *self.renewed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked_at);
    }
}

/// Renews until the node stops.
pub(super) async fn keep(turns: Turns) {
    let inner = &turns.0;
    let mut ticks = tokio::time::interval(inner.config.lease / 3);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            _ = ticks.tick() => renew(&turns).await,
        }
    }
}

async fn renew(turns: &Turns) {
    let inner = &turns.0;
    let asked_at = Instant::now();
    let held = inner.holdings.turns();
    if held.is_empty() {
        inner.lease.renewed(asked_at);
        return;
    }
    match inner.store.renew_leases(&turns.claim(), &held).await {
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
