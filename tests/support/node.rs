//! A node in this process, the real thing, on free ports. Tests speak its wire through [`super::client::Client`].

use std::net::SocketAddr;
use std::time::Duration;

use switchboard::bus::NatsConfig;
use switchboard::model::Scripted;
use switchboard::node::{BusChoice, Config, ModelChoice, Node, Role, StoreChoice};
use switchboard::secret::Secret;
use switchboard::store::{postgres, sqlite};
use switchboard::{agent, http, session, socket, turn};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::services;

/// A running node, stopped by [`TestNode::stop`] or when the test's runtime ends.
pub struct TestNode {
    node: Option<Node>,
    address: SocketAddr,
    internal: SocketAddr,
    /// What the node counts.
    pub registry: prometheus::Registry,
}

/// What a test may choose; the rest is as in production, on free ports, with short waits where a test waits for them.
pub fn config() -> Config {
    let free: SocketAddr = ([127, 0, 0, 1], 0).into();
    Config {
        listen: free,
        internal_listen: free,
        role: Role::All,
        store: StoreChoice::Sqlite(sqlite::Config::new(sqlite::Location::Memory)),
        migrate: true,
        bus: BusChoice::Alone,
        model: ModelChoice::None,
        tools: Vec::new(),
        agent: agent::Config::default(),
        turn: turn::Config::default(),
        session: session::Config::default(),
        socket: socket::Config {
            close_timeout: Duration::from_millis(200),
            close_spread: Duration::ZERO,
            ..socket::Config::default()
        },
        http: http::ServerConfig::default(),
        health: http::HealthConfig::default(),
        drain: Duration::from_secs(5),
    }
}

/// What several nodes of one test share.
#[derive(Clone)]
pub struct Shared {
    /// The database they share.
    pub store: StoreChoice,
    /// The bus they share.
    pub bus: BusChoice,
    /// The model that answers on each.
    pub model: ModelChoice,
}

impl Shared {
    /// Real Postgres and real NATS, and a scripted model in the process.
    pub async fn real(model: &Scripted) -> Self {
        let bus = NatsConfig {
            servers: vec![Secret::new(services::nats().await.url())],
            prefix: services::nats_prefix(),
            ..NatsConfig::default()
        };
        Self {
            store: StoreChoice::Postgres(postgres::Config::new(services::database().await)),
            bus: BusChoice::Nats(Box::new(bus)),
            model: given(model),
        }
    }

    /// A node's configuration on these.
    pub fn config(&self, role: Role) -> Config {
        Config { role, store: self.store.clone(), bus: self.bus.clone(), model: self.model.clone(), ..config() }
    }

    /// Starts a node on these.
    pub async fn start(&self, role: Role) -> TestNode {
        TestNode::start(self.config(role)).await
    }
}

/// A model made in the test.
pub fn given(model: &Scripted) -> ModelChoice {
    ModelChoice::Given(std::sync::Arc::new(model.clone()))
}

impl TestNode {
    /// Starts a node.
    pub async fn start(config: Config) -> Self {
        if std::env::var_os("SWITCHBOARD_TEST_LOG").is_some() {
            tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().try_init().ok();
        }
        let node = config.start().await.unwrap_or_else(|error| panic!("node not started: {error}"));
        Self {
            address: node.address(),
            internal: node.internal_address(),
            registry: node.registry().clone(),
            node: Some(node),
        }
    }

    /// A node by itself, with a store in memory.
    pub async fn alone(model: &Scripted) -> Self {
        Self::start(Config { model: given(model), ..config() }).await
    }

    /// Connects a client.
    pub async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a path of the internal port answers: status and body.
    pub async fn internal(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.internal)).await.expect("the internal port answers");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    /// The sum of a metric over all its labels that contain each of these `name="value"` pairs.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let families = self.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { panic!("no metric {name}") };
        let wanted = |metric: &&prometheus::proto::Metric| {
            labels.iter().all(|(label, value)| {
                metric.get_label().iter().any(|pair| pair.name() == *label && pair.value() == *value)
            })
        };
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_counter().get_value()
                + metric.get_gauge().get_value()
                + metric.get_histogram().get_sample_count() as f64
        };
        family.get_metric().iter().filter(wanted).map(value).sum()
    }

    /// Stops the node as SIGTERM would.
    pub async fn stop(mut self) {
        if let Some(node) = self.node.take() {
            node.stop(CancellationToken::new()).await;
        }
    }
}
