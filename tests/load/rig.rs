//! The servers that nodes stand on: real Postgres, real NATS and the scripted gateway, shared by all scenarios.

use std::io::Write;

use switchboard::dev::{Nats, Postgres, PostgresConfig, Tools};
use uuid::Uuid;

use crate::Result;
use crate::process::{Gateway, Node};

/// The servers.
pub struct Rig {
    postgres: Postgres,
    nats: Nats,
    /// The scripted gateway.
    pub gateway: Gateway,
}

/// What the nodes of one measurement share: an empty database and a part of the bus of their own.
pub struct Cluster<'a> {
    rig: &'a Rig,
    name: String,
    database: String,
}

/// Whether a node is connected to NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// It is, as a node of a cluster.
    Nats,
    /// It is not, as a node that is alone.
    None,
}

impl Rig {
    /// Starts the servers. Postgres waits for its disk, as it would in production.
    pub async fn start() -> Result<Self> {
        let tools = Tools::locate(|line| drop(writeln!(std::io::stderr(), "[load] {line}")))?;
        let config = PostgresConfig { durable: true, ..PostgresConfig::default() };
        Ok(Self {
            postgres: Postgres::start(&tools, config).await?,
            nats: Nats::start(&tools).await?,
            gateway: Gateway::start().await?,
        })
    }

    /// A cluster without nodes.
    pub async fn cluster(&self) -> Result<Cluster<'_>> {
        let name = format!("load_{}", Uuid::new_v4().simple());
        Ok(Cluster { rig: self, database: self.postgres.create_database(&name).await?, name })
    }
}

impl Cluster<'_> {
    /// Starts a node with these settings beside those that all nodes of the benchmark have.
    pub async fn node(&self, name: &str, bus: Bus, settings: &[(&str, &str)]) -> Result<Node> {
        self.node_with(name, bus, settings, &[]).await
    }

    /// The same with these variables, which are no settings.
    pub async fn node_with(
        &self,
        name: &str,
        bus: Bus,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Node> {
        let mut all = vec![
            ("DATABASE_URL", self.database.clone()),
            ("GATEWAY_URL", self.rig.gateway.url()),
            ("MODEL", "load".to_owned()),
            // A socket of the benchmark does the work of many people.
            ("ACTIONS_PER_SECOND", "100000".to_owned()),
        ];
        if bus == Bus::Nats {
            all.extend([("NATS_URL", self.rig.nats.url()), ("NATS_PREFIX", self.name.clone())]);
        }
        all.extend(settings.iter().map(|(setting, value)| (*setting, (*value).to_owned())));
        Node::start(name, &all, environment).await
    }
}
