//! Ends a run whose turn waits for a person.

use crate::bus::Kind;
use crate::model::{ToolCall, Usage};
use crate::protocol::Event;
use crate::store::{Outcome, Park, Parking};

use super::super::transcript::Piece;
use super::{LOST, PARKED, Run, journal, log_store, patiently};

impl Run {
    /// Commits that the turn waits for a person, then shows what for: whoever answers at once must find it parked. Returns
    /// what the metrics call it.
    pub(super) async fn park(&mut self, call: &ToolCall, description: &str) -> &'static str {
        let inner = self.turns.0.clone();
        let (request_id, now) = (&self.claimed.request_id, self.stream.now_ms());
        let frames = [
            Event::write_confirmation_required(request_id, now, &call.name, description).encode(),
            Event::tool_call(request_id, now, &call.name, &call.arguments).encode(),
        ];
        let request = frames.iter().map(|frame| Piece::Event(frame.to_string()));
        let parked = self.stream.to_park(self.held_back.iter().cloned().chain(request));
        let body = match journal::asked(&parked) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "transcript not encoded");
                return LOST;
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
                self.send_held_back();
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
                LOST
            }
            Err(error) => {
                log_store("turn.park", &error);
                LOST
            }
        }
    }
}
