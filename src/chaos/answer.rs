//! What the scripted model says: text that follows from the message and the number of the attempt, and from nothing else.
//!
//! Every word names its message and its attempt, so that a checker that never saw the gateway knows every byte that may be
//! shown, and tells a foreign word, or one of another attempt, at sight.

use super::dice::Dice;

/// What ends a word, so that escapes, quotes and characters of several bytes are cut and resumed, too.
const ORNAMENTS: [&str; 10] = ["", "", "", "", "é", "\"", "\\", "\n", "\u{1f600}", "</p>"];

/// Words of a token, when there is no pause between tokens.
const WORDS_AT_ONCE: u64 = 50;

/// A message that asks for an answer of this many words, one every so many milliseconds. `tag` must be unique.
pub fn message(tag: &str, words: u64, pace_ms: u64) -> String {
    format!("{tag} words={words} pace={pace_ms}")
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// How many words.
    pub words: u64,
    /// The pause after each, in milliseconds.
    pub pace_ms: u64,
}

impl Wish {
    /// Reads what [`message`] wrote; `None` for any other text.
    pub fn of(message: &str) -> Option<Self> {
        let mut parts = message.split(' ').skip(1);
        let words = parts.next()?.strip_prefix("words=")?.parse().ok()?;
        let pace_ms = parts.next()?.strip_prefix("pace=")?.parse().ok()?;
        Some(Self { words, pace_ms })
    }
}

/// The tokens of attempt number `attempt` at this message; none for a message that [`message`] did not write.
pub fn tokens(message: &str, attempt: u32) -> impl Iterator<Item = String> + use<> {
    let wish = Wish::of(message).unwrap_or(Wish { words: 0, pace_ms: 0 });
    // What comes without a pause comes in large tokens, so that it is limited by its readers.
    let at_once = if wish.pace_ms == 0 { WORDS_AT_ONCE } else { 1 };
    let tag = message.split(' ').next().unwrap_or_default().to_owned();
    let mut dice = Dice::of(u64::from(attempt), message);
    let mut word = move |word| format!("{tag}#{attempt}.{word}{} ", dice.pick(&ORNAMENTS).unwrap_or(&""));
    (0..wish.words.div_ceil(at_once))
        .map(move |token| (token * at_once..wish.words.min((token + 1) * at_once)).map(&mut word).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_attempt_says_the_same_and_another_does_not() {
        let said = |attempt| tokens(&message("c1-2", 30, 5), attempt).collect::<String>();
        assert_eq!(said(1), said(1));
        assert_ne!(said(1), said(2));
        assert!(said(1).starts_with("c1-2#1.0"));
    }

    #[test]
    fn a_message_carries_what_it_wishes() {
        assert_eq!(Wish::of(&message("c1-2", 30, 5)), Some(Wish { words: 30, pace_ms: 5 }));
        assert_eq!(Wish::of("hello there"), None);
        assert_eq!(tokens("hello", 1).count(), 0);
    }
}
