//! One run of a turn, from its claim to its end.
//!
//! The order that keeps the promises: every frame goes to the stream as it is made, the ending is committed, and only then
//! the terminal frame is sent. A run that lost its turn says nothing more.

mod host;
mod park;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::agent::{AgentError, Entry, Step, Task};
use crate::bus::{Envelope, Kind, Outgoing, Subject};
use crate::ids::MessageId;
use crate::model::{ChatMessage, ToolCall, Usage};
use crate::protocol::{ErrorCode, Event};
use crate::store::{ClaimedTurn, Direction, Finish, Finished, Message, Outcome, StoreError, TurnUsage};

use super::holder::{self, Holding};
use super::journal::{self, Journal};
use super::lease::Lease;
use super::slots::Slot;
use super::stream::{About, Pushed, TurnStream};
use super::transcript::{Channel, Piece};
use super::{Turns, ending, log_store};

/// The epoch of the first run of a turn, which has no past.
const FIRST_EPOCH: i64 = 1;

/// What the metrics call a turn that waits for a person.
const PARKED: &str = "parked";
/// What they call one that this node runs no longer, and has not ended.
const LOST: &str = "lost";
/// What they call one that a stopping node gives back.
const RELEASED: &str = "released";

/// How long a run waits before it tries the store again.
const STORE_RETRY: Duration = Duration::from_millis(250);

/// Starts to run a turn that this node has claimed.
pub(super) fn spawn(turns: &Turns, claimed: ClaimedTurn, claimed_at: Instant, slot: Slot) {
    let span = tracing::info_span!(
        "turn",
        turn.id = %claimed.id,
        turn.epoch = claimed.epoch,
        conversation.id = %claimed.conversation,
        traceparent = claimed.traceparent.as_deref(),
    );
    let run = Run::new(turns, claimed, claimed_at, slot);
    turns.0.running.spawn(run.run().instrument(span));
}

struct Run {
    turns: Turns,
    claimed: ClaimedTurn,
    started_at: Instant,
    stream: Arc<TurnStream>,
    holding: Holding,
    /// Made while the lease was in doubt; sent when it is not, or when what they belong to is committed.
    held_back: Vec<Piece>,
    first_token: bool,
    /// The number of the journal's next step.
    next_step: i32,
    _slot: Slot,
}

/// How the agent's part of a run ended.
enum Result {
    Ended {
        outcome: Outcome,
        usage: Usage,
    },
    /// A person must approve this call.
    Asks {
        call: ToolCall,
        description: String,
    },
    Lost,
    Abandoned,
}

impl Run {
    fn new(turns: &Turns, claimed: ClaimedTurn, claimed_at: Instant, slot: Slot) -> Self {
        let about = About {
            turn: claimed.id,
            conversation: claimed.conversation,
            session: claimed.session,
            request_id: claimed.request_id.as_str().into(),
        };
        turns.0.metrics.in_flight.inc();
        Self {
            turns: turns.clone(),
            holding: turns.0.holdings.hold(&about, claimed.epoch, Lease::new(turns.0.config.lease, claimed_at)),
            stream: turns.0.streams.hold(&about, claimed.epoch),
            claimed,
            started_at: Instant::now(),
            held_back: Vec::new(),
            first_token: false,
            next_step: 1,
            _slot: slot,
        }
    }

    async fn run(mut self) {
        let journal = self.journal().await;
        let (past, parked, last_step) = match journal {
            Ok(Journal { entries, parked, last_step }) => (Some(entries), parked, last_step),
            Err(error) => {
                log_store("step.list", &error);
                (None, None, 0)
            }
        };
        self.next_step = last_step + 1;
        self.stream.begin(self.claimed.epoch, parked);
        let done = CancellationToken::new();
        let _done = done.clone().drop_guard();
        let serve = holder::serve(
            self.turns.clone(),
            self.stream.clone(),
            (self.claimed.epoch, self.holding.lease.clone()),
            self.claimed.traceparent.clone(),
            done,
        );
        self.turns.0.tasks.spawn(serve);
        let outcome = match self.answer(past).await {
            Result::Ended { outcome, usage } => self.finish(outcome, usage).await,
            Result::Asks { call, description } => self.park(&call, &description).await,
            Result::Lost => LOST,
            Result::Abandoned => RELEASED,
        };
        let metrics = &self.turns.0.metrics;
        metrics.ended.with_label_values(&[outcome]).inc();
        metrics.duration.with_label_values(&[outcome]).observe(self.started_at.elapsed().as_secs_f64());
        tracing::info!(outcome, attempt = self.claimed.attempt, "turn ended");
        if [PARKED, LOST, RELEASED].contains(&outcome) {
            self.leave().await;
        }
    }

