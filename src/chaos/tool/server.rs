//! The server behind the tools. A call takes effect with its record in the history; how it is answered comes after.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::time::sleep;

use super::{Arguments, Tool};
use crate::chaos::dice::Dice;
use crate::chaos::history::{History, What};
use crate::chaos::holders::Holders;
use crate::chaos::http::{Body, Server};

/// One call in so many is answered badly, when calls may be.
const FAULTY_ONE_IN: u64 = 4;

/// How long a call takes that goes well, in milliseconds.
const TAKES_MS: u64 = 150;

/// How long a slow one takes, in milliseconds; about half of them take longer than a node waits.
const SLOW_MS: u64 = 3000;

/// The server. Dropping it ends it.
pub(in crate::chaos) struct ToolServer {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    faulty: AtomicBool,
    history: History,
    holders: Arc<Holders>,
}

impl ToolServer {
    /// Starts it; `faulty`: some calls are answered badly.
    pub(in crate::chaos) async fn start(
        seed: u64,
        faulty: bool,
        history: History,
        holders: Arc<Holders>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { seed, faulty: AtomicBool::new(faulty), history, holders });
        let served = shared.clone();
        let server = Server::start(move |request| answer(served.clone(), request)).await?;
        Ok(Self { server, shared })
    }

    /// Its address; each tool is behind its name.
    pub(in crate::chaos) fn url(&self) -> String {
        self.server.url()
    }

    /// From now on every call is answered well.
    pub(in crate::chaos) fn behave(&self) {
        self.shared.faulty.store(false, Ordering::Relaxed);
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let tool = Tool::of(request.uri().path().trim_start_matches('/')).ok_or(io::ErrorKind::NotFound)?;
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let Arguments { message } = serde_json::from_slice(&body)?;
    shared.history.add(What::ToolCall { tool, key: key.clone(), message: message.clone() });
    shared.holders.calls_a_tool(&message);
    let mut dice = Dice::of(shared.seed, &format!("{message} {}", tool.name()));
    let mut wait = dice.between(0, TAKES_MS);
    if shared.faulty.load(Ordering::Relaxed) && dice.one_in(FAULTY_ONE_IN) {
        if dice.one_in(2) {
            sleep(Duration::from_millis(wait)).await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        wait = dice.between(TAKES_MS, SLOW_MS);
    }
    sleep(Duration::from_millis(wait)).await;
    let body = Full::new(Bytes::from(tool.answer(&key))).map_err(|never| match never {});
    Ok(Response::new(BodyExt::boxed_unsync(body)))
}
