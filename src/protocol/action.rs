//! Everything a client may ask, one variant per `action`, each already checked as far as that needs no store.
//!
//! The types serialise to what they were read from, which is how the schemas and the reader are held together.

mod create_conversation_session;
mod send_message;
mod submit_interaction;

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::{ConversationId, SessionId};

use super::Refusal;
use super::fields::Fields;

pub use create_conversation_session::{AuthContext, CreateConversationSession};
pub use send_message::SendMessage;
pub use submit_interaction::{InteractionAnswer, SubmitInteraction};

/// How many rows a listing has when the client names no limit.
pub const DEFAULT_PAGE: u32 = 50;
/// How many rows a listing has at most; a larger limit is taken as this.
pub const MAX_PAGE: u32 = 200;
/// How long a title may be once trimmed, in characters.
pub const MAX_TITLE_CHARS: usize = 60;

/// Longest cursor, in bytes; the server's own are far shorter.
const MAX_CURSOR_BYTES: usize = 512;
/// Longest search text, in bytes.
const MAX_QUERY_BYTES: usize = 512;
/// Longest one-time password, in bytes.
const MAX_OTP_BYTES: usize = 64;

/// The actions that make no sense without a `requestId`: they start a turn or name one that waits for a person.
pub(super) const NEED_REQUEST_ID: [&str; 4] =
    ["send_message", "confirm_tool_action", "verify_otp", "submit_interaction"];

/// One thing a client asks. Fields that an action does not have are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Action {
    /// Asks for a `pong`.
    Ping,
    /// Starts a session, in a new conversation or in an earlier one.
    CreateConversationSession(CreateConversationSession),
    /// Asks how a session stands.
    GetSession {
        /// The session.
        session_id: SessionId,
    },
    /// Says something to the agent: starts a turn.
    SendMessage(SendMessage),
    /// Asks for messages of the session's conversation, newest first.
    GetConversationMessages {
        /// The session.
        session_id: SessionId,
        /// At most so many, 1 to 200; what lies outside is taken as the nearer end.
        #[schemars(default = "default_page", range(min = 1, max = 200))]
        limit: u32,
        /// The `nextCursor` of an earlier answer; `before` is another name for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_CURSOR_BYTES))]
        cursor: Option<String>,
    },
    /// Asks for the caller's conversations, most recent activity first.
    ListConversations {
        /// At most so many, 1 to 200; what lies outside is taken as the nearer end.
        #[schemars(default = "default_page", range(min = 1, max = 200))]
        limit: u32,
        /// The `nextCursor` of an earlier answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_CURSOR_BYTES))]
        cursor: Option<String>,
        /// Only conversations that contain this.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = MAX_QUERY_BYTES))]
        query: Option<String>,
    },
    /// Titles a conversation.
    RenameConversation {
        /// The conversation.
        conversation_id: ConversationId,
        /// The title, trimmed.
        #[schemars(length(min = 1))]
        title: String,
    },
    /// Stops the turn that the `requestId` names. Never answered with an error: clients send it to be sure.
    Cancel {
        /// The session; without one that can exist, nothing is done.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<SessionId>,
    },
    /// Lets the waiting tool of the turn that the `requestId` names act, or not.
    ConfirmToolAction {
        /// The session.
        session_id: SessionId,
        /// The tool may act.
        approved: bool,
    },
    /// Shows a one-time password to the turn that the `requestId` names.
    VerifyOtp {
        /// The session.
        session_id: SessionId,
        /// The password.
        #[schemars(length(min = 1, max = MAX_OTP_BYTES))]
        code: String,
    },
    /// Gives the turn that the `requestId` names the input it waits for.
    SubmitInteraction(SubmitInteraction),
    /// Comes back to a session's turn and asks for what was missed. Only for `stream_resume`.
    AttachSession {
        /// The session.
        session_id: SessionId,
        /// The turn's request; absent, the newest turn of the conversation.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(length(max = super::MAX_REQUEST_ID_BYTES))]
        turn_request_id: Option<String>,
        /// The number of the last frame the client has; 0 asks for all.
        #[schemars(default)]
        after_seq: u64,
    },
}

fn default_page() -> u32 {
    DEFAULT_PAGE
}

impl Action {
    /// Reads the fields of an action. `requestId` is the caller's business.
    pub(super) fn read(name: &str, fields: &mut Fields) -> Result<Self, Refusal> {
        match name {
            "ping" => Ok(Self::Ping),
            "create_conversation_session" => {
                CreateConversationSession::read(fields).map(Self::CreateConversationSession)
            }
            "get_session" => Ok(Self::GetSession { session_id: fields.session_id()? }),
            "send_message" => SendMessage::read(fields).map(Self::SendMessage),
            "get_conversation_messages" => {
                let session_id = fields.session_id()?;
                let limit = fields.limit()?;
                let cursor = match fields.optional_text("cursor", MAX_CURSOR_BYTES)? {
                    None => fields.optional_text("before", MAX_CURSOR_BYTES)?,
                    cursor => cursor,
                };
                Ok(Self::GetConversationMessages { session_id, limit, cursor })
            }
            "list_conversations" => Ok(Self::ListConversations {
                limit: fields.limit()?,
                cursor: fields.optional_text("cursor", MAX_CURSOR_BYTES)?,
                query: fields.optional_text("query", MAX_QUERY_BYTES)?,
            }),
            "rename_conversation" => {
                Ok(Self::RenameConversation { conversation_id: fields.conversation_id()?, title: fields.title()? })
            }
            "cancel" => Ok(Self::Cancel { session_id: fields.session_id().ok() }),
            "confirm_tool_action" => {
                Ok(Self::ConfirmToolAction { session_id: fields.session_id()?, approved: fields.flag("approved")? })
            }
            "verify_otp" => {
                Ok(Self::VerifyOtp { session_id: fields.session_id()?, code: fields.text("code", MAX_OTP_BYTES)? })
            }
            "submit_interaction" => SubmitInteraction::read(fields).map(Self::SubmitInteraction),
            "attach_session" => Ok(Self::AttachSession {
                session_id: fields.session_id()?,
                turn_request_id: fields.optional_text("turnRequestId", super::MAX_REQUEST_ID_BYTES)?,
                after_seq: fields.position("afterSeq")?,
            }),
            unknown => Err(Refusal::unsupported(unknown)),
        }
    }
}