    /// Gives the slot back for a turn that has not ended. Somebody who pressed Stop may have told only this run.
    async fn leave(self) {
        self.holding.leave();
        let cancelled = self.holding.signals.cancelled.is_cancelled();
        let turns = self.turns.clone();
        let (conversation, request_id) = (self.claimed.conversation, self.claimed.request_id.clone());
        drop(self);
        if cancelled && let Err(error) = turns.cancel(conversation, Some(&request_id)).await {
            log_store("turn.cancel", &error);
        }
    }

    /// What was done before this run; nothing, and no look-up, for the first.
    async fn journal(&self) -> std::result::Result<Journal, StoreError> {
        let inner = &self.turns.0;
        if self.claimed.epoch <= FIRST_EPOCH {
            return Ok(Journal::default());
        }
        patiently(inner.config.finish_patience, || journal::read(&inner.store, self.claimed.id)).await
    }

    /// Without a known past nothing is done, for it might be done twice.
    async fn answer(&mut self, past: Option<Vec<Entry>>) -> Result {
        let signals = self.holding.signals.clone();
        if self.claimed.cancel_requested {
            signals.cancelled.cancel();
        }
        let Some(past) = past else { return failed() };
        if self.claimed.attempt > self.turns.0.config.max_attempts {
            tracing::error!(attempt = self.claimed.attempt, "turn given up: every run of it was cut short");
            return failed();
        }
        tokio::select! {
            biased;
            () = signals.lost.cancelled() => Result::Lost,
            () = signals.cancelled.cancelled() => Result::Ended { outcome: Outcome::Cancelled, usage: Usage::default() },
            () = signals.abandoned.cancelled() => Result::Abandoned,
            result = self.ask_agent(past) => result,
        }
    }

    async fn ask_agent(&mut self, past: Vec<Entry>) -> Result {
        let turns = self.turns.clone();
        let Some(agent) = &turns.0.agent else {
            tracing::error!("turn claimed by a node without a model");
            return failed();
        };
        let task = match self.task(past).await {
            Ok(task) => task,
            Err(error) => {
                log_store("turn.history", &error);
                return failed();
            }
        };
        match agent.run(task, self).await {
            Ok(reply) => Result::Ended { outcome: Outcome::Completed, usage: reply.usage },
            Err(AgentError::NeedsApproval { call, description }) => Result::Asks { call, description },
            Err(AgentError::Lost(_)) => Result::Lost,
            // A node that was out of touch for so long may be the cause of the failure itself: a paused one finds that its
            // gateway went silent. Somebody who is in touch shall try.
            Err(error) if !self.holding.lease.is_valid() => {
                tracing::warn!(%error, "agent failed while the lease was in doubt; the turn is left to its next holder");
                Result::Lost
            }
            Err(error @ (AgentError::Model(_) | AgentError::TooLong)) => {
                tracing::error!(%error, "agent failed");
                failed()
            }
        }
    }

    async fn task(&self, past: Vec<Entry>) -> std::result::Result<Task, StoreError> {
        let inner = &self.turns.0;
        let timer = inner.metrics.overhead.with_label_values(&["history"]).start_timer();
        let limit = inner.config.history_messages;
        let history =
            patiently(inner.config.finish_patience, || inner.store.history(self.claimed.conversation, limit)).await?;
        let declared = patiently(inner.config.finish_patience, || inner.agents.get(self.claimed.agent)).await?;
        timer.observe_duration();
        Ok(Task {
            instructions: declared.agent.instructions.clone(),
            history: history.into_iter().map(chat_message).collect(),
            model: self.claimed.model.clone().or_else(|| declared.agent.model.clone()),
            traceparent: self.claimed.traceparent.clone(),
            turn: self.claimed.id,
            tools: declared.tools.clone(),
            max_rounds: declared.agent.max_iterations,
            past,
        })
    }

    fn send_held_back(&mut self) {
        for piece in std::mem::take(&mut self.held_back) {
            self.send(piece);
        }
    }

    fn send(&mut self, piece: Piece) {
        let pushed = self.push(piece);
        self.publish(Kind::Frame, pushed);
    }

    fn push(&mut self, piece: Piece) -> Option<Pushed> {
        let (frames, epoch) = (&self.turns.0.metrics.frames, self.claimed.epoch);
        match piece {
            Piece::Text(channel, text) => {
                match channel {
                    Channel::Token => {
                        if !std::mem::replace(&mut self.first_token, true) {
                            self.turns.0.metrics.first_token.observe(self.started_at.elapsed().as_secs_f64());
                        }
                        frames.token.inc();
                    }
                    Channel::Reasoning => frames.reasoning.inc(),
                }
                self.stream.push_text(epoch, channel, &text)
            }
            Piece::Event(frame) | Piece::End(frame) => {
                frames.chunk.inc();
                self.stream.push_event(epoch, frame.into())
            }
        }
    }

