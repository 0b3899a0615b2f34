//! What the store takes and gives.

use chrono::{DateTime, Utc};

use crate::ids::{AgentId, ConversationId, MessageId, NodeId, ParticipantId, SessionId, TurnId};

/// Who owns a conversation: a user of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The organisation.
    pub org: String,
    /// The user within it.
    pub user: String,
}

/// A session to make. The caller chooses every id, so that a retry makes nothing twice.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session.
    pub session: SessionId,
    /// The conversation to go on with; `None` starts one.
    pub resume: Option<ConversationId>,
    /// The id of the conversation when a new one starts.
    pub conversation: ConversationId,
    /// Who owns it.
    pub owner: Owner,
    /// The agent.
    pub agent: AgentId,
    /// The agent's name now.
    pub agent_name: String,
    /// The person, when the conversation is new; a resumed one keeps its participants.
    pub user_participant: ParticipantId,
    /// The agent's seat, when the conversation is new.
    pub agent_participant: ParticipantId,
    /// The person's name.
    pub user_name: String,
    /// The person's address.
    pub user_email: Option<String>,
    /// What the client says of its browser.
    pub browser_fingerprint: Option<String>,
    /// Whatever the client attached, JSON.
    pub metadata: serde_json::Value,
    /// The capabilities that the client declared.
    pub supports: Vec<String>,
}

/// One client's seat in a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Who owns the conversation.
    pub owner: Owner,
    /// The agent.
    pub agent: AgentId,
    /// The agent's name when the session was made.
    pub agent_name: String,
    /// The person's seat.
    pub user_participant: ParticipantId,
    /// The agent's seat.
    pub agent_participant: ParticipantId,
    /// The capabilities that the client declared.
    pub supports: Vec<String>,
    /// The conversation's last activity, or when the session was made, whichever is later.
    pub last_active_at: DateTime<Utc>,
    /// The store's clock when this was read.
    pub read_at: DateTime<Utc>,
}

/// Part of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Rows follow after these.
    pub has_more: bool,
}

/// Which conversations to list.
#[derive(Clone, Debug, Default)]
pub struct ConversationQuery {
    /// At most so many.
    pub limit: u32,
    /// Only what follows this place.
    pub after: Option<ConversationCursor>,
    /// Only those whose title, or whose first message from the person, contains this, whatever its case.
    pub text: Option<String>,
}

/// A place in a list of conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationCursor {
    /// The row's last activity, to the microsecond.
    pub updated_at: DateTime<Utc>,
    /// The row.
    pub id: ConversationId,
}

/// A row of a list of conversations.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationSummary {
    /// Its id.
    pub id: ConversationId,
    /// The title given to it, else the beginning (60 characters) of its first message from the person.
    pub title: String,
    /// Its last activity.
    pub updated_at: DateTime<Utc>,
    /// How many messages it has.
    pub message_count: i64,
}

/// Who spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The person.
    Inbound,
    /// The agent.
    Outbound,
}

impl Direction {
    /// As it is written in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// Reads what [`Direction::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Inbound, Self::Outbound].into_iter().find(|direction| direction.as_str() == text)
    }
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its place in the conversation: 1, 2, 3, with no number left out.
    pub seq: i64,
    /// Who spoke.
    pub direction: Direction,
    /// What was said.
    pub text: String,
    /// The speaker's seat.
    pub participant: ParticipantId,
    /// The speaker's name.
    pub participant_name: String,
    /// When it was committed.
    pub created_at: DateTime<Utc>,
}

/// A message to accept.
#[derive(Clone, Debug)]
pub struct NewTurn {
    /// The turn.
    pub turn: TurnId,
    /// The person's message.
    pub message: MessageId,
    /// The session it came by.
    pub session: SessionId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The agent that answers.
    pub agent: AgentId,
    /// The person's seat.
    pub user_participant: ParticipantId,
    /// The client's name for the request; with the session it makes the turn unique.
    pub request_id: String,
    /// What was said.
    pub text: String,
    /// The model the client asked for.
    pub model: Option<String>,
    /// The trace that the turn belongs to.
    pub traceparent: Option<String>,
    /// Claims it at once for a node with a free slot.
    pub claim: Option<super::Claim>,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Acceptance {
    /// Committed. `epoch` is 1 when it was claimed at once, 0 when it is queued.
    Accepted {
        /// The turn's epoch.
        epoch: i64,
    },
    /// The same (session, request id) was accepted before; nothing was written.
    Duplicate(Box<Turn>),
    /// Another turn of the conversation is active; nothing was written.
    Busy,
}

/// A turn that this node now holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedTurn {
    /// The turn.
    pub id: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The session that sent the message.
    pub session: SessionId,
    /// The agent that answers.
    pub agent: AgentId,
    /// The client's name for the request.
    pub request_id: String,
    /// The model the client asked for.
    pub model: Option<String>,
    /// The trace that the turn belongs to.
    pub traceparent: Option<String>,
    /// This holder's epoch.
    pub epoch: i64,
    /// 1 for the first run.
    pub attempt: i32,
    /// Somebody asked for it to end before it was claimed.
    pub cancel_requested: bool,
}

