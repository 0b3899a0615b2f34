//! The turns that this node runs, and what other nodes may ask of them: attach to the stream, end the turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::{Envelope, Incoming, Kind, Outgoing, Subject};
use crate::ids::{ConversationId, TurnId};
use crate::store::HeldTurn;

use super::Turns;
use super::lease::Lease;
use super::lineage::Attached;
use super::peer::{AttachReply, HolderRequest, MAX_REPLY_BYTES};
use super::stream::{About, TurnStream};

/// The turns that run here.
#[derive(Clone, Default)]
pub(super) struct Holdings(Arc<Mutex<HashMap<TurnId, Held>>>);

struct Held {
    about: About,
    epoch: i64,
    signals: Signals,
    /// The run's own, and of no other run.
    lease: Arc<Lease>,
}

/// What can end a run from outside.
#[derive(Clone, Default)]
pub(super) struct Signals {
    /// Somebody pressed Stop.
    pub cancelled: CancellationToken,
    /// Another node has the turn.
    pub lost: CancellationToken,
    /// This node gives the turn back.
    pub abandoned: CancellationToken,
}

/// One turn's entry; it goes when this is dropped, however the run ended.
pub(super) struct Holding {
    holdings: Holdings,
    turn: TurnId,
    pub signals: Signals,
    pub lease: Arc<Lease>,
}

impl Holdings {
    /// Enters a turn. A run of it that is still here has lost it: its lease ran out before it knew.
    pub(super) fn hold(&self, about: &About, epoch: i64, lease: Lease) -> Holding {
        let (signals, lease) = (Signals::default(), Arc::new(lease));
        let held = Held { about: about.clone(), epoch, signals: signals.clone(), lease: lease.clone() };
        let before = self.lock().insert(about.turn, held);
        if let Some(before) = before {
            before.signals.lost.cancel();
        }
        Holding { holdings: self.clone(), turn: about.turn, signals, lease }
    }

    /// This turn runs here.
    pub(super) fn holds(&self, turn: TurnId) -> bool {
        self.lock().contains_key(&turn)
    }

    /// Every turn that runs here, and under which epoch.
    pub(super) fn turns(&self) -> Vec<(TurnId, i64)> {
        self.lock().iter().map(|(turn, held)| (*turn, held.epoch)).collect()
    }

    /// The store renewed a turn's lease, asked at this time. It counts for the run that the store knows: an earlier one has
    /// lost the turn to a claim that this node made and has not heard of yet, or will not.
    pub(super) fn renewed(&self, renewed: &HeldTurn, asked_at: Instant) {
        self.lose_before(renewed.id, renewed.epoch);
        if let Some(held) = self.lock().get(&renewed.id).filter(|held| held.epoch == renewed.epoch) {
            held.lease.renewed(asked_at);
            if renewed.cancel_requested {
                held.signals.cancelled.cancel();
            }
        }
    }

    /// Ends the conversation's turn, if it runs here under this name (any, when there is none). Says whether it did.
    pub(super) fn cancel_request(&self, conversation: ConversationId, request_id: Option<&str>) -> bool {
        let held = self.lock();
        let found = held.values().find(|held| {
            held.about.conversation == conversation
                && request_id.is_none_or(|request_id| *held.about.request_id == *request_id)
        });
        found.inspect(|held| held.signals.cancelled.cancel()).is_some()
    }

    pub(super) fn cancel(&self, turn: TurnId) {
        if let Some(held) = self.lock().get(&turn) {
            held.signals.cancelled.cancel();
        }
    }

    /// The store knows of a run under this epoch; an earlier one that is here has lost the turn.
    pub(super) fn lose_before(&self, turn: TurnId, epoch: i64) {
        if let Some(held) = self.lock().get(&turn).filter(|held| held.epoch < epoch) {
            held.signals.lost.cancel();
        }
    }

