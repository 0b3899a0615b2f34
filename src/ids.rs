//! Every identifier of the system, each its own type, so that a session can never be passed for a conversation.
//!
//! All are UUIDs of version 7: they sort by the time they were made, which keeps index pages of the store warm.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a fresh identifier, later in order than every one made before it on this node.
            #[expect(clippy::new_without_default, reason = "a default identifier would not be the same each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )+};
}

id! {
    /// One running node, fresh at every start.
    NodeId,
    /// One client connection.
    SocketId,
    /// One client's seat in a conversation; what an action names.
    SessionId,
    /// A conversation: its messages, in order, for ever.
    ConversationId,
    /// A person or an agent in a conversation.
    ParticipantId,
    /// One message of a conversation.
    MessageId,
    /// An agent: a name, instructions, a model, tools.
    AgentId,
    /// One run of an agent for one message.
    TurnId,
}
