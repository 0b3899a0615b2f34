//! The bus carries events between nodes by subject. It only carries: it may delay, drop or reorder a message, and nothing
//! that a client was promised depends on it. What it lost is found by sequence numbers and fetched from the holder or the store.

mod envelope;
mod local;
mod metrics;
mod nats;
mod subject;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::sync::watch;

pub use envelope::{Envelope, Kind};
pub use local::{LocalBus, LocalConfig, LocalHub};
pub use metrics::Metrics;
pub use nats::{NatsBus, NatsConfig, NatsConfigError};
pub use subject::Subject;

/// The largest payload of a message, request or answer, in bytes: NATS's own limit of 1 MiB, less room for headers.
/// A sender with more to say splits it; what is larger is dropped and counted.
pub const MAX_MESSAGE: usize = 1024 * 1024 - 4096;

/// Carries messages between nodes: in one process ([`LocalBus`]) or through NATS ([`NatsBus`]).
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Hands a message over for delivery and returns at once. When the queue towards the broker is full, the bus is
    /// down, or the payload exceeds [`MAX_MESSAGE`], the message is dropped and counted. A node does not receive what it
    /// published itself.
    fn publish(&self, subject: &Subject, message: Outgoing);

    /// Receives every message of a subject until the subscription is dropped. Also succeeds while the bus is down: the
    /// subscription then takes effect before `generation` tells that the bus is back.
    ///
    /// It takes effect soon, not at once. Whoever answers a later [`request`](Self::request) of this bus may rely on it:
    /// what is published after that request arrived is delivered.
    async fn subscribe(&self, subject: &Subject) -> Result<Subscription, BusError>;

    /// Shares a subject with the other members of its queue group: each message goes to one of them. Dropping the
    /// subscription leaves the group.
    async fn join(&self, subject: &Subject) -> Result<Subscription, BusError>;

    /// Sends a message and waits for one answer, at most the configured time. A node does not reach itself: without
    /// another node on the subject the answer is [`BusError::NoResponders`].
    async fn request(&self, subject: &Subject, message: Outgoing) -> Result<Bytes, BusError>;

    /// The connection's state. Every change of `generation` is a gap: messages may have been lost.
    fn state(&self) -> watch::Receiver<BusState>;

    /// Delivers what was published so far, at most the configured time; used before the process ends.
    async fn flush(&self);
}

/// A message on its way out.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The message itself.
    pub payload: Bytes,
    /// The W3C `traceparent` that the receiver continues; carried in a header.
    pub traceparent: Option<String>,
}

/// A message that arrived.
#[derive(Debug)]
pub struct Incoming {
    /// The message itself.
    pub payload: Bytes,
    /// The sender's W3C `traceparent`.
    pub traceparent: Option<String>,
    /// Where to answer, when the sender waits for an answer.
    pub reply: Option<Reply>,
}

/// The way back to whoever sent a request. Answering never blocks.
pub struct Reply(Box<dyn FnOnce(Bytes) + Send + Sync>);

impl Reply {
    /// Wraps how an implementation answers.
    pub(crate) fn new(answer: impl FnOnce(Bytes) + Send + Sync + 'static) -> Self {
        Self(Box::new(answer))
    }

    /// Answers the request.
    pub fn send(self, payload: Bytes) {
        (self.0)(payload);
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

/// The receiving end of a subject. Ends (`None`) when the bus is closed. Dropping it unsubscribes.
pub struct Subscription(BoxStream<'static, Incoming>);

impl Subscription {
    /// Wraps an implementation's stream, which unsubscribes when it is dropped. It is bounded: what does not fit is
    /// dropped, counted, and grows the generation.
    pub(crate) fn new(messages: impl Stream<Item = Incoming> + Send + 'static) -> Self {
        Self(messages.boxed())
    }

    /// Waits for the next message, in the order the bus delivered them. Cancel-safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.0.next().await
    }
}

/// How the connection to the broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusState {
    /// Messages can be carried now.
    pub connected: bool,
    /// Grows by one whenever messages may have been lost: a reconnect, or an overfull subscription.
    pub generation: u64,
}

/// Why a bus call did not succeed. Each variant is something the caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody serves the subject: the holder is gone.
    #[error("nobody answers on this subject")]
    NoResponders,
    /// No answer within the configured time.
    #[error("no answer in time")]
    Timeout,
    /// The bus is not connected.
    #[error("the bus is not connected")]
    Disconnected,
    /// The payload exceeds [`MAX_MESSAGE`], or a lower limit of the broker.
    #[error("the message is too large for the bus")]
    TooLarge,
}

/// A bus that any part of the node may hold.
pub type SharedBus = Arc<dyn Bus>;
