//! The person at a device, who lets tools run or does not.

use std::time::Duration;

use tokio::time::Instant;

use super::Device;
use crate::chaos::dice::Dice;
use crate::chaos::history::{Ask, CUT, What};
use crate::chaos::plan::Fault;
use crate::protocol::Action;

/// The longest time that a person thinks before an answer, in milliseconds.
const THINKS_MS: u64 = 200;

/// What a person says to a tool that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::chaos) enum Consent {
    /// It may run.
    Yes,
    /// It may not.
    No,
    /// Nothing: somebody else will.
    Silent,
}

/// How a request stands with a tool that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// None did, or it knows that somebody has answered.
    No,
    /// It waits for the person, who thinks until then.
    Unanswered { answer_at: Instant },
    /// The answer was sent on this connection.
    Answered,
}

impl Asks {
    /// A tool asks now.
    pub(super) fn asked(dice: &mut Dice) -> Self {
        Self::Unanswered { answer_at: Instant::now() + Duration::from_millis(dice.between(0, THINKS_MS)) }
    }
}

impl Device {
    /// What it says from now on to a tool that asks in a request that is open.
    pub(in crate::chaos) fn consent(&mut self, request: &str, consent: Consent) {
        if let Some(open) = self.open.get_mut(request) {
            open.consent = consent;
        }
    }

    /// The request of which a tool waits for this device, and when its person will have thought about it.
    pub(super) fn unanswered(&self) -> Option<(String, Instant)> {
        let waits = self.open.iter().filter(|(_, open)| open.consent != Consent::Silent);
        waits
            .filter_map(|(request, open)| match open.asks {
                Asks::Unanswered { answer_at } => Some((request.clone(), answer_at)),
                Asks::No | Asks::Answered => None,
            })
            .min_by_key(|(_, at)| *at)
    }

    /// Answers a tool, unless the connection breaks first.
    pub(super) async fn answer(&mut self, request: &str) {
        let (Some(session), Some(open)) = (&self.session, self.open.get_mut(request)) else { return };
        if self.world.breaks(Fault::ClientCut) && self.dice.one_in(4) {
            if self.dice.one_in(2) {
                // As after a reload: it knows nothing any more, and must be asked again.
                (open.seq, open.asks) = (0, Asks::No);
            }
            return self.lose(CUT);
        }
        let Some(link) = &mut self.link else { return };
        open.asks = Asks::Answered;
        let approved = open.consent == Consent::Yes;
        let ask = Ask::Confirm { approved };
        self.world.history.add(What::Asked { reader: self.reader, request: request.to_owned(), ask });
        // A connection that breaks here shows with the next read.
        link.send(request, &Action::ConfirmToolAction { session_id: session.id, approved }).await.ok();
    }

    /// The connection was another one: nobody knows whether an answer arrived.
    pub(super) fn unheard(&mut self) {
        for open in self.open.values_mut().filter(|open| open.asks == Asks::Answered) {
            open.asks = Asks::Unanswered { answer_at: Instant::now() };
        }
    }
}
