//! One connection's task.
//!
//! Its inputs: the client's frames; the action that is under way; the bell of its inbox (a turn has more); the keep-alive
//! timer; the node's stop. One action at a time: while it is under way no further frame is read, so a client that sends faster
//! than it is served is slowed down by its own connection, and turns go on streaming meanwhile.

use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, error::CapacityError};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::limits::TokenBucket;
use crate::protocol::{self, Action, CloseCode, ErrorCode, Event, Refusal, Request};
use crate::session::{Answer, Client};
use crate::turn::{Inbox, Reader};

use super::Inner;
use super::fragments;
use super::keepalive::{Due, KeepAlive};
use super::metrics::Overflow;

/// A connection and what it needs.
pub(super) struct Connection<S> {
    client: Client,
    bucket: TokenBucket,
    /// Completes when the node stops.
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    wire: Wire<S>,
}

/// The connection without its client: what goes on while an action is under way.
struct Wire<S> {
    inner: Arc<Inner>,
    stream: WebSocketStream<S>,
    inbox: Arc<Inbox>,
    readers: Vec<Reader>,
    /// The action under way, whose answer must come first.
    unanswered: Unanswered,
    keepalive: KeepAlive,
    /// When this connection closes, once the node stops.
    close_at: Option<Instant>,
}

/// What came from the client.
enum Received {
    Text(Utf8Bytes),
    Binary,
    /// Something that needs no answer.
    Nothing,
}

/// An action that is under way, and the frames that must not overtake its answer.
enum Unanswered {
    Nothing,
    /// Frames of the turn of this request: a 202 comes first, even when another node started the turn.
    Request(String),
    /// All frames: the answer tells how to read them.
    Attach,
}

impl Unanswered {
    fn of(request: &Request) -> Self {
        match (&request.action, &request.request_id) {
            (Action::AttachSession { .. }, _) => Self::Attach,
            (_, Some(request_id)) => Self::Request(request_id.clone()),
            (_, None) => Self::Nothing,
        }
    }

    fn holds_back(&self, reader: &Reader) -> bool {
        match self {
            Self::Nothing => false,
            Self::Request(request_id) => **request_id == *reader.request_id(),
            Self::Attach => true,
        }
    }
}

