//! Ends a turn on request, wherever it runs.

use crate::bus::{Envelope, Kind, Outgoing, Subject};
use crate::ids::{ConversationId, TurnId};
use crate::store::{Cancellation, StoreError};

use super::Turns;
use super::peer::HolderRequest;

impl Turns {
    /// Asks for the conversation's active turn to end, if it goes by this name (any, when there is none). The `cancelled`
    /// frame comes through the turn's stream; when nothing runs, nothing happens.
    ///
    /// The store is marked as well as the holder told, so that a holder which the bus cannot reach learns it with its next
    /// renewal.
    pub async fn cancel(&self, conversation: ConversationId, request_id: Option<&str>) -> Result<(), StoreError> {
        let inner = &self.0;
        if inner.holdings.cancel_request(conversation, request_id) {
            return Ok(());
        }
        match inner.store.cancel_turn(conversation, request_id).await? {
            Cancellation::NothingRuns => {}
            Cancellation::Cancelled { turn } => self.tell_changed(conversation, turn),
            Cancellation::Queued { .. } => self.wake_runner(None),
            Cancellation::Requested { turn } => {
                let message = Outgoing { payload: HolderRequest::Cancel.encode(), traceparent: None };
                if let Err(error) = inner.bus.request(&Subject::Turn(turn), message).await {
                    tracing::warn!(turn.id = %turn, %error, "holder not told to stop; it learns it with its next renewal");
                }
            }
        }
        Ok(())
    }

    /// A turn that nobody runs has ended: whoever waits for it should look at the store.
    pub(super) fn tell_changed(&self, conversation: ConversationId, turn: TurnId) {
        let envelope =
            Envelope { conversation, turn, epoch: 0, seq: 0, kind: Kind::Changed, payload: bytes::Bytes::new() };
        let message = Outgoing { payload: envelope.encode(), traceparent: None };
        self.0.bus.publish(&Subject::Conversation(conversation), message);
        self.0.streams.receive(envelope);
    }
}