    /// A step of the agent as a piece of the stream.
    fn piece(&self, step: Step) -> Piece {
        let (request_id, now) = (&self.claimed.request_id, self.stream.now_ms());
        match step {
            Step::Text(text) => Piece::Text(Channel::Token, text),
            Step::Reasoning(text) => Piece::Text(Channel::Reasoning, text),
            Step::ToolStarted { call } => {
                Piece::Event(Event::tool_call(request_id, now, &call.name, &call.arguments).encode().to_string())
            }
            Step::ToolEnded { call, is_error, result } => {
                let frame = Event::tool_result(request_id, now, &call.name, is_error, &result).encode();
                Piece::Event(frame.to_string())
            }
        }
    }

    /// Sends a frame to other nodes, if one of them attached. `None`: a later run of the turn began on this node.
    fn publish(&self, kind: Kind, pushed: Option<Pushed>) {
        let Some(pushed) = pushed else { return self.turns.0.metrics.fenced_frames.inc() };
        if !pushed.publish {
            return;
        }
        let envelope = Envelope {
            conversation: self.claimed.conversation,
            turn: self.claimed.id,
            epoch: self.claimed.epoch,
            seq: pushed.seq,
            kind,
            payload: pushed.frame.into(),
        };
        let message = Outgoing { payload: envelope.encode(), traceparent: None };
        self.turns.0.bus.publish(&Subject::Conversation(self.claimed.conversation), message);
    }

    /// Commits the ending, then sends the terminal frame. Returns what the metrics call it.
    async fn finish(&mut self, outcome: Outcome, usage: Usage) -> &'static str {
        let inner = self.turns.0.clone();
        // What was held back belongs to the answer. It is sent only after the commit has shown that the turn is still ours.
        let text = match outcome {
            Outcome::Completed | Outcome::Cancelled => self.held_back.iter().fold(self.stream.text(), with_answer),
            Outcome::Failed(_) => String::new(),
        };
        let newest = self.stream.position().1 + self.held_back.len() as u64;
        let finish = Finish {
            turn: self.claimed.id,
            epoch: self.claimed.epoch,
            holder: inner.node,
            outcome,
            text,
            message: MessageId::new(),
            usage: turn_usage(usage),
            last_seq: i64::try_from(newest + 1).unwrap_or(i64::MAX),
        };
        let timer = inner.metrics.overhead.with_label_values(&["finish"]).start_timer();
        let lost = self.holding.signals.lost.clone();
        let written = tokio::select! {
            biased;
            () = lost.cancelled() => Ok(Finished::Fenced),
            written = patiently(inner.config.finish_patience, || inner.store.finish_turn(&finish)) => written,
        };
        timer.observe_duration();
        match written {
            Ok(Finished::Committed) => {}
            Ok(Finished::Fenced) => {
                inner.metrics.fenced_writes.inc();
                return LOST;
            }
            Err(error) => {
                log_store("turn.finish", &error);
                return LOST;
            }
        }
        self.send_held_back();
        let (request_id, now) = (&self.claimed.request_id, self.stream.now_ms());
        let frame = ending::frame(request_id, now, &finish.outcome, finish.message, &finish.text, finish.usage);
        let pushed = self.stream.push_end(self.claimed.epoch, frame);
        inner.metrics.frames.end.inc();
        self.publish(Kind::End, pushed);
        match finish.outcome {
            Outcome::Completed => "completed",
            Outcome::Failed(_) => "failed",
            Outcome::Cancelled => "cancelled",
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.turns.0.metrics.in_flight.dec();
        self.turns.0.streams.release(&self.stream.about, self.claimed.epoch);
    }
}

/// The answer so far with a piece more of it.
fn with_answer(mut text: String, piece: &Piece) -> String {
    if let Piece::Text(Channel::Token, more) = piece {
        text.push_str(more);
    }
    text
}

fn failed() -> Result {
    Result::Ended { outcome: Outcome::Failed(ErrorCode::AgentError.as_str().to_owned()), usage: Usage::default() }
}

fn turn_usage(usage: Usage) -> TurnUsage {
    TurnUsage {
        prompt_tokens: i64::try_from(usage.prompt_tokens).unwrap_or(i64::MAX),
        completion_tokens: i64::try_from(usage.completion_tokens).unwrap_or(i64::MAX),
        cost_usd: usage.cost_usd,
    }
}

fn chat_message(message: Message) -> ChatMessage {
    match message.direction {
        Direction::Inbound => ChatMessage::User(message.text),
        Direction::Outbound => ChatMessage::Assistant { text: message.text, calls: Vec::new() },
    }
}

/// Calls the store until it is back in reach, at most this long.
async fn patiently<T, F>(patience: Duration, mut call: impl FnMut() -> F) -> std::result::Result<T, StoreError>
where
    F: Future<Output = std::result::Result<T, StoreError>>,
{
    let give_up_at = Instant::now() + patience;
    loop {
        match call().await {
            Err(error @ StoreError::Unavailable(_)) if Instant::now() < give_up_at => {
                tracing::warn!(%error, "store out of reach; the turn waits for it");
                tokio::time::sleep(STORE_RETRY).await;
            }
            result => return result,
        }
    }
}
