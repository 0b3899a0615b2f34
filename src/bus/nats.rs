//! The bus through NATS.
//!
//! Every call on the client may wait for ever when its command channel is full, so every call here has a time limit or is
//! abandoned at once; and what the client does not tell by events (it drops those, too) is read from its counters.

mod config;
mod link;
mod outlet;
mod requests;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use async_nats::message::OutboundMessage;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

pub use self::config::{NatsConfig, NatsConfigError};
use self::link::Link;
use self::outlet::Outlet;
use self::requests::Requests;
use self::subscriptions::Subscriptions;
use super::{Bus, BusError, BusState, Metrics, Outgoing, Subject, Subscription};

/// Commands that wait in the client: must hold one per live subscription, for a node that drops them all while the bus is
/// down. Messages and new subscriptions do not queue here during an outage.
const COMMANDS: usize = 65_536;

/// Events of the client that wait for the link.
const EVENTS: usize = 128;

/// One node's connection to NATS. Dropping it ends its tasks; the connection closes with the last subscription.
pub struct NatsBus {
    outlet: Arc<Outlet>,
    requests: Arc<Requests>,
    subscriptions: Arc<Subscriptions>,
    state: watch::Receiver<BusState>,
    prefix: String,
    request_timeout: Duration,
    flush_timeout: Duration,
    _tasks: JoinSet<()>,
}

impl NatsBus {
    /// Starts the connection and waits for the outcome of the first attempt, at most the connect timeout. A broker that is
    /// down is no error: the bus says so in its state and keeps trying.
    ///
    /// # Errors
    /// When the configuration cannot work, whatever the broker does.
    pub async fn connect(config: NatsConfig, metrics: Metrics) -> Result<Self, NatsConfigError> {
        let servers = config.servers()?;
        let (sender, events) = mpsc::channel(EVENTS);
        let options = config.options(&servers).await?.client_capacity(COMMANDS).event_callback(move |event| {
            let sender = sender.clone();
            async move { _ = sender.send(event).await }
        });
        let client = options.connect(&servers.addresses[..]).await.map_err(NatsConfigError::client)?;

        let outlet = Arc::new(Outlet::new(client, config.publish_queue, metrics));
        let subscriptions = Arc::new(Subscriptions::new(outlet.clone(), config.request_timeout));
        let inbox = format!("{}.reply.{}", config.prefix, Uuid::new_v4());
        let (requests, replies) = Requests::open(inbox, outlet.clone()).await?;
        let (link, state, attempted) = Link::new(outlet.clone(), requests.clone(), subscriptions.clone());

        let mut tasks = JoinSet::new();
        tasks.spawn(requests.clone().receive(replies));
        tasks.spawn(link.run(events));
        let _ = tokio::time::timeout(config.connect_timeout, attempted).await;
        Ok(Self {
            outlet,
            requests,
            subscriptions,
            state,
            prefix: config.prefix,
            request_timeout: config.request_timeout,
            flush_timeout: config.flush_timeout,
            _tasks: tasks,
        })
    }

    async fn ask(&self, subject: String, message: Outgoing, timeout: Duration) -> Result<Bytes, BusError> {
        let (reply, answer) = self.requests.expect();
        let headers = message.traceparent.as_deref().and_then(outlet::headers);
        self.outlet.send(OutboundMessage {
            subject: subject.into(),
            reply: Some(reply),
            payload: message.payload,
            headers,
        })?;
        answer.wait(timeout).await
    }
}

#[async_trait]
impl Bus for NatsBus {
    fn publish(&self, subject: &Subject, message: Outgoing) {
        // A drop is counted where it happens, and nothing here could do more about it.
        let _ = self.outlet.send(OutboundMessage {
            subject: subject.name(&self.prefix).into(),
            reply: None,
            headers: message.traceparent.as_deref().and_then(outlet::headers),
            payload: message.payload,
        });
    }

    async fn subscribe(&self, subject: &Subject) -> Result<Subscription, BusError> {
        self.subscriptions.open(subject.name(&self.prefix), None).await
    }

    async fn join(&self, subject: &Subject) -> Result<Subscription, BusError> {
        self.subscriptions.open(subject.name(&self.prefix), Some("nodes")).await
    }

    async fn request(&self, subject: &Subject, message: Outgoing) -> Result<Bytes, BusError> {
        let answer = self.ask(subject.name(&self.prefix), message, self.request_timeout).await;
        self.outlet.metrics().on_request(answer)
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.state.clone()
    }

    /// Asks on a subject that nobody serves: the broker's refusal proves that it has read all that was sent before.
    async fn flush(&self) {
        let _ = self.ask(format!("{}.flush", self.prefix), Outgoing::default(), self.flush_timeout).await;
    }
}
