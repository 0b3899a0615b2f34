//! Ends a run whose turn waits for a person.

use crate::bus::Kind;
use crate::model::{ToolCall, Usage};
use crate::protocol::Event;
use crate::store::{Outcome, Park, Parking};

use super::super::transcript::Piece;
use super::{PARKED, Run, journal, log_store, patiently};

impl Run {
    /// Commits that the turn waits for a person, then shows what for: whoever answers at once must find it parked. Returns
    /// what the metrics call it.
    pub(super) async fn park(&mut self, call: &ToolCall, description: &str) -> &'static str {
        let inner = self.turns.0.clone();
        self.send_held_back();
        let (request_id, now) = (&self.claimed.request_id, self.stream.now_ms());
        let frames = [
            Event::write_confirmation_required(request_id, now, &call.name, description).encode(),
            Event::tool_call(request_id, now, &call.name, &call.arguments).encode(),
        ];
        let parked = self.stream.to_park(frames.iter().map(|frame| Piece::Event(frame.to_string())));
        let body = match journal::asked(&parked) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "transcript not encoded");
                return "lost";
            }
        };
        let park = Park {
            turn: self.claimed.id,
            epoch: self.claimed.epoch,
            holder: inner.node,
            step: self.next_step,
            body,
            last_seq: i64::try_from(parked.pieces.len()).unwrap_or(i64::MAX),
            patience: inner.config.approval_patience,
        };
        let lost = self.holding.signals.lost.clone();
        let written = tokio::select! {
            biased;
            () = lost.cancelled() => Ok(Parking::Fenced),
            written = patiently(inner.config.finish_patience, || inner.store.park_turn(&park)) => written,
        };
        match written {
            Ok(Parking::Parked) => {
                for frame in frames {
                    let pushed = self.stream.push_event(self.claimed.epoch, frame);
                    inner.metrics.frames.chunk.inc();
                    self.publish(Kind::Frame, pushed);
                }
                PARKED
            }
            Ok(Parking::CancelRequested) => self.finish(Outcome::Cancelled, Usage::default()).await,
            Ok(Parking::Fenced) => {
                inner.metrics.fenced_writes.inc();
                "lost"
            }
            Err(error) => {
                log_store("turn.park", &error);
                "lost"
            }
        }
    }

    /// Gives the slot back. Somebody who pressed Stop while the turn was being parked may have told only this run.
    pub(super) async fn leave_parked(self) {
        self.holding.leave();
        let cancelled = self.holding.signals.cancelled.is_cancelled();
        let turns = self.turns.clone();
        let (conversation, request_id) = (self.claimed.conversation, self.claimed.request_id.clone());
        drop(self);
        if cancelled && let Err(error) = turns.cancel(conversation, Some(&request_id)).await {
            log_store("turn.cancel", &error);
        }
    }
}
