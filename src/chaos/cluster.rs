//! Node processes on a real NATS and a real Postgres, each node behind proxies of its own, all asking one scripted gateway.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::dice::Dice;
use super::gateway::Gateway;
use super::history::History;
use super::holders::Holders;
use super::node::{Node, Parts};
use super::plan::Fault;
use super::proxy::{Mode, Proxy};
use super::tool::{self, ToolServer};
use super::{ChaosError, Config};
use crate::dev::{Nats, Postgres, PostgresConfig, Tools};

/// From so many nodes on, the last one only holds sockets, so that every turn of its clients runs elsewhere.
const EDGE_FROM: usize = 3;

/// Everything that runs. What it started ends when it is dropped.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Arc<Node>>,
    gateway: Gateway,
    tools: ToolServer,
    /// Which node works on what.
    pub(super) holders: Arc<Holders>,
    /// The address of the nodes' database, past all proxies.
    pub(super) database: String,
    /// The servers; node `i` is connected to number `i`, modulo their count. Whoever breaks one, or the way to it, holds this.
    pub(super) nats: Mutex<Vec<Nats>>,
    /// Whoever breaks Postgres, or the way to it, holds this.
    pub(super) postgres: Mutex<Postgres>,
    /// One less than there are nodes: one is always left alone.
    breakable: Arc<Semaphore>,
    broken: Vec<AtomicBool>,
    failure: StdMutex<Option<ChaosError>>,
}

/// A node that one fault has for itself; given back when dropped.
pub(super) struct Reserved {
    cluster: Arc<Cluster>,
    node: usize,
    _permit: OwnedSemaphorePermit,
}

impl Cluster {
    /// Starts everything.
    pub(super) async fn start(config: &Config, history: &History, say: fn(&str)) -> Result<Arc<Self>, ChaosError> {
        let tools = Tools::locate(say)?;
        // A crash of Postgres loses what its processes hold, not what it gave to the system: a commit has to reach that, and
        // no disk.
        let settings = vec![("synchronous_commit".to_owned(), "on".to_owned())];
        let postgres = Postgres::start(&tools, PostgresConfig { settings, ..PostgresConfig::default() }).await?;
        let database = postgres.create_database("chaos").await?;
        let nats = Nats::start_cluster(&tools, config.nats.max(1)).await?;
        let (seed, holders) = (config.seed, Arc::new(Holders::default()));
        let faulty = |fault| config.faults.contains(&fault);
        let gateway = Gateway::start(seed, faulty(Fault::Gateway), history.clone(), holders.clone())
            .await
            .map_err(ChaosError::io("start the model gateway"))?;
        let tool_server = ToolServer::start(seed, faulty(Fault::Tools), history.clone(), holders.clone())
            .await
            .map_err(ChaosError::io("start the tools"))?;
        declare(config, &database, &tool_server).await?;
        let mut nodes = Vec::new();
        for index in 0..config.nodes {
            let proxy =
                |port, nats| async move { Proxy::start(port, nats).await.map_err(ChaosError::io("start a proxy")) };
            let dice = Dice::of(config.seed, &format!("nats {index}"));
            let (port, postgres_port) = (nats[index % nats.len()].port(), postgres.port());
            let (nats, before_postgres) = (proxy(port, Some(dice)).await?, proxy(postgres_port, None).await?);
            let before = database.replace(&format!(":{postgres_port}/"), &format!(":{}/", before_postgres.port()));
            let urls = (before, format!("nats://127.0.0.1:{}", nats.port()), gateway.url(index));
            nodes.push(Arc::new(Node::new(Parts {
                index,
                nats,
                postgres: before_postgres,
                program: config.program.clone(),
                settings: settings_of(config, index, urls),
                log: log_of(config, index),
                history: history.clone(),
            })));
        }
        for node in &nodes {
            node.start().await?;
        }
        Ok(Arc::new(Self {
            gateway,
            tools: tool_server,
            holders,
            database,
            nats: Mutex::new(nats),
            postgres: Mutex::new(postgres),
            breakable: Arc::new(Semaphore::new(nodes.len().saturating_sub(1))),
            broken: nodes.iter().map(|_| AtomicBool::new(false)).collect(),
            failure: StdMutex::default(),
            nodes,
        }))
    }

