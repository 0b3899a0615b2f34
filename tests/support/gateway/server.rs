//! The HTTP server under the scripted gateway.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::call::{Part, Reply};
use super::{Answer, Call, Request, Shared};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Serves until it is aborted; every connection ends with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        socket.set_nodelay(true).expect("a socket that was just accepted");
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(shared.clone(), request));
            // A connection that breaks is part of the play.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(shared: Arc<Shared>, request: hyper::Request<Incoming>) -> io::Result<Response<Body>> {
    let request = read(request).await?;
    let prepared = shared.state(|state| {
        state.requests.push(request.clone());
        state.prepared(&request)
    });
    if let Some(answer) = prepared {
        return prepared_response(answer);
    }
    let (call, reply) = Call::new(request);
    shared.state(|state| state.waiting.push(call));
    shared.arrival.notify_waiters();
    match reply.await {
        Ok(Reply::Stream(parts)) => {
            let parts = stream::unfold(parts, |mut parts| async move {
                let part = match parts.recv().await? {
                    Part::Bytes(bytes) => Ok(bytes),
                    Part::Cut => {
                        // Once round, so that hyper writes out what was sent before.
                        tokio::task::yield_now().await;
                        Err(hang_up())
                    }
                };
                Some((part, parts))
            });
            Ok(response(StatusCode::OK, parts))
        }
        Ok(Reply::Prepared(answer)) => prepared_response(answer),
        Err(_) => Err(hang_up()),
    }
}

async fn read(request: hyper::Request<Incoming>) -> io::Result<Request> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Request {
        path: head.uri.to_string(),
        headers: head.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

fn prepared_response(answer: Answer) -> io::Result<Response<Body>> {
    if answer.hang_up {
        return Err(hang_up());
    }
    let mut response = response(answer.status, stream::iter(answer.parts.into_iter().map(Ok)));
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().expect("a header value"));
    }
    Ok(response)
}

fn response(
    status: StatusCode,
    parts: impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response<Body> {
    let body = StreamBody::new(parts.map(|part| part.map(Frame::data)));
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, "text/event-stream".parse::<hyper::header::HeaderValue>().expect("ASCII"));
    response
}

/// An error that makes hyper drop the connection.
fn hang_up() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