/// A turn whose lease was extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTurn {
    /// The turn.
    pub id: TurnId,
    /// Its epoch.
    pub epoch: i64,
    /// Somebody asked for it to end.
    pub cancel_requested: bool,
}

/// What a request to cancel met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// No active turn goes by that name.
    NothingRuns,
    /// Nobody had begun it, and it is cancelled now.
    Cancelled {
        /// The turn.
        turn: TurnId,
    },
    /// Nobody runs it, but somebody did: it is queued for a run that ends it.
    Queued {
        /// The turn.
        turn: TurnId,
    },
    /// Its holder must stop it; marked, in case the holder cannot be told otherwise.
    Requested {
        /// The turn.
        turn: TurnId,
    },
}

impl Cancellation {
    /// What it met, by the state that it left the turn in.
    pub(super) fn met(turn: TurnId, state: TurnState) -> Self {
        match state {
            TurnState::Running => Self::Requested { turn },
            TurnState::Queued | TurnState::Parked => Self::Queued { turn },
            TurnState::Completed | TurnState::Failed | TurnState::Cancelled => Self::Cancelled { turn },
        }
    }
}

/// How a turn ends.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The turn.
    pub turn: TurnId,
    /// The holder's epoch: the write counts only while it is the newest.
    pub epoch: i64,
    /// The holder.
    pub holder: NodeId,
    /// How it went.
    pub outcome: Outcome,
    /// The answer, or what there was of it; becomes a message unless empty.
    pub text: String,
    /// The id of that message.
    pub message: MessageId,
    /// What the model calls used.
    pub usage: TurnUsage,
    /// The sequence number of the turn's last frame.
    pub last_seq: i64,
}

impl Finish {
    /// The message that the turn ends with, if it has something to say.
    pub(super) fn answer(&self) -> Option<MessageId> {
        (!self.text.is_empty()).then_some(self.message)
    }

    /// A turn that is like this has ended exactly so: this very ending was written before.
    pub(super) fn is(&self, epoch: i64, state: TurnState, last_seq: i64, answer: Option<MessageId>) -> bool {
        (epoch, state, last_seq, answer) == (self.epoch, self.outcome.state(), self.last_seq, self.answer())
    }
}

/// The three ends of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has its answer.
    Completed,
    /// It failed; the stable code that the client sees.
    Failed(String),
    /// Somebody stopped it.
    Cancelled,
}

impl Outcome {
    /// The state that the turn ends in.
    pub fn state(&self) -> TurnState {
        match self {
            Self::Completed => TurnState::Completed,
            Self::Failed(_) => TurnState::Failed,
            Self::Cancelled => TurnState::Cancelled,
        }
    }

    /// The code of a failure.
    pub fn error_code(&self) -> Option<&str> {
        match self {
            Self::Failed(code) => Some(code),
            Self::Completed | Self::Cancelled => None,
        }
    }
}

/// What the model calls of a turn used, as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TurnUsage {
    /// Tokens read.
    pub prompt_tokens: i64,
    /// Tokens written.
    pub completion_tokens: i64,
    /// Cost in US dollars.
    pub cost_usd: f64,
}

/// Whether an ending was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Written.
    Committed,
    /// Refused: another holder has a newer epoch, or the turn has ended.
    Fenced,
}

/// Where a turn stands in its life; [`super::Life`] says how it gets from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnState {
    /// Waits for a free slot.
    Queued,
    /// A holder runs it.
    Running,
    /// Waits for a person.
    Parked,
    /// Ended with an answer.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended because somebody stopped it.
    Cancelled,
}

impl TurnState {
    /// As it is written in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads what [`TurnState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Parked, Self::Completed, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// The turn has ended for good.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Parked => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// A turn as the store has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The session that sent the message.
    pub session: SessionId,
    /// The client's name for the request.
    pub request_id: String,
    /// Where it stands.
    pub state: TurnState,
    /// How often it was claimed.
    pub epoch: i64,
    /// Which run this is.
    pub attempt: i32,
    /// Who runs it.
    pub holder: Option<NodeId>,
    /// The sequence number of its last frame, once it has ended; of the last one before it was parked, once it was.
    pub last_seq: i64,
    /// The answer's message, when there is one.
    pub answer: Option<Answer>,
    /// What the model calls used.
    pub usage: TurnUsage,
    /// The code of a failure.
    pub error_code: Option<String>,
}

/// The message that a turn ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message.
    pub message: MessageId,
    /// Its text.
    pub text: String,
}
