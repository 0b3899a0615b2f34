//! What travels on a conversation's subject: who sent it, where it stands in its turn, and the client's own bytes.
//!
//! The header has a fixed length and a version, so that a receiver forwards the payload without looking into it. A change
//! of the header takes a new version: nodes of two releases share the bus during every deployment.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::ids::{ConversationId, TurnId};

/// The header's version, its first byte.
const VERSION: u8 = 1;

/// Bytes of the header: version, kind, conversation, turn, epoch, sequence number; integers in network order.
const HEADER: usize = 1 + 1 + 16 + 16 + 8 + 8;

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
    /// The turn's terminal frame, exactly as a client gets it.
    End,
    /// A holder started to run the turn: whoever has sockets for it may attach. Without a payload: the store tells what it is
    /// called.
    Started,
    /// Something about the turn changed outside its stream (a queued turn was cancelled): look at the store.
    Changed,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Frame => 0,
            Self::Started => 1,
            Self::Changed => 2,
            Self::End => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Frame),
            1 => Some(Self::Started),
            2 => Some(Self::Changed),
            3 => Some(Self::End),
            _ => None,
        }
    }
}

impl Envelope {
    /// Returns the envelope as bytes: a header of 50 bytes, then the payload.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER + self.payload.len());
        bytes.put_u8(VERSION);
        bytes.put_u8(self.kind.code());
        bytes.put_slice(self.conversation.0.as_bytes());
        bytes.put_slice(self.turn.0.as_bytes());
        bytes.put_i64(self.epoch);
        bytes.put_u64(self.seq);
        bytes.put_slice(&self.payload);
        bytes.freeze()
    }

    /// Reads an envelope; the payload shares the input's memory. `None` when the input is too short, or of a version or
    /// kind that this release does not know.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let header: [u8; HEADER] = *bytes.first_chunk()?;
        let (&[version, kind], rest) = header.split_first_chunk()?;
        let (conversation, rest) = rest.split_first_chunk()?;
        let (turn, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (seq, _) = rest.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        Some(Self {
            conversation: ConversationId(Uuid::from_bytes(*conversation)),
            turn: TurnId(Uuid::from_bytes(*turn)),
            epoch: i64::from_be_bytes(*epoch),
            seq: u64::from_be_bytes(*seq),
            kind: Kind::of(kind)?,
            payload: bytes.split_off(HEADER),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope() -> impl Strategy<Value = Envelope> {
        let kind = prop_oneof![Just(Kind::Frame), Just(Kind::Started), Just(Kind::Changed)];
        (any::<u128>(), any::<u128>(), any::<i64>(), any::<u64>(), kind, any::<Vec<u8>>()).prop_map(
            |(conversation, turn, epoch, seq, kind, payload)| Envelope {
                conversation: ConversationId(Uuid::from_u128(conversation)),
                turn: TurnId(Uuid::from_u128(turn)),
                epoch,
                seq,
                kind,
                payload: payload.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn an_envelope_survives_the_way_there_and_back(envelope in envelope()) {
            prop_assert_eq!(Envelope::decode(envelope.encode()), Some(envelope));
        }

        #[test]
        fn no_input_makes_decoding_panic(input in any::<Vec<u8>>(), versioned in any::<bool>()) {
            let mut input = input;
            if let (true, Some(first)) = (versioned, input.first_mut()) {
                *first = VERSION;
            }
            let known = Envelope::decode(input.clone().into());
            prop_assert!(known.is_none_or(|envelope| envelope.encode() == input));
        }

        #[test]
        fn a_shortened_header_is_refused(envelope in envelope(), length in 0..HEADER) {
            prop_assert_eq!(Envelope::decode(envelope.encode().slice(..length)), None);
        }

        #[test]
        fn another_version_or_kind_is_refused(envelope in envelope(), code in 4..=u8::MAX) {
            for at in [0, 1] {
                let mut bytes = envelope.encode().to_vec();
                bytes[at] = code;
                prop_assert_eq!(Envelope::decode(bytes.into()), None);
            }
        }
    }

    #[test]
    fn the_payload_is_not_copied() {
        let bytes = Envelope {
            conversation: ConversationId::new(),
            turn: TurnId::new(),
            epoch: 1,
            seq: 2,
            kind: Kind::Frame,
            payload: Bytes::from_static(b"{}"),
        }
        .encode();
        let payload = Envelope::decode(bytes.clone()).unwrap().payload;
        assert_eq!(payload.as_ptr(), bytes[HEADER..].as_ptr());
    }
}
