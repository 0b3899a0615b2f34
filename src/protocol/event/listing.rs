//! Listings: a conversation's messages, a person's conversations.

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::ids::{ConversationId, MessageId, ParticipantId};

/// Part of a conversation, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Messages {
    /// The messages.
    pub messages: Vec<MessageItem>,
    /// Where the next, older, part begins; null when there is none.
    pub next_cursor: Option<String>,
    /// There is an older part.
    pub has_more: bool,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct MessageItem {
    /// The message.
    pub id: MessageId,
    /// Who spoke.
    pub direction: MessageDirection,
    /// What was said.
    pub content: MessageContent,
    /// The speaker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Participant")]
    pub from: Option<Participant>,
    /// The one spoken to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Participant")]
    pub to: Option<Participant>,
    /// When it was committed: RFC 3339, UTC, milliseconds.
    #[serde(serialize_with = "rfc3339_millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<Utc>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MessageContent {
    /// Its text.
    pub text: String,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageDirection {
    /// From the person.
    Inbound,
    /// From the agent.
    Outbound,
}

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Participant {
    /// The seat.
    pub id: ParticipantId,
    /// Person or agent.
    #[serde(rename = "type")]
    pub kind: ParticipantKind,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub name: Option<String>,
}

/// Person or agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParticipantKind {
    /// A person.
    User,
    /// An agent.
    AiAgent,
}

/// Part of a list of conversations, most recent activity first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Conversations {
    /// The conversations.
    pub conversations: Vec<ConversationItem>,
    /// Where the next part begins; null when there is none.
    pub next_cursor: Option<String>,
    /// There is a next part.
    pub has_more: bool,
}

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ConversationItem {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// Its title, given or taken from its first message.
    pub title: String,
    /// Its last activity: RFC 3339, UTC, milliseconds.
    #[serde(serialize_with = "rfc3339_millis")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: DateTime<Utc>,
    /// How many messages it has.
    pub message_count: i64,
}

fn rfc3339_millis<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
