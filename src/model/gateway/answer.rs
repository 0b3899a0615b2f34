//! An answer as it arrives: bytes in, deltas out. Dropping it closes the connection, so that the gateway stops to work.
//!
//! All that a read brought is taken apart at once and handed out without waiting, and one timer watches both the silence
//! and the whole; nothing here is paid per token but the parsing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use reqwest::Version;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Config;
use super::assemble::{Assembler, Fault};
use super::open::Opened;
use super::sse::{Parser, TooLarge};
use crate::model::metrics::Observation;
use crate::model::{Delta, ModelError};

/// The stream of deltas of one call.
pub(super) struct Answer {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    parser: Parser,
    assembler: Assembler,
    /// Deltas that have arrived and were not asked for yet.
    ready: VecDeque<Delta>,
    phase: Phase,
    /// A connection of HTTP/1 can be used again only when its answer was read to the very end.
    linger: bool,
    last_byte: Instant,
    deadline: Instant,
    timer: Pin<Box<Sleep>>,
    observation: Observation,
    config: Arc<Config>,
}

/// Where an answer stands; each but the last leads to the next.
enum Phase {
    /// More may come.
    Reading,
    /// All has been said; the connection's own end is awaited for a moment.
    Lingering,
    /// Hands out what is left, then this error.
    Failing(Option<ModelError>),
    /// Hands out what is left.
    Ended,
}

/// What the connection gave.
enum Read {
    Bytes(Bytes),
    End,
    Cut,
    Silence,
    Overtime,
}

/// How long the end of the connection's answer is awaited after `[DONE]`. It comes with the same packet or right after it;
/// a gateway that keeps the line open costs a new connection, not a late answer.
const LINGER: Duration = Duration::from_millis(20);

impl Answer {
    pub(super) fn new(opened: Opened, deadline: Instant, observation: Observation, config: Arc<Config>) -> Self {
        let now = Instant::now();
        let mut answer = Self {
            parser: Parser::new(config.max_event_bytes),
            assembler: Assembler::new(&config),
            ready: VecDeque::new(),
            phase: Phase::Reading,
            linger: opened.response.version() < Version::HTTP_2,
            last_byte: now,
            deadline,
            timer: Box::pin(sleep_until(deadline.min(now + config.idle_timeout))),
            observation,
            body: opened.response.bytes_stream().boxed(),
            config,
        };
        answer.take_in(&opened.first);
        answer
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read> {
        if let Poll::Ready(read) = self.body.as_mut().poll_next(cx) {
            self.last_byte = Instant::now();
            return Poll::Ready(match read {
                Some(Ok(bytes)) => Read::Bytes(bytes),
                Some(Err(_)) => Read::Cut,
                None => Read::End,
            });
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            // It was set at some earlier byte: see how things stand now.
            let now = Instant::now();
            let silent_at = self.last_byte + self.config.idle_timeout;
            if now >= self.deadline {
                return Poll::Ready(Read::Overtime);
            }
            if now >= silent_at {
                return Poll::Ready(Read::Silence);
            }
            self.timer.as_mut().reset(silent_at.min(self.deadline));
        }
    }

    fn on_read(&mut self, read: Read) {
        match read {
            Read::Bytes(bytes) => self.take_in(&bytes),
            Read::End => self.at_end(),
            Read::Cut | Read::Silence | Read::Overtime if self.assembler.is_complete() => self.complete(),
            Read::Cut => self.fail(ModelError::Interrupted),
            Read::Silence => self.fail(ModelError::IdleTimeout),
            Read::Overtime => self.fail(ModelError::TotalTimeout),
        }
    }

    fn take_in(&mut self, mut bytes: &[u8]) {
        loop {
            let outcome = match self.parser.next_event(&mut bytes) {
                Ok(Some(data)) => self.assembler.event(data, &mut self.ready),
                Ok(None) => break,
                Err(TooLarge) => Err(Fault::Malformed("an event is larger than the cap")),
            };
            if let Err(fault) = outcome {
                return self.on_fault(fault);
            }
        }
        if !self.ready.is_empty() {
            self.observation.delta();
        }
        if self.assembler.is_done() {
            if self.linger {
                self.phase = Phase::Lingering;
                self.timer.as_mut().reset(Instant::now() + LINGER);
            } else {
                self.complete();
            }
        }
    }

    /// The connection's answer has ended in good order. What is left without its blank line still counts, unless it is a
    /// torn one.
    fn at_end(&mut self) {
        let outcome = match self.parser.finish() {
            Some(data) => self.assembler.event(data, &mut self.ready),
            None => Ok(()),
        };
        match outcome {
            Err(Fault::Reported(said)) => self.on_fault(Fault::Reported(said)),
            Ok(()) | Err(Fault::Malformed(_)) if self.assembler.is_complete() => self.complete(),
            Ok(()) | Err(Fault::Malformed(_)) => self.fail(ModelError::Interrupted),
        }
    }

    fn on_fault(&mut self, fault: Fault) {
        match fault {
            Fault::Reported(said) => {
                let said = self.config.excerpt(said.as_bytes());
                tracing::warn!(gateway.body = ?said, "model gateway failed in the middle of an answer");
                self.fail(ModelError::Failed);
            }
            Fault::Malformed(what) => self.fail(ModelError::Malformed(what)),
        }
    }

    fn complete(&mut self) {
        self.assembler.finish(&mut self.ready);
        self.observation.delta();
        self.phase = Phase::Ended;
    }

    fn fail(&mut self, error: ModelError) {
        self.observation.failed(&error);
        self.phase = Phase::Failing(Some(error));
    }
}

impl Stream for Answer {
    type Item = Result<Delta, ModelError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(delta) = this.ready.pop_front() {
                if let Delta::Done(usage) = &delta {
                    this.observation.completed(usage);
                }
                return Poll::Ready(Some(Ok(delta)));
            }
            match &mut this.phase {
                Phase::Reading => {
                    let read = ready!(this.poll_read(cx));
                    this.on_read(read);
                }
                Phase::Lingering => {
                    ready!(this.poll_last_end(cx));
                    this.complete();
                }
                Phase::Failing(error) => return Poll::Ready(error.take().map(Err)),
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }
}

impl Answer {
    fn poll_last_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(read) = self.body.as_mut().poll_next(cx) {
            match read {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(()),
            }
        }
        self.timer.as_mut().poll(cx)
    }
}
