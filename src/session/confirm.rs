//! `confirm_tool_action`: a person's yes or no to a tool that asked.

use crate::ids::SessionId;
use crate::protocol::{ErrorCode, ResponseData, ToolConfirmation};

use super::{Client, Done, Failure};

impl Client {
    /// Answered when the answer is committed; the turn then goes on by itself, on whichever node has a free slot.
    pub(super) async fn confirm_tool_action(
        &mut self,
        request_id: Option<&str>,
        session_id: SessionId,
        approved: bool,
    ) -> Result<Done, Failure> {
        let (session, reader) = self.enter(session_id).await?;
        if !self.sessions.turns.answer(session.conversation, request_id, approved).await? {
            return Err(Failure {
                code: ErrorCode::NoPendingConfirmation,
                message: "no action waits for confirmation under this request; it may have been answered already"
                    .to_owned(),
            });
        }
        let message = if approved { "Tool action approved" } else { "Tool action rejected" };
        let data = ResponseData::ToolConfirmation(ToolConfirmation { approved });
        Ok(Done::Response { status: 200, message, data, reader })
    }
}
