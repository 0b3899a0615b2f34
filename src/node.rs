//! The composition root: builds each part from its own configuration, in order, and takes them down in the reverse order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{self, Agent, HttpClients, PlaceOrder, Tool};
use crate::bus::{self, LocalBus, LocalHub, NatsBus, NatsConfig, SharedBus};
use crate::clock::Clock;
use crate::http::{self, Health, HealthConfig, Server, ServerConfig};
use crate::ids::NodeId;
use crate::model::{self, Demo, Gateway, SharedModel, gateway};
use crate::store::{self, SharedStore, StoreError, postgres, sqlite};
use crate::{session, socket, turn};

/// What a node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Holds sockets and runs turns.
    #[default]
    All,
    /// Only holds sockets.
    Edge,
    /// Only runs turns; its public port serves no WebSocket.
    Runner,
}

/// Which store.
#[derive(Clone)]
pub enum StoreChoice {
    /// A database shared by every node.
    Postgres(postgres::Config),
    /// One file, one node.
    Sqlite(sqlite::Config),
}

/// Which bus.
#[derive(Clone)]
pub enum BusChoice {
    /// None: this node is alone.
    Alone,
    /// One that several nodes of this process share.
    Shared(LocalHub),
    /// NATS.
    Nats(Box<NatsConfig>),
    /// One made elsewhere.
    Given(SharedBus),
}

/// Which model.
#[derive(Clone)]
pub enum ModelChoice {
    /// None: messages are answered with `LLM_UNAVAILABLE`.
    None,
    /// The built-in demo, with its pause between two words.
    Demo(Duration),
    /// An OpenAI-compatible gateway.
    Gateway(gateway::Config),
    /// One made elsewhere.
    Given(SharedModel),
}

/// A whole node.
#[derive(Clone)]
pub struct Config {
    /// The public port.
    pub listen: SocketAddr,
    /// The port for metrics and health.
    pub internal_listen: SocketAddr,
    /// What it does.
    pub role: Role,
    /// The store.
    pub store: StoreChoice,
    /// Brings the schema up to date at the start; else it must be.
    pub migrate: bool,
    /// The bus.
    pub bus: BusChoice,
    /// The model.
    pub model: ModelChoice,
    /// The tools that every agent may call, beside those that were declared for it.
    pub tools: Vec<Arc<dyn Tool>>,
    /// The agent loop.
    pub agent: agent::Config,
    /// Turns.
    pub turn: turn::Config,
    /// What clients may do.
    pub session: session::Config,
    /// Connections.
    pub socket: socket::Config,
    /// HTTP.
    pub http: ServerConfig,
    /// Health.
    pub health: HealthConfig,
    /// How long turns may go on once the node stops.
    pub drain: Duration,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address is not to be had.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus.
    #[error("the bus cannot be used: {0}")]
    Bus(String),
    /// The model.
    #[error("the model cannot be used: {0}")]
    Model(String),
    /// The tools.
    #[error("tools cannot be called: {0}")]
    Tools(String),
    /// A thread is not to be had.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A metric's name is taken: a defect of this build.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// A running node.
pub struct Node {
    id: NodeId,
    registry: Registry,
    health: Health,
    public: Server,
    internal: Server,
    sockets: socket::Sockets,
    turns: turn::Turns,
    bus: SharedBus,
    tasks: TaskTracker,
    stop: CancellationToken,
    drain: Duration,
}

impl Config {
    /// Starts a node. When this returns it listens, and its store has the schema that it needs.
    pub async fn start(self) -> Result<Node, StartError> {
        let (id, clock, registry) = (NodeId::new(), Clock::system(), Registry::new());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let listener = listen(self.listen).await?;
        let internal_listener = listen(self.internal_listen).await?;

        let store = self.store.open(&registry).await?;
        if self.migrate {
            store.migrate().await?;
        }
        store.check().await?;
        let bus = self.bus.open(&registry).await?;
        let (mut tools, http_tools) = (self.tools, self.agent.environment.clone());
        let http_tools = HttpClients::new(http_tools).map_err(StartError::Tools)?;
        if matches!(self.model, ModelChoice::Demo(_)) {
            tools.extend(PlaceOrder::new().map(|tool| Arc::new(tool) as Arc<dyn Tool>));
        }
        let max_tool_result_bytes = self.agent.max_tool_result_bytes;
        let agent = self.model.open(clock.clone(), &registry)?.map(|model| Agent::new(model, tools, self.agent));

        let mut turn_config = self.turn;
        if self.role == Role::Edge {
            turn_config.max_turns = 0;
        }
        let turns = turn_config.build(turn::Parts {
            node: id,
            store: store.clone(),
            bus: bus.clone(),
            agent,
            http_tools,
            max_tool_result_bytes,
            clock: clock.clone(),
            metrics: turn::Metrics::register(&registry)?,
        })?;
        let sessions = self.session.build(store.clone(), turns.clone(), clock);
        let sockets = self.socket.build(sessions, socket::Metrics::register(&registry)?);

        let health = self.health.clone().build();
        tasks.spawn(health.clone().watch(self.health, store, bus.state(), stop.clone()));
        let served = (self.role != Role::Runner).then(|| sockets.clone());
        let public = self
            .http
            .clone()
            .serve(listener, http::public(served))
            .map_err(|error| StartError::Listen { address: self.listen, error })?;
        let internal = self
            .http
            .serve(internal_listener, http::internal(registry.clone(), health.clone()))
            .map_err(|error| StartError::Listen { address: self.internal_listen, error })?;
        tracing::info!(node.id = %id, address = %public.address(), internal = %internal.address(), "node started");
        Ok(Node { id, registry, health, public, internal, sockets, turns, bus, tasks, stop, drain: self.drain })
    }
}

impl Config {
    /// Proves that the store and the bus can be reached, without serving.
    pub async fn connect(self) -> Result<(), StartError> {
        let registry = Registry::new();
        self.store.open(&registry).await?.check().await?;
        let connected = self.bus.open(&registry).await?.state().borrow().connected;
        if connected { Ok(()) } else { Err(StartError::Bus("it cannot be reached".to_owned())) }
    }
}

impl Node {
    /// Which node this is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.public.address()
    }

