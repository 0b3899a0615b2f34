//! One reader's view of one turn: its text, its place, and what may come next.

use super::Rule;
use crate::chaos::answer::{self, Wish};
use crate::chaos::history::{End, NOTHING_ASKS, Seen};

/// What a violation is, in words.
type Broken = (Rule, String);

/// The calls of the model for one message.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// The round of each attempt, the first attempt first.
    rounds: Vec<u32>,
    /// One of them did not simply give its answer in full.
    pub(super) faulty: bool,
}

/// An answer that the text may be the beginning of.
struct Candidate {
    text: String,
    /// Nothing more follows.
    whole: bool,
}

/// Codes by which a client is asked to try again.
const PASSING: [&str; 2] = ["STORAGE_ERROR", "RATE_LIMITED"];

#[derive(Default)]
pub(super) struct View {
    pub(super) accepted: bool,
    pub(super) ended: bool,
    /// The text that the reader would show.
    pub(super) text: String,
    epoch: i64,
    seq: u64,
    /// The answers that the text may be the beginning of; made when the first text comes.
    candidates: Vec<Candidate>,
    /// Attempts that are candidates or were ruled out, since the text last began.
    considered: usize,
    /// It has answered a tool that asked.
    confirmed: bool,
}

impl Calls {
    /// A call of this round begins.
    pub(super) fn add(&mut self, round: u32, faulty: bool) {
        self.rounds.push(round);
        self.faulty |= faulty;
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.rounds.len()
    }

    /// The answers that end with what attempt number `last` (from 0) says: of the first round by itself, of the second after
    /// what an earlier attempt said in the first.
    fn answers(&self, message: &str, last: usize) -> Vec<Candidate> {
        let said = |attempt: usize, round| {
            answer::tokens(message, u32::try_from(attempt + 1).unwrap_or(u32::MAX), round).collect::<String>()
        };
        let Some(&round) = self.rounds.get(last) else { return Vec::new() };
        let whole = round + 1 >= Wish::of(message).rounds();
        let end = said(last, round);
        if round == 0 {
            return vec![Candidate { text: end, whole }];
        }
        let firsts = (0..last).filter(|first| self.rounds[*first] == 0);
        firsts.map(|first| Candidate { text: said(first, 0) + &end, whole }).collect()
    }
}

impl View {
    /// Takes what the reader was told. `calls` attempts at the answer have begun.
    pub(super) fn take(&mut self, seen: &Seen, message: &str, calls: &Calls) -> Result<(), Broken> {
        match seen {
            Seen::Accepted => {
                self.accepted = true;
                Ok(())
            }
            Seen::Refused { code } => self.refused(code),
            Seen::Attached { verdict, epoch } => self.attached(verdict, *epoch, message),
            Seen::Confirmed { .. } => Ok(()),
            Seen::Asks { epoch, seq, .. }
            | Seen::ToolCalled { epoch, seq, .. }
            | Seen::ToolEnded { epoch, seq, .. } => {
                self.open()?;
                self.advance(*epoch, *seq, message)
            }
            Seen::Restarted { epoch } => {
                self.open()?;
                if *epoch <= self.epoch {
                    return Err((Rule::OlderEpoch, format!("restarted into epoch {epoch} after {}", self.epoch)));
                }
                self.epoch = *epoch;
                self.begin();
                Ok(())
            }
            Seen::Text { epoch, seq, text } => {
                self.open()?;
                self.advance(*epoch, *seq, message)?;
                self.append(text, message, calls)
            }
            Seen::Ended { epoch, seq, end } => {
                if std::mem::replace(&mut self.ended, true) {
                    return Err((Rule::TwoEnds, format!("a second end, in epoch {epoch}, number {seq}")));
                }
                self.advance(*epoch, *seq, message)?;
                self.judge(end, message, calls)
            }
            Seen::Other { kind } => Err((Rule::Unexpected, format!("an event of type {kind}"))),
        }
    }

