//! What a turn did, kept so that a takeover repeats no side effect, and what it waits for while it is parked.

use std::time::Duration;

use crate::ids::{NodeId, TurnId};

/// The kind of the step that holds a person's answer; its payload is `{"approved": bool}`.
pub const ANSWERED: &str = "answered";

/// The error code of a turn that nobody answered in time. Kept, and not shown to a client as it is.
pub const EXPIRED: &str = "CONFIRMATION_EXPIRED";

/// What a step says. The store looks into neither.
#[derive(Clone, Debug, PartialEq)]
pub struct StepBody {
    /// What it is.
    pub kind: String,
    /// The rest.
    pub payload: serde_json::Value,
}

/// Steps to write.
#[derive(Clone, Debug)]
pub struct NewSteps {
    /// The turn.
    pub turn: TurnId,
    /// The holder's epoch: the write counts only while it is the newest.
    pub epoch: i64,
    /// The holder.
    pub holder: NodeId,
    /// The number of the first of them; the others follow without a gap.
    pub first: i32,
    /// What they say.
    pub steps: Vec<StepBody>,
}

/// A step of a turn's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalStep {
    /// Its number: 1, 2, 3, with no number left out.
    pub step: i32,
    /// The epoch of the holder that wrote it; of an answer, that of the holder that had asked.
    pub epoch: i64,
    /// What it says.
    pub body: StepBody,
}

/// A turn to park.
#[derive(Clone, Debug)]
pub struct Park {
    /// The turn.
    pub turn: TurnId,
    /// The holder's epoch.
    pub epoch: i64,
    /// The holder.
    pub holder: NodeId,
    /// The number of the step.
    pub step: i32,
    /// What the journal keeps of it.
    pub body: StepBody,
    /// The sequence number of the turn's newest frame.
    pub last_seq: i64,
    /// How long a person has to answer, by the store's clock.
    pub patience: Duration,
}

/// What became of a turn that was to be parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parking {
    /// It waits for a person.
    Parked,
    /// Nothing was written: somebody asked for it to end.
    CancelRequested,
    /// Refused: another holder has a newer epoch, or the turn has ended.
    Fenced,
}
