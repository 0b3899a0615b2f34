//! Accepts a message: committed first, with its turn, and only then answered.

use std::sync::Arc;

use tokio::time::Instant;

use crate::ids::{MessageId, TurnId};
use crate::store::{Acceptance, ClaimedTurn, NewTurn, Session, StoreError};

use super::follow::Follow;
use super::inbox::{Inbox, Reader, View};
use super::stream::About;
use super::{Turns, run};

/// A message that a client sent.
pub struct Incoming {
    /// The client's name for the request.
    pub request_id: String,
    /// What was said.
    pub text: String,
    /// The model the client asked for.
    pub model: Option<String>,
    /// The trace that the message belongs to.
    pub traceparent: Option<String>,
}

/// Why a message was not accepted. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Another turn of the conversation is active.
    #[error("another turn of the conversation is active")]
    InProgress,
    /// Neither a gateway nor the demo is configured.
    #[error("no model is configured")]
    NoModel,
    /// The store failed. The message may be sent again under the same name.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Turns {
    /// Accepts a message and returns the reader of its turn. When this returns, the message is committed.
    ///
    /// A message that was accepted before under the same name gives a reader of that turn; one that may have shown text
    /// already gets only how it ends, unless its frames are numbered.
    ///
    /// Goes on when the caller is dropped: a client that hangs up cannot leave a turn claimed and not running.
    pub async fn accept(
        &self,
        session: Arc<Session>,
        incoming: Incoming,
        inbox: Arc<Inbox>,
        view: View,
    ) -> Result<Reader, AcceptError> {
        let turns = self.clone();
        let accepting = async move { turns.try_accept(&session, incoming, &inbox, view).await };
        let accepted = match self.0.running.spawn(accepting).await {
            Ok(accepted) => accepted,
            Err(panic) => Err(AcceptError::Store(StoreError::Internal(panic.to_string()))),
        };
        let result = match &accepted {
            Ok((result, _)) => result,
            Err(AcceptError::InProgress) => "busy",
            Err(AcceptError::NoModel) => "unavailable",
            Err(AcceptError::Store(_)) => "failed",
        };
        self.0.metrics.accepted.with_label_values(&[result]).inc();
        accepted.map(|(_, reader)| reader)
    }

    async fn try_accept(
        &self,
        session: &Session,
        incoming: Incoming,
        inbox: &Arc<Inbox>,
        view: View,
    ) -> Result<(&'static str, Reader), AcceptError> {
        let inner = &self.0;
        if inner.agent.is_none() {
            let active = inner.store.active_turn(session.conversation).await?;
            return Err(active.map_or(AcceptError::NoModel, |_| AcceptError::InProgress));
        }
        let slot = inner.slots.take();
        let new = NewTurn {
            turn: TurnId::new(),
            message: MessageId::new(),
            session: session.id,
            conversation: session.conversation,
            agent: session.agent,
            user_participant: session.user_participant,
            request_id: incoming.request_id,
            text: incoming.text,
            model: incoming.model,
            traceparent: incoming.traceparent,
            claim: slot.as_ref().map(|_| self.claim()),
        };
        let asked_at = Instant::now();
        let timer = inner.metrics.overhead.with_label_values(&["accept"]).start_timer();
        let acceptance = inner.store.accept_turn(&new).await?;
        timer.observe_duration();
        let epoch = match acceptance {
            Acceptance::Accepted { epoch } => epoch,
            Acceptance::Duplicate(turn) => return Ok(("duplicate", self.reader(&turn, inbox, view))),
            Acceptance::Busy => return Err(AcceptError::InProgress),
        };
        let about = About {
            turn: new.turn,
            conversation: new.conversation,
            session: new.session,
            request_id: new.request_id.as_str().into(),
        };
        let stream = inner.streams.open(&about, Some(inbox));
        let reader = Reader::whole(stream, inbox.clone(), view);
        match slot {
            Some(slot) => {
                run::spawn(self, claimed(new, epoch), asked_at, slot);
                Ok(("claimed", reader))
            }
            None => {
                inner.streams.follow(&about, Follow::Patiently);
                self.wake_runner(new.traceparent);
                Ok(("queued", reader))
            }
        }
    }
}

/// What the store would return for a turn that was claimed with its acceptance.
fn claimed(new: NewTurn, epoch: i64) -> ClaimedTurn {
    ClaimedTurn {
        id: new.turn,
        conversation: new.conversation,
        session: new.session,
        agent: new.agent,
        request_id: new.request_id,
        model: new.model,
        traceparent: new.traceparent,
        epoch,
        attempt: 1,
        cancel_requested: false,
    }
}
