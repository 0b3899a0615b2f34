//! `send_message`: the action that starts a turn.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::SessionId;
use crate::protocol::Refusal;
use crate::protocol::fields::Fields;

/// Longest name of a model, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// A message to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SendMessage {
    /// The session.
    pub session_id: SessionId,
    /// What is said; never blank. Its length is bounded by what a frame may have.
    #[schemars(length(min = 1))]
    pub message: String,
    /// The model to ask instead of the agent's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_MODEL_BYTES))]
    pub model: Option<String>,
}

impl SendMessage {
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Refusal> {
        Ok(Self {
            session_id: fields.session_id()?,
            message: fields.text("message", usize::MAX)?,
            model: fields.optional_text("model", MAX_MODEL_BYTES)?,
        })
    }
}
