//! What the gateway is to say. The message of the turn carries it, so one gateway serves every scenario, and the client
//! knows the text to the byte.

use serde::{Deserialize, Serialize};

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Script {
    /// Makes the text of this turn differ from that of others.
    pub seed: u64,
    /// Tokens of the answer.
    pub tokens: u32,
    /// Events that the gateway writes at once.
    pub per_write: u32,
    /// Time between two writes, in microseconds; 0: as fast as they can be written.
    pub interval_us: u64,
    /// Time before the first write, in microseconds.
    pub think_us: u64,
    /// Time between the last token and the end, in microseconds.
    pub linger_us: u64,
    /// Words of a token.
    pub width: u32,
    /// Each token is the time of its writing instead of a word: see [`stamp`].
    pub stamped: bool,
}

/// Words as models write them, with what JSON and UTF-8 make hard.
const WORDS: [&str; 16] = [
    " the",
    " node",
    " holds",
    ",",
    " a",
    " conversation",
    " naïve",
    " \"quoted\"",
    " and",
    " of",
    "\n",
    " 会話",
    " 🙂",
    " it",
    " answer",
    ".",
];

impl Script {
    /// An answer as fast as it can be written, this many events at a time.
    pub fn flat_out(tokens: u32, per_write: u32) -> Self {
        Self { seed: 0, tokens, per_write, interval_us: 0, think_us: 0, linger_us: 0, width: 1, stamped: false }
    }

    /// An answer with one token at a time and this long between two.
    pub fn paced(tokens: u32, interval_us: u64) -> Self {
        Self { interval_us, ..Self::flat_out(tokens, 1) }
    }

    /// The same with another text.
    pub fn with_seed(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// The token at a place.
    pub fn token(&self, place: u32) -> String {
        (0..self.width).map(|word| self.word(place * self.width + word)).collect()
    }

    /// The word at a place.
    fn word(&self, place: u32) -> String {
        if place == 0 {
            return format!("[{}]", self.seed);
        }
        let mixed = (self.seed + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::from(place).wrapping_mul(0x2545_f491_4f6c_dd1d));
        let index = usize::try_from(mixed >> 60).unwrap_or(0);
        WORDS[index % WORDS.len()].to_owned()
    }

    /// The whole text; `None` when nobody knows it beforehand.
    pub fn text(&self) -> Option<String> {
        (!self.stamped).then(|| (0..self.tokens).map(|place| self.token(place)).collect())
    }
}

/// When a stamped token was written, and for the first one of an answer also when the gateway had read the request.
pub struct Stamp {
    /// Nanoseconds, as [`crate::clock::now_ns`] tells them.
    pub written_ns: u64,
    /// The same clock.
    pub asked_ns: Option<u64>,
}

impl Stamp {
    /// The token.
    pub fn encode(&self) -> String {
        match self.asked_ns {
            Some(asked_ns) => format!("{asked_ns},{} ", self.written_ns),
            None => format!("{} ", self.written_ns),
        }
    }

    /// The stamps in a piece of text that several tokens may have made.
    pub fn all(text: &str) -> impl Iterator<Item = Self> {
        text.split_ascii_whitespace().filter_map(|token| match token.split_once(',') {
            Some((asked, written)) => Some(Self { asked_ns: asked.parse().ok(), written_ns: written.parse().ok()? }),
            None => Some(Self { asked_ns: None, written_ns: token.parse().ok()? }),
        })
    }
}
