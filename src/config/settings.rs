//! From text to the typed sections that the parts are built from.

use crate::agent::Environment;
use crate::bus::NatsConfig;
use crate::limits::Rate;
use crate::model::{Demo, gateway};
use crate::node::{BusChoice, Config, ModelChoice, Role, StoreChoice};
use crate::secret::Secret;
use crate::store::{postgres, sqlite};
use crate::telemetry::{self, Format};
use crate::{agent, http, session, socket, turn};

use super::{Options, Problems};

/// How a Postgres address begins.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// How the name of a SQLite file begins.
const SQLITE: &str = "sqlite:";

const BOOL: &[(&str, bool)] = &[("true", true), ("false", false), ("on", true), ("off", false)];

impl Options {
    /// The typed configuration, or everything that is wrong with this one. `environment` are the names of all variables.
    pub fn check(&self, environment: impl Iterator<Item = String>) -> Result<(Config, telemetry::Config), Problems> {
        let mut problems = Problems::of_environment(environment);
        let config = Config {
            listen: problems.parse("LISTEN", &self.listen, "an address such as 127.0.0.1:8787", super::ANYWHERE),
            internal_listen: problems.parse(
                "INTERNAL_LISTEN",
                &self.internal_listen,
                "an address such as 127.0.0.1:8788",
                super::ANYWHERE,
            ),
            role: problems.word(
                "ROLE",
                &self.role,
                &[("all", Role::All), ("edge", Role::Edge), ("runner", Role::Runner)],
            ),
            store: self.store(&mut problems),
            migrate: problems.word("MIGRATE", &self.migrate, BOOL),
            bus: self.bus(),
            model: self.model(&mut problems),
            tools: Vec::new(),
            agent: agent::Config {
                max_rounds: problems.number("MAX_TOOL_ROUNDS", &self.max_tool_rounds, 1..=100),
                environment: Environment::new(variable),
                ..agent::Config::default()
            },
            turn: self.turn(&mut problems),
            session: self.session(&mut problems),
            socket: self.socket(&mut problems),
            http: http::ServerConfig::default(),
            health: http::HealthConfig {
                tolerance: problems.seconds("READY_TOLERANCE_SECONDS", &self.ready_tolerance_seconds, 0.0..=300.0),
                ..http::HealthConfig::default()
            },
            drain: problems.seconds("DRAIN_SECONDS", &self.drain_seconds, 0.0..=3600.0),
        };
        let telemetry = self.telemetry(&mut problems);
        together(&config, &mut problems);
        problems.or((config, telemetry))
    }

    /// Where logs go, alone: for commands that need nothing else.
    pub fn telemetry(&self, problems: &mut Problems) -> telemetry::Config {
        let config = telemetry::Config {
            filter: self.log.clone(),
            format: problems.word("LOG_FORMAT", &self.log_format, &[("text", Format::Text), ("json", Format::Json)]),
        };
        if let Err(error) = config.check() {
            problems.add("LOG", error);
        }
        config
    }

    fn store(&self, problems: &mut Problems) -> StoreChoice {
        let url = self.database_url.trim();
        let pool_size = problems.number("DATABASE_POOL", &self.database_pool, 1..=1000);
        if POSTGRES.iter().any(|scheme| url.starts_with(scheme)) {
            let config = postgres::Config { pool_size, ..postgres::Config::new(url) };
            if let Err(error) = config.check() {
                problems.add("DATABASE_URL", error);
            }
            return StoreChoice::Postgres(config);
        }
        let file = url.strip_prefix(SQLITE).unwrap_or_default();
        if file.is_empty() {
            problems.add("DATABASE_URL", "must begin with postgres:// or be sqlite: and the name of a file");
        }
        StoreChoice::Sqlite(sqlite::Config::new(sqlite::Location::File(file.into())))
    }

    fn bus(&self) -> BusChoice {
        match &self.nats_url {
            None => BusChoice::Alone,
            Some(url) => BusChoice::Nats(Box::new(NatsConfig {
                servers: url.split(',').map(|server| Secret::new(server.trim())).collect(),
                prefix: self.nats_prefix.clone(),
                credentials_file: self.nats_credentials.as_ref().map(Into::into),
                ..NatsConfig::default()
            })),
        }
    }

