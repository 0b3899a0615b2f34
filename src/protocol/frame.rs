//! Encoded frames, worked on without decoding them: numbering one for a client that resumes, reading the text of one.
//!
//! Both lean on how [`Event::encode`](super::Event::encode) writes: one object, `type` first, no white space around it.

use std::borrow::Cow;
use std::fmt::Write;

use serde::Deserialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What `seq` and `epoch` take at most: `,"seq":` and `,"epoch":` with twenty digits each, and the brace.
const NUMBERING_BYTES: usize = 64;

/// The beginning of a frame that names its epoch itself.
const TURN_RESTARTED: &str = "{\"type\":\"turn_restarted\"";

/// The frame with `seq` and `epoch` as its last members, for a session that declared `stream_resume`.
///
/// The frame must be one that [`Event::encode`](super::Event::encode) made. A `turn_restarted` has its epoch already and
/// gets the number alone.
pub fn numbered(frame: &Utf8Bytes, epoch: i64, seq: u64) -> Utf8Bytes {
    let Some(open) = frame.as_str().strip_suffix('}') else { return frame.clone() };
    let mut text = String::with_capacity(open.len() + NUMBERING_BYTES);
    text.push_str(open);
    // Writing to a String cannot fail.
    let _ = write!(text, ",\"seq\":{seq}");
    if !open.starts_with(TURN_RESTARTED) {
        let _ = write!(text, ",\"epoch\":{epoch}");
    }
    text.push('}');
    text.into()
}

/// The frame is a `write_confirmation_required`, told from its first bytes.
pub fn asks_for_approval(frame: &[u8]) -> bool {
    frame.starts_with(b"{\"type\":\"write_confirmation_required\",")
}

/// The text that a streaming frame adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamText<'a> {
    /// Of a `stream_token`.
    Token(Cow<'a, str>),
    /// Of a `stream_reasoning`.
    Reasoning(Cow<'a, str>),
}

/// The text of a `stream_token` or `stream_reasoning` frame; `None` for every other frame, told from its first bytes.
///
/// Borrows from the frame unless the text holds an escape.
pub fn token_text(frame: &[u8]) -> Option<StreamText<'_>> {
    #[derive(Deserialize)]
    struct Token<'a> {
        #[serde(borrow)]
        token: Cow<'a, str>,
    }

    let wrap = if frame.starts_with(b"{\"type\":\"stream_token\",") {
        StreamText::Token
    } else if frame.starts_with(b"{\"type\":\"stream_reasoning\",") {
        StreamText::Reasoning
    } else {
        return None;
    };
    serde_json::from_slice::<Token<'_>>(frame).ok().map(|event| wrap(event.token))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{ErrorCode, Event};

    #[test]
    fn numbering_adds_seq_and_epoch_as_the_last_members() {
        let frame = Event::error(None, 5, ErrorCode::AgentError, "no }").encode();
        assert_eq!(
            numbered(&frame, 1, 7).as_str(),
            r#"{"type":"error","timestamp":5,"error":{"code":"AGENT_ERROR","message":"no }"},"data":{"error":{"code":"AGENT_ERROR","message":"no }"}},"seq":7,"epoch":1}"#
        );
    }

    #[test]
    fn numbering_leaves_the_shared_frame_as_it_was() {
        let frame = Event::stream_token("r", 5, "hi").encode();
        let before = frame.clone();
        let _ = numbered(&frame, i64::MAX, u64::MAX);
        assert_eq!(frame, before);
    }

    #[test]
    fn a_request_for_approval_is_told_from_every_other_frame() {
        assert!(asks_for_approval(Event::write_confirmation_required("r", 5, "pay", "Pays").encode().as_bytes()));
        assert!(!asks_for_approval(Event::tool_call("r", 5, "write_confirmation_required", "{}").encode().as_bytes()));
    }

    #[test]
    fn a_restarted_turn_names_its_epoch_once() {
        let frame = numbered(&Event::turn_restarted("r", 5, 2).encode(), 2, 1);
        assert_eq!(frame.as_str(), r#"{"type":"turn_restarted","requestId":"r","timestamp":5,"epoch":2,"seq":1}"#);
    }

    #[test]
    fn the_text_of_a_plain_token_is_borrowed() {
        let frame = Event::stream_token("r", 5, "plain \u{2603}").encode();
        assert!(matches!(token_text(frame.as_bytes()), Some(StreamText::Token(Cow::Borrowed("plain \u{2603}")))));
    }

    #[test]
    fn escapes_and_surrogate_pairs_are_decoded() {
        let frame = br#"{"type":"stream_reasoning","requestId":"r","timestamp":5,"token":"a\"\\\n\u00e9\ud83d\ude00","data":{"requestId":"r","token":"other"}}"#;
        assert_eq!(token_text(frame), Some(StreamText::Reasoning("a\"\\\n\u{e9}\u{1f600}".into())));
    }

    #[test]
    fn a_numbered_token_still_gives_its_text() {
        let frame = numbered(&Event::stream_token("r", 5, "x").encode(), 3, 4);
        assert_eq!(token_text(frame.as_bytes()), Some(StreamText::Token("x".into())));
    }

    #[test]
    fn other_frames_and_broken_ones_have_no_text() {
        assert_eq!(token_text(Event::accepted("r", 5).encode().as_bytes()), None);
        assert_eq!(token_text(Event::tool_call("r", 5, "t", "{\"token\":1}").encode().as_bytes()), None);
        assert_eq!(token_text(b""), None);
        assert_eq!(token_text(br#"{"type":"stream_token","#), None);
        assert_eq!(token_text(br#"{"type":"stream_token","requestId":"r"}"#), None);
        assert_eq!(token_text(b"{\"type\":\"stream_token\",\"token\":\"\xff\"}"), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_its_frame(text in any::<String>(), request in any::<String>(), seq in any::<u64>()) {
            let token = numbered(&Event::stream_token(&request, 5, &text).encode(), 1, seq);
            prop_assert_eq!(token_text(token.as_bytes()), Some(StreamText::Token(text.as_str().into())));
            let reasoning = Event::stream_reasoning(&request, 5, &text).encode();
            prop_assert_eq!(token_text(reasoning.as_bytes()), Some(StreamText::Reasoning(text.as_str().into())));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let mut frame = b"{\"type\":\"stream_token\",".to_vec();
            frame.extend(bytes);
            let _ = token_text(&frame);
        }
    }
}
