//! Turns: a message is accepted, some node runs the agent for it, and every socket that may see it reads the stream.
//!
//! A turn is a row with a lease, not a task with a socket: any node can run it, and it outlives the socket that asked for
//! it. [`Turns`] is the face of this module; each thing it does has a file of its own.

mod accept;
mod approval;
mod cancel;
mod ending;
mod follow;
mod holder;
mod inbox;
mod join;
mod journal;
mod lease;
mod lineage;
mod metrics;
#[cfg(test)]
mod model_check;
mod peer;
mod place;
mod resume;
mod run;
mod slots;
mod stream;
mod streams;
mod transcript;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{Agent, HttpClients};
use crate::agents::Agents;
use crate::bus::SharedBus;
use crate::clock::Clock;
use crate::ids::NodeId;
use crate::store::{Claim, Session, SharedStore, StoreError};

pub use accept::{AcceptError, Incoming};
pub use inbox::{Inbox, Outbound, Reader, View};
pub use metrics::Metrics;
pub use resume::{ResumeError, Resumed};
pub use stream::About;
pub use streams::Interest;

use holder::Holdings;
use slots::Slots;
use streams::Streams;

/// How long turns that are given back may take to end here: those that are writing to the store write to the end.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(3);

/// How turns run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Turns that may run here at once; 0 runs none (an edge node).
    pub max_turns: usize,
    /// How long a lease runs. A dead node's turns go on elsewhere after this long.
    pub lease: Duration,
    /// How often a node with a free slot looks for turns that nobody was woken for.
    pub sweep: Duration,
    /// Messages of the conversation that the model is shown, the newest ones.
    pub history_messages: u32,
    /// Runs of one turn before it fails: a turn that takes its node down must not take them all.
    pub max_attempts: i32,
    /// How long a person may take to approve what a tool is about to do.
    pub approval_patience: Duration,
    /// How long an ending is tried to be written while the store is out of reach.
    pub finish_patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_turns: 512,
            lease: Duration::from_secs(9),
            sweep: Duration::from_secs(2),
            history_messages: 40,
            max_attempts: 3,
            approval_patience: Duration::from_secs(3600),
            finish_patience: Duration::from_secs(60),
        }
    }
}

/// What turns stand on.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// The truth.
    pub store: SharedStore,
    /// The way to other nodes.
    pub bus: SharedBus,
    /// The model and its tools; `None` when neither a gateway nor the demo is configured.
    pub agent: Option<Agent>,
    /// How declared tools are called.
    pub http_tools: HttpClients,
    /// The most that is read of a declared tool's answer, in bytes.
    pub max_tool_result_bytes: usize,
    /// The time.
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
}

/// Accepts messages, runs turns, and lets sockets read them. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Inner>);

struct Inner {
    config: Config,
    node: NodeId,
    store: SharedStore,
    bus: SharedBus,
    agent: Option<Agent>,
    agents: Agents,
    metrics: Metrics,
    streams: Arc<Streams>,
    slots: Slots,
    holdings: Holdings,
    /// Background work that ends when the node stops.
    tasks: TaskTracker,
    /// Turns that run; a node waits for them before it exits.
    running: TaskTracker,
    stop: CancellationToken,
}

impl Config {
    /// Builds the parts and starts the background work: with slots, renewal of leases, the search
    /// for queued turns, and the end of those that nobody approved.
    ///
    /// # Errors
    /// The thread that renews leases is not to be had.
    pub fn build(self, parts: Parts) -> io::Result<Turns> {
        let tasks = TaskTracker::new();
        let streams =
            Streams::new(parts.bus.clone(), parts.store.clone(), parts.clock, parts.metrics.clone(), tasks.clone());
        let turns = Turns(Arc::new(Inner {
            node: parts.node,
            agents: Agents::new(parts.store.clone(), parts.http_tools, parts.max_tool_result_bytes),
            store: parts.store,
            bus: parts.bus,
            agent: parts.agent,
            metrics: parts.metrics,
            streams,
            slots: Slots::new(self.max_turns),
            holdings: Holdings::default(),
            tasks,
            running: TaskTracker::new(),
            stop: CancellationToken::new(),
            config: self,
        }));
        if turns.0.config.max_turns > 0 {
            lease::keep(&turns)?;
            turns.0.tasks.spawn(slots::serve(turns.clone()));
            turns.0.tasks.spawn(approval::expire(turns.clone()));
        }
        Ok(turns)
    }
}

impl Turns {
    /// The declared agents.
    pub fn agents(&self) -> &Agents {
        &self.0.agents
    }

    /// Lets a socket see the turns of its session's conversation as they start, until the interest is dropped.
    pub async fn watch(&self, session: &Session, inbox: &Arc<Inbox>, view: View) -> Interest {
        self.0.streams.watch(session, inbox, view).await
    }

    /// Starts nothing new from here on; what runs goes on.
    pub fn stop_accepting(&self) {
        self.0.slots.close();
    }

    /// Waits until no turn runs here, or until `deadline`; then gives the rest back to the queue, for others to take at once.
    pub async fn drain<T>(&self, deadline: impl Future<Output = T>) {
        self.stop_accepting();
        self.0.running.close();
        tokio::select! {
            () = self.0.running.wait() => {}
            _ = deadline => self.give_back().await,
        }
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    async fn give_back(&self) {
        self.0.holdings.abandon_all();
        if tokio::time::timeout(GIVE_UP_WITHIN, self.0.running.wait()).await.is_err() {
            tracing::warn!(
                left = self.0.running.len(),
                "turns wait for the store; they go on when their lease runs out"
            );
        }
        match self.0.store.release_turns(self.0.node).await {
            Ok(released) => {
                tracing::warn!(released, "turns given back to the queue at the deadline");
                (0..released).for_each(|_| self.wake_runner(None));
            }
            Err(error) => tracing::error!(%error, "turns not given back; they go on when their lease runs out"),
        }
    }

    fn claim(&self) -> Claim {
        Claim { holder: self.0.node, lease: self.0.config.lease }
    }
}

/// Says what a caller can do about a store that failed.
fn log_store(operation: &'static str, error: &StoreError) {
    tracing::error!(operation, %error, "store call failed");
}
