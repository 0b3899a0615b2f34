//! A tool that needs a person's approval: the turn is parked as a row, costs no slot, and goes on anywhere once somebody
//! answered. The first answer wins, by one conditional update; whoever never gets one ends when its time is up.

use std::time::Duration;

use tokio::time::sleep;

use crate::ids::ConversationId;
use crate::store::StoreError;

use super::{Turns, log_store};

/// Turns that one look-up ends at most; the rest goes with the next.
const EXPIRED_AT_ONCE: u32 = 100;

/// The longest time between two look-ups.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Turns {
    /// Answers the request for approval that the conversation's turn waits with, if it goes by this name. `false`: none
    /// waits, or somebody answered before.
    pub async fn answer(
        &self,
        conversation: ConversationId,
        request_id: Option<&str>,
        approved: bool,
    ) -> Result<bool, StoreError> {
        let answered = self.0.store.answer_turn(conversation, request_id, approved).await?;
        if answered.is_some() {
            self.wake_runner(None);
        }
        Ok(answered.is_some())
    }
}

/// Ends parked turns whose time is up, until the node stops. Every node does; each turn is ended by one of them.
pub(super) async fn expire(turns: Turns) {
    let inner = &turns.0;
    let every = (inner.config.approval_patience / 10).min(LOOK_EVERY);
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = sleep(every.mul_f64(0.75 + rand::random::<f64>() / 2.0)) => {}
        }
        match inner.store.expire_turns(EXPIRED_AT_ONCE).await {
            Ok(expired) => {
                for (turn, conversation) in expired {
                    inner.metrics.ended.with_label_values(&["expired"]).inc();
                    tracing::info!(turn.id = %turn, "turn failed: nobody answered its request for approval");
                    turns.tell_changed(conversation, turn);
                }
            }
            Err(error) => log_store("turn.expire", &error),
        }
    }
}
