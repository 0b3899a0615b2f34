//! Follows a turn that another node runs: attaches to its holder, applies what the bus brings, and heals every gap.
//!
//! The bus may lose anything, so nothing waits on it for ever: silence is broken by asking the holder, and when nobody
//! answers, by asking the store, which knows how the turn ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_util::sync::CancellationToken;

use crate::bus::{Envelope, Kind, Outgoing, Subject};
use crate::protocol;
use crate::store::{Turn, TurnState};

use super::ending;
use super::journal;
use super::peer::{AttachReply, HolderRequest};
use super::stream::{Offer, ToldBy, TurnStream};
use super::streams::Streams;
use super::transcript::{Channel, Piece};

/// Envelopes that wait for a follower. More are dropped; the gap that this makes is healed.
pub(super) const QUEUE: usize = 512;

/// How long a follower lets a turn be silent before it asks for news.
const SILENCE: Duration = Duration::from_secs(2);

/// How long it waits before it asks again, when nobody runs the turn.
const RETRY: Duration = Duration::from_millis(500);

/// How long it waits before it asks again, when the turn waits for a person. What becomes of it is announced on the bus.
const PARKED: Duration = Duration::from_secs(10);

/// How a follower begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// The turn runs: attach to its holder.
    AtOnce,
    /// The turn waits for a holder, who will announce itself.
    Patiently,
}

/// Follows until the turn has ended or nobody here watches it.
pub(super) async fn run(
    streams: Arc<Streams>,
    stream: Arc<TurnStream>,
    mut envelopes: mpsc::Receiver<Envelope>,
    how: Follow,
    stop: CancellationToken,
) {
    let mut bus = streams.bus.state();
    let mut ask_at = Instant::now();
    if how == Follow::Patiently {
        ask_at += SILENCE;
    }
    while !stream.has_ended() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(envelope) = envelopes.recv() => match apply(&streams, &stream, envelope) {
                Applied::Progress => ask_at = Instant::now() + SILENCE,
                Applied::Nothing => {}
                Applied::Ask => ask_at = Instant::now(),
            },
            Ok(()) = bus.changed() => ask_at = Instant::now(),
            () = sleep_until(ask_at) => {
                let asked = tokio::select! {
                    () = stop.cancelled() => return,
                    asked = ask(&streams, &stream) => asked,
                };
                ask_at = Instant::now() + again_after(asked);
            }
        }
    }
    streams.unfollow(&stream.about);
}

enum Applied {
    Progress,
    Nothing,
    Ask,
}

fn apply(streams: &Streams, stream: &TurnStream, envelope: Envelope) -> Applied {
    match envelope.kind {
        Kind::Started | Kind::Changed => Applied::Ask,
        Kind::Frame | Kind::End => {
            let Ok(frame) = Utf8Bytes::try_from(envelope.payload) else {
                streams.metrics.unreadable_envelopes.inc();
                return Applied::Ask;
            };
            let piece = match envelope.kind {
                Kind::End => Piece::End(frame.to_string()),
                Kind::Frame | Kind::Started | Kind::Changed => piece_of(&frame),
            };
            match stream.offer(envelope.epoch, envelope.seq, piece, frame) {
                Offer::Applied => Applied::Progress,
                Offer::Repeated => Applied::Nothing,
                Offer::Fenced => {
                    streams.metrics.fenced_frames.inc();
                    Applied::Nothing
                }
                Offer::Gap => {
                    streams.metrics.gaps.inc();
                    Applied::Ask
                }
            }
        }
    }
}

fn piece_of(frame: &Utf8Bytes) -> Piece {
    match protocol::token_text(frame.as_ref()) {
        Some(protocol::StreamText::Token(text)) => Piece::Text(Channel::Token, text.into_owned()),
        Some(protocol::StreamText::Reasoning(text)) => Piece::Text(Channel::Reasoning, text.into_owned()),
        None => Piece::Event(frame.to_string()),
    }
}

/// When to ask again at the latest, for a turn that has not ended: when nobody runs it, what becomes of it is announced.
fn again_after(told_by: ToldBy) -> Duration {
    match told_by {
        ToldBy::Holder => SILENCE,
        ToldBy::Store => PARKED,
        ToldBy::Nobody => RETRY,
    }
}

/// Asks the holder for what is missing, or the store when nobody holds the turn.
pub(super) async fn ask(streams: &Streams, stream: &TurnStream) -> ToldBy {
    loop {
        let (epoch, after) = stream.position();
        let request = HolderRequest::Attach { epoch, after };
        let message = Outgoing { payload: request.encode(), traceparent: None };
        let reply = match streams.bus.request(&Subject::Turn(stream.about.turn), message).await {
            Ok(bytes) => AttachReply::decode(&bytes),
            Err(_) => return ask_store(streams, stream).await,
        };
        let Some(reply) = reply else {
            streams.metrics.unreadable_envelopes.inc();
            return ToldBy::Nobody;
        };
        let (healed, has_more) = (reply.pieces.len(), reply.has_more);
        if !stream.heal(reply.into()) {
            return ToldBy::Nobody;
        }
        if !has_more || healed == 0 {
            return ToldBy::Holder;
        }
    }
}

/// The holder does not answer: it is gone, or the bus is. The store knows whether the turn has ended.
async fn ask_store(streams: &Streams, stream: &TurnStream) -> ToldBy {
    match streams.store.turn(stream.about.turn).await {
        Ok(Some(turn)) => match turn.state {
            TurnState::Completed | TurnState::Failed | TurnState::Cancelled => {
                ending::conclude(stream, &turn);
                return ToldBy::Store;
            }
            TurnState::Parked => {
                restore(streams, stream, &turn).await;
                return ToldBy::Store;
            }
            TurnState::Queued => restore(streams, stream, &turn).await,
            TurnState::Running => stream.fence(turn.epoch),
        },
        Ok(None) => tracing::warn!(turn = %stream.about.turn, "followed turn is not in the store"),
        Err(error) => tracing::warn!(turn = %stream.about.turn, %error, "followed turn not looked up"),
    }
    ToldBy::Nobody
}

/// Brings what a turn said before it was parked, if this node does not have it.
async fn restore(streams: &Streams, stream: &TurnStream, turn: &Turn) {
    if !stream.lacks(turn.epoch, turn.last_seq) {
        return;
    }
    match journal::read(&streams.store, turn.id).await {
        Ok(journal) => {
            if let Some(parked) = journal.parked {
                stream.restore(parked);
            }
        }
        Err(error) => tracing::warn!(turn = %turn.id, %error, "journal of a parked turn not read"),
    }
}
