//! The terminal frame of a turn: one place makes it, from what its runner knows or from what the store kept.

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::protocol::{ErrorCode, Event, Usage};
use crate::store::{EXPIRED, Outcome, Turn, TurnState, TurnUsage};

use super::stream::TurnStream;
use crate::ids::MessageId;

/// What a client is told when a turn failed. The cause is in the log; a client gets a sentence that it can show.
const FAILED: &str = "The assistant could not finish this answer. Please try again.";

/// What a client is told when nobody answered a request for approval in time.
const UNANSWERED: &str = "Nobody approved or rejected the action in time, so it was not done. Send your message again to \
    start over.";

/// The frame that ends a turn.
pub(super) fn frame(
    request_id: &str,
    now_ms: i64,
    outcome: &Outcome,
    message: MessageId,
    text: &str,
    usage: TurnUsage,
) -> Utf8Bytes {
    match outcome {
        Outcome::Completed => {
            let usage = (usage != TurnUsage::default()).then_some(Usage {
                cost_usd: usage.cost_usd,
                prompt_tokens: usage.prompt_tokens.unsigned_abs(),
                completion_tokens: usage.completion_tokens.unsigned_abs(),
            });
            Event::eventual_response(request_id, now_ms, message, text, usage, &[]).encode()
        }
        Outcome::Failed(code) => {
            let message = if code == EXPIRED { UNANSWERED } else { FAILED };
            let code = ErrorCode::parse(code).unwrap_or(ErrorCode::AgentError);
            Event::error(Some(request_id), now_ms, code, message).encode()
        }
        Outcome::Cancelled => Event::cancelled(request_id, now_ms).encode(),
    }
}

/// Ends a stream with what the store kept of the turn. Does nothing while the turn is active.
pub(super) fn conclude(stream: &TurnStream, turn: &Turn) {
    let outcome = match turn.state {
        TurnState::Queued | TurnState::Running | TurnState::Parked => return,
        TurnState::Completed => Outcome::Completed,
        TurnState::Failed => Outcome::Failed(turn.error_code.clone().unwrap_or_default()),
        TurnState::Cancelled => Outcome::Cancelled,
    };
    let (message, text) = match &turn.answer {
        Some(answer) => (answer.message, answer.text.as_str()),
        None => (MessageId(turn.id.0), ""),
    };
    let frame = frame(&turn.request_id, stream.now_ms(), &outcome, message, text, turn.usage);
    stream.conclude(turn.epoch, turn.last_seq.unsigned_abs(), text, frame);
}
