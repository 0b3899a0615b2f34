//! What nodes say to each other about a turn, beside its frames. JSON: rare, and readable on the wire at night.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::lineage::{Attached, Lineage};
use super::transcript::Piece;

/// The most that one answer to an attach carries, in bytes; the rest is asked for again. Below NATS' limit of 1 MiB.
pub(super) const MAX_REPLY_BYTES: usize = 256 * 1024;

/// A request on `turn.<id>`, for the turn's holder.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HolderRequest {
    /// Publish this turn's frames from now on, and answer with those after this position.
    Attach { epoch: i64, after: u64 },
    /// End the turn.
    Cancel,
}

/// The answer to [`HolderRequest::Attach`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AttachReply {
    /// The holder's epoch.
    pub epoch: i64,
    /// The position that the pieces follow.
    pub after: u64,
    /// What the asker misses.
    pub pieces: Vec<Piece>,
    /// There is more than fitted.
    pub has_more: bool,
    /// Where the pieces come from; a node of an older build knows only runs that begin anew.
    #[serde(default)]
    pub lineage: Option<Lineage>,
}

impl HolderRequest {
    pub(super) fn encode(&self) -> Bytes {
        encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl From<Attached> for AttachReply {
    fn from(attached: Attached) -> Self {
        let Attached { epoch, lineage, after, pieces, has_more } = attached;
        Self { epoch, after, pieces, has_more, lineage: Some(lineage) }
    }
}

impl From<AttachReply> for Attached {
    fn from(reply: AttachReply) -> Self {
        let AttachReply { epoch, after, pieces, has_more, lineage } = reply;
        Self { epoch, lineage: lineage.unwrap_or(Lineage::of(epoch)), after, pieces, has_more }
    }
}

impl AttachReply {
    pub(super) fn encode(&self) -> Bytes {
        encode(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Cannot fail: these types have no map with other keys than strings and no serializer of their own.
fn encode(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).map(Bytes::from).unwrap_or_default()
}
