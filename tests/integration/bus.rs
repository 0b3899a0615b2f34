//! The bus: one suite for both implementations, and what a broker can do to the one that has one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod login;
mod nats;

use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;
use switchboard::bus::{
    Bus, BusError, BusState, Incoming, LocalConfig, LocalHub, Metrics, NatsBus, NatsConfig, Outgoing, Subject,
    Subscription,
};
use switchboard::dev::Nats;
use switchboard::ids::{ConversationId, NodeId};
use switchboard::secret::Secret;

use crate::support::services;

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// One node: its bus and its own metrics.
struct Node {
    bus: Box<dyn Bus>,
    registry: Registry,
}

impl Node {
    fn new(registry: Registry, bus: impl Bus) -> Self {
        Self { bus: Box::new(bus), registry }
    }

    async fn on_nats(config: NatsConfig) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        Self::new(registry, NatsBus::connect(config, metrics).await.unwrap())
    }

    fn publish(&self, subject: &Subject, text: impl Into<String>) {
        self.bus.publish(subject, message(text));
    }

    /// Subscribes and waits until it has taken effect.
    async fn subscribe(&self, subject: &Subject) -> Subscription {
        let subscription = self.bus.subscribe(subject).await.unwrap();
        self.settle().await;
        subscription
    }

    async fn join(&self, subject: &Subject) -> Subscription {
        let subscription = self.bus.join(subject).await.unwrap();
        self.settle().await;
        subscription
    }

    /// Waits until the broker has dealt with all that this node did so far.
    async fn settle(&self) {
        let nobody = Subject::Node(NodeId::new());
        assert_eq!(self.bus.request(&nobody, message("")).await, Err(BusError::NoResponders));
    }

    /// Waits until the state is as wanted.
    async fn until(&self, wanted: impl FnMut(&BusState) -> bool) -> BusState {
        let mut state = self.bus.state();
        *patiently(state.wait_for(wanted)).await.unwrap()
    }

    /// Returns a metric, with the value of its label when it has one.
    fn metric(&self, name: &str, label: Option<&str>) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("switchboard_bus_{name}"));
        let family = family.unwrap_or_else(|| panic!("no metric {name}"));
        let labelled =
            |metric: &&prometheus::proto::Metric| metric.get_label().first().map(|pair| pair.value()) == label;
        let metric = family.get_metric().iter().find(labelled).unwrap_or_else(|| panic!("no {label:?} in {name}"));
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    fn dropped(&self, reason: &str) -> f64 {
        self.metric("dropped_total", Some(reason))
    }
}

/// What differs between the clusters of the suite.
#[derive(Clone)]
struct Limits {
    subscription_capacity: usize,
    publish_queue: usize,
    request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { subscription_capacity: 256, publish_queue: 256, request_timeout: Duration::from_secs(5) }
    }
}

/// Nodes that share one bus.
trait Cluster {
    async fn start(limits: Limits) -> Self;
    async fn node(&self) -> Node;
}

struct LocalCluster(LocalHub);

impl Cluster for LocalCluster {
    async fn start(limits: Limits) -> Self {
        Self(LocalHub::with_config(LocalConfig {
            subscription_capacity: limits.subscription_capacity,
            request_timeout: limits.request_timeout,
        }))
    }

    async fn node(&self) -> Node {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        Node::new(registry, self.0.bus(metrics))
    }
}

struct NatsCluster {
    prefix: String,
    limits: Limits,
}

impl Cluster for NatsCluster {
    async fn start(limits: Limits) -> Self {
        Self { prefix: services::nats_prefix(), limits }
    }

    async fn node(&self) -> Node {
        Node::on_nats(NatsConfig {
            subscription_capacity: self.limits.subscription_capacity,
            publish_queue: self.limits.publish_queue,
            request_timeout: self.limits.request_timeout,
            prefix: self.prefix.clone(),
            ..config(services::nats().await)
        })
        .await
    }
}

/// How to reach this server.
fn config(server: &Nats) -> NatsConfig {
    NatsConfig { servers: vec![Secret::new(server.url())], ..NatsConfig::default() }
}

fn conversation() -> Subject {
    Subject::Conversation(ConversationId::new())
}

fn message(text: impl Into<String>) -> Outgoing {
    Outgoing { payload: Bytes::from(text.into()), traceparent: None }
}

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("this should not take so long")
}

async fn next(subscription: &mut Subscription) -> Incoming {
    patiently(subscription.next()).await.expect("the subscription ended")
}

async fn next_text(subscription: &mut Subscription) -> String {
    String::from_utf8(next(subscription).await.payload.to_vec()).unwrap()
}