    /// Takes this node for a fault, unless another fault has it or it is the last one that is whole.
    pub(super) fn reserve(self: &Arc<Self>, node: usize) -> Option<Reserved> {
        let permit = self.breakable.clone().try_acquire_owned().ok()?;
        self.take(node).then(|| Reserved { cluster: self.clone(), node, _permit: permit })
    }

    /// Takes some node for a fault; waits for one.
    pub(super) async fn reserve_any(self: &Arc<Self>, dice: &mut Dice) -> Option<Reserved> {
        let permit = self.breakable.clone().acquire_owned().await.ok()?;
        let first = usize::try_from(dice.between(0, self.nodes.len() as u64)).unwrap_or_default();
        let all = (0..self.nodes.len()).map(|offset| (first + offset) % self.nodes.len());
        let node = all.into_iter().find(|node| self.take(*node))?;
        Some(Reserved { cluster: self.clone(), node, _permit: permit })
    }

    fn take(&self, node: usize) -> bool {
        !self.broken[node].swap(true, Ordering::SeqCst)
    }

    /// Something could not be made whole again: the run is not worth judging.
    pub(super) fn failed(&self, error: ChaosError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The first thing that could not be made whole.
    pub(super) fn failure(&self) -> Option<ChaosError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Lets everything pass, and makes the gateway behave.
    pub(super) fn heal(&self) {
        self.gateway.behave();
        self.tools.behave();
        for node in &self.nodes {
            node.nats.set(Mode::Pass);
            node.postgres.set(Mode::Pass);
        }
    }
}

impl Reserved {
    /// The node.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.cluster.nodes[self.node]
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.cluster.broken[self.node].store(false, Ordering::SeqCst);
    }
}

/// Declares the agent as an operator does, before the nodes start.
async fn declare(config: &Config, database: &str, tools: &ToolServer) -> Result<(), ChaosError> {
    let file = config.folder.join("agents.json");
    let doing = "declare the agent";
    std::fs::write(&file, tool::declaration(&tools.url())).map_err(ChaosError::io(doing))?;
    let mut command = Command::new(&config.program);
    command.args(["agents", "apply"]).arg(&file).env("SWITCHBOARD_DATABASE_URL", database).kill_on_drop(true);
    let output = command.stdin(Stdio::null()).output().await.map_err(ChaosError::io(doing))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ChaosError::Io { doing: doing.to_owned(), source: std::io::Error::other(said) })
}

/// How long a node that is told to stop may let its turns go on.
pub(super) fn drain(config: &Config) -> Duration {
    config.lease.max(Duration::from_secs(3))
}

fn settings_of(config: &Config, index: usize, urls: (String, String, String)) -> Vec<(&'static str, String)> {
    let (database, nats, gateway) = urls;
    let edge = config.nodes >= EDGE_FROM && index + 1 == config.nodes;
    // Few enough that some turns wait for a slot, and go to another node.
    let slots = (config.clients / config.nodes).max(2);
    vec![
        ("LISTEN", "127.0.0.1:0".to_owned()),
        ("INTERNAL_LISTEN", "127.0.0.1:0".to_owned()),
        ("DATABASE_URL", database),
        ("NATS_URL", nats),
        ("GATEWAY_URL", gateway),
        // Longer than any pause, after which every gateway seems to have been silent.
        ("GATEWAY_IDLE_SECONDS", (config.lease * 2).as_secs().saturating_add(1).to_string()),
        ("MODEL", "chaos".to_owned()),
        ("ROLE", if edge { "edge" } else { "all" }.to_owned()),
        ("MAX_TURNS", slots.to_string()),
        ("LEASE_SECONDS", config.lease.as_secs_f64().to_string()),
        ("DRAIN_SECONDS", drain(config).as_secs_f64().to_string()),
        ("CLOSE_SPREAD_SECONDS", "1".to_owned()),
        ("WRITE_TIMEOUT_SECONDS", "2".to_owned()),
    ]
}

/// The log of one node.
fn log_of(config: &Config, index: usize) -> PathBuf {
    config.folder.join(format!("node-{index}.log"))
}
