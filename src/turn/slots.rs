//! How many turns run here at once, and how a node with a free slot finds those that wait.
//!
//! Only nodes with a free slot are members of the queue group `runners`, so a wake-up never reaches a full one. A node that
//! was full first takes what has waited longest, then joins again. A slow sweep is the safety net for lost wake-ups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::bus::{Outgoing, Subject, Subscription};

use super::{Turns, log_store, run};

/// The slots of this node.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// Rings when the last slot is taken, and when one becomes free again.
    turned: Arc<Notify>,
}

/// The right to run one turn; given back when dropped.
pub(super) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    free: Arc<Semaphore>,
    turned: Arc<Notify>,
}

impl Slots {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), turned: Arc::new(Notify::new()) }
    }

    /// Takes a slot, if one is free and the node is not stopping.
    pub(super) fn take(&self) -> Option<Slot> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        if self.free.available_permits() == 0 {
            self.turned.notify_one();
        }
        Some(Slot { permit: Some(permit), free: self.free.clone(), turned: self.turned.clone() })
    }

    /// No slot is given from here on.
    pub(super) fn close(&self) {
        self.free.close();
        self.turned.notify_one();
    }

    fn has_free(&self) -> bool {
        !self.free.is_closed() && self.free.available_permits() > 0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let was_full = self.free.available_permits() == 0;
        self.permit = None;
        if was_full {
            self.turned.notify_one();
        }
    }
}

/// Takes queued turns while there are free slots, until the node stops.
pub(super) async fn serve(turns: Turns) {
    let inner = &turns.0;
    let mut membership: Option<Subscription> = None;
    loop {
        if !inner.slots.has_free() {
            membership = None;
        } else if membership.is_none() {
            take_waiting(&turns).await;
            membership = inner.bus.join(&Subject::Runners).await.ok();
        }
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.slots.turned.notified() => {}
            () = woken(&mut membership) => take_waiting(&turns).await,
            () = tokio::time::sleep(jittered(inner.config.sweep)), if inner.slots.has_free() => {
                take_waiting(&turns).await;
                match inner.store.queued_turns().await {
                    Ok(queued) => inner.metrics.queued.set(i64::try_from(queued).unwrap_or(i64::MAX)),
                    Err(error) => log_store("turn.count_queued", &error),
                }
            }
        }
    }
}

impl Turns {
    /// Tells one node with a free slot that a turn waits. It takes the one that has waited longest.
    pub(super) fn wake_runner(&self, traceparent: Option<String>) {
        self.0.bus.publish(&Subject::Runners, Outgoing { payload: Bytes::new(), traceparent });
    }
}

async fn woken(membership: &mut Option<Subscription>) {
    match membership {
        Some(subscription) => {
            if subscription.next().await.is_none() {
                *membership = None;
            }
        }
        None => std::future::pending().await,
    }
}

/// Runs the oldest turns that wait, as many as there are slots.
async fn take_waiting(turns: &Turns) {
    let inner = &turns.0;
    while let Some(slot) = inner.slots.take() {
        let claimed_at = tokio::time::Instant::now();
        match inner.store.claim_turn(&turns.claim()).await {
            Ok(Some(claimed)) => run::spawn(turns, claimed, claimed_at, slot),
            Ok(None) => return,
            Err(error) => return log_store("turn.claim", &error),
        }
    }
}

/// Between three quarters and five quarters of a period, so that the nodes of a cluster do not sweep together.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(rand::rng().random_range(0.75..1.25))
}