/// Why a connection ends.
enum End {
    /// The client closed it, or is gone.
    Client(Option<CloseCode>),
    /// This side closes it.
    Close(CloseCode),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) fn new(inner: Arc<Inner>, stream: WebSocketStream<S>, client: Client, inbox: Arc<Inbox>) -> Self {
        let config = &inner.config;
        let keepalive = KeepAlive::new(config.ping_interval, config.idle_timeout);
        let bucket = TokenBucket::new(config.action_rate);
        let closing = Box::pin(inner.closing.clone().cancelled_owned());
        Self {
            client,
            bucket,
            closing,
            wire: Wire {
                inner,
                stream,
                inbox,
                readers: Vec::new(),
                unanswered: Unanswered::Nothing,
                keepalive,
                close_at: None,
            },
        }
    }

    /// Runs until either side closes. Returns the close code; `None`: the client was gone without one.
    pub(super) async fn run(&mut self) -> Option<CloseCode> {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        match end {
            End::Client(code) => code,
            End::Close(code) => self.wire.close(code).await,
        }
    }

    /// Closes at once.
    pub(super) async fn turn_away(&mut self, code: CloseCode) -> Option<CloseCode> {
        self.wire.close(code).await
    }

    async fn step(&mut self) -> Result<(), End> {
        let wire = &mut self.wire;
        tokio::select! {
            () = self.closing.as_mut(), if wire.close_at.is_none() => {
                wire.close_at = Some(Instant::now() + wire.inner.config.close_spread.mul_f64(rand::random()));
                Ok(())
            }
            () = at(wire.close_at) => Err(self.going_away().await.err().unwrap_or(End::Close(CloseCode::Restart))),
            message = wire.stream.next() => {
                wire.keepalive.heard();
                match wire.received(message)? {
                    // Boxed, so that an idle connection does not carry the space of an action.
                    Received::Text(text) => Box::pin(self.act(protocol::parse(&text))).await,
                    Received::Binary => Box::pin(self.act(Err(binary()))).await,
                    Received::Nothing => Ok(()),
                }
            }
            () = wire.inbox.rung() => wire.pump().await,
            () = wire.keepalive.elapsed() => wire.keep_alive().await,
        }
    }

    /// Tells a client that knows how to come back, and when.
    async fn going_away(&mut self) -> Result<(), End> {
        if self.client.supports_going_away() {
            let frame = Event::going_away(self.client.now_ms(), reconnect_hint_ms()).encode();
            self.wire.send(frame).await?;
        }
        Ok(())
    }

    /// Does what a frame asks for, while turns go on streaming, then answers.
    async fn act(&mut self, request: Result<Request, Refusal>) -> Result<(), End> {
        let Self { client, bucket, wire, .. } = self;
        let granted = bucket.take();
        let answer = match request {
            Ok(Request { request_id, .. }) | Err(Refusal { request_id, .. }) if !granted => {
                client.refuse(rate_limited(request_id))
            }
            Err(refusal) => client.refuse(refusal),
            Ok(request) => {
                wire.keepalive.acted();
                wire.unanswered = Unanswered::of(&request);
                let mut action = pin!(client.on_request(request));
                loop {
                    tokio::select! {
                        answer = &mut action => break answer,
                        () = wire.inbox.rung() => wire.pump().await?,
                        () = wire.keepalive.elapsed() => wire.keep_alive().await?,
                    }
                }
            }
        };
        wire.answer(answer).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Counts what came from the client, and tells what it is.
    fn received(&mut self, message: Option<Result<Message, Error>>) -> Result<Received, End> {
        let message = match message {
            None => return Err(End::Client(None)),
            Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => {
                return Err(End::Close(CloseCode::MessageTooBig));
            }
            Some(Err(_)) => return Err(End::Client(None)),
            Some(Ok(message)) => message,
        };
        let metrics = &self.inner.metrics;
        match message {
            Message::Text(text) => {
                metrics.frames_in.inc();
                metrics.bytes_in.inc_by(text.len() as u64);
                Ok(Received::Text(text))
            }
            Message::Binary(bytes) => {
                metrics.frames_in.inc();
                metrics.bytes_in.inc_by(bytes.len() as u64);
                Ok(Received::Binary)
            }
            Message::Close(_) => Err(End::Client(Some(CloseCode::Normal))),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Received::Nothing),
        }
    }

    /// Sends an answer, and from then on the frames of the turn that it opens.
    async fn answer(&mut self, answer: Answer) -> Result<(), End> {
        let unanswered = std::mem::replace(&mut self.unanswered, Unanswered::Nothing);
        if let Some(code) = answer.error {
            self.inner.metrics.error(code);
        }
        if let Some(frame) = answer.frame {
            self.send(frame).await?;
        }
        if let Some(reader) = answer.reader {
            // It begins where the client asked, whatever this socket read of the turn before. One that came by itself while a
            // message was sent again has been held back, and knows less of what the client has than the answer does.
            let attached = matches!(unanswered, Unanswered::Attach);
            let gives_way = |known: &Reader| known.turn() == reader.turn() && (attached || !known.has_spoken());
            self.readers.retain(|known| !gives_way(known));
            self.read_along(reader);
        }
        self.pump().await
    }

    fn read_along(&mut self, reader: Reader) {
        if !self.readers.iter().any(|known| known.turn() == reader.turn()) {
            self.readers.push(reader);
        }
    }

    /// Sends what the turns have that this client has not seen.
    async fn pump(&mut self) -> Result<(), End> {
        for reader in self.inbox.take_arrived() {
            self.read_along(reader);
        }
        let mut readers = std::mem::take(&mut self.readers);
        for reader in &mut readers {
            if self.unanswered.holds_back(reader) {
                continue;
            }
            while let Some(outbound) = reader.take() {
                if outbound.collapsed {
                    self.inner.metrics.overflow(Overflow::Collapsed);
                }
                self.send(outbound.frame).await?;
            }
        }
        readers.retain(|reader| !reader.has_ended());
        self.readers = readers;
        self.flush().await
    }

    async fn keep_alive(&mut self) -> Result<(), End> {
        match self.keepalive.due() {
            Due::Ping => {
                self.feed(Message::Ping(Default::default())).await?;
                self.flush().await
            }
            Due::Gone => Err(End::Client(None)),
            Due::Idle => Err(End::Close(CloseCode::Idle)),
        }
    }

    /// Puts a frame into the write buffer, which goes to the client when it is full or with [`Wire::flush`].
    async fn send(&mut self, frame: Utf8Bytes) -> Result<(), End> {
        let metrics = &self.inner.metrics;
        metrics.frames_out.inc();
        metrics.bytes_out.inc_by(frame.len() as u64);
        if frame.len() <= fragments::MAX_BYTES {
            return self.feed(Message::Text(frame)).await;
        }
        // Boxed, so that an idle connection does not carry the space of it.
        Box::pin(self.send_in_fragments(frame)).await
    }

    async fn send_in_fragments(&mut self, text: Utf8Bytes) -> Result<(), End> {
        for fragment in fragments::of(text.into()) {
            self.feed(Message::Frame(fragment)).await?;
        }
        Ok(())
    }

    async fn feed(&mut self, message: Message) -> Result<(), End> {
        let written = timeout(self.inner.config.write_timeout, self.stream.feed(message)).await;
        self.written(written)
    }

    async fn flush(&mut self) -> Result<(), End> {
        let written = timeout(self.inner.config.write_timeout, self.stream.flush()).await;
        self.written(written)
    }

    fn written(&self, result: Result<Result<(), Error>, Elapsed>) -> Result<(), End> {
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Client(None)),
            Err(_) => {
                self.inner.metrics.overflow(Overflow::Closed);
                Err(End::Close(CloseCode::SlowReader))
            }
        }
    }

    /// Says why, and waits a moment for the client to agree.
    async fn close(&mut self, code: CloseCode) -> Option<CloseCode> {
        let frame = CloseFrame { code: code.code().into(), reason: code.reason().into() };
        let deadline = Instant::now() + self.inner.config.close_timeout;
        let farewell = async {
            self.stream.close(Some(frame)).await?;
            while let Some(message) = self.stream.next().await {
                message?;
            }
            Ok::<(), Error>(())
        };
        if !matches!(tokio::time::timeout_at(deadline, farewell).await, Ok(Ok(()))) {
            tracing::debug!(code = code.code(), "client did not answer the close");
        }
        Some(code)
    }
}

fn binary() -> Refusal {
    Refusal {
        request_id: None,
        code: ErrorCode::ValidationError,
        message: "binary frames are not supported: send JSON as text".to_owned(),
    }
}

fn rate_limited(request_id: Option<String>) -> Refusal {
    Refusal {
        request_id,
        code: ErrorCode::RateLimited,
        message: "too many actions on this connection; slow down and try again".to_owned(),
    }
}

/// The longest time after which a client of a stopping node is asked to come back, in milliseconds.
const RECONNECT_WITHIN_MS: u64 = 1000;

fn reconnect_hint_ms() -> u64 {
    rand::rng().random_range(0..RECONNECT_WITHIN_MS)
}

/// Waits until then; for ever, when there is no then.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}
