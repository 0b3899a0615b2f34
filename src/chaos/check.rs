//! Judges a history: was every promise kept? Pure; it knows no node, no clock and no socket.
//!
//! It is a fold over the records, in their order. It never asks whether a violation could be excused by a fault: the
//! promises hold under every fault there is.

mod figures;
mod stored;
mod tools;
mod verdict;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use super::history::{Ask, End, Record, Seen, Stored, StoredTurn, What};
use super::plan::{Fault, Place};
use figures::Measuring;
use tools::Tools;
use view::{Calls, View};

pub use figures::{Figures, Quantiles};
pub use verdict::{Counts, Rule, Verdict, Violation};

/// Faults of the plan after which a turn may have had all its attempts cut short.
const FAULTS_OF_A_FAILURE: usize = 3;

/// Codes that refuse a send for good. Any other refusal is temporary, and the client asks again.
const BUSY: &str = "TURN_IN_PROGRESS";

/// The fold.
#[derive(Default)]
pub struct Checker {
    verdict: Verdict,
    measuring: Measuring,
    /// The session and conversation of each reader.
    readers: HashMap<u64, Seat>,
    left: HashSet<u64>,
    turns: HashMap<String, Turn>,
    /// The turn of each message; every message of a run is different.
    by_message: HashMap<String, String>,
    /// Model calls of each message.
    calls: HashMap<String, Calls>,
    tools: Tools,
    stored: HashMap<String, Vec<Stored>>,
    stored_turns: Option<Vec<StoredTurn>>,
    /// Something happened that may cost a turn one of its attempts.
    costs_attempts: bool,
    /// Kills and faults of the plan so far.
    faults: usize,
}

#[derive(Clone)]
struct Seat {
    session: String,
    conversation: String,
}

/// Everything that is known of one request.
struct Turn {
    seat: Seat,
    message: String,
    accepted: bool,
    refused: bool,
    /// How it ended, as the first reader was told.
    end: Option<End>,
    views: HashMap<u64, View>,
    /// Faults before it was sent.
    faults_before: usize,
}

impl Checker {
    /// Takes the next record.
    pub fn take(&mut self, record: &Record) {
        self.verdict.at_us = record.at_us;
        self.measuring.take(record, &self.by_message);
        match &record.what {
            What::Run { seed, .. } => self.verdict.seed = *seed,
            What::FaultBegan { fault, .. } => {
                *self.verdict.counts.faults.entry(*fault).or_default() += 1;
                self.faults += usize::from(fault.place() == Place::Plan);
                self.costs_attempts |= fault.place() == Place::Plan && *fault != Fault::Rolling;
            }
            What::Killed { .. } => {
                self.faults += 1;
                self.costs_attempts = true;
            }
            What::FaultEnded { .. } | What::Connected { .. } => {}
            What::Exited { node, code } => {
                self.verdict.counts.restarts += 1;
                if *code != Some(0) {
                    self.verdict.violated(Rule::UncleanStop, || format!("node {node} ended with {code:?} on SIGTERM"));
                }
            }
            What::ModelCall { message, round, faulty, .. } => {
                self.verdict.counts.model_calls += 1;
                self.calls.entry(message.clone()).or_default().add(*round, *faulty);
            }
            What::ToolCall { tool, key, message } => {
                let request = self.by_message.get(message).map(String::as_str);
                self.tools.called(&mut self.verdict, *tool, key, message, request);
            }
            What::Disconnected { reader, why } => {
                self.verdict.counts.disconnected(why);
                self.tools.disconnected(*reader);
            }
            What::Session { reader, session, conversation } => {
                let seat = Seat { session: session.clone(), conversation: conversation.clone() };
                self.readers.insert(*reader, seat);
            }
            What::Asked { reader, request, ask } => self.asked(*reader, request, ask),
            What::Saw { reader, request: Some(request), seen } => self.saw(*reader, request, seen),
            What::Saw { request: None, .. } => {}
            What::Left { reader } => {
                self.left.insert(*reader);
            }
            What::Stored { conversation, messages } => {
                self.stored.insert(conversation.clone(), messages.clone());
            }
            What::Turns { turns } => self.stored_turns = Some(turns.clone()),
        }
    }