    fn model(&self, problems: &mut Problems) -> ModelChoice {
        let demo = problems.word("DEMO", &self.demo, BOOL);
        let idle_timeout = problems.seconds("GATEWAY_IDLE_SECONDS", &self.gateway_idle_seconds, 0.1..=3600.0);
        let total_timeout = problems.seconds("GATEWAY_TOTAL_SECONDS", &self.gateway_total_seconds, 1.0..=86400.0);
        let retries = problems.number("GATEWAY_RETRIES", &self.gateway_retries, 0..=20);
        let Some(url) = &self.gateway_url else {
            if self.gateway_key.is_some() {
                problems.add("GATEWAY_KEY", "is set, but GATEWAY_URL is not");
            }
            return if demo { ModelChoice::Demo(Demo::DEFAULT_PACE) } else { ModelChoice::None };
        };
        let Some(model) = &self.model else {
            problems.add("MODEL", "must name a model of the gateway");
            return ModelChoice::None;
        };
        let config = gateway::Config {
            url: url.clone(),
            key: self.gateway_key.as_deref().map(Secret::new),
            model: model.clone(),
            idle_timeout,
            total_timeout,
            retries,
            ..gateway::Config::default()
        };
        if let Err(error) = config.check() {
            problems.add("GATEWAY_URL, GATEWAY_KEY or MODEL", error);
        }
        ModelChoice::Gateway(config)
    }

    fn turn(&self, problems: &mut Problems) -> turn::Config {
        turn::Config {
            max_turns: problems.number("MAX_TURNS", &self.max_turns, 1..=100_000),
            lease: problems.seconds("LEASE_SECONDS", &self.lease_seconds, 1.0..=600.0),
            approval_patience: problems.seconds("APPROVAL_SECONDS", &self.approval_seconds, 1.0..=604_800.0),
            history_messages: problems.number("HISTORY_MESSAGES", &self.history_messages, 1..=1000),
            ..turn::Config::default()
        }
    }

    fn session(&self, problems: &mut Problems) -> session::Config {
        session::Config {
            sessions_per_socket: problems.number("SESSIONS_PER_SOCKET", &self.sessions_per_socket, 1..=1000),
            message_bytes: problems.number("MESSAGE_BYTES", &self.message_bytes, 1..=16_777_216),
        }
    }

    fn socket(&self, problems: &mut Problems) -> socket::Config {
        let per_second = problems.number("ACTIONS_PER_SECOND", &self.actions_per_second, 0.1..=100_000.0);
        socket::Config {
            max_sockets: problems.number("MAX_SOCKETS", &self.max_sockets, 1..=1_000_000),
            max_frame_bytes: problems.number("FRAME_BYTES", &self.frame_bytes, 1024..=16_777_216),
            action_rate: Rate { per_second, burst: (2.0 * per_second).max(1.0) },
            write_timeout: problems.seconds("WRITE_TIMEOUT_SECONDS", &self.write_timeout_seconds, 0.1..=600.0),
            ping_interval: problems.seconds("PING_SECONDS", &self.ping_seconds, 0.1..=3600.0),
            close_spread: problems.seconds("CLOSE_SPREAD_SECONDS", &self.close_spread_seconds, 0.0..=600.0),
            idle_timeout: problems.seconds("IDLE_SECONDS", &self.idle_seconds, 1.0..=604_800.0),
            ..socket::Config::default()
        }
    }
}

/// What a declared tool sends in a header, read when it is called.
#[expect(
    clippy::disallowed_methods,
    reason = "which variables these are, a declaration says, and not the command line"
)]
fn variable(name: &str) -> Option<Secret> {
    std::env::var(name).ok().map(Secret::new)
}

/// What is wrong although each setting by itself is right.
fn together(config: &Config, problems: &mut Problems) {
    let alone = matches!(config.bus, BusChoice::Alone);
    if matches!(config.store, StoreChoice::Sqlite(_)) && !alone {
        problems.add("NATS_URL", "joins nodes, but a SQLite store serves one node; set DATABASE_URL to a Postgres");
    }
    if alone && config.role != Role::All {
        problems.add("ROLE", "edge and runner need each other; set NATS_URL and a Postgres DATABASE_URL");
    }
    if config.session.message_bytes > config.socket.max_frame_bytes {
        problems.add("MESSAGE_BYTES", "is more than FRAME_BYTES; no such message could arrive");
    }
}
