//! What messages are about.

use crate::ids::{AgentId, ConversationId, NodeId, SessionId, SocketId, TurnId};

/// A subject of the bus. [`Subject::name`] is its text below the configured prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Frames of the conversation's turns.
    Conversation(ConversationId),
    /// Events published to a session.
    Session(SessionId),
    /// Events published to everyone who talks to an agent.
    Agent(AgentId),
    /// Events published to a user.
    User {
        /// The user's organisation.
        org: String,
        /// The user.
        user: String,
    },
    /// Events published to an organisation.
    Org(String),
    /// Events published to one socket.
    Connection(SocketId),
    /// Requests to the holder of a turn: attach, cancel, answer.
    Turn(TurnId),
    /// Wake-ups for nodes with a free slot; a queue group.
    Runners,
    /// Requests to one node.
    Node(NodeId),
}
