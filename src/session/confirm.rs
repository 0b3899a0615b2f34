//! `confirm_tool_action`: a person's yes or no to a tool that asked.

use crate::ids::SessionId;
use crate::protocol::ErrorCode;

use super::{Client, Done, Failure};

impl Client {
    /// No tool asks yet, so there is never one to answer.
    pub(super) async fn confirm_tool_action(&mut self, session_id: SessionId) -> Result<Done, Failure> {
        self.enter(session_id).await?;
        Err(Failure {
            code: ErrorCode::NoPendingConfirmation,
            message: format!("session '{session_id}' has no tool that waits for confirmation"),
        })
    }
}
