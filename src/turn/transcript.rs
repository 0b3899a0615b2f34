//! What a turn has said so far, kept so that any reader gets exactly what it misses. Pure: no lock, no IO.
//!
//! A turn's pieces are numbered 1, 2, 3 with no number left out, so a piece's number is its place. Text is kept once, as one
//! string with marks; a reader that is far behind gets one piece with all the text it missed.

use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// The most text that one collapsed piece carries, in bytes; the frame has it twice. So little that a client whose connection
/// breaks every few kilobytes comes forward: it keeps whole frames only.
const MAX_COLLAPSED_BYTES: usize = 4 * 1024;

/// Which of a turn's two texts a piece appends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Channel {
    /// The answer.
    Token,
    /// The model's thinking.
    Reasoning,
}

/// One numbered piece of a turn. The holder sends these to a node that attaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Piece {
    /// Text to append.
    Text(Channel, String),
    /// Any other frame, encoded.
    Event(String),
    /// The turn's terminal frame, encoded. Nothing follows it.
    End(String),
}

/// The pieces of one run (epoch) of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transcript {
    text: String,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    /// Ends at this offset of the text; it begins where the text before it ended.
    Text(Channel, usize),
    Event(Utf8Bytes),
    End(Utf8Bytes),
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        discriminant(self).hash(hasher);
        match self {
            Self::Text(channel, end) => (channel, end).hash(hasher),
            Self::Event(frame) | Self::End(frame) => frame.as_str().hash(hasher),
        }
    }
}

/// What a reader at some position gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Text, of one channel, up to and including `seq`; collapsed from `seq - after` pieces.
    Text { seq: u64, channel: Channel, text: &'a str },
    /// An encoded frame.
    Event { seq: u64, frame: &'a Utf8Bytes },
    /// The terminal frame.
    End { seq: u64, frame: &'a Utf8Bytes },
}

impl Transcript {
    /// The number of the newest piece; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The terminal frame was appended.
    pub fn has_ended(&self) -> bool {
        matches!(self.entries.last(), Some(Entry::End(_)))
    }

    /// Appends a piece and returns its number.
    pub fn append(&mut self, piece: Piece) -> u64 {
        match piece {
            Piece::Text(channel, text) => return self.append_text(channel, &text),
            Piece::Event(frame) => self.entries.push(Entry::Event(frame.into())),
            Piece::End(frame) => self.entries.push(Entry::End(frame.into())),
        }
        self.last_seq()
    }

    /// Appends text and returns its number.
    pub fn append_text(&mut self, channel: Channel, text: &str) -> u64 {
        self.text.push_str(text);
        self.entries.push(Entry::Text(channel, self.text.len()));
        self.last_seq()
    }

    /// All the text of one channel.
    pub fn text(&self, wanted: Channel) -> String {
        let (mut begin, mut text) = (0, String::new());
        for entry in &self.entries {
            if let Entry::Text(channel, end) = entry {
                if *channel == wanted {
                    text.push_str(&self.text[begin..*end]);
                }
                begin = *end;
            }
        }
        text
    }

    /// What follows position `after`, as little as one frame can carry; `None` when nothing does.
    pub fn next(&self, after: u64) -> Option<Next<'_>> {
        let first = usize::try_from(after).ok()?;
        match self.entries.get(first)? {
            Entry::Event(frame) => Some(Next::Event { seq: after + 1, frame }),
            Entry::End(frame) => Some(Next::End { seq: after + 1, frame }),
            Entry::Text(channel, first_end) => {
                let begin = self.text_offset(first);
                let (mut seq, mut end) = (after + 1, *first_end);
                for entry in &self.entries[first + 1..] {
                    match entry {
                        Entry::Text(c, e) if c == channel && e - begin <= MAX_COLLAPSED_BYTES => {
                            (seq, end) = (seq + 1, *e)
                        }
                        Entry::Text(..) | Entry::Event(_) | Entry::End(_) => break,
                    }
                }
                Some(Next::Text { seq, channel: *channel, text: &self.text[begin..end] })
            }
        }
    }

    /// The pieces after a position, each by itself, at most `max_bytes` of them (and at least one).
    pub fn pieces(&self, after: u64, max_bytes: usize) -> Vec<Piece> {
        let first = usize::try_from(after).unwrap_or(usize::MAX).min(self.entries.len());
        let mut begin = self.text_offset(first);
        let mut bytes = 0;
        let mut pieces = Vec::new();
        for entry in &self.entries[first..] {
            let piece = match entry {
                Entry::Text(channel, end) => {
                    let text = self.text[begin..*end].to_owned();
                    begin = *end;
                    bytes += text.len();
                    Piece::Text(*channel, text)
                }
                Entry::Event(frame) => {
                    bytes += frame.len();
                    Piece::Event(frame.to_string())
                }
                Entry::End(frame) => {
                    bytes += frame.len();
                    Piece::End(frame.to_string())
                }
            };
            if bytes > max_bytes && !pieces.is_empty() {
                break;
            }
            pieces.push(piece);
        }
        pieces
    }

    /// Where the text of the entry at `index` begins.
    fn text_offset(&self, index: usize) -> usize {
        self.entries[..index]
            .iter()
            .rev()
            .find_map(|entry| match entry {
                Entry::Text(_, end) => Some(*end),
                Entry::Event(_) | Entry::End(_) => None,
            })
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Transcript {
        let mut transcript = Transcript::default();
        transcript.append_text(Channel::Token, "Hel");
        transcript.append_text(Channel::Token, "lo");
        transcript.append(Piece::Event("{chunk}".into()));
        transcript.append_text(Channel::Reasoning, "hm");
        transcript.append_text(Channel::Token, "!");
        transcript.append(Piece::End("{end}".into()));
        transcript
    }

    #[test]
    fn a_reader_at_any_position_gets_exactly_the_rest() {
        let transcript = sample();
        let whole = ["Hel", "lo", "{chunk}", "hm", "!", "{end}"];
        for start in 0..=whole.len() {
            let (mut position, mut got) = (start as u64, String::new());
            while let Some(next) = transcript.next(position) {
                match next {
                    Next::Text { seq, text, .. } => {
                        got.push_str(text);
                        position = seq;
                    }
                    Next::Event { seq, frame } | Next::End { seq, frame } => {
                        got.push_str(frame);
                        position = seq;
                    }
                }
            }
            assert_eq!(got, whole[start..].concat(), "from {start}");
            assert_eq!(position, 6);
        }
    }

    #[test]
    fn text_of_two_channels_is_never_collapsed_into_one_frame() {
        let transcript = sample();
        assert_eq!(transcript.next(0), Some(Next::Text { seq: 2, channel: Channel::Token, text: "Hello" }));
        assert_eq!(transcript.next(3), Some(Next::Text { seq: 4, channel: Channel::Reasoning, text: "hm" }));
    }

    #[test]
    fn a_copy_made_from_pieces_is_the_same_transcript() {
        let transcript = sample();
        for max_bytes in [1, 4, 1000] {
            let mut copy = Transcript::default();
            while copy.last_seq() < transcript.last_seq() {
                for piece in transcript.pieces(copy.last_seq(), max_bytes) {
                    copy.append(piece);
                }
            }
            assert_eq!(copy.pieces(0, usize::MAX), transcript.pieces(0, usize::MAX));
        }
    }

    #[test]
    fn a_position_past_the_end_gets_nothing() {
        let transcript = sample();
        assert_eq!(transcript.next(6), None);
        assert_eq!(transcript.next(u64::MAX), None);
        assert!(transcript.pieces(u64::MAX, 10).is_empty());
    }
}
