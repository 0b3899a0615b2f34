//! A model gateway that speaks the OpenAI protocol and says what [`super::answer`] tells it, well or badly.
//!
//! Each node asks under an address of its own, so that a call tells which node runs the turn.

mod event;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;

use super::answer::Wish;
use super::dice::Dice;
use super::history::{History, What};
use super::holders::Holders;
use super::http::{Body, Server};
use event::Said;

/// One call in so many goes wrong, when calls may.
const FAULTY_ONE_IN: u64 = 6;

/// How long a stalled answer says nothing; longer than the nodes wait.
const STALL: Duration = Duration::from_secs(60);

/// The gateway. Dropping it ends it.
pub(super) struct Gateway {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    faulty: AtomicBool,
    history: History,
    holders: Arc<Holders>,
    attempts: Mutex<HashMap<String, u32>>,
}

/// One call of the model.
#[derive(Clone, Debug)]
struct Call {
    node: usize,
    message: String,
    attempt: u32,
    round: u32,
}

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Well,
    Status(StatusCode),
    /// Says nothing more after so many events.
    Stall(u64),
    /// Hangs up inside the event after so many.
    Cut(u64),
    /// Says something that is no event after so many.
    Garbage(u64),
}

impl Gateway {
    /// Starts it; `faulty`: some calls go wrong.
    pub(super) async fn start(seed: u64, faulty: bool, history: History, holders: Arc<Holders>) -> io::Result<Self> {
        let (faulty, attempts) = (AtomicBool::new(faulty), Mutex::default());
        let shared = Arc::new(Shared { seed, faulty, history, holders, attempts });
        let served = shared.clone();
        let server = Server::start(move |request| answer(served.clone(), request)).await?;
        Ok(Self { server, shared })
    }

    /// The address for one node.
    pub(super) fn url(&self, node: usize) -> String {
        format!("{}/{node}/v1", self.server.url())
    }

    /// From now on every call goes well.
    pub(super) fn behave(&self) {
        self.shared.faulty.store(false, Ordering::Relaxed);
    }
}

impl Shared {
    /// The next number of an attempt at this message.
    fn attempt(&self, message: &str) -> u32 {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.entry(message.to_owned()).or_default();
        *attempt += 1;
        *attempt
    }

    /// How a call goes that says so much.
    fn course(&self, call: &Call, said: &[Said]) -> Course {
        let mut dice = Dice::of(self.seed, &format!("{} {}", call.message, call.attempt));
        if !self.faulty.load(Ordering::Relaxed) || !dice.one_in(FAULTY_ONE_IN) {
            return Course::Well;
        }
        let after = dice.between(0, said.len() as u64);
        // The last pieces of arguments, so that what came before looks like a call.
        let in_a_call: Vec<u64> = (0..).zip(said).filter_map(|(at, said)| said.ends_a_call().then_some(at)).collect();
        match dice.between(0, 6) {
            0 => Course::Status(StatusCode::TOO_MANY_REQUESTS),
            1 => Course::Status(StatusCode::SERVICE_UNAVAILABLE),
            2 => Course::Stall(after),
            3 => Course::Cut(after),
            4 => Course::Cut(dice.pick(&in_a_call).copied().unwrap_or(after)),
            _ => Course::Garbage(after),
        }
    }
}

/// The part of a request that matters here.
#[derive(Default, Deserialize)]
struct Asked {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<String>,
}

impl Asked {
    /// What the person said last, and the round of the answer: how far the model has come with it.
    fn last(self) -> (String, u32) {
        let mut round = 0;
        for message in self.messages.into_iter().rev() {
            match message.role.as_str() {
                "user" => return (message.content.unwrap_or_default(), round),
                "tool" => round = 1,
                _ => {}
            }
        }
        (String::new(), round)
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let node = request.uri().path().split('/').nth(1).and_then(|node| node.parse().ok()).unwrap_or_default();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (message, round) = serde_json::from_slice::<Asked>(&body).unwrap_or_default().last();
    let call = Call { node, attempt: shared.attempt(&message), message, round };
    let said = event::all(&call);
    let course = shared.course(&call, &said);
    shared.holders.asks_the_model(&call.message, node);
    shared.history.add(What::ModelCall {
        node,
        message: call.message.clone(),
        attempt: call.attempt,
        round,
        faulty: course != Course::Well,
    });
    let (status, kind) = match course {
        Course::Status(status) => (status, "text/plain"),
        Course::Well | Course::Stall(_) | Course::Cut(_) | Course::Garbage(_) => (StatusCode::OK, "text/event-stream"),
    };
    let body = StreamBody::new(events(shared, &call, said, course));
    let mut response = Response::new(BodyExt::boxed_unsync(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// The body of an answer, event by event.
fn events(
    shared: Arc<Shared>,
    call: &Call,
    said: Vec<Said>,
    course: Course,
) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send + 'static {
    let node = call.node;
    let pace = Duration::from_millis(Wish::of(&call.message).pace_ms);
    let begun = (said.into_iter(), 0_u64, false);
    futures_util::stream::unfold(begun, move |(mut said, told, over)| {
        let shared = shared.clone();
        async move {
            if over {
                return None;
            }
            if let Course::Status(_) = course {
                return Some((Ok(Frame::data(Bytes::from_static(b"not now"))), (said, told, true)));
            }
            tokio::time::sleep(pace).await;
            shared.holders.reached(node, told);
            let event = said.next()?.encode();
            match course {
                Course::Stall(after) if told >= after => {
                    tokio::time::sleep(STALL).await;
                    None
                }
                Course::Cut(after) if told >= after => {
                    let middle = event.len() / 2;
                    Some((Ok(Frame::data(event.slice(..middle))), (said, told, true)))
                }
                Course::Garbage(after) if told >= after => {
                    let garbage = Bytes::from_static(b"data: {\"choices\": [{]}\xff\n\n");
                    Some((Ok(Frame::data(garbage)), (said, told, true)))
                }
                Course::Well | Course::Status(_) | Course::Stall(_) | Course::Cut(_) | Course::Garbage(_) => {
                    Some((Ok(Frame::data(event)), (said, told + 1, false)))
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_of_an_answer_is_told_by_the_results_since_the_last_message() {
        let last = |roles: &[&str]| {
            let messages = roles.iter().map(|role| Message { role: (*role).to_owned(), content: None }).collect();
            Asked { messages }.last().1
        };
        assert_eq!(last(&["system", "user"]), 0);
        assert_eq!(last(&["user", "assistant", "tool", "user"]), 0);
        assert_eq!(last(&["user", "assistant", "tool", "tool"]), 1);
    }
}
