//! One node as a process of its own, with settings that stay the same however often it is killed and started again.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use super::ChaosError;
use super::history::{History, What};
use super::proxy::Proxy;

/// How long a start may take: nodes migrate the store first, on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a node whose start failed is left alone before the next try.
const START_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// How many starts may fail. A node cannot start while its store is out of reach.
const STARTS: usize = 100;

/// The node.
pub(super) struct Node {
    pub(super) index: usize,
    /// Between it and NATS.
    pub(super) nats: Proxy,
    /// Between it and Postgres.
    pub(super) postgres: Proxy,
    program: PathBuf,
    settings: Vec<(&'static str, String)>,
    log: PathBuf,
    history: History,
    process: tokio::sync::Mutex<Option<Process>>,
    address: Mutex<Option<SocketAddr>>,
}

struct Process {
    child: Child,
    /// Kept open, so that a node which says more does not fail.
    stdout: BufReader<ChildStdout>,
}

/// What a node is made of.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) nats: Proxy,
    pub(super) postgres: Proxy,
    /// The program; it is called with `serve`.
    pub(super) program: PathBuf,
    /// Names without their prefix, and values.
    pub(super) settings: Vec<(&'static str, String)>,
    /// Where its log goes; what is there stays.
    pub(super) log: PathBuf,
    pub(super) history: History,
}

impl Node {
    /// A node that does not run yet.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { index, nats, postgres, program, settings, log, history } = parts;
        let (process, address) = (tokio::sync::Mutex::new(None), Mutex::new(None));
        Self { index, nats, postgres, program, settings, log, history, process, address }
    }

    /// Where it can be reached; `None` while it does not run.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, and tries again when that fails.
    pub(super) async fn start(&self) -> Result<(), ChaosError> {
        let mut process = self.process.lock().await;
        for _ in 0..STARTS {
            let (started, address) = self.spawn()?.ready().await;
            if address.is_some() {
                *process = Some(started);
                self.reachable_at(address);
                return Ok(());
            }
            drop(started);
            sleep(START_AGAIN_AFTER).await;
        }
        Err(ChaosError::Node { node: self.index, log: self.log.display().to_string() })
    }

    fn spawn(&self) -> Result<Process, ChaosError> {
        let doing = format!("start node {}", self.index);
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let mut child = Command::new(&self.program)
            .arg("serve")
            .envs(self.settings.iter().map(|(name, value)| (format!("SWITCHBOARD_{name}"), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.map_err(ChaosError::io(doing.clone()))?)
            .kill_on_drop(true)
            .spawn()
            .map_err(ChaosError::io(doing.clone()))?;
        let Some(stdout) = child.stdout.take() else {
            return Err(ChaosError::Io { doing, source: std::io::ErrorKind::BrokenPipe.into() });
        };
        Ok(Process { child, stdout: BufReader::new(stdout) })
    }

    /// SIGKILL. Returns when it is gone.
    pub(super) async fn kill(&self) {
        self.reachable_at(None);
        let Some(mut process) = self.process.lock().await.take() else { return };
        self.history.add(What::Killed { node: self.index });
        if let Err(error) = process.child.kill().await {
            tracing::warn!(%error, node = self.index, "node not killed");
        }
    }

    /// SIGTERM. Returns when it is gone, and kills it when that takes longer than `patience`.
    pub(super) async fn terminate(&self, patience: Duration) {
        self.reachable_at(None);
        let Some(mut process) = self.process.lock().await.take() else { return };
        signal(&process.child, "-TERM").await;
        let code = match timeout(patience, process.child.wait()).await {
            Ok(status) => status.ok().and_then(|status| status.code()),
            Err(_) => None,
        };
        self.history.add(What::Exited { node: self.index, code });
    }

    /// SIGSTOP: it keeps its connections and does nothing.
    pub(super) async fn pause(&self) {
        if let Some(process) = &*self.process.lock().await {
            signal(&process.child, "-STOP").await;
        }
    }

    /// SIGCONT.
    pub(super) async fn resume(&self) {
        if let Some(process) = &*self.process.lock().await {
            signal(&process.child, "-CONT").await;
        }
    }

    fn reachable_at(&self, address: Option<SocketAddr>) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

impl Process {
    /// Waits for the line by which a node says where it is.
    async fn ready(mut self) -> (Self, Option<SocketAddr>) {
        let mut line = String::new();
        let read = timeout(READY_WITHIN, self.stdout.read_line(&mut line)).await;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
        (self, address.filter(|_| matches!(read, Ok(Ok(_)))))
    }
}

async fn signal(child: &Child, signal: &str) {
    let Some(pid) = child.id() else { return };
    // One that has died already cannot be told; whoever waits for it sees that.
    Command::new("kill").args([signal, &pid.to_string()]).status().await.ok();
}
