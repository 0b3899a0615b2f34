//! Client connections: each is one task that reads actions, writes frames and keeps itself alive.
//!
//! No part of the system waits for a socket. A slow client costs its own position in a stream, and in the end its connection.

mod connection;
mod fragments;
mod keepalive;
mod metrics;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ids::SocketId;
use crate::limits::Rate;
use crate::protocol::CloseCode;
use crate::session::Sessions;
use crate::store::Owner;
use crate::turn::Inbox;

pub use metrics::{HandshakeResult, Metrics};

use connection::Connection;
use metrics::Open;

/// Bytes that wait for more before they are written.
const WRITE_BUFFER: usize = 4 * 1024;

/// The limits of a connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connections that this node takes; the next is closed with 1013.
    pub max_sockets: usize,
    /// The largest message from a client, in bytes; a larger one closes the connection with 1009.
    pub max_frame_bytes: usize,
    /// Actions of one client; more are answered with `RATE_LIMITED`.
    pub action_rate: Rate,
    /// How long one write may take before the client is too slow and the connection closes with 4008.
    pub write_timeout: Duration,
    /// How often a client is pinged; spread by a tenth to either side.
    pub ping_interval: Duration,
    /// How long a client may send no action before the connection closes with 1001.
    pub idle_timeout: Duration,
    /// How long the two sides may take to close.
    pub close_timeout: Duration,
    /// Over how long a stopping node spreads its closes, so that its clients do not all come to the others at once.
    pub close_spread: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sockets: 20_000,
            max_frame_bytes: 64 * 1024,
            action_rate: Rate { per_second: 20.0, burst: 40.0 },
            write_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(3600),
            close_timeout: Duration::from_secs(2),
            close_spread: Duration::from_secs(3),
        }
    }
}

/// Runs client connections. Cheap to clone.
#[derive(Clone)]
pub struct Sockets(Arc<Inner>);

struct Inner {
    config: Config,
    sessions: Sessions,
    metrics: Metrics,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// What the handshake told of a client.
pub struct Handshake {
    /// Who the client is.
    pub owner: Owner,
    /// The trace that the handshake belongs to.
    pub traceparent: Option<String>,
}

impl Config {
    /// Puts the parts together.
    pub fn build(self, sessions: Sessions, metrics: Metrics) -> Sockets {
        Sockets(Arc::new(Inner {
            config: self,
            sessions,
            metrics,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// Small buffers: a client's messages are small, and most connections are idle most of the time. The read buffer is
    /// allocated with the connection, and grows for a larger message. The write buffer holds what is waiting to share a
    /// packet, and one fragment.
    fn websocket(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(512)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(2 * (WRITE_BUFFER + fragments::MAX_BYTES))
            .max_message_size(Some(self.max_frame_bytes))
            .max_frame_size(Some(self.max_frame_bytes))
    }
}

impl Sockets {
    /// The counters, for those who see a handshake fail.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Runs a connection whose handshake is done, until either side closes it. `first` was read with the handshake.
    pub async fn serve<S>(self, stream: S, first: Vec<u8>, handshake: Handshake)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let inner = self.0.clone();
        let config = Some(inner.config.websocket());
        let stream = WebSocketStream::from_partially_read(stream, first, Role::Server, config).await;
        let open = Open::new(&inner.metrics);
        let full = open.count() > inner.config.max_sockets;
        inner.metrics.handshake(if full { HandshakeResult::OverCapacity } else { HandshakeResult::Accepted });
        let inbox = Inbox::new(SocketId::new());
        let client = inner.sessions.client(handshake.owner, inbox.clone(), handshake.traceparent);
        // Boxed, so that the task is small while it waits.
        let mut connection = Box::new(Connection::new(inner.clone(), stream, client, inbox));
        let code = if full { connection.turn_away(CloseCode::OverCapacity).await } else { connection.run().await };
        inner.metrics.closed(code);
        drop(open);
    }

    /// Spawns a future that belongs to a connection; the node waits for it when it stops.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(future);
    }

    /// Closes every connection with 1012, each at a moment of its own within the spread, and waits until they are gone.
    pub async fn close_all(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        let patience = self.0.config.close_spread + self.0.config.close_timeout * 2;
        if tokio::time::timeout(patience, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.0.tasks.len(), "connections did not close in time");
        }
    }
}
