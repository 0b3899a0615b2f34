//! A request in the hands of a test, which plays the model.

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Answer, PATIENCE, Request, events};

/// One request that waits for the test. What is sent is on its way when the method returns; a call that is dropped ends
/// its stream in good order, without a finish reason.
pub struct Call {
    request: Request,
    /// The way to the server, until the answer has begun.
    start: Option<oneshot::Sender<Reply>>,
    /// The way to the client, once the answer has begun.
    body: Option<mpsc::UnboundedSender<Part>>,
    tokens: u64,
    calls: usize,
}

/// How a request is answered.
pub(super) enum Reply {
    /// Part by part, as the test sends them.
    Stream(mpsc::UnboundedReceiver<Part>),
    /// At once.
    Prepared(Answer),
}

/// A part of a streamed body.
pub(super) enum Part {
    Bytes(Bytes),
    /// The connection breaks here.
    Cut,
}

impl Call {
    pub(super) fn new(request: Request) -> (Self, oneshot::Receiver<Reply>) {
        let (start, reply) = oneshot::channel();
        (Self { request, start: Some(start), body: None, tokens: 0, calls: 0 }, reply)
    }

    /// What the client asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Sends a token.
    pub fn send_text(&mut self, text: &str) {
        self.tokens += 1;
        self.send_raw(events::chunk(json!({ "content": text })));
    }

    /// Sends a token of the thinking channel.
    pub fn send_reasoning(&mut self, text: &str) {
        self.tokens += 1;
        self.send_raw(events::chunk(json!({ "reasoning_content": text })));
    }

    /// Sends a whole tool call, in several pieces.
    pub fn send_tool_call(&mut self, id: &str, name: &str, arguments: &str) {
        self.send_raw(events::tool_call(self.calls, id, name, arguments));
        self.calls += 1;
    }

    /// Sends an event with this JSON as its data.
    pub fn send_event(&mut self, data: Value) {
        self.send_raw(events::event(&data));
    }

    /// Sends these bytes as one chunk.
    pub fn send_raw(&mut self, bytes: impl Into<Bytes>) {
        self.send(Part::Bytes(bytes.into()));
    }

    /// Sends an event that is no JSON.
    pub fn garbage(&mut self) {
        self.send_raw("data: <html>502 Bad Gateway</html>\n\n");
    }

    /// Completes the answer: finish reason, usage ([`super::PROMPT_TOKENS`] and one for each token sent), `[DONE]`.
    pub fn finish(mut self) {
        let reason = if self.calls > 0 { "tool_calls" } else { "stop" };
        self.send_raw(events::ending(reason, self.tokens));
    }

    /// Ends the stream in good order, but with nothing that says the answer is complete.
    pub fn end(mut self) {
        self.begin();
    }

    /// Breaks the connection in the middle of the answer.
    pub fn cut(mut self) {
        self.send(Part::Cut);
    }

    /// Begins the answer if it has not begun, and then sends nothing more until the client hangs up.
    pub fn stall(mut self) {
        self.begin();
        tokio::spawn(async move {
            if let Some(body) = &self.body {
                body.closed().await;
            }
        });
    }

    /// Gives a prepared answer, a status for instance, instead of a stream.
    pub fn answer(mut self, answer: Answer) {
        let start = self.start.take().expect("the stream has begun: it is too late for another answer");
        // When the client is gone nobody hears it.
        let _ = start.send(Reply::Prepared(answer));
    }

    /// Waits until the client has hung up, whether the answer had begun or not.
    pub async fn closed(mut self) {
        let hung_up = timeout(PATIENCE, async {
            match (&mut self.start, &self.body) {
                (Some(start), _) => start.closed().await,
                (None, Some(body)) => body.closed().await,
                (None, None) => {}
            }
        });
        assert!(hung_up.await.is_ok(), "the client did not hang up");
    }

    fn begin(&mut self) {
        if let Some(start) = self.start.take() {
            let (body, parts) = mpsc::unbounded_channel();
            self.body = Some(body);
            // When the client is gone nobody hears it.
            let _ = start.send(Reply::Stream(parts));
        }
    }

    fn send(&mut self, part: Part) {
        self.begin();
        if let Some(body) = &self.body {
            // When the client is gone nobody hears it.
            let _ = body.send(part);
        }
    }
}
