//! The way out: hands messages to the client without ever waiting.
//!
//! The client's own queue is the only one. It is shared with subscriptions and much longer than messages may use, so the
//! outlet counts how many of its own messages are in it: those it handed over, less those the client says it wrote.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::client::traits::Publisher;
use async_nats::connection::State;
use async_nats::message::OutboundMessage;
use async_nats::{Client, HeaderMap, HeaderValue, PublishErrorKind, Statistics};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::task::coop::unconstrained;

use crate::bus::metrics::DropReason;
use crate::bus::{BusError, MAX_MESSAGE, Metrics, Reply};

/// The header that carries the W3C trace context.
pub(super) const TRACEPARENT: &str = "traceparent";

pub(super) struct Outlet {
    client: Client,
    statistics: Arc<Statistics>,
    /// Messages handed to the client.
    handed: AtomicU64,
    /// Messages that may wait in the client.
    queue: u64,
    metrics: Metrics,
}

impl Outlet {
    pub(super) fn new(client: Client, queue: usize, metrics: Metrics) -> Self {
        Self { statistics: client.statistics(), client, handed: AtomicU64::new(0), queue: queue as u64, metrics }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether messages can be carried now.
    pub(super) fn connected(&self) -> bool {
        match self.client.connection_state() {
            State::Connected => true,
            State::Pending | State::Disconnected => false,
        }
    }

    /// How many times the connection was made.
    pub(super) fn connects(&self) -> u64 {
        self.statistics.connects.load(Ordering::Relaxed)
    }

    /// Hands a message over, or drops and counts it.
    pub(super) fn send(&self, message: OutboundMessage) -> Result<(), BusError> {
        let bytes = message.payload.len();
        self.hand_over(message).map(|()| self.metrics.on_published(bytes)).map_err(|reason| {
            self.metrics.on_dropped(reason);
            match reason {
                DropReason::Disconnected => BusError::Disconnected,
                DropReason::TooLarge => BusError::TooLarge,
                DropReason::QueueFull | DropReason::SlowSubscription => BusError::Timeout,
            }
        })
    }

    fn hand_over(&self, message: OutboundMessage) -> Result<(), DropReason> {
        if message.payload.len() > MAX_MESSAGE {
            return Err(DropReason::TooLarge);
        }
        if !self.connected() {
            return Err(DropReason::Disconnected);
        }
        let waiting = |handed: u64| handed.saturating_sub(self.statistics.out_messages.load(Ordering::Relaxed));
        if waiting(self.handed.fetch_add(1, Ordering::Relaxed)) >= self.queue {
            self.handed.fetch_sub(1, Ordering::Relaxed);
            return Err(DropReason::QueueFull);
        }
        // The first poll hands the message over unless the queue is full; without `unconstrained`, a task that has used up
        // its budget would look the same.
        let outcome = match unconstrained(self.client.publish_message(message)).now_or_never() {
            Some(Ok(())) => return Ok(()),
            None => DropReason::QueueFull,
            Some(Err(error)) => match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => DropReason::TooLarge,
                PublishErrorKind::InvalidSubject | PublishErrorKind::Send => DropReason::Disconnected,
            },
        };
        self.handed.fetch_sub(1, Ordering::Relaxed);
        Err(outcome)
    }

    /// Returns how to answer a request that wants its answer on `subject`.
    pub(super) fn reply(self: &Arc<Self>, subject: async_nats::Subject) -> Reply {
        let outlet = self.clone();
        Reply::new(move |payload: Bytes| {
            // A drop is counted; whoever asked runs into its timeout.
            let _ = outlet.send(OutboundMessage { subject, reply: None, payload, headers: None });
        })
    }
}

/// Returns the headers that carry a trace context; `None` for one that no header can hold.
pub(super) fn headers(traceparent: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(TRACEPARENT, traceparent.parse::<HeaderValue>().ok()?);
    Some(headers)
}