    /// The verdict, after the last record.
    pub fn finish(mut self) -> Verdict {
        let mut turns: Vec<(&String, &Turn)> = self.turns.iter().collect();
        turns.sort_by_key(|(request, _)| request.as_str());
        for (request, turn) in &turns {
            self.verdict.counts.turn(turn.accepted, turn.end.as_ref());
            if !turn.accepted {
                continue;
            }
            if turn.end.is_none() {
                self.verdict.violated(Rule::Lost, || format!("{request} was accepted and never ended"));
                continue;
            }
            for (reader, view) in &turn.views {
                if view.accepted && !view.ended && !self.left.contains(reader) {
                    self.verdict
                        .violated(Rule::NeverTold, || format!("reader {reader} never learned how {request} ended"));
                }
            }
        }
        stored::check(&mut self.verdict, &self.turns, &self.by_message, &self.stored);
        if let Some(stored) = &self.stored_turns {
            stored::check_turns(&mut self.verdict, &self.turns, stored, self.costs_attempts);
        }
        self.tools.finish(&mut self.verdict, &self.by_message);
        self.verdict.figures = self.measuring.finish();
        self.verdict
    }

    fn asked(&mut self, reader: u64, request: &str, ask: &Ask) {
        let Some(seat) = self.readers.get(&reader) else {
            return self.verdict.violated(Rule::BrokenHistory, || format!("reader {reader} asks without a session"));
        };
        match ask {
            Ask::Send { message } => {
                self.by_message.insert(message.clone(), request.to_owned());
                let faults_before = self.faults;
                let turn = self.turns.entry(request.to_owned()).or_insert_with(|| Turn {
                    seat: seat.clone(),
                    message: message.clone(),
                    accepted: false,
                    refused: false,
                    end: None,
                    views: HashMap::new(),
                    faults_before,
                });
                turn.views.entry(reader).or_default();
            }
            Ask::Attach { .. } => {
                if let Some(turn) = self.turns.get_mut(request) {
                    turn.views.entry(reader).or_default();
                }
            }
            Ask::Confirm { approved } => {
                self.tools.confirm(reader, request, *approved);
                if let Some(view) = self.turns.get_mut(request).and_then(|turn| turn.views.get_mut(&reader)) {
                    view.confirm();
                }
            }
            Ask::Cancel => {}
        }
    }

    fn saw(&mut self, reader: u64, request: &str, seen: &Seen) {
        self.verdict.counts.frames += 1;
        let seat = self.readers.get(&reader);
        let turn = self.turns.get_mut(request);
        let (Some(seat), Some(turn)) = (seat, turn) else {
            return self
                .verdict
                .violated(Rule::Foreign, || format!("reader {reader} got a frame of unknown {request}"));
        };
        if turn.seat.session != seat.session {
            return self.verdict.violated(Rule::Foreign, || {
                format!("reader {reader} got a frame of {request}, which belongs to session {}", turn.seat.session)
            });
        }
        self.tools.saw(&mut self.verdict, reader, request, &turn.message, seen);
        // A session's other sockets get its turns, too; only what a reader asked for is promised to it in full.
        let Some(view) = turn.views.get_mut(&reader) else { return };
        let none = Calls::default();
        let calls = self.calls.get(&turn.message).unwrap_or(&none);
        if let Err((rule, what)) = view.take(seen, &turn.message, calls) {
            self.verdict.violated(rule, || format!("reader {reader}, {request}: {what}"));
        }
        match seen {
            Seen::Accepted => turn.accepted = true,
            Seen::Refused { code } if code == BUSY => turn.refused = true,
            Seen::Refused { .. }
            | Seen::Attached { .. }
            | Seen::Text { .. }
            | Seen::Asks { .. }
            | Seen::ToolCalled { .. }
            | Seen::ToolEnded { .. }
            | Seen::Confirmed { .. }
            | Seen::Restarted { .. }
            | Seen::Other { .. } => {}
            Seen::Ended { end, .. } => {
                match &turn.end {
                    Some(first) if first != end => self.verdict.violated(Rule::EndsDiffer, || {
                        format!("{request} ended as {} and as {}", short(first), short(end))
                    }),
                    Some(_) => {}
                    None => turn.end = Some(end.clone()),
                }
                let faults = self.faults - turn.faults_before;
                if matches!(end, End::Failed { .. }) && !calls.faulty && faults < FAULTS_OF_A_FAILURE {
                    self.verdict.violated(Rule::UnexplainedFailure, || {
                        format!(
                            "{request} failed after {} model calls, none of them faulty, and {faults} faults",
                            calls.count()
                        )
                    });
                }
            }
        }
    }
}

fn short(end: &End) -> String {
    match end {
        End::Completed { text } => format!("completed with {} bytes", text.len()),
        End::Cancelled => "cancelled".to_owned(),
        End::Failed { code } => format!("failed with {code}"),
    }
}
