//! Whether this node should get traffic.
//!
//! Looks at the real parts, at intervals, and forgives a blip: a readiness that fails at once takes every node of a cluster
//! out at the same moment. Draining is told at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::bus::BusState;
use crate::store::{SharedStore, StoreError};

use super::answer;

/// How health is judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// How often the parts are looked at.
    pub interval: Duration,
    /// How long a part may be out of reach before the node is not ready.
    pub tolerance: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), tolerance: Duration::from_secs(5) }
    }
}

/// What is known of the parts. Cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    tolerance: Duration,
    state: Mutex<State>,
}

struct State {
    draining: bool,
    store: Part,
    schema: Part,
    bus: Part,
}

/// When a part was last seen well; `None`: never yet.
#[derive(Clone, Copy, Default)]
struct Part(Option<Instant>);

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    store: &'static str,
    schema: &'static str,
    bus: &'static str,
    draining: bool,
}

impl Config {
    /// Health of these parts. [`Health::watch`] keeps it fresh.
    pub fn build(self) -> Health {
        let state = State { draining: false, store: Part(None), schema: Part(None), bus: Part(None) };
        Health(Arc::new(Inner { tolerance: self.tolerance, state: Mutex::new(state) }))
    }
}

impl Health {
    /// Looks at the parts at intervals until `stop`.
    pub async fn watch(
        self,
        config: Config,
        store: SharedStore,
        mut bus: watch::Receiver<BusState>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(config.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let checked = timeout(config.tolerance, store.check()).await;
            let connected = bus.borrow_and_update().connected;
            self.update(|state| {
                match checked {
                    Ok(Ok(())) => (state.store, state.schema) = (Part::seen(), Part::seen()),
                    Ok(Err(StoreError::SchemaTooNew { .. } | StoreError::SchemaTooOld { .. })) => {
                        state.store = Part::seen();
                    }
                    Ok(Err(StoreError::Unavailable(_) | StoreError::Corrupt(_) | StoreError::Internal(_))) | Err(_) => {
                    }
                }
                if connected {
                    state.bus = Part::seen();
                }
            });
        }
    }

    /// The node stops: not ready from now on.
    pub fn drain(&self) {
        self.update(|state| state.draining = true);
    }

    /// `/readyz`: 200 or 503, and which part is not well.
    pub(super) fn answer(&self) -> Response {
        let readiness = self.readiness();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::to_vec(&readiness).unwrap_or_default();
        answer(status, "application/json", body.into())
    }

    fn readiness(&self) -> Readiness {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let tolerance = self.0.tolerance;
        let well = [state.store, state.schema, state.bus].iter().all(|part| part.is_well(tolerance));
        Readiness {
            ready: well && !state.draining,
            store: state.store.word(tolerance),
            schema: state.schema.word(tolerance),
            bus: state.bus.word(tolerance),
            draining: state.draining,
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Part {
    fn seen() -> Self {
        Self(Some(Instant::now()))
    }

    fn is_well(self, tolerance: Duration) -> bool {
        self.0.is_some_and(|seen| seen.elapsed() <= tolerance)
    }

    fn word(self, tolerance: Duration) -> &'static str {
        if self.is_well(tolerance) { "ok" } else { "unavailable" }
    }
}
