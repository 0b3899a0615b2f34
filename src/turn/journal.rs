//! What a turn's journal holds, between the agent's entries and the store's steps.

use serde_json::Value;

use crate::agent::Entry;
use crate::ids::TurnId;
use crate::store::{JournalStep, SharedStore, StepBody, StoreError};

use super::lineage::Parked;

/// The kind of the step that a turn is parked with: [`Entry::Asked`], and the transcript until then.
const ASKED: &str = "asked";

/// What came before this run.
#[derive(Default)]
pub(super) struct Journal {
    /// What the agent goes on from.
    pub entries: Vec<Entry>,
    /// What was shown until the turn was last parked.
    pub parked: Option<Parked>,
    /// The number of the last step.
    pub last_step: i32,
}

/// Reads a turn's journal.
pub(super) async fn read(store: &SharedStore, turn: TurnId) -> Result<Journal, StoreError> {
    let mut journal = Journal::default();
    for step in store.steps(turn).await? {
        let number = step.step;
        journal
            .add(step)
            .map_err(|error| StoreError::Corrupt(format!("turn_steps.payload of {turn}, step {number}: {error}")))?;
    }
    Ok(journal)
}

impl Journal {
    fn add(&mut self, step: JournalStep) -> serde_json::Result<()> {
        let StepBody { kind, payload } = step.body;
        let entry = if kind == ASKED {
            self.parked = Some(serde_json::from_value(payload)?);
            Entry::Asked
        } else if payload.is_null() {
            serde_json::from_value(serde_json::json!({ "kind": kind }))?
        } else {
            serde_json::from_value(serde_json::json!({ "kind": kind, "payload": payload }))?
        };
        self.entries.push(entry);
        self.last_step = step.step;
        Ok(())
    }
}

/// An entry as a step.
pub(super) fn step(entry: &Entry) -> serde_json::Result<StepBody> {
    let mut kept = serde_json::to_value(entry)?;
    let kind = kept["kind"].take();
    Ok(StepBody { kind: kind.as_str().unwrap_or_default().to_owned(), payload: kept["payload"].take() })
}

/// The step that a turn is parked with.
pub(super) fn asked(parked: &Parked) -> serde_json::Result<StepBody> {
    let payload: Value = serde_json::to_value(parked)?;
    Ok(StepBody { kind: ASKED.to_owned(), payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::lineage::Lineage;
    use crate::turn::transcript::{Channel, Piece};

    #[test]
    fn what_is_written_is_read_back() {
        let pieces = vec![Piece::Text(Channel::Token, "hm\0".to_owned()), Piece::Event("{}".to_owned())];
        let parked = Parked { epoch: 3, lineage: Lineage::of(3), pieces };
        let answered =
            StepBody { kind: crate::store::ANSWERED.to_owned(), payload: serde_json::json!({ "approved": true }) };
        let ended = Entry::Ended { is_error: true, result: "no".to_owned() };
        let bodies = [asked(&parked).unwrap(), answered, step(&Entry::Started).unwrap(), step(&ended).unwrap()];
        let mut journal = Journal::default();
        for (body, step) in bodies.into_iter().zip(1..) {
            journal.add(JournalStep { step, epoch: 3, body }).unwrap();
        }
        assert_eq!(journal.entries, [Entry::Asked, Entry::Answered { approved: true }, Entry::Started, ended]);
        assert_eq!((journal.parked, journal.last_step), (Some(parked), 4));
    }
}
