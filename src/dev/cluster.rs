//! Three nodes behind one address, on real Postgres and NATS: what a production cluster looks like, to play with.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use super::{DevError, Nats, Postgres, PostgresConfig, Tools};

/// How many nodes there are.
const NODES: usize = 3;

/// The variables that this command sets for its nodes; any other, such as a gateway's, is passed on.
const OURS: [&str; 5] = ["LISTEN", "INTERNAL_LISTEN", "DATABASE_URL", "NATS_URL", "MIGRATE"];

/// A node as a process of its own.
struct NodeProcess {
    child: Child,
    address: SocketAddr,
    metrics: String,
    _stdout: BufReader<ChildStdout>,
}

/// Three nodes, what they stand on, and the address before them. Everything ends when this is dropped.
pub struct DevCluster {
    listener: TcpListener,
    nodes: Vec<NodeProcess>,
    _postgres: Postgres,
    _nats: Nats,
}

impl DevCluster {
    /// Starts everything; `listen` is the address before the nodes.
    pub async fn start(listen: SocketAddr, say: fn(&str)) -> Result<Self, DevError> {
        let listener =
            TcpListener::bind(listen).await.map_err(|error| DevError::Cluster(format!("{listen}: {error}")))?;
        let tools = Tools::locate(say)?;
        let postgres = Postgres::start(&tools, PostgresConfig::default()).await?;
        let database_url = postgres.create_database("switchboard").await?;
        let nats = Nats::start(&tools).await?;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(NodeProcess::start(&database_url, &nats.url()).await?);
        }
        Ok(Self { listener, nodes, _postgres: postgres, _nats: nats })
    }

    /// What a person wants to know: what to open, and what to kill.
    pub fn description(&self) -> Result<String, DevError> {
        let address = self.listener.local_addr().map_err(|error| DevError::Cluster(error.to_string()))?;
        let mut text = format!("Open http://{address}/ and talk to it. Behind it are {NODES} nodes:\n");
        for node in &self.nodes {
            let pid = node.child.id().unwrap_or_default();
            text.push_str(&format!("  process {pid:>7}  http://{}/  {}\n", node.address, node.metrics));
        }
        text.push_str("Kill one of them (kill -9 PROCESS) in the middle of an answer. Ctrl-C ends everything.");
        Ok(text)
    }

    /// Passes connections on to the nodes in turn, until dropped. A node that does not answer is passed over.
    pub async fn serve(&self) {
        let addresses: Arc<[SocketAddr]> = self.nodes.iter().map(|node| node.address).collect();
        let next = AtomicUsize::new(0);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((client, _)) => {
                        let first = next.fetch_add(1, Ordering::Relaxed);
                        connections.spawn(pass_on(client, addresses.clone(), first));
                    }
                    Err(error) => tracing::warn!(%error, "connection not accepted"),
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Ends the nodes as Kubernetes would, and waits for them.
    pub async fn stop(mut self) {
        for node in &self.nodes {
            if let Some(pid) = node.child.id() {
                // One that has died already cannot be told; that is what was wanted.
                Command::new("kill").args(["-TERM", &pid.to_string()]).status().await.ok();
            }
        }
        for node in &mut self.nodes {
            if let Err(error) = node.child.wait().await {
                tracing::warn!(%error, "node not waited for");
            }
        }
    }
}

impl NodeProcess {
    async fn start(database_url: &str, nats_url: &str) -> Result<Self, DevError> {
        let failed = |what: &dyn std::fmt::Display| DevError::Cluster(format!("a node did not start: {what}"));
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let values = ["127.0.0.1:0", "127.0.0.1:0", database_url, nats_url, "true"];
        let mut child = Command::new(program)
            .arg("serve")
            .envs(OURS.iter().zip(values).map(|(name, value)| (format!("SWITCHBOARD_{name}"), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or_else(|| failed(&"its output is missing"))?);
        let mut ready = String::new();
        stdout.read_line(&mut ready).await.map_err(|error| failed(&error))?;
        let urls: Vec<&str> = ready.split_whitespace().filter(|word| word.starts_with("http://")).collect();
        let [page, metrics] = urls[..] else { return Err(failed(&"its log above says why")) };
        let address = page.trim_start_matches("http://").trim_end_matches('/').parse();
        Ok(Self { child, address: address.map_err(|_| failed(&page))?, metrics: metrics.to_owned(), _stdout: stdout })
    }
}

/// Joins a client to the first node from `first` on that answers.
async fn pass_on(mut client: TcpStream, nodes: Arc<[SocketAddr]>, first: usize) {
    for offset in 0..nodes.len() {
        let Ok(mut node) = TcpStream::connect(nodes[(first + offset) % nodes.len()]).await else { continue };
        for stream in [&client, &node] {
            stream.set_nodelay(true).ok();
        }
        // However it ends, both sides see their connection closed, which is all that there is to tell.
        copy_bidirectional(&mut client, &mut node).await.ok();
        return;
    }
}