    pub(super) fn abandon_all(&self) {
        for held in self.lock().values() {
            held.signals.abandoned.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TurnId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holding {
    /// Takes the entry away: no signal arrives from here on. The entry of a later run on this node stays.
    pub(super) fn leave(&self) {
        let mut held = self.holdings.lock();
        if held.get(&self.turn).is_some_and(|held| Arc::ptr_eq(&held.lease, &self.lease)) {
            held.remove(&self.turn);
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Announces the run and answers other nodes until `done`. Bus trouble only makes the turn harder to reach from elsewhere.
pub(super) async fn serve(
    turns: Turns,
    stream: Arc<TurnStream>,
    (epoch, lease): (i64, Arc<Lease>),
    traceparent: Option<String>,
    done: CancellationToken,
) {
    let about = &stream.about;
    let subject = Subject::Turn(about.turn);
    let subscribed = tokio::select! {
        () = done.cancelled() => return,
        subscribed = turns.0.bus.subscribe(&subject) => subscribed,
    };
    let mut requests = match subscribed {
        Ok(requests) => requests,
        Err(error) => {
            tracing::warn!(turn.id = %about.turn, %error, "turn cannot be reached from other nodes");
            return;
        }
    };
    let note = Envelope {
        conversation: about.conversation,
        turn: about.turn,
        epoch,
        seq: 0,
        kind: Kind::Started,
        payload: Bytes::new(),
    };
    let message = Outgoing { payload: note.encode(), traceparent };
    turns.0.bus.publish(&Subject::Conversation(about.conversation), message);
    loop {
        let request = tokio::select! {
            () = done.cancelled() => return,
            request = requests.next() => request,
        };
        let Some(request) = request else { return };
        if !lease.is_valid() {
            // Another node may hold the turn by now, and hears this request, too: it shall answer.
            continue;
        }
        answer(&turns, &stream, request);
    }
}

fn answer(turns: &Turns, stream: &TurnStream, request: Incoming) {
    let answer = match HolderRequest::decode(&request.payload) {
        Some(HolderRequest::Attach { epoch, after }) => stream.attach(epoch, after, MAX_REPLY_BYTES),
        Some(HolderRequest::Cancel) => {
            turns.0.holdings.cancel(stream.about.turn);
            let (epoch, after) = stream.position();
            Attached { epoch, lineage: stream.lineage(), after, pieces: Vec::new(), has_more: false }
        }
        None => {
            turns.0.metrics.unreadable_envelopes.inc();
            return;
        }
    };
    if let Some(reply) = request.reply {
        reply.send(AttachReply::from(answer).encode());
    }
}

impl Holding {
    /// The turn is this run's for certain, and it may speak.
    pub(super) fn may_speak(&self) -> bool {
        // In this order: a renewal that finds the turn lost says so before it counts for any other.
        self.lease.is_valid() && !self.signals.lost.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::SessionId;

    const LEASE: Duration = Duration::from_secs(9);

    fn about() -> About {
        let (turn, conversation, session) = (TurnId::new(), ConversationId::new(), SessionId::new());
        About { turn, conversation, session, request_id: "r1".into() }
    }

    fn hold(holdings: &Holdings, about: &About, epoch: i64) -> Holding {
        holdings.hold(about, epoch, Lease::new(LEASE, Instant::now()))
    }

    fn renewed(about: &About, epoch: i64) -> HeldTurn {
        HeldTurn { id: about.turn, epoch, cancel_requested: false }
    }

    #[test]
    fn a_turn_that_a_node_takes_from_itself_is_lost_to_the_old_run_and_kept_by_the_new_one() {
        let (holdings, about) = (Holdings::default(), about());
        let (old, new) = (hold(&holdings, &about, 1), hold(&holdings, &about, 2));
        assert!(old.signals.lost.is_cancelled() && !new.signals.lost.is_cancelled());
        holdings.lose_before(about.turn, 2);
        assert!(!new.signals.lost.is_cancelled());
        drop(old);
        assert!(holdings.holds(about.turn));
        drop(new);
        assert!(!holdings.holds(about.turn));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_for_the_very_run_that_the_store_renewed() {
        let (holdings, one, other) = (Holdings::default(), about(), about());
        let (mine, theirs) = (hold(&holdings, &one, 1), hold(&holdings, &other, 1));
        tokio::time::advance(LEASE * 2 / 3).await;
        assert!(!mine.may_speak() && !theirs.may_speak());
        holdings.renewed(&renewed(&one, 1), Instant::now());
        assert!(mine.may_speak());
        assert!(!theirs.may_speak(), "another turn's renewal proves nothing");
        holdings.renewed(&renewed(&other, 2), Instant::now());
        assert!(theirs.signals.lost.is_cancelled(), "a claim that this node has not heard of replaced the run");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_the_moment_it_was_asked_for() {
        let (holdings, about) = (Holdings::default(), about());
        let run = hold(&holdings, &about, 1);
        let asked_at = Instant::now();
        tokio::time::advance(LEASE * 2 / 3).await;
        holdings.renewed(&renewed(&about, 1), asked_at);
        assert!(!run.may_speak(), "the answer took as long as a holder may speak");
        holdings.lose_before(about.turn, 2);
        holdings.renewed(&renewed(&about, 1), Instant::now());
        assert!(!run.may_speak(), "what is lost is lost");
    }
}
