//! What a run does for its agent: shows its steps, and keeps its entries in the turn's journal, fenced by epoch.

use async_trait::async_trait;

use crate::agent::{Entry, Host, Lost, Step};
use crate::store::{Finished, NewSteps};

use super::{Run, journal, log_store, patiently};

#[async_trait]
impl Host for Run {
    /// Sends a step on its way. While the lease is in doubt nothing is sent, for another node may be speaking.
    fn emit(&mut self, step: Step) {
        let piece = self.piece(step);
        if self.holding.may_speak() {
            self.send_held_back();
            self.send(piece);
        } else {
            self.held_back.push(piece);
        }
    }

    async fn record(&mut self, entries: &[Entry]) -> std::result::Result<(), Lost> {
        let inner = &self.turns.0;
        let steps = entries.iter().map(journal::step).collect::<serde_json::Result<Vec<_>>>().map_err(|error| {
            tracing::error!(%error, "step not encoded");
            Lost
        })?;
        let count = i32::try_from(steps.len()).unwrap_or(i32::MAX);
        let new = NewSteps {
            turn: self.claimed.id,
            epoch: self.claimed.epoch,
            holder: inner.node,
            first: self.next_step,
            steps,
        };
        match patiently(inner.config.finish_patience, || inner.store.record_steps(&new)).await {
            Ok(Finished::Committed) => {
                self.next_step = self.next_step.saturating_add(count);
                Ok(())
            }
            Ok(Finished::Fenced) => {
                inner.metrics.fenced_writes.inc();
                Err(Lost)
            }
            Err(error) => {
                log_store("step.record", &error);
                Err(Lost)
            }
        }
    }
}
