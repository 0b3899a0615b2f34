//! Why a run could not be made. A run that was made and broke promises is no error: that is its verdict.

use std::io;

use crate::dev::DevError;

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// Postgres or NATS.
    #[error(transparent)]
    Server(#[from] DevError),
    /// A file, a port or a process.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was to be done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A node did not start.
    #[error("node {node} does not start; its log is {log}")]
    Node {
        /// Which.
        node: usize,
        /// The path of its log.
        log: String,
    },
}

impl ChaosError {
    /// Something failed while `doing` this.
    pub(super) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
