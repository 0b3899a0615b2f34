//! Brings the faults of the plan about, each in a task of its own, and makes whole again what it broke.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, Reserved};
use super::dice::Dice;
use super::history::{History, What};
use super::holders::Moment;
use super::node::Node;
use super::plan::{Fault, Planned};
use super::proxy::Mode;
use super::world::World;
use super::{ChaosError, Config, cluster};

/// How long a fault waits for an answer that comes far enough.
const TRAP_PATIENCE: Duration = Duration::from_secs(5);

/// Added to the drain of a node before one that does not stop is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What brings faults about.
#[derive(Clone)]
pub(super) struct Injector {
    pub(super) cluster: Arc<Cluster>,
    pub(super) world: Arc<World>,
    pub(super) history: History,
    /// How long a node may take to stop.
    patience: Duration,
}

impl Injector {
    pub(super) fn new(cluster: Arc<Cluster>, world: Arc<World>, config: &Config) -> Self {
        let history = world.history.clone();
        Self { cluster, world, history, patience: cluster::drain(config) + STOP_PATIENCE }
    }

    /// Brings one about. Returns when it is over.
    pub(super) async fn inject(self, id: u64, planned: Planned) {
        let mut dice = Dice::of(planned.dice, "fault");
        let fault = Injection { injector: &self, id, fault: planned.fault, lasts: planned.lasts };
        let done = match planned.fault {
            Fault::KillHolder => fault.kill_holder(&mut dice).await,
            Fault::KillSocket => fault.kill_socket(&mut dice).await,
            Fault::Pause => fault.pause(&mut dice).await,
            Fault::Rolling => fault.rolling().await,
            Fault::NatsRestart => fault.nats_restart(&mut dice).await,
            Fault::NatsCut => fault.nats_cut(&mut dice).await,
            Fault::NatsFrames => fault.nats_frames().await,
            Fault::PostgresRestart => fault.postgres_restart().await,
            Fault::PostgresCut => fault.postgres_cut(&mut dice).await,
            Fault::PostgresSlow => fault.postgres_slow(&mut dice).await,
            Fault::ClientCut
            | Fault::Twice
            | Fault::TwoMessages
            | Fault::Cancel
            | Fault::TwoApprovals
            | Fault::StopReading
            | Fault::Gateway
            | Fault::Tools => Ok(()),
        };
        if let Err(error) = done {
            self.cluster.failed(error);
        }
    }
}

/// One fault under way.
struct Injection<'a> {
    injector: &'a Injector,
    id: u64,
    fault: Fault,
    lasts: Duration,
}

impl Injection<'_> {
    async fn kill_holder(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let moment = if dice.one_in(3) { Moment::ToolCall } else { Moment::Token(dice.between(0, 40)) };
        let reached = self.cluster().holders.at(moment);
        let Ok(Some(holder)) = timeout(TRAP_PATIENCE, reached).await else { return Ok(()) };
        match self.cluster().reserve(holder) {
            Some(reserved) => self.kill(&reserved).await,
            None => Ok(()),
        }
    }

    async fn kill_socket(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let node = self.injector.world.node_of_a_reader(dice);
        match node.and_then(|node| self.cluster().reserve(node)) {
            Some(reserved) => self.kill(&reserved).await,
            None => Ok(()),
        }
    }

    async fn kill(&self, reserved: &Reserved) -> Result<(), ChaosError> {
        self.began(Some(reserved.node()));
        reserved.node().kill().await;
        sleep(self.lasts).await;
        self.start(reserved.node()).await
    }

    async fn pause(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let Some(reserved) = self.cluster().reserve_any(dice).await else { return Ok(()) };
        self.began(Some(reserved.node()));
        reserved.node().pause().await;
        sleep(self.lasts).await;
        reserved.node().resume().await;
        self.ended();
        Ok(())
    }

    async fn rolling(&self) -> Result<(), ChaosError> {
        for node in 0..self.cluster().nodes.len() {
            // A node that another fault has is not rolled; it has enough to bear.
            let Some(reserved) = self.cluster().reserve(node) else { continue };
            self.began(Some(reserved.node()));
            reserved.node().terminate(self.injector.patience).await;
            self.start(reserved.node()).await?;
        }
        Ok(())
    }

    async fn nats_restart(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let servers = self.cluster().nats.lock().await;
        let Some(server) = dice.pick(&servers) else { return Ok(()) };
        self.began(None);
        server.stop().await?;
        sleep(self.lasts).await;
        server.start_again().await?;
        self.ended();
        Ok(())
    }

    async fn nats_cut(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let _nats = self.cluster().nats.lock().await;
        let Some(node) = dice.pick(&self.cluster().nodes) else { return Ok(()) };
        self.began(Some(node));
        node.nats.set(if dice.one_in(2) { Mode::Refuse } else { Mode::Swallow });
        sleep(self.lasts).await;
        node.nats.set(Mode::Pass);
        self.ended();
        Ok(())
    }

    async fn nats_frames(&self) -> Result<(), ChaosError> {
        let _nats = self.cluster().nats.lock().await;
        self.began(None);
        self.cluster().nodes.iter().for_each(|node| node.nats.set(Mode::Tamper));
        sleep(self.lasts).await;
        self.cluster().nodes.iter().for_each(|node| node.nats.set(Mode::Pass));
        self.ended();
        Ok(())
    }

    async fn postgres_restart(&self) -> Result<(), ChaosError> {
        let postgres = self.cluster().postgres.lock().await;
        self.began(None);
        postgres.kill().await?;
        sleep(self.lasts).await;
        postgres.start_again().await?;
        self.ended();
        Ok(())
    }

    async fn postgres_cut(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let Some(reserved) = self.cluster().reserve_any(dice).await else { return Ok(()) };
        let _postgres = self.cluster().postgres.lock().await;
        self.began(Some(reserved.node()));
        reserved.node().postgres.set(if dice.one_in(2) { Mode::Refuse } else { Mode::Swallow });
        sleep(self.lasts).await;
        reserved.node().postgres.set(Mode::Pass);
        self.ended();
        Ok(())
    }

    async fn postgres_slow(&self, dice: &mut Dice) -> Result<(), ChaosError> {
        let _postgres = self.cluster().postgres.lock().await;
        self.began(None);
        let late = Duration::from_millis(dice.between(20, 300));
        self.cluster().nodes.iter().for_each(|node| node.postgres.set(Mode::Late(late)));
        sleep(self.lasts).await;
        self.cluster().nodes.iter().for_each(|node| node.postgres.set(Mode::Pass));
        self.ended();
        Ok(())
    }

    async fn start(&self, node: &Node) -> Result<(), ChaosError> {
        node.start().await?;
        self.ended();
        Ok(())
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.injector.cluster
    }

    fn began(&self, node: Option<&Arc<Node>>) {
        let node = node.map(|node| node.index);
        self.injector.history.add(What::FaultBegan { id: self.id, fault: self.fault, node });
    }

    fn ended(&self) {
        self.injector.history.add(What::FaultEnded { id: self.id });
    }
}
