//! `switchboard chaos`: breaks a real cluster in every way there is, under load, and judges whether its promises held.
//!
//! Three parts that know nothing of each other's insides: the load and the faults write a history, and a checker that sees
//! nothing else gives the verdict. Nothing here is meant for production.

pub mod answer;
pub mod check;
mod client;
mod cluster;
mod device;
pub mod dice;
mod error;
mod gateway;
pub mod history;
mod holders;
mod http;
mod inject;
mod link;
mod nats_frames;
mod node;
pub mod plan;
mod proxy;
mod stored;
pub mod tool;
mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use error::ChaosError;

use check::{Checker, Verdict};
use cluster::Cluster;
use history::{History, What};
use inject::Injector;
use plan::Fault;
use world::World;

/// How long clients may take to learn how everything ended, after all is whole again; beside a few leases.
const SETTLE: Duration = Duration::from_secs(60);

/// A run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Decides the plan, the load and the answers.
    pub seed: u64,
    /// How long the load lasts; starting, settling and judging come on top.
    pub length: Duration,
    /// Clients that talk at once.
    pub clients: usize,
    /// Node processes.
    pub nodes: usize,
    /// NATS servers, as one cluster when there are several.
    pub nats: usize,
    /// Most bytes that a connection reads before it breaks, where connections break.
    pub cut_bytes: u64,
    /// The nodes' lease.
    pub lease: Duration,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Where history, verdict and logs go; made if it is not there.
    pub folder: PathBuf,
    /// The program whose `serve` is a node.
    pub program: PathBuf,
}

/// Makes a run and judges it. `say` gets a line for each thing that takes long.
pub async fn run(config: &Config, say: fn(&str)) -> Result<Verdict, ChaosError> {
    let path = config.folder.join("history.jsonl");
    let doing = format!("write {}", path.display());
    std::fs::create_dir_all(&config.folder).map_err(ChaosError::io(doing.clone()))?;
    let history = History::create(&path).map_err(ChaosError::io(doing.clone()))?;
    let cluster = Cluster::start(config, &history, say).await?;
    say(&format!("{} nodes run; {:.0} s of load", config.nodes, config.length.as_secs_f64()));
    load(config, &cluster, &history, say).await;
    if let Some(error) = cluster.failure() {
        return Err(error);
    }
    stored::read_turns(&history, &cluster.database).await?;
    history.flush().map_err(ChaosError::io(doing))?;
    say("judging the history");
    let verdict = judge(&path).await?;
    write(config, &verdict).map_err(ChaosError::io("write the verdict"))?;
    Ok(verdict)
}

/// Judges a history that was written before.
pub async fn judge(path: &Path) -> Result<Verdict, ChaosError> {
    let (path, doing) = (path.to_owned(), format!("read {}", path.display()));
    let judged = tokio::task::spawn_blocking(move || {
        let mut checker = Checker::default();
        for record in history::read(&path)? {
            checker.take(&record?);
        }
        Ok(checker.finish())
    });
    judged.await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(ChaosError::io(doing))
}

/// Runs clients and faults side by side, waits until all is whole and everything has ended, and reads what is stored.
async fn load(config: &Config, cluster: &Arc<Cluster>, history: &History, say: fn(&str)) {
    let (seed, nodes, clients) = (config.seed, config.nodes, config.clients);
    history.add(What::Run { seed, nodes, clients, lease_seconds: config.lease.as_secs_f64() });
    let world = Arc::new(World::new(config, history.clone(), cluster.nodes.clone()));
    let began = Instant::now();
    let (until, settled_by) = (began + config.length, began + config.length + config.lease * 6 + SETTLE);
    let mut talking = JoinSet::new();
    for index in 0..clients {
        talking.spawn(client::run(world.clone(), index, until, settled_by));
    }
    let injector = Injector::new(cluster.clone(), world.clone(), config);
    let mut breaking = JoinSet::new();
    for (id, planned) in (0..).zip(plan::plan(seed, &config.faults, config.length, config.lease)) {
        let injector = injector.clone();
        breaking.spawn(async move {
            sleep_until(began + planned.at).await;
            injector.inject(id, planned).await;
        });
    }
    sleep_until(until).await;
    world.calm.store(true, Ordering::Relaxed);
    breaking.join_all().await;
    cluster.heal();
    say("all is whole again; waiting for every answer");
    talking.join_all().await;
    stored::read_all(&world, settled_by + SETTLE).await;
}

fn write(config: &Config, verdict: &Verdict) -> io::Result<()> {
    std::fs::write(config.folder.join("verdict.txt"), verdict.to_string())?;
    std::fs::write(config.folder.join("verdict.json"), serde_json::to_vec_pretty(verdict)?)
}