    fn refused(&self, code: &str) -> Result<(), Broken> {
        let passing = PASSING.contains(&code)
            || (code == super::BUSY && !self.accepted)
            || (code == NOTHING_ASKS && self.confirmed);
        if passing { Ok(()) } else { Err((Rule::Unexpected, format!("refused with {code} at {}", self.seq))) }
    }

    /// The reader says yes or no to a tool.
    pub(super) fn confirm(&mut self) {
        self.confirmed = true;
    }

    fn attached(&mut self, verdict: &str, epoch: i64, message: &str) -> Result<(), Broken> {
        match verdict {
            "delta" if epoch == self.epoch || (epoch > self.epoch && goes_on(message)) => {
                self.epoch = epoch;
                Ok(())
            }
            "delta" => {
                Err((Rule::OlderEpoch, format!("the rest of epoch {epoch}, but its place is in {}", self.epoch)))
            }
            "snapshot" => {
                self.begin();
                Ok(())
            }
            _ if self.accepted => Err((Rule::Lost, format!("{verdict}, although it was accepted"))),
            _ => Ok(()),
        }
    }

    fn open(&self) -> Result<(), Broken> {
        if self.ended { Err((Rule::AfterEnd, "a frame after the end".to_owned())) } else { Ok(()) }
    }

    fn begin(&mut self) {
        self.seq = 0;
        self.text.clear();
        self.candidates.clear();
        self.considered = 0;
    }

    fn advance(&mut self, epoch: i64, seq: u64, message: &str) -> Result<(), Broken> {
        if epoch < self.epoch {
            return Err((Rule::OlderEpoch, format!("a frame of epoch {epoch} after one of {}", self.epoch)));
        }
        if epoch > self.epoch && self.seq > 0 && !goes_on(message) {
            let from = std::mem::replace(&mut self.epoch, epoch);
            self.begin();
            return Err((Rule::Unannounced, format!("epoch {epoch} follows {from} without a word")));
        }
        self.epoch = epoch;
        if seq <= self.seq {
            return Err((Rule::Repeated, format!("number {seq} of epoch {epoch} after {}", self.seq)));
        }
        self.seq = seq;
        Ok(())
    }

    fn append(&mut self, text: &str, message: &str, calls: &Calls) -> Result<(), Broken> {
        let before = self.text.len();
        self.text.push_str(text);
        while self.considered < calls.count() {
            let answers = calls.answers(message, self.considered).into_iter();
            self.candidates
                .extend(answers.filter(|answer| answer.text.as_bytes().starts_with(&self.text.as_bytes()[..before])));
            self.considered += 1;
        }
        let rest = &self.text.as_bytes()[before..];
        // All of them begin with the text so far.
        self.candidates.retain(|answer| answer.text.as_bytes()[before..].starts_with(rest));
        if self.candidates.is_empty() {
            let begins: String = text.chars().take(40).collect();
            return Err((Rule::Text, format!("number {} brings {begins:?} after {before} bytes of text", self.seq)));
        }
        Ok(())
    }

    fn judge(&self, end: &End, message: &str, calls: &Calls) -> Result<(), Broken> {
        let End::Completed { text } = end else { return Ok(()) };
        if *text != self.text {
            let (answer, shown) = (text.len(), self.text.len());
            return Err((Rule::Text, format!("the answer has {answer} bytes and {shown} others were streamed")));
        }
        let mut answers = (0..calls.count()).flat_map(|last| calls.answers(message, last));
        if answers.any(|answer| answer.whole && answer.text == *text) {
            return Ok(());
        }
        Err((Rule::Answer, format!("the answer of {} bytes is none that the model gave", text.len())))
    }
}

/// A turn that waits for a person goes on in a new epoch, with the same text under the same numbers.
fn goes_on(message: &str) -> bool {
    Wish::of(message).needs_approval()
}
