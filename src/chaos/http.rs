//! A small HTTP server on loopback, for what nodes call.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What an answer consists of.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The server. Dropping it ends it.
pub(super) struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one that answers like this. An error instead of an answer closes the connection.
    pub(super) async fn start<F, A>(answer: F) -> io::Result<Self>
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
        A: Future<Output = io::Result<Response<Body>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Ok(Self { address: listener.local_addr()?, task: tokio::spawn(serve(listener, answer)) })
    }

    /// Its address, without a slash at the end.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = io::Result<Response<Body>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                socket.set_nodelay(true).ok();
                let answer = answer.clone();
                connections.spawn(async move {
                    // A connection that breaks is part of the play.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(answer)).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
