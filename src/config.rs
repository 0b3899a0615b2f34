//! The command line and the environment: text in, typed sections out. Every mistake is reported at once, none is forgiven.
//!
//! Every setting is a flag and a variable `SWITCHBOARD_<NAME>`; the flag wins. A secret has no default and never prints.

mod problems;
mod settings;

use clap::{Args, Parser, Subcommand};

pub use problems::Problems;

/// A server for AI conversations that scales by adding identical nodes.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings of `serve`.
    #[command(flatten)]
    pub options: Options,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node (the default).
    Serve(Box<Options>),
    /// Bring the store's schema up to this build's version, and exit.
    Migrate(Box<Options>),
    /// Check the configuration, and exit.
    CheckConfig {
        /// Also connect to the store and the bus.
        #[arg(long)]
        connect: bool,
        /// The settings to check.
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Run three nodes behind one address on real Postgres and NATS, to look at.
    Dev {
        /// The address that stands before the three nodes.
        #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
        listen: std::net::SocketAddr,
    },
    /// Declare agents and their tools.
    Agents {
        /// What to do with them.
        #[command(subcommand)]
        command: AgentsCommand,
    },
    /// Break a cluster of real nodes in every way there is, under load, and judge whether its promises held. Exits with 1
    /// when one did not.
    Chaos(Box<ChaosOptions>),
    /// Write the JSON Schemas of the wire protocol.
    Schema {
        /// Write nothing; say which files differ from what this build speaks.
        #[arg(long)]
        check: bool,
        /// Where to.
        #[arg(default_value = "schemas", value_name = "FOLDER")]
        folder: std::path::PathBuf,
    },
    /// Print the version.
    Version,
}

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub enum AgentsCommand {
    /// Write the agents of a file to the store: new ones are added, known ones replaced, others left alone. Doing it again
    /// changes nothing. A file with a mistake changes nothing and says where each one is.
    Apply {
        /// JSON: {"agents": [{"id", "name", "instructions", "model", "maxIterations", "tools"}]}.
        file: std::path::PathBuf,
        /// The settings; of them only those of the store and the log count.
        #[command(flatten)]
        options: Box<Options>,
    },
}

/// A run of `chaos`, as it was written.
#[derive(Clone, Debug, Args)]
pub struct ChaosOptions {
    /// Decides what goes wrong and when, what is said and what is answered.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Seconds of load; starting and judging come on top.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Clients that talk at once.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: u16,
    /// Node processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=20))]
    pub nodes: u16,
    /// NATS servers. Several are one cluster, and each node is connected to one of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nats: u16,
    /// Bytes that a connection reads at most before `client_cut` breaks it, but for one in six; half live much shorter.
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u64).range(64..))]
    pub cut_bytes: u64,
    /// The nodes' lease, in seconds. 9: what nodes have when nobody sets it.
    #[arg(long, default_value_t = 9.0)]
    pub lease_seconds: f64,
    /// What goes wrong: all, none, or names with commas between them; a wrong name lists those there are.
    #[arg(long, default_value = "all")]
    pub faults: String,
    /// Folder for the history, the verdict and the nodes' logs.
    #[arg(long, default_value = "target/chaos", value_name = "FOLDER")]
    pub folder: std::path::PathBuf,
    /// Judge this history instead of making one.
    #[arg(long, value_name = "FILE")]
    pub judge: Option<std::path::PathBuf>,
}

