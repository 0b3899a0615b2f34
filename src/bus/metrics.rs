//! What the bus counts. Every label value exists from the start, so that an alert never misses the first event.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::BusError;

/// The metrics of one node's bus. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    connected: IntGauge,
    reconnects: IntCounter,
    subscriptions: IntGauge,
    published: IntCounter,
    published_bytes: IntCounter,
    received: IntCounter,
    received_bytes: IntCounter,
    dropped: Dropped,
    requests: Requests,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DropReason {
    /// The bus was not connected.
    Disconnected,
    /// The queue towards the broker was full.
    QueueFull,
    /// A subscription did not read fast enough.
    SlowSubscription,
    /// The payload was larger than the bus carries.
    TooLarge,
}

struct Dropped {
    disconnected: IntCounter,
    queue_full: IntCounter,
    slow_subscription: IntCounter,
    too_large: IntCounter,
}

struct Requests {
    ok: IntCounter,
    no_responders: IntCounter,
    timeout: IntCounter,
    disconnected: IntCounter,
    too_large: IntCounter,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When the registry already holds one of the names.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("switchboard_bus_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("switchboard_bus_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let by = |name: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(format!("switchboard_bus_{name}"), help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let dropped = by(
            "dropped_total",
            "Messages that were dropped; of a flood at a slow subscription, NATS tells of some only.",
            "reason",
        )?;
        let requests = by("requests_total", "Requests to other nodes, by how they ended.", "result")?;
        Ok(Self(Arc::new(Counters {
            connected: gauge("connected", "1 while messages can be carried.")?,
            reconnects: counter("reconnects_total", "Times the connection to the broker came back.")?,
            subscriptions: gauge("subscriptions", "Subjects this node listens to.")?,
            published: counter("published_total", "Messages handed over, with requests and answers.")?,
            published_bytes: counter("published_bytes_total", "Payload handed over.")?,
            received: counter("received_total", "Messages received, with requests and answers.")?,
            received_bytes: counter("received_bytes_total", "Payload received.")?,
            dropped: Dropped {
                disconnected: dropped.with_label_values(&["disconnected"]),
                queue_full: dropped.with_label_values(&["queue_full"]),
                slow_subscription: dropped.with_label_values(&["slow_subscription"]),
                too_large: dropped.with_label_values(&["too_large"]),
            },
            requests: Requests {
                ok: requests.with_label_values(&["ok"]),
                no_responders: requests.with_label_values(&["no_responders"]),
                timeout: requests.with_label_values(&["timeout"]),
                disconnected: requests.with_label_values(&["disconnected"]),
                too_large: requests.with_label_values(&["too_large"]),
            },
        })))
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.0.connected.set(connected.into());
    }

    pub(super) fn on_reconnected(&self, times: u64) {
        self.0.reconnects.inc_by(times);
    }

    pub(super) fn on_published(&self, bytes: usize) {
        self.0.published.inc();
        self.0.published_bytes.inc_by(bytes as u64);
    }

    pub(super) fn on_received(&self, bytes: usize) {
        self.0.received.inc();
        self.0.received_bytes.inc_by(bytes as u64);
    }

    pub(super) fn on_dropped(&self, reason: DropReason) {
        match reason {
            DropReason::Disconnected => &self.0.dropped.disconnected,
            DropReason::QueueFull => &self.0.dropped.queue_full,
            DropReason::SlowSubscription => &self.0.dropped.slow_subscription,
            DropReason::TooLarge => &self.0.dropped.too_large,
        }
        .inc();
    }

    /// Counts how a request ended, and hands the result on.
    pub(super) fn on_request<T>(&self, result: Result<T, BusError>) -> Result<T, BusError> {
        match &result {
            Ok(_) => &self.0.requests.ok,
            Err(BusError::NoResponders) => &self.0.requests.no_responders,
            Err(BusError::Timeout) => &self.0.requests.timeout,
            Err(BusError::Disconnected) => &self.0.requests.disconnected,
            Err(BusError::TooLarge) => &self.0.requests.too_large,
        }
        .inc();
        result
    }

    /// Counts a subscription for as long as the answer lives.
    pub(super) fn subscription(&self) -> Subscribed {
        self.0.subscriptions.inc();
        Subscribed(self.0.subscriptions.clone())
    }
}

/// One subscription in the gauge.
pub(super) struct Subscribed(IntGauge);

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.0.dec();
    }
}
