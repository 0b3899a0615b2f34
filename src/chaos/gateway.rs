//! A model gateway that speaks the OpenAI protocol and says what [`answer`] tells it, well or badly.
//!
//! Each node asks under an address of its own, so that a call tells which node runs the turn.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::answer::{self, Wish};
use super::dice::Dice;
use super::history::{History, What};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One call in so many goes wrong, when calls may.
const FAULTY_ONE_IN: u64 = 6;

/// How long a stalled answer says nothing; longer than the nodes wait.
const STALL: Duration = Duration::from_secs(60);

/// The gateway. Dropping it ends it.
pub(super) struct Gateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    seed: u64,
    faulty: AtomicBool,
    history: History,
    attempts: Mutex<HashMap<String, u32>>,
    trap: Mutex<Option<Trap>>,
}

/// Waits for an answer that has come so far, and tells which node reads it.
struct Trap {
    token: u64,
    tell: oneshot::Sender<usize>,
}

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Well,
    Status(StatusCode),
    /// Says nothing more after so many tokens.
    Stall(u64),
    /// Hangs up inside the token after so many.
    Cut(u64),
    /// Says something that is no event after so many tokens.
    Garbage(u64),
}

impl Gateway {
    /// Starts it; `faulty`: some calls go wrong.
    pub(super) async fn start(seed: u64, faulty: bool, history: History) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            seed,
            faulty: AtomicBool::new(faulty),
            history,
            attempts: Mutex::default(),
            trap: Mutex::default(),
        });
        let server = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { address, shared, server })
    }

    /// The address for one node.
    pub(super) fn url(&self, node: usize) -> String {
        format!("http://{}/{node}/v1", self.address)
    }

    /// From now on every call goes well.
    pub(super) fn behave(&self) {
        self.shared.faulty.store(false, Ordering::Relaxed);
    }

    /// The node that reads the next answer which comes to this token; waits for it.
    pub(super) async fn holder_at(&self, token: u64) -> Option<usize> {
        let (tell, told) = oneshot::channel();
        *lock(&self.shared.trap) = Some(Trap { token, tell });
        told.await.ok()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn course(&self, message: &str, attempt: u32, words: u64) -> Course {
        let mut dice = Dice::of(self.seed, &format!("{message} {attempt}"));
        if !self.faulty.load(Ordering::Relaxed) || !dice.one_in(FAULTY_ONE_IN) {
            return Course::Well;
        }
        let after = dice.between(0, words);
        match dice.between(0, 5) {
            0 => Course::Status(StatusCode::TOO_MANY_REQUESTS),
            1 => Course::Status(StatusCode::SERVICE_UNAVAILABLE),
            2 => Course::Stall(after),
            3 => Course::Cut(after),
            _ => Course::Garbage(after),
        }
    }

    /// An answer has come to this token on this node.
    fn reached(&self, node: usize, token: u64) {
        let mut trap = lock(&self.trap);
        if let Some(Trap { tell, .. }) = trap.take_if(|trap| trap.token <= token) {
            // Nobody waits any more when the run is over.
            let _ = tell.send(node);
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                socket.set_nodelay(true).ok();
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| answer(shared.clone(), request));
                    // A connection that breaks is part of the play.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The part of a request that matters here.
#[derive(Deserialize)]
struct Asked {
    messages: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: Option<String>,
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let node = request.uri().path().split('/').nth(1).and_then(|node| node.parse().ok()).unwrap_or_default();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked: Asked = serde_json::from_slice(&body).unwrap_or(Asked { messages: Vec::new() });
    let last = asked.messages.into_iter().rev().find(|said| said.role == "user");
    let message = last.and_then(|said| said.content).unwrap_or_default();
    let attempt = {
        let mut attempts = lock(&shared.attempts);
        let attempt = attempts.entry(message.clone()).or_default();
        *attempt += 1;
        *attempt
    };
    let words = Wish::of(&message).map_or(0, |wish| wish.words);
    let course = shared.course(&message, attempt, words);
    let faulty = course != Course::Well;
    shared.history.add(What::ModelCall { node, message: message.clone(), attempt, faulty });
    let (status, kind) = match course {
        Course::Status(status) => (status, "text/plain"),
        Course::Well | Course::Stall(_) | Course::Cut(_) | Course::Garbage(_) => (StatusCode::OK, "text/event-stream"),
    };
    let body = StreamBody::new(events(shared, node, message, attempt, course));
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// The body of an answer, token by token.
fn events(
    shared: Arc<Shared>,
    node: usize,
    message: String,
    attempt: u32,
    course: Course,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static {
    let pace = Duration::from_millis(Wish::of(&message).map_or(0, |wish| wish.pace_ms));
    let begun = (answer::tokens(&message, attempt), 0_u64, false);
    futures_util::stream::unfold(begun, move |(mut tokens, told, over)| {
        let shared = shared.clone();
        async move {
            if over {
                return None;
            }
            if let Course::Status(_) = course {
                return Some((Ok(Frame::data(Bytes::from_static(b"not now"))), (tokens, told, true)));
            }
            tokio::time::sleep(pace).await;
            shared.reached(node, told);
            let token = tokens.next();
            let part = match course {
                Course::Stall(after) if told >= after => {
                    tokio::time::sleep(STALL).await;
                    return None;
                }
                Course::Cut(after) if told >= after => {
                    let torn = event(token.as_deref(), None);
                    let middle = torn.len() / 2;
                    return Some((Ok(Frame::data(torn.slice(..middle))), (tokens, told, true)));
                }
                Course::Garbage(after) if told >= after => {
                    let garbage = Bytes::from_static(b"data: {\"choices\": [{]}\xff\n\n");
                    return Some((Ok(Frame::data(garbage)), (tokens, told, true)));
                }
                Course::Well | Course::Status(_) | Course::Stall(_) | Course::Cut(_) | Course::Garbage(_) => {
                    event(token.as_deref(), token.is_none().then_some("stop"))
                }
            };
            Some((Ok(Frame::data(part)), (tokens, told + 1, token.is_none())))
        }
    })
}

/// One event of the stream. The one with a reason is the last, with `[DONE]` behind it.
fn event(token: Option<&str>, finish_reason: Option<&'static str>) -> Bytes {
    #[derive(Serialize)]
    struct Chunk<'a> {
        object: &'static str,
        choices: [Choice<'a>; 1],
    }
    #[derive(Serialize)]
    struct Choice<'a> {
        index: u32,
        delta: Delta<'a>,
        finish_reason: Option<&'static str>,
    }
    #[derive(Serialize)]
    struct Delta<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<&'a str>,
    }
    let choice = Choice { index: 0, delta: Delta { content: token }, finish_reason };
    // Cannot fail: plain structs of strings.
    let chunk =
        serde_json::to_string(&Chunk { object: "chat.completion.chunk", choices: [choice] }).unwrap_or_default();
    let done = if finish_reason.is_some() { "data: [DONE]\n\n" } else { "" };
    Bytes::from(format!("data: {chunk}\n\n{done}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
