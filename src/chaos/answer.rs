//! What the scripted model says: text that follows from the message and the number of the attempt, and from nothing else.
//!
//! Every word names its message and its attempt, so that a checker that never saw the gateway knows every byte that may be
//! shown, and tells a foreign word, or one of another attempt, at sight.

use std::ops::Range;

use super::dice::Dice;
use super::tool::Tool;

/// What ends a word, so that escapes, quotes and characters of several bytes are cut and resumed, too.
const ORNAMENTS: [&str; 10] = ["", "", "", "", "é", "\"", "\\", "\n", "\u{1f600}", "</p>"];

/// Words of a token, when there is no pause between tokens.
const WORDS_AT_ONCE: u64 = 50;

/// A message that asks for an answer of this many words, one every so many milliseconds, with a call of each of these tools in
/// the middle. `tag` must be unique.
pub fn message(tag: &str, words: u64, pace_ms: u64, tools: &[Tool]) -> String {
    let names: Vec<&str> = tools.iter().map(|tool| tool.name()).collect();
    let calls = if names.is_empty() { String::new() } else { format!(" tools={}", names.join("+")) };
    format!("{tag} words={words} pace={pace_ms}{calls}")
}

/// What a message asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// How many words.
    pub words: u64,
    /// The pause after each, in milliseconds.
    pub pace_ms: u64,
    /// The tools to be called once half of the words are said.
    pub tools: Vec<Tool>,
}

impl Wish {
    /// Reads what [`message`] wrote; no words for any other text.
    pub fn of(message: &str) -> Self {
        let part = |name: &str| message.split(' ').skip(1).find_map(|part| part.strip_prefix(name));
        let number = |name| part(name).and_then(|number| number.parse().ok()).unwrap_or_default();
        let tools = part("tools=").unwrap_or_default().split('+').filter_map(Tool::of).collect();
        Self { words: number("words="), pace_ms: number("pace="), tools }
    }

    /// How often the model must be asked until the answer is whole.
    pub fn rounds(&self) -> u32 {
        if self.tools.is_empty() { 1 } else { 2 }
    }

    /// A person is asked.
    pub fn needs_approval(&self) -> bool {
        self.tools.iter().any(|tool| tool.needs_approval())
    }

    /// The words that are said in this round, from 0.
    fn words_of(&self, round: u32) -> Range<u64> {
        let rounds = u64::from(self.rounds());
        let before = |round: u64| self.words * round / rounds;
        before(u64::from(round).min(rounds))..before(u64::from(round + 1).min(rounds))
    }
}

/// The tokens that attempt number `attempt` at this message says in this round; none for a message that [`message`] did not
/// write.
pub fn tokens(message: &str, attempt: u32, round: u32) -> impl Iterator<Item = String> + use<> {
    let wish = Wish::of(message);
    // What comes without a pause comes in large tokens, so that it is limited by its readers.
    let at_once = if wish.pace_ms == 0 { WORDS_AT_ONCE } else { 1 };
    let tag = message.split(' ').next().unwrap_or_default().to_owned();
    let mut dice = Dice::of(u64::from(attempt), message);
    let mut word = move |word| format!("{tag}#{attempt}.{word}{} ", dice.pick(&ORNAMENTS).unwrap_or(&""));
    let Range { start, end } = wish.words_of(round);
    (0..(end - start).div_ceil(at_once)).map(move |token| {
        let first = start + token * at_once;
        (first..end.min(first + at_once)).map(&mut word).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_attempt_says_the_same_and_another_does_not() {
        let said = |attempt| tokens(&message("c1-2", 30, 5, &[]), attempt, 0).collect::<String>();
        assert_eq!(said(1), said(1));
        assert_ne!(said(1), said(2));
        assert!(said(1).starts_with("c1-2#1.0"));
    }

    #[test]
    fn a_message_carries_what_it_wishes() {
        let wish = Wish { words: 30, pace_ms: 5, tools: Vec::new() };
        assert_eq!(Wish::of(&message("c1-2", 30, 5, &[])), wish);
        let tools = vec![Tool::Note, Tool::Pay];
        assert_eq!(Wish::of(&message("c1-2", 30, 5, &tools)), Wish { tools, ..wish });
        assert_eq!(Wish::of("hello there"), Wish::default());
        assert_eq!(tokens("hello", 1, 0).count(), 0);
    }

    #[test]
    fn the_rounds_of_an_answer_share_its_words() {
        let message = message("c1-2", 7, 0, &[Tool::Look]);
        let said = |round| tokens(&message, 1, round).collect::<String>().matches('#').count();
        assert_eq!((said(0), said(1), said(2)), (3, 4, 0));
    }
}
