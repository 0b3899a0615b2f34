//! What tools did, against what the model asked for and what people allowed.

use std::collections::HashMap;

use super::{Rule, Verdict};
use crate::chaos::answer::Wish;
use crate::chaos::history::{NOTHING_ASKS, Seen};
use crate::chaos::tool::{self, Tool};

/// Everything that is known of tools.
#[derive(Default)]
pub(super) struct Tools {
    /// The calls of each message, in their order.
    calls: HashMap<String, Vec<(Tool, String)>>,
    /// What people said, by request.
    answers: HashMap<String, Answers>,
    /// What a reader said about a request and was told nothing about yet.
    sent: HashMap<(u64, String), bool>,
}

/// What people said to the one call of a request that needs them.
#[derive(Default)]
struct Answers {
    /// How often yes was said.
    yes_sent: u32,
    /// How often yes was refused, because nothing waited for it.
    yes_refused: u32,
    /// The answers that count.
    yes: u32,
    no: u32,
}

impl Tools {
    /// A tool takes effect. `request` is the message's.
    pub(super) fn called(
        &mut self,
        verdict: &mut Verdict,
        tool: Tool,
        key: &str,
        message: &str,
        request: Option<&str>,
    ) {
        verdict.counts.tool_calls += 1;
        let request = request.unwrap_or("an unknown request");
        if !Wish::of(message).tools.contains(&tool) {
            verdict.violated(Rule::ToolUnwanted, || format!("{request}: {} was called, and nobody asked", tool.name()));
        }
        if tool.needs_approval() && self.answers.get(request).is_none_or(|answers| answers.yes_sent == 0) {
            verdict
                .violated(Rule::ToolUnapproved, || format!("{request}: {} ran and nobody had said yes", tool.name()));
        }
        let calls = self.calls.entry(message.to_owned()).or_default();
        for (_, first) in calls.iter().filter(|(called, _)| *called == tool) {
            if !tool.is_idempotent() || first != key {
                verdict.violated(Rule::ToolTwice, || {
                    format!("{request}: {} took effect under {first} and again under {key}", tool.name())
                });
                break;
            }
        }
        calls.push((tool, key.to_owned()));
    }

    /// A person's answer is sent.
    pub(super) fn confirm(&mut self, reader: u64, request: &str, approved: bool) {
        self.sent.insert((reader, request.to_owned()), approved);
        self.answers.entry(request.to_owned()).or_default().yes_sent += u32::from(approved);
    }

    /// What a reader sent is answered by nobody any more.
    pub(super) fn disconnected(&mut self, reader: u64) {
        self.sent.retain(|(of, _), _| *of != reader);
    }

    /// A reader is told something about a request.
    pub(super) fn saw(&mut self, verdict: &mut Verdict, reader: u64, request: &str, message: &str, seen: &Seen) {
        match seen {
            Seen::Confirmed { approved } => self.confirmed(verdict, reader, request, *approved),
            Seen::Refused { code } if code == NOTHING_ASKS => {
                if self.sent.remove(&(reader, request.to_owned())) == Some(true) {
                    self.answers.entry(request.to_owned()).or_default().yes_refused += 1;
                }
            }
            Seen::ToolCalled { tool, arguments, .. } => {
                let known = Tool::of(tool).is_some_and(|tool| Wish::of(message).tools.contains(&tool));
                if !known || *arguments != tool::arguments(message) {
                    verdict.violated(Rule::ToolUnwanted, || {
                        format!("{request}: shows a call of {tool} with {arguments}, which the model never made")
                    });
                }
            }
            Seen::ToolEnded { tool, is_error: false, result, .. } => {
                let mut calls = self.calls.get(message).into_iter().flatten();
                if !calls.any(|(called, key)| called.name() == tool && called.answer(key) == *result) {
                    verdict.violated(Rule::ToolResult, || {
                        format!("{request}: shows {result:?} of {tool}, which never said so")
                    });
                }
            }
            Seen::Accepted
            | Seen::Refused { .. }
            | Seen::Attached { .. }
            | Seen::Text { .. }
            | Seen::Asks { .. }
            | Seen::ToolEnded { .. }
            | Seen::Restarted { .. }
            | Seen::Ended { .. }
            | Seen::Other { .. } => {}
        }
    }

    fn confirmed(&mut self, verdict: &mut Verdict, reader: u64, request: &str, approved: bool) {
        let counts = &mut verdict.counts;
        *(if approved { &mut counts.approved } else { &mut counts.rejected }) += 1;
        if self.sent.remove(&(reader, request.to_owned())) != Some(approved) {
            verdict.violated(Rule::Unexpected, || {
                format!("reader {reader}, {request}: told of the answer {approved}, which it did not give")
            });
        }
        let answers = self.answers.entry(request.to_owned()).or_default();
        *(if approved { &mut answers.yes } else { &mut answers.no }) += 1;
        if answers.yes + answers.no > 1 {
            verdict.violated(Rule::TwoAnswers, || {
                format!("{request}: {} times yes and {} times no counted for one call", answers.yes, answers.no)
            });
        }
    }

    /// Judges what could not be judged before the end.
    pub(super) fn finish(&self, verdict: &mut Verdict, by_message: &HashMap<String, String>) {
        let mut messages: Vec<_> = self.calls.iter().collect();
        messages.sort();
        for (message, calls) in messages {
            let Some(request) = by_message.get(message) else { continue };
            let Some(answers) = self.answers.get(request) else { continue };
            if calls.iter().any(|(tool, _)| tool.needs_approval())
                && (answers.no > 0 || answers.yes_refused >= answers.yes_sent.max(1))
            {
                verdict.violated(Rule::ToolUnapproved, || {
                    format!("{request}: the tool ran although no was said, or no yes was taken")
                });
            }
        }
    }
}
