//! `cancel`: the Stop button. Answered by the turn's own `cancelled` frame, or by nothing when nothing runs.

use crate::ids::SessionId;

use super::{Client, Done, Failure};

impl Client {
    /// Never an error for a session that is not there: clients send a stray `cancel` and expect silence.
    pub(super) async fn cancel(
        &mut self,
        request_id: Option<&str>,
        session_id: Option<SessionId>,
    ) -> Result<Done, Failure> {
        let (conversations, reader) = match session_id {
            Some(id) => match self.enter(id).await {
                Ok((session, reader)) => (vec![session.conversation], reader),
                Err(_) => (Vec::new(), None),
            },
            None => (self.known.iter().map(|known| known.session.conversation).collect(), None),
        };
        for conversation in conversations {
            self.sessions.turns.cancel(conversation, request_id).await?;
        }
        Ok(Done::Silent { reader })
    }
}
