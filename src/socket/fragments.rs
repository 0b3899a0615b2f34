//! A long text goes out in fragments, as RFC 6455 has it: what a slow client costs is one of them, not the whole text.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// The most that is written at once, in bytes. Only an answer of some thousand words is longer.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// The fragments of a text message that is longer than that, without a copy.
pub(super) fn of(text: Bytes) -> impl Iterator<Item = Frame> + Send {
    let count = text.len().div_ceil(MAX_BYTES);
    (0..count).map(move |index| {
        let begin = index * MAX_BYTES;
        let opcode = OpCode::Data(if index == 0 { Data::Text } else { Data::Continue });
        let payload = text.slice(begin..text.len().min(begin + MAX_BYTES));
        Frame::message(payload, opcode, index + 1 == count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each fragment: its bytes, whether it begins the message, whether it ends it.
    fn fragments(length: usize) -> Vec<(usize, bool, bool)> {
        let shape = |frame: Frame| {
            let header = frame.header();
            (frame.payload().len(), header.opcode == OpCode::Data(Data::Text), header.is_final)
        };
        of(vec![b'a'; length].into()).map(shape).collect()
    }

    #[test]
    fn a_long_text_is_cut_where_the_limit_is() {
        assert_eq!(fragments(MAX_BYTES + 1), [(MAX_BYTES, true, false), (1, false, true)]);
        let thrice = [(MAX_BYTES, true, false), (MAX_BYTES, false, false), (MAX_BYTES, false, true)];
        assert_eq!(fragments(MAX_BYTES * 3), thrice);
    }
}
