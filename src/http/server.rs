//! Accepts connections and speaks HTTP/1 on them.
//!
//! An accept loop of our own, because a server that drains must stop to accept, wait for what is under way and no longer:
//! `warp::serve` waits for a half-sent request for ever, and never for an upgraded connection.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::{Filter, Reply};

/// How long accepting pauses after it failed (too many open files), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of an HTTP connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a client may take to send the head of a request.
    pub header_read_timeout: Duration,
    /// How long requests under way may take once the server stops.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { header_read_timeout: Duration::from_secs(10), stop_timeout: Duration::from_secs(2) }
    }
}

/// A listening port.
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    config: Config,
}

impl Config {
    /// Serves these routes on a listener, until [`Server::stop`].
    pub fn serve<F>(self, listener: TcpListener, routes: F) -> std::io::Result<Server>
    where
        F: Filter<Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
        F::Extract: Reply,
        F::Future: Send,
    {
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept(listener, routes, self.header_read_timeout, stop.clone(), tasks.clone()));
        Ok(Server { address, stop, tasks, config: self })
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops to accept, and waits for the requests under way, at most the configured time.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(self.config.stop_timeout, self.tasks.wait()).await.is_err() {
            tracing::debug!(left = self.tasks.len(), "requests did not end in time");
        }
    }
}

async fn accept<F>(
    listener: TcpListener,
    routes: F,
    header_read_timeout: Duration,
    stop: CancellationToken,
    tasks: TaskTracker,
) where
    F: Filter<Error = std::convert::Infallible> + Clone + Send + Sync + 'static,
    F::Extract: Reply,
    F::Future: Send,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_read_timeout).max_buf_size(32 * 1024);
    let service = TowerToHyperService::new(warp::service(routes));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted.and_then(|(stream, _)| configured(stream)) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = http.serve_connection(TokioIo::new(stream), service.clone()).with_upgrades();
        let stop = stop.clone();
        tasks.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended badly");
            }
        });
    }
}

/// Without TCP_NODELAY the first token of an answer waits 40 ms for the acknowledgement of the frame before it.
fn configured(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}