/// The settings of a node, as they were written.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Address of the public port: page and WebSocket. Loopback by default, because without authentication whoever reaches
    /// it is the same user.
    #[arg(long, env = "SWITCHBOARD_LISTEN", default_value = "127.0.0.1:8787", value_name = "ADDRESS")]
    pub listen: String,
    /// Address of the internal port: metrics and health. Never expose it to clients.
    #[arg(long, env = "SWITCHBOARD_INTERNAL_LISTEN", default_value = "127.0.0.1:8788", value_name = "ADDRESS")]
    pub internal_listen: String,
    /// Where the truth is: postgres://USER:PASSWORD@HOST/DATABASE for any number of nodes, or sqlite:FILE for one node with
    /// nothing to install.
    #[arg(
        long,
        env = "SWITCHBOARD_DATABASE_URL",
        default_value = "sqlite:switchboard.db",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: String,
    /// Connections to Postgres at most, beside one for leases. 10: more wait better here than in the database.
    #[arg(long, env = "SWITCHBOARD_DATABASE_POOL", default_value = "10", value_name = "COUNT")]
    pub database_pool: String,
    /// Whether a starting node brings the schema up to date (true) or refuses an old one (false).
    #[arg(long, env = "SWITCHBOARD_MIGRATE", default_value = "true", value_name = "BOOL")]
    pub migrate: String,
    /// NATS servers, comma-separated: nats://HOST:PORT. Without it the node is alone.
    #[arg(long, env = "SWITCHBOARD_NATS_URL", hide_env_values = true, value_name = "URL")]
    pub nats_url: Option<String>,
    /// First part of every subject. Two clusters on one NATS need two.
    #[arg(long, env = "SWITCHBOARD_NATS_PREFIX", default_value = "switchboard.v1", value_name = "SUBJECT")]
    pub nats_prefix: String,
    /// File with NATS credentials (.creds).
    #[arg(long, env = "SWITCHBOARD_NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<String>,
    /// Base address of an OpenAI-compatible model gateway, such as http://127.0.0.1:4000/v1. Without it the demo answers.
    #[arg(long, env = "SWITCHBOARD_GATEWAY_URL", value_name = "URL")]
    pub gateway_url: Option<String>,
    /// Key of the gateway, sent as a bearer token.
    #[arg(long, env = "SWITCHBOARD_GATEWAY_KEY", hide_env_values = true, value_name = "KEY")]
    pub gateway_key: Option<String>,
    /// Model that the gateway is asked for, when neither the agent nor the message names one.
    #[arg(long, env = "SWITCHBOARD_MODEL", value_name = "NAME")]
    pub model: Option<String>,
    /// Seconds without a byte from the gateway before a turn fails. 60: long prompts and thinking models begin slowly.
    #[arg(long, env = "SWITCHBOARD_GATEWAY_IDLE_SECONDS", default_value = "60", value_name = "SECONDS")]
    pub gateway_idle_seconds: String,
    /// Seconds that one model call may take.
    #[arg(long, env = "SWITCHBOARD_GATEWAY_TOTAL_SECONDS", default_value = "600", value_name = "SECONDS")]
    pub gateway_total_seconds: String,
    /// Attempts after the first, on 429, 5xx and connection errors, before the first byte of an answer.
    #[arg(long, env = "SWITCHBOARD_GATEWAY_RETRIES", default_value = "3", value_name = "COUNT")]
    pub gateway_retries: String,
    /// Whether the built-in demo answers when no gateway is set; if not, messages get LLM_UNAVAILABLE.
    #[arg(long, env = "SWITCHBOARD_DEMO", default_value = "true", value_name = "BOOL")]
    pub demo: String,
    /// What the node does: all, edge (only holds sockets) or runner (only runs turns).
    #[arg(long, env = "SWITCHBOARD_ROLE", default_value = "all", value_name = "ROLE")]
    pub role: String,
    /// Turns that run here at once; more wait in the queue of the cluster. 512: a turn mostly waits for its model.
    #[arg(long, env = "SWITCHBOARD_MAX_TURNS", default_value = "512", value_name = "COUNT")]
    pub max_turns: String,
    /// Model calls of one turn, when it uses tools, before it must answer.
    #[arg(long, env = "SWITCHBOARD_MAX_TOOL_ROUNDS", default_value = "8", value_name = "COUNT")]
    pub max_tool_rounds: String,
    /// Seconds that a person may take to approve what a tool is about to do, before the turn fails.
    #[arg(long, env = "SWITCHBOARD_APPROVAL_SECONDS", default_value = "3600", value_name = "SECONDS")]
    pub approval_seconds: String,
    /// Messages of a conversation that the model is shown, the newest.
    #[arg(long, env = "SWITCHBOARD_HISTORY_MESSAGES", default_value = "40", value_name = "COUNT")]
    pub history_messages: String,
    /// Seconds after which the turns of a node that died go on elsewhere. 9: renewed every 3, silent after 6.
    #[arg(long, env = "SWITCHBOARD_LEASE_SECONDS", default_value = "9", value_name = "SECONDS")]
    pub lease_seconds: String,
    /// Seconds that running turns may go on after SIGTERM, before others take them.
    #[arg(long, env = "SWITCHBOARD_DRAIN_SECONDS", default_value = "25", value_name = "SECONDS")]
    pub drain_seconds: String,
    /// Seconds over which a stopping node spreads the closing of its sockets, part of DRAIN_SECONDS.
    #[arg(long, env = "SWITCHBOARD_CLOSE_SPREAD_SECONDS", default_value = "3", value_name = "SECONDS")]
    pub close_spread_seconds: String,
    /// Sockets of this node; the next is closed with 1013. 20000: about 200 MB when idle.
    #[arg(long, env = "SWITCHBOARD_MAX_SOCKETS", default_value = "20000", value_name = "COUNT")]
    pub max_sockets: String,
    /// Sessions that one socket may use.
    #[arg(long, env = "SWITCHBOARD_SESSIONS_PER_SOCKET", default_value = "16", value_name = "COUNT")]
    pub sessions_per_socket: String,
    /// Longest message, in bytes; a longer one is answered with PAYLOAD_TOO_LARGE.
    #[arg(long, env = "SWITCHBOARD_MESSAGE_BYTES", default_value = "32768", value_name = "BYTES")]
    pub message_bytes: String,
    /// Largest frame from a client, in bytes; a larger one closes the socket with 1009.
    #[arg(long, env = "SWITCHBOARD_FRAME_BYTES", default_value = "65536", value_name = "BYTES")]
    pub frame_bytes: String,
    /// Actions of one socket a second, with a burst of twice as many; more are answered with RATE_LIMITED.
    #[arg(long, env = "SWITCHBOARD_ACTIONS_PER_SECOND", default_value = "20", value_name = "COUNT")]
    pub actions_per_second: String,
    /// Seconds that one write to a client may take, before the socket closes with 4008.
    #[arg(long, env = "SWITCHBOARD_WRITE_TIMEOUT_SECONDS", default_value = "10", value_name = "SECONDS")]
    pub write_timeout_seconds: String,
    /// Seconds between pings; the socket closes after two without an answer. 25: below the usual 30 and 60 of proxies.
    #[arg(long, env = "SWITCHBOARD_PING_SECONDS", default_value = "25", value_name = "SECONDS")]
    pub ping_seconds: String,
    /// Seconds without an action before a socket closes with 1001.
    #[arg(long, env = "SWITCHBOARD_IDLE_SECONDS", default_value = "3600", value_name = "SECONDS")]
    pub idle_seconds: String,
    /// Seconds that the store or the bus may be out of reach before /readyz answers 503.
    #[arg(long, env = "SWITCHBOARD_READY_TOLERANCE_SECONDS", default_value = "5", value_name = "SECONDS")]
    pub ready_tolerance_seconds: String,
    /// What is logged: error, warn, info, debug, trace, or directives such as switchboard=debug,info. The NATS client's own
    /// log is off, because the bus logs each trouble once.
    #[arg(long, env = "SWITCHBOARD_LOG", default_value = "info,async_nats=off", value_name = "FILTER")]
    pub log: String,
    /// How logs look: text or json.
    #[arg(long, env = "SWITCHBOARD_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: String,
}

/// Stands in for an address that could not be read, until the problem is reported.
const ANYWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
