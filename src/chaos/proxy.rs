//! A TCP proxy on loopback that can be told to refuse, to swallow, or to be late.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::dice::Dice;
use super::nats_frames::NatsFrames;

/// How much is passed on at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// What the proxy does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Passes it on.
    Pass,
    /// Passes each piece on after this time.
    Late(Duration),
    /// Drops, doubles and reorders messages from the server; only before NATS.
    Tamper,
    /// Keeps connections open and passes nothing on until this changes, as a network does that loses every packet.
    Swallow,
    /// Closes every connection, and each new one at once.
    Refuse,
}

/// The proxy. Dropping it closes everything.
pub(super) struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    server: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before this port of 127.0.0.1. With dice, it is before NATS.
    pub(super) async fn start(port: u16, nats: Option<Dice>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let server = tokio::spawn(serve(listener, SocketAddr::from(([127, 0, 0, 1], port)), modes, nats));
        Ok(Self { address, mode, server })
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on, for old connections and new ones.
    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, modes: watch::Receiver<Mode>, mut nats: Option<Dice>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let frames = nats.as_mut().map(|dice| NatsFrames::new(Dice::of(dice.roll(), "connection")));
                    connections.spawn(pass(client, server, modes.clone(), frames));
                }
                Err(error) => tracing::warn!(%error, "connection not accepted"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until either side ends it or the mode does.
async fn pass(client: TcpStream, server: SocketAddr, mut modes: watch::Receiver<Mode>, frames: Option<NatsFrames>) {
    if *modes.borrow() == Mode::Refuse {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).ok();
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = forward(from_client, to_server, modes.clone(), None);
    let down = forward(from_server, to_client, modes.clone(), frames);
    // However it ends, both sides see their connection closed, which is all that there is to tell.
    tokio::select! {
        _ = up => {}
        _ = down => {}
        _ = modes.wait_for(|mode| *mode == Mode::Refuse) => {}
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
    mut frames: Option<NatsFrames>,
) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let mode = *modes.wait_for(|mode| *mode != Mode::Swallow).await.map_err(io::Error::other)?;
        if let Mode::Late(late) = mode {
            tokio::time::sleep(late).await;
        }
        match &mut frames {
            Some(frames) => to.write_all(&frames.take(&bytes[..count], mode == Mode::Tamper)).await?,
            None => to.write_all(&bytes[..count]).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A server that sends back what it gets, and a connection to it through a proxy.
    async fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port(), None).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        (proxy, stream)
    }

    async fn said(stream: &mut TcpStream) -> io::Result<usize> {
        stream.read(&mut [0; 8]).await
    }

    #[tokio::test]
    async fn what_is_swallowed_comes_once_it_passes_again() {
        let (proxy, mut stream) = echo().await;
        proxy.set(Mode::Swallow);
        stream.write_all(b"hello").await.unwrap();
        assert!(timeout(Duration::from_millis(50), said(&mut stream)).await.is_err());
        proxy.set(Mode::Late(Duration::from_millis(1)));
        assert_eq!(said(&mut stream).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn refusing_ends_old_connections_and_new_ones() {
        let (proxy, mut stream) = echo().await;
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(said(&mut stream).await.unwrap(), 5);
        proxy.set(Mode::Refuse);
        assert_eq!(said(&mut stream).await.unwrap_or(0), 0);
        let mut late = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
        assert_eq!(said(&mut late).await.unwrap_or(0), 0);
    }
}
