//! A TCP line between a client and a node that a test can cut, and keep cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A listener that passes everything on to a node.
pub struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listener: JoinHandle<()>,
}

struct State {
    is_up: bool,
    connections: JoinSet<()>,
}

impl Line {
    /// A line to `node`, on a port of its own.
    pub async fn to(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("the port that was bound");
        let state = Arc::new(Mutex::new(State { is_up: true, connections: JoinSet::new() }));
        let accepting = state.clone();
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut state = accepting.lock().expect("no test panics while it holds this");
                // Dropped at once, while the line is down.
                if state.is_up {
                    state.connections.spawn(pass(client, node));
                }
            }
        });
        Self { address, state, listener }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection, and every one to come.
    pub fn down(&self) {
        self.set(false);
    }

    /// Lets new connections through.
    pub fn up(&self) {
        self.set(true);
    }

    fn set(&self, is_up: bool) {
        let mut state = self.state.lock().expect("no test panics while it holds this");
        state.is_up = is_up;
        if !is_up {
            state.connections.abort_all();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn pass(mut client: TcpStream, node: SocketAddr) {
    if let Ok(mut node) = TcpStream::connect(node).await {
        // However it ends, both sides are closed.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
    }
}
