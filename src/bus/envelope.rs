//! What travels on a conversation's subject: who sent it, where it stands in its turn, and the client's own bytes.

use bytes::Bytes;

use crate::ids::{ConversationId, TurnId};

/// A message about a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The conversation.
    pub conversation: ConversationId,
    /// The turn.
    pub turn: TurnId,
    /// The holder's epoch.
    pub epoch: i64,
    /// The frame's sequence number; 0 for what is not a frame.
    pub seq: u64,
    /// What the payload is.
    pub kind: Kind,
    /// The client's bytes for a frame; else as the kind says.
    pub payload: Bytes,
}

/// What an envelope carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frame of the turn, exactly as a client gets it.
    Frame,
    /// A holder started to run the turn: whoever has sockets for it may attach. The payload tells session and request.
    Started,
    /// Something about the turn changed outside its stream (a queued turn was cancelled): look at the store.
    Changed,
}
