//! One reader's view of one turn: its text, its place, and what may come next.

use std::collections::HashMap;

use super::Rule;
use crate::chaos::answer;
use crate::chaos::history::{End, Seen};

/// What a violation is, in words.
type Broken = (Rule, String);

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
    /// The answers that the text may be the beginning of, by attempt; made when the first text comes.
    candidates: HashMap<u32, String>,
    /// Attempts that are candidates or were ruled out, since the text last began.
    considered: u32,
}

impl View {
    /// Takes what the reader was told. `calls` attempts at the answer have begun.
    pub(super) fn take(&mut self, seen: &Seen, message: &str, calls: u32) -> Result<(), Broken> {
        match seen {
            Seen::Accepted => {
                self.accepted = true;
                Ok(())
            }
            Seen::Refused { code } => self.refused(code),
            Seen::Attached { verdict, epoch } => self.attached(verdict, *epoch),
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
                self.advance(*epoch, *seq)?;
                self.append(text, message, calls)
            }
            Seen::Ended { epoch, seq, end } => {
                if std::mem::replace(&mut self.ended, true) {
                    return Err((Rule::TwoEnds, format!("a second end, in epoch {epoch}, number {seq}")));
                }
                self.advance(*epoch, *seq)?;
                self.judge(end, message, calls)
            }
            Seen::Other { kind } => Err((Rule::Unexpected, format!("an event of type {kind}"))),
        }
    }

    fn refused(&self, code: &str) -> Result<(), Broken> {
        let passing = PASSING.contains(&code) || (code == super::BUSY && !self.accepted);
        if passing { Ok(()) } else { Err((Rule::Unexpected, format!("refused with {code} at {}", self.seq))) }
    }

    fn attached(&mut self, verdict: &str, epoch: i64) -> Result<(), Broken> {
        match verdict {
            "delta" if epoch == self.epoch => Ok(()),
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

    fn advance(&mut self, epoch: i64, seq: u64) -> Result<(), Broken> {
        if epoch < self.epoch {
            return Err((Rule::OlderEpoch, format!("a frame of epoch {epoch} after one of {}", self.epoch)));
        }
        if epoch > self.epoch && self.seq > 0 {
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

    fn append(&mut self, text: &str, message: &str, calls: u32) -> Result<(), Broken> {
        let before = self.text.len();
        self.text.push_str(text);
        while self.considered < calls {
            self.considered += 1;
            let answer: String = answer::tokens(message, self.considered).collect();
            if answer.as_bytes().starts_with(&self.text.as_bytes()[..before]) {
                self.candidates.insert(self.considered, answer);
            }
        }
        let rest = &self.text.as_bytes()[before..];
        self.candidates.retain(|_, answer| answer.as_bytes()[before..].starts_with(rest));
        if self.candidates.is_empty() {
            let begins: String = text.chars().take(40).collect();
            return Err((Rule::Text, format!("number {} brings {begins:?} after {before} bytes of text", self.seq)));
        }
        Ok(())
    }

    fn judge(&self, end: &End, message: &str, calls: u32) -> Result<(), Broken> {
        let End::Completed { text } = end else { return Ok(()) };
        if *text != self.text {
            let (answer, shown) = (text.len(), self.text.len());
            return Err((Rule::Text, format!("the answer has {answer} bytes and {shown} others were streamed")));
        }
        let whole = |attempt| answer::tokens(message, attempt).collect::<String>() == *text;
        if (1..=calls).any(whole) {
            return Ok(());
        }
        Err((Rule::Answer, format!("the answer of {} bytes is none that the model gave", text.len())))
    }
}
