//! A model gateway that a test holds in its hand: a real HTTP server on a loopback port that speaks the OpenAI protocol and says
//! what the test tells it, when the test tells it.
//!
//! By default every request waits for the test, which takes it and plays the model:
//!
//! ```ignore
//! let gateway = ScriptedGateway::start().await;
//! // ... point a node at gateway.url(), send "What time is it?" ...
//! let mut call = gateway.expect_request_saying("What time").await;
//! call.send_text("Hel");          // the client has received "Hel" and nothing else
//! call.send_text("lo");
//! call.finish();                  // or cut(), end(), stall(), garbage(), refuse(..); closed().await: the client hung up
//! ```
//!
//! A test that does not care when things arrive prepares answers, which are given at once. For each request, in this order:
//! an answer scripted for something in the person's last message ([`ScriptedGateway::script_for`]), the next of
//! [`ScriptedGateway::script`], the text of [`ScriptedGateway::auto`], and when there is none of these the request waits.

mod answer;
mod call;
mod events;
mod request;
mod server;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use answer::Answer;
pub use call::Call;
pub use events::PROMPT_TOKENS;
pub use request::Request;

/// How long a test waits for something that should happen at once, before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server. Dropping it ends it with all its connections.
pub struct ScriptedGateway {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Rung whenever a request waits for the test.
    arrival: Notify,
    connections: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// Every request, oldest first.
    requests: Vec<Request>,
    /// Requests that wait for the test.
    waiting: Vec<Call>,
    scripts_for: Vec<(String, VecDeque<Answer>)>,
    script: VecDeque<Answer>,
    auto: Option<String>,
}

impl ScriptedGateway {
    /// Starts the server on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("the port that was bound");
        let shared = Arc::new(Shared::default());
        let server = tokio::spawn(server::serve(listener, shared.clone()));
        Self { address, shared, server }
    }

    /// The base address, to be used as `GATEWAY_URL`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Answers any request at once with `text`, word by word.
    pub fn auto(&self, text: &str) {
        self.state(|state| state.auto = Some(text.to_owned()));
    }

    /// Answers the next requests, whatever they say, with these answers in order.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state(|state| state.script.extend(answers));
    }

    /// Answers the next requests whose last message from the person contains `needle` with these answers in order.
    pub fn script_for(&self, needle: &str, answers: impl IntoIterator<Item = Answer>) {
        self.state(|state| state.scripts_for.push((needle.to_owned(), answers.into_iter().collect())));
    }

    /// Takes the oldest request that waits for the test; waits for one.
    pub async fn expect_request(&self) -> Call {
        self.expect("any request", |_| true).await
    }

    /// Takes the oldest waiting request whose last message from the person contains `needle`; waits for one.
    pub async fn expect_request_saying(&self, needle: &str) -> Call {
        self.expect(needle, |request| request.last_user_message().contains(needle)).await
    }

    /// Every request so far, oldest first, answered or not.
    pub fn requests(&self) -> Vec<Request> {
        self.state(|state| state.requests.clone())
    }

    /// How many TCP connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Ends the server; its address refuses connections from now on.
    pub async fn stop(mut self) {
        self.server.abort();
        // The error says that it was aborted, which it was.
        let _ = (&mut self.server).await;
    }

    async fn expect(&self, what: &str, matches: impl Fn(&Request) -> bool) -> Call {
        let found = timeout(PATIENCE, async {
            loop {
                let arrival = self.shared.arrival.notified();
                tokio::pin!(arrival);
                arrival.as_mut().enable();
                let at = self.state(|state| {
                    let at = state.waiting.iter().position(|call| matches(call.request()))?;
                    Some(state.waiting.remove(at))
                });
                match at {
                    Some(call) => return call,
                    None => arrival.await,
                }
            }
        });
        match found.await {
            Ok(call) => call,
            Err(_) => panic!("the gateway waited in vain for {what:?}; it saw {:?}", self.requests()),
        }
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        self.shared.state(act)
    }
}

impl Drop for ScriptedGateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no test panics while it holds this"))
    }
}

impl State {
    /// The prepared answer to a request, if there is one.
    fn prepared(&mut self, request: &Request) -> Option<Answer> {
        let said = request.last_user_message();
        self.scripts_for
            .iter_mut()
            .filter(|(needle, _)| said.contains(needle.as_str()))
            .find_map(|(_, answers)| answers.pop_front())
            .or_else(|| self.script.pop_front())
            .or_else(|| self.auto.as_deref().map(Answer::text))
    }
}
