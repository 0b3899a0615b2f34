//! The life of a turn: what may become of its row, whoever asks for it and when. Pure.
//!
//! [`Life::apply`] is the table to read. The SQLite store runs it; Postgres says the same in one statement each, and a
//! differential test holds both to it. Every time is the store's own, in microseconds since 1970: a node's clock decides
//! nothing here.
//!
//! ```text
//!             claim                 finish
//!   queued ───────────► running ───────────────► completed, failed, cancelled
//!     ▲ │ ▲   release    │  │ ▲ claim, when the lease ran out: epoch + 1
//!     │ │ └──────────────┘  │ └───┐
//!     │ │ cancel, if it     │ park
//!     │ │ never ran         │
//!     │ └──────► cancelled  ▼
//!     └────────────────── parked ──► failed (expire)
//!        answer, cancel
//! ```

use std::time::Duration;

use crate::ids::{MessageId, NodeId};

use super::{Claim, EXPIRED, Finish, Park, TurnState};

/// What decides about a turn, of all that its row holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// Where it stands.
    pub state: TurnState,
    /// How often it was claimed.
    pub epoch: i64,
    /// Which run this is; a release gives one back, and a park begins anew.
    pub attempt: i32,
    /// Who runs it.
    pub holder: Option<NodeId>,
    /// After this moment anybody may claim it.
    pub lease_until: Option<i64>,
    /// Somebody asked for it to end.
    pub cancel_requested: bool,
    /// From this moment on nobody's answer counts.
    pub parked_until: Option<i64>,
    /// The number of its last frame, once it has ended; of the last one before it was parked, once it was.
    pub last_seq: i64,
    /// The message that it ended with.
    pub answer: Option<MessageId>,
    /// The code of a failure.
    pub error_code: Option<String>,
}

/// What somebody wants to become of a turn.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// A node wants to run it.
    Claim(&'a Claim),
    /// A node says that it still runs it.
    Renew(&'a Claim),
    /// A node gives it back.
    Release(NodeId),
    /// A holder has done something that the journal must keep.
    Record {
        /// The holder.
        holder: NodeId,
        /// Its epoch.
        epoch: i64,
    },
    /// A holder has come to its end.
    Finish(&'a Finish),
    /// A holder needs a person.
    Park(&'a Park),
    /// A person has answered.
    Answer,
    /// A person has not answered.
    Expire,
    /// Somebody wants it to end.
    Cancel,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It is as it was asked for. A finish or a park that was written before is met by this, too, and changes nothing.
    Done,
    /// The node that claimed or renewed holds it.
    Held {
        /// Its epoch.
        epoch: i64,
        /// Which run this is.
        attempt: i32,
        /// Somebody asked for it to end.
        cancel_requested: bool,
    },
    /// Somebody asked for it to end, which only its holder can do, or the next one: a cancel is marked, a park is not written.
    CancelRequested,
    /// Nothing changed: the turn is not in a state for it, or is somebody else's.
    Refused,
}

impl Life {
    /// The row of a message that was just accepted, claimed at once when there is a slot for it.
    pub fn accepted(claim: Option<&Claim>, now: i64) -> Self {
        let mut life = Self {
            state: TurnState::Queued,
            epoch: 0,
            attempt: 0,
            holder: None,
            lease_until: None,
            cancel_requested: false,
            parked_until: None,
            last_seq: 0,
            answer: None,
            error_code: None,
        };
        if let Some(claim) = claim {
            life.apply(Act::Claim(claim), now);
        }
        life
    }

    /// Does what is asked for, or refuses it and changes nothing.
    pub fn apply(&mut self, act: Act<'_>, now: i64) -> Met {
        match act {
            Act::Claim(claim) if self.is_free(now) => {
                self.state = TurnState::Running;
                self.epoch += 1;
                self.attempt += 1;
                self.holder = Some(claim.holder);
                self.lease_until = Some(after(now, claim.lease));
                self.held()
            }
            // No epoch: who took a turn from itself renews it for its later run.
            Act::Renew(claim) if self.is_run_by(claim.holder) => {
                self.lease_until = Some(after(now, claim.lease));
                self.held()
            }
            Act::Release(holder) if self.is_run_by(holder) => {
                self.attempt -= 1;
                self.leave(TurnState::Queued)
            }
            Act::Record { holder, epoch } if self.is_held(holder, epoch) => Met::Done,
            Act::Finish(finish) if self.is_held(finish.holder, finish.epoch) => {
                self.last_seq = finish.last_seq;
                self.answer = finish.answer();
                self.error_code = finish.outcome.error_code().map(str::to_owned);
                self.leave(finish.outcome.state())
            }
            Act::Finish(finish) if finish.is(self.epoch, self.state, self.last_seq, self.answer) => Met::Done,
            Act::Park(park) if self.is_held(park.holder, park.epoch) => {
                if self.cancel_requested {
                    return Met::CancelRequested;
                }
                // Who was parked has shown that it makes progress: its attempts count anew.
                self.attempt = 0;
                self.last_seq = park.last_seq;
                let met = self.leave(TurnState::Parked);
                self.parked_until = Some(after(now, park.patience));
                met
            }
            Act::Park(park) if self.state == TurnState::Parked && self.epoch == park.epoch => Met::Done,
            Act::Answer if self.parked_until.is_some_and(|until| until > now) => self.leave(TurnState::Queued),
            Act::Expire if self.parked_until.is_some_and(|until| until <= now) => {
                self.error_code = Some(EXPIRED.to_owned());
                self.last_seq += 1;
                self.leave(TurnState::Failed)
            }
            Act::Cancel if self.state == TurnState::Running => {
                self.cancel_requested = true;
                Met::CancelRequested
            }
            Act::Cancel if self.state == TurnState::Queued && self.epoch == 0 => {
                self.cancel_requested = true;
                self.leave(TurnState::Cancelled)
            }
            // A run that began may have shown something: only another run knows what, keeps it, and ends the turn after it.
            Act::Cancel if !self.state.is_final() => {
                self.cancel_requested = true;
                self.leave(TurnState::Queued);
                Met::CancelRequested
            }
            Act::Claim(_)
            | Act::Renew(_)
            | Act::Release(_)
            | Act::Record { .. }
            | Act::Finish(_)
            | Act::Park(_)
            | Act::Answer
            | Act::Expire
            | Act::Cancel => Met::Refused,
        }
    }

    /// Anybody may claim it.
    pub fn is_free(&self, now: i64) -> bool {
        let over = self.lease_until.is_some_and(|until| until < now);
        self.state == TurnState::Queued || (self.state == TurnState::Running && over)
    }

    fn is_run_by(&self, holder: NodeId) -> bool {
        self.state == TurnState::Running && self.holder == Some(holder)
    }

    fn is_held(&self, holder: NodeId, epoch: i64) -> bool {
        self.is_run_by(holder) && self.epoch == epoch
    }

    fn held(&self) -> Met {
        Met::Held { epoch: self.epoch, attempt: self.attempt, cancel_requested: self.cancel_requested }
    }

    /// Nobody runs it any more, and no answer is waited for.
    fn leave(&mut self, state: TurnState) -> Met {
        self.state = state;
        (self.holder, self.lease_until, self.parked_until) = (None, None, None);
        Met::Done
    }
}

/// The moment that is this long after `now`.
fn after(now: i64, duration: Duration) -> i64 {
    now.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}