    /// Where metrics and health are.
    pub fn internal_address(&self) -> SocketAddr {
        self.internal.address()
    }

    /// Its metrics.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Stops: not ready at once, connections closed with 1012, then waits for the turns that run, at most the drain time or
    /// until `hurry`; what still runs then goes on elsewhere.
    pub async fn stop(self, hurry: CancellationToken) {
        let deadline = Instant::now() + self.drain;
        tracing::info!(node.id = %self.id, "node stops");
        self.health.drain();
        self.turns.stop_accepting();
        self.public.stop().await;
        hurry.run_until_cancelled(self.sockets.close_all()).await;
        self.turns.drain(hurry.run_until_cancelled(sleep_until(deadline))).await;
        self.bus.flush().await;
        self.internal.stop().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        tracing::info!(node.id = %self.id, "node stopped");
    }
}

impl StoreChoice {
    /// The store, not yet connected.
    pub async fn open(self, registry: &Registry) -> Result<SharedStore, StartError> {
        let metrics = store::Metrics::register(registry)?;
        Ok(match self {
            Self::Postgres(config) => Arc::new(postgres::Postgres::connect(config, metrics)?),
            Self::Sqlite(config) => Arc::new(sqlite::Sqlite::open(config, metrics).await?),
        })
    }
}

impl BusChoice {
    async fn open(self, registry: &Registry) -> Result<SharedBus, StartError> {
        Ok(match self {
            Self::Alone => Arc::new(LocalBus::new(bus::Metrics::register(registry)?)),
            Self::Given(bus) => bus,
            Self::Shared(hub) => Arc::new(hub.bus(bus::Metrics::register(registry)?)),
            Self::Nats(config) => {
                let metrics = bus::Metrics::register(registry)?;
                let bus = NatsBus::connect(*config, metrics).await;
                Arc::new(bus.map_err(|error| StartError::Bus(error.to_string()))?)
            }
        })
    }
}

impl ModelChoice {
    fn open(self, clock: Clock, registry: &Registry) -> Result<Option<SharedModel>, StartError> {
        Ok(match self {
            Self::None => None,
            Self::Demo(pace) => Some(Arc::new(Demo::new(pace))),
            Self::Given(model) => Some(model),
            Self::Gateway(config) => {
                let metrics = model::Metrics::register(registry)?;
                let gateway =
                    Gateway::new(config, clock, metrics).map_err(|error| StartError::Model(error.to_string()))?;
                Some(Arc::new(gateway))
            }
        })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { address, error })
}
