//! What a client is told about its session.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ids::{AgentId, ConversationId, ParticipantId, SessionId};

/// The six ids of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SessionCreated {
    /// The session.
    pub session_id: SessionId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// The agent that answers.
    pub agent_id: AgentId,
    /// What people call it.
    pub agent_name: String,
    /// The person's seat.
    pub user_participant_id: ParticipantId,
    /// The agent's seat.
    pub agent_participant_id: ParticipantId,
}

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SessionSnapshot {
    /// Its six ids.
    #[serde(flatten)]
    pub session: SessionCreated,
    /// The conversation, once more.
    pub thread_id: ConversationId,
    /// Whether anything happens in it.
    pub status: SessionStatus,
}

impl SessionSnapshot {
    /// A session in this state.
    pub fn new(session: SessionCreated, status: SessionStatus) -> Self {
        Self { thread_id: session.conversation_id, session, status }
    }
}

/// Whether anything happens in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// Lately.
    Active,
    /// Not lately.
    Idle,
    /// Nothing will any more.
    Ended,
}

/// A session that a client came back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Attached {
    /// Its six ids.
    #[serde(flatten)]
    pub session: SessionCreated,
    /// The turn that was asked for, or the newest; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "AttachedTurn")]
    pub turn: Option<AttachedTurn>,
    /// What follows this answer.
    pub verdict: Verdict,
}

/// The turn that a client attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct AttachedTurn {
    /// The turn's request.
    pub request_id: String,
    /// Where it stands.
    pub state: AttachedState,
    /// The epoch of its frames.
    pub epoch: i64,
    /// The number of its newest frame.
    pub seq: u64,
}

/// Where an attached turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttachedState {
    /// Waits for a free slot.
    Queued,
    /// Is being answered.
    Running,
    /// Waits for a person.
    Parked,
    /// Ended with an answer.
    Completed,
    /// Ended with an error.
    Failed,
    /// Was stopped.
    Cancelled,
}

/// What a client that attached is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Exactly the frames after the position it named.
    Delta,
    /// The whole text so far: what it has must be thrown away.
    Snapshot,
    /// Nothing: the frames exist no more, the messages tell the rest.
    Gone,
}
