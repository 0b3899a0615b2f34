//! The synchronous answers to actions, and what each carries.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::ConversationId;

use super::{Attached, Conversations, Messages, SessionCreated, SessionSnapshot};

/// The answer to a ping.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Pong<'a> {
    /// The ping's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    pub request_id: Option<&'a str>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The same, nested.
    pub data: PongData,
}

/// The nested copy of [`Pong`].
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PongData {
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// The answer to an action.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImmediateResponse<'a> {
    /// The action's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    pub request_id: Option<&'a str>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// 200, or 202 for a message that was accepted.
    #[schemars(extend("enum" = [200, 202]))]
    pub status: u16,
    /// For a person.
    pub message: &'a str,
    /// The answer itself.
    pub data: ResponseData,
}

/// What an answer carries; the action tells which.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ResponseData {
    /// `get_session`.
    Session(SessionSnapshot),
    /// `attach_session`.
    Attached(Box<Attached>),
    /// `create_conversation_session`.
    SessionCreated(SessionCreated),
    /// `get_conversation_messages`.
    Messages(Messages),
    /// `list_conversations`.
    Conversations(Conversations),
    /// `rename_conversation`.
    Renamed(Renamed),
    /// `confirm_tool_action`.
    ToolConfirmation(ToolConfirmation),
    /// `send_message`, and whatever has nothing to add.
    Empty(Empty),
}

/// No members at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Empty {}

/// A conversation that got its title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Renamed {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The title, trimmed.
    pub title: String,
}

/// A tool that was approved or rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ToolConfirmation {
    /// Approved.
    pub approved: bool,
}
