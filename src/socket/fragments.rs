//! A long text goes out in fragments, as RFC 6455 has it: what a slow client costs is one of them, not the whole text.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The most that is written at once, in bytes. Only an answer of some thousand words is longer.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// A text message, whole or in fragments, without a copy.
pub(super) fn of(text: Utf8Bytes) -> impl Iterator<Item = Message> + Send {
    let (short, long) =
        if text.len() <= MAX_BYTES { (Some(Message::Text(text)), Bytes::new()) } else { (None, text.into()) };
    let count = long.len().div_ceil(MAX_BYTES);
    let fragment = move |index: usize| {
        let begin = index * MAX_BYTES;
        let opcode = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
        let payload = long.slice(begin..long.len().min(begin + MAX_BYTES));
        Message::Frame(Frame::message(payload, opcode, index + 1 == count))
    };
    short.into_iter().chain((0..count).map(fragment))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each fragment: its bytes, whether it begins a message, whether it ends it.
    fn fragments(text: &str) -> Vec<(usize, bool, bool)> {
        let shape = |message: Message| match message {
            Message::Text(ref text) => (text.len(), true, true),
            Message::Frame(ref frame) => {
                let header = frame.header();
                (frame.payload().len(), header.opcode == OpCode::Data(Data::Text), header.is_final)
            }
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_) => panic!("{message:?}"),
        };
        of(text.into()).map(shape).collect()
    }

    #[test]
    fn a_short_text_is_one_frame_and_a_long_one_is_cut_where_the_limit_is() {
        assert_eq!(fragments(""), [(0, true, true)]);
        assert_eq!(fragments(&"a".repeat(MAX_BYTES)), [(MAX_BYTES, true, true)]);
        assert_eq!(fragments(&"a".repeat(MAX_BYTES + 1)), [(MAX_BYTES, true, false), (1, false, true)]);
        let parts = fragments(&"a".repeat(MAX_BYTES * 3));
        assert_eq!(parts, [(MAX_BYTES, true, false), (MAX_BYTES, false, false), (MAX_BYTES, false, true)]);
    }
}
